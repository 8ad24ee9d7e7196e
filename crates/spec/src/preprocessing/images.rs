//! Steps for images.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::Selector;
use crate::images::{ImageFit, ImageMode, OnBadImage, max_bytes, max_pixels};

/// Decodes images - PNG, JPEG, WebP, BMP, TIFF, the first frame of a GIF - into one column for each pixel and channel, numbers from 0 to 255, in place of
/// the column of images: `NAME_r0c0`, `NAME_r0c1`, ... (row, column) in grey, `NAME_red_r0c0`, ..., `NAME_green_r0c0`, ..., `NAME_blue_r0c0`, ... in colour. The
/// orientation that a camera noted (EXIF) is applied; transparency is ignored. A missing image gives missing pixels.
///
/// A column of images holds their files, as bytes or as paths; declare it as `image` under `data.columns`. Paths start at `root`. What
/// is in the files is in the cache's keys: a file that changes behind its path is noticed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecodeImage {
    /// The columns replaced.
    #[serde(default = "images")]
    pub columns: Selector,
    /// Grey or colour.
    #[serde(default)]
    pub mode: ImageMode,
    /// Height and width that images are brought to (bilinear with antialiasing, as Pillow's `BILINEAR`). Without it every image must have the size of the
    /// first training image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[u32; 2]>,
    /// How images of another shape are brought to `size`.
    #[serde(default)]
    pub fit: ImageFit,
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

fn images() -> Selector {
    Selector::kind(crate::schema::Kind::Image)
}

/// Divides pixels, so that they lie between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScalePixels {
    /// The columns changed, such as `image_*`.
    pub columns: Selector,
    /// What they are divided by.
    #[serde(default = "white")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub by: f64,
}

fn white() -> f64 {
    255.0
}

/// Subtracts from all pixels of a channel one mean and divides them by one standard deviation (torchvision's `Normalize`), in place. The pixels are those that
/// `decode_image` made, found by their names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NormalizeChannels {
    /// The columns changed, such as `image_*`.
    pub columns: Selector,
    /// The mean of each channel: of grey, or of red, green and blue. Learned on the training rows where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f64>>,
    /// The standard deviation of each channel; learned where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f64>>,
}
