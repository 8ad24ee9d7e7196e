//! Decision trees and what is made of many.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClassWeight, one, yes};

/// A decision tree by exact best splits, as scikit-learn's `DecisionTreeClassifier` and `DecisionTreeRegressor`. Missing values go to the side that fits better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionTree {
    /// What a split lowers. By default `gini` for labels and `squared_error` for values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criterion: Option<Criterion>,
    /// The greatest depth; 0 is unlimited.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    pub max_depth: usize,
    /// The fewest rows of a node that is split.
    #[serde(default = "two")]
    #[schemars(range(min = 2))]
    pub min_rows_to_split: usize,
    /// The fewest rows of a leaf.
    #[serde(default = "one_row")]
    #[schemars(range(min = 1))]
    pub min_rows: usize,
    /// The columns that are looked at for each split.
    #[serde(default)]
    pub max_features: MaxFeatures,
    /// Weights of the labels.
    #[serde(default)]
    pub class_weight: ClassWeight,
}

/// Many decision trees; they differ in how a tree's splits and rows are found.
macro_rules! forest {
    ($(#[$doc:meta])* $name:ident { $(#[$rows:meta])* bootstrap }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// How many trees.
            #[serde(default = "trees")]
            #[schemars(range(min = 1, max = 100_000))]
            pub trees: usize,
            /// What a split lowers. By default `gini` for labels and `squared_error` for values.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub criterion: Option<Criterion>,
            /// The greatest depth; 0 is unlimited.
            #[serde(default)]
            #[schemars(range(max = 1000))]
            pub max_depth: usize,
            /// The fewest rows of a node that is split.
            #[serde(default = "two")]
            #[schemars(range(min = 2))]
            pub min_rows_to_split: usize,
            /// The fewest rows of a leaf.
            #[serde(default = "one_row")]
            #[schemars(range(min = 1))]
            pub min_rows: usize,
            /// The columns that are looked at for each split. By default `sqrt` for labels and `all` for values.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub max_features: Option<MaxFeatures>,
            /// Whether each tree has rows drawn with replacement, rather than all rows.
            $(#[$rows])*
            pub bootstrap: bool,
            /// Weights of the labels.
            #[serde(default)]
            pub class_weight: ClassWeight,
        }
    };
}

forest! {
    /// The mean of many decision trees, each grown on rows drawn with replacement and looking at some columns for each split, as scikit-learn's
    /// `RandomForestClassifier` and `RandomForestRegressor` (Breiman 2001). Columns with more than 255 values are cut into as many bins.
    RandomForest {
        #[serde(default = "yes")]
        bootstrap
    }
}

forest! {
    /// The mean of many decision trees whose splits are drawn at random, the best of them being taken, as scikit-learn's `ExtraTreesClassifier` and
    /// `ExtraTreesRegressor` (Geurts et al. 2006).
    ExtraTrees {
        #[serde(default)]
        bootstrap
    }
}

/// What a split lowers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// Labels: the chance that two rows of a node differ.
    Gini,
    /// Labels: Shannon's entropy.
    Entropy,
    /// Values: the squared error around the node's mean.
    SquaredError,
}

/// How many columns are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum MaxFeatures {
    /// A rule.
    Rule(FeatureRule),
    /// A share of the columns, at least one.
    Share(#[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))] f64),
}

impl Default for MaxFeatures {
    fn default() -> Self {
        Self::Rule(FeatureRule::All)
    }
}

/// How many columns are looked at, of all that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeatureRule {
    /// Every one.
    All,
    /// The square root of their number.
    Sqrt,
    /// The binary logarithm of their number.
    Log2,
}

/// Gradient-boosted trees by LightGBM, whose names for the hyperparameters are given in brackets. Missing values and words (columns of the kind `categorical`)
/// are taken as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GradientBoosting {
    /// At most so many rounds (`num_iterations`).
    #[serde(default = "trees")]
    #[schemars(range(min = 1, max = 100_000))]
    pub trees: usize,
    /// Stop when so many rounds in a row did not lower the loss on a tenth of the training rows that was set aside; 0 runs all rounds.
    #[serde(default)]
    pub early_stopping: usize,
    /// The weight of each round (`learning_rate`).
    #[serde(default = "boosting_rate")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub learning_rate: f64,
    /// Leaves of a tree (`num_leaves`).
    #[serde(default = "leaves")]
    #[schemars(range(min = 2, max = 131_072))]
    pub leaves: usize,
    /// The depth of a tree; 0 is unlimited (`max_depth`).
    #[serde(default)]
    #[schemars(range(max = 1000))]
    pub max_depth: usize,
    /// The fewest rows of a leaf (`min_data_in_leaf`).
    #[serde(default = "min_rows")]
    #[schemars(range(min = 1))]
    pub min_rows: usize,
    /// The least sum of second derivatives in a leaf (`min_sum_hessian_in_leaf`).
    #[serde(default = "min_hessian")]
    #[schemars(range(min = 0.0))]
    pub min_hessian: f64,
    /// The least gain of a split (`min_gain_to_split`).
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub min_gain: f64,
    /// The share of columns drawn for each tree (`feature_fraction`).
    #[serde(default = "one")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub column_share: f64,
    /// The share of rows drawn for each round (`bagging_fraction`).
    #[serde(default = "one")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub row_share: f64,
    /// L1 penalty of the leaves (`lambda_l1`).
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub l1: f64,
    /// L2 penalty of the leaves (`lambda_l2`).
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub l2: f64,
    /// Histogram bins of a column (`max_bin`).
    #[serde(default = "bins")]
    #[schemars(range(min = 2, max = 65_535))]
    pub bins: usize,
    /// Values: the loss (`objective`).
    #[serde(default)]
    pub loss: BoostingLoss,
    /// The quantile of `quantile`, and the bend of `huber` (`alpha`).
    #[serde(default = "boosting_alpha")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub alpha: f64,
    /// Columns with which the prediction may only rise or only fall, all others being equal (`monotone_constraints`).
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub monotone: IndexMap<String, Monotone>,
    /// Weights of the labels.
    #[serde(default)]
    pub class_weight: ClassWeight,
}

/// Losses of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BoostingLoss {
    /// Squared errors: the mean is predicted.
    #[default]
    Squared,
    /// Absolute errors: the median is predicted.
    Absolute,
    /// Squared up to `alpha`, absolute beyond.
    Huber,
    /// The quantile `alpha` is predicted.
    Quantile,
    /// The deviance of counts.
    Poisson,
    /// The deviance of positive values with a constant coefficient of variation.
    Gamma,
}

/// How a prediction may go with a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Monotone {
    /// It may not fall where the column rises.
    Increasing,
    /// It may not rise where the column rises.
    Decreasing,
}

fn two() -> usize {
    2
}

fn one_row() -> usize {
    1
}

fn trees() -> usize {
    100
}

fn boosting_rate() -> f64 {
    0.1
}

fn boosting_alpha() -> f64 {
    0.9
}

fn leaves() -> usize {
    31
}

fn min_rows() -> usize {
    20
}

fn min_hessian() -> f64 {
    1e-3
}

fn bins() -> usize {
    255
}
