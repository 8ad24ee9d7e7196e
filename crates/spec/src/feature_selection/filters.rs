//! Methods that look at the columns and the target, not at a model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature_selection::{Keep, scored, tested};

/// Drops columns of which a greater share than `max` is missing. What it leaves may have missing values, which other methods refuse: put `impute` into a
/// preprocessing stage before them.
///
/// Suited to clearing out columns that are mostly empty, before the rest is imputed; the target is not looked at, so noise and columns that repeat
/// others stay. Takes missing values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MissingShare {
    /// The greatest share of missing values that is left, from 0 to 1.
    #[serde(default = "half")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max: f64,
}

fn half() -> f64 {
    0.5
}

/// Drops columns whose variance (of the population) is not above the threshold, as scikit-learn's `VarianceThreshold`.
///
/// Suited to dropping constant columns; the target is not looked at, so noise and columns that repeat others stay, and a threshold above 0 means
/// something else for every unit. Takes missing values, which it passes over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VarianceThreshold {
    /// The threshold; by default only constant columns are dropped.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub threshold: f64,
}

/// Of every two columns that correlate above `max` in absolute value, drops the one that tells less of the target.
///
/// Suited to columns that repeat another one; noise repeats nothing and stays, and so does a column that only several others together repeat. Refuses
/// missing values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Correlation {
    /// The greatest correlation that is left.
    #[serde(default = "max_correlation")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max: f64,
    /// Which correlation.
    #[serde(default)]
    pub method: CorrelationMethod,
}

/// Which correlation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CorrelationMethod {
    /// Of values.
    #[default]
    Pearson,
    /// Of ranks.
    Spearman,
}

fn max_correlation() -> f64 {
    0.98
}

scored! {
    /// Keeps the columns with the greatest mutual information with the target (Kraskov et al. 2004, Ross 2014; scikit-learn's `mutual_info_classif` and
    /// `mutual_info_regression`; columns of few distinct values are counted exactly).
    ///
    /// Suited to relations of any shape where there are many rows for each column; with a few thousand rows the estimate scatters so much that many
    /// noise columns get in, it looks at each column by itself, so columns that tell something only together are missed, and those that repeat each
    /// other all stay. Refuses missing values.
    MutualInformation {
        /// Nearest neighbours of the estimator.
        #[serde(default = "three")]
        #[schemars(range(min = 1, max = 100))]
        neighbors: usize,
        /// At most so many rows are looked at, drawn at random.
        #[serde(default = "hundred_thousand")]
        #[schemars(range(min = 10))]
        max_rows: usize,
    }
}

fn three() -> usize {
    3
}

fn hundred_thousand() -> usize {
    100_000
}

tested! {
    /// Keeps columns by the F statistic: between labels (analysis of variance), or of a regression of the target on the column. scikit-learn's `f_classif` and
    /// `f_regression`.
    ///
    /// Suited to columns whose means differ between labels or that go up or down with the target, and with `alpha` to many noise columns (a `keep`
    /// that is too large fills up with them); columns that tell something only together are missed, and those that repeat each other all stay.
    /// Refuses missing values.
    FTest {}
}

tested! {
    /// Keeps columns of counts or frequencies by the chi-squared statistic of their sums over the rows of each label, as scikit-learn's `chi2`.
    /// Negative values are refused. Classification.
    ///
    /// Suited to counts such as those of words; not to measured values, of which the unit would decide. Columns that tell something only together are
    /// missed, and those that repeat each other all stay. Refuses missing values.
    Chi2 {}
}

tested! {
    /// Keeps columns by the H statistic of Kruskal and Wallis (1952): whether ranks differ between labels, whatever the distribution. scipy's `kruskal`,
    /// ties corrected. Classification.
    ///
    /// Suited to effects that go one way, in columns with outliers or skewed values; among many noise columns `information_value` and `f_test` with
    /// `alpha` chose better, columns that tell something only together are missed, and those that repeat each other all stay. Refuses missing values.
    KruskalWallis {}
}

scored! {
    /// Keeps columns by their information value: the sum over bins of the difference in shares of the two labels times the weight of evidence, its logarithm.
    /// An empty cell counts half a row. With more than two labels the greatest of each label against the rest. Below 0.02 a column is useless, above 0.3
    /// strong (Siddiqi 2006); without `keep` and `min_score`, 0.02 is the least. Classification.
    ///
    /// Suited to many noise columns and to relations of any shape; columns that tell something only together are missed, and those that repeat each
    /// other all stay. Refuses missing values.
    InformationValue {
        /// Bins of equal numbers of rows; a column of fewer distinct values has a bin for each.
        #[serde(default = "ten")]
        #[schemars(range(min = 2, max = 1000))]
        bins: usize,
    }
}

fn ten() -> usize {
    10
}

scored! {
    /// Keeps the columns that differ between near rows of different labels and agree between near rows of the same (ReliefF, Kononenko 1994; RReliefF for
    /// values, Robnik-Sikonja and Kononenko 1997, where the influence of a neighbour falls off with its place as in the paper): sees columns that tell
    /// something only together. Scores lie between -1 and 1.
    ///
    /// Suited to columns that tell something only together, and to many noise columns; those that repeat each other all stay. Refuses missing values.
    ReliefF {
        /// Near rows of each label.
        #[serde(default = "ten")]
        #[schemars(range(min = 1, max = 1000))]
        neighbors: usize,
        /// At most so many rows are compared with all others, drawn at random.
        #[serde(default = "two_thousand")]
        #[schemars(range(min = 10))]
        max_rows: usize,
    }
}

fn two_thousand() -> usize {
    2_000
}

/// Chooses one column after the other: each time the one that tells most of the target less what it repeats of those chosen before (minimum redundancy,
/// maximum relevance: Ding and Peng 2005, Peng et al. 2005). Columns of `always_keep` are chosen first; one that tells nothing at all is chosen last.
///
/// Suited to many columns that repeat each other, of which few are to stay; less to many noise columns, which are chosen too as they repeat nothing,
/// and columns that tell something only together are missed. Refuses missing values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mrmr {
    /// How many columns to keep, or a share of them such as `40 %`.
    pub keep: Keep,
    /// How relevance and redundancy are measured.
    #[serde(default)]
    pub measure: MrmrMeasure,
    /// How redundancy is taken off.
    #[serde(default)]
    pub scheme: MrmrScheme,
    /// Bins of equal numbers of rows, for mutual information; a column of fewer distinct values has a bin for each.
    #[serde(default = "ten")]
    #[schemars(range(min = 2, max = 1000))]
    pub bins: usize,
}

/// How relevance and redundancy are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MrmrMeasure {
    /// Mutual information of binned values, of both.
    #[default]
    MutualInformation,
    /// The F statistic of the target, and the mean absolute correlation.
    FTest,
}

/// How redundancy is taken off relevance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MrmrScheme {
    /// Relevance - redundancy.
    #[default]
    Difference,
    /// Relevance / redundancy, which counts as at least 0.001.
    Quotient,
}
