//! Steps that turn levels into numbers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{five, one, yes};
use crate::columns::Selector;

/// Replaces a column by one column `NAME_LEVEL` of 0 and 1 for each level, the most frequent first. A missing value is a level too, `NAME_missing`,
/// where training rows have some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneHot {
    /// The columns encoded.
    #[serde(default = "Selector::categorical")]
    pub columns: Selector,
    /// At most so many columns: rarer levels share the column `NAME_other`, which counts as one.
    #[serde(default = "max_levels")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_levels: usize,
    /// More columns than this in all are refused, with what they would cost.
    #[serde(default = "ten_thousand")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_columns: usize,
    /// Levels with fewer training rows count as rare.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub min_frequency: usize,
    /// Leave out the column of the first level.
    #[serde(default)]
    pub drop_first: bool,
    /// A level never seen in training: all zeros, counted as rare (`other`), or an error.
    #[serde(default)]
    pub unseen: Unseen,
}

/// What happens to a level that was never seen in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unseen {
    /// It is none of the levels.
    #[default]
    Ignore,
    /// It counts as one of the rare levels.
    Other,
    /// It is an error that names column, row and level.
    Error,
}

fn max_levels() -> usize {
    20
}

fn ten_thousand() -> usize {
    10_000
}

/// Replaces a level by the mean of the target where it occurs, shrunk towards the overall mean (Micci-Barreca 2001). With more than two
/// labels one column `NAME_LABEL` for each label. Training rows get values from folds that they are not in, as scikit-learn's `TargetEncoder`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetEncode {
    /// The columns encoded.
    #[serde(default = "Selector::categorical")]
    pub columns: Selector,
    /// Rows' worth of the overall mean that are mixed in; `auto` is the empirical Bayes estimate.
    #[serde(default)]
    pub smooth: Smooth,
    /// Folds that training rows are encoded by.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 100))]
    pub folds: usize,
}

/// The smoothing of `target_encode`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Smooth {
    /// `auto`.
    Auto(AutoWord),
    /// So many rows' worth of the overall mean.
    Rows(#[schemars(range(min = 0.0))] f64),
}

impl Default for Smooth {
    fn default() -> Self {
        Self::Auto(AutoWord::Auto)
    }
}

/// The word `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AutoWord {
    /// Chosen from the data.
    Auto,
}

/// Replaces a level by its number in the order of levels, counted from 0, as scikit-learn's `OrdinalEncoder`. For levels that have an order, such
/// as `low`, `mid`, `high`, and for models that split by thresholds; others take the numbers for distances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrdinalEncode {
    /// The columns encoded.
    #[serde(default = "Selector::categorical")]
    pub columns: Selector,
    /// The order of the levels of some columns: `{ size: [small, medium, large] }`. Those of other columns are sorted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub order: BTreeMap<String, Vec<String>>,
    /// What a level becomes that was never seen in training, or is not in the given order: an `error` that names column, row and level, a
    /// `missing` value, or a number.
    #[serde(default)]
    pub unseen: UnseenCode,
    /// What a missing value becomes (`encoded_missing_value`); without this it stays missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<f64>,
}

/// What `ordinal_encode` makes of a level without a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum UnseenCode {
    /// `error` or `missing`.
    Word(UnseenWord),
    /// This number, which no level may have.
    Code(f64),
}

impl Default for UnseenCode {
    fn default() -> Self {
        Self::Word(UnseenWord::Error)
    }
}

/// What happens to a level without a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnseenWord {
    /// It is an error.
    Error,
    /// It becomes a missing value.
    Missing,
}

/// Replaces a level by how frequent it is in the training rows. A missing value is a level too, where training rows have some; a level never seen
/// becomes 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrequencyEncode {
    /// The columns encoded.
    #[serde(default = "Selector::categorical")]
    pub columns: Selector,
    /// The number that stands for a level.
    #[serde(default)]
    pub measure: Frequency,
}

/// How frequent a level is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Frequency {
    /// The share of training rows that have it.
    #[default]
    Share,
    /// The number of training rows that have it.
    Count,
}

/// Replaces columns by `PREFIX_1`, `PREFIX_2`, ...: the text `COLUMN=LEVEL` of each adds 1 or -1 to the one that its hash chooses (signed 32-bit
/// MurmurHash3), as scikit-learn's `FeatureHasher` does with a row. Nothing is learned, so that any number of levels costs the same and new ones are
/// no exception; some levels share a column. A missing value adds nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HashEncode {
    /// The columns replaced.
    #[serde(default = "Selector::categorical")]
    pub columns: Selector,
    /// How many columns come out.
    #[serde(default = "hash_columns")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub n_features: usize,
    /// Let the hash choose the sign too, so that levels which share a column cancel out on average.
    #[serde(default = "yes")]
    pub alternate_sign: bool,
    /// What the new columns are called: `PREFIX_1`, `PREFIX_2`, ...
    #[serde(default = "hash_prefix")]
    pub prefix: String,
}

fn hash_columns() -> usize {
    32
}

fn hash_prefix() -> String {
    "hash".to_owned()
}

/// Replaces a column by the binary digits of its levels' numbers, `NAME_1` (the highest) to `NAME_K`: K columns for up to 2^K - 1 levels. Levels
/// are numbered from 1 in sorted order, a missing value last where training rows have some; a level never seen has zeros only.
/// The idea of category_encoders' `BinaryEncoder`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BinaryEncode {
    /// The columns encoded.
    #[serde(default = "Selector::categorical")]
    pub columns: Selector,
}
