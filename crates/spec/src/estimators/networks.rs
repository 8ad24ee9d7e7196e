//! Neural networks for tables (libtorch).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Architecture, ClassWeight, Misfit};
use crate::brief::{brief, default_from_empty};
use crate::data::TaskKind;
use crate::images::{Augmentation, ImageInput};

/// A network: the hyperparameters of its own, then those of its training, which all networks have.
macro_rules! network {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$about])* pub $field: $kind,)*
            /// The loss. By default `cross_entropy` for labels and `squared` for values.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub loss: Option<NetworkLoss>,
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
            /// Weight decay of matrices (not of biases, norms and embeddings): decoupled for `adamw`, an L2 penalty for the other optimisers.
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
            /// Stop when so many passes in a row did not lower the loss on a tenth of the rows that was set aside, and keep the best weights; 0 runs all passes
            /// on all rows.
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

        impl $name {
            /// How it is trained.
            pub fn training(&self) -> Training {
                Training {
                    loss: self.loss,
                    optimizer: self.optimizer,
                    learning_rate: self.learning_rate,
                    schedule: self.schedule,
                    weight_decay: self.weight_decay,
                    batch_size: self.batch_size,
                    epochs: self.epochs,
                    early_stopping: self.early_stopping,
                    label_smoothing: self.label_smoothing,
                    class_weight: self.class_weight,
                }
            }
        }
    };
}

/// How a network is trained; see [`Mlp`] for what the fields mean.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    pub loss: Option<NetworkLoss>,
    pub optimizer: Optimizer,
    pub learning_rate: f64,
    pub schedule: LearningRateSchedule,
    pub weight_decay: f64,
    pub batch_size: usize,
    pub epochs: usize,
    pub early_stopping: usize,
    pub label_smoothing: f64,
    pub class_weight: ClassWeight,
}

impl Training {
    /// The loss for a task: the one that was chosen, or the task's own.
    pub fn loss_for(&self, task: TaskKind) -> NetworkLoss {
        self.loss.unwrap_or(match task {
            TaskKind::Classification => NetworkLoss::CrossEntropy,
            TaskKind::Regression => NetworkLoss::Squared,
        })
    }

    /// What does not fit the task, where it is known, or each other.
    pub(super) fn misfits(&self, task: Option<TaskKind>) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        if let (Some(loss), Some(task)) = (self.loss, task)
            && loss.task() != task
        {
            let fitting: Vec<&str> =
                NetworkLoss::ALL.iter().filter(|loss| loss.task() == task).map(|loss| loss.word()).collect();
            misfits.push(Misfit {
                keys: &["loss"],
                message: format!(
                    "`loss: {}` is for {}, and the target holds {}",
                    loss.word(),
                    holds(loss.task()),
                    holds(task)
                ),
                help: format!("use {}, or leave `loss` out", fitting.join(", ")),
            });
        }
        let regression = task == Some(TaskKind::Regression);
        if self.label_smoothing > 0.0 && (regression || self.loss.is_some_and(|loss| loss != NetworkLoss::CrossEntropy))
        {
            misfits.push(Misfit {
                keys: &["label_smoothing", "loss"],
                message: "`label_smoothing` belongs to labels and `loss: cross_entropy`".to_owned(),
                help: "remove it".to_owned(),
            });
        }
        if self.class_weight != ClassWeight::None && regression {
            misfits.push(Misfit {
                keys: &["class_weight"],
                message: "`class_weight` weighs labels, and the target holds values".to_owned(),
                help: "remove it".to_owned(),
            });
        }
        misfits
    }

    /// Batch norm has no deviation to divide by in a batch of one row.
    fn batch_norm_misfit(&self) -> Option<Misfit> {
        (self.batch_size < 2).then(|| Misfit {
            keys: &["batch_size", "norm"],
            message: format!("batch norm needs batches of at least 2 rows, and `batch_size` is {}", self.batch_size),
            help: "raise `batch_size`, or use `mlp` with `norm: layer`".to_owned(),
        })
    }
}

impl Mlp {
    /// What does not fit.
    pub(super) fn misfits(&self, task: Option<TaskKind>) -> Vec<Misfit> {
        let batch_norm = if self.norm == Norm::Batch { self.training().batch_norm_misfit() } else { None };
        self.training().misfits(task).into_iter().chain(batch_norm).collect()
    }
}

impl TabularResnet {
    /// What does not fit.
    pub(super) fn misfits(&self, task: Option<TaskKind>) -> Vec<Misfit> {
        self.training().misfits(task).into_iter().chain(self.training().batch_norm_misfit()).collect()
    }
}

impl TabTransformer {
    /// What does not fit.
    pub(super) fn misfits(&self, task: Option<TaskKind>) -> Vec<Misfit> {
        let &Self { width, heads, .. } = self;
        let uneven = (!width.is_multiple_of(heads)).then(|| Misfit {
            keys: &["heads", "width"],
            message: format!("`width` {width} is no multiple of `heads` {heads}"),
            help: format!("use `width: {}`, or another number of heads", width.next_multiple_of(heads)),
        });
        self.training().misfits(task).into_iter().chain(uneven).collect()
    }
}

default_from_empty!(ImageNetwork);

impl ImageNetwork {
    /// What does not fit.
    pub(super) fn misfits(&self, task: Option<TaskKind>) -> Vec<Misfit> {
        let batch_norm = self.training().batch_norm_misfit().filter(|_| self.architecture.has_batch_norm());
        self.training().misfits(task).into_iter().chain(batch_norm).collect()
    }
}

fn holds(task: TaskKind) -> &'static str {
    match task {
        TaskKind::Classification => "labels",
        TaskKind::Regression => "values",
    }
}

network! {
    /// A multi-layer perceptron: linear layers, each but the last followed by its norm, its activation and dropout.
    Mlp {
        /// The widths of the hidden layers.
        #[serde(default = "hidden")]
        #[schemars(inner(range(min = 1, max = 65_536)))]
        hidden: Vec<usize>,
        /// The activation.
        #[serde(default)]
        activation: Activation,
        /// What keeps the activations of a layer in range.
        #[serde(default)]
        norm: Norm,
        /// The share of activations dropped in training.
        #[serde(default)]
        #[schemars(range(min = 0.0, max = 0.95))]
        dropout: f64,
    }
}

network! {
    /// A residual network for tables (Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data"): a linear layer, blocks of batch norm, linear layer,
    /// ReLU, dropout, linear layer, dropout with a connection around them, then batch norm, ReLU and a linear layer.
    TabularResnet {
        /// The width between blocks.
        #[serde(default = "width")]
        #[schemars(range(min = 1, max = 65_536))]
        width: usize,
        /// How many blocks.
        #[serde(default = "blocks")]
        #[schemars(range(min = 1, max = 100))]
        blocks: usize,
        /// The width within a block, as a multiple of `width`.
        #[serde(default = "expansion")]
        #[schemars(range(max = 100.0), extend("exclusiveMinimum" = 0.0))]
        expansion: f64,
        /// The share of activations dropped within a block.
        #[serde(default = "resnet_dropout")]
        #[schemars(range(min = 0.0, max = 0.95))]
        dropout: f64,
    }
}

network! {
    /// A transformer over the columns of a table: every column is embedded - a word by a vector of its own, a number by a learned line - and attends to the others;
    /// a further token gathers what is predicted (TabTransformer, Huang et al. 2020, in the form of FT-Transformer, Gorishniy et al. 2021). Columns of the kind
    /// `categorical` are taken as they are.
    TabTransformer {
        /// The width of a token; a multiple of `heads`.
        #[serde(default = "token")]
        #[schemars(range(min = 1, max = 8192))]
        width: usize,
        /// How many blocks.
        #[serde(default = "transformer_blocks")]
        #[schemars(range(min = 1, max = 100))]
        blocks: usize,
        /// Heads of the attention.
        #[serde(default = "heads")]
        #[schemars(range(min = 1, max = 256))]
        heads: usize,
        /// The share of activations dropped in training.
        #[serde(default = "transformer_dropout")]
        #[schemars(range(min = 0.0, max = 0.95))]
        dropout: f64,
    }
}

network! {
    /// A convolutional network on a column of images, which the kind `image` marks: the bytes of image files, or their paths. It is the only feature; the network
    /// sees it decoded, brought to a size and normalised. Images are read ahead while a step runs.
    ImageNetwork {
        /// Which network.
        #[serde(default)]
        architecture: Architecture,
        /// How it sees an image.
        #[serde(default)]
        input: ImageInput,
        /// What is done to images in training, in this order.
        #[serde(default)]
        augment: Vec<Augmentation>,
    }
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
    /// x between 0 and 6.
    Relu6,
    /// The logistic function.
    Sigmoid,
}

/// What keeps the activations of a layer in range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Nothing.
    #[default]
    None,
    /// Each activation by its mean and deviation over the batch; running means when predicting.
    Batch,
    /// The activations of a row by their mean and deviation.
    Layer,
}

brief! {
    /// Optimisers, with PyTorch's default settings where nothing else is said.
    #[derive(Clone, Copy, Debug, PartialEq)]
    Optimizer {
        /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
        Adamw (Adam) = "adamw",
        /// Adam (Kingma & Ba 2015).
        Adam (Adam) = "adam",
        /// Stochastic gradient descent; the word alone takes Nesterov momentum 0.9 (Sutskever et al. 2013).
        Sgd (Sgd) = "sgd",
        /// Gradients divided by the root of their running mean square (Tieleman & Hinton 2012).
        Rmsprop (Rmsprop) = "rmsprop",
    }
}

impl Default for Optimizer {
    /// `adamw`.
    fn default() -> Self {
        Self::Adamw(Adam::default())
    }
}

/// The settings of Adam and AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adam {
    /// The decay of the mean of gradients, and that of their squares.
    #[serde(default = "betas")]
    #[schemars(inner(range(min = 0.0, max = 0.999_999)))]
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    #[serde(default = "epsilon")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub epsilon: f64,
}

/// The settings of stochastic gradient descent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sgd {
    /// How much of a step carries over into the next.
    #[serde(default = "momentum")]
    #[schemars(range(min = 0.0, max = 0.9999))]
    pub momentum: f64,
    /// Whether the gradient counts as if the momentum had been followed already.
    #[serde(default = "yes")]
    pub nesterov: bool,
}

/// The settings of RMSprop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rmsprop {
    /// The decay of the mean square.
    #[serde(default = "square_decay")]
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub decay: f64,
    /// How much of a step carries over into the next.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.9999))]
    pub momentum: f64,
    /// Added to the root of the mean square.
    #[serde(default = "epsilon")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub epsilon: f64,
}

brief! {
    /// How the learning rate changes over the training.
    #[derive(Clone, Copy, Debug, PartialEq)]
    LearningRateSchedule {
        /// It stays.
        Constant = "constant",
        /// It falls to zero along a half cosine over `epochs`.
        Cosine = "cosine",
        /// The same again and again (Loshchilov & Hutter 2017).
        CosineRestarts (CosineRestarts) = "cosine_restarts",
        /// It falls at once to a part of itself, several times at equal distances; the word alone to a tenth at a third and at two thirds of the epochs.
        Step (Step) = "step",
        /// It rises from a twenty-fifth to the full rate over the first three tenths, then falls to nearly nothing, along cosines (Smith 2018).
        OneCycle = "one_cycle",
        /// It falls to zero as a power of what is left of the training; the word alone along a line.
        Polynomial (Polynomial) = "polynomial",
        /// It falls to a part of itself whenever the loss on validation rows did not fall for some epochs.
        Plateau (Plateau) = "plateau",
    }
}

impl Default for LearningRateSchedule {
    /// `cosine`.
    fn default() -> Self {
        Self::Cosine
    }
}

/// See [`LearningRateSchedule::CosineRestarts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CosineRestarts {
    /// Epochs of the first fall.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 100_000))]
    pub first: usize,
    /// Each fall takes so many times as long as the one before it.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 100))]
    pub growth: usize,
}

/// See [`LearningRateSchedule::Step`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How often it falls.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 1000))]
    pub times: usize,
    /// What is left of it each time.
    #[serde(default = "tenth")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub factor: f64,
}

/// See [`LearningRateSchedule::Polynomial`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Polynomial {
    /// The power.
    #[serde(default = "one")]
    #[schemars(range(max = 10.0), extend("exclusiveMinimum" = 0.0))]
    pub power: f64,
}

/// See [`LearningRateSchedule::Plateau`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    /// What is left of the rate each time.
    #[serde(default = "tenth")]
    #[schemars(range(max = 0.99), extend("exclusiveMinimum" = 0.0))]
    pub factor: f64,
    /// Epochs without a lower loss that are borne.
    #[serde(default = "five")]
    #[schemars(range(min = 0, max = 10_000))]
    pub patience: usize,
}

default_from_empty!(Adam, Sgd, Rmsprop, CosineRestarts, Step, Polynomial, Plateau);

/// Losses of a network. By default cross-entropy for labels and squared errors for values, which are standardised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NetworkLoss {
    /// Labels: the logarithm of the true label's probability.
    CrossEntropy,
    /// Labels: the same of each label by itself against all others.
    BinaryCrossEntropy,
    /// Labels: cross-entropy in which rows that are easy count less, by (1 - p) squared (Lin et al. 2017).
    Focal,
    /// Values: squared errors.
    Squared,
    /// Values: absolute errors.
    Absolute,
    /// Values: squared errors up to one standard deviation, absolute ones beyond.
    Huber,
}

impl NetworkLoss {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::CrossEntropy, Self::BinaryCrossEntropy, Self::Focal, Self::Squared, Self::Absolute, Self::Huber];

    /// The task that it is for.
    pub fn task(self) -> TaskKind {
        match self {
            Self::CrossEntropy | Self::BinaryCrossEntropy | Self::Focal => TaskKind::Classification,
            Self::Squared | Self::Absolute | Self::Huber => TaskKind::Regression,
        }
    }

    /// The word in the language.
    pub fn word(self) -> &'static str {
        match self {
            Self::CrossEntropy => "cross_entropy",
            Self::BinaryCrossEntropy => "binary_cross_entropy",
            Self::Focal => "focal",
            Self::Squared => "squared",
            Self::Absolute => "absolute",
            Self::Huber => "huber",
        }
    }
}

fn hidden() -> Vec<usize> {
    vec![128]
}

fn width() -> usize {
    128
}

fn blocks() -> usize {
    2
}

fn expansion() -> f64 {
    2.0
}

fn resnet_dropout() -> f64 {
    0.2
}

fn token() -> usize {
    64
}

fn transformer_blocks() -> usize {
    3
}

fn heads() -> usize {
    8
}

fn transformer_dropout() -> f64 {
    0.1
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

fn betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn epsilon() -> f64 {
    1e-8
}

fn momentum() -> f64 {
    0.9
}

fn square_decay() -> f64 {
    0.99
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

fn two() -> usize {
    2
}

fn five() -> usize {
    5
}

fn ten() -> usize {
    10
}

fn tenth() -> f64 {
    0.1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use crate::data::TaskKind::{Classification, Regression};
    use crate::estimators::{Estimator, NetworkLoss};

    #[test]
    fn hyperparameters_that_do_not_fit_are_named() {
        for (family, task, expected) in [
            (json!({ "mlp": { "loss": "focal" } }), Some(Classification), None),
            (json!({ "mlp": { "loss": "focal" } }), None, None),
            (
                json!({ "mlp": { "loss": "focal" } }),
                Some(Regression),
                Some("`loss: focal` is for labels, and the target holds values"),
            ),
            (
                json!({ "tabular_resnet": { "loss": "huber" } }),
                Some(Classification),
                Some("`loss: huber` is for values, and the target holds labels"),
            ),
            (
                json!({ "mlp": { "loss": "focal", "label_smoothing": 0.1 } }),
                None,
                Some("`label_smoothing` belongs to labels and `loss: cross_entropy`"),
            ),
            (
                json!({ "mlp": { "class_weight": "balanced" } }),
                Some(Regression),
                Some("`class_weight` weighs labels, and the target holds values"),
            ),
            (json!({ "tab_transformer": { "width": 60 } }), None, Some("`width` 60 is no multiple of `heads` 8")),
            (
                json!({ "tabular_resnet": { "batch_size": 1 } }),
                None,
                Some("batch norm needs batches of at least 2 rows, and `batch_size` is 1"),
            ),
            (json!({ "mlp": { "batch_size": 1, "norm": "layer" } }), Some(Regression), None),
        ] {
            let estimator: Estimator = serde_json::from_value(family.clone()).unwrap();
            let misfits: Vec<_> = estimator.misfits(task).into_iter().map(|misfit| misfit.message).collect();
            assert_eq!(misfits, expected.into_iter().collect::<Vec<_>>(), "{family}");
        }
    }

    #[test]
    fn losses_are_written_as_their_words() {
        for loss in NetworkLoss::ALL {
            assert_eq!(serde_json::to_value(loss).unwrap(), loss.word());
        }
    }
}
