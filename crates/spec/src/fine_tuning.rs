//! Fine-tuning and its guard.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::brief::{brief, default_from_empty};
use crate::estimators::{
    Architecture, Estimator, ImageNetwork, LearningRateSchedule, Mlp, NetworkLoss, Optimizer, TabTransformer,
    TabularResnet,
};
use crate::images::{Augmentation, ImageInput};
use crate::layers::Surgery;
use crate::metric::Metric;

/// `uses: fine-tuning`: trains the base model further on the training rows and keeps the result only where the guard says that it holds up.
/// The block of the family that the base is of is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FineTuning {
    /// The stage whose model is tuned; or a network, which starts from a file of weights or from nothing: `{ network: resnet18, weights: base.safetensors }`.
    pub base: Base,
    /// The set of rows that is learned from: `train`, or one of `data.sets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
    /// For networks.
    #[serde(default)]
    pub network: NetworkTuning,
    /// For boosted trees.
    #[serde(default)]
    pub boosting: BoostingTuning,
    /// For linear models.
    #[serde(default)]
    pub linear: LinearTuning,
    /// A score to reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// What keeps the tuned model from being worse than the base.
    #[serde(default)]
    pub guard: Guard,
}

/// What a fine-tuning starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Base {
    /// A stage that ends in a model.
    Stage(String),
    /// A network.
    Network(Box<BaseNetwork>),
}

impl Base {
    /// The stage, where it is one.
    pub fn stage(&self) -> Option<&str> {
        match self {
            Self::Stage(id) => Some(id),
            Self::Network(_) => None,
        }
    }
}

/// A network that a fine-tuning starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaseNetwork {
    /// A network for images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Architecture>,
    /// A network for tables, in the place of `network`: `{ mlp: { hidden: [64] } }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableNetwork>,
    /// How a network for images sees one.
    #[serde(default)]
    pub input: ImageInput,
    /// A file of weights: safetensors, or a state dict of PyTorch's, which is read without running code. Without it the network starts from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// The SHA-256 that the file must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"), extend("patternErrorMessage" = "must be of 64 hexadecimal digits"))]
    pub sha256: Option<String>,
    /// The key under which the state dict lies in the file, where it lies under one: `state_dict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Other names for the file's tensors, the first pattern that fits deciding: `{ "backbone.*": "*", "head.*": null }`; `null` leaves out.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub map: IndexMap<String, Option<String>>,
    /// Blocks whose tensors need not be in the file, or may have another size there: they start from nothing, as a head for other labels must.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fresh: Vec<String>,
    /// Whether TorchScript may be loaded, which is code that runs.
    #[serde(default)]
    pub trust: bool,
}

/// A network for tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TableNetwork {
    /// A multi-layer perceptron.
    Mlp(Mlp),
    /// A residual network.
    TabularResnet(TabularResnet),
    /// A transformer over the columns.
    TabTransformer(TabTransformer),
}

impl BaseNetwork {
    /// The family that it belongs to.
    pub fn estimator(&self) -> Estimator {
        match &self.table {
            Some(TableNetwork::Mlp(network)) => Estimator::Mlp(network.clone()),
            Some(TableNetwork::TabularResnet(network)) => Estimator::TabularResnet(network.clone()),
            Some(TableNetwork::TabTransformer(network)) => Estimator::TabTransformer(network.clone()),
            None => {
                let architecture = self.network.clone().unwrap_or_default();
                let network = ImageNetwork { architecture, input: self.input.clone(), ..ImageNetwork::default() };
                Estimator::ImageNetwork(network)
            }
        }
    }
}

/// Continued training of a network: a lower rate, lower still towards the input, the best weights by the loss on validation rows kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkTuning {
    /// What is trained, and in which order.
    #[serde(default)]
    pub strategy: TuningStrategy,
    /// Changes of the base's layers, one after the other, before anything is trained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surgery: Vec<Surgery>,
    /// Blocks that stay as they are whatever the strategy, by patterns of their names: `["conv1", "layer1.*"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// The learning rate of the last layer.
    #[serde(default = "network_rate")]
    #[schemars(range(max = 100.0), extend("exclusiveMinimum" = 0.0))]
    pub learning_rate: f64,
    /// Looks for a rate first: it rises with every batch until the loss breaks away, and the one at which the loss fell most steeply is taken (Smith 2017). The
    /// curve is kept as a table and a picture.
    #[serde(default)]
    pub find_rate: bool,
    /// The rate of a block is this times the rate of the block after it.
    #[serde(default = "layer_decay")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub layer_decay: f64,
    /// How the rate changes; by default as in the base's training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<LearningRateSchedule>,
    /// Epochs over which the rate rises from nothing before the schedule begins.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 10_000.0))]
    pub warm_up: f64,
    /// The optimiser; by default the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Optimizer>,
    /// Weight decay of matrices and filters; by default the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: Option<f64>,
    /// The loss; by default the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<NetworkLoss>,
    /// The share that the target's probability gives up to the other labels; by default the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.9))]
    pub label_smoothing: Option<f64>,
    /// At most so many passes over the rows.
    #[serde(default = "epochs")]
    #[schemars(range(min = 1, max = 100_000))]
    pub epochs: usize,
    /// Rows of a pass; by default the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch_size: Option<usize>,
    /// A step takes the gradients of so many batches together, as one of so many times their rows would: for what does not fit into memory.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000))]
    pub accumulate: usize,
    /// Gradients are made shorter where all of them together are longer than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub clip_norm: Option<f64>,
    /// What is done to images in training, in this order; by default what was done to the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augment: Option<Vec<Augmentation>>,
    /// Whether weights are averaged along the way.
    #[serde(default)]
    pub average: Averaging,
    /// Whether batch norms count the rows of this training, or keep what the base counted.
    #[serde(default)]
    pub batch_norm: BatchNorms,
    /// Pulls weights towards the base's instead of towards zero (L2-SP, Li et al. 2018): the strength. What the base does not have is pulled towards zero.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub l2_sp: f64,
    /// Rows of another set that are learned from again along the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Rehearsal>,
    /// Looks along the line between the base's weights and the tuned ones, and takes the point of the least loss on the rows of early stopping (WiSE-FT, Wortsman
    /// et al. 2022).
    #[serde(default)]
    pub wise_ft: bool,
    /// When to stop early.
    #[serde(default)]
    pub early_stopping: EarlyStopping,
    /// What is done when the loss is no longer a number.
    #[serde(default)]
    pub on_divergence: OnDivergence,
    /// Numbers that passes are computed with.
    #[serde(default)]
    pub precision: Precision,
}

brief! {
    /// What is trained, and in which order.
    #[derive(Clone, Debug, PartialEq)]
    TuningStrategy {
        /// Everything at once.
        Full = "full",
        /// The head alone. What the frozen blocks make of a row is computed once.
        LinearProbe = "linear_probe",
        /// The head alone, then everything, which distorts less what the base knows (Kumar et al. 2022).
        LpFt (LpFt) = "lp_ft",
        /// The head, then one block more at a time from the output to the input (Howard & Ruder 2018).
        GradualUnfreeze (GradualUnfreeze) = "gradual_unfreeze",
        /// Some blocks alone: those that are named, or those whose gradients are greatest beside their weights (Lee et al. 2023).
        Surgical (Surgical) = "surgical",
        /// Biases, and the head (Ben Zaken et al. 2022).
        BiasOnly = "bias_only",
        /// The lines of norms, and the head (Frankle et al. 2021).
        NormOnly = "norm_only",
    }
}

impl Default for TuningStrategy {
    /// `full`.
    fn default() -> Self {
        Self::Full
    }
}

/// See [`TuningStrategy::LpFt`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LpFt {
    /// Passes that train the head alone; by default as many as `epochs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub probe_epochs: Option<usize>,
    /// The learning rate of these; by default ten times the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100.0), extend("exclusiveMinimum" = 0.0))]
    pub probe_learning_rate: Option<f64>,
}

/// See [`TuningStrategy::GradualUnfreeze`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GradualUnfreeze {
    /// Passes before the next block is thawed.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000))]
    pub every: usize,
}

/// See [`TuningStrategy::Surgical`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Surgical {
    /// The blocks, by patterns of their names; none lets the gradients choose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<String>,
    /// How many blocks the gradients choose.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub choose: usize,
}

brief! {
    /// Whether weights are averaged along the way. The averages are what is judged and kept.
    #[derive(Clone, Copy, Debug, PartialEq)]
    Averaging {
        /// They are not.
        None = "none",
        /// A running mean of them, statistics of batch norms too.
        Ema (Ema) = "ema",
        /// The mean of those after each of the last epochs; batch norms then count all training rows once more (Izmailov et al. 2018).
        Swa (Swa) = "swa",
    }
}

impl Default for Averaging {
    /// `none`.
    fn default() -> Self {
        Self::None
    }
}

/// See [`Averaging::Ema`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ema {
    /// What a step leaves of the mean before it. Early on it leaves less, (1 + step) / (10 + step), so that a short training is not held back.
    #[serde(default = "ema_decay")]
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub decay: f64,
}

/// See [`Averaging::Swa`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Swa {
    /// The share of the epochs after which the mean begins.
    #[serde(default = "swa_from")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub from: f64,
}

/// What batch norms do in a tuning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchNorms {
    /// They use and count each batch, where they are not frozen.
    #[default]
    Train,
    /// They use the base's statistics and leave them as they are.
    Frozen,
}

/// See [`NetworkTuning::rehearsal`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rehearsal {
    /// The set, one of `data.sets`.
    pub set: String,
    /// Its share of the rows of each batch.
    #[serde(default = "quarter")]
    #[schemars(range(max = 0.9), extend("exclusiveMinimum" = 0.0))]
    pub share: f64,
}

/// What is done when the loss is no longer a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDivergence {
    /// The training ends, naming the step, the batch and the rate.
    #[default]
    Stop,
    /// The training goes back to the end of the epoch before, and on at half the rate, five times at most.
    RollBack,
}

/// Numbers that passes are computed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats with 8 bits of exponent for filters and matrix products, where the device has them; weights stay 32-bit floats.
    Bf16,
}

/// When to stop early.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// After so many passes in a row that did not lower the validation loss; the best weights are kept. 0 makes every pass and keeps the last weights.
    #[serde(default = "patience")]
    #[schemars(range(min = 0, max = 100_000))]
    pub patience: usize,
    /// Looks at the validation rows after every so many passes, and after the last: more than 1 saves time where they are many beside the training rows. `plateau` counts these looks.
    #[serde(default = "every")]
    #[schemars(range(min = 1, max = 100_000))]
    pub every: usize,
}

/// Further rounds on top of boosted trees, stopped early on validation rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoostingTuning {
    /// At most so many further rounds.
    #[serde(default = "more_trees")]
    #[schemars(range(min = 1, max = 100_000))]
    pub more_trees: usize,
    /// The weight of each further round.
    #[serde(default = "boosting_rate")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub learning_rate: f64,
    /// Stop after so many rounds in a row that did not lower the validation loss.
    #[serde(default = "patience_rounds")]
    #[schemars(range(min = 1))]
    pub early_stopping: usize,
}

/// Local refinement of a linear model: its penalty is searched in the neighbourhood of the base's, warm-started, by the loss on validation rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinearTuning {
    /// What is refined.
    #[serde(default)]
    pub refine: Refine,
    /// The penalty is tried between the base's divided and multiplied by this.
    #[serde(default = "refine_factor")]
    #[schemars(range(max = 1e6), extend("exclusiveMinimum" = 1.0))]
    pub factor: f64,
    /// How many penalties are tried.
    #[serde(default = "refine_steps")]
    #[schemars(range(min = 2, max = 1000))]
    pub steps: usize,
}

/// What is refined in a linear model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refine {
    /// The strength of the L2 penalty.
    #[default]
    L2,
}

/// A score to reach on the validation rows that early stopping did not use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// The score.
    pub metric: Metric,
    /// The least value, for scores of which more is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// The greatest value, for scores of which less is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// Whether missing the goal ends the program with code 6.
    #[serde(default)]
    pub required: bool,
}

/// Compares base and tuned model on validation rows that early stopping did not use, by a paired bootstrap interval of the difference, and keeps
/// the base unless the tuned one holds up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// The score compared; by default the one of the model selection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// The tuned model is kept if its score is worse than the base's by no more than this, and the interval of the difference does not say that it is worse for sure.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub max_drop: f64,
    /// The same on another set, such as one of what the base was trained on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<GuardedSet>,
    /// What is tried, in this order, where the tuned model does not hold up; the first that does is kept, else the base.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<Remedy>,
    /// The confidence of the interval.
    #[serde(default = "confidence")]
    #[schemars(range(min = 0.5, max = 0.999))]
    pub confidence: f64,
    /// Whether refusing the tuned model ends the program with code 6.
    #[serde(default)]
    pub required: bool,
}

/// A set of rows that the guard looks at besides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardedSet {
    /// One of `data.sets`.
    pub set: String,
    /// The score may be worse than the base's by so much.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub max_drop: f64,
}

/// What is tried where a tuned network does not hold up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// The point of the least loss between the base's weights and the tuned ones (Wortsman et al. 2022).
    WiseFt,
    /// The same tuning, pulled towards the base's weights (Li et al. 2018).
    L2Sp,
    /// The same tuning with rows of the first of the guard's `also` sets, or of `rehearsal`, in a quarter of each batch.
    Rehearsal,
    /// The same tuning with a tenth of the learning rate.
    LowerLearningRate,
    /// The same tuning with the base's statistics of batch norms.
    FreezeBatchNorm,
    /// The head alone.
    LinearProbe,
}

impl Remedy {
    /// The word in the language.
    pub fn word(self) -> &'static str {
        match self {
            Self::WiseFt => "wise_ft",
            Self::L2Sp => "l2_sp",
            Self::Rehearsal => "rehearsal",
            Self::LowerLearningRate => "lower_learning_rate",
            Self::FreezeBatchNorm => "freeze_batch_norm",
            Self::LinearProbe => "linear_probe",
        }
    }
}

default_from_empty!(
    NetworkTuning,
    EarlyStopping,
    BoostingTuning,
    LinearTuning,
    Guard,
    LpFt,
    GradualUnfreeze,
    Surgical,
    Ema,
    Swa
);

fn one() -> usize {
    1
}

fn ema_decay() -> f64 {
    0.999
}

fn swa_from() -> f64 {
    0.75
}

fn quarter() -> f64 {
    0.25
}

fn network_rate() -> f64 {
    3e-4
}

fn layer_decay() -> f64 {
    0.7
}

fn epochs() -> usize {
    30
}

fn patience() -> usize {
    5
}

fn every() -> usize {
    1
}

fn more_trees() -> usize {
    100
}

fn boosting_rate() -> f64 {
    0.02
}

fn patience_rounds() -> usize {
    10
}

fn refine_factor() -> f64 {
    4.0
}

fn refine_steps() -> usize {
    9
}

fn confidence() -> f64 {
    0.95
}
