//! What an interval must do: cover, pair, skip what is not defined, and not depend on the number of threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune_metrics::{MetricError, Prediction, Truth, interval, paired_difference, score};
use retune_spec::Metric;
use retune_spec::data::TaskKind;
use retune_spec::metric::TopKAccuracy;

/// Of three labels or more.
fn label_scores() -> Vec<Metric> {
    Metric::of(TaskKind::Classification).filter(|metric| metric.for_more_labels().is_none()).collect()
}

/// Labels and probabilities that are right for about `right` of the rows.
fn labelled(n_rows: usize, n_classes: usize, right: f64, seed: u64) -> (Vec<u32>, Prediction) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let codes: Vec<u32> = (0..n_rows).map(|_| random.random_range(0..n_classes as u32)).collect();
    let mut probabilities = Array2::from_shape_simple_fn((n_rows, n_classes), || random.random_range(0.0..1.0));
    for (row, &code) in codes.iter().enumerate() {
        let label = if random.random_bool(right) { code } else { (code + 1) % n_classes as u32 };
        probabilities[[row, label as usize]] += 1.0;
        let sum = probabilities.row(row).sum();
        probabilities.row_mut(row).mapv_inplace(|value| value / sum);
    }
    (codes, Prediction::Probabilities(probabilities))
}

#[test]
fn the_interval_of_the_accuracy_is_that_of_a_share() {
    let (codes, prediction) = labelled(1000, 3, 0.8, 1);
    let truth = Truth::Classes { codes: &codes, n_classes: 3 };
    let interval = interval(Metric::Accuracy, &truth, &prediction, 1000, 0.95, 3).unwrap();
    let share = score(Metric::Accuracy, &truth, &prediction).unwrap();
    // The normal approximation of a binomial share, good to a tenth of its width at 1000 rows.
    let half = 1.96 * (share * (1.0 - share) / 1000.0).sqrt();
    assert_eq!(interval.value, share);
    assert!((interval.low - (share - half)).abs() < 0.2 * half, "{interval:?}");
    assert!((interval.high - (share + half)).abs() < 0.2 * half, "{interval:?}");
}

#[test]
fn a_resample_is_scored_as_its_rows_would_be() {
    // One resample, so that both ends are its score; drawn by hand with the same generator.
    let (codes, prediction) = labelled(50, 3, 0.7, 4);
    let mut random = ChaCha8Rng::seed_from_u64(9);
    random.set_stream(0);
    let rows: Vec<usize> = (0..50).map(|_| random.random_range(0..50_u32) as usize).collect();
    let drawn: Vec<u32> = rows.iter().map(|&row| codes[row]).collect();
    for metric in label_scores() {
        let interval =
            interval(metric, &Truth::Classes { codes: &codes, n_classes: 3 }, &prediction, 1, 0.9, 9).unwrap();
        let expected = score(metric, &Truth::Classes { codes: &drawn, n_classes: 3 }, &prediction.take(&rows)).unwrap();
        assert!((interval.low - expected).abs() < 1e-12, "{}", metric.word());
    }
    let truth: Vec<f64> = codes.iter().map(|&code| f64::from(code) + 0.5).collect();
    let drawn: Vec<f64> = rows.iter().map(|&row| truth[row]).collect();
    let values = Prediction::Values(truth.iter().map(|value| value.sin() + 0.1).collect());
    for metric in Metric::of(TaskKind::Regression) {
        let interval = interval(metric, &Truth::Values(&truth), &values, 1, 0.9, 9).unwrap();
        let expected = score(metric, &Truth::Values(&drawn), &values.take(&rows)).unwrap();
        assert!((interval.high - expected).abs() < 1e-12, "{}", metric.word());
    }
}

#[test]
fn a_difference_is_paired() {
    let (codes, a) = labelled(400, 3, 0.7, 5);
    let truth = Truth::Classes { codes: &codes, n_classes: 3 };
    let same = paired_difference(Metric::F1Macro, &truth, &a, &a, 1000, 0.95, 1).unwrap();
    assert_eq!((same.value, same.low, same.high), (0.0, 0.0, 0.0));

    // `b` is `a` with the first forty rows put right: better on every resample.
    let mut b = a.clone();
    if let Prediction::Probabilities(probabilities) = &mut b {
        for row in 0..40 {
            probabilities.row_mut(row).fill(0.0);
            probabilities[[row, codes[row] as usize]] = 1.0;
        }
    }
    let better = paired_difference(Metric::Accuracy, &truth, &a, &b, 1000, 0.95, 1).unwrap();
    let alone = interval(Metric::Accuracy, &truth, &a, 1000, 0.95, 1).unwrap();
    assert!(better.low > 0.0, "{better:?}");
    assert!(better.high - better.low < alone.high - alone.low, "{better:?} {alone:?}");
    let back = paired_difference(Metric::Accuracy, &truth, &b, &a, 1000, 0.95, 1).unwrap();
    assert_eq!((back.value, back.low, back.high), (-better.value, -better.high, -better.low));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let (codes, prediction) = labelled(300, 4, 0.6, 6);
    let truth = Truth::Classes { codes: &codes, n_classes: 4 };
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let one = |metric| interval(metric, &truth, &prediction, 1000, 0.9, 2).unwrap();
        pool.install(|| label_scores().into_iter().map(one).collect::<Vec<_>>())
    };
    assert_eq!(with(1), with(3));
    let other_seed = interval(Metric::RocAuc, &truth, &prediction, 1000, 0.9, 3).unwrap();
    let place = label_scores().into_iter().position(|metric| metric == Metric::RocAuc).unwrap();
    assert_ne!(with(1)[place], other_seed);
}

#[test]
fn resamples_without_a_score_are_left_out_and_counted() {
    // The only row of label 1 is missing from about 1/e of the resamples.
    let codes = [vec![0; 19], vec![1]].concat();
    let prediction = Prediction::Probabilities(Array2::from_shape_fn((20, 2), |(row, label)| {
        if label == 1 { row as f64 / 20.0 } else { 1.0 - row as f64 / 20.0 }
    }));
    let truth = Truth::Classes { codes: &codes, n_classes: 2 };
    let area = interval(Metric::RocAuc, &truth, &prediction, 1000, 0.95, 1).unwrap();
    assert_eq!((area.value, area.low, area.high), (1.0, 1.0, 1.0));
    assert!((300..440).contains(&area.undefined), "{}", area.undefined);
}

#[test]
fn what_cannot_be_scored_is_said() {
    let two = |values: [f64; 4]| Prediction::Probabilities(Array2::from_shape_vec((2, 2), values.to_vec()).unwrap());
    let good = two([0.5, 0.5, 0.2, 0.8]);
    let labels = |codes: &'static [u32]| Truth::Classes { codes, n_classes: 2 };
    let three = Prediction::Probabilities(Array2::from_elem((2, 3), 0.25));
    let values = Prediction::Values(vec![1.0, 2.0]);
    let scores = Prediction::Scores(Array2::from_shape_vec((2, 2), vec![1.0, -1.0, -2.0, 2.0]).unwrap());
    let decided = Prediction::Decided { probabilities: Array2::from_elem((2, 2), 0.5), labels: vec![0, 2] };
    let cases: [(Metric, Truth, &Prediction, &str); 17] = [
        (
            Metric::LogLoss,
            labels(&[0, 1]),
            &scores,
            "log_loss needs probabilities, and the model gives scores; add `calibrate: platt`",
        ),
        (Metric::Accuracy, labels(&[0, 1]), &decided, "the truth has 2 labels and the predictions have 3"),
        (
            Metric::F1,
            Truth::Classes { codes: &[0, 2], n_classes: 3 },
            &three,
            "f1 scores the second of two labels, and there are 3; use f1_macro",
        ),
        (
            Metric::TopKAccuracy(TopKAccuracy { k: 2 }),
            labels(&[0, 1]),
            &good,
            "top_k_accuracy is not defined for these rows: there are no more than `k` labels, so that every row is right",
        ),
        (
            Metric::CohenKappa,
            labels(&[0, 0]),
            &two([0.9, 0.1, 0.9, 0.1]),
            "cohen_kappa is not defined for these rows: the truth and the predictions have one label only",
        ),
        (
            Metric::GammaDeviance,
            Truth::Values(&[0.0, 1.0]),
            &values,
            "gamma_deviance is not defined for these rows: a true value or a prediction is not above 0",
        ),
        (
            Metric::PoissonDeviance,
            Truth::Values(&[-1.0, 1.0]),
            &values,
            "poisson_deviance is not defined for these rows: a true value is below 0 or a prediction is not above 0",
        ),
        (
            Metric::Spearman,
            Truth::Values(&[1.0, 1.0]),
            &values,
            "spearman is not defined for these rows: the true values or the predictions are all equal",
        ),
        (
            Metric::RocAuc,
            labels(&[1, 1]),
            &good,
            "roc_auc is not defined for these rows: a label has no row, or all of them",
        ),
        (Metric::Rmse, labels(&[0, 1]), &good, "rmse is not a score of labels"),
        (Metric::Accuracy, Truth::Values(&[1.0]), &Prediction::Values(vec![1.0]), "accuracy is not a score of values"),
        (
            Metric::R2,
            Truth::Values(&[1.0]),
            &Prediction::Values(vec![1.0]),
            "r2 is not defined for these rows: there is only one row",
        ),
        (
            Metric::Mae,
            Truth::Values(&[1.0, 2.0]),
            &good,
            "the truth and the predictions are of different tasks: labels against values",
        ),
        (Metric::Accuracy, labels(&[0]), &good, "the truth has 1 rows and the predictions have 2"),
        (Metric::Accuracy, labels(&[0, 2]), &good, "the truth has 3 labels and the predictions have 2"),
        (Metric::Mae, Truth::Values(&[]), &Prediction::Values(vec![]), "there is no row to score"),
        (
            Metric::Accuracy,
            labels(&[0, 1]),
            &two([0.5, 0.5, f64::NAN, 0.8]),
            "row 2 of the predictions is not a finite number",
        ),
    ];
    for (metric, truth, prediction, message) in cases {
        assert_eq!(score(metric, &truth, prediction).unwrap_err().to_string(), message);
    }
    let one_label = interval(Metric::RocAuc, &labels(&[1, 1]), &good, 1000, 0.95, 1).unwrap_err();
    assert!(matches!(one_label, MetricError::Undefined { .. }));
}

#[test]
fn scores_rank_and_thresholds_decide_labels_only() {
    let codes = [0, 1, 1, 0, 1];
    let truth = Truth::Classes { codes: &codes, n_classes: 2 };
    let second = [0.1, 0.35, 0.8, 0.4, 0.3];
    let by_label = |value: fn(f64) -> f64| {
        Array2::from_shape_fn((5, 2), |(row, label)| match label {
            0 => value(1.0 - second[row]),
            _ => value(second[row]),
        })
    };
    let plain = Prediction::Probabilities(by_label(|probability| probability));
    let scores = Prediction::Scores(by_label(|probability| 40.0 * probability - 20.0));
    let labels = second.iter().map(|&probability| u32::from(probability >= 0.3)).collect();
    let decided = Prediction::Decided { probabilities: by_label(|probability| probability), labels };
    let of = |metric, prediction: &Prediction| score(metric, &truth, prediction).unwrap();
    for &metric in Metric::ALL.iter().filter(|metric| metric.needs_probabilities() && metric.word() != "top_k_accuracy")
    {
        assert_eq!(of(metric, &decided), of(metric, &plain), "{}", metric.word());
        assert_eq!(
            score(metric, &truth, &scores).ok(),
            match metric {
                Metric::LogLoss | Metric::Brier | Metric::ExpectedCalibrationError(_) => None,
                _ => Some(of(metric, &plain)),
            }
        );
    }
    assert_eq!(
        [&plain, &scores, &decided].map(|prediction| of(Metric::Recall, prediction)),
        [1.0 / 3.0, 1.0 / 3.0, 1.0]
    );
}
