//! Pixels in memory.

/// An image as it was decoded: 8-bit pixels [height, width, channels], one channel (grey) or three (red, green, blue).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    height: usize,
    width: usize,
    channels: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// The picture of these pixels; `None` unless they are height x width x channels, none of them 0, and the channels are one or three.
    pub fn new(height: usize, width: usize, channels: usize, pixels: Vec<u8>) -> Option<Self> {
        let fits = matches!(channels, 1 | 3) && height > 0 && width > 0 && pixels.len() == height * width * channels;
        fits.then_some(Self { height, width, channels, pixels })
    }

    /// A picture that is black all over; a side of 0 counts as 1.
    pub(crate) fn black(height: usize, width: usize, channels: usize) -> Self {
        let (height, width) = (height.max(1), width.max(1));
        Self { height, width, channels, pixels: vec![0; height * width * channels] }
    }

    /// A picture of the same size and other pixels.
    pub(crate) fn with_pixels(&self, pixels: Vec<u8>) -> Self {
        debug_assert_eq!(pixels.len(), self.pixels.len());
        Self { pixels, ..*self }
    }

    /// Rows of pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Numbers of a pixel.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Row by row, the channels of a pixel side by side.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The same, to change.
    pub(crate) fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The pixels alone.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// Numbers of a row.
    pub(crate) fn stride(&self) -> usize {
        self.width * self.channels
    }

    /// All of it.
    pub fn whole(&self) -> CropBox {
        CropBox { top: 0, left: 0, height: self.height, width: self.width }
    }
}

/// A part of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropBox {
    /// Rows above it.
    pub top: usize,
    /// Columns left of it.
    pub left: usize,
    /// Its rows.
    pub height: usize,
    /// Its columns.
    pub width: usize,
}
