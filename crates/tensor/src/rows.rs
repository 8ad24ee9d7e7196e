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

    /// The rows of `order` at each of `cuts`, as they are in training; whatever is drawn is drawn from `seed`, the row and the cut's place, which is `first` for the
    /// first of them.
    fn batches<'a>(
        &'a self,
        order: &'a [u32],
        cuts: &'a [Range<usize>],
        first: usize,
        seed: Seed,
    ) -> Result<Batches<'a>>;

    /// All rows in their order, so many at once, as they are in prediction.
    fn plain<'a>(&'a self, at_once: usize) -> Result<Batches<'a>>;

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

    fn batches<'a>(&'a self, order: &'a [u32], cuts: &'a [Range<usize>], _: usize, _: Seed) -> Result<Batches<'a>> {
        let order: Vec<i64> = order.iter().map(|&row| i64::from(row)).collect();
        let order = Tensor::f_from_slice(&order)?.f_to(self.inputs.device())?;
        Ok(Box::new(cuts.iter().map(move |cut| {
            let chosen = order.f_narrow(0, cut.start as i64, cut.len() as i64)?;
            self.cut(|tensor| tensor.f_index_select(0, &chosen))
        })))
    }

    fn plain<'a>(&'a self, at_once: usize) -> Result<Batches<'a>> {
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

    fn batches<'a>(
        &'a self,
        order: &'a [u32],
        cuts: &'a [Range<usize>],
        first: usize,
        seed: Seed,
    ) -> Result<Batches<'a>> {
        let n_others =
            |cut: &Range<usize>| ((cut.len() as f64) * self.share / (1.0 - self.share)).round().max(1.0) as usize;
        // What the batches before took is left out, so that an epoch can begin anywhere.
        let per_batch = cuts.first().map_or(1, n_others);
        let mut drawn = Drawn::new(self.other.n_rows(), seed.derive("rehearsal"), first * per_batch);
        let mut parts = Vec::with_capacity(cuts.len());
        for (place, cut) in cuts.iter().enumerate() {
            let rows: Vec<u32> = (0..n_others(cut)).map(|_| drawn.next()).collect();
            let whole = 0..rows.len();
            parts.push((first + place, rows, whole));
        }
        let own = self.own.batches(order, cuts, first, seed)?;
        let mut parts = parts.into_iter();
        Ok(Box::new(own.map(move |batch| {
            let (place, rows, whole) = parts.next().ok_or_else(|| TensorError::failed("a batch has no rehearsal"))?;
            let cuts = [whole];
            let mut other = self.other.batches(&rows, &cuts, place, seed.derive("rehearsal"))?;
            let other = other.next().ok_or_else(|| TensorError::failed("a batch has no rehearsal"))??;
            batch?.joined(other)
        })))
    }

    fn plain<'a>(&'a self, at_once: usize) -> Result<Batches<'a>> {
        self.own.plain(at_once)
    }

    fn is_fixed(&self) -> bool {
        false
    }
}

/// Rows in a drawn order, again and again in another one.
struct Drawn {
    n_rows: usize,
    seed: Seed,
    order: Vec<u32>,
    round: u64,
    at: usize,
}

impl Drawn {
    fn new(n_rows: usize, seed: Seed, skipped: usize) -> Self {
        let (round, at) = ((skipped / n_rows.max(1)) as u64, skipped % n_rows.max(1));
        Self { n_rows, seed, order: shuffled(n_rows, seed.derive(&round.to_string())), round, at }
    }

    fn next(&mut self) -> u32 {
        if self.at == self.n_rows {
            self.round += 1;
            self.order = shuffled(self.n_rows, self.seed.derive(&self.round.to_string()));
            self.at = 0;
        }
        self.at += 1;
        self.order[self.at - 1]
    }
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
