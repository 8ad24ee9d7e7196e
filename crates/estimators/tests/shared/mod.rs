//! Rows of fixtures, and what compares models with them.
#![allow(dead_code)]

use ndarray::Array2;
use retune_estimators::{FitInfo, FitOptions, FittedModel, fit};
use retune_stage::{Design, Device, Seed, Silent, StageError, Target, Task};
use serde_json::Value;

pub fn options() -> FitOptions<'static> {
    FitOptions { seed: Seed(1), threads: 1, device: Device::Cpu, progress: &Silent }
}

pub fn cases(fixture: &str, kind: &str) -> Vec<Value> {
    let cases: Value = serde_json::from_str(fixture).unwrap();
    cases[kind].as_array().unwrap().clone()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

pub fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

/// The rows of a case.
pub fn design(case: &Value) -> Design {
    let features = matrix(&case["features"]);
    let target = match case["n_classes"].as_u64() {
        Some(n_classes) => Target::Classes {
            codes: serde_json::from_value(case["target"].clone()).unwrap(),
            n_classes: n_classes as usize,
        },
        None => Target::Values(numbers(&case["target"])),
    };
    let weights = (!case["weights"].is_null()).then(|| numbers(&case["weights"]));
    let names = (0..features.ncols()).map(|column| format!("x{column}")).collect();
    Design { names, features, target: Some(target), weights, ..Design::default() }
}

/// Each row's weight, with that of its label where labels are balanced.
pub fn weights(case: &Value) -> Vec<f64> {
    let rows = design(case);
    let mut weights = rows.weights.clone().unwrap_or_else(|| vec![1.0; rows.n_rows()]);
    if case["class_weight"] == "balanced" {
        let Some(Target::Classes { codes, n_classes }) = rows.target else { panic!() };
        let (n_rows, plain) = (codes.len() as f64, weights.clone());
        for (weight, code) in weights.iter_mut().zip(&codes) {
            let of_label: f64 =
                codes.iter().zip(&plain).filter(|(other, _)| *other == code).map(|(_, plain)| plain).sum();
            *weight *= n_rows / (n_classes as f64 * of_label);
        }
    }
    weights
}

pub fn values_of(rows: &Design) -> Vec<f64> {
    let Some(Target::Values(values)) = &rows.target else { panic!() };
    values.clone()
}

/// Rows that need no file: numbers between -0.5 and 0.5, and labels that follow the first column.
pub fn made(n_rows: usize, n_features: usize, n_classes: usize) -> Design {
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

pub fn learn(estimator: Value, rows: &Design) -> Result<(FittedModel, FitInfo), StageError> {
    let task = match rows.target.as_ref().unwrap() {
        Target::Classes { n_classes, .. } => {
            Task::Classification { labels: (0..*n_classes).map(|code| format!("label {code}")).collect() }
        }
        Target::Values(_) => Task::Regression,
    };
    fit(&serde_json::from_value(estimator).unwrap(), rows, &task, &options())
}

/// Relative to each value, and to the greatest for those that are zero but for rounding.
pub fn assert_close<'a>(
    what: &str,
    ours: impl IntoIterator<Item = &'a f64>,
    theirs: impl IntoIterator<Item = &'a f64>,
    tolerance: f64,
) {
    let (ours, theirs): (Vec<f64>, Vec<f64>) =
        (ours.into_iter().copied().collect(), theirs.into_iter().copied().collect());
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(0.0_f64, |scale, value| scale.max(value.abs()));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours - theirs).abs() <= tolerance * (theirs.abs() + 0.01 * scale), "{what}: {ours} against {theirs}");
    }
}
