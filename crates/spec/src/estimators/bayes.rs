//! Naive Bayes, discriminant analysis, and baselines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{one, yes};

/// Naive Bayes with a normal distribution of each column within each label, as scikit-learn's `GaussianNB`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GaussianNaiveBayes {
    /// The share of the greatest variance of a column that is added to all variances.
    #[serde(default = "smoothing")]
    #[schemars(range(min = 0.0))]
    pub variance_smoothing: f64,
}

/// Naive Bayes for counts and tf-idf, as scikit-learn's `MultinomialNB`. Columns must not be negative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultinomialNaiveBayes {
    /// What is added to every count; 1e-10 at least.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// Whether labels are as frequent as in the training rows, rather than all the same.
    #[serde(default = "yes")]
    pub fit_prior: bool,
}

/// Naive Bayes for columns that are true or false, as scikit-learn's `BernoulliNB`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BernoulliNaiveBayes {
    /// What is added to every count; 1e-10 at least.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// Values above this are true.
    #[serde(default)]
    pub threshold: f64,
    /// Whether labels are as frequent as in the training rows, rather than all the same.
    #[serde(default = "yes")]
    pub fit_prior: bool,
}

/// Linear discriminant analysis: normal distributions with one covariance for all labels, as scikit-learn's `LinearDiscriminantAnalysis` with
/// the solver `svd`, or `lsqr` where the covariance is shrunk. Sample weights count as shares: multiplying all of them changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinearDiscriminant {
    /// How far the covariance is drawn towards a multiple of the identity.
    #[serde(default)]
    pub shrinkage: Shrinkage,
}

/// How far a covariance is drawn towards a multiple of the identity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Shrinkage {
    /// A rule.
    Rule(ShrinkageRule),
    /// A share between 0 and 1.
    Share(#[schemars(range(min = 0.0, max = 1.0))] f64),
}

impl Default for Shrinkage {
    fn default() -> Self {
        Self::Rule(ShrinkageRule::None)
    }
}

/// How the share follows from the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShrinkageRule {
    /// Not at all.
    None,
    /// By the formula of Ledoit and Wolf (2004).
    Auto,
}

/// Quadratic discriminant analysis: normal distributions with a covariance of its own for each label, as scikit-learn's
/// `QuadraticDiscriminantAnalysis`. A covariance that is singular is an error; `regularization` makes up for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuadraticDiscriminant {
    /// The share of the identity in each covariance, scikit-learn's `reg_param`.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub regularization: f64,
}

/// Looks at the target only: what every other model has to beat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// What it says. By default `majority` for labels and `mean` for values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<BaselineStrategy>,
}

/// What a baseline says of every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BaselineStrategy {
    /// Labels: the commonest one, surely.
    Majority,
    /// Labels: the shares that they have among the training rows, as probabilities.
    Prior,
    /// Labels: one drawn for each row by those shares; the same row is always given the same label.
    Stratified,
    /// Values: their mean.
    Mean,
    /// Values: their median.
    Median,
}

fn smoothing() -> f64 {
    1e-9
}
