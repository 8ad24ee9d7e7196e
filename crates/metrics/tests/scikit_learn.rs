//! Every score against scikit-learn's, from `tests/reference/metrics.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ndarray::Array2;
use retune_metrics::{
    Bins, MetricError, Prediction, Truth, calibration_curve, confusion, corrected_t_test, mcnemar,
    precision_recall_curve, roc_curve, score,
};
use retune_spec::Metric;
use serde_json::Value;

#[test]
fn scores_are_those_of_scikit_learn() {
    let cases = reference();
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
    let scores = case["scores"].as_object().unwrap();
    let two_labels = |metric: Metric| metric.for_more_labels().is_some();
    for &metric in Metric::ALL {
        let ours = score(metric, truth, prediction);
        match scores.get(metric.word()) {
            None if case["n_classes"].is_u64() && two_labels(metric) => {
                assert!(matches!(ours, Err(MetricError::NotTwoLabels { .. })), "{metric:?} of {}", case["name"]);
            }
            None => assert!(matches!(ours, Err(MetricError::OtherTask { .. })), "{metric:?} of {}", case["name"]),
            Some(theirs) => assert_score(ours, theirs, &format!("{metric:?} of {}", case["name"])),
        }
    }
    for other in case["with_settings"].as_array().unwrap() {
        let metric: Metric = serde_json::from_value(other["metric"].clone()).unwrap();
        assert_score(score(metric, truth, prediction), &other["value"], &format!("{metric:?} of {}", case["name"]));
    }
}

fn assert_score(ours: Result<f64, MetricError>, theirs: &Value, what: &str) {
    match theirs.as_f64() {
        None => assert!(matches!(ours, Err(MetricError::Undefined { .. })), "{what}: {ours:?}"),
        Some(theirs) => assert_close(ours.unwrap(), theirs, what),
    }
}

fn assert_close(ours: f64, theirs: f64, what: &str) {
    assert!((ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0), "{what}: {ours} against {theirs}");
}

fn assert_all_close(ours: &[f64], theirs: &Value, what: &str) {
    let theirs = numbers(theirs);
    assert_eq!(ours.len(), theirs.len(), "{what}: {ours:?} against {theirs:?}");
    ours.iter().zip(theirs).for_each(|(ours, theirs)| assert_close(*ours, theirs, what));
}

#[test]
fn curves_are_those_of_scikit_learn() {
    for case in reference()["curves"].as_array().unwrap() {
        let positive: Vec<bool> = serde_json::from_value(case["positive"].clone()).unwrap();
        let (scores, name) = (numbers(&case["scores"]), case["name"].as_str().unwrap());
        let roc = roc_curve(&positive, &scores).unwrap();
        assert_all_close(&roc.false_positive_rate, &case["roc"][0], name);
        assert_all_close(&roc.true_positive_rate, &case["roc"][1], name);
        assert_eq!(roc.thresholds[0], f64::INFINITY);
        assert_all_close(&roc.thresholds[1..], &case["roc"][2], name);
        let curve = precision_recall_curve(&positive, &scores).unwrap();
        for (ours, theirs) in [&curve.precision, &curve.recall, &curve.thresholds].into_iter().zip(0..) {
            assert_all_close(ours, &case["precision_recall"][theirs], name);
        }
        for (bins, theirs) in case["calibration"].as_object().unwrap() {
            let (strategy, n_bins) = bins.split_once(' ').unwrap();
            let strategy = if strategy == "uniform" { Bins::Uniform } else { Bins::Quantile };
            let curve = calibration_curve(&positive, &scores, n_bins.parse().unwrap(), strategy).unwrap();
            let what = format!("{bins} of {name}");
            assert_all_close(&curve.observed, &theirs[0], &what);
            assert_all_close(&curve.predicted, &theirs[1], &what);
            assert_eq!(curve.n_rows.iter().sum::<usize>(), scores.len());
        }
    }
}

#[test]
fn curves_that_rows_do_not_define_are_refused() {
    let check = |message: Result<String, MetricError>, expected: &str| {
        assert_eq!(message.unwrap_err().to_string(), expected);
    };
    let roc = |positive: &[bool], scores: &[f64]| roc_curve(positive, scores).map(|curve| format!("{curve:?}"));
    check(roc(&[true, true], &[0.1, 0.2]), "roc_auc is not defined for these rows: all rows are of one kind");
    check(roc(&[true], &[0.1, 0.2]), "the truth has 1 rows and the predictions have 2");
    check(roc(&[], &[]), "there is no row to score");
    check(roc(&[true, false], &[0.1, f64::NAN]), "row 2 of the predictions is not a finite number");
    let precision = precision_recall_curve(&[false], &[0.5]).map(|curve| format!("{curve:?}"));
    check(precision, "average_precision is not defined for these rows: no row is positive");
    let calibration = |probability, bins| calibration_curve(&[true], &[probability], bins, Bins::Uniform);
    check(calibration(1.5, 5).map(|_| String::new()), "a probability is 1.5; it must be from 0 to 1");
    check(calibration(0.5, 0).map(|_| String::new()), "the number of bins is 0; it must be at least 1");
}

#[test]
fn tests_of_comparison_are_those_of_scipy() {
    let cases = reference();
    for case in cases["mcnemar"].as_array().unwrap() {
        let count = |key: &str| case[key].as_u64().unwrap() as usize;
        let (only_a, only_b) = (count("only_a"), count("only_b"));
        // Three rows more on which both are right, and two on which both are wrong.
        let labels = |right: usize, wrong: usize, first: bool| {
            let (a, b) = if first { (0, 1) } else { (1, 0) };
            [vec![a; right], vec![b; wrong], vec![0; 3], vec![1; 2]].concat()
        };
        let truth = vec![0; only_a + only_b + 5];
        let test = mcnemar(&truth, &labels(only_a, only_b, true), &labels(only_a, only_b, false)).unwrap();
        assert_eq!((test.only_a as usize, test.only_b as usize), (only_a, only_b));
        let theirs = case["p_value"].as_f64().unwrap();
        assert!((test.p_value - theirs).abs() <= 1e-12 * theirs, "{case}: {}", test.p_value);
    }
    for case in cases["corrected_t_test"].as_array().unwrap() {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let test = corrected_t_test(&a, &b, case["test_share"].as_f64().unwrap()).unwrap();
        assert_close(test.t, case["t"].as_f64().unwrap(), "t");
        assert_close(test.p_value, case["p_value"].as_f64().unwrap(), "p");
        let back = corrected_t_test(&b, &a, case["test_share"].as_f64().unwrap()).unwrap();
        assert_eq!((back.t, back.p_value), (-test.t, test.p_value));
    }
}

#[test]
fn tests_of_comparison_refuse_what_they_cannot_say() {
    let equal = corrected_t_test(&[0.5, 0.6], &[0.5, 0.6], 0.1).unwrap();
    assert_eq!((equal.t, equal.p_value), (0.0, 1.0));
    let check = |a: &[f64], b: &[f64], share: f64, expected: &str| {
        assert!(corrected_t_test(a, b, share).unwrap_err().to_string().ends_with(expected), "{expected}");
    };
    check(&[0.5, 0.5], &[0.75, 0.75], 0.1, "all differ by the same");
    check(&[0.5], &[0.75], 0.1, "there are fewer than two");
    check(&[0.5, 0.5], &[0.75], 0.1, "the models have different numbers of them");
    check(&[0.5, 0.5], &[0.75, f64::NAN], 0.1, "one is not a finite number");
    check(&[0.5, 0.5], &[0.75, 0.7], f64::NAN, "it must be a number from 0");
    assert!(matches!(mcnemar(&[0], &[0], &[0, 1]), Err(MetricError::Mismatch { .. })));
    assert!(matches!(mcnemar(&[], &[], &[]), Err(MetricError::Empty)));
}

fn reference() -> Value {
    serde_json::from_str(include_str!("fixtures/metrics.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}
