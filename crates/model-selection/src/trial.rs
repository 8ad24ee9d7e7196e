//! One trial: what was tried and what came of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One trial, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The trial's number, counted from 0.
    pub number: usize,
    /// The candidate's position in the declaration.
    pub candidate: usize,
    /// The candidate's family.
    pub family: String,
    /// The values that were put in place of the spaces.
    pub values: Map<String, Value>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum Outcome {
    /// Every fold was scored.
    Finished {
        /// The score of each fold.
        scores: Vec<f64>,
        /// The rounds or passes that early stopping chose in each fold, where the family has such.
        rounds: Vec<Option<usize>>,
    },
    /// It was given up after these folds.
    Pruned {
        /// The scores until then.
        scores: Vec<f64>,
    },
    /// A fold could not be fitted or scored.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Trial {
    /// The scores of the folds that were scored.
    pub fn scores(&self) -> &[f64] {
        match &self.outcome {
            Outcome::Finished { scores, .. } | Outcome::Pruned { scores } => scores,
            Outcome::Failed { .. } => &[],
        }
    }

    /// The mean score; NaN for a failed trial.
    pub fn mean(&self) -> f64 {
        mean(self.scores())
    }

    /// The standard deviation of the folds' scores (of a sample).
    pub fn deviation(&self) -> f64 {
        let (scores, mean) = (self.scores(), self.mean());
        let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
        if scores.len() > 1 { (squares / (scores.len() - 1) as f64).sqrt() } else { 0.0 }
    }

    /// Whether every fold was scored.
    pub fn is_finished(&self) -> bool {
        matches!(self.outcome, Outcome::Finished { .. })
    }

    /// Whether it was given up early.
    pub fn is_pruned(&self) -> bool {
        matches!(self.outcome, Outcome::Pruned { .. })
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Failed { reason } => Some(reason),
            _ => None,
        }
    }
}

/// The mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
