//! Other sizes: bilinear with antialiasing, as Pillow's `BILINEAR`, within a grey level.

use std::cell::RefCell;

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, IntoImageView, PixelType, ResizeAlg, ResizeOptions, Resizer};
use retune_spec::images::ImageFit;

use crate::picture::{CropBox, Picture};

thread_local! {
    /// Keeps its buffers from one picture to the next.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// The picture brought to a height and width, each by a factor of its own.
pub fn resized(picture: &Picture, to: [usize; 2]) -> Result<Picture, String> {
    resized_crop(picture, picture.whole(), to)
}

/// A part of the picture brought to a height and width; as if it were cut out before, what lies around it has no influence. Fails where the part does not lie
/// within the picture.
pub fn resized_crop(picture: &Picture, part: CropBox, to: [usize; 2]) -> Result<Picture, String> {
    if part == picture.whole() && to == [picture.height(), picture.width()] {
        return Ok(picture.clone());
    }
    let source = view(picture)?;
    let [top, left, height, width] = [part.top, part.left, part.height, part.width].map(|side| side as u32);
    let part = CroppedImage::new(&source, left, top, width, height).map_err(failed)?;
    scaled(&part, picture.channels(), to, &options())
}

/// The picture brought to a size of another shape: stretched, cut on both sides (Pillow's `ImageOps.fit`) or with black borders (`ImageOps.pad`).
pub fn fitted(picture: &Picture, to: [usize; 2], fit: ImageFit) -> Result<Picture, String> {
    if to == [picture.height(), picture.width()] {
        return Ok(picture.clone());
    }
    match fit {
        ImageFit::Stretch => resized(picture, to),
        ImageFit::Crop => scaled(&view(picture)?, picture.channels(), to, &options().fit_into_destination(None)),
        ImageFit::Pad => {
            let inner = resized(picture, contained([picture.height(), picture.width()], to))?;
            Ok(padded(&inner, to))
        }
    }
}

fn options() -> ResizeOptions {
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
}

fn failed(error: impl std::fmt::Display) -> String {
    format!("the image could not be resized: {error}")
}

fn pixel_type(n_channels: usize) -> PixelType {
    if n_channels == 1 { PixelType::U8 } else { PixelType::U8x3 }
}

fn view(picture: &Picture) -> Result<ImageRef<'_>, String> {
    let (height, width) = (picture.height() as u32, picture.width() as u32);
    ImageRef::new(width, height, picture.pixels(), pixel_type(picture.channels())).map_err(failed)
}

fn scaled(
    source: &impl IntoImageView,
    n_channels: usize,
    [height, width]: [usize; 2],
    options: &ResizeOptions,
) -> Result<Picture, String> {
    let mut target = Image::new(width as u32, height as u32, pixel_type(n_channels));
    RESIZER.with_borrow_mut(|resizer| resizer.resize(source, &mut target, options)).map_err(failed)?;
    Picture::new(height, width, n_channels, target.into_vec()).ok_or_else(|| failed("a side of 0 pixels"))
}

/// The picture in the middle of a black one, rounded as Pillow's.
fn padded(inner: &Picture, to: [usize; 2]) -> Picture {
    let mut picture = Picture::black(to[0], to[1], inner.channels());
    let before = |outer: usize, inner: usize| ((outer - inner) as f64 * 0.5).round_ties_even() as usize;
    let (top, left) = (before(to[0], inner.height()), before(to[1], inner.width()));
    let (stride, line) = (picture.stride(), inner.stride());
    for (row, pixels) in inner.pixels().chunks_exact(line).enumerate() {
        let start = (top + row) * stride + left * inner.channels();
        picture.pixels_mut()[start..start + line].copy_from_slice(pixels);
    }
    picture
}

/// The largest size of the shape of `from` within `to`, rounded as Pillow's `ImageOps.contain`.
fn contained(from: [usize; 2], to: [usize; 2]) -> [usize; 2] {
    let [height, width] = from.map(|side| side as f64);
    let [to_height, to_width] = to.map(|side| side as f64);
    let side = |length: f64, most: usize| (length.round_ties_even() as usize).clamp(1, most);
    if width / height > to_width / to_height {
        [side(height / width * to_width, to[0]), to[1]]
    } else {
        [to[0], side(width / height * to_height, to[1])]
    }
}

/// Height and width whose shorter side is `shorter`, in the shape of `from`; the longer is rounded down, as torchvision does.
pub(crate) fn with_shorter_side([height, width]: [usize; 2], shorter: usize) -> [usize; 2] {
    let longer = |long: usize, short: usize| (shorter * long / short).max(1);
    if width <= height { [longer(height, width), shorter] } else { [shorter, longer(width, height)] }
}
