//! Fine-tuning and its guard.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::Metric;

/// `uses: fine-tuning`: trains the base model further on the training rows and keeps the result only where the guard says that it holds up.
/// The block of the family that the base is of is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FineTuning {
    /// The stage whose model is tuned.
    pub base: String,
    /// For networks.
    #[serde(default)]
    pub network: NetworkTuning,
    /// For boosted trees.
    #[serde(default)]
    pub boosting: BoostingTuning,
    /// For linear models.
    #[serde(default)]
    pub linear: LinearTuning,
    /// A score to reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// What keeps the tuned model from being worse than the base.
    #[serde(default)]
    pub guard: Guard,
}

/// Continued training of a network: a lower rate, lower still towards the input, the best weights by the loss on validation rows kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkTuning {
    /// The learning rate of the last layer.
    #[serde(default = "network_rate")]
    #[schemars(range(max = 100.0), extend("exclusiveMinimum" = 0.0))]
    pub learning_rate: f64,
    /// The rate of a layer is this times the rate of the layer after it.
    #[serde(default = "layer_decay")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub layer_decay: f64,
    /// At most so many passes over the rows.
    #[serde(default = "epochs")]
    #[schemars(range(min = 1, max = 100_000))]
    pub epochs: usize,
    /// Rows of a step; by default the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch_size: Option<usize>,
    /// When to stop early.
    #[serde(default)]
    pub early_stopping: EarlyStopping,
}

/// When to stop early.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// After so many passes in a row that did not lower the validation loss.
    #[serde(default = "patience")]
    #[schemars(range(min = 1))]
    pub patience: usize,
}

/// Further rounds on top of boosted trees, stopped early on validation rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoostingTuning {
    /// At most so many further rounds.
    #[serde(default = "more_trees")]
    #[schemars(range(min = 1, max = 100_000))]
    pub more_trees: usize,
    /// The weight of each further round.
    #[serde(default = "boosting_rate")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub learning_rate: f64,
    /// Stop after so many rounds in a row that did not lower the validation loss.
    #[serde(default = "patience_rounds")]
    #[schemars(range(min = 1))]
    pub early_stopping: usize,
}

/// Local refinement of a linear model: its penalty is searched in the neighbourhood of the base's, warm-started, by the loss on validation rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinearTuning {
    /// What is refined.
    #[serde(default)]
    pub refine: Refine,
    /// The penalty is tried between the base's divided and multiplied by this.
    #[serde(default = "refine_factor")]
    #[schemars(range(max = 1e6), extend("exclusiveMinimum" = 1.0))]
    pub factor: f64,
    /// How many penalties are tried.
    #[serde(default = "refine_steps")]
    #[schemars(range(min = 2, max = 1000))]
    pub steps: usize,
}

/// What is refined in a linear model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refine {
    /// The strength of the L2 penalty.
    #[default]
    L2,
}

/// A score to reach on the validation rows that early stopping did not use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// The score.
    pub metric: Metric,
    /// The least value, for scores of which more is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// The greatest value, for scores of which less is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// Whether missing the goal ends the program with code 6.
    #[serde(default)]
    pub required: bool,
}

/// Compares base and tuned model on validation rows that early stopping did not use, by a paired bootstrap interval of the difference, and keeps
/// the base unless the tuned one holds up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// The score compared; by default the one of the model selection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// The tuned model is kept if its score is worse than the base's by no more than this, and the interval of the difference does not say that it is worse for sure.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub max_drop: f64,
    /// The confidence of the interval.
    #[serde(default = "confidence")]
    #[schemars(range(min = 0.5, max = 0.999))]
    pub confidence: f64,
    /// Whether refusing the tuned model ends the program with code 6.
    #[serde(default)]
    pub required: bool,
}

macro_rules! default_from_empty {
    ($($type:ty),*) => {$(
        impl Default for $type {
            /// Every key left out.
            fn default() -> Self {
                // Written once, in the `default` attributes above; an empty mapping is valid for each of these types.
                serde_json::from_str("{}").unwrap_or_else(|_| unreachable!("every key has a default"))
            }
        }
    )*};
}

default_from_empty!(NetworkTuning, EarlyStopping, BoostingTuning, LinearTuning, Guard);

fn network_rate() -> f64 {
    3e-4
}

fn layer_decay() -> f64 {
    0.7
}

fn epochs() -> usize {
    30
}

fn patience() -> usize {
    5
}

fn more_trees() -> usize {
    100
}

fn boosting_rate() -> f64 {
    0.02
}

fn patience_rounds() -> usize {
    10
}

fn refine_factor() -> f64 {
    4.0
}

fn refine_steps() -> usize {
    9
}

fn confidence() -> f64 {
    0.95
}
