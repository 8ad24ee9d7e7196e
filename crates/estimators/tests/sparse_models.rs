//! Linear models with an L1 penalty against scikit-learn's, from `tests/reference/sparse_models.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shared;

use ndarray::{Array1, Array2, Axis};
use retune_estimators::lasso::{PenalisedSquares, Penalty};
use retune_estimators::{FittedLinear, FittedLogistic, FittedModel, logistic};
use retune_stage::{Design, Silent, Target};
use serde_json::{Value, json};
use shared::{assert_close, cases, design, learn, made, matrix, numbers, options};

const FIXTURE: &str = include_str!("fixtures/sparse_models.json");

fn linear(spec: Value, rows: &Design) -> (FittedLinear, Vec<String>) {
    let (FittedModel::Linear(model), info) = learn(spec, rows).unwrap() else { panic!() };
    (model, info.notes)
}

fn logistic(spec: Value, rows: &Design) -> (FittedLogistic, Vec<String>) {
    let (FittedModel::Logistic(model), info) = learn(spec, rows).unwrap() else { panic!() };
    (model, info.notes)
}

#[test]
fn penalised_squares_are_those_of_scikit_learn() {
    for case in cases(FIXTURE, "squares") {
        let name = case["name"].as_str().unwrap();
        let rows = design(&case);
        let limits = json!({"tolerance": 1e-14, "max_iterations": 1_000_000});
        let spec = |own: Value| {
            let mut spec = limits.clone();
            spec.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            spec
        };
        let estimator = if name.starts_with("lasso") {
            json!({"lasso": spec(json!({"l1": case["alpha"]}))})
        } else {
            json!({"elastic_net": spec(json!({"alpha": case["alpha"], "l1_ratio": case["l1_ratio"]}))})
        };
        let (model, notes) = linear(estimator, &rows);
        assert_eq!(notes, Vec::<String>::new(), "{name}");
        let theirs = numbers(&case["coefficients"]);
        assert_close(name, &model.coefficients, &theirs, 1e-6);
        assert_close(name, &[model.intercept], &[case["intercept"].as_f64().unwrap()], 1e-6);
        let zeros = |values: &[f64]| values.iter().map(|value| *value == 0.0).collect::<Vec<bool>>();
        assert_eq!(zeros(&model.coefficients), zeros(&theirs), "{name}");
    }
}

/// Values that depend on every third column.
fn values(n_rows: usize, n_features: usize) -> Design {
    let rows = made(n_rows, n_features, 2);
    let value = |row: ndarray::ArrayView1<f64>| row.iter().step_by(3).sum::<f64>() + (37.0 * row[0]).sin();
    let values = rows.features.rows().into_iter().map(value).collect();
    Design { target: Some(Target::Values(values)), ..rows }
}

#[test]
fn paths_on_products_and_on_residuals_keep_the_conditions_of_optimality() {
    // With few rows and many columns the working set outgrows what sums of products are kept of.
    for (n_rows, n_features) in [(5000, 150), (300, 900), (30, 900)] {
        let rows = values(n_rows, n_features);
        let mut squares = PenalisedSquares::new(&rows).unwrap();
        let target = Array1::from(shared::values_of(&rows));
        let strongest = squares.strongest();
        for share in [1.0, 0.5, 0.1, 0.01, 1e-3] {
            let penalty = Penalty { l1: share * strongest, l2: 0.1 * share * strongest };
            let solved = squares.solve(penalty, 1e-12, 100_000, &Silent).unwrap();
            assert!(solved.converged && solved.gap <= 1e-12, "{n_rows} {share}: {solved:?}");
            let model = squares.model();
            let predicted = rows.features.dot(&Array1::from(model.coefficients.clone())) + model.intercept;
            let slopes = rows.features.t().dot(&(&target - &predicted)) / n_rows as f64;
            for (coefficient, slope) in model.coefficients.iter().zip(slopes) {
                let slope = slope - penalty.l2 * coefficient;
                let miss = match *coefficient == 0.0 {
                    true => (slope.abs() - penalty.l1).max(0.0),
                    false => (slope - penalty.l1 * coefficient.signum()).abs(),
                };
                assert!(miss < 1e-4 * penalty.l1, "{n_rows} {share}: {miss} of {}", penalty.l1);
            }
        }
    }
}

#[test]
fn what_penalties_do_not_say_is_a_note() {
    let rows = values(200, 5);
    let (model, notes) = linear(json!({"lasso": {"l1": 0.0}}), &rows);
    assert_eq!(notes, ["lasso without a penalty is least squares: `linear_regression` says so"]);
    assert_eq!(model, linear(json!({"linear_regression": {}}), &rows).0);
    let (_, notes) = linear(json!({"lasso": {"l1": 1e-9, "max_iterations": 1, "tolerance": 1e-15}}), &values(20, 60));
    assert!(notes[0].starts_with("lasso did not converge: the duality gap is "), "{notes:?}");
    let spec = json!({"logistic_regression": {"l1": 1.0, "max_iterations": 1, "tolerance": 1e-12}});
    let (_, notes) = logistic(spec, &made(300, 5, 3));
    assert_eq!(notes.len(), 1);
}

/// The summed cross-entropies plus penalties.
fn objective(rows: &Design, weights: &[f64], model: &FittedLogistic, (l1, l2): (f64, f64)) -> f64 {
    let Some(Target::Classes { codes, .. }) = &rows.target else { panic!() };
    let scores = rows.features.dot(&model.coefficients.t()) + &model.intercepts;
    let loss = |row: usize| {
        let (scores, code) = (scores.row(row).to_vec(), codes[row] as usize);
        let scores = if scores.len() == 1 { vec![0.0, scores[0]] } else { scores };
        let greatest = scores.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        weights[row] * (scores.iter().map(|s| (s - greatest).exp()).sum::<f64>().ln() + greatest - scores[code])
    };
    let penalty = |value: &f64| l1 * value.abs() + 0.5 * l2 * value * value;
    (0..codes.len()).map(loss).sum::<f64>() + model.coefficients.iter().map(penalty).sum::<f64>()
}

#[test]
fn sparse_logistic_regression_is_as_good_as_saga() {
    for case in cases(FIXTURE, "logistic") {
        let name = case["name"].as_str().unwrap();
        let rows = design(&case);
        let penalties = (case["l1"].as_f64().unwrap(), case["l2"].as_f64().unwrap());
        let spec = json!({
            "l1": penalties.0, "l2": penalties.1, "class_weight": case["class_weight"], "tolerance": 1e-11, "max_iterations": 500,
        });
        let (model, notes) = logistic(json!({"logistic_regression": spec}), &rows);
        assert_eq!(notes, Vec::<String>::new(), "{name}");
        let theirs = matrix(&case["coefficients"]);
        let zeros = |values: &Array2<f64>| values.mapv(|value| value == 0.0);
        assert_eq!(zeros(&model.coefficients), zeros(&theirs), "{name}");
        assert_close(name, &model.coefficients, &theirs, 1e-5);
        assert_close(name, &model.intercepts, &numbers(&case["intercepts"]), 1e-5);
        let ours = objective(&rows, &shared::weights(&case), &model, penalties);
        let theirs = case["objective"].as_f64().unwrap();
        assert!(ours <= theirs * (1.0 + 1e-10) && ours >= theirs * (1.0 - 1e-7), "{name}: {ours} against {theirs}");
    }
}

#[test]
fn a_warm_start_of_sparse_logistic_regression_is_at_the_end_already() {
    let rows = made(2000, 20, 3);
    let spec = serde_json::from_value(json!({"l1": 5.0, "tolerance": 1e-9})).unwrap();
    let (cold, _) = logistic::fit(&spec, &rows, &options()).unwrap();
    let (warm, _) = logistic::fit_from(&spec, &rows, &options(), Some(&cold)).unwrap();
    assert!(cold.search().0 > 1 && warm.search().0 <= 1, "{:?} {:?}", cold.search(), warm.search());
    assert!(cold.coefficients.iter().any(|value| *value == 0.0));
}

#[test]
fn many_columns_of_many_labels_are_solved_by_a_bound() {
    // Over 3,000 parameters at once have no common curvature.
    let rows = made(400, 900, 4);
    let (model, notes) = logistic(json!({"logistic_regression": {"l1": 1e-3, "l2": 1.0, "tolerance": 1e-6}}), &rows);
    assert_eq!(notes, Vec::<String>::new());
    let (smooth, _) =
        logistic(json!({"logistic_regression": {"l2": 1.0, "tolerance": 1e-9, "max_iterations": 2000}}), &rows);
    let near = |model: &FittedLogistic| objective(&rows, &[1.0; 400], model, (1e-3, 1.0));
    assert!(near(&model) <= near(&smooth), "{} against {}", near(&model), near(&smooth));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (labels, values) = (made(20_000, 30, 3), values(20_000, 30));
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            (
                logistic(json!({"logistic_regression": {"l1": 10.0}}), &labels).0,
                linear(json!({"lasso": {"l1": 1e-3}}), &values).0,
            )
        })
    };
    assert_eq!(with(1), with(3));
    assert_eq!(with(2).0.coefficients.len_of(Axis(0)), 3);
}
