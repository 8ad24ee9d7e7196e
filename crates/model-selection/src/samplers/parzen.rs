//! Densities made of a kernel at each observation: the Parzen estimators of Optuna's TPE (`optuna/samplers/_tpe/parzen_estimator.py`; Watanabe 2023).
//!
//! The crate `optimizer` has some too. In its version 1.0.1 hyperparameters of equal ranges share their observations, and on one-dimensional parabolas it did
//! worse than random draws; hence this.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use statrs::function::erf::erfc;

use super::axis::Axis;

/// The widest range of whole numbers whose kernels are summed over each number's step; among more of them the density at a number is as good.
const MOST_STEPS: f64 = 1000.0;

/// The latest observations, which count in full; the weight of older ones falls evenly (Optuna's default).
const FRESH: usize = 25;

/// A weighted sum of kernels over some axes. The last kernel is the prior: even over places, and a bell as wide as the range in its middle.
pub struct Parzen {
    weights: Vec<f64>,
    along: Vec<Along>,
}

/// The kernels along an axis.
enum Along {
    Places { n: usize, seen: Vec<usize> },
    Line { axis: Axis, bells: Vec<Bell> },
}

#[derive(Clone, Copy)]
struct Bell {
    mean: f64,
    deviation: f64,
    /// The share of the whole bell that lies in the range.
    inside: f64,
    /// The logarithm of the density at the mean.
    log_peak: f64,
}

impl Parzen {
    /// Around observed points, the earliest first: [observations, axes].
    pub fn new(axes: &[Axis], points: &[&[f64]]) -> Self {
        let along = axes.iter().enumerate().map(|(at, &axis)| {
            let seen = points.iter().map(|point| point[at]);
            match axis {
                Axis::Places(n) => Along::Places { n, seen: seen.map(|place| place as usize).collect() },
                Axis::Whole(..) | Axis::Range(..) => {
                    Along::Line { axis, bells: bells(axis, &seen.collect::<Vec<_>>()) }
                }
            }
        });
        Self { along: along.collect(), weights: weights(points.len()) }
    }

    /// A draw: a kernel, and a place in it along each axis.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let kernel = pick(self.weights.iter().copied(), rng);
        self.along.iter().map(|along| along.draw(kernel, rng)).collect()
    }

    /// The logarithm of the density at a point of the space.
    pub fn log_density(&self, point: &[f64]) -> f64 {
        let mut logs: Vec<f64> = self.weights.iter().map(|weight| weight.ln()).collect();
        for (along, &at) in self.along.iter().zip(point) {
            along.add_log_densities(at, &mut logs);
        }
        let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        highest + logs.iter().map(|log| (log - highest).exp()).sum::<f64>().ln()
    }
}

impl Along {
    fn draw(&self, kernel: usize, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Places { n, seen } => pick((0..*n).map(|place| share_of(place, kernel, *n, seen)), rng) as f64,
            Self::Line { axis, bells } => axis.settled(bells[kernel].draw(axis.ends(), rng)),
        }
    }

    fn add_log_densities(&self, at: f64, logs: &mut [f64]) {
        match self {
            Self::Places { n, seen } => {
                logs.iter_mut()
                    .enumerate()
                    .for_each(|(kernel, log)| *log += share_of(at as usize, kernel, *n, seen).ln());
            }
            Self::Line { axis: Axis::Whole(low, high), bells } if high - low < MOST_STEPS => {
                logs.iter_mut().zip(bells).for_each(|(log, bell)| *log += bell.share(at - 0.5, at + 0.5).ln());
            }
            Self::Line { bells, .. } => logs.iter_mut().zip(bells).for_each(|(log, bell)| *log += bell.log_density(at)),
        }
    }
}

impl Bell {
    fn new(mean: f64, deviation: f64, (low, high): (f64, f64)) -> Self {
        let whole = Self { mean, deviation, inside: 1.0, log_peak: 0.0 };
        let inside = whole.share(low, high);
        Self { inside, log_peak: -(deviation * inside * (2.0 * std::f64::consts::PI).sqrt()).ln(), ..whole }
    }

    fn draw(&self, (low, high): (f64, f64), rng: &mut ChaCha8Rng) -> f64 {
        loop {
            let normal: f64 = StandardNormal.sample(rng);
            let at = self.mean + self.deviation * normal;
            // A third of each bell at least lies in the range, for none is wider than that.
            if (low..=high).contains(&at) {
                return at;
            }
        }
    }

    /// The share of the bell, as it is cut off, that lies between two places in the range.
    fn share(&self, from: f64, to: f64) -> f64 {
        let z = |at: f64| (at - self.mean) / self.deviation;
        // Above the mean the complements are told apart better.
        let share = if from > self.mean {
            normal_cdf(-z(from)) - normal_cdf(-z(to))
        } else {
            normal_cdf(z(to)) - normal_cdf(z(from))
        };
        share / self.inside
    }

    fn log_density(&self, at: f64) -> f64 {
        let z = (at - self.mean) / self.deviation;
        self.log_peak - 0.5 * z * z
    }
}

/// A bell at each observation that reaches to the farther of its neighbours, and the prior.
fn bells(axis: Axis, seen: &[f64]) -> Vec<Bell> {
    let (low, high) = axis.ends();
    let range = high - low;
    // What a few observations say is not exact, however near each other they are.
    let narrowest = range / (2.0 + seen.len() as f64).min(100.0);
    let around = seen.iter().zip(gaps(seen, low, high)).map(|(&mean, gap)| (mean, gap.clamp(narrowest, range)));
    around.chain([(f64::midpoint(low, high), range)]).map(|(mean, gap)| Bell::new(mean, gap, (low, high))).collect()
}

/// How far the farther neighbour of each observation is; that of a single one is the farther end.
fn gaps(seen: &[f64], low: f64, high: f64) -> Vec<f64> {
    if let [only] = seen {
        return vec![(only - low).max(high - only)];
    }
    let mut order: Vec<usize> = (0..seen.len()).collect();
    order.sort_by(|&a, &b| seen[a].total_cmp(&seen[b]));
    let mut gaps = vec![0.0_f64; seen.len()];
    for pair in order.windows(2) {
        let gap = seen[pair[1]] - seen[pair[0]];
        gaps[pair[0]] = gaps[pair[0]].max(gap);
        gaps[pair[1]] = gaps[pair[1]].max(gap);
    }
    gaps
}

/// The weights of so many observations, the earliest first, and of the prior; their sum is 1.
fn weights(n: usize) -> Vec<f64> {
    let n_old = n.saturating_sub(FRESH);
    let least = 1.0 / n.max(1) as f64;
    let ramp = |at: usize| least + (1.0 - least) * at as f64 / (n_old.max(2) - 1) as f64;
    let each = (0..n).map(|at| if at < n_old { ramp(at) } else { 1.0 }).chain([1.0]);
    let sum: f64 = each.clone().sum();
    each.map(|weight| weight / sum).collect()
}

/// The share of a place in a kernel: mostly that where the observation was; the prior's are equal.
fn share_of(place: usize, kernel: usize, n: usize, seen: &[usize]) -> f64 {
    let spread = 1.0 / (seen.len() + 1) as f64;
    match seen.get(kernel) {
        None => 1.0 / n as f64,
        Some(&at) => (spread + if at == place { 1.0 } else { 0.0 }) / (1.0 + n as f64 * spread),
    }
}

/// The position of a weight, drawn by the weights, whose sum is 1.
fn pick(weights: impl Iterator<Item = f64>, rng: &mut ChaCha8Rng) -> usize {
    let mut left = rng.random::<f64>();
    let mut last = 0;
    for (at, weight) in weights.enumerate() {
        left -= weight;
        if left < 0.0 {
            return at;
        }
        last = at;
    }
    last
}

fn normal_cdf(z: f64) -> f64 {
    0.5 * erfc(-z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        observed: Vec<Vec<f64>>,
        asked: Vec<Vec<f64>>,
        together: Vec<f64>,
        range: Vec<f64>,
    }

    #[test]
    fn densities_are_those_of_optuna() {
        let axes = [Axis::Places(3), Axis::Whole(1.0, 500.0), Axis::Range(-2.0, 3.0)];
        for Case { observed, asked, together, range } in super::super::tests::fixture::<Vec<Case>>("parzen") {
            let check = |axes: &[Axis], from: usize, expected: &[f64]| {
                let observed: Vec<&[f64]> = observed.iter().map(|point| &point[from..]).collect();
                let parzen = Parzen::new(axes, &observed);
                for (point, expected) in asked.iter().zip(expected) {
                    let density = parzen.log_density(&point[from..]);
                    assert!((density - expected).abs() < 1e-9, "{} observed: {density} {expected}", observed.len());
                }
            };
            check(&axes, 0, &together);
            check(&axes[2..], 2, &range);
        }
    }

    #[test]
    fn draws_follow_the_density() {
        let axes = [Axis::Places(3), Axis::Whole(1.0, 4.0)];
        let parzen = Parzen::new(&axes, &[&[0.0, 1.0], &[2.0, 3.0], &[2.0, 4.0]]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn: Vec<Vec<f64>> = (0..40_000).map(|_| parzen.draw(&mut rng)).collect();
        let mut sum = 0.0;
        for place in 0..3 {
            for number in 1..=4 {
                let point = [f64::from(place), f64::from(number)];
                let density = parzen.log_density(&point).exp();
                let share = drawn.iter().filter(|drawn| **drawn == point).count() as f64 / drawn.len() as f64;
                assert!((share - density).abs() < 0.01, "{point:?}: {share} {density}");
                sum += density;
            }
        }
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn many_whole_numbers_are_as_a_range() {
        let observed: [&[f64]; 2] = [&[20.0], &[900.0]];
        let [few, many] =
            [999.0, 1001.0].map(|high| Parzen::new(&[Axis::Whole(1.0, high)], &observed).log_density(&[300.0]));
        assert!((few - many).abs() < 0.01, "{few} {many}");
    }
}
