//! How networks see images, and how images are changed in training.

use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::brief::default_from_empty;
use crate::columns::OneOrMany;
use crate::estimators::Misfit;

/// The channels of a decoded image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageMode {
    /// One: 0.299 red + 0.587 green + 0.114 blue, as Pillow's `L`.
    #[default]
    Grey,
    /// Red, green and blue.
    Rgb,
}

impl ImageMode {
    /// How many channels.
    pub fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// How an image is brought to a size of another shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageFit {
    /// Height and width each by a factor of its own.
    #[default]
    Stretch,
    /// What sticks out is cut off on both sides (Pillow's `ImageOps.fit`).
    Crop,
    /// Black borders fill what is left (Pillow's `ImageOps.pad`).
    Pad,
}

/// What is done about an image that cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadImage {
    /// The stage fails.
    #[default]
    Fail,
    /// A training row is dropped; other rows are flagged and get missing pixels.
    Drop,
    /// The same, and `quarantine.parquet` in the run's folder says of each such training row which column is bad and why.
    Quarantine,
}

/// How a network sees an image: decoded (PNG, JPEG, WebP, BMP, TIFF, the first frame of a GIF), turned as its camera was held, brought to a size, and each channel
/// normalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Grey or colour.
    #[serde(default = "rgb")]
    pub mode: ImageMode,
    /// Height and width that images are brought to (bilinear with antialiasing, as Pillow's `BILINEAR`).
    #[serde(default = "size")]
    #[schemars(inner(range(min = 1, max = 4096)))]
    pub size: [u32; 2],
    /// How images of another shape are brought to `size`.
    #[serde(default)]
    pub fit: ImageFit,
    /// What is subtracted from pixels between 0 and 1: a number, or one for each channel. By default 0.5 in grey, and ImageNet's `[0.485, 0.456, 0.406]` in colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<OneOrMany<f64>>,
    /// What they are divided by then. By default 0.5 in grey, and ImageNet's `[0.229, 0.224, 0.225]` in colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<OneOrMany<f64>>,
    /// What is done about a file that is no image, or is over a limit.
    #[serde(default)]
    pub on_error: OnBadImage,
    /// The folder that paths start at and that they must not leave, be it by `..` or by a link. Where nothing is said, paths start at the current folder
    /// and may lead anywhere: say it where a table comes from somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Images of more pixels are refused before they are decoded: a small file can hold a huge image.
    #[serde(default = "max_pixels")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_pixels: u64,
    /// Larger files are refused before they are read.
    #[serde(default = "max_bytes")]
    #[schemars(range(min = 1, max = 4_000_000_000_u64))]
    pub max_bytes: u64,
}

impl ImageInput {
    /// What is subtracted from each channel.
    pub fn means(&self) -> Vec<f64> {
        self.each_channel(self.mean.as_ref(), [0.485, 0.456, 0.406])
    }

    /// What each channel is divided by then.
    pub fn deviations(&self) -> Vec<f64> {
        self.each_channel(self.std.as_ref(), [0.229, 0.224, 0.225])
    }

    fn each_channel(&self, given: Option<&OneOrMany<f64>>, imagenet: [f64; 3]) -> Vec<f64> {
        match (given.map(OneOrMany::as_slice), self.mode) {
            (Some([value]), mode) => vec![*value; mode.channels()],
            (Some(values), _) => values.to_vec(),
            (None, ImageMode::Grey) => vec![0.5],
            (None, ImageMode::Rgb) => imagenet.to_vec(),
        }
    }

    /// The settings that do not fit each other.
    pub fn misfits(&self) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        let n_channels = self.mode.channels();
        for (key, keys, given) in [("mean", &["mean", "mode"], &self.mean), ("std", &["std", "mode"], &self.std)] {
            let Some(given) = given.as_ref().map(OneOrMany::as_slice) else { continue };
            if given.len() != 1 && given.len() != n_channels {
                misfits.push(Misfit {
                    keys,
                    message: format!(
                        "`{key}` has {}, and the images have {}",
                        counted(given.len(), "number"),
                        counted(n_channels, "channel")
                    ),
                    help: "give one number, or one for each channel".to_owned(),
                });
            } else if key == "std" && given.iter().any(|deviation| *deviation <= 0.0) {
                misfits.push(Misfit {
                    keys: &["std"],
                    message: "`std` must be greater than 0".to_owned(),
                    help: "pixels lie between 0 and 1 before they are divided; leave `std` out for the default"
                        .to_owned(),
                });
            }
        }
        misfits
    }
}

/// The list of augmentations: variant and struct, and the word in the language.
macro_rules! augmentations {
    ($($(#[$doc:meta])* $variant:ident = $word:literal;)*) => {
        /// One change of training images, drawn anew for each image and epoch. `mixup` and `cutmix` mix the images of a batch after all others. Where none cuts or
        /// resizes, images are brought to the network's `size` first, as in prediction; where they end at another size, last.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub enum Augmentation {
            $($(#[$doc])* #[serde(rename = $word)] $variant($variant),)*
        }

        impl Augmentation {
            /// The words of all augmentations, in the order in which they are documented.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word in the language.
            pub fn word(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $word,)*
                }
            }
        }
    };
}

augmentations! {
    /// A part of random area and shape, brought to the network's size.
    RandomResizedCrop = "random_resized_crop";
    /// A part of the network's size at a random place.
    RandomCrop = "random_crop";
    /// The middle, of the network's size.
    CenterCrop = "center_crop";
    /// Another size.
    Resize = "resize";
    /// Left and right exchanged.
    HorizontalFlip = "horizontal_flip";
    /// Top and bottom exchanged.
    VerticalFlip = "vertical_flip";
    /// Turned around the middle.
    Rotate = "rotate";
    /// Turned, moved, scaled and sheared.
    Affine = "affine";
    /// Other brightness, contrast, saturation and hue.
    ColorJitter = "color_jitter";
    /// Without colour.
    Grayscale = "grayscale";
    /// A few changes drawn from fourteen.
    RandAugment = "rand_augment";
    /// A rectangle is blotted out.
    RandomErasing = "random_erasing";
    /// Weighted means of two images and their labels.
    Mixup = "mixup";
    /// A rectangle comes from another image, and its share of the label.
    Cutmix = "cutmix";
}

impl Augmentation {
    /// Whether it changes a batch as a whole, rather than each image.
    pub fn mixes(&self) -> bool {
        matches!(self, Self::Mixup(_) | Self::Cutmix(_))
    }

    /// Settings of a list of augmentations that do not fit each other, with the place of each in the list.
    pub fn misfits(list: &[Self]) -> Vec<(usize, Misfit)> {
        let mut misfits = Vec::new();
        for (place, augmentation) in list.iter().enumerate() {
            for (key, [least, most]) in augmentation.ranges() {
                if least > most {
                    misfits.push((
                        place,
                        Misfit {
                            keys: std::slice::from_ref(key),
                            message: format!("`{key}` goes from {least} to {most}"),
                            help: "give the smaller number first".to_owned(),
                        },
                    ));
                }
            }
            let earlier = |other: &Self| other.word() == augmentation.word();
            if augmentation.mixes() && list[..place].iter().any(earlier) {
                misfits.push((
                    place,
                    Misfit {
                        keys: &[],
                        message: format!("a second `{}`", augmentation.word()),
                        help: "a batch is mixed once; remove one".to_owned(),
                    },
                ));
            }
        }
        misfits
    }

    /// The settings that are a least and a greatest value.
    fn ranges(&self) -> Vec<(&'static &'static str, [f64; 2])> {
        match self {
            Self::RandomResizedCrop(crop) => vec![(&"scale", crop.scale), (&"ratio", crop.ratio)],
            Self::Affine(affine) => vec![(&"scale", affine.scale)],
            Self::RandomErasing(erasing) => vec![(&"scale", erasing.scale), (&"ratio", erasing.ratio)],
            _ => Vec::new(),
        }
    }
}

/// A part of random area and shape, brought to the network's size (torchvision's `RandomResizedCrop`, Szegedy et al. 2015). Where ten drawn parts do not lie
/// within the image, the largest part in its middle whose shape is allowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// The least and the greatest share of the image's area.
    #[serde(default = "crop_scale")]
    #[schemars(inner(range(min = 0.000_001, max = 1.0)))]
    pub scale: [f64; 2],
    /// The least and the greatest width divided by height; its logarithm is drawn evenly.
    #[serde(default = "crop_ratio")]
    #[schemars(inner(range(min = 0.01, max = 100.0)))]
    pub ratio: [f64; 2],
}

/// A part of the network's size at a random place (torchvision's `RandomCrop` with `pad_if_needed`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomCrop {
    /// Pixels added on each side before. An image that is still smaller gets what it lacks on both sides.
    #[serde(default)]
    #[schemars(range(min = 0, max = 4096))]
    pub padding: u32,
    /// What is added.
    #[serde(default)]
    pub pad_with: PadWith,
}

/// What images are surrounded by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PadWith {
    /// Black.
    #[default]
    Black,
    /// The pixels at the edge, repeated.
    Edge,
    /// The image in a mirror that stands on the pixels at the edge.
    Reflect,
}

/// The middle, of the network's size (torchvision's `CenterCrop`); black where the image is smaller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CenterCrop {}

/// Another size (torchvision's `Resize`), bilinear with antialiasing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// The length of the shorter side, or height and width; by default the network's `size`, by its `fit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ResizeTo>,
}

/// The size that an image is brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ResizeTo {
    /// The length of the shorter side; the shape is kept.
    Shorter(#[schemars(range(min = 1, max = 4096))] u32),
    /// Height and width.
    Both(#[schemars(inner(range(min = 1, max = 4096)))] [u32; 2]),
}

/// Left and right exchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HorizontalFlip {
    /// How probable it is.
    #[serde(default = "half")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
}

/// Top and bottom exchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerticalFlip {
    /// How probable it is.
    #[serde(default = "half")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
}

/// Turned around the middle (torchvision's `RandomRotation`, bilinear); black where nothing was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// By up to so many degrees in either direction.
    #[schemars(range(min = 0.0, max = 180.0))]
    pub degrees: f64,
    /// How probable it is.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
}

/// Turned, moved, scaled and sheared around the middle (torchvision's `RandomAffine`, bilinear); black where nothing was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Affine {
    /// Turned by up to so many degrees in either direction.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 180.0))]
    pub degrees: f64,
    /// Moved along the width and along the height by up to these shares of it.
    #[serde(default)]
    #[schemars(inner(range(min = 0.0, max = 1.0)))]
    pub translate: [f64; 2],
    /// Enlarged by a factor between these.
    #[serde(default = "no_scale")]
    #[schemars(inner(range(min = 0.01, max = 100.0)))]
    pub scale: [f64; 2],
    /// Sheared along the width by up to so many degrees in either direction.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 89.0))]
    pub shear: f64,
}

/// Other brightness, contrast, saturation and hue, in random order (torchvision's `ColorJitter`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColorJitter {
    /// Brightness by a factor between 1 - this, at least 0, and 1 + this.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub brightness: f64,
    /// Contrast likewise.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub contrast: f64,
    /// Saturation likewise; nothing in grey.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub saturation: f64,
    /// Hue turned by up to this share of the circle in either direction; nothing in grey.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.5))]
    pub hue: f64,
}

/// Without colour: red, green and blue are all the grey of the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grayscale {
    /// How probable it is.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
}

/// A few changes drawn from fourteen - none, shears, shifts, a turn, brightness, colour, contrast, sharpness, fewer levels, inverted highlights, full contrast, an even
/// histogram - all of one strength (RandAugment, Cubuk et al. 2019, as in torchvision).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandAugment {
    /// How many.
    #[serde(default = "two")]
    #[schemars(range(min = 0, max = 100))]
    pub n: usize,
    /// How strong.
    #[serde(default = "magnitude")]
    #[schemars(range(min = 0, max = 30))]
    pub magnitude: usize,
}

/// A rectangle is blotted out of the normalised image, after all other changes of it (Zhong et al. 2017, as torchvision's `RandomErasing`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomErasing {
    /// How probable it is.
    #[serde(default = "half")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
    /// The least and the greatest share of the area.
    #[serde(default = "erasing_scale")]
    #[schemars(inner(range(min = 0.0, max = 1.0)))]
    pub scale: [f64; 2],
    /// The least and the greatest height divided by width.
    #[serde(default = "erasing_ratio")]
    #[schemars(inner(range(min = 0.01, max = 100.0)))]
    pub ratio: [f64; 2],
    /// What takes its place: a number, in which 0 is the mean, or `random`, normal noise.
    #[serde(default)]
    pub value: ErasingValue,
}

/// What takes the place of an erased rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ErasingValue {
    /// Noise.
    Noise(ErasingNoise),
    /// A number.
    Value(f64),
}

impl Default for ErasingValue {
    fn default() -> Self {
        Self::Value(0.0)
    }
}

/// Noise in the place of an erased rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasingNoise {
    /// Normal, of mean 0 and deviation 1.
    Random,
}

/// Weighted means of two images of a batch and of their labels (Zhang et al. 2018). With `cutmix` beside it, one of the two is drawn for each batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mixup {
    /// The weight comes from the distribution Beta(alpha, alpha): the greater alpha, the nearer to a half.
    #[serde(default = "one")]
    #[schemars(range(max = 100.0), extend("exclusiveMinimum" = 0.0))]
    pub alpha: f64,
}

/// A rectangle comes from another image of the batch, and as much of the label as its share of the area (Yun et al. 2019). With `mixup` beside it, one of the two is
/// drawn for each batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cutmix {
    /// The share that is left of the image comes from the distribution Beta(alpha, alpha).
    #[serde(default = "one")]
    #[schemars(range(max = 100.0), extend("exclusiveMinimum" = 0.0))]
    pub alpha: f64,
}

default_from_empty!(
    ImageInput,
    RandomResizedCrop,
    RandomCrop,
    HorizontalFlip,
    VerticalFlip,
    Affine,
    ColorJitter,
    Grayscale,
    RandAugment,
    RandomErasing,
    Mixup,
    Cutmix
);

/// Where an image file lies: its path, from the current folder; under a root, which neither `..` nor a link may leave. Fails with the path and the reason; without a
/// root nothing is looked at.
pub fn located(path: &str, root: Option<&Path>) -> Result<PathBuf, String> {
    let Some(root) = root else { return Ok(PathBuf::from(path)) };
    let named = |error: std::io::Error| format!("{path}: {error}");
    let outside = || format!("{path} is not within `root: {}`", root.display());
    if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(outside());
    }
    let full = root.join(path).canonicalize().map_err(named)?;
    if full.starts_with(root.canonicalize().map_err(named)?) { Ok(full) } else { Err(outside()) }
}

fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn rgb() -> ImageMode {
    ImageMode::Rgb
}

fn size() -> [u32; 2] {
    [224, 224]
}

pub(crate) fn max_pixels() -> u64 {
    50_000_000
}

pub(crate) fn max_bytes() -> u64 {
    64 << 20
}

fn crop_scale() -> [f64; 2] {
    [0.08, 1.0]
}

fn crop_ratio() -> [f64; 2] {
    [3.0 / 4.0, 4.0 / 3.0]
}

fn no_scale() -> [f64; 2] {
    [1.0, 1.0]
}

fn erasing_scale() -> [f64; 2] {
    [0.02, 0.33]
}

fn erasing_ratio() -> [f64; 2] {
    [0.3, 3.3]
}

fn half() -> f64 {
    0.5
}

fn one() -> f64 {
    1.0
}

fn tenth() -> f64 {
    0.1
}

fn two() -> usize {
    2
}

fn magnitude() -> usize {
    9
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use schemars::schema_for;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_word_is_an_augmentation_and_defaults_are_torchvisions() {
        for (word, given, expected) in [
            (
                "random_resized_crop",
                json!({}),
                json!({ "scale": [0.08, 1.0], "ratio": [0.75, 1.333_333_333_333_333_3] }),
            ),
            ("random_crop", json!({}), json!({ "padding": 0, "pad_with": "black" })),
            ("center_crop", json!({}), json!({})),
            ("resize", json!({ "to": 256 }), json!({ "to": 256 })),
            ("resize", json!({ "to": [3, 4] }), json!({ "to": [3, 4] })),
            ("resize", json!({}), json!({})),
            ("horizontal_flip", json!({}), json!({ "p": 0.5 })),
            ("vertical_flip", json!({ "p": 0.1 }), json!({ "p": 0.1 })),
            ("rotate", json!({ "degrees": 15 }), json!({ "degrees": 15.0, "p": 1.0 })),
            (
                "affine",
                json!({}),
                json!({ "degrees": 0.0, "translate": [0.0, 0.0], "scale": [1.0, 1.0], "shear": 0.0 }),
            ),
            (
                "color_jitter",
                json!({ "hue": 0.1 }),
                json!({ "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.1 }),
            ),
            ("grayscale", json!({}), json!({ "p": 0.1 })),
            ("rand_augment", json!({}), json!({ "n": 2, "magnitude": 9 })),
            (
                "random_erasing",
                json!({}),
                json!({ "p": 0.5, "scale": [0.02, 0.33], "ratio": [0.3, 3.3], "value": 0.0 }),
            ),
            (
                "random_erasing",
                json!({ "value": "random" }),
                json!({ "p": 0.5, "scale": [0.02, 0.33], "ratio": [0.3, 3.3], "value": "random" }),
            ),
            ("mixup", json!({}), json!({ "alpha": 1.0 })),
            ("cutmix", json!({}), json!({ "alpha": 1.0 })),
        ] {
            let augmentation: Augmentation = serde_json::from_value(json!({ word: given })).unwrap();
            assert_eq!(augmentation.word(), word);
            assert_eq!(serde_json::to_value(&augmentation).unwrap(), json!({ word: expected }));
        }
        for word in Augmentation::WORDS {
            let empty = serde_json::from_value::<Augmentation>(json!({ *word: {} }));
            assert_eq!(empty.is_ok(), *word != "rotate", "{word}");
        }
        assert!(serde_json::from_value::<Augmentation>(json!({ "mixup": { "beta": 1.0 } })).is_err());
    }

    #[test]
    fn channels_have_their_means_and_deviations() {
        for (input, means, deviations) in [
            (json!({}), vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
            (json!({ "mode": "grey" }), vec![0.5], vec![0.5]),
            (json!({ "mean": 0.0, "std": 1.0 }), vec![0.0; 3], vec![1.0; 3]),
            (json!({ "mean": [0.1, 0.2, 0.3], "std": [0.5] }), vec![0.1, 0.2, 0.3], vec![0.5; 3]),
        ] {
            let given: ImageInput = serde_json::from_value(input.clone()).unwrap();
            assert_eq!((given.means(), given.deviations()), (means, deviations), "{input}");
            assert_eq!(given.misfits(), [], "{input}");
        }
    }

    #[test]
    fn settings_that_do_not_fit_are_named() {
        for (input, expected) in [
            (json!({ "mean": [0.1, 0.2] }), "`mean` has 2 numbers, and the images have 3 channels"),
            (json!({ "std": [] }), "`std` has 0 numbers, and the images have 3 channels"),
            (json!({ "mode": "grey", "std": [0.1, 0.2, 0.3] }), "`std` has 3 numbers, and the images have 1 channel"),
            (json!({ "std": [0.1, 0.0, 0.3] }), "`std` must be greater than 0"),
        ] {
            let given: ImageInput = serde_json::from_value(input).unwrap();
            let messages: Vec<String> = given.misfits().into_iter().map(|misfit| misfit.message).collect();
            assert_eq!(messages, [expected]);
        }
        let list = json!([
            { "random_resized_crop": { "scale": [1.0, 0.5] } }, { "mixup": {} }, { "cutmix": {} }, { "mixup": { "alpha": 0.2 } }
        ]);
        let list: Vec<Augmentation> = serde_json::from_value(list).unwrap();
        let told: Vec<(usize, String)> =
            Augmentation::misfits(&list).into_iter().map(|(place, misfit)| (place, misfit.message)).collect();
        assert_eq!(told, [(0, "`scale` goes from 1 to 0.5".to_owned()), (3, "a second `mixup`".to_owned())]);
    }

    /// The ranges that a pipeline is held against are those of the types.
    #[test]
    fn ranges_are_in_the_schema() {
        let schema = schema_for!((ImageInput, Augmentation)).to_value();
        let of = |name: &str, key: &str| schema["$defs"][name]["properties"][key].clone();
        for (property, pointer, expected) in [
            (of("ImageInput", "size"), "/items/maximum", json!(4096)),
            (of("ImageInput", "max_pixels"), "/minimum", json!(1)),
            (of("RandomResizedCrop", "scale"), "/items/maximum", json!(1.0)),
            (of("RandomResizedCrop", "ratio"), "/items/minimum", json!(0.01)),
            (of("Rotate", "degrees"), "/maximum", json!(180.0)),
            (of("ColorJitter", "hue"), "/maximum", json!(0.5)),
            (of("RandAugment", "magnitude"), "/maximum", json!(30)),
            (of("RandomErasing", "value"), "/default", json!(0.0)),
            (of("Mixup", "alpha"), "/exclusiveMinimum", json!(0.0)),
        ] {
            assert_eq!(property.pointer(pointer), Some(&expected), "{pointer} of {property}");
        }
        let variants = schema["$defs"]["Augmentation"]["oneOf"].as_array().unwrap();
        let described = |variant: &Value| variant["description"].as_str().is_some_and(|text| text.ends_with('.'));
        assert!(variants.len() == Augmentation::WORDS.len() && variants.iter().all(described));
    }
}
