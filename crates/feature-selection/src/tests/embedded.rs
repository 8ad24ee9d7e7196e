//! Methods that ask trained models, against scikit-learn and LightGBM (`tests/reference/embedded.py`), and on tables whose informative columns are known.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::ThreadPoolBuilder;
use retune_spec::feature_selection::{
    Boruta, L1, LinearCoefficients, PermutationImportance, ShapImportance, TreeImportance,
};
use retune_stage::{FitContext, Fold, Role, Table, Target, Ties};
use retune_testing::{classification, regression, table};
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json};

use crate::choose::Grouped;
use crate::features::{Feature, features, target};
use crate::judge::{Judge, Judgement, Question, Verdict};
use crate::l1::{losses, objective, solves, strongest};
use crate::permutation_importance::held_out;
use crate::shap_importance::Explainer;
use crate::tests::judged;
use crate::trees::{Numbers, Trees, boosted, grow};
use crate::wrapped::folds;

const TARGETS: [&str; 3] = ["values", "binary", "classes"];

fn reference() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/embedded.json")).unwrap()
}

fn parsed<T: DeserializeOwned>(value: &Value) -> T {
    from_value(value.clone()).unwrap()
}

/// The reference's columns with one of its targets.
fn table_of(all: &Value, target: &str) -> Table {
    let columns: Vec<Vec<f64>> = parsed(&all["columns"]);
    let y: Vec<f64> = parsed(&all[target]);
    let names: Vec<String> = (0..columns.len()).map(|at| format!("x{at:02}")).collect();
    let mut columns: Vec<(&str, _)> =
        names.iter().zip(columns).map(|(name, values)| (name.as_str(), values.into())).collect();
    columns.push(if target == "values" { ("y", y.into()) } else { ("y", labels(&y).into()) });
    table(columns).target("y").build()
}

fn labels(codes: &[f64]) -> Vec<String> {
    codes.iter().map(|code| format!("label {code}")).collect()
}

fn method<T: DeserializeOwned>(value: Value) -> T {
    from_value(value).unwrap()
}

fn scores(judge: &dyn Judge, table: &Table) -> Vec<f64> {
    scores_of(&judged(judge, table).unwrap().verdicts)
}

fn scores_of(verdicts: &[Verdict]) -> Vec<f64> {
    verdicts.iter().map(|verdict| verdict.score).collect()
}

fn kept(verdicts: &[Verdict]) -> Vec<usize> {
    (0..verdicts.len()).filter(|&at| verdicts[at].kept).collect()
}

fn check(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance * expected.abs().max(1.0),
            "{what}, {at}: {found}, not {expected}"
        );
    }
}

/// What a method is told of a table.
fn asked<T>(table: &Table, answer: impl FnOnce(&[Feature], &Question) -> T) -> T {
    let features = features(table, &[], &[]).unwrap();
    let question = Question {
        target: &target(table).unwrap(),
        task: &table.schema().task.clone().unwrap(),
        ties: &Ties::of(table).unwrap(),
        groups: &Grouped::new(&features, |_| None),
        context: FitContext::plain(7),
    };
    answer(&features, &question)
}

#[test]
fn l1_has_the_coefficients_of_scikit_learn() {
    let all = reference();
    for name in TARGETS {
        let table = table_of(&all, name);
        for solution in all["penalised"][name].as_array().unwrap() {
            let verdicts = judged(&method::<L1>(json!({ "alpha": solution["alpha"] })), &table).unwrap().verdicts;
            let expected: Vec<f64> = parsed(&solution["magnitudes"]);
            let found = scores_of(&verdicts);
            check(&found, &expected, if name == "values" { 1e-6 } else { 2e-5 }, name);
            let support: Vec<usize> = (0..expected.len()).filter(|&at| expected[at] > 1e-9).collect();
            assert_eq!(kept(&verdicts), support, "{name}");
        }
    }
}

/// Of two, three and five labels.
#[test]
fn l1_has_the_least_objective() {
    let all = reference();
    let many = json!({ "columns": all["columns"], "many": all["many"]["labels"] });
    let cases = [
        (table_of(&all, "binary"), &all["penalised"]["binary"]),
        (table_of(&all, "classes"), &all["penalised"]["classes"]),
        (table_of(&many, "many"), &all["many"]["objectives"]),
    ];
    for (table, solutions) in cases {
        for solution in solutions.as_array().unwrap() {
            let found = asked(&table, |features, question| {
                objective(&Numbers::of(features, None).unwrap(), question.target, parsed(&solution["alpha"]))
            });
            let expected: f64 = parsed(&solution["objective"]);
            assert!((found / expected - 1.0).abs() < 1e-6, "{found}, not {expected}");
        }
    }
}

#[test]
fn l1_says_where_it_does_not_converge() {
    let all = reference();
    for name in TARGETS {
        asked(&table_of(&all, name), |features, question| {
            let columns = Numbers::of(features, None).unwrap();
            let alpha = 0.01 * strongest(&columns, question.target);
            assert!(solves(&columns, question.target, alpha, 1e-9), "{name}");
            assert!(!solves(&columns, question.target, alpha, -1e-30), "{name}");
        });
    }
}

#[test]
fn l1_converges_with_more_columns_than_rows() {
    asked(&noisy(60, 1500, 5, 1, "classes", 6.0), |features, question| {
        let columns = Numbers::of(features, None).unwrap();
        assert!(solves(&columns, question.target, 0.01 * strongest(&columns, question.target), 1e-9));
    });
}

#[test]
fn l1_lets_columns_in_one_after_the_other() {
    let all = reference();
    let order: Vec<usize> = parsed(&all["entering"]);
    let table = table_of(&all, "values");
    for keep in 1..=order.len() {
        let mut expected = order[..keep].to_vec();
        expected.sort_unstable();
        assert_eq!(kept(&judged(&method::<L1>(json!({ "keep": keep })), &table).unwrap().verdicts), expected);
    }
    for name in ["binary", "classes"] {
        let table = table_of(&all, name);
        for keep in [1, 4, 7] {
            let verdicts = judged(&method::<L1>(json!({ "keep": keep })), &table).unwrap().verdicts;
            assert_eq!(kept(&verdicts).len(), keep, "{name}");
        }
    }
}

#[test]
fn l1_losses_on_other_rows_are_those_of_scikit_learn() {
    let all = reference();
    let n_train: usize = parsed(&all["train"]);
    for name in TARGETS {
        let table = table_of(&all, name);
        let fold = Fold { train: (0..n_train).collect(), validation: (n_train..table.n_rows()).collect() };
        let found = asked(&table, |features, question| {
            let columns = Numbers::of(features, None).unwrap();
            losses(strongest(&columns, question.target), &fold, &columns, question).unwrap().0
        });
        for (at, expected) in parsed::<Vec<(usize, f64)>>(&all["held_out"][name]) {
            check(&found[at..=at], &[expected], 1e-3, name);
        }
    }
}

/// The rule of one standard error, on the losses that the test above compares.
#[test]
fn l1_finds_the_penalty_by_folds() {
    for (at, name) in TARGETS.into_iter().enumerate() {
        let table = noisy(600, 60, 5, at as u64, name, 6.0);
        let Judgement { verdicts, note } = judged(&method::<L1>(json!({})), &table).unwrap();
        assert!(note.unwrap().contains("within one standard error of the best of 5 folds"));
        let chosen = kept(&verdicts);
        assert!((0..5).all(|column| chosen.contains(&column)) && chosen.len() < 30, "{name}: {chosen:?}");
        let expected = asked(&table, |features, question| {
            let columns = Numbers::of(features, None).unwrap();
            let strongest = strongest(&columns, question.target);
            let folds = folds(question, 5).unwrap();
            let losses: Vec<Vec<f64>> =
                folds.iter().map(|fold| losses(strongest, fold, &columns, question).unwrap().0).collect();
            let of = |at: usize| losses.iter().map(|losses| losses[at]).collect::<Vec<f64>>();
            let mean = |at: usize| of(at).iter().sum::<f64>() / 5.0;
            let n = losses.iter().map(Vec::len).min().unwrap();
            let best = (0..n).min_by(|&a, &b| mean(a).total_cmp(&mean(b))).unwrap();
            let deviation = (of(best).iter().map(|loss| (loss - mean(best)).powi(2)).sum::<f64>() / 4.0).sqrt();
            let at = (0..n).find(|&at| mean(at) <= mean(best) + deviation / 5.0_f64.sqrt()).unwrap();
            assert!(0 < at && at < best, "{name}: {at} before {best}");
            strongest * 10.0_f64.powf(-3.0 * at as f64 / 99.0)
        });
        let alone = judged(&method::<L1>(json!({ "alpha": expected })), &table).unwrap().verdicts;
        check(&scores_of(&verdicts), &scores_of(&alone), 1e-6, name);
    }
}

#[test]
fn linear_coefficients_are_those_of_scikit_learn() {
    let all = reference();
    for name in TARGETS {
        let found = scores(&method::<LinearCoefficients>(json!({ "keep": 3, "l2": 0.5 })), &table_of(&all, name));
        let expected: Vec<Vec<f64>> = parsed(&all["linear"][name]);
        let norm = |column: usize| expected.iter().map(|output| output[column].powi(2)).sum::<f64>().sqrt();
        check(&found, &(0..found.len()).map(norm).collect::<Vec<_>>(), 1e-6, name);
    }
}

#[test]
fn importances_are_those_of_lightgbm() {
    let all = reference();
    for name in TARGETS {
        let (table, expected) = (table_of(&all, name), &all["trees"][name]);
        for importance in ["gain", "split"] {
            let judge: TreeImportance = method(json!({ "keep": 3, "trees": 30, "importance": importance }));
            check(&scores(&judge, &table), &parsed::<Vec<f64>>(&expected[importance]), 1e-6, name);
        }
        let judge: ShapImportance = method(json!({ "keep": 3, "trees": 30 }));
        check(&scores(&judge, &table), &parsed::<Vec<f64>>(&expected["shap"]), 1e-6, name);
    }
}

/// Trees with missing values in all of LightGBM's ways.
#[test]
fn shap_values_are_those_of_lightgbm() {
    for (name, case) in reference()["explained"].as_object().unwrap() {
        let trees = Trees::read(case["model"].as_str().unwrap()).unwrap();
        let rows: Vec<Vec<Option<f64>>> = parsed(&case["rows"]);
        let n_columns = rows[0].len();
        let column = |at: usize| rows.iter().map(|row| row[at].unwrap_or(f64::NAN)).collect::<Vec<f64>>();
        let columns: Vec<Vec<f64>> = (0..n_columns).map(column).collect();
        let expected: Vec<Vec<f64>> = parsed(&case["contributions"]);
        let explainer = Explainer::new(&trees, n_columns);
        for output in 0..trees.outputs {
            let found = explainer.contributions(output, &columns, rows.len());
            for (column, found) in found.chunks_exact(rows.len()).enumerate() {
                let at = output * (n_columns + 1) + column;
                let expected: Vec<f64> = expected.iter().map(|row| row[at]).collect();
                check(found, &expected, 1e-10, name);
            }
        }
    }
}

/// The same against the library itself, with deep trees and more rows than a block.
#[test]
fn shap_values_of_deep_trees() {
    let table = regression(1500, 12, 3);
    asked(&table, |features, question| {
        let columns = Numbers::of(features, None).unwrap();
        let grown = grow(&boosted(20, 200, 0.3).unwrap(), &columns, question.target, question).unwrap();
        let trees = Trees::read(&grown.text().unwrap()).unwrap();
        let rows: Vec<usize> = (0..500).collect();
        let values: Vec<Vec<f64>> = features.iter().map(|feature| feature.numbers().unwrap()[..500].to_vec()).collect();
        let found = Explainer::new(&trees, features.len()).contributions(0, &values, rows.len());
        let matrix = table.features().unwrap().0;
        let expected = grown.contributions(matrix.slice(ndarray::s![..500, ..])).unwrap();
        for (column, found) in found.chunks_exact(rows.len()).enumerate() {
            check(found, &expected.column(column).to_vec(), 1e-8, "deep trees");
        }
    });
}

/// Columns by which trees never split score exactly 0; the others what whole predictions of a shuffled table give.
#[test]
fn permutations_are_those_of_whole_predictions() {
    for (table, metric) in [
        (planted(800, 12, 4, 5, "values"), "rmse"),
        (planted(800, 12, 4, 6, "binary"), "log_loss"),
        (planted(800, 12, 4, 7, "classes"), "log_loss"),
    ] {
        for model in ["trees", "linear"] {
            let judge: PermutationImportance = method(json!({ "model": model, "metric": metric, "repeats": 10 }));
            let verdicts = judged(&judge, &table).unwrap().verdicts;
            let expected = asked(&table, |features, question| {
                crate::permutation_importance::plainly(&judge, features, question).unwrap()
            });
            check(&scores_of(&verdicts), &expected, 1e-9, model);
            assert!((0..4).all(|column| verdicts[column].kept), "{model}: {verdicts:?}");
        }
    }
}

#[test]
fn permutation_scores_have_intervals() {
    let verdicts = judged(&method::<PermutationImportance>(json!({ "repeats": 20 })), &planted(600, 6, 2, 1, "binary"))
        .unwrap()
        .verdicts;
    let [low, high] = verdicts[0].interval.unwrap();
    assert!(0.0 < low && low < verdicts[0].score && verdicts[0].score < high && verdicts[0].kept);
    let once =
        judged(&method::<PermutationImportance>(json!({ "repeats": 1 })), &planted(600, 6, 2, 1, "binary")).unwrap();
    assert!(once.verdicts.iter().all(|verdict| verdict.interval.is_none()));
}

#[test]
fn held_out_rows_are_late_or_whole_groups() {
    let times: Vec<f64> = (0..40).map(|row| f64::from(row / 3)).collect();
    let groups: Vec<String> = (0..40).map(|row| format!("g{}", row % 8)).collect();
    let y: Vec<f64> = (0..40).map(f64::from).collect();
    let later = table([("x", y.clone().into()), ("t", times.clone().into()), ("y", y.clone().into())]);
    let later =
        asked(&later.role("t", Role::Time).target("y").build(), |_, question| held_out(question, 0.25).unwrap());
    assert_eq!(later.validation, (30..40).collect::<Vec<_>>());
    let grouped = table([("x", y.clone().into()), ("g", groups.clone().into()), ("y", y.into())]);
    let grouped =
        asked(&grouped.role("g", Role::Group).target("y").build(), |_, question| held_out(question, 0.25).unwrap());
    assert_eq!(grouped.validation.len(), 10);
    assert!(grouped.validation.iter().all(|&judge| grouped.train.iter().all(|&row| groups[row] != groups[judge])));
    let alike = asked(&classification(90, 2, 3, 1), |_, question| {
        held_out(question, 0.2).map(|fold| question.target.take(&fold.validation)).unwrap()
    });
    let Target::Classes { codes, .. } = alike else { panic!("labels") };
    assert!((0..3).all(|label| codes.iter().filter(|&&code| code == label).count() == 6));
}

/// Madelon-like: 20 of 500 columns tell, each a little - eight by their sum, six by their magnitude, and three pairs by their sum and product. None is missed, and
/// at most one other column is kept.
#[test]
fn boruta_finds_all_that_tell() {
    for seed in 1..=5 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let columns: Vec<Vec<f64>> = (0..500).map(|_| normals(2000, &mut rng)).collect();
        let noise = normals(2000, &mut rng);
        let told = |row: usize| {
            let x = |column: usize| columns[column][row];
            let sums: f64 = (0..8).map(x).sum();
            let magnitudes: f64 = (8..14).map(|column| 2.0 * (x(column).abs() - 0.8)).sum();
            let pairs: f64 =
                [14, 16, 18].into_iter().map(|column| x(column) + x(column + 1) + x(column) * x(column + 1)).sum();
            sums + magnitudes + pairs + 0.5 * noise[row]
        };
        let y: Vec<&str> = (0..2000).map(|row| if told(row) > 0.0 { "high" } else { "low" }).collect();
        let names: Vec<String> = (0..500).map(|at| format!("x{at:03}")).collect();
        let mut columns: Vec<(&str, _)> =
            names.iter().zip(columns).map(|(name, x)| (name.as_str(), x.into())).collect();
        columns.push(("y", y.into()));
        let Judgement { verdicts, note } =
            judged(&method::<Boruta>(json!({})), &table(columns).target("y").build()).unwrap();
        let kept = kept(&verdicts);
        assert!((0..20).all(|column| kept.contains(&column)) && kept.len() <= 21, "seed {seed}: {kept:?}, {note:?}");
    }
}

#[test]
fn boruta_takes_values_and_labels_and_few_columns() {
    for name in TARGETS {
        let mut n_false = 0;
        for seed in 1..=10 {
            let verdicts = judged(&method::<Boruta>(json!({})), &planted(500, 10, 3, seed, name)).unwrap().verdicts;
            let kept = kept(&verdicts);
            assert!(kept.starts_with(&[0, 1, 2]), "{name}: {verdicts:?}");
            n_false += kept.len() - 3;
            let all = verdicts.iter().enumerate();
            assert!(all.clone().take(3).all(|(_, verdict)| verdict.reason.contains("confirmed")), "{verdicts:?}");
            assert!(all.clone().any(|(_, verdict)| verdict.reason.contains("rejected")), "{verdicts:?}");
        }
        // A noise column is as near the target as the nearest of thirty copies in one of thirty tables.
        assert!(n_false <= 5, "{name}: {n_false} of 70 noise columns kept");
    }
    let one = judged(&method::<Boruta>(json!({})), &planted(500, 1, 1, 4, "values")).unwrap().verdicts;
    assert!(one[0].kept);
}

fn all_methods() -> Vec<Box<dyn Judge + Sync>> {
    vec![
        Box::new(method::<L1>(json!({}))),
        Box::new(method::<L1>(json!({ "keep": 4 }))),
        Box::new(method::<LinearCoefficients>(json!({ "keep": 4 }))),
        Box::new(method::<TreeImportance>(json!({ "keep": 4 }))),
        Box::new(method::<ShapImportance>(json!({ "keep": 4, "max_rows": 900 }))),
        Box::new(method::<PermutationImportance>(json!({}))),
        Box::new(method::<PermutationImportance>(json!({ "model": "linear" }))),
        Box::new(method::<Boruta>(json!({ "iterations": 8 }))),
    ]
}

#[test]
fn verdicts_do_not_depend_on_threads() {
    for name in TARGETS {
        let table = planted(1200, 9, 3, 8, name);
        for judge in all_methods() {
            let with = |threads: usize| {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| judged(judge.as_ref(), &table).unwrap().verdicts)
            };
            assert_eq!(with(1), with(3), "{name}");
        }
    }
}

/// A constant column, one that repeats another, and few rows.
#[test]
fn odd_columns_have_finite_scores() {
    for name in TARGETS {
        for n_rows in [12, 300] {
            let y: Vec<f64> = (0..n_rows).map(|row| f64::from(row % 3)).collect();
            let y = if name == "binary" { y.iter().map(|y| y.min(1.0)).collect() } else { y };
            let x: Vec<f64> = y.iter().enumerate().map(|(row, y)| y + (row as f64 * 0.7).sin()).collect();
            let columns =
                [("told", x.clone().into()), ("same", x.into()), ("constant", vec![0.1; n_rows as usize].into())];
            let y = if name == "values" { ("y", y.into()) } else { ("y", labels(&y).into()) };
            let table = table(columns.into_iter().chain([y])).target("y").build();
            for judge in all_methods().into_iter().skip(1) {
                let verdicts = judged(judge.as_ref(), &table).unwrap().verdicts;
                assert!(verdicts.iter().all(|verdict| verdict.score.is_finite()), "{name}, {n_rows}: {verdicts:?}");
                assert_eq!(verdicts[2].score, 0.0, "{name}, {n_rows}: {verdicts:?}");
            }
        }
    }
}

#[test]
fn trees_take_missing_values() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let y: Vec<f64> = normals(500, &mut rng);
    let holes: Vec<Option<f64>> = y.iter().map(|&y| (y < 0.5).then_some(1.0)).collect();
    let table = table([("holes", holes.into()), ("noise", normals(500, &mut rng).into()), ("y", y.into())]);
    let table = table.target("y").build();
    for judge in all_methods().into_iter().filter(|judge| judge.takes_missing()) {
        let verdicts = judged(judge.as_ref(), &table).unwrap().verdicts;
        assert!(verdicts[0].score > 2.0 * verdicts[1].score.abs(), "{verdicts:?}");
    }
}

fn normals(n: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    (0..n).map(|_| StandardNormal.sample(rng)).collect()
}

/// Columns of which the first tell, by their sum.
fn planted(n_rows: usize, n_columns: usize, n_telling: usize, seed: u64, target: &str) -> Table {
    noisy(n_rows, n_columns, n_telling, seed, target, 0.5)
}

fn noisy(n_rows: usize, n_columns: usize, n_telling: usize, seed: u64, target: &str, noise: f64) -> Table {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let columns: Vec<Vec<f64>> = (0..n_columns).map(|_| normals(n_rows, &mut rng)).collect();
    let told = |row: usize| columns[..n_telling].iter().map(|column| column[row]).sum::<f64>();
    let y: Vec<f64> = (0..n_rows).map(|row| told(row) + rng.random_range(-noise..noise)).collect();
    let spread = (n_telling as f64).sqrt();
    let names: Vec<String> = (0..n_columns).map(|at| format!("x{at:03}")).collect();
    let mut columns: Vec<(&str, _)> = names.iter().zip(columns).map(|(name, x)| (name.as_str(), x.into())).collect();
    let cut = |cuts: &[f64]| {
        let code = |y: &f64| format!("label {}", cuts.iter().filter(|cut| *y > **cut * spread).count());
        y.iter().map(code).collect::<Vec<String>>()
    };
    columns.push(match target {
        "values" => ("y", y.into()),
        "binary" => ("y", cut(&[0.0]).into()),
        _ => ("y", cut(&[-0.6, 0.6]).into()),
    });
    table(columns).target("y").build()
}
