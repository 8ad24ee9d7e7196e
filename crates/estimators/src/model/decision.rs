//! Which label probabilities decide for.

use ndarray::{Array2, ArrayView1};
use retune_metrics::Prediction;
use retune_stage::{Result, StageError};
use serde::{Deserialize, Serialize};

/// How labels follow from probabilities, where it is not the greatest one that decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Two labels: the second from this probability on.
    Threshold(f64),
    /// The greatest product of probability and the label's weight; the first of several.
    Weights(Vec<f64>),
}

impl Decision {
    /// The same probabilities with the labels that it decides for. Fails for scores and values.
    pub fn apply(&self, prediction: Prediction) -> Result<Prediction> {
        match prediction {
            Prediction::Probabilities(probabilities) | Prediction::Decided { probabilities, .. } => {
                self.check(probabilities.ncols())?;
                Ok(Prediction::Decided { labels: self.labels(&probabilities), probabilities })
            }
            Prediction::Scores(_) => {
                Err(StageError::data("a threshold decides by probabilities, and the model gives scores")
                    .help("add `calibrate: platt`"))
            }
            Prediction::Values(_) => Err(StageError::failed("a threshold decides labels, and the model gives values")),
        }
    }

    fn labels(&self, probabilities: &Array2<f64>) -> Vec<u32> {
        let label = |row: ArrayView1<f64>| match self {
            Self::Threshold(threshold) => u32::from(row[1] >= *threshold),
            Self::Weights(weights) => {
                let products = row.iter().zip(weights).map(|(probability, weight)| probability * weight);
                let greater = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
                products.enumerate().reduce(greater).map_or(0, |(label, _)| label as u32)
            }
        };
        probabilities.rows().into_iter().map(label).collect()
    }

    /// Fails where it does not fit so many labels: for a model that was changed by hand.
    pub(super) fn check(&self, n_labels: usize) -> Result<()> {
        let sound = match self {
            Self::Threshold(threshold) => n_labels == 2 && threshold.is_finite(),
            Self::Weights(weights) => {
                weights.len() == n_labels && weights.iter().all(|weight| weight.is_finite() && *weight > 0.0)
            }
        };
        if sound {
            Ok(())
        } else {
            Err(StageError::failed(format!("the model's decision does not fit its {n_labels} labels"))
                .help("train the model again"))
        }
    }

    /// What it decides by, in words.
    pub fn describe(&self, labels: &[String]) -> String {
        match self {
            Self::Threshold(threshold) => {
                let second = labels.last().map_or("", String::as_str);
                format!("`{second}` from a probability of {threshold:.4}")
            }
            Self::Weights(weights) => {
                let weights: Vec<String> =
                    labels.iter().zip(weights).map(|(label, weight)| format!("`{label}` {weight:.4}")).collect();
                format!("probabilities weighted {}", weights.join(", "))
            }
        }
    }
}
