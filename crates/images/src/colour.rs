//! Colours, as Pillow changes them (`ImageEnhance`, `ImageOps`), which is what torchvision asks for PIL images. All on 8-bit values.

use std::sync::LazyLock;

use crate::decode::luma;
use crate::picture::Picture;

/// Black at 0, unchanged at 1, brighter beyond.
pub fn adjust_brightness(picture: &mut Picture, factor: f64) {
    let table = table(|value| blend(0, value, factor as f32));
    look_up(picture.pixels_mut(), &table);
}

/// All of the mean grey at 0, unchanged at 1, more contrast beyond.
pub fn adjust_contrast(picture: &mut Picture, factor: f64) {
    let sum: u64 = match picture.channels() {
        1 => picture.pixels().iter().map(|value| u64::from(*value)).sum(),
        _ => picture.pixels().chunks_exact(3).map(|pixel| u64::from(luma(pixel))).sum(),
    };
    let mean = (sum as f64 / (picture.height() * picture.width()) as f64 + 0.5) as u8;
    let table = table(|value| blend(mean, value, factor as f32));
    look_up(picture.pixels_mut(), &table);
}

/// Grey at 0, unchanged at 1, more colour beyond; nothing happens to a grey picture.
pub fn adjust_saturation(picture: &mut Picture, factor: f64) {
    if picture.channels() == 1 {
        return;
    }
    let factor = factor as f32;
    for pixel in picture.pixels_mut().chunks_exact_mut(3) {
        let grey = luma(pixel);
        pixel.iter_mut().for_each(|value| *value = blend(grey, *value, factor));
    }
}

/// Hue turned by a share of the circle between -0.5 and 0.5, in 255 steps; nothing happens to a grey picture.
pub fn adjust_hue(picture: &mut Picture, turn: f64) {
    let steps = (turn * 255.0) as i32 as u8;
    if picture.channels() == 1 {
        return;
    }
    let sixths: [Sixth; 256] = std::array::from_fn(|hue| Sixth::of((hue as u8).wrapping_add(steps)));
    let shares: [f32; 256] = std::array::from_fn(|saturation| (saturation as f64 / 255.0) as f32);
    let tables = [HUES.as_slice(), SATURATIONS.as_slice()];
    for pixel in picture.pixels_mut().chunks_exact_mut(3) {
        let [hue, saturation, value] = to_hsv(tables, pixel[0], pixel[1], pixel[2]);
        pixel.copy_from_slice(&from_hsv(sixths[usize::from(hue)], shares[usize::from(saturation)], value));
    }
}

/// Smoothed at 0, unchanged at 1, sharper beyond.
pub fn adjust_sharpness(picture: &mut Picture, factor: f64) {
    let factor = factor as f32;
    let smooth = smoothed(picture);
    for (value, smooth) in picture.pixels_mut().iter_mut().zip(smooth.pixels()) {
        *value = blend(*smooth, *value, factor);
    }
}

/// Red, green and blue all become the grey of the picture.
pub fn grayscale(picture: &mut Picture) {
    if picture.channels() == 3 {
        picture.pixels_mut().chunks_exact_mut(3).for_each(|pixel| pixel.fill(luma(pixel)));
    }
}

/// Only the first `bits` of each value are kept, 1 to 8.
pub fn posterize(picture: &mut Picture, bits: u32) {
    let mask = 0xff_u8 << (8 - bits.clamp(1, 8));
    picture.pixels_mut().iter_mut().for_each(|value| *value &= mask);
}

/// Values from the threshold on are inverted.
pub fn solarize(picture: &mut Picture, threshold: f64) {
    let table = table(|value| if f64::from(value) < threshold { value } else { 255 - value });
    look_up(picture.pixels_mut(), &table);
}

/// The darkest value of each channel becomes 0, the brightest 255.
pub fn auto_contrast(picture: &mut Picture) {
    by_channel(picture, |histogram| {
        let darkest = histogram.iter().position(|count| *count > 0)?;
        let brightest = histogram.iter().rposition(|count| *count > 0)?;
        if brightest <= darkest {
            return None;
        }
        let scale = 255.0 / (brightest - darkest) as f64;
        let offset = -(darkest as f64) * scale;
        // A cast leaves nothing below 0 or above 255.
        Some(table(|value| (f64::from(value) * scale + offset) as u8))
    });
}

/// The values of each channel become as frequent as each other.
pub fn equalize(picture: &mut Picture) {
    by_channel(picture, |histogram| {
        let last = histogram.iter().rev().find(|count| **count > 0)?;
        let step = (histogram.iter().sum::<usize>() - last) / 255;
        if step == 0 {
            return None;
        }
        let mut sum = step / 2;
        let mut equal = [0; 256];
        for (value, count) in equal.iter_mut().zip(histogram) {
            *value = (sum / step).min(255) as u8;
            sum += count;
        }
        Some(equal)
    });
}

fn by_channel(picture: &mut Picture, table: impl Fn(&[usize; 256]) -> Option<[u8; 256]>) {
    let n = picture.channels();
    for channel in 0..n {
        let mut histogram = [0; 256];
        picture.pixels()[channel..].iter().step_by(n).for_each(|value| histogram[usize::from(*value)] += 1);
        if let Some(table) = table(&histogram) {
            let values = picture.pixels_mut()[channel..].iter_mut().step_by(n);
            values.for_each(|value| *value = table[usize::from(*value)]);
        }
    }
}

fn table(value: impl Fn(u8) -> u8) -> [u8; 256] {
    std::array::from_fn(|place| value(place as u8))
}

fn look_up(pixels: &mut [u8], table: &[u8; 256]) {
    pixels.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
}

/// Pillow's `Image.blend`: cut off, not rounded.
fn blend(first: u8, second: u8, share: f32) -> u8 {
    let (first, second) = (f32::from(first), f32::from(second));
    // A cast leaves nothing below 0 or above 255.
    (first + share * (second - first)) as u8
}

/// Pillow's `ImageFilter.SMOOTH`: nine neighbours, the middle counted five times; the edge stays.
fn smoothed(picture: &Picture) -> Picture {
    let (n, stride) = (picture.channels(), picture.stride());
    let source = picture.pixels();
    let mut smooth = picture.clone();
    for row in 1..picture.height().saturating_sub(1) {
        let start = row * stride;
        let [above, here, below] = [start - stride, start, start + stride].map(|start| &source[start..][..stride]);
        let target = &mut smooth.pixels_mut()[start..][..stride];
        for at in n..stride.saturating_sub(n) {
            let three = |line: &[u8]| u32::from(line[at - n]) + u32::from(line[at]) + u32::from(line[at + n]);
            let sum = three(above) + three(here) + three(below) + 4 * u32::from(here[at]);
            target[at] = ((2 * sum + 13) / 26) as u8;
        }
    }
    smooth
}

/// What a hue of the circle's 255 steps is made of.
#[derive(Clone, Copy)]
struct Sixth {
    /// How far along its sixth of the circle.
    within: f32,
    /// Where red, green and blue are among value, p, q and t, 8 bits each.
    shifts: [u8; 3],
}

impl Sixth {
    fn of(hue: u8) -> Self {
        const SHIFTS: [[u8; 3]; 6] = [[0, 24, 8], [16, 0, 8], [8, 0, 24], [8, 16, 0], [24, 8, 0], [0, 8, 16]];
        let sixths = f64::from(hue) * 6.0 / 255.0;
        let sector = sixths.floor();
        Self { within: (sixths - sector) as f32, shifts: SHIFTS[sector as usize % 6] }
    }
}

/// The hue of every pixel in Pillow's `HSV`, by which channel is the brightest and which of the others the darkest, the range between these two, and how far below the
/// brightest the third is. Photographs are too random for branches to be foreseen, so all of them are taken here, once.
static HUES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let hue = |place: usize| {
        let (brightest, second_is_darkest) = (place >> 17, place >> 16 & 1 == 1);
        let (range, third) = ((place >> 8 & 0xff).max(1) as f32, (place & 0xff) as f32);
        let share = third / range;
        let (first, second) = if second_is_darkest { (share, 1.0) } else { (1.0, share) };
        // In 32 bits here and in 64 there as in Pillow, since the result is cut off.
        let sixths = ([0.0, 2.0, 4.0][brightest] + f64::from(first) - f64::from(second)) as f32;
        let turns = ((f64::from(sixths) / 6.0 + 1.0) % 1.0) as f32;
        (f64::from(turns) * 255.0) as u8
    };
    (0..6 << 16).map(hue).collect()
});

/// Hue, saturation and value in 8 bits, as Pillow's `HSV`. Grey has some hue, but no saturation.
fn to_hsv([hues, saturations]: [&[u8]; 2], red: u8, green: u8, blue: u8) -> [u8; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let range = most - least;
    let (brightest, second) = if red == most {
        (0, green)
    } else if green == most {
        (1, blue)
    } else {
        (2, red)
    };
    // One is the brightest, one the darkest.
    let third = 3 * usize::from(most) - usize::from(red) - usize::from(green) - usize::from(blue) - usize::from(range);
    let side = usize::from(second == least);
    let hue = hues[(brightest * 2 + side) << 16 | usize::from(range) << 8 | third & 0xff];
    [hue, saturations[usize::from(most) << 8 | usize::from(range)], most]
}

/// The saturation of every value and range in Pillow's `HSV`.
static SATURATIONS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let saturation = |place: usize| (f64::from((place & 0xff) as f32 / (place >> 8).max(1) as f32) * 255.0) as u8;
    (0..1 << 16).map(saturation).collect()
});

/// `saturation` lies between 0 and 1.
fn from_hsv(sixth: Sixth, saturation: f32, value: u8) -> [u8; 3] {
    // Rounded; a call of `round` would take as long as all the rest.
    let without = |share: f64| (f64::from(value) * (1.0 - share) + 0.5) as u8;
    let p = without(f64::from(saturation));
    let q = without(f64::from(saturation * sixth.within));
    let t = without(f64::from(saturation) * (1.0 - f64::from(sixth.within)));
    let all = u32::from_le_bytes([value, p, q, t]);
    sixth.shifts.map(|shift| (all >> shift) as u8)
}
