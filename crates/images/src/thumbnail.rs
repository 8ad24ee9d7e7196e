//! Small pictures to show.

use std::io::Cursor;

use image::{ExtendedColorType, ImageEncoder};
use retune_spec::images::ImageMode;

use crate::{Limits, decode, resized};

/// The image in a file's bytes as a PNG file no side of which is longer than `side`; smaller ones keep their size.
pub fn thumbnail(bytes: &[u8], side: usize, limits: &Limits) -> Result<Vec<u8>, String> {
    let picture = decode(bytes, ImageMode::Rgb, limits)?;
    let longest = picture.height().max(picture.width());
    let small = if longest > side {
        let scaled = |length: usize| (length * side / longest).max(1);
        resized(&picture, [scaled(picture.height()), scaled(picture.width())])?
    } else {
        picture
    };
    let mut png = Cursor::new(Vec::new());
    image::codecs::png::PngEncoder::new(&mut png)
        .write_image(small.pixels(), small.width() as u32, small.height() as u32, ExtendedColorType::Rgb8)
        .map_err(|error| error.to_string())?;
    Ok(png.into_inner())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_thumbnail_keeps_the_shape() {
        let mut png = Cursor::new(Vec::new());
        let pixels = vec![200; 90 * 30 * 3];
        image::codecs::png::PngEncoder::new(&mut png).write_image(&pixels, 90, 30, ExtendedColorType::Rgb8).unwrap();
        let limits = Limits { max_pixels: 10_000, max_bytes: 10_000 };
        let small = thumbnail(&png.into_inner(), 48, &limits).unwrap();
        let small = decode(&small, ImageMode::Rgb, &limits).unwrap();
        assert_eq!((small.width(), small.height(), small.pixels()[0]), (48, 16, 200));
        assert!(thumbnail(b"no image", 48, &limits).is_err());
    }
}
