//! Steps that fill missing values.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::five;
use crate::columns::{OneOrMany, Selector};

/// Fills missing values with a statistic of the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Impute {
    /// The columns filled.
    #[serde(default = "Selector::all")]
    pub columns: Selector,
    /// What a missing value is replaced by. `mean` and `median` are for numbers.
    #[serde(default)]
    pub strategy: ImputeStrategy,
    /// The value of `strategy: constant`: a number for numeric columns, text for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Constant>,
    /// Adds a column `NAME_missing` of 0 and 1 for each column that has missing training values.
    #[serde(default)]
    pub indicator: bool,
}

/// What a missing value is replaced by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImputeStrategy {
    /// The median of numbers, the most frequent level of everything else.
    #[default]
    Auto,
    /// The mean.
    Mean,
    /// The median.
    Median,
    /// The most frequent value; the smallest of equally frequent ones.
    MostFrequent,
    /// The given `value`.
    Constant,
}

/// A number, a boolean or text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Constant {
    /// A number.
    Number(f64),
    /// A boolean.
    Boolean(bool),
    /// Text.
    Text(String),
}

/// Adds a column `NAME_missing` of 0 and 1, which says where a value was missing, for each column that has missing training values: scikit-learn's
/// `MissingIndicator`. The columns themselves stay as they are. `impute` adds the same with `indicator: true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MissingIndicator {
    /// The columns looked at.
    #[serde(default = "Selector::all")]
    pub columns: Selector,
}

/// Fills a missing value with the last value before it, or the next one after it, among the rows that are given: training rows from training rows, rows to
/// predict from those that come with them. What no such value exists for stays missing; put `impute` after. Needs all rows at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FillMissing {
    /// The columns filled; those of `by` and `order_by` are left as they are.
    #[serde(default = "Selector::all")]
    pub columns: Selector,
    /// `forward` takes the last value before (pandas' `ffill`), `backward` the next one after (`bfill`).
    #[serde(default)]
    pub direction: FillDirection,
    /// A value is taken only from rows that are equal in these columns, of any role; a missing value there is a group of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<OneOrMany<String>>,
    /// The column, of any role, that says which row comes before which; rows without a value in it come last, and equal ones in the order in which they are
    /// given. Without it, rows are in the order in which they are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_by: Option<String>,
    /// At most so many missing values in a row are filled from one value; by default all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<usize>,
}

/// Where `fill_missing` takes values from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FillDirection {
    /// The last value before.
    #[default]
    Forward,
    /// The next value after.
    Backward,
}

/// Fills a missing number with the mean of that column over the nearest training rows that have a value there: scikit-learn's `KNNImputer`. Rows are as near
/// as their Euclidean distance over the columns that both have, scaled up to all columns; so columns of one scale are best: put `standard_scale` before. Of
/// equally near rows the first is the nearer one. A row that shares no column with any training row gets the column's mean. The training rows are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KnnImpute {
    /// The columns filled, and compared by.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// How many rows a value is taken from; scikit-learn's `n_neighbors`.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 10_000))]
    pub neighbours: usize,
    /// How much each of them counts.
    #[serde(default)]
    pub weights: NeighbourWeights,
}

/// How much a neighbour counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NeighbourWeights {
    /// All the same.
    #[default]
    Uniform,
    /// By the inverse of its distance; where some are at no distance, those only.
    Distance,
}

/// Fills a missing number with what a ridge regression on the other columns predicts (chained equations, van Buuren and Groothuis-Oudshoorn 2011):
/// scikit-learn's `IterativeImputer` with the estimator `Ridge(alpha)`. Starts from the columns' means, then takes the columns in rounds, those with the
/// fewest missing training values first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IterativeImpute {
    /// The columns filled, and predicted from.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// The penalty on the squared coefficients, in the units of the columns; scikit-learn's `Ridge(alpha)`.
    #[serde(default = "small_penalty")]
    #[schemars(range(max = 1e12), extend("exclusiveMinimum" = 0.0))]
    pub alpha: f64,
    /// At most so many rounds; scikit-learn's `max_iter`.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000))]
    pub rounds: usize,
    /// The rounds end where no row changes by more than this share of the greatest value by magnitude; scikit-learn's `tol`.
    #[serde(default = "thousandth")]
    #[schemars(range(min = 0.0))]
    pub tolerance: f64,
}

fn small_penalty() -> f64 {
    1e-3
}

fn thousandth() -> f64 {
    1e-3
}

fn ten() -> usize {
    10
}
