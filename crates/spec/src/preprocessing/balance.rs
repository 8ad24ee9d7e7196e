//! Steps that give rare labels their due in the training rows. Rows to predict are never touched.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AutoWord, five};

/// Repeats training rows of rarer labels, drawn at random with replacement and put at the end: imbalanced-learn's `RandomOverSampler`. For classification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomOverSample {
    /// How many rows the rarer labels get.
    #[serde(default)]
    pub sampling: Sampling,
}

/// Drops training rows of more frequent labels, at random: imbalanced-learn's `RandomUnderSampler`. For classification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomUnderSample {
    /// How many rows the more frequent labels keep.
    #[serde(default)]
    pub sampling: Sampling,
}

/// Adds training rows of rarer labels, each somewhere between a row and one of its nearest neighbours of the same label (Chawla et al. 2002):
/// imbalanced-learn's `SMOTE`. Every feature must be numeric or boolean by then, without missing values; numbers are interpolated, a boolean is that of the
/// nearer of the two, and everything else - ids, group, weight, row number - is that of the row. Rows are as near as their Euclidean distance, so features
/// of one scale are best: put `standard_scale` before. For classification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Smote {
    /// How many rows the rarer labels get.
    #[serde(default)]
    pub sampling: Sampling,
    /// How many neighbours one is drawn from, or all that there are of a label with fewer; imbalanced-learn's `k_neighbors`.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 10_000))]
    pub neighbours: usize,
}

/// Gives each training row a weight by its label, in a column `#weight`, or multiplies the weights that rows have. Models learn by them; scores do not use
/// them. For classification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassWeights {
    /// `balanced`, or a weight for each label as `{ LABEL: weight }`; a label that is not listed has the weight 1.
    #[serde(default)]
    pub weights: LabelWeights,
}

/// How many rows labels get by balancing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Sampling {
    /// `auto`: every label as many as the most frequent one (over-sampling) or the rarest one (under-sampling).
    Auto(AutoWord),
    /// For two labels: rows of the rarer one for each row of the other.
    Ratio(#[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))] f64),
}

impl Default for Sampling {
    fn default() -> Self {
        Self::Auto(AutoWord::Auto)
    }
}

/// The weights of labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum LabelWeights {
    /// `balanced`: all rows / (labels * rows of the label), as scikit-learn; where rows have weights, by the sums of those.
    Balanced(BalancedWord),
    /// These.
    Each(BTreeMap<String, f64>),
}

impl Default for LabelWeights {
    fn default() -> Self {
        Self::Balanced(BalancedWord::Balanced)
    }
}

/// The word `balanced`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BalancedWord {
    /// Every label weighs the same in all.
    Balanced,
}
