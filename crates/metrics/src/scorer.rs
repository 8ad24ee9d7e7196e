//! Scores prepared for resampling: everything that does not depend on how often a row counts is computed once.

use ndarray::Array2;
use retune_spec::Metric;
use retune_spec::data::TaskKind;

use crate::calibration::CalibrationError;
use crate::confusion::LabelScore;
use crate::losses::{self, Losses};
use crate::prediction::{Pair, likeliest};
use crate::ranking::{Areas, Average, PrecisionAreas, RankCorrelation};
use crate::spread::{Explained, MedianError};
use crate::{MetricError, Prediction, Truth};

/// What a score is computed from.
pub(crate) trait Counted: Send + Sync {
    /// The score where row `i` counts `counts[i]` times, or why there is none.
    fn score(&self, counts: &[u32]) -> Result<f64, &'static str>;
}

/// A score of rows that count differently often.
pub(crate) struct Scorer {
    metric: Metric,
    prepared: Box<dyn Counted>,
}

impl Scorer {
    pub(crate) fn new(metric: Metric, truth: &Truth, prediction: &Prediction) -> Result<Self, MetricError> {
        let prepared = match Pair::new(truth, prediction)? {
            Pair::Classes { codes, by_label } => of_classes(metric, codes, prediction, by_label)?,
            Pair::Values { truth, predicted } => of_values(metric, truth, predicted)?,
        };
        Ok(Self { metric, prepared })
    }

    /// The score where row `i` counts `counts[i]` times.
    pub(crate) fn score(&self, counts: &[u32]) -> Result<f64, MetricError> {
        self.prepared.score(counts).map_err(|reason| MetricError::Undefined { metric: self.metric, reason })
    }
}

fn of_classes(
    metric: Metric,
    codes: &[u32],
    prediction: &Prediction,
    by_label: &Array2<f64>,
) -> Result<Box<dyn Counted>, MetricError> {
    let n_labels = by_label.ncols();
    check_labels(metric, n_labels)?;
    let needs_scale = matches!(metric, Metric::LogLoss | Metric::Brier | Metric::ExpectedCalibrationError(_));
    if needs_scale && prediction.probabilities().is_none() {
        return Err(MetricError::NoProbabilities { metric });
    }
    // What a threshold decided says nothing about probabilities.
    let labels = if metric.needs_probabilities() { likeliest(by_label) } else { prediction.labels() };
    if let Some(&label) = labels.iter().find(|&&label| label as usize >= n_labels) {
        return Err(MetricError::Mismatch { what: "labels", truth: n_labels, prediction: label as usize + 1 });
    }
    let areas = |average| Box::new(Areas::new(codes, by_label, average));
    Ok(match metric {
        Metric::RocAuc | Metric::RocAucOvr => areas(Average::Rest),
        Metric::RocAucOvrWeighted => areas(Average::RestByRows),
        Metric::RocAucOvo => areas(Average::Pairs),
        Metric::RocAucOvoWeighted => areas(Average::PairsByRows),
        Metric::AveragePrecision => Box::new(PrecisionAreas::new(codes, by_label)),
        Metric::LogLoss => Box::new(Losses::mean(losses::log_losses(codes, by_label))),
        Metric::Brier => Box::new(Losses::mean(losses::brier(codes, by_label))),
        Metric::TopKAccuracy(settings) if settings.k >= n_labels => {
            let reason = "there are no more than `k` labels, so that every row is right";
            return Err(MetricError::Undefined { metric, reason });
        }
        // The most probable of two labels is scored as by the accuracy: there scikit-learn gives ties to the first label.
        Metric::TopKAccuracy(settings) if n_labels > 2 => {
            Box::new(Losses::mean(losses::among_top(codes, by_label, settings.k)))
        }
        Metric::ExpectedCalibrationError(settings) => {
            Box::new(CalibrationError::new(codes, &labels, by_label, settings.bins))
        }
        metric => Box::new(LabelScore::new(metric, codes, &labels, n_labels)),
    })
}

/// Fails where a metric does not score labels, or not so many.
pub(crate) fn check_labels(metric: Metric, n_labels: usize) -> Result<(), MetricError> {
    if metric.task() != TaskKind::Classification {
        return Err(MetricError::OtherTask { metric, predictions: "labels" });
    }
    match metric.for_more_labels().filter(|_| n_labels != 2) {
        Some(instead) => Err(MetricError::NotTwoLabels { metric, n_labels, instead }),
        None => Ok(()),
    }
}

fn of_values(metric: Metric, truth: &[f64], predicted: &[f64]) -> Result<Box<dyn Counted>, MetricError> {
    let of_rows = |loss: fn(f64, f64) -> f64| truth.iter().zip(predicted).map(|(&t, &p)| loss(t, p)).collect();
    let squared = |t: f64, p: f64| (p - t).powi(2);
    let above = |what: &[f64], bound: f64| what.iter().all(|value| *value > bound);
    let defined = |defined: bool, reason| if defined { Ok(()) } else { Err(MetricError::Undefined { metric, reason }) };
    Ok(match metric {
        Metric::Mse => Box::new(Losses::mean(of_rows(squared))),
        Metric::Rmse => Box::new(Losses::root(of_rows(squared))),
        Metric::Mae => Box::new(Losses::mean(of_rows(|t, p| (p - t).abs()))),
        Metric::Mape => Box::new(Losses::mean(of_rows(|t, p| (p - t).abs() / t.abs().max(f64::EPSILON)))),
        Metric::MedianAe => Box::new(MedianError::new(of_rows(|t, p| (p - t).abs()))),
        Metric::Rmsle => {
            defined(above(truth, -1.0) && above(predicted, -1.0), "a true value or a prediction is not above -1")?;
            Box::new(Losses::root(of_rows(|t, p| (p.ln_1p() - t.ln_1p()).powi(2))))
        }
        Metric::Pinball(settings) => Box::new(Losses::mean(losses::pinball(truth, predicted, settings.alpha))),
        Metric::PoissonDeviance => {
            let counts = truth.iter().all(|value| *value >= 0.0);
            defined(counts && above(predicted, 0.0), "a true value is below 0 or a prediction is not above 0")?;
            Box::new(Losses::mean(of_rows(losses::poisson)))
        }
        Metric::GammaDeviance => {
            defined(above(truth, 0.0) && above(predicted, 0.0), "a true value or a prediction is not above 0")?;
            Box::new(Losses::mean(of_rows(|t, p| 2.0 * ((p / t).ln() + t / p - 1.0))))
        }
        Metric::R2 => Box::new(Explained::new(truth, predicted, true)),
        Metric::ExplainedVariance => Box::new(Explained::new(truth, predicted, false)),
        Metric::Spearman => Box::new(RankCorrelation::new(truth, predicted)),
        metric => return Err(MetricError::OtherTask { metric, predictions: "values" }),
    })
}
