//! Parts, mirrors and affine maps, as Pillow and torchvision define them.

use retune_spec::images::PadWith;

use crate::picture::{CropBox, Picture};

/// A part whose upper left corner may lie outside the picture; `pad_with` says what is seen there.
pub fn crop(picture: &Picture, top: i64, left: i64, [height, width]: [usize; 2], pad_with: PadWith) -> Picture {
    let n = picture.channels();
    let mut part = Picture::black(height, width, n);
    let columns: Vec<Option<usize>> =
        (0..width as i64).map(|column| place(left + column, picture.width(), pad_with)).collect();
    // The columns that lie within the picture are side by side there.
    let inside = |column: &usize| (0..picture.width() as i64).contains(&(left + *column as i64));
    let (first, n_inside) = ((0..width).find(inside).unwrap_or(0), (0..width).filter(inside).count());
    let stride = part.stride();
    for (row, line) in part.pixels_mut().chunks_exact_mut(stride).enumerate() {
        let Some(from) = place(top + row as i64, picture.height(), pad_with) else { continue };
        let source = &picture.pixels()[from * picture.stride()..][..picture.stride()];
        let start = columns.get(first).copied().flatten().unwrap_or(0) * n;
        line[first * n..][..n_inside * n].copy_from_slice(&source[start..][..n_inside * n]);
        for column in (0..first).chain(first + n_inside..width) {
            if let Some(from) = columns[column] {
                line[column * n..][..n].copy_from_slice(&source[from * n..][..n]);
            }
        }
    }
    part
}

/// Which of `n` pixels is seen at a place.
fn place(at: i64, n: usize, pad_with: PadWith) -> Option<usize> {
    let last = n as i64 - 1;
    match pad_with {
        _ if (0..=last).contains(&at) => Some(at as usize),
        PadWith::Black => None,
        PadWith::Edge => Some(at.clamp(0, last) as usize),
        PadWith::Reflect if last == 0 => Some(0),
        PadWith::Reflect => {
            let turn = at.rem_euclid(2 * last);
            Some(turn.min(2 * last - turn) as usize)
        }
    }
}

/// Left and right exchanged.
pub fn flip_horizontally(picture: &Picture) -> Picture {
    let mut flipped = picture.clone();
    let (stride, n) = (picture.stride(), picture.channels());
    for line in flipped.pixels_mut().chunks_exact_mut(stride) {
        for column in 0..picture.width() / 2 {
            for channel in 0..n {
                line.swap(column * n + channel, stride - (column + 1) * n + channel);
            }
        }
    }
    flipped
}

/// Top and bottom exchanged.
pub fn flip_vertically(picture: &Picture) -> Picture {
    let lines: Vec<&[u8]> = picture.pixels().chunks_exact(picture.stride()).rev().collect();
    picture.with_pixels(lines.concat())
}

/// A box of a picture as it lies in the picture's mirror image.
pub(crate) fn mirrored(part: CropBox, picture: &Picture, [horizontally, vertically]: [bool; 2]) -> CropBox {
    CropBox {
        top: if vertically { picture.height() - part.top - part.height } else { part.top },
        left: if horizontally { picture.width() - part.left - part.width } else { part.left },
        ..part
    }
}

/// Where a pixel of the result comes from: x = m0 x' + m1 y' + m2, y = m3 x' + m4 y' + m5, in pixels from the upper left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matrix(pub [f64; 6]);

/// What an affine map does, as torchvision's `F.affine` takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AffineParameters {
    /// Degrees, clockwise.
    pub angle: f64,
    /// Pixels to the right and down.
    pub translate: [f64; 2],
    /// Enlarged by this factor.
    pub scale: f64,
    /// Degrees along the width and along the height.
    pub shear: [f64; 2],
}

impl AffineParameters {
    /// Nothing done.
    pub const NONE: Self = Self { angle: 0.0, translate: [0.0; 2], scale: 1.0, shear: [0.0; 2] };

    /// The map around a point (x, y); torchvision's own is the middle, (width / 2, height / 2).
    pub fn matrix(&self, [center_x, center_y]: [f64; 2]) -> Matrix {
        let turn = self.angle.to_radians();
        let [shear_x, shear_y] = self.shear.map(f64::to_radians);
        let [x, y] = self.translate;
        let a = (turn - shear_y).cos() / shear_y.cos();
        let b = -(turn - shear_y).cos() * shear_x.tan() / shear_y.cos() - turn.sin();
        let c = (turn - shear_y).sin() / shear_y.cos();
        let d = -(turn - shear_y).sin() * shear_x.tan() / shear_y.cos() + turn.cos();
        let [m0, m1, m3, m4] = [d, -b, -c, a].map(|value| value / self.scale);
        Matrix([
            m0,
            m1,
            m0 * (-center_x - x) + m1 * (-center_y - y) + center_x,
            m3,
            m4,
            m3 * (-center_x - x) + m4 * (-center_y - y) + center_y,
        ])
    }
}

impl Matrix {
    /// Turned counter-clockwise by degrees around the middle of a picture: torchvision's `F.rotate`.
    pub fn rotation(degrees: f64, picture: &Picture) -> Self {
        let middle = [picture.width() as f64 / 2.0, picture.height() as f64 / 2.0];
        // Quarter turns are exact in Pillow.
        let exact = |value: f64| (value * 1e15).round() / 1e15;
        let (sin, cos) = (-degrees).to_radians().sin_cos();
        let [m0, m1, m3, m4] = [cos, sin, -sin, cos].map(exact);
        let [x, y] = middle;
        Self([m0, m1, x - m0 * x - m1 * y, m3, m4, y - m3 * x - m4 * y])
    }

    /// The same of the mirror image.
    pub(crate) fn of_mirrored(self, picture: &Picture, [horizontally, vertically]: [bool; 2]) -> Self {
        let [mut m0, mut m1, mut m2, mut m3, mut m4, mut m5] = self.0;
        if horizontally {
            [m0, m1, m2] = [-m0, -m1, picture.width() as f64 - m2];
        }
        if vertically {
            [m3, m4, m5] = [-m3, -m4, picture.height() as f64 - m5];
        }
        Self([m0, m1, m2, m3, m4, m5])
    }
}

/// The picture as an affine map shows it, bilinear as Pillow's `transform`; black where the map leads outside.
pub fn warp(picture: &Picture, matrix: Matrix) -> Picture {
    match picture.channels() {
        1 => warp_channels::<1>(picture, matrix),
        _ => warp_channels::<3>(picture, matrix),
    }
}

fn warp_channels<const N: usize>(picture: &Picture, Matrix([m0, m1, m2, m3, m4, m5]): Matrix) -> Picture {
    let (height, width) = (picture.height(), picture.width());
    let (in_x, in_y) = (0.0..width as f64, 0.0..height as f64);
    let mut warped = Picture::black(height, width, N);
    let stride = picture.stride();
    let source = picture.pixels();
    for (row, line) in warped.pixels_mut().chunks_exact_mut(stride).enumerate() {
        let middle_y = row as f64 + 0.5;
        let (start_x, start_y) = (m1 * middle_y + m2, m4 * middle_y + m5);
        for (column, pixel) in line.chunks_exact_mut(N).enumerate() {
            let middle_x = column as f64 + 0.5;
            let (x, y) = (m0 * middle_x + start_x, m3 * middle_x + start_y);
            if !in_x.contains(&x) || !in_y.contains(&y) {
                continue;
            }
            let (x, y) = (x - 0.5, y - 0.5);
            let (left, top) = (x.floor(), y.floor());
            let (right_share, lower_share) = ((x - left) as f32, (y - top) as f32);
            // Beyond the edge, its own pixels are repeated.
            let columns = [left.max(0.0) as usize, ((left + 1.0) as usize).min(width - 1)].map(|column| column * N);
            let rows = [top.max(0.0) as usize, ((top + 1.0) as usize).min(height - 1)].map(|row| row * stride);
            for (channel, value) in pixel.iter_mut().enumerate() {
                let at = |row: usize, column: usize| f32::from(source[row + column + channel]);
                let mix = |first: f32, second: f32, share: f32| first + (second - first) * share;
                let upper = mix(at(rows[0], columns[0]), at(rows[0], columns[1]), right_share);
                let lower = mix(at(rows[1], columns[0]), at(rows[1], columns[1]), right_share);
                *value = mix(upper, lower, lower_share) as u8;
            }
        }
    }
    warped
}
