//! `recursive_elimination` and `sequential` against scikit-learn, from `tests/reference/wrappers.py`.

use retune_spec::feature_selection::{RecursiveElimination, Sequential};
use retune_stage::{FitContext, Fold, Role, Rows, Stage, Table, Ties};
use retune_testing::{classification, regression, table};
use serde_json::{Value, from_value, json};

use crate::FeatureSelectionStage;
use crate::choose::Grouped;
use crate::features::{features, target};
use crate::judge::{Judge, Question, Verdict};
use crate::recursive_elimination::Elimination;
use crate::sequential::choose;
use crate::tests::judged;
use crate::wrapped::{Matrix, Units};

const TARGETS: [&str; 3] = ["two", "three", "values"];

fn reference() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/wrappers.json")).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    from_value(value.clone()).unwrap()
}

fn planted(reference: &Value, name: &str) -> Table {
    let columns: Vec<Vec<f64>> = read(&reference["columns"]);
    let names: Vec<String> = (0..columns.len()).map(|at| format!("x{at:02}")).collect();
    let mut columns: Vec<(&str, _)> =
        names.iter().zip(columns).map(|(name, values)| (name.as_str(), values.into())).collect();
    let target: Vec<f64> = read(&reference["targets"][name]["target"]);
    columns.push(match name {
        "values" => ("y", target.into()),
        _ => ("y", target.iter().map(|label| format!("label {label}")).collect::<Vec<_>>().into()),
    });
    table(columns).target("y").build()
}

fn folds(reference: &Value) -> Vec<Fold> {
    let folds: Vec<[Vec<usize>; 2]> = read(&reference["folds"]);
    folds.into_iter().map(|[train, validation]| Fold { train, validation }).collect()
}

/// Calls with everything that a method works on.
fn with<T>(table: &Table, ask: impl FnOnce(&Matrix, &Units, &Question) -> T) -> T {
    let features = features(table, &[], &[]).unwrap();
    let (groups, target) = (Grouped::new(&features, |_| None), target(table).unwrap());
    let task = table.schema().task.clone().unwrap();
    let question = Question {
        target: &target,
        task: &task,
        ties: &Ties::default(),
        groups: &groups,
        context: FitContext::plain(7),
    };
    let matrix = Matrix::standardised(&features, table.n_rows()).unwrap();
    ask(&matrix, &Units::new(&features, &groups), &question)
}

/// Scikit-learn's `ranking_`: the whole rounds survived, counted from the last.
fn ranking(verdicts: &[Verdict]) -> Vec<usize> {
    let last = verdicts.iter().map(|verdict| verdict.score).fold(0.0, f64::max);
    let kept = verdicts.iter().filter(|verdict| verdict.kept).map(|verdict| verdict.score as usize).min().unwrap();
    assert!(last <= kept as f64 + 1.0);
    verdicts.iter().map(|verdict| kept + 1 - (verdict.score as usize).min(kept)).collect()
}

#[test]
fn columns_go_in_the_order_of_scikit_learn() {
    let reference = reference();
    for name in TARGETS {
        for (step, expected) in reference["targets"][name]["rfe"].as_object().unwrap() {
            let step: f64 = step.parse().unwrap();
            let judge: RecursiveElimination = read(&json!({ "keep": 3, "step": step, "l2": reference["l2"] }));
            let verdicts = judged(&judge, &planted(&reference, name)).unwrap().verdicts;
            assert_eq!(ranking(&verdicts), read::<Vec<usize>>(expected), "{name} {step}");
            assert_eq!(verdicts.iter().filter(|verdict| verdict.kept).count(), 3);
        }
    }
}

#[test]
fn numbers_of_columns_score_as_in_scikit_learn() {
    let reference = reference();
    for name in TARGETS {
        let expected = &reference["targets"][name];
        let loss = if name == "values" { "rmse" } else { "log_loss" };
        let l2 = &reference["l2"];
        let cases = [
            (json!({ "l2": l2 }), &expected["rfecv"]["1"]),
            (json!({ "l2": l2, "step": 3 }), &expected["rfecv"]["3"]),
            (json!({ "l2": l2, "metric": loss }), &expected["rfecv_by_loss"]),
        ];
        for (declared, expected_here) in cases {
            let spec: RecursiveElimination = read(&declared);
            let (scores, left) = with(&planted(&reference, name), |matrix, units, question| {
                let elimination = Elimination { spec: &spec, matrix, units, question };
                let found = elimination.cross_validate(&folds(expected)).unwrap();
                (found.scores, found.rounds.into_iter().next_back().unwrap().left)
            });
            let (mut numbers, mut means): (Vec<usize>, Vec<f64>) = scores.into_iter().unzip();
            numbers.reverse();
            means.reverse();
            assert_eq!(numbers, read::<Vec<usize>>(&expected_here["n_features"]), "{name} {declared}");
            for (mean, expected) in means.iter().zip(read::<Vec<f64>>(&expected_here["scores"])) {
                assert!(
                    (mean - expected).abs() < 1e-6 * expected.abs().max(1.0),
                    "{name} {declared}: {mean} against {expected}"
                );
            }
            let ranking: Vec<usize> = read(&expected_here["ranking"]);
            assert_eq!(left, (0..12).filter(|&at| ranking[at] == 1).collect::<Vec<_>>(), "{name} {declared}");
        }
    }
}

fn chosen(reference: &Value, name: &str, declared: Value) -> Vec<usize> {
    let mut declared = declared;
    declared["l2"] = reference["l2"].clone();
    let spec: Sequential = read(&declared);
    with(&planted(reference, name), |matrix, units, question| {
        choose(&spec, matrix, units, &folds(&reference["targets"][name]), question).unwrap().units
    })
}

#[test]
fn columns_come_and_go_as_in_scikit_learn() {
    let reference = reference();
    for name in TARGETS {
        let expected = &reference["targets"][name];
        let loss = if name == "values" { "rmse" } else { "log_loss" };
        for (case, expected) in expected["sequential"].as_object().unwrap() {
            let (direction, keep) = case.split_once(' ').unwrap();
            let keep: usize = keep.parse().unwrap();
            let found = chosen(&reference, name, json!({ "direction": direction, "keep": keep }));
            assert_eq!(found, read::<Vec<usize>>(expected), "{name} {case}");
        }
        for (direction, expected) in expected["by_loss"].as_object().unwrap() {
            let found = chosen(&reference, name, json!({ "direction": direction, "keep": 5, "metric": loss }));
            assert_eq!(found, read::<Vec<usize>>(expected), "{name} {direction} by {loss}");
        }
        let helps = json!({ "metric": loss, "tolerance": 0.01 });
        assert_eq!(chosen(&reference, name, helps), read::<Vec<usize>>(&expected["while_it_helps"]), "{name}");
        let harmless = json!({ "metric": loss, "tolerance": 0.01, "direction": "backward" });
        assert_eq!(
            chosen(&reference, name, harmless),
            read::<Vec<usize>>(&expected["while_it_does_not_hurt"]),
            "{name}"
        );
    }
}

/// Noise, as the columns of a table of normal numbers.
fn noise(n: usize, d: usize, seed: u64) -> Vec<Vec<f64>> {
    let noise = regression(n, d, seed);
    (0..d).map(|at| noise.numeric(&format!("x{at}")).unwrap()).collect()
}

/// `blend` tells most by itself, and nothing beside `a` and `b`.
fn blended() -> Table {
    let [a, b, weak, blur, rest]: [Vec<f64>; 5] = noise(300, 5, 4).try_into().unwrap();
    let rows = 0..a.len();
    let blend: Vec<f64> = rows.clone().map(|row| a[row] + b[row] + blur[row]).collect();
    let y: Vec<f64> = rows.map(|row| a[row] + b[row] + 0.25 * weak[row] + 0.02 * rest[row]).collect();
    table([("blend", blend.into()), ("a", a.into()), ("b", b.into()), ("weak", weak.into()), ("y", y.into())])
        .target("y")
        .build()
}

fn kept(declared: Value, table: &Table) -> Vec<String> {
    let stage = FeatureSelectionStage(from_value(declared).unwrap());
    let fit = stage.fit(Rows::Table(table.clone()), &FitContext::plain(7)).unwrap();
    fit.train.schema().features().map(|field| field.name.clone()).collect()
}

#[test]
fn a_floating_search_takes_back_what_a_plain_one_is_stuck_with() {
    let table = blended();
    let sequential = |declared: Value| kept(json!({ "steps": [{ "sequential": declared }] }), &table);
    assert_eq!(sequential(json!({ "keep": 3 })), ["blend", "a", "b"]);
    assert_eq!(sequential(json!({ "keep": 3, "floating": true })), ["a", "b", "weak"]);
    // It goes one beyond to find that out of two.
    assert_eq!(sequential(json!({ "keep": 2 })), ["blend", "a"]);
    assert_eq!(sequential(json!({ "keep": 2, "floating": true })), ["a", "b"]);
    assert_eq!(sequential(json!({ "floating": true, "tolerance": 0.01 })), ["a", "b", "weak"]);
    let backward = json!({ "keep": 2, "floating": true, "direction": "backward" });
    assert_eq!(sequential(backward), ["a", "b"]);
}

/// Where nothing tells of the target, scores go up and down by chance, and most of them are equal.
#[test]
fn a_floating_search_ends() {
    let labels: Vec<&str> = (0..40).map(|row| if row % 3 == 0 { "yes" } else { "no" }).collect();
    let values = noise(40, 8, 9);
    let names: Vec<String> = (0..8).map(|at| format!("x{at}")).collect();
    let mut columns: Vec<(&str, _)> =
        names.iter().zip(values).map(|(name, values)| (name.as_str(), values.into())).collect();
    columns.push(("y", labels.into()));
    let table = table(columns).target("y").build();
    for direction in ["forward", "backward"] {
        for tolerance in [-1.0, 0.0, 0.001] {
            let declared = json!({ "floating": true, "direction": direction, "tolerance": tolerance });
            let judge: Sequential = from_value(declared).unwrap();
            let verdicts = judged(&judge, &table).unwrap().verdicts;
            assert!(verdicts.iter().any(|verdict| verdict.kept), "{direction} {tolerance}");
        }
    }
}

#[test]
fn pinned_columns_stay_in_every_model_and_groups_go_as_one() {
    let table = blended();
    let kept = |method: Value, more: Value| {
        let mut declared = json!({ "steps": [method] });
        more.as_object().unwrap().iter().for_each(|(key, value)| declared[key] = value.clone());
        kept(declared, &table)
    };
    for method in [json!({ "recursive_elimination": { "keep": 3 } }), json!({ "sequential": { "keep": 3 } })] {
        assert_eq!(kept(method, json!({ "always_keep": "weak" })).len(), 3);
    }
    let weak = json!({ "always_keep": "weak" });
    // By itself it would go.
    let backward = json!({ "sequential": { "keep": 2, "direction": "backward" } });
    assert_eq!(kept(backward, json!({ "always_keep": "blend" })), ["blend", "a"]);
    assert_eq!(kept(json!({ "recursive_elimination": { "keep": 1 } }), weak), ["weak"]);
    let groups = json!({ "groups": { "pair": ["a", "b"] } });
    for method in [json!({ "recursive_elimination": { "keep": 1 } }), json!({ "sequential": { "keep": 1 } })] {
        assert_eq!(kept(method, groups.clone()), ["a", "b"]);
    }
}

#[test]
fn nothing_depends_on_the_number_of_threads() {
    // More rows than a chunk has.
    let (labels, values) = (classification(5000, 5, 3, 5), regression(5000, 5, 5));
    let judges: [Box<dyn Judge + Sync>; 3] = [
        Box::new(read::<RecursiveElimination>(&json!({}))),
        Box::new(read::<RecursiveElimination>(&json!({ "model": "trees", "step": 3, "folds": 2 }))),
        Box::new(read::<Sequential>(&json!({ "keep": 2, "folds": 3 }))),
    ];
    for table in [&labels, &values] {
        for judge in &judges {
            let on = |threads: usize| {
                let pool = pool_of(threads);
                pool.install(|| judged(judge.as_ref(), table).unwrap().verdicts)
            };
            assert_eq!(on(1), on(3));
        }
    }
}

fn pool_of(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

#[test]
fn a_column_that_never_changes_goes_first_and_scores_are_numbers() {
    for (table, n) in [(classification(200, 3, 2, 1), 3), (regression(200, 3, 1), 3)] {
        let constant = table.numeric("x0").unwrap().iter().map(|_| 0.1).collect::<Vec<f64>>();
        let column = polars::prelude::NamedFrom::new("same".into(), constant);
        let series: polars::prelude::Series = column;
        let field = retune_stage::Field::feature("same", retune_stage::Kind::Numeric);
        let table = table.replace(&[], vec![(field, series.into())]).unwrap();
        for model in ["linear", "trees"] {
            for l2 in [0.0, 1.0] {
                let judge: RecursiveElimination = read(&json!({ "keep": 2, "model": model, "l2": l2 }));
                let verdicts = judged(&judge, &table).unwrap().verdicts;
                assert!(verdicts.iter().all(|verdict| verdict.score.is_finite()));
                assert!(verdicts[n].score.abs() < 1e-12 && !verdicts[n].kept, "{model}: {}", verdicts[n].reason);
                let judge: Sequential = read(&json!({ "keep": 2, "model": model, "l2": l2 }));
                let verdicts = judged(&judge, &table).unwrap().verdicts;
                assert!(verdicts.iter().all(|verdict| verdict.score.is_finite()) && !verdicts[n].kept);
            }
        }
    }
}

#[test]
fn what_cannot_be_scored_is_refused_with_a_way_out() {
    let row: Vec<f64> = (0..60).map(f64::from).collect();
    let late: Vec<&str> = (0..60).map(|row| if row < 30 { "early" } else { "late" }).collect();
    let ordered = table([("x", noise(60, 1, 3).remove(0).into()), ("when", row.into()), ("y", late.into())])
        .role("when", Role::Time)
        .target("y")
        .build();
    for method in [json!({ "recursive_elimination": {} }), json!({ "sequential": {} })] {
        let stage = FeatureSelectionStage(from_value(json!({ "steps": [method] })).unwrap());
        let error = stage.fit(Rows::Table(ordered.clone()), &FitContext::plain(7)).err().unwrap();
        assert!(error.message.contains("have the same label"), "{}", error.message);
        assert!(error.help.unwrap().contains("fewer folds"));
    }
    let judge: Sequential = read(&json!({ "metric": "r2" }));
    let error = judged(&judge, &classification(60, 2, 2, 1)).err().unwrap();
    assert_eq!(error.message, "a fold cannot be scored: r2 is not a score of labels");
}
