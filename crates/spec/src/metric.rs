//! Names of scores.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::TaskKind;

/// A score, as scikit-learn defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of right labels.
    Accuracy,
    /// Mean recall over the labels.
    BalancedAccuracy,
    /// Mean F1 over the labels.
    F1Macro,
    /// F1 over all decisions.
    F1Micro,
    /// Mean F1 weighted by each label's rows.
    F1Weighted,
    /// Mean precision over the labels.
    PrecisionMacro,
    /// Mean recall over the labels.
    RecallMacro,
    /// Area under the ROC curve; the mean of one label against the rest where there are more than two.
    RocAuc,
    /// Cross-entropy of the probabilities, in nats.
    LogLoss,
    /// Mean squared error of the probabilities, as scikit-learn's `brier_score_loss`.
    Brier,
    /// Matthews correlation coefficient.
    Mcc,
    /// Root of the mean squared error.
    Rmse,
    /// Mean absolute error.
    Mae,
    /// Coefficient of determination.
    R2,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 14] = [
        Self::Accuracy,
        Self::BalancedAccuracy,
        Self::F1Macro,
        Self::F1Micro,
        Self::F1Weighted,
        Self::PrecisionMacro,
        Self::RecallMacro,
        Self::RocAuc,
        Self::LogLoss,
        Self::Brier,
        Self::Mcc,
        Self::Rmse,
        Self::Mae,
        Self::R2,
    ];

    /// The word in the language.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced_accuracy",
            Self::F1Macro => "f1_macro",
            Self::F1Micro => "f1_micro",
            Self::F1Weighted => "f1_weighted",
            Self::PrecisionMacro => "precision_macro",
            Self::RecallMacro => "recall_macro",
            Self::RocAuc => "roc_auc",
            Self::LogLoss => "log_loss",
            Self::Brier => "brier",
            Self::Mcc => "mcc",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::R2 => "r2",
        }
    }

    /// The task that it scores.
    pub fn task(self) -> TaskKind {
        match self {
            Self::Rmse | Self::Mae | Self::R2 => TaskKind::Regression,
            _ => TaskKind::Classification,
        }
    }

    /// Whether a greater value is better.
    pub fn greater_is_better(self) -> bool {
        !matches!(self, Self::LogLoss | Self::Brier | Self::Rmse | Self::Mae)
    }

    /// Whether it is computed from probabilities rather than labels.
    pub fn needs_probabilities(self) -> bool {
        matches!(self, Self::RocAuc | Self::LogLoss | Self::Brier)
    }

    /// What scikit-learn's estimators score themselves by: accuracy or R2. The default of what compares a model with itself.
    pub fn plain_for(task: TaskKind) -> Self {
        match task {
            TaskKind::Classification => Self::Accuracy,
            TaskKind::Regression => Self::R2,
        }
    }

    /// The metric of a task where none is named.
    pub fn default_for(task: TaskKind) -> Self {
        match task {
            TaskKind::Classification => Self::F1Macro,
            TaskKind::Regression => Self::Rmse,
        }
    }
}
