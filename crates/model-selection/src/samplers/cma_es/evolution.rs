//! A normal distribution in a cube that moves to where scores are best.

use faer::{Mat, Side};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// The deviation that a search begins with along each edge, around the middle: that of Optuna. With the 0.3 that the tutorial advises, 50 trials end farther from
/// the optimum on each of eleven functions.
const FIRST_STEP: f64 = 1.0 / 6.0;

/// How often a draw outside the cube is drawn again before it is moved to the nearest place inside.
const REDRAWS: usize = 100;

/// The least deviation along whole numbers, in steps, so that their neighbours keep being tried.
const LEAST_STEPS: f64 = 0.2;

/// A search ends, and another begins, when its deviations are smaller than this, or one of them is so many times another.
const LEAST_DEVIATION: f64 = 1e-12;
const MOST_ECCENTRIC: f64 = 1e7;

pub struct Evolution {
    /// The share of each edge that a step of its values takes; 0 where they have none.
    steps: Vec<f64>,
    population: usize,
    normal: Normal,
}

/// The distribution, and what it remembers of its way.
struct Normal {
    n_generations: i32,
    mean: Vec<f64>,
    sigma: f64,
    covariance: Mat<f64>,
    /// Eigenvectors of the covariance as columns, and the roots of its eigenvalues.
    directions: Mat<f64>,
    deviations: Vec<f64>,
    path_sigma: Vec<f64>,
    path_covariance: Vec<f64>,
}

/// The strategy's parameters for a generation of a size (table 1 of the tutorial).
struct Parameters {
    /// Of the best first; those of the worse half are negative.
    weights: Vec<f64>,
    /// How many independent members the better half is worth.
    mass: f64,
    c_sigma: f64,
    d_sigma: f64,
    c_c: f64,
    c_1: f64,
    c_mu: f64,
}

impl Evolution {
    pub fn new(steps: Vec<f64>) -> Self {
        let n = steps.len();
        let population = 4 + (3.0 * (n as f64).ln()).floor() as usize;
        Self { steps, population, normal: Normal::around(vec![0.5; n]) }
    }

    /// How many members a generation has.
    pub fn population(&self) -> usize {
        self.population
    }

    /// A point of the cube.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let is_inside = |point: &Vec<f64>| point.iter().all(|at| (0.0..=1.0).contains(at));
        let inside = (0..REDRAWS).map(|_| self.normal.draw(rng)).find(is_inside);
        let mut point = inside.unwrap_or_else(|| self.normal.draw(rng));
        point.iter_mut().for_each(|at| *at = at.clamp(0.0, 1.0));
        point
    }

    /// Learns from a generation: its points, with scores of which more is better.
    pub fn advance(&mut self, mut generation: Vec<(Vec<f64>, f64)>, rng: &mut ChaCha8Rng) {
        // Trials that all failed tell of no direction.
        if generation.iter().all(|(_, score)| *score == f64::NEG_INFINITY) {
            return;
        }
        generation.sort_by(|a, b| b.1.total_cmp(&a.1));
        let points: Vec<Vec<f64>> = generation.into_iter().map(|(point, _)| point).collect();
        self.normal.learn(&points);
        if !(self.normal.widen(&self.steps) && self.normal.is_of_use()) {
            self.population *= 2;
            self.normal = Normal::around(self.steps.iter().map(|_| rng.random()).collect());
        }
    }
}

impl Normal {
    fn around(mean: Vec<f64>) -> Self {
        let n = mean.len();
        Self {
            n_generations: 0,
            mean,
            sigma: FIRST_STEP,
            covariance: Mat::identity(n, n),
            directions: Mat::identity(n, n),
            deviations: vec![1.0; n],
            path_sigma: vec![0.0; n],
            path_covariance: vec![0.0; n],
        }
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let scaled: Vec<f64> = self
            .deviations
            .iter()
            .map(|deviation| -> f64 {
                let z: f64 = StandardNormal.sample(rng);
                z * deviation
            })
            .collect();
        let offset = |at: usize| -> f64 { scaled.iter().enumerate().map(|(k, z)| self.directions[(at, k)] * z).sum() };
        (0..self.mean.len()).map(|at| self.mean[at] + self.sigma * offset(at)).collect()
    }

    /// The generation's points, the best first.
    fn learn(&mut self, points: &[Vec<f64>]) {
        let n = self.mean.len();
        let dimensions = n as f64;
        let Parameters { weights, mass, c_sigma, d_sigma, c_c, c_1, c_mu } = Parameters::of(points.len(), n);
        let offsets: Vec<Vec<f64>> = points
            .iter()
            .map(|point| point.iter().zip(&self.mean).map(|(at, mean)| (at - mean) / self.sigma).collect())
            .collect();
        let mut way = vec![0.0; n];
        for (offset, weight) in offsets.iter().zip(&weights).filter(|(_, weight)| **weight > 0.0) {
            way.iter_mut().zip(offset).for_each(|(way, offset)| *way += weight * offset);
        }
        self.mean.iter_mut().zip(&way).for_each(|(mean, way)| *mean += self.sigma * way);

        // Step-size control: the way so far beside that of a random walk.
        let whitened = self.whitened(&way);
        let gain = (c_sigma * (2.0 - c_sigma) * mass).sqrt();
        blend(&mut self.path_sigma, 1.0 - c_sigma, &whitened, gain);
        self.n_generations = self.n_generations.saturating_add(1);
        let expected = dimensions.sqrt() * (1.0 - 1.0 / (4.0 * dimensions) + 1.0 / (21.0 * dimensions * dimensions));
        let length = square(&self.path_sigma).sqrt();
        let settled = (1.0 - (1.0 - c_sigma).powi(self.n_generations.saturating_mul(2))).sqrt();
        let is_steady = length / settled < (1.4 + 2.0 / (dimensions + 1.0)) * expected;
        let h_sigma = if is_steady { 1.0 } else { 0.0 };

        // Covariance: the path (rank one) and the generation's members (rank mu).
        blend(&mut self.path_covariance, 1.0 - c_c, &way, h_sigma * (c_c * (2.0 - c_c) * mass).sqrt());
        let of_members: Vec<f64> = offsets
            .iter()
            .zip(&weights)
            .map(|(offset, &weight)| {
                // A bad member far away must not make the matrix indefinite.
                if weight < 0.0 { weight * dimensions / square(&self.whitened(offset)).max(1e-300) } else { weight }
            })
            .collect();
        let stalled = (1.0 - h_sigma) * c_c * (2.0 - c_c);
        let kept = 1.0 + c_1 * stalled - c_1 - c_mu * weights.iter().sum::<f64>();
        let path = &self.path_covariance;
        let members = |i: usize, j: usize| -> f64 {
            offsets.iter().zip(&of_members).map(|(offset, weight)| weight * offset[i] * offset[j]).sum()
        };
        self.covariance = Mat::from_fn(n, n, |i, j| {
            let (i, j) = (i.max(j), i.min(j));
            kept * self.covariance[(i, j)] + c_1 * path[i] * path[j] + c_mu * members(i, j)
        });
        self.sigma *= (c_sigma / d_sigma * (length / expected - 1.0)).exp();
    }

    /// In directions of the covariance, in deviations along them, and back: C^(-1/2) times an offset.
    fn whitened(&self, offset: &[f64]) -> Vec<f64> {
        let n = offset.len();
        let along = |k: usize| -> f64 {
            (0..n).map(|at| self.directions[(at, k)] * offset[at]).sum::<f64>() / self.deviations[k]
        };
        let along: Vec<f64> = (0..n).map(along).collect();
        (0..n).map(|at| (0..n).map(|k| self.directions[(at, k)] * along[k]).sum()).collect()
    }

    /// Keeps whole numbers moving, and decomposes the covariance; false if it cannot be.
    fn widen(&mut self, steps: &[f64]) -> bool {
        for (at, step) in steps.iter().enumerate() {
            let least = (LEAST_STEPS * step / self.sigma).powi(2);
            self.covariance[(at, at)] = self.covariance[(at, at)].max(least);
        }
        let Ok(eigen) = self.covariance.self_adjoint_eigen(Side::Lower) else { return false };
        self.deviations = eigen.S().column_vector().iter().map(|value| value.sqrt()).collect();
        self.directions = eigen.U().to_owned();
        true
    }

    fn is_of_use(&self) -> bool {
        let least = self.deviations.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.deviations.iter().copied().fold(0.0, f64::max);
        // Roots of negative eigenvalues, which rounding leaves, are not numbers.
        let is_sound = self.sigma.is_finite() && self.deviations.iter().all(|deviation| deviation.is_finite());
        is_sound && self.sigma * most > LEAST_DEVIATION && most < MOST_ECCENTRIC * least
    }
}

impl Parameters {
    fn of(population: usize, n: usize) -> Self {
        let n = n as f64;
        let raw: Vec<f64> =
            (1..=population).map(|rank| ((population as f64 + 1.0) / 2.0).ln() - (rank as f64).ln()).collect();
        let (better, worse) = raw.split_at(population / 2);
        let mass = mass_of(better);
        let c_1 = 2.0 / ((n + 1.3).powi(2) + mass);
        let c_mu = (2.0 * (mass + 1.0 / mass - 2.0) / ((n + 2.0).powi(2) + mass)).min(1.0 - c_1);
        let c_sigma = (mass + 2.0) / (n + mass + 5.0);
        let negative =
            (1.0 + c_1 / c_mu).min(1.0 + 2.0 * mass_of(worse) / (mass + 2.0)).min((1.0 - c_1 - c_mu) / (n * c_mu));
        let (above, below) =
            raw.iter().fold((0.0, 0.0), |(above, below), weight| (above + weight.max(0.0), below - weight.min(0.0)));
        let weights = raw.iter().map(|weight| if *weight >= 0.0 { weight / above } else { negative * weight / below });
        Self {
            weights: weights.collect(),
            mass,
            c_sigma,
            d_sigma: 1.0 + 2.0 * (((mass - 1.0) / (n + 1.0)).sqrt() - 1.0).max(0.0) + c_sigma,
            c_c: (4.0 + mass / n) / (n + 4.0 + 2.0 * mass / n),
            c_1,
            c_mu,
        }
    }
}

/// The squared sum of weights over the sum of their squares.
fn mass_of(weights: &[f64]) -> f64 {
    weights.iter().sum::<f64>().powi(2) / square(weights)
}

fn square(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum()
}

fn blend(vector: &mut [f64], keep: f64, other: &[f64], gain: f64) {
    vector.iter_mut().zip(other).for_each(|(value, other)| *value = keep * *value + gain * other);
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Generation {
        points: Vec<Vec<f64>>,
        scores: Vec<f64>,
        mean: Vec<f64>,
        sigma: f64,
        covariance: Vec<Vec<f64>>,
    }

    #[test]
    fn generations_move_the_distribution_as_in_the_reference() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for generations in super::super::super::tests::fixture::<Vec<Vec<Generation>>>("evolution") {
            let n = generations[0].mean.len();
            let mut evolution = Evolution::new(vec![0.0; n]);
            for Generation { points, scores, mean, sigma, covariance } in generations {
                assert_eq!(points.len(), evolution.population());
                evolution.advance(points.into_iter().zip(scores).collect(), &mut rng);
                let Normal { mean: our_mean, sigma: our_sigma, covariance: ours, .. } = &evolution.normal;
                let near = |ours: f64, expected: f64| {
                    assert!((ours - expected).abs() < 1e-7 * expected.abs().max(1.0), "{ours} {expected}");
                };
                near(*our_sigma, sigma);
                our_mean.iter().zip(&mean).for_each(|(ours, expected)| near(*ours, *expected));
                (0..n * n).for_each(|cell| near(ours[(cell / n, cell % n)], covariance[cell / n][cell % n]));
            }
        }
    }

    #[test]
    fn a_distribution_without_extent_begins_anew_with_twice_the_population() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut evolution = Evolution::new(vec![0.0; 2]);
        evolution.normal.sigma = 1e-14;
        evolution.advance(vec![(vec![0.5, 0.5], 1.0); 6], &mut rng);
        assert_eq!((evolution.population(), evolution.normal.sigma), (12, FIRST_STEP));
    }

    #[test]
    fn whole_numbers_keep_moving() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut evolution = Evolution::new(vec![0.1, 0.0]);
        evolution.normal.sigma = 1e-6;
        evolution.advance((0..6).map(|at| (vec![0.5, 0.5 + 1e-6 * f64::from(at)], f64::from(at))).collect(), &mut rng);
        let drawn: Vec<Vec<f64>> = (0..200).map(|_| evolution.draw(&mut rng)).collect();
        let spread = |at: usize| drawn.iter().map(|point| (point[at] - 0.5).abs()).fold(0.0, f64::max);
        assert!(spread(0) > 0.03 && spread(1) < 1e-4, "{} {}", spread(0), spread(1));
    }
}
