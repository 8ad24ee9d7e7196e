//! A density on a range made of a bell at each observation: the Parzen estimator of Optuna's univariate TPE.
//!
//! The crate `optimizer` has one too. In its version 1.0.1 hyperparameters of equal ranges share their observations, and on one-dimensional parabolas it did
//! worse than random draws; hence this.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Bells cut off at the ends of a range, of equal weight.
pub struct Parzen {
    low: f64,
    high: f64,
    bells: Vec<Bell>,
}

struct Bell {
    mean: f64,
    deviation: f64,
    /// The share of the whole bell that lies in the range.
    inside: f64,
}

impl Parzen {
    /// Around observations in a range. A wide bell in the middle of the range is added as prior; each bell reaches to the farther of its neighbours.
    pub fn new(observations: &[f64], low: f64, high: f64) -> Self {
        let range = high - low;
        let prior = f64::midpoint(low, high);
        let mut means: Vec<f64> = observations.to_vec();
        means.push(prior);
        means.sort_by(f64::total_cmp);
        let narrowest = range / (1.0 + means.len() as f64).min(100.0);
        let mut is_prior_left = true;
        let bells = (0..means.len()).map(|at| {
            let mean = means[at];
            let deviation = if mean == prior && std::mem::take(&mut is_prior_left) {
                range
            } else {
                let left = mean - if at == 0 { low } else { means[at - 1] };
                let right = means.get(at + 1).unwrap_or(&high) - mean;
                left.max(right).clamp(narrowest, range)
            };
            let share = |end: f64| normal_cdf((end - mean) / deviation);
            Bell { mean, deviation, inside: share(high) - share(low) }
        });
        let bells = bells.collect();
        Self { low, high, bells }
    }

    /// A draw.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> f64 {
        let bell = &self.bells[rng.random_range(0..self.bells.len())];
        loop {
            let at = bell.mean + bell.deviation * normal(rng);
            // A third of each bell at least lies in the range, for none is wider than that.
            if (self.low..=self.high).contains(&at) {
                return at;
            }
        }
    }

    /// The logarithm of the density at a place in the range.
    pub fn log_density(&self, at: f64) -> f64 {
        let density =
            |bell: &Bell| (-0.5 * ((at - bell.mean) / bell.deviation).powi(2)).exp() / (bell.deviation * bell.inside);
        let sum: f64 = self.bells.iter().map(density).sum();
        (sum / (self.bells.len() as f64 * (2.0 * std::f64::consts::PI).sqrt())).ln()
    }
}

/// A normal draw (Box and Muller).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (2.0 * std::f64::consts::PI * rng.random::<f64>()).cos()
}

/// The normal distribution function to 1e-7 (Abramowitz and Stegun, 7.1.26).
fn normal_cdf(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let polynomial =
        t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let upper = 0.5 * polynomial * (-x * x).exp();
    if z < 0.0 { upper } else { 1.0 - upper }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_density_sums_to_one_and_draws_follow_it() {
        let parzen = Parzen::new(&[0.1, 0.15, 0.9], 0.0, 1.0);
        let steps = 10_000;
        let density = |step: usize| parzen.log_density((step as f64 + 0.5) / steps as f64).exp() / steps as f64;
        let below: f64 = (0..steps / 4).map(density).sum();
        let whole: f64 = (0..steps).map(density).sum();
        assert!((whole - 1.0).abs() < 1e-5, "{whole}");
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn = (0..20_000).filter(|_| parzen.draw(&mut rng) < 0.25).count() as f64 / 20_000.0;
        assert!((drawn - below).abs() < 0.02, "{drawn} {below}");
    }

    #[test]
    fn the_distribution_function_is_the_normal_one() {
        // scipy.stats.norm.cdf
        for (z, expected) in
            [(0.0, 0.5), (1.0, 0.841_344_746_068_543), (-2.0, 0.022_750_131_948_179), (4.0, 0.999_968_328_758_167)]
        {
            assert!((normal_cdf(z) - expected).abs() < 2e-7, "{z}");
        }
    }
}
