//! Layers that a user writes, and changes of a network's layers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::brief::{brief, default_from_empty};
use crate::estimators::Activation;

brief! {
    /// A layer, as a word or a mapping of the word to its settings. Widths and channels that come in follow from the layer before.
    #[derive(Clone, Debug, PartialEq)]
    LayerSpec {
        /// A linear layer: `linear: 64`; the word alone has as many outputs as there are labels, or one for a value.
        Linear (Width) = "linear",
        /// A square filter over images.
        Convolution (Filter) = "convolution",
        /// Batch norm (Ioffe & Szegedy 2015).
        BatchNorm = "batch_norm",
        /// Layer norm (Ba et al. 2016).
        LayerNorm = "layer_norm",
        /// An activation function: `activation: gelu`.
        Activation (Activation) = "activation",
        /// Drops a share of the activations in training: `dropout: 0.2`; the word alone drops half.
        Dropout (Share) = "dropout",
        /// The greatest value under a square window.
        MaxPool (Window) = "max_pool",
        /// The mean value under a square window.
        MeanPool (Window) = "mean_pool",
        /// The means of so many rows and columns of parts of an image: `adaptive_pool: 7`; the word alone takes the mean of the whole image.
        AdaptivePool (Side) = "adaptive_pool",
        /// Images as rows of numbers.
        Flatten = "flatten",
        /// The input plus what these layers make of it.
        Residual (Vec<LayerSpec>) = "residual",
        /// What several lists of layers make of the same input, one after the other along the channels or the width.
        Branches (Vec<Vec<LayerSpec>>) = "branches",
    }
}

/// The outputs of a linear layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Width {
    /// So many.
    Outputs(#[schemars(range(min = 1, max = 1_000_000))] usize),
    /// One for each label, or a single one for a value.
    Labels(Labels),
    /// The same, where nothing is said.
    #[default]
    Unsaid,
}

/// The word `labels`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// One output for each label, or a single one for a value.
    #[default]
    Labels,
}

/// A share of activations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Share(#[schemars(range(min = 0.0, max = 0.95))] pub f64);

impl Default for Share {
    /// Half.
    fn default() -> Self {
        Self(0.5)
    }
}

/// Rows and columns of parts of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Side(#[schemars(range(min = 1, max = 1024))] pub usize);

impl Default for Side {
    /// The whole image.
    fn default() -> Self {
        Self(1)
    }
}

/// A square filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Channels that go out.
    #[serde(default = "channels")]
    #[schemars(range(min = 1, max = 65_536))]
    pub channels: usize,
    /// The side in pixels.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 64))]
    pub kernel: usize,
    /// Pixels from one place to the next.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub stride: usize,
    /// Zeros around the image; by default half of the side, which keeps the size at stride 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 64))]
    pub padding: Option<usize>,
    /// Groups of channels that do not see each other.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 65_536))]
    pub groups: usize,
    /// Whether a learned number is added to each channel.
    #[serde(default = "yes")]
    pub bias: bool,
}

/// A square window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The side in pixels.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 64))]
    pub kernel: usize,
    /// Pixels from one place to the next; by default the side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub stride: Option<usize>,
    /// Pixels around the image.
    #[serde(default)]
    #[schemars(range(max = 32))]
    pub padding: usize,
}

default_from_empty!(Filter, Window);

/// A change of a network's layers. Blocks and layers are named as their tensors are: `fc`, `layer4.1`, `layers.2`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Surgery {
    /// Puts layers in the place of a block: `replace: { block: fc, with: [linear: 64, activation: relu, linear] }`.
    Replace(Replace),
    /// Takes a block out.
    Remove(Remove),
    /// Puts layers behind a block, or before one.
    Insert(Insert),
    /// Puts layers behind the last one.
    Append(Append),
    /// Adds a head whose loss helps in training and which is left out when predicting.
    Auxiliary(AuxiliaryHead),
    /// Another activation function.
    Activation(ActivationChange),
    /// Another share of dropped activations, in the dropout layers that are there.
    Dropout(DropoutChange),
}

/// See [`Surgery::Replace`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    /// The block.
    pub block: String,
    /// What takes its place.
    #[schemars(length(min = 1))]
    pub with: Vec<LayerSpec>,
}

/// See [`Surgery::Remove`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// The block.
    pub block: String,
}

/// See [`Surgery::Insert`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Insert {
    /// The block behind which the layers lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The block before which they lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What their tensors' names begin with.
    pub name: String,
    /// The layers.
    #[schemars(length(min = 1))]
    pub with: Vec<LayerSpec>,
}

/// See [`Surgery::Append`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Append {
    /// What their tensors' names begin with.
    pub name: String,
    /// The layers.
    #[schemars(length(min = 1))]
    pub with: Vec<LayerSpec>,
}

/// See [`Surgery::Auxiliary`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuxiliaryHead {
    /// The block whose output the head looks at.
    pub after: String,
    /// What its tensors' names begin with.
    pub name: String,
    /// The weight of its loss.
    #[serde(default = "auxiliary_weight")]
    #[schemars(range(max = 10.0), extend("exclusiveMinimum" = 0.0))]
    pub weight: f64,
    /// Its layers.
    #[schemars(length(min = 1))]
    pub with: Vec<LayerSpec>,
}

/// See [`Surgery::Activation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivationChange {
    /// The blocks, as a pattern of their names: `layer3.*`.
    #[serde(default = "everything")]
    pub blocks: String,
    /// The function.
    pub to: Activation,
}

/// See [`Surgery::Dropout`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropoutChange {
    /// The blocks, as a pattern of their names.
    #[serde(default = "everything")]
    pub blocks: String,
    /// The share.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub to: f64,
}

fn channels() -> usize {
    64
}

fn one() -> usize {
    1
}

fn two() -> usize {
    2
}

fn three() -> usize {
    3
}

fn yes() -> bool {
    true
}

fn auxiliary_weight() -> f64 {
    0.3
}

fn everything() -> String {
    "*".to_owned()
}
