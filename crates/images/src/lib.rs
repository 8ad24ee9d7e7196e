//! Image files to numbers: decoding within limits, augmentation, batches read ahead.
//!
//! A file becomes a [`Picture`] (8-bit pixels) by [`decode`]; a picture becomes the numbers that a network sees by [`Transforms`], changed at random in training; and a
//! [`Reader`] does both for batch after batch while the network computes. Expected numbers are those of Pillow and torchvision. Neither polars nor libtorch is used here.

mod cache;
mod colour;
mod decode;
mod draw;
mod geometry;
mod mix;
mod picture;
mod rand_augment;
mod reader;
mod resize;
mod thumbnail;
mod transforms;

pub use cache::Cache;
pub use colour::{
    adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation, adjust_sharpness, auto_contrast, equalize,
    grayscale, posterize, solarize,
};
pub use decode::{Limits, decode, read};
pub use geometry::{AffineParameters, Matrix, crop, flip_horizontally, flip_vertically, warp};
pub use mix::{Mixing, Share};
pub use picture::{CropBox, Picture};
pub use rand_augment::{Change, change};
pub use reader::{BadImage, Batch, Files, Pictures, Plan, ReadError, Reader, bad_images};
pub use resize::{fitted, resized, resized_crop};
pub use thumbnail::thumbnail;
pub use transforms::Transforms;
