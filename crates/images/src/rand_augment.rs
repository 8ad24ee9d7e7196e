//! The fourteen changes of RandAugment (Cubuk et al. 2019) with torchvision's strengths.

use crate::colour;
use crate::geometry::{AffineParameters, Matrix, warp};
use crate::picture::Picture;

/// How many strengths there are, from 0.
const STRENGTHS: f64 = 30.0;

/// One change, with its strength.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// None.
    Identity,
    /// Sheared along the width by this tangent, around the upper left corner.
    ShearX(f64),
    /// Sheared along the height.
    ShearY(f64),
    /// Moved to the right by whole pixels.
    TranslateX(f64),
    /// Moved down.
    TranslateY(f64),
    /// Turned counter-clockwise by degrees.
    Rotate(f64),
    /// Brightness times 1 + this.
    Brightness(f64),
    /// Saturation likewise.
    Color(f64),
    /// Contrast likewise.
    Contrast(f64),
    /// Sharpness likewise.
    Sharpness(f64),
    /// Only so many bits of each value.
    Posterize(u32),
    /// Values from here on inverted.
    Solarize(f64),
    /// Full contrast in each channel.
    AutoContrast,
    /// An even histogram in each channel.
    Equalize,
}

impl Change {
    /// How many there are.
    pub const COUNT: usize = 14;

    /// The change of a number below [`Self::COUNT`], in torchvision's order, at a strength from 0 to 30, the other way round if `reversed`, for images of a height and width.
    pub fn of(number: usize, magnitude: usize, reversed: bool, [height, width]: [usize; 2]) -> Self {
        let share = magnitude as f64 / STRENGTHS;
        let signed = |most: f64| if reversed { -share * most } else { share * most };
        match number {
            0 => Self::Identity,
            1 => Self::ShearX(signed(0.3)),
            2 => Self::ShearY(signed(0.3)),
            3 => Self::TranslateX(signed(150.0 / 331.0 * width as f64).trunc()),
            4 => Self::TranslateY(signed(150.0 / 331.0 * height as f64).trunc()),
            5 => Self::Rotate(signed(30.0)),
            6 => Self::Brightness(signed(0.9)),
            7 => Self::Color(signed(0.9)),
            8 => Self::Contrast(signed(0.9)),
            9 => Self::Sharpness(signed(0.9)),
            10 => Self::Posterize(8 - (share * 4.0).round_ties_even() as u32),
            11 => Self::Solarize(255.0 * (1.0 - share)),
            12 => Self::AutoContrast,
            _ => Self::Equalize,
        }
    }

    /// Where pixels come from, if the change moves them.
    pub(crate) fn matrix(&self, picture: &Picture) -> Option<Matrix> {
        let middle = [picture.width() as f64 * 0.5, picture.height() as f64 * 0.5];
        let none = AffineParameters::NONE;
        let sheared = |shear: [f64; 2]| AffineParameters { shear, ..none }.matrix([0.0, 0.0]);
        let moved = |translate: [f64; 2]| AffineParameters { translate, ..none }.matrix(middle);
        match *self {
            Self::ShearX(tangent) => Some(sheared([tangent.atan().to_degrees(), 0.0])),
            Self::ShearY(tangent) => Some(sheared([0.0, tangent.atan().to_degrees()])),
            Self::TranslateX(by) => Some(moved([by, 0.0])),
            Self::TranslateY(by) => Some(moved([0.0, by])),
            Self::Rotate(degrees) => Some(Matrix::rotation(degrees, picture)),
            _ => None,
        }
    }

    /// Changes colours; nothing if the change moves pixels.
    pub(crate) fn recolour(&self, picture: &mut Picture) {
        match *self {
            Self::Brightness(by) => colour::adjust_brightness(picture, 1.0 + by),
            Self::Color(by) => colour::adjust_saturation(picture, 1.0 + by),
            Self::Contrast(by) => colour::adjust_contrast(picture, 1.0 + by),
            Self::Sharpness(by) => colour::adjust_sharpness(picture, 1.0 + by),
            Self::Posterize(bits) => colour::posterize(picture, bits),
            Self::Solarize(threshold) => colour::solarize(picture, threshold),
            Self::AutoContrast => colour::auto_contrast(picture),
            Self::Equalize => colour::equalize(picture),
            Self::Identity
            | Self::ShearX(_)
            | Self::ShearY(_)
            | Self::TranslateX(_)
            | Self::TranslateY(_)
            | Self::Rotate(_) => {}
        }
    }
}

/// The picture with a change made; pixels are moved bilinearly, and black where nothing was.
pub fn change(picture: &Picture, change: Change) -> Picture {
    match change.matrix(picture) {
        Some(matrix) => warp(picture, matrix),
        None => {
            let mut changed = picture.clone();
            change.recolour(&mut changed);
            changed
        }
    }
}
