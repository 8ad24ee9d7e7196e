//! Linear models against scikit-learn's, from `tests/reference/linear_models.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ndarray::{Array2, s};
use retune_estimators::{FitOptions, FittedModel, Learned, fit, logistic};
use retune_metrics::Prediction;
use retune_spec::Estimator;
use retune_spec::estimators::{ClassWeight, LinearRegression, LogisticRegression, Ridge};
use retune_stage::{Design, Device, Seed, Silent, Target, Task};
use serde_json::Value;

fn options() -> FitOptions<'static> {
    FitOptions { seed: Seed(1), threads: 1, device: Device::Cpu, progress: &Silent }
}

fn cases(kind: &str) -> Vec<Value> {
    let cases: Value = serde_json::from_str(include_str!("fixtures/linear_models.json")).unwrap();
    cases[kind].as_array().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

fn design(case: &Value) -> Design {
    let features = matrix(&case["features"]);
    let target = match case["n_classes"].as_u64() {
        Some(n_classes) => Target::Classes {
            codes: serde_json::from_value(case["target"].clone()).unwrap(),
            n_classes: n_classes as usize,
        },
        None => Target::Values(numbers(&case["target"])),
    };
    let weights = (!case["weights"].is_null()).then(|| numbers(&case["weights"]));
    Design {
        names: (0..features.ncols()).map(|column| format!("x{column}")).collect(),
        features,
        target: Some(target),
        weights,
        ..Design::default()
    }
}

fn task(case: &Value) -> Task {
    match case["n_classes"].as_u64() {
        Some(n_classes) => Task::Classification { labels: (0..n_classes).map(|label| label.to_string()).collect() },
        None => Task::Regression,
    }
}

fn assert_close<'a>(what: &str, ours: impl IntoIterator<Item = &'a f64>, theirs: &[f64], tolerance: f64) {
    let ours: Vec<f64> = ours.into_iter().copied().collect();
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(0.0_f64, |scale, value| scale.max(value.abs()));
    for (ours, theirs) in ours.iter().zip(theirs) {
        // Relative to the value itself, and to the greatest for those that are zero but for rounding.
        assert!((ours - theirs).abs() <= tolerance * (theirs.abs() + 1e-4 * scale), "{what}: {ours} against {theirs}");
    }
}

fn spec(case: &Value) -> LogisticRegression {
    LogisticRegression {
        l2: case["l2"].as_f64().unwrap(),
        l1: 0.0,
        class_weight: if case["class_weight"] == "balanced" { ClassWeight::Balanced } else { ClassWeight::None },
        max_iterations: 500,
        tolerance: 1e-9,
    }
}

#[test]
fn logistic_regression_finds_the_optimum_of_scikit_learn() {
    for case in cases("logistic") {
        let name = case["name"].as_str().unwrap();
        let rows = design(&case);
        let (model, info) = fit(&Estimator::LogisticRegression(spec(&case)), &rows, &task(&case), &options()).unwrap();
        let FittedModel::Logistic(model) = model else { panic!() };
        assert_eq!(info.notes, Vec::<String>::new(), "{name}");
        let theirs = matrix(&case["coefficients"]);
        assert_eq!(model.coefficients.dim(), theirs.dim(), "{name}");
        assert_close(name, &model.coefficients, theirs.as_slice().unwrap(), 1e-6);
        assert_close(name, &model.intercepts, &numbers(&case["intercepts"]), 1e-6);
        let Prediction::Probabilities(ours) = model.predict(rows.features.slice(s![..10, ..])).unwrap() else {
            panic!()
        };
        assert_close(name, &ours, matrix(&case["probabilities"]).as_slice().unwrap(), 1e-6);
    }
}

#[test]
fn a_warm_start_ends_at_the_same_optimum_sooner() {
    let (mut cold_iterations, mut warm_iterations) = (0, 0);
    for case in cases("logistic") {
        let name = case["name"].as_str().unwrap();
        let (rows, spec) = (design(&case), spec(&case));
        let (cold, _) = logistic::fit(&spec, &rows, &options()).unwrap();
        let (near, _) =
            logistic::fit(&LogisticRegression { l2: spec.l2 * 1.05, ..spec.clone() }, &rows, &options()).unwrap();
        let (warm, _) = logistic::fit_from(&spec, &rows, &options(), Some(&near)).unwrap();
        assert_close(name, &warm.coefficients, cold.coefficients.as_slice().unwrap(), 1e-5);
        cold_iterations += cold.search().0;
        warm_iterations += warm.search().0;
        let (again, _) = logistic::fit_from(&spec, &rows, &options(), Some(&cold)).unwrap();
        assert!(again.search().0 <= 1, "{name}: {:?}", again.search());
    }
    assert!(warm_iterations * 10 < cold_iterations * 9, "{warm_iterations} against {cold_iterations}");
}

#[test]
fn least_squares_are_those_of_scikit_learn() {
    for case in cases("regression") {
        let name = case["name"].as_str().unwrap();
        let rows = design(&case);
        let estimator = match case["l2"].as_f64() {
            Some(l2) => Estimator::Ridge(Ridge { l2 }),
            None => Estimator::LinearRegression(LinearRegression {}),
        };
        let (model, info) = fit(&estimator, &rows, &Task::Regression, &options()).unwrap();
        let FittedModel::Linear(model) = model else { panic!() };
        assert_close(name, &model.coefficients, &numbers(&case["coefficients"]), 1e-8);
        assert_close(name, [&model.intercept], &[case["intercept"].as_f64().unwrap()], 1e-8);
        let dependent = name.starts_with("least squares, collinear") || name.starts_with("least squares, more");
        assert_eq!(info.notes.len(), usize::from(dependent), "{name}: {:?}", info.notes);
    }
}

/// Rows enough for several blocks.
fn many(n_rows: usize, n_features: usize, n_classes: usize) -> Design {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1 << 24) as f64 - 0.5
    };
    let features = Array2::from_shape_simple_fn((n_rows, n_features), &mut next);
    let class = |row: ndarray::ArrayView1<f64>| {
        ((row[0] + 0.5 + 0.3 * next()) * n_classes as f64).clamp(0.0, n_classes as f64 - 1.0) as u32
    };
    let codes = features.rows().into_iter().map(class).collect();
    let names = (0..n_features).map(|column| format!("x{column}")).collect();
    Design { features, names, target: Some(Target::Classes { codes, n_classes }), ..Design::default() }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let rows = many(30_000, 8, 4);
    let values = rows.features.rows().into_iter().map(|row| row.sum().sin()).collect();
    let regression = Design { target: Some(Target::Values(values)), ..rows.clone() };
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (logistic, _) = logistic::fit(&serde_json::from_str("{}").unwrap(), &rows, &options()).unwrap();
            let probabilities = logistic.predict(rows.features.view()).unwrap();
            let linear = retune_estimators::linear::LeastSquares::new(&regression).unwrap().solve(0.1);
            (logistic, probabilities, linear)
        })
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn columns_that_differ_by_orders_of_magnitude_converge() {
    let mut rows = many(2000, 4, 3);
    rows.features.column_mut(0).mapv_inplace(|value| value * 1e6 + 1e7);
    rows.features.column_mut(1).mapv_inplace(|value| value * 1e-3);
    rows.features.column_mut(3).fill(7.0);
    let spec: LogisticRegression = serde_json::from_str(r#"{"l2": 1e-6}"#).unwrap();
    let (model, info) = logistic::fit(&spec, &rows, &options()).unwrap();
    assert!(model.search().1 && info.notes.is_empty(), "{:?}", model.search());
    let labels = model.predict(rows.features.view()).unwrap().labels();
    let Some(Target::Classes { codes, .. }) = &rows.target else { panic!() };
    let right = labels.iter().zip(codes).filter(|(a, b)| a == b).count();
    assert!(right > 1400, "{right}");
}

#[test]
fn what_did_not_converge_is_a_note() {
    let spec = LogisticRegression { max_iterations: 2, ..serde_json::from_str("{}").unwrap() };
    let (model, info) = logistic::fit(&spec, &many(500, 5, 3), &options()).unwrap();
    assert_eq!(model.search(), (2, false));
    assert_eq!(
        info.notes,
        ["logistic_regression did not converge in 2 iterations; raise `max_iterations`, `tolerance` or `l2`"]
    );
}

#[test]
fn a_label_without_rows_gets_no_probability() {
    let mut rows = many(300, 3, 2);
    let Some(Target::Classes { codes, n_classes }) = &mut rows.target else { panic!() };
    codes.iter_mut().for_each(|code| *code *= 2);
    *n_classes = 4;
    let (model, _) = logistic::fit(&serde_json::from_str("{}").unwrap(), &rows, &options()).unwrap();
    let Prediction::Probabilities(probabilities) = model.predict(rows.features.view()).unwrap() else { panic!() };
    for row in probabilities.rows() {
        assert_eq!((row.len(), row[1], row[3]), (4, 0.0, 0.0));
        assert!((row.sum() - 1.0).abs() < 1e-12);
    }
}

#[test]
fn mistakes_are_named() {
    let rows = many(50, 3, 2);
    let labels = Task::Classification { labels: vec!["a".into(), "b".into()] };
    let with = |value| {
        let mut rows = rows.clone();
        rows.features[[4, 1]] = value;
        rows
    };
    let one_label = Design { target: Some(Target::Classes { codes: vec![1; 50], n_classes: 2 }), ..rows.clone() };
    let no_weight = Design { weights: Some(vec![0.0; 50]), ..rows.clone() };
    let logistic = || Estimator::LogisticRegression(serde_json::from_str("{}").unwrap());
    let ridge = || Estimator::Ridge(Ridge { l2: 1.0 });
    let trees = || Estimator::GradientBoosting(serde_json::from_str("{}").unwrap());
    for (estimator, rows, task, message) in [
        (logistic(), with(f64::NAN), &labels, "column `x1` has a missing value in row 5"),
        (trees(), with(f64::INFINITY), &labels, "column `x1` holds inf in row 5"),
        (logistic(), one_label, &labels, "all training rows have the same label"),
        (
            logistic(),
            no_weight,
            &labels,
            "the sample weights are not all finite and at least zero, with one above zero",
        ),
        (logistic(), rows.take(&[]), &labels, "logistic_regression was given no training row"),
        (ridge(), rows.clone(), &labels, "ridge predicts values, and the target holds labels"),
        (
            logistic(),
            rows.clone(),
            &Task::Regression,
            "logistic_regression predicts labels, and the target holds values",
        ),
    ] {
        assert_eq!(fit(&estimator, &rows, task, &options()).err().unwrap().message, message);
    }

    let (model, _) = fit(&logistic(), &rows, &labels, &options()).unwrap();
    let error = model.predict(rows.features.slice(s![.., ..2])).err().unwrap();
    assert_eq!(error.message, "the rows have 2 features, but the model was trained on 3");
}
