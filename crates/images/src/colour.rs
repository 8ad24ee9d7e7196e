//! Colours, as Pillow changes them (`ImageEnhance`, `ImageOps`), which is what torchvision asks for PIL images. All on 8-bit values.

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
    for pixel in picture.pixels_mut().chunks_exact_mut(3) {
        let [hue, saturation, value] = to_hsv([pixel[0], pixel[1], pixel[2]]);
        pixel.copy_from_slice(&from_hsv([hue.wrapping_add(steps), saturation, value]));
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

/// Hue, saturation and value in 8 bits, as Pillow's `HSV`.
fn to_hsv([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let saturation = range / f32::from(most);
    let [from_red, from_green, from_blue] = [red, green, blue].map(|value| f32::from(most - value) / range);
    let [from_red, from_green, from_blue] = [from_red, from_green, from_blue].map(f64::from);
    let sixths = if red == most {
        from_blue - from_green
    } else if green == most {
        2.0 + from_red - from_blue
    } else {
        4.0 + from_green - from_red
    };
    // Pillow rounds to 32 bits here and there; so do we, since the result is cut off.
    let hue = ((f64::from(sixths as f32) / 6.0 + 1.0) % 1.0) as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, most]
}

fn from_hsv([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let saturation = (f64::from(saturation) / 255.0) as f32;
    let sixths = f64::from(hue) * 6.0 / 255.0;
    let sector = sixths.floor();
    let within = (sixths - sector) as f32;
    let without = |share: f64| (f64::from(value) * (1.0 - share)).round() as u8;
    let p = without(f64::from(saturation));
    let q = without(f64::from(saturation * within));
    let t = without(f64::from(saturation) * (1.0 - f64::from(within)));
    match sector as u8 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}
