//! How far a score can be trusted: the percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, chapter 13).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_spec::Metric;
use serde::{Deserialize, Serialize};

use crate::scorer::Scorer;
use crate::{MetricError, Prediction, Truth};

/// A score, or the difference of two, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The score of the rows as they are.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Resamples that were left out because the score is not defined for them.
    pub undefined: usize,
}

/// A score with its interval: `confidence` of `resamples` draws of the rows lie within. The same seed draws the same rows whatever is scored and
/// however many threads there are.
pub fn interval(
    metric: Metric,
    truth: &Truth,
    prediction: &Prediction,
    resamples: usize,
    confidence: f64,
    seed: u64,
) -> Result<Interval, MetricError> {
    let scorer = Scorer::new(metric, truth, prediction)?;
    resampled(metric, truth.len(), Bootstrap { resamples, confidence, seed }, |counts| scorer.score(counts))
}

/// The score of `b` minus the score of `a`, with its interval. Both are scored on the same resamples, so that what makes rows easy or hard for both
/// does not widen it.
pub fn paired_difference(
    metric: Metric,
    truth: &Truth,
    a: &Prediction,
    b: &Prediction,
    resamples: usize,
    confidence: f64,
    seed: u64,
) -> Result<Interval, MetricError> {
    let a = Scorer::new(metric, truth, a)?;
    let b = Scorer::new(metric, truth, b)?;
    let bootstrap = Bootstrap { resamples, confidence, seed };
    resampled(metric, truth.len(), bootstrap, |counts| Ok(b.score(counts)? - a.score(counts)?))
}

#[derive(Clone, Copy)]
struct Bootstrap {
    resamples: usize,
    confidence: f64,
    seed: u64,
}

fn resampled(
    metric: Metric,
    n_rows: usize,
    bootstrap: Bootstrap,
    score: impl Fn(&[u32]) -> Result<f64, MetricError> + Sync,
) -> Result<Interval, MetricError> {
    let value = score(&vec![1; n_rows])?;
    let one = |counts: &mut Vec<u32>, resample: usize| {
        draw(counts, bootstrap.seed, resample as u64);
        score(counts).ok()
    };
    let scores = (0..bootstrap.resamples).into_par_iter().map_init(|| vec![0; n_rows], one).collect::<Vec<_>>();
    let mut defined: Vec<f64> = scores.into_iter().flatten().collect();
    if defined.is_empty() {
        return Err(MetricError::NoResample { metric, resamples: bootstrap.resamples });
    }
    defined.sort_by(f64::total_cmp);
    let tail = (1.0 - bootstrap.confidence) / 2.0;
    let (low, high) = (quantile(&defined, tail), quantile(&defined, 1.0 - tail));
    Ok(Interval { value, low, high, undefined: bootstrap.resamples - defined.len() })
}

/// How often each row is drawn. A stream of its own for every resample makes it independent of who computes the others.
fn draw(counts: &mut [u32], seed: u64, resample: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(resample);
    counts.fill(0);
    let n_rows = counts.len() as u32;
    for _ in 0..n_rows {
        counts[random.random_range(0..n_rows) as usize] += 1;
    }
}

/// The quantile of sorted values, interpolated linearly as NumPy does.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}
