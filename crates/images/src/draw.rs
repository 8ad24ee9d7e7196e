//! What an augmentation does to one image, drawn as torchvision draws it.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use retune_spec::images::{Affine, ColorJitter, RandAugment, RandomErasing, RandomResizedCrop};

use crate::geometry::AffineParameters;
use crate::picture::CropBox;
use crate::rand_augment::Change;

/// How often a part is drawn until it lies within the image.
const TRIES: usize = 10;

/// Whether something of this probability happens. A number is drawn in any case, so that those that follow do not depend on `p`.
pub(crate) fn happens(p: f64, rng: &mut ChaCha8Rng) -> bool {
    rng.random::<f64>() < p
}

/// Between -most and most.
pub(crate) fn either_way(most: f64, rng: &mut ChaCha8Rng) -> f64 {
    between([-most, most], rng)
}

fn between([least, most]: [f64; 2], rng: &mut ChaCha8Rng) -> f64 {
    least + (most - least) * rng.random::<f64>()
}

/// Area and logarithm of the shape drawn evenly; `None` after ten that do not lie within the image. `fits` says whether a height and width do.
fn part(
    [height, width]: [usize; 2],
    scale: [f64; 2],
    ratio: [f64; 2],
    rng: &mut ChaCha8Rng,
    sides: impl Fn(f64, f64) -> [f64; 2],
    fits: impl Fn(usize, usize) -> bool,
) -> Option<CropBox> {
    (0..TRIES).find_map(|_| {
        let area = (height * width) as f64 * between(scale, rng);
        let shape = between(ratio.map(f64::ln), rng).exp();
        let [part_height, part_width] = sides(area, shape).map(|side| side.round_ties_even() as usize);
        fits(part_height, part_width).then(|| CropBox {
            top: rng.random_range(0..=height - part_height),
            left: rng.random_range(0..=width - part_width),
            height: part_height,
            width: part_width,
        })
    })
}

/// The part of an image that `random_resized_crop` shows.
pub(crate) fn resized_crop([height, width]: [usize; 2], crop: &RandomResizedCrop, rng: &mut ChaCha8Rng) -> CropBox {
    let sides = |area: f64, shape: f64| [(area / shape).sqrt(), (area * shape).sqrt()];
    let fits = |part_height, part_width| (1..=height).contains(&part_height) && (1..=width).contains(&part_width);
    part([height, width], crop.scale, crop.ratio, rng, sides, fits)
        .unwrap_or_else(|| middle([height, width], crop.ratio))
}

/// The largest part in the middle whose shape is allowed.
fn middle([height, width]: [usize; 2], [narrowest, widest]: [f64; 2]) -> CropBox {
    let shape = width as f64 / height as f64;
    let side = |length: f64, most: usize| (length.round_ties_even() as usize).clamp(1, most);
    let [part_height, part_width] = if shape < narrowest {
        [side(width as f64 / narrowest, height), width]
    } else if shape > widest {
        [height, side(height as f64 * widest, width)]
    } else {
        [height, width]
    };
    let (top, left) = ((height - part_height) / 2, (width - part_width) / 2);
    CropBox { top, left, height: part_height, width: part_width }
}

/// The rectangle that `random_erasing` blots out; `None` where none fits.
pub(crate) fn erased([height, width]: [usize; 2], erasing: &RandomErasing, rng: &mut ChaCha8Rng) -> Option<CropBox> {
    let sides = |area: f64, shape: f64| [(area * shape).sqrt(), (area / shape).sqrt()];
    part([height, width], erasing.scale, erasing.ratio, rng, sides, |part_height, part_width| {
        part_height < height && part_width < width
    })
}

/// What `affine` does to an image.
pub(crate) fn affine([height, width]: [usize; 2], affine: &Affine, rng: &mut ChaCha8Rng) -> AffineParameters {
    let angle = either_way(affine.degrees, rng);
    let [right, down] = affine.translate;
    let translate =
        [(right, width), (down, height)].map(|(share, side)| either_way(share * side as f64, rng).round_ties_even());
    let scale = between(affine.scale, rng);
    AffineParameters { angle, translate, scale, shear: [either_way(affine.shear, rng), 0.0] }
}

/// One of the four things that `color_jitter` does, with its factor or the turn of the hue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Jitter {
    Brightness(f64),
    Contrast(f64),
    Saturation(f64),
    Hue(f64),
}

/// What `color_jitter` does to an image, in the order in which it does.
pub(crate) fn jitter(jitter: &ColorJitter, rng: &mut ChaCha8Rng) -> Vec<Jitter> {
    let mut factor = |most: f64| between([(1.0 - most).max(0.0), 1.0 + most], rng);
    let drawn = [
        (jitter.brightness, Jitter::Brightness(factor(jitter.brightness))),
        (jitter.contrast, Jitter::Contrast(factor(jitter.contrast))),
        (jitter.saturation, Jitter::Saturation(factor(jitter.saturation))),
        (jitter.hue, Jitter::Hue(either_way(jitter.hue, rng))),
    ];
    let mut changes: Vec<Jitter> =
        drawn.into_iter().filter(|(most, _)| *most > 0.0).map(|(_, change)| change).collect();
    changes.shuffle(rng);
    changes
}

/// The changes that `rand_augment` makes to an image of a size.
pub(crate) fn changes(size: [usize; 2], settings: &RandAugment, rng: &mut ChaCha8Rng) -> Vec<Change> {
    let draw = |_| Change::of(rng.random_range(0..Change::COUNT), settings.magnitude, rng.random(), size);
    (0..settings.n).map(draw).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const N: usize = 20_000;

    /// The least, the mean and the greatest of many numbers.
    fn spread(draw: impl Fn(&mut ChaCha8Rng) -> f64) -> [f64; 3] {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let values: Vec<f64> = (0..N).map(|_| draw(&mut rng)).collect();
        let extreme = |pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick).unwrap_or(f64::NAN);
        [extreme(f64::min), values.iter().sum::<f64>() / N as f64, extreme(f64::max)]
    }

    fn assert_spread(name: &str, spread: [f64; 3], expected: [f64; 3], tolerance: f64) {
        for (found, expected) in spread.into_iter().zip(expected) {
            assert!((found - expected).abs() <= tolerance, "{name}: {spread:?} against {expected:?}");
        }
    }

    #[test]
    fn numbers_are_spread_as_declared() {
        let jitter_of = |settings: ColorJitter, which: fn(&Jitter) -> Option<f64>| {
            spread(move |rng| jitter(&settings, rng).iter().find_map(which).unwrap_or(f64::NAN))
        };
        let all = ColorJitter { brightness: 0.4, contrast: 2.0, saturation: 0.2, hue: 0.1 };
        let brightness = |change: &Jitter| if let Jitter::Brightness(factor) = change { Some(*factor) } else { None };
        let contrast = |change: &Jitter| if let Jitter::Contrast(factor) = change { Some(*factor) } else { None };
        let saturation = |change: &Jitter| if let Jitter::Saturation(factor) = change { Some(*factor) } else { None };
        let hue = |change: &Jitter| if let Jitter::Hue(turn) = change { Some(*turn) } else { None };
        assert_spread("brightness", jitter_of(all.clone(), brightness), [0.6, 1.0, 1.4], 0.01);
        // Never below 0.
        assert_spread("contrast", jitter_of(all.clone(), contrast), [0.0, 1.5, 3.0], 0.03);
        assert_spread("saturation", jitter_of(all.clone(), saturation), [0.8, 1.0, 1.2], 0.01);
        assert_spread("hue", jitter_of(all, hue), [-0.1, 0.0, 0.1], 0.002);
        let settings = Affine { degrees: 30.0, translate: [0.1, 0.2], scale: [0.8, 1.4], shear: 10.0 };
        let of = |number: fn(AffineParameters) -> f64| {
            let settings = settings.clone();
            spread(move |rng| number(affine([100, 200], &settings, rng)))
        };
        assert_spread("angle", of(|affine| affine.angle), [-30.0, 0.0, 30.0], 0.5);
        assert_spread("right", of(|affine| affine.translate[0]), [-20.0, 0.0, 20.0], 0.5);
        assert_spread("down", of(|affine| affine.translate[1]), [-20.0, 0.0, 20.0], 0.5);
        assert_spread("scale", of(|affine| affine.scale), [0.8, 1.1, 1.4], 0.01);
        assert_spread("shear", of(|affine| affine.shear[0]), [-10.0, 0.0, 10.0], 0.2);
        assert_spread("happens", spread(|rng| f64::from(u8::from(happens(0.3, rng)))), [0.0, 0.3, 1.0], 0.02);
    }

    #[test]
    fn parts_are_spread_as_declared() {
        let size = [300, 400];
        let share = |part: CropBox| (part.height * part.width) as f64 / 120_000.0;
        let shape = |part: CropBox| part.width as f64 / part.height as f64;
        let small = RandomResizedCrop { scale: [0.1, 0.3], ratio: [0.75, 4.0 / 3.0] };
        let of = |number: fn(CropBox) -> f64| {
            let small = small.clone();
            spread(move |rng| number(resized_crop(size, &small, rng)))
        };
        // Every part of this size fits, so that shares are even.
        assert_spread("share", spread(|rng| share(resized_crop(size, &small, rng))), [0.1, 0.2, 0.3], 0.005);
        assert_spread("shape", spread(|rng| shape(resized_crop(size, &small, rng)).ln()), [-0.2877, 0.0, 0.2877], 0.02);
        // Places are even: the middle of parts is the middle of the image.
        assert_spread("rows", of(|part| part.top as f64 + part.height as f64 / 2.0), [50.0, 150.0, 250.0], 8.0);
        assert_spread("columns", of(|part| part.left as f64 + part.width as f64 / 2.0), [50.0, 200.0, 350.0], 8.0);
        let erasing = RandomErasing { scale: [0.02, 0.1], ratio: [0.3, 3.3], ..RandomErasing::default() };
        let erased_share = |rng: &mut ChaCha8Rng| erased(size, &erasing, rng).map_or(f64::NAN, share);
        assert_spread("erased", spread(erased_share), [0.02, 0.06, 0.1], 0.002);
        // Nothing of the shape fits: the middle, as torchvision.
        for (size, ratio, expected) in [
            ([100, 10], [0.75, 4.0 / 3.0], CropBox { top: 43, left: 0, height: 13, width: 10 }),
            ([10, 100], [0.75, 4.0 / 3.0], CropBox { top: 0, left: 43, height: 10, width: 13 }),
            ([1, 1], [2.0, 3.0], CropBox { top: 0, left: 0, height: 1, width: 1 }),
        ] {
            let crop = RandomResizedCrop { scale: [1.0, 1.0], ratio };
            assert_eq!(resized_crop(size, &crop, &mut ChaCha8Rng::seed_from_u64(1)), expected);
        }
        let whole = RandomErasing { scale: [1.0, 1.0], ratio: [1.0, 1.0], ..RandomErasing::default() };
        assert_eq!(erased([8, 8], &whole, &mut ChaCha8Rng::seed_from_u64(1)), None);
    }

    #[test]
    fn orders_and_changes_are_all_drawn() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let all = ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
        let order = |changes: Vec<Jitter>| {
            changes.iter().map(std::mem::discriminant).map(|kind| format!("{kind:?}")).collect::<String>()
        };
        let orders: std::collections::HashSet<String> = (0..1000).map(|_| order(jitter(&all, &mut rng))).collect();
        assert_eq!(orders.len(), 24);
        assert_eq!(jitter(&ColorJitter::default(), &mut rng), []);
        let drawn: Vec<Change> =
            (0..N / 2).flat_map(|_| changes([31, 24], &RandAugment::default(), &mut rng)).collect();
        let share = |change: fn(&Change) -> bool| drawn.iter().filter(|drawn| change(drawn)).count() as f64 / N as f64;
        for (name, share) in [
            ("identity", share(|change| *change == Change::Identity)),
            ("equalize", share(|change| *change == Change::Equalize)),
            ("left", 2.0 * share(|change| matches!(change, Change::TranslateX(by) if *by < 0.0))),
        ] {
            assert!((share - 1.0 / 14.0).abs() < 0.01, "{name}: {share}");
        }
    }
}
