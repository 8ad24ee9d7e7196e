//! Predictions for rows that the models behind them have not learned from.

use std::sync::Arc;

use ndarray::{Axis, concatenate};
use retune_metrics::Prediction;
use retune_stage::{Result, StageError, Target};

use crate::folds::PreparedFold;

/// The validation rows of all folds, one after the other.
pub struct Held {
    /// What is true.
    pub target: Target,
    /// Each row's fold.
    pub folds: Vec<usize>,
    /// Each row's weight, where rows have such.
    pub weights: Option<Vec<f64>>,
}

impl Held {
    /// Those of some folds.
    pub fn of(folds: &[Arc<PreparedFold>]) -> Result<Self> {
        let number = |(number, fold): (usize, &Arc<PreparedFold>)| vec![number; fold.validation.n_rows()];
        let weights = folds.iter().map(|fold| fold.validation.weights.clone()).collect::<Option<Vec<_>>>();
        Ok(Self {
            target: target(folds)?,
            folds: folds.iter().enumerate().flat_map(number).collect(),
            weights: weights.map(|weights| weights.concat()),
        })
    }
}

/// The targets of the validation rows of all folds.
fn target(folds: &[Arc<PreparedFold>]) -> Result<Target> {
    let targets: Vec<&Target> = folds.iter().map(|fold| fold.validation.target()).collect::<Result<_>>()?;
    let codes = |target: &&Target| match target {
        Target::Classes { codes, .. } => codes.clone(),
        Target::Values(_) => Vec::new(),
    };
    let values = |target: &&Target| match target {
        Target::Values(values) => values.clone(),
        Target::Classes { .. } => Vec::new(),
    };
    Ok(match targets.first() {
        Some(Target::Classes { n_classes, .. }) => {
            Target::Classes { codes: targets.iter().flat_map(codes).collect(), n_classes: *n_classes }
        }
        _ => Target::Values(targets.iter().flat_map(values).collect()),
    })
}

/// Predictions of the same kind, one after the other.
pub fn joined(parts: &[Prediction]) -> Result<Prediction> {
    let values = parts.iter().map(|part| match part {
        Prediction::Values(values) => Some(values.as_slice()),
        _ => None,
    });
    if let Some(values) = values.collect::<Option<Vec<_>>>() {
        return Ok(Prediction::Values(values.concat()));
    }
    let by_label: Vec<_> = parts.iter().filter_map(Prediction::by_label).map(|by_label| by_label.view()).collect();
    let all = concatenate(Axis(0), &by_label).map_err(|error| StageError::failed(error.to_string()))?;
    let scores = parts.iter().any(|part| matches!(part, Prediction::Scores(_)));
    Ok(if scores { Prediction::Scores(all) } else { Prediction::Probabilities(all) })
}
