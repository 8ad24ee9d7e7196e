//! Model families and their hyperparameters.
//!
//! The types here are concrete. In `candidates` of a search any number, word or list among them may be a space (see
//! [`crate::model_selection::Space`]) instead; a trial puts a value in its place and reads the result as one of these types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::TaskKind;

/// A model family with its hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// Multinomial logistic regression. Classification.
    LogisticRegression(LogisticRegression),
    /// Least squares without a penalty. Regression.
    LinearRegression(LinearRegression),
    /// Least squares with an L2 penalty. Regression.
    Ridge(Ridge),
    /// Gradient-boosted trees (LightGBM). Both tasks.
    GradientBoosting(GradientBoosting),
    /// A multi-layer perceptron (libtorch). Both tasks.
    Mlp(Mlp),
}

impl Estimator {
    /// The word in the language.
    pub fn word(&self) -> &'static str {
        match self {
            Self::LogisticRegression(_) => "logistic_regression",
            Self::LinearRegression(_) => "linear_regression",
            Self::Ridge(_) => "ridge",
            Self::GradientBoosting(_) => "gradient_boosting",
            Self::Mlp(_) => "mlp",
        }
    }

    /// Whether the family can do a task.
    pub fn supports(&self, task: TaskKind) -> bool {
        match self {
            Self::LogisticRegression(_) => task == TaskKind::Classification,
            Self::LinearRegression(_) | Self::Ridge(_) => task == TaskKind::Regression,
            Self::GradientBoosting(_) | Self::Mlp(_) => true,
        }
    }
}

/// Weights of the labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeight {
    /// All rows weigh the same.
    #[default]
    None,
    /// Every label weighs the same: rows / (labels * rows of the label).
    Balanced,
}

/// Multinomial logistic regression: minimises the mean cross-entropy plus `l2 / (2 n)` times the squared norm of the coefficients (not the
/// intercepts) by L-BFGS. `l2` is scikit-learn's `1 / C`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogisticRegression {
    /// The strength of the penalty, `1 / C`.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0))]
    pub l2: f64,
    /// Weights of the labels.
    #[serde(default)]
    pub class_weight: ClassWeight,
    /// At most so many iterations.
    #[serde(default = "logistic_iterations")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_iterations: usize,
    /// Stop when no element of the gradient is greater.
    #[serde(default = "tolerance")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub tolerance: f64,
}

fn one() -> f64 {
    1.0
}

fn logistic_iterations() -> usize {
    200
}

fn tolerance() -> f64 {
    1e-4
}

/// Least squares without a penalty.
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

/// Gradient-boosted trees by LightGBM, whose names for the hyperparameters are given in brackets.
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
    /// The share of columns drawn for each tree (`feature_fraction`).
    #[serde(default = "one")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub column_share: f64,
    /// The share of rows drawn for each round (`bagging_fraction`).
    #[serde(default = "one")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub row_share: f64,
    /// L2 penalty of the leaves (`lambda_l2`).
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub l2: f64,
    /// Histogram bins of a column (`max_bin`).
    #[serde(default = "bins")]
    #[schemars(range(min = 2, max = 65_535))]
    pub bins: usize,
    /// Weights of the labels.
    #[serde(default)]
    pub class_weight: ClassWeight,
}

fn trees() -> usize {
    100
}

fn boosting_rate() -> f64 {
    0.1
}

fn leaves() -> usize {
    31
}

fn min_rows() -> usize {
    20
}

fn bins() -> usize {
    255
}

/// A multi-layer perceptron in libtorch: linear layers, each but the last followed by its activation and dropout; cross-entropy or mean squared error
/// (targets are standardised). A tenth of the training rows is set aside for early stopping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mlp {
    /// The widths of the hidden layers.
    #[serde(default = "hidden")]
    #[schemars(inner(range(min = 1, max = 65_536)))]
    pub hidden: Vec<usize>,
    /// The activation.
    #[serde(default)]
    pub activation: Activation,
    /// The share of activations dropped in training.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
    /// The optimiser.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// The learning rate at the start.
    #[serde(default = "network_rate")]
    #[schemars(range(max = 100.0), extend("exclusiveMinimum" = 0.0))]
    pub learning_rate: f64,
    /// How the rate changes.
    #[serde(default)]
    pub schedule: LearningRateSchedule,
    /// Weight decay of matrices (not of biases).
    #[serde(default = "weight_decay")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// Rows of a step.
    #[serde(default = "batch_size")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch_size: usize,
    /// At most so many passes over the rows.
    #[serde(default = "epochs")]
    #[schemars(range(min = 1, max = 100_000))]
    pub epochs: usize,
    /// Stop when so many passes in a row did not lower the loss on the rows set aside, and keep the best weights; 0 runs all passes on all rows.
    #[serde(default = "patience")]
    pub early_stopping: usize,
    /// The share that the target's probability gives up to the other labels.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.9))]
    pub label_smoothing: f64,
    /// Weights of the labels.
    #[serde(default)]
    pub class_weight: ClassWeight,
}

/// Activation functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max(x, 0).
    #[default]
    Relu,
    /// x times the normal distribution function of x.
    Gelu,
    /// x times the logistic function of x.
    Silu,
    /// Scaled exponential linear units.
    Selu,
    /// Hyperbolic tangent.
    Tanh,
}

/// Optimisers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Adam with decoupled weight decay.
    #[default]
    Adamw,
    /// Adam.
    Adam,
    /// Stochastic gradient descent with Nesterov momentum 0.9.
    Sgd,
}

/// How the learning rate changes over the training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LearningRateSchedule {
    /// It stays.
    Constant,
    /// It falls to zero along a half cosine over `epochs`.
    #[default]
    Cosine,
}

fn hidden() -> Vec<usize> {
    vec![128]
}

fn network_rate() -> f64 {
    1e-3
}

fn weight_decay() -> f64 {
    1e-2
}

fn batch_size() -> usize {
    256
}

fn epochs() -> usize {
    100
}

fn patience() -> usize {
    10
}
