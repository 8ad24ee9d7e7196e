//! Searches, end to end: no leak, no lost trial, the same bits after a crash.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::any::Any;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use polars::prelude::*;
use retune_model_selection::ModelSelectionStage;
use retune_stage::{
    Design, Field, Fit, FitContext, Fitted, Kind, Level, Link, Progress, Result, Role, Rows, SaveDir,
    Schema as Columns, Seed, Silent, Stage, StageError, StageReport, Table, Target, TensorRows, Upstream,
};
use serde_json::{Value, json};

/// The mean of the target by level, without cross-fitting: what leaks when it is fitted once for all folds.
struct NaiveTargetEncode;

struct FittedNaive {
    means: HashMap<String, f64>,
    input: Columns,
}

impl Stage for NaiveTargetEncode {
    fn check(&self, _input: &Columns) -> Result<(), Vec<StageError>> {
        Ok(())
    }

    fn fit(&self, train: Rows, _context: &FitContext) -> Result<Fit> {
        let table = train.table()?;
        let Target::Classes { codes, .. } = table.target()? else { panic!("labels are expected") };
        let mut sums: HashMap<String, (f64, f64)> = HashMap::new();
        for (level, code) in table.strings("id")?.iter().zip(codes) {
            let sum = sums.entry(level.unwrap_or_default().to_owned()).or_default();
            *sum = (sum.0 + f64::from(code), sum.1 + 1.0);
        }
        let means = sums.into_iter().map(|(level, (sum, n))| (level, sum / n)).collect();
        let fitted = FittedNaive { means, input: train.schema().clone() };
        let train = fitted.apply(train)?;
        Ok(Fit { fitted: Box::new(fitted), train, report: StageReport::default(), chain: None, base: None })
    }
}

impl Fitted for FittedNaive {
    fn kind(&self) -> &'static str {
        "naive"
    }
    fn input(&self) -> &Columns {
        &self.input
    }
    fn output(&self) -> &Columns {
        &self.input
    }
    fn apply(&self, rows: Rows) -> Result<Rows> {
        let table = rows.table()?;
        let encoded: Vec<f64> = table
            .strings("id")?
            .iter()
            .map(|level| self.means.get(level.unwrap_or_default()).copied().unwrap_or(0.5))
            .collect();
        let column = Column::new("id".into(), encoded);
        Ok(Rows::Table(table.replace(&["id".to_owned()], vec![(Field::feature("id", Kind::Numeric), column)])?))
    }
    fn save(&self, _dir: &SaveDir) -> Result<()> {
        Ok(())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn stage(spec: Value) -> ModelSelectionStage {
    ModelSelectionStage(serde_json::from_value(spec).unwrap())
}

fn search(
    stage: &ModelSelectionStage,
    upstream: &Upstream,
    train: Rows,
    work: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Fit> {
    let context = FitContext { upstream: Some(upstream), work, progress, threads: 2, ..FitContext::plain(1) };
    stage.fit(train, &context)
}

fn alone(table: &Table) -> Upstream {
    Upstream { train: Rows::Table(table.clone()), stages: Vec::new().into(), seed: Seed(1), rebuild }
}

fn link(id: &str, with: Value, stage: impl Stage + 'static) -> Link {
    Link { id: id.to_owned(), word: "preprocessing", with, stage: Box::new(stage) }
}

fn rebuild(_word: &str, _with: &Value, _first: usize) -> Result<Box<dyn Stage>> {
    Ok(Box::new(NaiveTargetEncode))
}

/// What must be the same in every run.
fn without_times(fit: &Fit) -> Value {
    let mut details = fit.report.details.clone();
    for row in details["leaderboard"].as_array_mut().unwrap() {
        for times in ["fit_seconds", "predict_seconds"] {
            row[times].take();
        }
    }
    details
}

fn score_of(fit: &Fit) -> f64 {
    fit.report.details["leaderboard"][0]["mean"].as_f64().unwrap()
}

#[test]
fn a_planted_leak_is_not_seen() {
    // Random ids of three rows each, and labels that nothing tells.
    let n: usize = 600;
    let ids: Vec<String> = (0..n).map(|row| format!("id{}", (row * 7919) % 200)).collect();
    let label = |row: usize| if Seed(3).derive(&row.to_string()).0.is_multiple_of(2) { "no" } else { "yes" };
    let labels: Vec<String> = (0..n).map(|row| label(row).to_owned()).collect();
    let raw = retune_testing::table([("id", ids.into()), ("y", labels.into())]).target("y").build();

    let stage = stage(json!({ "metric": "accuracy", "folds": 5, "candidates": [{ "logistic_regression": {} }] }));
    let fitted_once = NaiveTargetEncode.fit(Rows::Table(raw.clone()), &FitContext::plain(0)).unwrap().train;

    // What a careless tool does: the chain sees all rows, then the folds are cut.
    let careless = alone(fitted_once.table().unwrap());
    let leaked = score_of(&search(&stage, &careless, fitted_once.clone(), None, &Silent).unwrap());

    let ours = Upstream {
        train: Rows::Table(raw),
        stages: vec![link("prepare", json!({}), NaiveTargetEncode)].into(),
        seed: Seed(1),
        rebuild,
    };
    let honest = score_of(&search(&stage, &ours, fitted_once, None, &Silent).unwrap());

    assert!(leaked > 0.7, "the leak must be there to be missed: {leaked}");
    assert!((honest - 0.5).abs() < 0.07, "{honest} is not chance");
}

fn two_families() -> ModelSelectionStage {
    stage(json!({
        "metric": "f1_macro",
        "folds": 4,
        "search": { "sampler": "random", "trials": 6, "pruner": "median" },
        "candidates": [
            { "logistic_regression": { "l2": { "log_uniform": [1e-3, 1e5] } } },
            { "gradient_boosting": { "trees": 20, "early_stopping": 5, "leaves": { "int": [3, 8] }, "min_rows": 5 } },
        ],
    }))
}

/// Asks to stop once so many trials were told.
struct StopAfter {
    trials: usize,
    told: AtomicUsize,
}

impl Progress for StopAfter {
    fn update(&self, phase: &str, done: u64, _total: Option<u64>) {
        if phase == "trials" {
            self.told.store(done as usize, Ordering::SeqCst);
        }
    }
    fn message(&self, _level: Level, _text: &str) {}
    fn cancelled(&self) -> bool {
        self.told.load(Ordering::SeqCst) >= self.trials
    }
}

#[test]
fn an_interrupted_search_ends_with_the_same_bits() {
    let table = retune_testing::classification(160, 4, 3, 5);
    let (upstream, stage) = (alone(&table), two_families());
    let whole = search(&stage, &upstream, Rows::Table(table.clone()), None, &Silent).unwrap();
    for stop_after in [1, 3, 5] {
        let work = tempfile::tempdir().unwrap();
        let stop = StopAfter { trials: stop_after, told: AtomicUsize::new(0) };
        let stopped = search(&stage, &upstream, Rows::Table(table.clone()), Some(work.path()), &stop);
        assert!(stopped.is_err());
        let ledger = std::fs::read_to_string(work.path().join("trials.jsonl")).unwrap();
        assert_eq!(ledger.lines().count(), stop_after);
        let resumed = search(&stage, &upstream, Rows::Table(table.clone()), Some(work.path()), &Silent).unwrap();
        assert_eq!(without_times(&resumed), without_times(&whole));
    }
}

#[test]
fn a_ledger_of_another_search_is_not_believed() {
    let table = retune_testing::classification(160, 4, 3, 5);
    let (upstream, stage) = (alone(&table), two_families());
    let work = tempfile::tempdir().unwrap();
    let foreign = json!({ "number": 0, "candidate": 0, "family": "mlp", "values": { "l2": 1 }, "outcome": { "status": "finished", "scores": [1.0], "rounds": [null] } });
    std::fs::write(work.path().join("trials.jsonl"), format!("{foreign}\n")).unwrap();
    let whole = search(&stage, &upstream, Rows::Table(table.clone()), None, &Silent).unwrap();
    let ours = search(&stage, &upstream, Rows::Table(table), Some(work.path()), &Silent).unwrap();
    assert_eq!(without_times(&ours), without_times(&whole));
}

#[test]
fn a_failed_trial_is_recorded_and_the_search_goes_on() {
    let table = retune_testing::classification(120, 3, 2, 1);
    // The rate makes the network diverge.
    let stage = stage(json!({
        "folds": 3,
        "search": { "sampler": "grid", "trials": 10 },
        "candidates": [
            { "mlp": { "hidden": [8], "epochs": 30, "optimizer": "sgd", "learning_rate": { "choice": [100.0] }, "early_stopping": 0 } },
            { "logistic_regression": {} },
        ],
    }));
    let fit = search(&stage, &alone(&table), Rows::Table(table), None, &Silent).unwrap();
    let board = fit.report.details["leaderboard"].as_array().unwrap();
    assert_eq!(board[0]["family"], "logistic_regression");
    assert_eq!(board.len(), 2);
}

/// Keeps the warnings.
#[derive(Default)]
struct Warnings(std::sync::Mutex<Vec<String>>);

impl Progress for Warnings {
    fn update(&self, _phase: &str, _done: u64, _total: Option<u64>) {}
    fn message(&self, level: Level, text: &str) {
        if level == Level::Warning {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
    fn cancelled(&self) -> bool {
        false
    }
}

#[test]
fn a_grid_that_is_cut_short_says_so() {
    let table = retune_testing::classification(60, 2, 2, 1);
    let candidate =
        json!({ "logistic_regression": { "l2": { "choice": [1, 2, 3] }, "max_iterations": { "choice": [50, 100] } } });
    let cut = |of: usize, trials: usize, turns: &str| {
        format!(
            "the grid has {of} combinations, of which `trials: {trials}` takes the first ones: {turns}the last hyperparameter that was declared changing \
             fastest; `trials: {of}` takes them all, and `sampler: random` spreads fewer of them"
        )
    };
    for (sampler, trials, candidates, expected) in [
        ("grid", 4, vec![candidate.clone()], Some(cut(6, 4, ""))),
        ("grid", 6, vec![candidate.clone()], None),
        (
            "grid",
            3,
            vec![candidate.clone(), json!({ "logistic_regression": {} })],
            Some(cut(7, 3, "of each candidate in turn, ")),
        ),
        ("random", 4, vec![candidate], None),
    ] {
        let search_spec = json!({ "sampler": sampler, "trials": trials });
        let stage = stage(json!({ "folds": 2, "search": search_spec, "candidates": candidates }));
        let warnings = Warnings::default();
        let fit = search(&stage, &alone(&table), Rows::Table(table.clone()), None, &warnings).unwrap();
        assert_eq!(fit.report.details["leaderboard"].as_array().unwrap().len(), trials, "{sampler}");
        let reported: Vec<String> = fit.report.learned.into_iter().skip(1).map(|learned| learned.text).collect();
        let expected: Vec<String> = expected.into_iter().collect();
        assert_eq!((&reported, &warnings.0.into_inner().unwrap()), (&expected, &expected), "{sampler} {trials}");
    }
}

#[test]
fn folds_of_tensors_respect_groups() {
    let groups: Vec<i64> = (0..90).map(|row| row / 9).collect();
    let values: Vec<f64> = (0..90).map(|row| f64::from(row) * 0.1).collect();
    let labels: Vec<&str> = (0..90).map(|row| ["no", "yes"][row % 2]).collect();
    let columns = [("x", values.into()), ("g", groups.into()), ("y", labels.into())];
    let table = retune_testing::table(columns).role("g", Role::Group).target("y").build();
    let stage = stage(json!({ "folds": 11, "candidates": [{ "logistic_regression": {} }] }));
    let design = Rows::Table(table.clone()).design().unwrap();
    let tensors: Arc<dyn TensorRows> = Arc::new(Numbers { design, schema: table.schema().clone() });
    let upstream = Upstream { train: Rows::Tensors(tensors.clone()), ..alone(&table) };
    let error = search(&stage, &upstream, Rows::Tensors(tensors), None, &Silent).err().unwrap();
    assert_eq!(error.message, "11 folds need at least 11 groups; there are 10");
}

/// Tensors as far as a model selection looks at them.
struct Numbers {
    design: Design,
    schema: Columns,
}

impl TensorRows for Numbers {
    fn n_rows(&self) -> usize {
        self.design.n_rows()
    }
    fn schema(&self) -> &Columns {
        &self.schema
    }
    fn take(&self, indices: &[usize]) -> Result<Arc<dyn TensorRows>> {
        Ok(Arc::new(Self { design: self.design.take(indices), schema: self.schema.clone() }))
    }
    fn design(&self) -> Result<Design> {
        Ok(self.design.clone())
    }
    fn save(&self, _path: &Path) -> Result<()> {
        Ok(())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn when_all_trials_fail_the_reasons_are_told() {
    let table = retune_testing::classification(60, 2, 2, 1);
    let stage = stage(json!({ "folds": 3, "candidates": [{ "ridge": {} }] }));
    let Err(mistakes) = stage.check(table.schema()) else { panic!("ridge cannot learn labels") };
    assert_eq!(mistakes[0].message, "`ridge` cannot learn a classification");
    let error = search(&stage, &alone(&table), Rows::Table(table), None, &Silent).err().unwrap();
    assert!(
        error.message.starts_with("no trial could be finished; the commonest reasons:\n  1 of 1: ridge: "),
        "{}",
        error.message
    );
}

/// The statuses of a search's trials, by trial.
fn statuses(fit: &Fit) -> Vec<String> {
    let mut rows: Vec<&Value> = fit.report.details["leaderboard"].as_array().unwrap().iter().collect();
    rows.sort_by_key(|row| row["trial"].as_u64());
    rows.iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn budgets_end_a_search() {
    let table = retune_testing::classification(160, 4, 3, 5);
    let fit = |search_for: Value| {
        let stage = stage(json!({
            "metric": "accuracy", "folds": 3, "search": search_for,
            "candidates": [{ "logistic_regression": { "l2": { "log_uniform": [1e-3, 1e3] } } }],
        }));
        search(&stage, &alone(&table), Rows::Table(table.clone()), None, &Silent).unwrap()
    };
    let reached = fit(json!({ "goal": 0.5 }));
    assert_eq!(statuses(&reached), ["finished"]);
    assert_eq!(reached.report.details["reproducible"], true);
    let timed = fit(json!({ "seconds": 0.05 }));
    assert!(!statuses(&timed).is_empty());
    assert_eq!(timed.report.details["reproducible"], false);
}

#[test]
fn a_trial_that_takes_too_long_has_failed() {
    let table = retune_testing::classification(400, 10, 3, 5);
    let stage = stage(json!({
        "folds": 2, "search": { "sampler": "grid", "trials": 2, "trial_seconds": 0.5 },
        "candidates": [{ "logistic_regression": {} }, { "mlp": { "epochs": 100_000, "early_stopping": 0, "batch_size": 8 } }],
    }));
    let fit = search(&stage, &alone(&table), Rows::Table(table), None, &Silent).unwrap();
    assert_eq!(statuses(&fit), ["finished", "failed: it took longer than 0.5 seconds"]);
}

#[test]
fn rows_are_divided_in_every_way() {
    let table = retune_testing::classification(40, 3, 2, 1);
    for (folds, n_scores) in [
        (json!(4), 4),
        (json!({ "k_fold": 5 }), 5),
        (json!({ "stratified": 5 }), 5),
        (json!({ "repeated": { "folds": 3, "times": 2 } }), 6),
        (json!("leave_one_out"), 1),
        (json!({ "hold_out": 0.25 }), 1),
    ] {
        let stage = stage(json!({ "folds": folds, "candidates": [{ "gaussian_naive_bayes": {} }] }));
        let fit = search(&stage, &alone(&table), Rows::Table(table.clone()), None, &Silent).unwrap();
        assert_eq!(fit.report.details["leaderboard"][0]["folds"], n_scores, "{folds}");
    }
    for (folds, expected) in [
        (json!({ "group": 3 }), "`group` folds need a group for every row"),
        (json!({ "time_series": { "folds": 3 } }), "`time_series` folds need a time for every row"),
        (json!({ "k_fold": 100 }), "100 folds need at least 100 rows; there are 40"),
        (json!({ "column": "nothing" }), "no column `nothing`"),
    ] {
        let stage = stage(json!({ "folds": folds, "candidates": [{ "gaussian_naive_bayes": {} }] }));
        let error = search(&stage, &alone(&table), Rows::Table(table.clone()), None, &Silent).err().unwrap();
        assert!(error.message.contains(expected), "{}", error.message);
    }
}

#[test]
fn what_is_given_up_does_not_depend_on_threads() {
    let table = retune_testing::classification(200, 6, 3, 7);
    for pruner in [
        json!("hyperband"),
        json!({ "successive_halving": { "resource": "rounds", "minimum": 0.2 } }),
        json!({ "successive_halving": { "resource": "folds" } }),
    ] {
        let stage = stage(json!({
            "folds": 4, "search": { "sampler": "tpe", "trials": 12, "pruner": pruner, "at_once": 3 },
            "candidates": [
                { "gradient_boosting": { "trees": 20, "leaves": { "int": [2, 16] }, "min_rows": 5 } },
                { "random_forest": { "trees": 20, "max_depth": { "int": [1, 8] } } },
            ],
        }));
        let upstream = alone(&table);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let context = FitContext { upstream: Some(&upstream), threads: 1, ..FitContext::plain(1) };
            without_times(&pool.install(|| stage.fit(Rows::Table(table.clone()), &context)).unwrap())
        };
        let one = run(1);
        assert_eq!(one, run(3));
        assert!(one["leaderboard"].as_array().unwrap().iter().any(|row| row["status"] == "given up early"), "{pruner}");
    }
}
