//! Preprocessing steps. Each is a struct with scikit-learn's name and defaults where it has them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::Selector;

/// `uses: preprocessing`: steps applied in their order, each fitted on training rows only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// The steps in their order.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
}

/// One preprocessing step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Drops training rows that repeat an earlier one.
    DropDuplicates(DropDuplicates),
    /// Fills missing values.
    Impute(Impute),
    /// Clips values that lie far outside.
    ClipOutliers(ClipOutliers),
    /// Replaces x by ln(1 + x).
    #[serde(rename = "log1p")]
    Log1p(Log1p),
    /// One column of 0 and 1 for each level.
    OneHot(OneHot),
    /// Replaces a level by what the target is on average where it occurs.
    TargetEncode(TargetEncode),
    /// Term frequencies weighted by inverse document frequencies.
    TfIdf(TfIdf),
    /// The leading singular directions of columns, without centring them.
    TruncatedSvd(TruncatedSvd),
    /// Subtracts the mean and divides by the standard deviation.
    StandardScale(StandardScale),
    /// Scales to a range.
    MinMaxScale(MinMaxScale),
    /// Principal components.
    Pca(Pca),
    /// Hands the features on as a libtorch tensor, in place of a table.
    ToTensor(ToTensor),
}

impl Step {
    /// The word in the language.
    pub fn word(&self) -> &'static str {
        match self {
            Self::DropDuplicates(_) => "drop_duplicates",
            Self::Impute(_) => "impute",
            Self::ClipOutliers(_) => "clip_outliers",
            Self::Log1p(_) => "log1p",
            Self::OneHot(_) => "one_hot",
            Self::TargetEncode(_) => "target_encode",
            Self::TfIdf(_) => "tf_idf",
            Self::TruncatedSvd(_) => "truncated_svd",
            Self::StandardScale(_) => "standard_scale",
            Self::MinMaxScale(_) => "min_max_scale",
            Self::Pca(_) => "pca",
            Self::ToTensor(_) => "to_tensor",
        }
    }

    /// The columns that the step works on, where it takes a selector.
    pub fn columns(&self) -> Option<&Selector> {
        match self {
            Self::DropDuplicates(step) => step.columns.as_ref(),
            Self::Impute(step) => Some(&step.columns),
            Self::ClipOutliers(step) => Some(&step.columns),
            Self::Log1p(step) => Some(&step.columns),
            Self::OneHot(step) => Some(&step.columns),
            Self::TargetEncode(step) => Some(&step.columns),
            Self::TfIdf(step) => Some(&step.columns),
            Self::TruncatedSvd(step) => Some(&step.columns),
            Self::StandardScale(step) => Some(&step.columns),
            Self::MinMaxScale(step) => Some(&step.columns),
            Self::Pca(step) => Some(&step.columns),
            Self::ToTensor(_) => None,
        }
    }
}

/// Drops training rows that repeat an earlier one in the given columns. Rows to predict are never dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropDuplicates {
    /// The columns compared; by default every feature and the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Selector>,
}

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

/// Clips numbers to a range learned from the training rows. A column without spread, such as one whose quartiles are equal, is left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipOutliers {
    /// The columns clipped.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// How the range is learned.
    #[serde(default)]
    pub method: ClipMethod,
    /// `iqr`: the quartiles widened by this many interquartile ranges; `z_score`: the mean widened by this many standard deviations.
    #[serde(default = "clip_factor")]
    #[schemars(range(min = 0.0))]
    pub factor: f64,
    /// `percentile`: the lower and the upper percentile.
    #[serde(default = "clip_percentiles")]
    #[schemars(inner(range(min = 0.0, max = 100.0)))]
    pub percentiles: [f64; 2],
}

/// How the range of `clip_outliers` is learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClipMethod {
    /// The quartiles, widened by `factor` interquartile ranges.
    #[default]
    Iqr,
    /// The mean, widened by `factor` standard deviations.
    ZScore,
    /// Between two percentiles.
    Percentile,
}

fn clip_factor() -> f64 {
    3.0
}

fn clip_percentiles() -> [f64; 2] {
    [1.0, 99.0]
}

/// Replaces x by ln(1 + x). A value of -1 or less is an error that names column and row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log1p {
    /// The columns changed.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
}

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
    #[schemars(range(min = 1, max = 10_000))]
    pub max_levels: usize,
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

fn one() -> usize {
    1
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

fn five() -> usize {
    5
}

/// Replaces a text column by columns `NAME_TERM` of term frequencies weighted by smoothed inverse document frequencies, rows scaled to unit
/// length, as scikit-learn's `TfidfVectorizer`: lower case, words of two or more word characters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TfIdf {
    /// The columns encoded.
    #[serde(default = "Selector::text")]
    pub columns: Selector,
    /// The most frequent so many terms are kept.
    #[serde(default = "max_features")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_features: usize,
    /// The shortest and the longest run of words that counts as a term.
    #[serde(default = "unigrams")]
    #[schemars(inner(range(min = 1, max = 10)))]
    pub ngrams: [usize; 2],
    /// What terms are made of.
    #[serde(default)]
    pub analyzer: Analyzer,
    /// Terms in fewer rows are left out.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub min_rows: usize,
    /// Replace a count c by 1 + ln c.
    #[serde(default)]
    pub sublinear: bool,
}

/// What terms are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Analyzer {
    /// Runs of words.
    #[default]
    Word,
    /// Runs of characters within a word, padded by a space on each side (scikit-learn's `char_wb`).
    Character,
}

fn max_features() -> usize {
    2000
}

fn unigrams() -> [usize; 2] {
    [1, 1]
}

/// Replaces columns by their projections `svd_1`, `svd_2`, ... on the leading right singular vectors, without centring
/// (randomised range finder, Halko et al. 2011, as scikit-learn's `TruncatedSVD`). Works on the sparse output of `tf_idf`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TruncatedSvd {
    /// The columns replaced.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// The number of components.
    #[serde(default = "svd_components")]
    #[schemars(range(min = 1, max = 10_000))]
    pub components: usize,
    /// Power iterations.
    #[serde(default = "five")]
    #[schemars(range(min = 0, max = 100))]
    pub iterations: usize,
    /// What the new columns are called: `PREFIX_1`, `PREFIX_2`, ...
    #[serde(default = "svd_prefix")]
    pub prefix: String,
}

fn svd_components() -> usize {
    64
}

fn svd_prefix() -> String {
    "svd".to_owned()
}

/// Subtracts the mean and divides by the standard deviation (of the population, as scikit-learn). A constant column stays constant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StandardScale {
    /// The columns scaled.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// Subtract the mean.
    #[serde(default = "yes")]
    pub center: bool,
    /// Divide by the standard deviation.
    #[serde(default = "yes")]
    pub scale: bool,
}

fn yes() -> bool {
    true
}

/// Scales the range of the training rows to the given one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MinMaxScale {
    /// The columns scaled.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// The least and the greatest value after scaling.
    #[serde(default = "unit_range")]
    pub range: [f64; 2],
    /// Clip values outside the training range.
    #[serde(default)]
    pub clip: bool,
}

fn unit_range() -> [f64; 2] {
    [0.0, 1.0]
}

/// Replaces columns by their principal components `pca_1`, `pca_2`, ... (exact; signs as scikit-learn's `svd_flip`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pca {
    /// The columns replaced.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// A number of components (1 or more), or the share of variance to keep (below 1).
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub components: f64,
    /// Divide each component by its standard deviation.
    #[serde(default)]
    pub whiten: bool,
    /// What the new columns are called: `PREFIX_1`, `PREFIX_2`, ...
    #[serde(default = "pca_prefix")]
    pub prefix: String,
}

fn pca_prefix() -> String {
    "pca".to_owned()
}

/// Hands the features on as one tensor `features` [rows, columns] of 32-bit floats, with `targets` beside it, in place of a table. Every feature must be
/// numeric or boolean by then. Must be the last step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToTensor {}
