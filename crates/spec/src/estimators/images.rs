//! Networks for images (libtorch).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::brief::{brief, default_from_empty};

brief! {
    /// A network that is known by name, with torchvision's layers and names of tensors, so that state dicts made there fit.
    #[derive(Clone, Debug, PartialEq)]
    Architecture {
        /// LeNet-5 with ReLU and max pooling (LeCun et al. 1998); for images of 28 x 28 pixels.
        Lenet = "lenet",
        /// A residual network for images of about 32 x 32 pixels: three layers of basic blocks (He et al. 2016).
        SmallResnet (SmallResnet) = "small_resnet",
        /// A residual network of 18 layers (He et al. 2016).
        Resnet18 = "resnet18",
        /// One of 34 layers.
        Resnet34 = "resnet34",
        /// One of 50 layers, with bottlenecks.
        Resnet50 = "resnet50",
        /// GoogLeNet with batch norms (Szegedy et al. 2015).
        Googlenet (Googlenet) = "googlenet",
        /// VGG of 11 layers (Simonyan & Zisserman 2015).
        Vgg11 (Vgg) = "vgg11",
        /// VGG of 13 layers.
        Vgg13 (Vgg) = "vgg13",
        /// VGG of 16 layers.
        Vgg16 (Vgg) = "vgg16",
        /// VGG of 19 layers.
        Vgg19 (Vgg) = "vgg19",
        /// MobileNetV2 (Sandler et al. 2018).
        MobilenetV2 (MobilenetV2) = "mobilenet_v2",
        /// EfficientNet-B0 (Tan & Le 2019).
        EfficientnetB0 (EfficientnetB0) = "efficientnet_b0",
        /// DenseNet of 121 layers (Huang et al. 2017).
        Densenet121 (Densenet121) = "densenet121",
    }
}

impl Architecture {
    /// Whether it has batch norms, which need batches of two rows.
    pub(crate) fn has_batch_norm(&self) -> bool {
        match self {
            Self::Lenet => false,
            Self::Vgg11(vgg) | Self::Vgg13(vgg) | Self::Vgg16(vgg) | Self::Vgg19(vgg) => vgg.batch_norm,
            _ => true,
        }
    }

    /// Every network with its default settings, under its word.
    pub fn all() -> impl Iterator<Item = (&'static str, Self)> {
        const WORDS: [&str; 13] = [
            "lenet",
            "small_resnet",
            "resnet18",
            "resnet34",
            "resnet50",
            "googlenet",
            "vgg11",
            "vgg13",
            "vgg16",
            "vgg19",
            "mobilenet_v2",
            "efficientnet_b0",
            "densenet121",
        ];
        WORDS.into_iter().filter_map(|word| Some((word, serde_json::from_value(word.into()).ok()?)))
    }
}

impl Default for Architecture {
    /// `small_resnet`.
    fn default() -> Self {
        Self::SmallResnet(SmallResnet::default())
    }
}

/// See [`Architecture::SmallResnet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmallResnet {
    /// Blocks of each of the three layers.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub blocks: usize,
    /// Channels of the first layer; each further one has twice as many.
    #[serde(default = "sixteen")]
    #[schemars(range(min = 1, max = 4096))]
    pub width: usize,
}

/// See [`Architecture::Googlenet`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Googlenet {
    /// Whether the two auxiliary heads train along.
    #[serde(default)]
    pub auxiliary: bool,
    /// The share of activations dropped before the head.
    #[serde(default = "fifth")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
}

/// See [`Architecture::Vgg16`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vgg {
    /// Whether a batch norm follows every filter, as in torchvision's `vgg16_bn`.
    #[serde(default)]
    pub batch_norm: bool,
    /// The share of activations dropped in the head.
    #[serde(default = "half")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
}

/// See [`Architecture::MobilenetV2`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MobilenetV2 {
    /// The share of activations dropped before the head.
    #[serde(default = "fifth")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
}

/// See [`Architecture::EfficientnetB0`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EfficientnetB0 {
    /// The share of activations dropped before the head.
    #[serde(default = "fifth")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
    /// The share of the rows whose last block is dropped altogether; of earlier blocks less (stochastic depth, Huang et al. 2016).
    #[serde(default = "fifth")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub drop_path: f64,
}

/// See [`Architecture::Densenet121`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Densenet121 {
    /// The share of activations dropped in each dense layer.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
}

default_from_empty!(SmallResnet, Googlenet, Vgg, MobilenetV2, EfficientnetB0, Densenet121);

fn one() -> usize {
    1
}

fn sixteen() -> usize {
    16
}

fn fifth() -> f64 {
    0.2
}

fn half() -> f64 {
    0.5
}
