//! The rows of a training, in batches.

use std::ops::Range;

use ndarray::ArrayView2;
use retune_stage::{Device, Seed, Target};
use tch::{Kind, Tensor};

use crate::{Result, TensorError, device, network};

/// Rows that are computed together.
pub struct Batch {
    /// What the network sees [rows, ...].
    pub inputs: Tensor,
    /// Classes [rows] or values [rows, 1].
    pub targets: Tensor,
    /// The weights of the rows [rows], best around one.
    pub weights: Option<Tensor>,
    /// Where rows were mixed, what with.
    pub mixed: Option<Mixed>,
}

/// How rows of a batch were mixed with each other.
pub struct Mixed {
    /// The other row of each row, as a place in the batch [rows].
    pub partners: Tensor,
    /// The share of the row itself [rows]; the rest is the other's.
    pub shares: Tensor,
}

/// Batches, one after the other.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<Batch>> + 'a>;

/// Rows that a training goes through.
pub trait Supply {
    /// The number of rows.
    fn n_rows(&self) -> usize;

    /// The rows of `order`, those of an epoch, at each of `cuts`, as they are in training; whatever is drawn is drawn from `seed`, the row and the cut's place, which is
    /// `first` for the first of them. Asked for once an epoch, or once more where one goes on.
    fn batches(&self, order: &[u32], cuts: &[Range<usize>], first: usize, seed: Seed) -> Result<Batches<'_>>;

    /// All rows in their order, so many at once, as they are in prediction.
    fn plain(&self, at_once: usize) -> Result<Batches<'_>>;

    /// Whether a row is the same in each epoch.
    fn is_fixed(&self) -> bool;
}

/// Rows in memory with their targets and weights, on a device.
pub struct Examples {
    inputs: Tensor,
    targets: Tensor,
    weights: Option<Tensor>,
}

impl Examples {
    /// Rows on a device: features [rows, features], classes [rows] or values [rows, 1], and weights [rows], which are best around one.
    pub fn new(features: ArrayView2<f64>, target: &Target, weights: Option<&[f64]>, device: Device) -> Result<Self> {
        Self::of(network::matrix(features)?, target, weights, device)
    }

    /// The same of a tensor whose first dimension counts rows.
    pub fn of(inputs: Tensor, target: &Target, weights: Option<&[f64]>, device: Device) -> Result<Self> {
        let n_rows = inputs.size().first().map_or(0, |&rows| rows as usize);
        check(n_rows, target, weights)?;
        let device = device::resolve(device)?;
        Ok(Self {
            inputs: inputs.f_to(device)?,
            targets: targets(target)?.f_to(device)?,
            weights: weights.map(|weights| Ok::<_, TensorError>(floats(weights)?.f_to(device)?)).transpose()?,
        })
    }

    /// Rows whose inputs, targets and weights lie on a device.
    pub(crate) fn of_tensors(inputs: Tensor, targets: Tensor, weights: Option<Tensor>) -> Self {
        Self { inputs, targets, weights }
    }

    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.inputs.size().first().map_or(0, |&rows| rows as usize)
    }

    /// What the network sees [rows, ...].
    pub fn features(&self) -> &Tensor {
        &self.inputs
    }

    /// All rows at once.
    pub fn whole(&self) -> Batch {
        Batch {
            inputs: self.inputs.shallow_clone(),
            targets: self.targets.shallow_clone(),
            weights: self.weights.as_ref().map(Tensor::shallow_clone),
            mixed: None,
        }
    }

    /// The rows that `cut` takes out of each tensor.
    fn cut(&self, cut: impl Fn(&Tensor) -> Result<Tensor, tch::TchError>) -> Result<Batch> {
        Ok(Batch {
            inputs: cut(&self.inputs)?,
            targets: cut(&self.targets)?,
            weights: self.weights.as_ref().map(cut).transpose()?,
            mixed: None,
        })
    }
}

impl Supply for Examples {
    fn n_rows(&self) -> usize {
        Self::n_rows(self)
    }

    fn batches(&self, order: &[u32], cuts: &[Range<usize>], _: usize, _: Seed) -> Result<Batches<'_>> {
        let order: Vec<i64> = order.iter().map(|&row| i64::from(row)).collect();
        let order = Tensor::f_from_slice(&order)?.f_to(self.inputs.device())?;
        let cuts = cuts.to_vec();
        Ok(Box::new(cuts.into_iter().map(move |cut| {
            let chosen = order.f_narrow(0, cut.start as i64, cut.len() as i64)?;
            self.cut(|tensor| tensor.f_index_select(0, &chosen))
        })))
    }

    fn plain(&self, at_once: usize) -> Result<Batches<'_>> {
        let n_rows = self.n_rows();
        Ok(Box::new((0..n_rows).step_by(at_once.max(1)).map(move |start| {
            let length = at_once.min(n_rows - start);
            self.cut(|tensor| tensor.f_narrow(0, start as i64, length as i64))
        })))
    }

    fn is_fixed(&self) -> bool {
        true
    }
}

impl Batch {
    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.inputs.size().first().map_or(0, |&rows| rows as usize)
    }

    /// The rows of both, one after the other. Weights are one where only one side has them.
    pub(crate) fn joined(self, other: Self) -> Result<Self> {
        let (n_own, n_other) = (self.n_rows() as i64, other.n_rows() as i64);
        let ones = |like: &Tensor, n: i64| Tensor::f_ones([n], (Kind::Float, like.device()));
        let weights = match (&self.weights, &other.weights) {
            (None, None) => None,
            (own, theirs) => {
                let own = own.as_ref().map_or_else(|| ones(&self.inputs, n_own), |own| Ok(own.shallow_clone()))?;
                let theirs =
                    theirs.as_ref().map_or_else(|| ones(&other.inputs, n_other), |own| Ok(own.shallow_clone()))?;
                Some(Tensor::f_cat(&[own, theirs], 0)?)
            }
        };
        let mixed = if self.mixed.is_some() || other.mixed.is_some() {
            let part = |batch: &Self, first: i64, n: i64| match &batch.mixed {
                Some(mixed) => {
                    Ok::<_, TensorError>((mixed.partners.f_add_scalar(first)?, mixed.shares.shallow_clone()))
                }
                None => {
                    let places: Vec<i64> = (first..first + n).collect();
                    Ok((Tensor::f_from_slice(&places)?.f_to(batch.inputs.device())?, ones(&batch.inputs, n)?))
                }
            };
            let (own, theirs) = (part(&self, 0, n_own)?, part(&other, n_own, n_other)?);
            Some(Mixed {
                partners: Tensor::f_cat(&[own.0, theirs.0], 0)?,
                shares: Tensor::f_cat(&[own.1, theirs.1], 0)?,
            })
        } else {
            None
        };
        Ok(Self {
            inputs: Tensor::f_cat(&[&self.inputs, &other.inputs], 0)?,
            targets: Tensor::f_cat(&[&self.targets, &other.targets], 0)?,
            weights,
            mixed,
        })
    }
}

/// Rows of which each batch has a share of other rows besides: what was learned before is not forgotten.
pub struct Rehearsed<'a> {
    /// The rows that an epoch goes through.
    pub own: &'a dyn Supply,
    /// The rows of which each batch has some.
    pub other: &'a dyn Supply,
    /// Their share of a batch.
    pub share: f64,
}

impl Supply for Rehearsed<'_> {
    fn n_rows(&self) -> usize {
        self.own.n_rows()
    }

    fn batches(&self, order: &[u32], cuts: &[Range<usize>], first: usize, seed: Seed) -> Result<Batches<'_>> {
        let Some(size) = batch_size(cuts, first) else { return Ok(Box::new(std::iter::empty())) };
        let n_others = |n_own: usize| ((n_own as f64) * self.share / (1.0 - self.share)).round().max(1.0) as usize;
        // What the batches before took is drawn too, so that an epoch can begin anywhere.
        let mut end = first * n_others(size);
        let mut others = Vec::with_capacity(cuts.len());
        for cut in cuts {
            let start = end;
            end += n_others(cut.len());
            others.push(start..end);
        }
        let apart = seed.derive("rehearsal");
        let other = self.other.batches(&drawn(self.other.n_rows(), end, apart), &others, first, apart)?;
        let own = self.own.batches(order, cuts, first, seed)?;
        Ok(Box::new(own.zip(other).map(|(own, other)| own?.joined(other?))))
    }

    fn plain(&self, at_once: usize) -> Result<Batches<'_>> {
        self.own.plain(at_once)
    }

    fn is_fixed(&self) -> bool {
        false
    }
}

/// The rows of a batch, by where some batches of an epoch lie, of which the first is batch `first`; only the last batch of an epoch may have more or fewer. `None` where
/// there are none.
pub(crate) fn batch_size(cuts: &[Range<usize>], first: usize) -> Option<usize> {
    let cut = cuts.first()?;
    Some(cut.start.checked_div(first).unwrap_or(cut.len()))
}

/// So many rows in a drawn order, which goes on with another one where it ends.
fn drawn(n_rows: usize, n: usize, seed: Seed) -> Vec<u32> {
    let rounds = 0..n.div_ceil(n_rows.max(1));
    rounds.flat_map(|round| shuffled(n_rows, seed.derive(&round.to_string()))).take(n).collect()
}

/// The numbers below `n` in an order that a seed decides.
pub(crate) fn shuffled(n: usize, seed: Seed) -> Vec<u32> {
    use rand::SeedableRng;
    use rand::seq::SliceRandom;
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed.0));
    order
}

/// Fails where rows, targets and weights are not as many as each other.
pub(crate) fn check(n_rows: usize, target: &Target, weights: Option<&[f64]>) -> Result<()> {
    if n_rows > 0 && target.len() == n_rows && weights.is_none_or(|weights| weights.len() == n_rows) {
        return Ok(());
    }
    let n_weights = weights.map_or(n_rows, <[f64]>::len);
    Err(TensorError::failed(format!("{n_rows} rows have {} targets and {n_weights} weights", target.len())))
}

/// Classes [rows] or values [rows, 1].
pub(crate) fn targets(target: &Target) -> Result<Tensor> {
    Ok(match target {
        Target::Classes { codes, .. } => {
            Tensor::f_from_slice(&codes.iter().map(|&code| i64::from(code)).collect::<Vec<_>>())?
        }
        Target::Values(values) => floats(values)?.f_reshape([-1, 1])?,
    })
}

pub(crate) fn floats(values: &[f64]) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(&values.iter().map(|&value| value as f32).collect::<Vec<_>>())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use ndarray::Array2;

    use super::*;

    fn numbered(n_rows: usize, from: usize) -> Examples {
        let features = Array2::from_shape_fn((n_rows, 1), |(row, _)| (from + row) as f64);
        Examples::new(features.view(), &Target::Values(vec![0.0; n_rows]), None, Device::Cpu).unwrap()
    }

    #[test]
    fn rehearsal_begins_at_any_batch_and_goes_through_all_rows() {
        let (own, other) = (numbered(11, 0), numbered(5, 100));
        let rehearsed = Rehearsed { own: &own, other: &other, share: 0.5 };
        let order = shuffled(11, Seed(1));
        // The last batch has taken in the one row that was left.
        let cuts = [0..2, 2..4, 4..6, 6..8, 8..11];
        let from = |first: usize| -> Vec<Vec<f32>> {
            let batches = rehearsed.batches(&order, &cuts[first..], first, Seed(2)).unwrap();
            batches.map(|batch| crate::fixture::values(&batch.unwrap().inputs)).collect()
        };
        let whole = from(0);
        assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4, 4, 6]);
        for first in 1..=cuts.len() {
            assert_eq!(from(first), whole[first..], "from batch {first}");
        }
        let mut others: Vec<f32> = whole.into_iter().flatten().filter(|value| *value >= 100.0).collect();
        others.truncate(10);
        others.sort_by(f32::total_cmp);
        let twice: Vec<f32> = (100..105).flat_map(|row| [row as f32; 2]).collect();
        assert_eq!(others, twice);
    }
}
