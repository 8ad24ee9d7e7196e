//! Image files, within limits.

use std::io::{Cursor, Read};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use retune_spec::images::{ImageInput, ImageMode, located};

use crate::picture::Picture;

/// What a file may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most pixels that an image may say it has.
    pub max_pixels: u64,
    /// The most bytes that a file may have.
    pub max_bytes: u64,
}

impl Limits {
    /// Those that a network's images are declared with.
    pub fn of(input: &ImageInput) -> Self {
        Self { max_pixels: input.max_pixels, max_bytes: input.max_bytes }
    }
}

/// The bytes of a file; under a root, which neither `..` nor a link may leave. No more than `max_bytes` + 1 are read, so that [`decode`] can tell. Fails with the
/// path and the reason.
pub fn read(path: &str, root: Option<&str>, limits: &Limits) -> Result<Vec<u8>, String> {
    let named = |error: std::io::Error| format!("{path}: {error}");
    let full = located(path, root.map(Path::new))?;
    let file = std::fs::File::open(full).map_err(named)?;
    // Read no further than the limit, whatever the file says of its length: it may be a device.
    let mut bytes = Vec::new();
    file.take(limits.max_bytes + 1).read_to_end(&mut bytes).map_err(named)?;
    Ok(bytes)
}

/// The image in a file's bytes - PNG, JPEG, WebP, BMP, TIFF, the first frame of a GIF or an animated WebP - turned as its camera was held (EXIF). Transparency is
/// ignored, 16 bits become 8. What a file is, its bytes say and not its name. Fails with a reason, before it is decoded where a limit says so.
pub fn decode(bytes: &[u8], mode: ImageMode, limits: &Limits) -> Result<Picture, String> {
    let decoded = decode_dynamic(bytes, limits)?;
    let (height, width) = (decoded.height() as usize, decoded.width() as usize);
    let pixels = match mode {
        ImageMode::Grey => grey(decoded),
        ImageMode::Rgb => decoded.into_rgb8().into_raw(),
    };
    Picture::new(height, width, mode.channels(), pixels).ok_or_else(|| "the image has no pixels".to_owned())
}

fn decode_dynamic(bytes: &[u8], limits: &Limits) -> Result<DynamicImage, String> {
    if bytes.len() as u64 > limits.max_bytes {
        return Err(format!("the file is larger than `max_bytes: {}`", limits.max_bytes));
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("the bytes are no PNG, JPEG, WebP, GIF, BMP or TIFF image".to_owned());
    }
    if reader.format() == Some(ImageFormat::Jpeg) && !is_whole_jpeg(bytes) {
        return Err("the JPEG file is cut short: its end marker is missing".to_owned());
    }
    let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(format!("the image has {height} x {width} pixels, more than `max_pixels: {}`", limits.max_pixels));
    }
    // What the header promises is checked; this bounds what decoders take besides: 16 bytes a pixel are four channels of 32 bits.
    let mut allocated = image::Limits::no_limits();
    allocated.max_alloc = Some(limits.max_pixels.saturating_mul(16).max(16 << 20));
    decoder.set_limits(allocated).map_err(|error| error.to_string())?;
    let orientation = decoder.orientation().map_err(|error| error.to_string())?;
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    decoded.apply_orientation(orientation);
    Ok(decoded)
}

/// Whether an end marker follows the last start of a scan: decoders fill what is missing with grey, and neither marker occurs within coded pixels. Whatever a program
/// appended after the end does not matter.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    let last = bytes.windows(2).rposition(|pair| pair[0] == 0xff && matches!(pair[1], 0xd9 | 0xda));
    last.is_none_or(|last| bytes[last + 1] == 0xd9)
}

fn grey(decoded: DynamicImage) -> Vec<u8> {
    match decoded {
        DynamicImage::ImageLuma8(_)
        | DynamicImage::ImageLumaA8(_)
        | DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageLumaA16(_) => decoded.into_luma8().into_raw(),
        _ => decoded.into_rgb8().as_raw().chunks_exact(3).map(luma).collect(),
    }
}

/// Luma as Pillow's `L` (ITU-R 601 in 16 bits); the `image` crate's own is ITU-R 709.
pub(crate) fn luma(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16) as u8
}
