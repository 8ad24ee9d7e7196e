//! Methods that train models on choices of columns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature_selection::embedded::{five, one};
use crate::feature_selection::{Keep, Method, scored};
use crate::metric::Metric;

/// The model that a method asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AskedModel {
    /// Logistic (labels) or ridge regression (values) on standardised columns.
    #[default]
    Linear,
    /// 100 rounds of boosted trees (LightGBM's defaults).
    Trees,
}

scored! {
    /// Keeps the columns without which a model does worse: how much its score falls on held-out rows when a column is shuffled (Breiman 2001; scikit-learn's
    /// `permutation_importance`), the mean over `repeats` shuffles. Without `keep` and `min_score`, columns stay whose score is above 0 by more than twice its
    /// standard error.
    ///
    /// Suited to many noise columns and, by trees, to relations of any shape and to columns that tell something only together; not to columns that
    /// repeat each other: as one makes up for the other, both may go. Takes missing values with `model: trees`; the linear model refuses them.
    PermutationImportance {
        /// The model.
        #[serde(default = "trees")]
        model: AskedModel,
        /// What it is scored by; by default accuracy, or R2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metric: Option<Metric>,
        /// Shuffles of each column.
        #[serde(default = "five")]
        #[schemars(range(min = 1, max = 1000))]
        repeats: usize,
        /// The share of the rows that is held out.
        #[serde(default = "quarter")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        holdout: f64,
    }
}

fn trees() -> AskedModel {
    AskedModel::Trees
}

fn quarter() -> f64 {
    0.25
}

/// Trains a model on all columns, drops those with the least coefficients or gain, and again, until `keep` are left (scikit-learn's `RFE`). Without `keep`,
/// cross-validation finds the number that scores best (`RFECV`).
///
/// Suited to columns that repeat each other, of which the model needs one; less to many noise columns, to which a linear model gives coefficients by
/// chance, and columns that tell something only together are seen by `model: trees` alone. Refuses missing values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecursiveElimination {
    /// How many columns to keep, or a share of them such as `40 %`; without it `folds` find out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// How many columns are dropped at a time: a number, or a share of all columns below 1.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub step: f64,
    /// The model.
    #[serde(default)]
    pub model: AskedModel,
    /// The strength of the linear model's L2 penalty: scikit-learn's `1 / C` or `alpha`.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub l2: f64,
    /// Folds that the number of columns is found by.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 1000))]
    pub folds: usize,
    /// What numbers of columns are compared by; by default accuracy, or R2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
}

/// Adds to none, or drops from all, one column after the other: each time the one with which a model scores best over the folds (scikit-learn's
/// `SequentialFeatureSelector`). `floating` takes each step back as long as that helps (Pudil et al. 1994).
///
/// Suited to some tens of columns and to those that repeat each other, of which it takes one; not to hundreds of columns, mostly noise, as it trains
/// a model for each of them at every step and some help by chance, and going forward it misses columns that tell something only together. Refuses
/// missing values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sequential {
    /// How many columns to keep, or a share of them such as `40 %`; without it steps are taken while the score rises by `tolerance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// From none up, or from all down.
    #[serde(default)]
    pub direction: Direction,
    /// Whether columns that were added (dropped) may be dropped (added) again.
    #[serde(default)]
    pub floating: bool,
    /// The model.
    #[serde(default)]
    pub model: AskedModel,
    /// The strength of the linear model's L2 penalty: scikit-learn's `1 / C` or `alpha`.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub l2: f64,
    /// Folds that choices are scored by.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 1000))]
    pub folds: usize,
    /// What they are scored by; by default accuracy, or R2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// Without `keep`: the least gain (forward) or the greatest loss (backward) of a step.
    #[serde(default = "tolerance")]
    pub tolerance: f64,
}

fn tolerance() -> f64 {
    0.001
}

/// Where a sequential choice begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// With no column.
    #[default]
    Forward,
    /// With all columns.
    Backward,
}

/// Keeps every column that tells of the target, however weakly (Kursa and Rudnicki 2010): again and again, forests are grown on the columns beside shuffled copies
/// of them; a column stays that beats the best copy more often than chance would, and goes that loses more often.
///
/// Suited to many noise columns where all that tell something are wanted, those that tell it only together and those that repeat each other included;
/// not to making do with few columns, nor to haste. Takes missing values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Boruta {
    /// At most so many forests.
    #[serde(default = "hundred")]
    #[schemars(range(min = 5, max = 10_000))]
    pub iterations: usize,
    /// The level of the tests, corrected for the number of columns.
    #[serde(default = "five_percent")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub alpha: f64,
    /// What a column has to beat: this percentile of the copies' importances; 100 is the greatest.
    #[serde(default = "hundred_percent")]
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 100.0))]
    pub percentile: f64,
    /// Trees of a forest.
    #[serde(default = "hundred")]
    #[schemars(range(min = 10, max = 10_000))]
    pub trees: usize,
    /// The greatest depth of a tree.
    #[serde(default = "seven")]
    #[schemars(range(min = 1, max = 30))]
    pub depth: usize,
    /// What is done with columns that are undecided in the end.
    #[serde(default)]
    pub undecided: Undecided,
}

/// What is done with columns that are undecided in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Undecided {
    /// They stay if their median importance is above that of the best copies.
    #[default]
    ByMedian,
    /// They stay.
    Keep,
    /// They go.
    Drop,
}

fn hundred() -> usize {
    100
}

fn five_percent() -> f64 {
    0.05
}

fn hundred_percent() -> f64 {
    100.0
}

fn seven() -> usize {
    7
}

/// Repeats a method on samples of the training rows and keeps the columns that it chooses in a share of them (stability selection, Meinshausen and Buehlmann 2010).
/// Reports how stable the choice is (Nogueira et al. 2018): 1 where every sample gives the same columns, 0 where they are as alike as by chance.
///
/// Suited to many noise columns, as it drops what a method chooses by chance, and else to what the method is suited to; columns that repeat each
/// other may take turns and fall below `min_frequency`. Takes missing values where the method does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stability {
    /// The method.
    pub method: Box<Method>,
    /// How many samples.
    #[serde(default = "fifty")]
    #[schemars(range(min = 2, max = 10_000))]
    pub repeats: usize,
    /// How a sample is drawn.
    #[serde(default)]
    pub sample: Sample,
    /// How many columns to keep at most, or a share of them such as `40 %`: those chosen most often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// The least share of the samples in which a kept column is chosen.
    #[serde(default = "sixty_percent")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_frequency: f64,
}

/// How a sample of rows is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sample {
    /// As many rows as there are, with repetition.
    #[default]
    Bootstrap,
    /// Half of the rows, none twice.
    Half,
}

fn fifty() -> usize {
    50
}

fn sixty_percent() -> f64 {
    0.6
}
