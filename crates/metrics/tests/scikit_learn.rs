//! Every score against scikit-learn's, from `tests/reference/metrics.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ndarray::Array2;
use retune_metrics::{MetricError, Prediction, Truth, confusion, score};
use retune_spec::Metric;
use serde_json::Value;

#[test]
fn scores_are_those_of_scikit_learn() {
    let cases: Value = serde_json::from_str(include_str!("fixtures/metrics.json")).unwrap();
    for case in cases["classification"].as_array().unwrap() {
        let codes: Vec<u32> = serde_json::from_value(case["truth"].clone()).unwrap();
        let n_classes = case["n_classes"].as_u64().unwrap() as usize;
        let truth = Truth::Classes { codes: &codes, n_classes };
        let prediction = Prediction::Probabilities(matrix(&case["probabilities"]));
        assert_scores(case, &truth, &prediction);
        let confusion = confusion(&codes, &prediction.labels(), n_classes);
        assert_eq!(confusion.mapv(|count| count as f64), matrix(&case["confusion"]), "{}", case["name"]);
    }
    for case in cases["regression"].as_array().unwrap() {
        let truth = numbers(&case["truth"]);
        assert_scores(case, &Truth::Values(&truth), &Prediction::Values(numbers(&case["predicted"])));
    }
}

fn assert_scores(case: &Value, truth: &Truth, prediction: &Prediction) {
    let task = if case["n_classes"].is_null() { "regression" } else { "classification" };
    let scores = case["scores"].as_object().unwrap();
    for metric in Metric::ALL {
        let ours = score(metric, truth, prediction);
        let what = format!("{} of {}", metric.word(), case["name"]);
        match scores.get(metric.word()) {
            None => assert!(matches!(ours, Err(MetricError::OtherTask { .. })), "{what} in a {task}"),
            Some(Value::Null) => assert!(matches!(ours, Err(MetricError::Undefined { .. })), "{what}"),
            Some(theirs) => {
                let (ours, theirs) = (ours.unwrap(), theirs.as_f64().unwrap());
                assert!((ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0), "{what}: {ours} against {theirs}");
            }
        }
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}
