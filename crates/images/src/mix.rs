//! Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019): two images of a batch in one, and two labels.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};
use retune_spec::images::Augmentation;

use crate::picture::CropBox;

/// What of a mixed row is its own, and whose the rest is: its label counts `weight`, that of the row `partner` of the batch 1 - `weight`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Between 0 and 1.
    pub weight: f32,
    /// A place in the batch; its own, where a row is mixed with itself.
    pub partner: usize,
}

/// How batches are mixed. Where both ways are declared, one is drawn for each batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixing {
    ways: Vec<Way>,
}

#[derive(Clone, Debug, PartialEq)]
enum Way {
    Mixup(Beta<f64>),
    Cutmix(Beta<f64>),
}

impl Mixing {
    /// That of a list of augmentations; `None` if there is none in it. Fails where an alpha is not above 0.
    pub fn new(augmentations: &[Augmentation]) -> Result<Option<Self>, String> {
        let beta = |alpha: f64| Beta::new(alpha, alpha).map_err(|error| format!("`alpha: {alpha}`: {error}"));
        let way = |augmentation: &Augmentation| match augmentation {
            Augmentation::Mixup(mixup) => Some(beta(mixup.alpha).map(Way::Mixup)),
            Augmentation::Cutmix(cutmix) => Some(beta(cutmix.alpha).map(Way::Cutmix)),
            _ => None,
        };
        let ways: Vec<Way> = augmentations.iter().filter_map(way).collect::<Result<_, _>>()?;
        Ok((!ways.is_empty()).then_some(Self { ways }))
    }

    /// Mixes a batch [rows, channels, height, width] in place: one weight for the batch, partners by a random order. Fails where the numbers are not of the shape.
    pub fn mix(&self, batch: &mut [f32], shape: [usize; 4], rng: &mut ChaCha8Rng) -> Result<Vec<Share>, String> {
        let [n_rows, _, height, width] = shape;
        if batch.len() != shape.iter().product::<usize>() {
            return Err(format!("{} numbers are no batch of {shape:?}", batch.len()));
        }
        let mut partners: Vec<usize> = (0..n_rows).collect();
        partners.shuffle(rng);
        let weight = match &self.ways[rng.random_range(0..self.ways.len())] {
            Way::Mixup(beta) => {
                let weight = beta.sample(rng) as f32;
                with_partners(batch, &partners, |own, other| {
                    for (own, other) in own.iter_mut().zip(other) {
                        *own = weight * *own + (1.0 - weight) * other;
                    }
                });
                weight
            }
            Way::Cutmix(beta) => {
                let part = cut([height, width], beta.sample(rng), rng);
                with_partners(batch, &partners, |own, other| paste(own, other, [height, width], part));
                own_share([height, width], part)
            }
        };
        Ok(partners.into_iter().map(|partner| Share { weight, partner }).collect())
    }
}

/// The part that comes from another image, so that `weight` of the area is left; what sticks out is cut off.
fn cut([height, width]: [usize; 2], weight: f64, rng: &mut ChaCha8Rng) -> CropBox {
    let (column, row) = (rng.random_range(0..width), rng.random_range(0..height));
    box_around([row, column], [height, width], weight)
}

/// As torchvision's `CutMix`: half the side on either side of a pixel.
fn box_around([row, column]: [usize; 2], [height, width]: [usize; 2], weight: f64) -> CropBox {
    let half = 0.5 * (1.0 - weight).max(0.0).sqrt();
    let [half_height, half_width] = [height, width].map(|side| (half * side as f64) as usize);
    let (top, left) = (row.saturating_sub(half_height), column.saturating_sub(half_width));
    CropBox { top, left, height: (row + half_height).min(height) - top, width: (column + half_width).min(width) - left }
}

/// What is left of an image after a part was taken.
fn own_share([height, width]: [usize; 2], part: CropBox) -> f32 {
    (1.0 - (part.height * part.width) as f64 / (height * width) as f64) as f32
}

fn paste(own: &mut [f32], other: &[f32], [height, width]: [usize; 2], part: CropBox) {
    for (own, other) in own.chunks_exact_mut(height * width).zip(other.chunks_exact(height * width)) {
        for row in part.top..part.top + part.height {
            let line = row * width + part.left..row * width + part.left + part.width;
            own[line.clone()].copy_from_slice(&other[line]);
        }
    }
}

/// Calls `mix` with each row and its partner as it was before any was mixed. Only one row at a time is copied: partners are followed around in circles.
fn with_partners(batch: &mut [f32], partners: &[usize], mix: impl Fn(&mut [f32], &[f32])) {
    let length = batch.len() / partners.len().max(1);
    let mut done = vec![false; partners.len()];
    for first in 0..partners.len() {
        if done[first] || partners[first] == first {
            continue;
        }
        let original = batch[first * length..][..length].to_vec();
        let mut row = first;
        loop {
            done[row] = true;
            let partner = partners[row];
            if partner == first {
                mix(&mut batch[row * length..][..length], &original);
                break;
            }
            let (lower, upper) = batch.split_at_mut(row.max(partner) * length);
            let (low, high) = (&mut lower[row.min(partner) * length..][..length], &mut upper[..length]);
            if row < partner {
                mix(low, high);
            } else {
                mix(high, low);
            }
            row = partner;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::SeedableRng;
    use retune_spec::images::{Cutmix, Mixup};

    use super::*;

    fn mixing(list: &[Augmentation]) -> Mixing {
        Mixing::new(list).unwrap().unwrap()
    }

    /// Each row full of its number.
    fn numbered(n_rows: usize, length: usize) -> Vec<f32> {
        (0..n_rows).flat_map(|row| vec![row as f32; length]).collect()
    }

    #[test]
    fn every_row_is_mixed_with_its_partner_as_it_was() {
        let mixup = mixing(&[Augmentation::Mixup(Mixup { alpha: 0.4 })]);
        for seed in 0..20 {
            let mut batch = numbered(7, 12);
            let shares = mixup.mix(&mut batch, [7, 3, 2, 2], &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
            for (row, share) in shares.iter().enumerate() {
                let expected = share.weight * row as f32 + (1.0 - share.weight) * share.partner as f32;
                assert!(batch[row * 12..][..12].iter().all(|number| (number - expected).abs() < 1e-5));
            }
            let mut partners: Vec<usize> = shares.iter().map(|share| share.partner).collect();
            partners.sort_unstable();
            assert_eq!(partners, (0..7).collect::<Vec<_>>());
        }
    }

    #[test]
    fn weights_are_the_shares_of_the_area() {
        let cutmix = mixing(&[Augmentation::Cutmix(Cutmix { alpha: 1.0 })]);
        for seed in 0..50 {
            let mut batch = numbered(5, 2 * 9 * 11);
            let shares = cutmix.mix(&mut batch, [5, 2, 9, 11], &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
            for (row, share) in shares.iter().enumerate() {
                let numbers = &batch[row * 198..][..198];
                let own = numbers.iter().filter(|number| **number == row as f32).count() as f32 / 198.0;
                assert!(share.partner == row || (own - share.weight).abs() < 1e-6, "{own} {share:?}");
                assert!(numbers.iter().all(|number| [row, share.partner].contains(&(*number as usize))));
            }
        }
    }

    #[test]
    fn boxes_are_torchvisions() {
        // From `CutMix.make_params` with r_x, r_y and lam set: (x1, y1, x2, y2) and lam_adjusted.
        for ([row, column], weight, [x1, y1, x2, y2], adjusted) in [
            ([10, 12], 0.75, [5, 4, 19, 16], 0.774_193_5),
            ([0, 0], 0.5, [0, 0, 10, 8], 0.892_473_1),
            ([23, 30], 0.2, [17, 13, 31, 24], 0.793_010_8),
            ([12, 15], 0.0, [0, 0, 30, 24], 0.032_258_064),
            ([5, 6], 1.0, [6, 5, 6, 5], 1.0),
        ] {
            let part = box_around([row, column], [24, 31], weight);
            assert_eq!(part, CropBox { top: y1, left: x1, height: y2 - y1, width: x2 - x1 });
            assert!((own_share([24, 31], part) - adjusted).abs() < 1e-6);
        }
    }

    #[test]
    fn weights_have_the_mean_and_variance_of_beta() {
        for (alpha, variance) in [(1.0, 1.0 / 12.0), (0.2, 0.25 / 1.4)] {
            let mixup = mixing(&[Augmentation::Mixup(Mixup { alpha })]);
            let mut rng = ChaCha8Rng::seed_from_u64(5);
            let weights: Vec<f64> = (0..10_000)
                .map(|_| f64::from(mixup.mix(&mut [0.0, 0.0], [2, 1, 1, 1], &mut rng).unwrap()[0].weight))
                .collect();
            let mean = weights.iter().sum::<f64>() / 1e4;
            let found = weights.iter().map(|weight| (weight - mean).powi(2)).sum::<f64>() / 1e4;
            assert!((mean - 0.5).abs() < 0.02 && (found / variance - 1.0).abs() < 0.05, "{alpha}: {mean} {found}");
        }
    }

    #[test]
    fn one_of_two_ways_is_drawn() {
        let both = mixing(&[Augmentation::Mixup(Mixup { alpha: 1.0 }), Augmentation::Cutmix(Cutmix { alpha: 1.0 })]);
        let is_cut = |seed| {
            let mut batch = numbered(2, 64);
            both.mix(&mut batch, [2, 1, 8, 8], &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
            batch.iter().all(|number| number.fract() == 0.0)
        };
        // Half of the batches of two have partners other than themselves, and half of those are blended.
        let cut = (0..1000).filter(|seed| is_cut(*seed)).count();
        assert!((700..800).contains(&cut), "{cut}");
        assert!(both.mix(&mut [0.0; 3], [2, 1, 1, 1], &mut ChaCha8Rng::seed_from_u64(1)).is_err());
        assert!(
            Mixing::new(&[]).unwrap().is_none()
                && both.mix(&mut [], [0, 3, 8, 8], &mut ChaCha8Rng::seed_from_u64(1)).is_ok()
        );
    }
}
