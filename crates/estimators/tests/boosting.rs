//! Boosted trees against LightGBM's Python package, from `tests/reference/boosting.py`, and what is ours: early stopping, warm starts, storage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ndarray::Array2;
use retune_estimators::{FitOptions, Learned, boosting};
use retune_metrics::Prediction;
use retune_spec::estimators::{ClassWeight, GradientBoosting};
use retune_spec::fine_tuning::BoostingTuning;
use retune_stage::{Design, Device, Level, LoadDir, Progress, SaveDir, Seed, Silent, Target, Ties};
use retune_store::ArtifactWriter;
use serde_json::Value;

fn options(seed: u64, threads: usize) -> FitOptions<'static> {
    FitOptions { seed: Seed(seed), threads, device: Device::Cpu, progress: &Silent }
}

fn spec(json: &str) -> GradientBoosting {
    serde_json::from_str(json).unwrap()
}

/// Null is NaN.
fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<Option<f64>>> = serde_json::from_value(value.clone()).unwrap();
    let cells = rows.iter().flatten().map(|cell| cell.unwrap_or(f64::NAN)).collect();
    Array2::from_shape_vec((rows.len(), rows[0].len()), cells).unwrap()
}

/// Labels where the target is whole numbers below 3 of some `labels`, else values.
fn target_of(case: &Value) -> Target {
    match case["raw"][0].as_array().map(Vec::len) {
        _ if case["hyperparameters"]["loss"].is_string() => {
            Target::Values(serde_json::from_value(case["target"].clone()).unwrap())
        }
        _ if case["target"][0].is_f64() => Target::Values(serde_json::from_value(case["target"].clone()).unwrap()),
        outputs => Target::Classes {
            codes: serde_json::from_value(case["target"].clone()).unwrap(),
            n_classes: outputs.unwrap().max(2),
        },
    }
}

fn names(n_features: usize) -> Vec<String> {
    (0..n_features).map(|column| format!("x{column}")).collect()
}

#[test]
fn predictions_are_those_of_lightgbm() {
    let file: Value = serde_json::from_str(include_str!("fixtures/boosting.json")).unwrap();
    let features = matrix(&file["features"]);
    for case in file["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let spec = GradientBoosting {
            trees: 20,
            leaves: size("leaves"),
            min_rows: size("min_rows"),
            max_depth: size("max_depth"),
            learning_rate: case["learning_rate"].as_f64().unwrap(),
            l2: case["l2"].as_f64().unwrap(),
            bins: 63,
            ..spec("{}")
        };
        let target = match case["n_classes"].as_u64() {
            Some(n_classes) => Target::Classes {
                codes: serde_json::from_value(case["target"].clone()).unwrap(),
                n_classes: n_classes as usize,
            },
            None => Target::Values(serde_json::from_value(case["target"].clone()).unwrap()),
        };
        let weights: Option<Vec<f64>> = serde_json::from_value(case["weights"].clone()).unwrap();
        let rows =
            Design { features: features.clone(), names: names(6), target: Some(target), weights, ..Design::default() };
        for threads in [1, 2] {
            let (model, info) = boosting::fit(&spec, &rows, &options(1, threads)).unwrap();
            assert_eq!(info.rounds, Some(20), "{name}");
            let theirs = matrix(&case["predictions"]);
            let ours = match model.predict(rows.features.slice(ndarray::s![..50, ..])).unwrap() {
                Prediction::Values(values) => values,
                Prediction::Probabilities(probabilities) if probabilities.ncols() == 2 => {
                    probabilities.column(1).to_vec()
                }
                Prediction::Probabilities(probabilities) => probabilities.into_raw_vec_and_offset().0,
                other => panic!("{other:?}"),
            };
            assert_eq!(ours.len(), theirs.len(), "{name}");
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{name}: {ours} against {theirs}");
            }
        }
    }
}

/// Three labels by two of four columns, with a share of labels that are wrong.
fn noisy(n_rows: usize, seed: u64) -> Design {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1 << 24) as f64
    };
    let features = Array2::from_shape_simple_fn((n_rows, 4), &mut next);
    let code = |row: ndarray::ArrayView1<f64>| {
        if next() < 0.2 { (3.0 * next()) as u32 } else { (1.5 * (row[0] + row[1])) as u32 }
    };
    let codes = features.rows().into_iter().map(code).collect();
    let target = Some(Target::Classes { codes, n_classes: 3 });
    Design { features, names: names(4), target, ..Design::default() }
}

fn loss(model: &boosting::FittedBoosting, rows: &Design) -> f64 {
    let Some(Target::Classes { codes, .. }) = &rows.target else { panic!() };
    let Prediction::Probabilities(probabilities) = model.predict(rows.features.view()).unwrap() else { panic!() };
    codes.iter().zip(probabilities.rows()).map(|(&code, row)| -row[code as usize].ln()).sum::<f64>()
        / codes.len() as f64
}

/// What is saved, as text: the same trees have the same bytes.
fn saved(model: &boosting::FittedBoosting) -> (tempfile::TempDir, retune_store::Artifact) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let writer = ArtifactWriter::beside(&path).unwrap();
    model.save(&SaveDir::new(&writer)).unwrap();
    let artifact = writer.publish_at(&path, "test", 1, Value::Null).unwrap();
    (folder, artifact)
}

fn text(model: &boosting::FittedBoosting) -> Vec<u8> {
    saved(model).1.read_bytes("model.txt").unwrap()
}

#[test]
fn early_stopping_keeps_fewer_rounds_that_predict_better() {
    let (rows, test) = (noisy(1500, 1), noisy(1500, 2));
    let all = spec(r#"{"trees": 200, "learning_rate": 0.2}"#);
    let (all_rounds, info) = boosting::fit(&all, &rows, &options(1, 1)).unwrap();
    assert_eq!(info.rounds, Some(200));
    let (stopped, info) =
        boosting::fit(&GradientBoosting { early_stopping: 10, ..all }, &rows, &options(1, 1)).unwrap();
    assert!(info.rounds.unwrap() < 60, "{:?}", info.rounds);
    assert!(
        loss(&stopped, &test) < loss(&all_rounds, &test) - 0.1,
        "{} {}",
        loss(&stopped, &test),
        loss(&all_rounds, &test)
    );
}

/// Sixty rows ten times over, with labels that nothing tells: trees can but learn them by heart.
fn repeated() -> Design {
    let once = noisy(60, 4);
    let codes = (0..60).map(|row: u64| (Seed(5).derive(&row.to_string()).0 % 2) as u32).collect();
    let once = Design { target: Some(Target::Classes { codes, n_classes: 2 }), ..once };
    once.take(&(0..600).map(|row| row % 60).collect::<Vec<_>>())
}

/// The first column tells the label, until the latest tenth of the rows says the opposite.
fn turned() -> Design {
    let rows = noisy(600, 6);
    let code = |row: usize| u32::from((rows.features[[row, 0]] > 0.5) == (row < 540));
    Design { target: Some(Target::Classes { codes: (0..600).map(code).collect(), n_classes: 2 }), ..rows }
}

#[test]
fn early_stopping_is_judged_by_other_groups_and_by_later_rows() {
    let spec = spec(r#"{"trees": 60, "early_stopping": 5, "min_rows": 5}"#);
    let rounds = |rows: &Design| boosting::fit(&spec, rows, &options(1, 1)).unwrap().1.rounds.unwrap();
    for (rows, ties) in [
        (repeated(), Ties { groups: Some((0..600).map(|row| row % 60).collect()), times: None }),
        (turned(), Ties { groups: None, times: Some((0..600).collect()) }),
    ] {
        let at_random = rounds(&rows);
        let tied = rounds(&Design { ties, ..rows });
        assert!(at_random > 15 && tied < 8, "{at_random} rounds at random, {tied} with groups or times");
    }
}

#[test]
fn one_group_is_not_divided_for_early_stopping() {
    let spec = spec(r#"{"trees": 6, "early_stopping": 2, "min_rows": 5}"#);
    let ties = |groups, times| Ties { groups, times };
    for (ties, few) in [(ties(Some(vec![0; 600]), None), "groups"), (ties(None, Some(vec![0; 600])), "different times")]
    {
        let (_, info) = boosting::fit(&spec, &Design { ties, ..turned() }, &options(1, 1)).unwrap();
        let note =
            format!("gradient_boosting ran all rounds: there are too few {few} to set rows aside for early stopping");
        assert_eq!((info.rounds, info.notes), (Some(6), vec![note]));
    }
}

#[test]
fn neither_threads_nor_neighbours_change_a_bit() {
    let rows = noisy(3000, 3);
    let fit = |seed, threads| {
        let spec = spec(r#"{"trees": 15, "early_stopping": 5, "row_share": 0.7, "column_share": 0.5}"#);
        text(&boosting::fit(&spec, &rows, &options(seed, threads)).unwrap().0)
    };
    let alone = fit(1, 1);
    assert_ne!(alone, fit(2, 1));
    let side_by_side: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let fit = &fit;
        let threads = [1, 2, 2, 1].map(|threads| scope.spawn(move || fit(1, threads)));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(side_by_side.iter().all(|text| *text == alone));
}

#[test]
fn what_is_saved_predicts_the_same_bits() {
    let rows = noisy(400, 4);
    let (model, _) = boosting::fit(&spec(r#"{"trees": 5}"#), &rows, &options(1, 1)).unwrap();
    let (_folder, artifact) = saved(&model);
    let loaded = boosting::FittedBoosting::load(&LoadDir::new(&artifact)).unwrap();
    assert_eq!(loaded.predict(rows.features.view()).unwrap(), model.predict(rows.features.view()).unwrap());
    assert_eq!(loaded.rounds(), 5);
    assert_eq!(text(&loaded), text(&model));
    let error = loaded.predict(rows.features.slice(ndarray::s![.., ..3])).err().unwrap();
    assert_eq!(error.message, "the rows have 3 features, but the trees were grown on 4");
}

#[test]
fn further_trees_add_to_the_base() {
    let (train, validation, test) = (noisy(2000, 5), noisy(1000, 6), noisy(1000, 7));
    let (base, _) = boosting::fit(&spec(r#"{"trees": 5, "leaves": 7}"#), &train, &options(1, 1)).unwrap();
    let tuning = BoostingTuning { more_trees: 30, learning_rate: 0.05, early_stopping: 5 };
    let (tuned, curve) = boosting::fit_more(&base, &tuning, &train, &validation, &options(1, 1)).unwrap();
    assert!(curve.best > 0 && curve.validation.len() <= 30, "{curve:?}");
    assert_eq!(tuned.rounds(), 5 + curve.best);
    // The losses that LightGBM saw are those of the models before and after, so that trees were added to the base's and nothing else.
    assert!((curve.base - loss(&base, &validation)).abs() < 1e-6, "{curve:?} {}", loss(&base, &validation));
    assert!(
        (curve.validation[curve.best - 1] - loss(&tuned, &validation)).abs() < 1e-6,
        "{curve:?} {}",
        loss(&tuned, &validation)
    );
    assert!(loss(&tuned, &test) < loss(&base, &test) - 0.05);
    let (_folder, artifact) = saved(&tuned);
    let loaded = boosting::FittedBoosting::load(&LoadDir::new(&artifact)).unwrap();
    assert_eq!(loaded.predict(test.features.view()).unwrap(), tuned.predict(test.features.view()).unwrap());
    let (twice, _) = boosting::fit_more(&tuned, &tuning, &train, &validation, &options(1, 1)).unwrap();
    assert!(twice.rounds() >= tuned.rounds());
}

#[test]
fn a_base_that_is_better_is_kept() {
    let train = noisy(1000, 8);
    let (base, _) = boosting::fit(&spec(r#"{"trees": 20, "leaves": 7}"#), &train, &options(1, 1)).unwrap();
    // Labels at random have nothing to teach.
    let mut noise = noisy(1000, 9);
    noise.target = Some(train.target.clone().unwrap().take(&(0..1000).rev().collect::<Vec<_>>()));
    let tuning = BoostingTuning { more_trees: 10, learning_rate: 0.3, early_stopping: 3 };
    let (tuned, curve) = boosting::fit_more(&base, &tuning, &noise, &noisy(500, 10), &options(1, 1)).unwrap();
    assert_eq!((curve.best, tuned.rounds()), (0, 20), "{curve:?}");
    assert_eq!(text(&tuned), text(&base));
}

#[test]
fn balanced_labels_find_the_rare_one() {
    let mut rows = noisy(600, 11);
    rows.features.fill(1.0);
    rows.target = Some(Target::Classes { codes: (0..600).map(|row| u32::from(row % 10 != 0)).collect(), n_classes: 2 });
    for (class_weight, expected) in [(ClassWeight::None, 0.1), (ClassWeight::Balanced, 0.5)] {
        let (model, _) =
            boosting::fit(&GradientBoosting { class_weight, ..spec(r#"{"trees": 3}"#) }, &rows, &options(1, 1))
                .unwrap();
        let Prediction::Probabilities(probabilities) = model.predict(rows.features.view()).unwrap() else { panic!() };
        assert!((probabilities[[0, 0]] - expected).abs() < 1e-6, "{class_weight:?}: {}", probabilities[[0, 0]]);
    }
}

/// Asks to stop after the third round.
struct Impatient(std::sync::atomic::AtomicU64);

impl Progress for Impatient {
    fn update(&self, _phase: &str, done: u64, _total: Option<u64>) {
        self.0.store(done, std::sync::atomic::Ordering::Relaxed);
    }
    fn message(&self, _level: Level, _text: &str) {}
    fn cancelled(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed) >= 3
    }
}

#[test]
fn training_stops_when_asked() {
    let progress = Impatient(0.into());
    let error = boosting::fit(&spec("{}"), &noisy(500, 12), &FitOptions { progress: &progress, ..options(1, 1) })
        .err()
        .unwrap();
    assert_eq!(error.message, "stopped");
    assert_eq!(progress.0.into_inner(), 3);
}

#[test]
fn what_lightgbm_refuses_is_said() {
    let rows = noisy(60, 13);
    let error = boosting::fit(&spec(r#"{"learning_rate": -1.0}"#), &rows, &options(1, 1)).err().unwrap();
    assert!(error.message.starts_with("LightGBM: "), "{error}");
}

/// Each hyperparameter, and missing values, against the raw scores of LightGBM.
#[test]
fn raw_scores_are_those_of_lightgbm() {
    let file: Value = serde_json::from_str(include_str!("fixtures/boosting.json")).unwrap();
    for case in file["raw"].as_array().unwrap() {
        let mut parameters = serde_json::json!({ "trees": 20, "leaves": 7, "min_rows": 10, "bins": 63 });
        parameters.as_object_mut().unwrap().extend(case["hyperparameters"].as_object().unwrap().clone());
        let features = matrix(&file[case["rows"].as_str().unwrap()]);
        let rows = Design { features, names: names(6), target: Some(target_of(case)), ..Design::default() };
        let (model, _) = boosting::fit(&spec(&parameters.to_string()), &rows, &options(1, 2)).unwrap();
        let (ours, theirs) = (model.raw(rows.features.slice(ndarray::s![..50, ..])).unwrap(), matrix(&case["raw"]));
        assert_eq!(ours.dim(), theirs.dim(), "{}", case["name"]);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!((ours - theirs).abs() < 1e-9 * theirs.abs().max(1.0), "{}: {ours} {theirs}", case["name"]);
        }
        let (_folder, artifact) = saved(&model);
        let loaded = boosting::FittedBoosting::load(&LoadDir::new(&artifact)).unwrap();
        assert_eq!(loaded.predict(rows.features.view()).unwrap(), model.predict(rows.features.view()).unwrap());
    }
}

#[test]
fn what_cannot_be_is_said() {
    let labels = noisy(60, 14);
    let count = |value: f64| Design { target: Some(Target::Values(vec![1.0, value, 2.0])), ..labels.take(&[0, 1, 2]) };
    let mut infinite = noisy(60, 14);
    infinite.features[[2, 1]] = f64::NEG_INFINITY;
    for (json, rows, message, help) in [
        (
            r#"{ "loss": "huber" }"#,
            &labels,
            "gradient_boosting has the loss `huber` for values only, and the target holds labels",
            "leave `loss` out",
        ),
        (
            r#"{ "monotone": { "X1": "increasing" } }"#,
            &labels,
            "`monotone` names `X1`, which is no feature",
            "did you mean `x1`?",
        ),
        (
            r#"{ "monotone": { "age": "increasing" } }"#,
            &labels,
            "`monotone` names `age`, which is no feature",
            "name columns as they come to the model",
        ),
        (
            r#"{ "loss": "absolute", "monotone": { "x1": "increasing" } }"#,
            &count(1.0),
            "gradient_boosting has no `monotone` with the loss `absolute`",
            "take another `loss`, such as `huber`, or leave `monotone` out",
        ),
        (
            r#"{ "loss": "quantile", "alpha": 1.5 }"#,
            &count(1.0),
            "gradient_boosting cannot predict the quantile 1.5",
            "give an `alpha` between 0 and 1",
        ),
        (
            r#"{ "loss": "poisson" }"#,
            &count(-1.0),
            "the loss `poisson` is for values of at least 0, and the target holds -1 in row 2 of 3",
            "take another `loss`, such as `squared`",
        ),
        (
            r#"{ "loss": "gamma" }"#,
            &count(0.0),
            "the loss `gamma` is for values above 0, and the target holds 0 in row 2 of 3",
            "take another `loss`, such as `squared`",
        ),
        ("{}", &infinite, "column `x1` holds -inf in row 3", "add the step `clip_outliers` before this stage"),
    ] {
        let error = boosting::fit(&spec(json), rows, &options(1, 1)).err().unwrap();
        assert_eq!((error.message.as_str(), error.help.as_deref()), (message, Some(help)));
    }
}

struct ByColumn(Array2<f64>);

impl boosting::Columns for ByColumn {
    fn n_rows(&self) -> usize {
        self.0.nrows()
    }

    fn n_columns(&self) -> usize {
        self.0.ncols()
    }

    fn at(&self, column: usize, rows: &[usize]) -> Vec<f64> {
        rows.iter().map(|&row| self.0[[row, column]]).collect()
    }

    fn block(&self, rows: std::ops::Range<usize>) -> Vec<f64> {
        self.0.slice(ndarray::s![rows, ..]).iter().copied().collect()
    }
}

/// More cells than a block of rows has; zeros, which LightGBM counts apart, and whole columns that never change.
#[test]
fn trees_on_columns_are_those_on_a_matrix() {
    let cell = |(row, column): (usize, usize)| match column {
        0 => 3.0,
        1..3 => (row % 7 * column) as f64,
        _ => ((row * (column + 3)) as f64 * 0.37).sin(),
    };
    let features = Array2::from_shape_fn((50_000, 100), cell);
    let target: Vec<f64> = features.rows().into_iter().map(|row| row[1] + row[5] - row[6] * row[7]).collect();
    let spec = spec(r#"{ "trees": 3 }"#);
    let rows = Design {
        features: features.clone(),
        names: names(100),
        target: Some(Target::Values(target.clone())),
        ..Design::default()
    };
    let (model, _) = boosting::fit(&spec, &rows, &options(1, 2)).unwrap();
    let Prediction::Values(expected) = model.predict(features.view()).unwrap() else { panic!("values") };
    let grown = boosting::grow(&spec, &ByColumn(features.clone()), &Target::Values(target), &options(1, 2)).unwrap();
    assert_eq!(grown.raw(features.view()).unwrap().into_raw_vec_and_offset().0, expected);
    let splits = grown.importance(boosting::Use::Splits).unwrap();
    assert_eq!((splits.iter().sum::<f64>(), splits[0]), (90.0, 0.0));
    let gain = grown.importance(boosting::Use::Gain).unwrap();
    assert!(gain[1] > gain[5] && gain[5] > gain[50], "{gain:?}");
    let told = features.slice(ndarray::s![..20, ..]);
    let (contributions, raw) = (grown.contributions(told).unwrap(), grown.raw(told).unwrap());
    for (contributions, raw) in contributions.rows().into_iter().zip(&raw) {
        assert!((contributions.sum() - raw).abs() < 1e-9);
    }
}
