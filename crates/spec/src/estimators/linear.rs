//! Linear models.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClassWeight, one};

/// Least squares without a penalty; of columns that depend on each other, the solution of the least norm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinearRegression {}

/// Least squares plus `l2` times the squared norm of the coefficients (not the intercept), as scikit-learn's `Ridge(alpha)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ridge {
    /// The strength of the penalty, scikit-learn's `alpha`.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub l2: f64,
}

/// Half the mean squared error plus `l1` times the sum of the coefficients' sizes (not the intercept), as scikit-learn's `Lasso(alpha)`: columns of little use
/// get the coefficient zero. Coordinate descent until the duality gap is below `tolerance`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lasso {
    /// The strength of the penalty, scikit-learn's `alpha`.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub l1: f64,
    /// At most so many passes over the columns.
    #[serde(default = "passes")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_iterations: usize,
    /// Stop when the duality gap is less than this share of the target's mean square.
    #[serde(default = "tolerance")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub tolerance: f64,
}

/// Half the mean squared error plus `alpha * l1_ratio` times the sum of the coefficients' sizes plus `alpha * (1 - l1_ratio) / 2` times their squared norm
/// (not the intercept), as scikit-learn's `ElasticNet`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ElasticNet {
    /// The strength of the penalty.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// The share of the L1 penalty: 1 is the lasso, 0 is ridge regression.
    #[serde(default = "half")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub l1_ratio: f64,
    /// At most so many passes over the columns.
    #[serde(default = "passes")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_iterations: usize,
    /// Stop when the duality gap is less than this share of the target's mean square.
    #[serde(default = "tolerance")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub tolerance: f64,
}

/// Multinomial logistic regression: minimises the sum of the cross-entropies plus `l2 / 2` times the squared norm of the coefficients plus `l1` times the sum
/// of their sizes (intercepts are not penalised); two labels share one vector of coefficients. scikit-learn's `C` is `1 / (l1 + l2)`, its `l1_ratio` is
/// `l1 / (l1 + l2)`. L-BFGS without `l1`, Newton steps by coordinate descent with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogisticRegression {
    /// The strength of the squared penalty, scikit-learn's `1 / C`.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub l2: f64,
    /// The strength of the penalty that leaves columns out.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub l1: f64,
    /// Weights of the labels.
    #[serde(default)]
    pub class_weight: ClassWeight,
    /// At most so many iterations.
    #[serde(default = "logistic_iterations")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_iterations: usize,
    /// Stop when no element of the gradient of the mean loss is greater; with `l1`, none of the subgradient
    /// that is nearest to zero.
    #[serde(default = "tolerance")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub tolerance: f64,
}

fn half() -> f64 {
    0.5
}

fn passes() -> usize {
    10_000
}

fn logistic_iterations() -> usize {
    200
}

fn tolerance() -> f64 {
    1e-4
}
