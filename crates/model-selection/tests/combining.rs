//! Calibration, thresholds and ensembles against scikit-learn, from `tests/reference/combining.py`, and against examples worked by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ndarray::Array2;
use retune_estimators::{Calibrator, Combination, Decision};
use retune_metrics::{Prediction, Truth, score};
use retune_model_selection::calibration::calibrate;
use retune_model_selection::ensemble::{Learned, OutOfFold, greedy, learn, stack, vote};
use retune_model_selection::threshold::decide;
use retune_spec::Metric;
use retune_spec::model_selection::{Calibration, Ensemble, Greedy, Stacking, Voting};
use retune_stage::{Silent, Target};
use serde::de::DeserializeOwned;
use serde_json::Value;

fn fixture(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("fixtures/combining.json")).unwrap();
    all[name].clone()
}

fn cases(name: &str) -> Vec<Value> {
    fixture(name).as_array().unwrap().clone()
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = read(value);
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

fn by_label(prediction: &Prediction) -> &Array2<f64> {
    prediction.by_label().unwrap()
}

fn farthest(ours: &Array2<f64>, theirs: &Array2<f64>) -> f64 {
    assert_eq!(ours.dim(), theirs.dim());
    ours.iter().zip(theirs).fold(0.0, |farthest, (a, b)| f64::max(farthest, (a - b).abs()))
}

#[test]
fn calibrations_are_those_of_scikit_learn() {
    for (number, case) in cases("calibration").iter().enumerate() {
        let codes: Vec<u32> = read(&case["codes"]);
        let weights: Option<Vec<f64>> = read(&case["weights"]);
        let n_classes: usize = read(&case["n_classes"]);
        let prediction = |key: &str| match case["scored"].as_bool() {
            Some(true) => Prediction::Scores(matrix(&case[key])),
            _ => Prediction::Probabilities(matrix(&case[key])),
        };
        // scikit-learn stops its search for a, b and the temperature at a tolerance of its own.
        for (kind, word, tolerance) in [
            (Calibration::Platt, "platt", 1e-8),
            (Calibration::Isotonic, "isotonic", 1e-12),
            (Calibration::Temperature, "temperature", 1e-6),
        ] {
            let learned = calibrate(kind, &prediction("said"), &codes, n_classes, weights.as_deref()).unwrap();
            let fresh = learned.apply(&prediction("fresh")).unwrap();
            let apart = farthest(by_label(&fresh), &matrix(&case[word]["probabilities"]));
            assert!(apart <= tolerance, "case {number}, {word}: {apart:e}");
            match learned {
                Calibrator::Platt(curves) => {
                    let theirs: Vec<[f64; 2]> = read(&case[word]["curves"]);
                    assert_eq!(curves.len(), theirs.len());
                    for (ours, [a, b]) in curves.iter().zip(theirs) {
                        let apart = (ours.a - a).abs().max((ours.b - b).abs());
                        assert!(apart <= 1e-9 * a.abs().max(b.abs()), "case {number}: {ours:?} {a} {b}");
                    }
                }
                Calibrator::Temperature(temperature) => {
                    let inverse: f64 = read(&case[word]["inverse"]);
                    assert!((temperature * inverse - 1.0).abs() < 1e-9, "case {number}: {temperature} {inverse}");
                }
                Calibrator::Isotonic(_) => {}
            }
        }
    }
}

#[test]
fn what_cannot_be_calibrated_is_said() {
    let said = Prediction::Scores(Array2::from_shape_vec((2, 2), vec![-1.0, 1.0, 3.0, -3.0]).unwrap());
    let of = |prediction: &Prediction, codes: &[u32], weights: Option<&[f64]>| {
        calibrate(Calibration::Platt, prediction, codes, 2, weights).unwrap_err().message
    };
    assert_eq!(of(&Prediction::Values(vec![1.0]), &[0], None), "values cannot be calibrated");
    let apart = "the predictions to calibrate and the truth do not belong together";
    assert_eq!([of(&said, &[0], None), of(&said, &[0, 2], None), of(&said, &[0, 1], Some(&[1.0]))], [apart; 3]);
    let nothing = "there is nothing to calibrate by: a prediction is not finite, or no row weighs anything";
    assert_eq!(of(&said, &[0, 1], Some(&[0.0, 0.0])), nothing);
    // Constant scores tell nothing but how often the label is.
    let constant = Prediction::Scores(Array2::zeros((4, 2)));
    for kind in [Calibration::Platt, Calibration::Isotonic, Calibration::Temperature] {
        let learned = calibrate(kind, &constant, &[0, 1, 1, 1], 2, None).unwrap();
        let second = by_label(&learned.apply(&constant).unwrap())[[0, 1]];
        // Platt's targets are 4 / 5 and 1 / 3.
        let expected = match kind {
            Calibration::Platt => (3.0 * 0.8 + 1.0 / 3.0) / 4.0,
            Calibration::Isotonic => 0.75,
            Calibration::Temperature => 0.5,
        };
        assert!((second - expected).abs() < 1e-9, "{kind:?}: {second}");
    }
}

#[test]
fn thresholds_are_the_best_that_scikit_learn_finds() {
    for case in cases("threshold") {
        let metric: Metric = read(&case["metric"]);
        let codes: Vec<u32> = read(&case["codes"]);
        let truth = Truth::Classes { codes: &codes, n_classes: 2 };
        let prediction = Prediction::Probabilities(matrix(&case["said"]));
        let decision = decide(metric, &prediction, &truth).unwrap();
        let Decision::Threshold(threshold) = decision else { panic!() };
        let expected: f64 = read(&case["threshold"]);
        assert!((threshold - expected).abs() < 1e-12, "{}: {threshold} {expected}", metric.word());
        let reached = score(metric, &truth, &decision.apply(prediction).unwrap()).unwrap();
        assert!((reached - read::<f64>(&case["score"])).abs() < 1e-12, "{}: {reached}", metric.word());
    }
}

#[test]
fn no_weight_of_a_label_could_be_better_by_itself() {
    let case = &cases("ensembles")[1];
    let codes: Vec<u32> = read(&case["codes"]);
    // A rare label, which the plain decision rarely takes.
    let rows: Vec<usize> = (0..60).filter(|row| codes[*row] != 2 || row % 4 == 0).collect();
    let codes: Vec<u32> = rows.iter().map(|&row| codes[row]).collect();
    let truth = Truth::Classes { codes: &codes, n_classes: 3 };
    let prediction = Prediction::Probabilities(matrix(&case["said"][0])).take(&rows);
    for metric in [Metric::F1Macro, Metric::BalancedAccuracy, Metric::CohenKappaQuadratic] {
        let of = |weights: Vec<f64>| {
            score(metric, &truth, &Decision::Weights(weights).apply(prediction.clone()).unwrap()).unwrap()
        };
        let decision = decide(metric, &prediction, &truth).unwrap();
        let Decision::Weights(weights) = decision else { panic!() };
        let (plain, reached) = (of(vec![1.0; 3]), of(weights.clone()));
        assert!(reached > plain + 0.02, "{}: {reached} {plain}", metric.word());
        for label in 0..3 {
            for step in -400..=400 {
                let mut other = weights.clone();
                other[label] *= (f64::from(step) / 50.0).exp();
                assert!(of(other.clone()) <= reached + 1e-12, "{}: {other:?}", metric.word());
            }
        }
    }
}

#[test]
fn what_cannot_be_decided_is_said() {
    let truth = Truth::Classes { codes: &[0, 1], n_classes: 2 };
    let even = Array2::from_elem((2, 2), 0.5);
    let of = |metric, prediction: &Prediction| decide(metric, prediction, &truth).unwrap_err();
    let error = of(Metric::RocAuc, &Prediction::Probabilities(even.clone()));
    assert_eq!(error.message, "`roc_auc` is computed from probabilities, which no threshold changes");
    let error = of(Metric::F1, &Prediction::Scores(even));
    assert_eq!(error.message, "a threshold decides by probabilities, and the model gives scores");
    assert_eq!(error.help.as_deref(), Some("add `calibrate: platt`"));
    assert_eq!(of(Metric::F1, &Prediction::Values(vec![1.0; 2])).help.as_deref(), Some("leave `threshold` out"));
    // Where no threshold is better than 0.5, it stays.
    let sure = Prediction::Probabilities(Array2::from_shape_vec((2, 2), vec![0.9, 0.1, 0.2, 0.8]).unwrap());
    assert_eq!(decide(Metric::Accuracy, &sure, &truth).unwrap(), Decision::Threshold(0.5));
    // The second label is never right.
    let truth = Truth::Classes { codes: &[0, 0, 0], n_classes: 2 };
    let sure = Prediction::Probabilities(Array2::from_shape_fn((3, 2), |(_, label)| label as f64));
    let decision = decide(Metric::Accuracy, &sure, &truth).unwrap();
    assert_eq!(decision.apply(sure).unwrap().labels(), [0, 0, 0]);
}

/// Trials of so many folds, each row in one.
struct Trials {
    said: Vec<Prediction>,
    candidates: Vec<usize>,
    target: Target,
    rows: Vec<usize>,
    folds: Vec<usize>,
    metric: Metric,
}

impl Trials {
    fn new(said: Vec<Prediction>, target: Target, n_folds: usize, metric: Metric) -> Self {
        let rows: Vec<usize> = (0..target.len()).collect();
        let folds = rows.iter().map(|row| row % n_folds).collect();
        Self { candidates: (0..said.len()).collect(), said, target, rows, folds, metric }
    }

    fn values(said: &[&[f64]], truth: &[f64], n_folds: usize) -> Self {
        let said = said.iter().map(|values| Prediction::Values(values.to_vec())).collect();
        Self::new(said, Target::Values(truth.to_vec()), n_folds, Metric::Mse)
    }

    fn out_of_fold(&self) -> OutOfFold<'_> {
        OutOfFold {
            predictions: &self.said,
            candidates: &self.candidates,
            target: &self.target,
            weights: None,
            rows: &self.rows,
            folds: &self.folds,
            together: false,
            metric: self.metric,
            progress: &Silent,
        }
    }

    fn said(&self, learned: &Learned) -> Prediction {
        let members: Vec<&Prediction> = learned.members.iter().map(|&trial| &self.said[trial]).collect();
        learned.combination.apply(&members).unwrap()
    }
}

#[test]
fn votes_and_stacks_are_those_of_scikit_learn() {
    for case in cases("ensembles") {
        let n_classes: usize = read(&case["n_classes"]);
        let said = case["said"].as_array().unwrap().iter().map(|said| Prediction::Probabilities(matrix(said)));
        let target = Target::Classes { codes: read(&case["codes"]), n_classes };
        let trials = Trials::new(said.collect(), target, 3, Metric::LogLoss);
        let voted = vote(Voting { top: 3, diverse: true }, &trials.out_of_fold()).unwrap();
        assert!(farthest(by_label(&trials.said(&voted)), &matrix(&case["vote"])) < 1e-12);
        let stacked = stack(Stacking { top: 3, l2: read(&case["l2"]) }, &trials.out_of_fold()).unwrap();
        let apart = farthest(by_label(&trials.said(&stacked)), &matrix(&case["stack"]));
        assert!(apart < 1e-6, "{n_classes} labels: {apart:e}");
        // A model of predictions judges itself too well on the rows that it was learned from.
        let seen = score(trials.metric, &retune_estimators::truth_of(&trials.target), &trials.said(&stacked)).unwrap();
        assert!(stacked.honest > seen, "{n_classes} labels: {} {seen}", stacked.honest);
    }
    let case = fixture("values");
    let said: Vec<Vec<f64>> = read(&case["said"]);
    let said: Vec<&[f64]> = said.iter().map(Vec::as_slice).collect();
    let mut trials = Trials::values(&said, &read::<Vec<f64>>(&case["truth"]), 4);
    trials.metric = Metric::R2;
    let stacked = stack(Stacking { top: 2, l2: 2.0 }, &trials.out_of_fold()).unwrap();
    let Prediction::Values(ours) = trials.said(&stacked) else { panic!() };
    let theirs: Vec<f64> = read(&case["stack"]);
    assert!(ours.iter().zip(theirs).all(|(ours, theirs)| (ours - theirs).abs() < 1e-10));
}

#[test]
fn the_best_of_each_candidate_come_first() {
    let truth = [0.0; 4];
    let constant = [1.0, 2.0, 3.0, 4.0, 5.0].map(|value| vec![value; 4]);
    let said: Vec<&[f64]> = constant.iter().map(Vec::as_slice).collect();
    let mut trials = Trials::values(&said, &truth, 2);
    trials.candidates = vec![7, 7, 7, 2, 2];
    let members = |top, diverse| vote(Voting { top, diverse }, &trials.out_of_fold()).unwrap().members;
    assert_eq!(members(3, false), [0, 1, 2]);
    assert_eq!(members(2, true), [0, 3]);
    assert_eq!(members(3, true), [0, 1, 3]);
    assert_eq!(members(4, true), [0, 1, 3, 4]);
    let one = vote(Voting { top: 1, diverse: true }, &trials.out_of_fold()).unwrap();
    assert!(matches!(one.combination, Combination::Single));
}

/// Worked by hand. The truth is 0 everywhere, so that a mean's squared error is that of its two halves. Alone the trials have the mean squares 1 (a: 1, 1),
/// 5 (b: -1, -3) and 16 (c: 4, -4). The best two together: (0, -1), 0.5; all three: (4/3, -2), 2.9: two begin. A third may be a: (1/3, -1/3), 0.111;
/// b: (-1/3, -5/3), 1.44. A fourth: a: (1/2, 0), 0.125; b: (0, -1), 0.5; c: 5/4, -5/4. A fifth, then, on a a a b: a: (3/5, 1/5), 0.2; b: (1/5, -3/5), 0.2:
/// both worse than the third's, which stays.
#[test]
fn the_mean_grows_as_by_hand() {
    let (a, b, c) = ([1.0, 1.0], [-1.0, -3.0], [4.0, -4.0]);
    let rows = |of: [f64; 2]| of.repeat(4);
    let said = [rows(c), rows(a), rows(b)];
    let said: Vec<&[f64]> = said.iter().map(Vec::as_slice).collect();
    let mut trials = Trials::values(&said, &[0.0; 8], 2);
    trials.folds = vec![0, 0, 0, 0, 1, 1, 1, 1];
    for (rounds, weights, error) in [
        (1, vec![1.0], 1.0),
        (2, vec![0.5, 0.5], 0.5),
        (3, vec![2.0 / 3.0, 1.0 / 3.0], 1.0 / 9.0),
        (6, vec![2.0 / 3.0, 1.0 / 3.0], 1.0 / 9.0),
    ] {
        let learned = greedy(Greedy { top: 25, rounds }, &trials.out_of_fold()).unwrap();
        match &learned.combination {
            Combination::Weighted(ours) => {
                assert!(ours.iter().zip(&weights).all(|(a, b)| (a - b).abs() < 1e-12), "{rounds}: {ours:?}");
            }
            Combination::Single => assert_eq!(weights, [1.0]),
            Combination::Stacked(_) => panic!(),
        }
        assert_eq!(learned.members, [1, 2][..weights.len()], "{rounds}");
        // Both folds are alike, so that what one learns is right for the other.
        assert!((learned.honest - error).abs() < 1e-12, "{rounds}: {}", learned.honest);
    }
    // Of equals the earlier one joins: 2 and -3 begin, then 2, -3 and 2 join.
    let said = [[-3.0; 8], [-3.0; 8], [2.0; 8]];
    let equal = Trials::values(&[&said[0], &said[1], &said[2]], &[0.0; 8], 2);
    let learned = greedy(Greedy { top: 3, rounds: 5 }, &equal.out_of_fold()).unwrap();
    let Combination::Weighted(weights) = learned.combination else { panic!() };
    assert_eq!((learned.members, weights), (vec![2, 0], vec![0.6, 0.4]));
}

#[test]
fn rows_are_judged_by_weights_that_have_not_seen_them() {
    // Each trial is right in one fold and wrong in the other: who is chosen by the other fold is wrong.
    let (zeros, ones) = ([0.0; 4], [1.0; 4]);
    let said = [[zeros, ones].concat(), [ones, zeros].concat()];
    let said: Vec<&[f64]> = said.iter().map(Vec::as_slice).collect();
    let mut trials = Trials::values(&said, &[0.0; 8], 2);
    trials.folds = vec![0, 0, 0, 0, 1, 1, 1, 1];
    let one = Voting { top: 1, diverse: false };
    assert_eq!(vote(one, &trials.out_of_fold()).unwrap().honest, 1.0);
    // The same rows once more in other folds, for the first half of which the second trial is off by 3, are held back with them: whoever is right for the other
    // half is chosen for both.
    let again = |values: &[f64]| [values, values].concat();
    trials.said = said.iter().map(|values| Prediction::Values(again(values))).collect();
    let Prediction::Values(second) = &mut trials.said[1] else { panic!() };
    second[8..12].fill(3.0);
    trials.target = Target::Values(vec![0.0; 16]);
    trials.rows = (0..8).chain(0..8).collect();
    trials.folds = [[0; 4], [1; 4], [2; 4], [3; 4]].concat();
    assert_eq!(vote(one, &trials.out_of_fold()).unwrap().honest, (1.0 + 1.0 + 9.0 + 1.0) / 4.0);
    trials.said = said.iter().map(|values| Prediction::Values(again(values))).collect();
    // One fold is divided in five: without rows 0 and 5 (1 and 6, 2 and 7) both trials are equal, the first is taken and wrong for one of the two; without row 3
    // the second is better, without row 4 the first, and wrong for it.
    trials.folds = vec![0; 16];
    assert_eq!(vote(one, &trials.out_of_fold()).unwrap().honest, 5.0 / 8.0);
    // Leaving one out has all rows scored together.
    trials.rows = (0..16).collect();
    trials.folds = (0..16).collect();
    let together = OutOfFold { together: true, ..trials.out_of_fold() };
    assert!(vote(one, &together).unwrap().honest >= 0.5);
}

#[test]
fn scores_have_no_mean_but_a_model() {
    let codes: Vec<u32> = (0..30).map(|row| row % 2).collect();
    let margin = |row: usize| (row % 2) as f64 * 2.0 - 1.0 + ((row * 7) % 11) as f64 / 4.0 - 1.2;
    let scores = Array2::from_shape_fn((30, 2), |(row, label)| (label as f64 * 2.0 - 1.0) * margin(row));
    let even = Prediction::Probabilities(Array2::from_elem((30, 2), 0.5));
    let target = Target::Classes { codes, n_classes: 2 };
    let trials = Trials::new(vec![Prediction::Scores(scores), even], target, 3, Metric::RocAuc);
    for ensemble in [Ensemble::Voting(Voting::default()), Ensemble::Greedy(Greedy::default())] {
        let error = learn(ensemble, &trials.out_of_fold()).err().unwrap();
        assert!(error.message.starts_with("a mean needs the probabilities of every member"), "{}", error.message);
        assert!(error.help.unwrap().starts_with("use `ensemble: stacking`"));
    }
    let stacked = learn(Ensemble::Stacking(Stacking::default()), &trials.out_of_fold()).unwrap();
    let said = trials.said(&stacked);
    assert!(matches!(said, Prediction::Probabilities(_)));
    assert!(said.take(&[0]).len() == 1 && stacked.honest > 0.7, "{}", stacked.honest);
}
