//! One trial: what was tried and what came of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::samplers::Proposal;

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
    /// Where they lie in the sampler's terms.
    pub point: Vec<f64>,
    /// What came of it.
    pub outcome: Outcome,
    /// The scores at the levels of a resource that it went through before, the lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<f64>,
    /// What it cost.
    #[serde(default)]
    pub cost: Cost,
}

/// What a trial cost; `fit`, `predict` and `size` are the means over folds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Seconds of the whole trial.
    pub seconds: f64,
    /// Seconds of training.
    pub fit: f64,
    /// Seconds of predicting the validation rows.
    pub predict: f64,
    /// About how many numbers the model is made of.
    pub size: f64,
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
    /// It was given up early.
    Pruned {
        /// The scores of the folds until then.
        scores: Vec<f64>,
    },
    /// A fold could not be fitted or scored.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Trial {
    /// One of which nothing has come yet.
    pub fn new(number: usize, candidate: usize, family: &str, proposal: &Proposal) -> Self {
        Self {
            number,
            candidate,
            family: family.to_owned(),
            values: proposal.values.clone(),
            point: proposal.point.clone(),
            outcome: Outcome::Pruned { scores: Vec::new() },
            levels: Vec::new(),
            cost: Cost::default(),
        }
    }

    /// The scores of the folds that were scored.
    pub fn scores(&self) -> &[f64] {
        match &self.outcome {
            Outcome::Finished { scores, .. } | Outcome::Pruned { scores } => scores,
            Outcome::Failed { .. } => &[],
        }
    }

    /// The mean score; of a trial that was given up before all its rows were learned from the score of its last level, NaN for a failed one.
    pub fn mean(&self) -> f64 {
        match (self.scores(), self.levels.last()) {
            ([], Some(&level)) if self.is_pruned() => level,
            (scores, _) => mean(scores),
        }
    }

    /// The standard deviation of the folds' scores (of a sample); `None` of a single fold.
    pub fn deviation(&self) -> Option<f64> {
        let (scores, mean) = (self.scores(), self.mean());
        let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
        (scores.len() > 1).then(|| (squares / (scores.len() - 1) as f64).sqrt())
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
