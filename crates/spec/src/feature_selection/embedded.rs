//! Methods that read their scores off a trained model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature_selection::{Keep, scored};

/// Keeps the columns to which a linear model with an L1 penalty leaves a coefficient: lasso for values, multinomial logistic regression for labels, on standardised
/// columns. With `keep` the penalty falls until so many columns have one. Without `keep` and `alpha`, the strongest penalty within one standard error of the best of
/// a path is taken (cross-validated).
///
/// Suited to linear effects and to columns that repeat each other, of which one is left; less to many noise columns, some of which keep a coefficient
/// by chance (`stability` finds them), and columns that tell something only together are missed. Refuses missing values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct L1 {
    /// How many columns to keep at most, or a share of them such as `40 %`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// The penalty: scikit-learn's `alpha` of `Lasso`; for labels `1 / (C n)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub alpha: Option<f64>,
    /// Folds that the penalty is chosen by.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 1000))]
    pub folds: usize,
}

pub(crate) fn five() -> usize {
    5
}

scored! {
    /// Keeps the columns with the greatest coefficients, by magnitude, of a logistic (labels) or ridge regression (values) on standardised columns; of several labels the
    /// norm over them.
    ///
    /// Suited to linear effects where rows are many times as many as columns; not to many noise columns, whose coefficients are large by chance, nor
    /// to columns that repeat each other, which share theirs, and columns that tell something only together are missed. Refuses missing values.
    LinearCoefficients {
        /// The strength of the L2 penalty: scikit-learn's `1 / C` or `alpha`.
        #[serde(default = "one")]
        #[schemars(range(min = 0.0))]
        l2: f64,
    }
}

pub(crate) fn one() -> f64 {
    1.0
}

scored! {
    /// Keeps the columns that boosted trees (LightGBM) use most; scores add up to 1.
    ///
    /// Suited to many noise columns, to relations of any shape and to columns that tell something only together; columns that repeat each other share
    /// one score, so that one of them or all may go. Takes missing values.
    TreeImportance {
        /// What use is counted by.
        #[serde(default)]
        importance: Importance,
        /// Rounds of boosting.
        #[serde(default = "hundred")]
        #[schemars(range(min = 1, max = 100_000))]
        trees: usize,
        /// Leaves of a tree.
        #[serde(default = "leaves")]
        #[schemars(range(min = 2, max = 131_072))]
        leaves: usize,
        /// The step of each round.
        #[serde(default = "tenth")]
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        learning_rate: f64,
    }
}

/// What the use of a column in trees is counted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Importance {
    /// How much its splits improve the objective.
    #[default]
    Gain,
    /// How many splits it has.
    Split,
}

fn hundred() -> usize {
    100
}

fn leaves() -> usize {
    31
}

fn tenth() -> f64 {
    0.1
}

scored! {
    /// Keeps the columns that move the predictions of boosted trees most: the mean magnitude of the exact SHAP values (TreeSHAP, Lundberg et al. 2020) over training
    /// rows, of several labels their sum, in the unit of the trees' raw score.
    ///
    /// Suited to many noise columns, to relations of any shape and to columns that tell something only together; columns that repeat each other share
    /// one score, so that one of them or all may go. Takes missing values.
    ShapImportance {
        /// Rounds of boosting.
        #[serde(default = "hundred")]
        #[schemars(range(min = 1, max = 100_000))]
        trees: usize,
        /// Leaves of a tree.
        #[serde(default = "leaves")]
        #[schemars(range(min = 2, max = 131_072))]
        leaves: usize,
        /// The step of each round.
        #[serde(default = "tenth")]
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        learning_rate: f64,
        /// The mean is taken over at most so many rows, drawn at random.
        #[serde(default = "ten_thousand")]
        #[schemars(range(min = 10))]
        max_rows: usize,
    }
}

fn ten_thousand() -> usize {
    10_000
}
