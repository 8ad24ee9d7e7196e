//! Support vector machines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClassWeight, one};

/// A linear support vector machine, as liblinear and scikit-learn's `LinearSVC` and `LinearSVR`: half the squared norm of the coefficients (and of the intercept,
/// which counts as the coefficient of a column of ones) plus `c` times the sum of the losses; of several labels each one against the rest. Newton's method for squared losses
/// of more rows than columns, coordinate descent on the dual otherwise. It gives scores, not probabilities: a metric of probabilities needs `calibrate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinearSvm {
    /// The weight of the losses against the penalty.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub c: f64,
    /// The loss of a row on the wrong side of its margin.
    #[serde(default)]
    pub loss: MarginLoss,
    /// Values: errors up to this size cost nothing.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub epsilon: f64,
    /// Weights of the labels; of more than two, a label's own counts where it is told from the rest.
    #[serde(default)]
    pub class_weight: ClassWeight,
    /// At most so many passes over the rows, or Newton steps.
    #[serde(default = "linear_passes")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_iterations: usize,
    /// Stop when the greatest violation of the optimality conditions is at most this share of the greatest at zero coefficients.
    #[serde(default = "linear_tolerance")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub tolerance: f64,
}

/// The loss of a margin m, which is 1 or more where a row is on the right side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MarginLoss {
    /// max(0, 1 - m).
    Hinge,
    /// max(0, 1 - m) squared.
    #[default]
    SquaredHinge,
}

/// A support vector machine with a kernel, as libsvm and scikit-learn's `SVC` and `SVR`; of several labels each one against each other, by votes. It gives scores,
/// not probabilities: a metric of probabilities needs `calibrate`. Time grows with the square of the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Svm {
    /// The weight of the losses against the penalty.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub c: f64,
    /// What measures how near two rows are.
    #[serde(default)]
    pub kernel: Kernel,
    /// The kernel's coefficient: a number, or a rule.
    #[serde(default)]
    pub gamma: Gamma,
    /// The degree of `polynomial`.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 20))]
    pub degree: usize,
    /// The constant of `polynomial` and `sigmoid`.
    #[serde(default)]
    pub coef0: f64,
    /// Values: errors up to this size cost nothing.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0.0))]
    pub epsilon: f64,
    /// Weights of the labels.
    #[serde(default)]
    pub class_weight: ClassWeight,
    /// Stop when the greatest violation of the optimality conditions is below this.
    #[serde(default = "kernel_tolerance")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub tolerance: f64,
    /// At most so many steps; 0 is unlimited.
    #[serde(default)]
    pub max_iterations: usize,
}

/// Kernels of two rows a and b.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// exp(-gamma * squared distance).
    #[default]
    Rbf,
    /// a * b.
    Linear,
    /// (gamma * a * b + coef0) to the power of `degree`.
    Polynomial,
    /// tanh(gamma * a * b + coef0).
    Sigmoid,
}

/// The coefficient of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Gamma {
    /// A rule.
    Rule(GammaRule),
    /// A number.
    Value(#[schemars(extend("exclusiveMinimum" = 0.0))] f64),
}

impl Default for Gamma {
    fn default() -> Self {
        Self::Rule(GammaRule::Scale)
    }
}

/// How the coefficient of a kernel follows from the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GammaRule {
    /// 1 / (columns * variance of all values).
    Scale,
    /// 1 / columns.
    Auto,
}

fn three() -> usize {
    3
}

fn tenth() -> f64 {
    0.1
}

fn linear_passes() -> usize {
    1000
}

fn linear_tolerance() -> f64 {
    1e-4
}

fn kernel_tolerance() -> f64 {
    1e-3
}
