//! How the learning rate changes over a training.

use std::f64::consts::PI;

use retune_spec::estimators::LearningRateSchedule;

/// A schedule over a training of so many epochs.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// How the rate changes once it has risen.
    pub kind: LearningRateSchedule,
    /// The full rate.
    pub learning_rate: f64,
    /// Epochs over which the rate rises along a line before.
    pub warm_up: f64,
    /// Epochs of the whole training.
    pub epochs: usize,
}

impl Schedule {
    /// The rate of a step: that of `batch` in `epoch`, both counted from 0, where an epoch has `n_batches`. `losses` are those of the validation rows after each
    /// epoch so far.
    pub fn rate(&self, epoch: usize, batch: usize, n_batches: usize, losses: &[f64]) -> f64 {
        let (step, n_steps) = (epoch * n_batches + batch, self.epochs * n_batches);
        let rising = (self.warm_up * n_batches as f64).round() as usize;
        if step < rising {
            return self.learning_rate * (step + 1) as f64 / rising as f64;
        }
        let (step, n_steps) = ((step - rising) as f64, n_steps.saturating_sub(rising).max(1) as f64);
        let (epoch, epochs) = (step / n_batches as f64, n_steps / n_batches as f64);
        let share = match self.kind {
            LearningRateSchedule::Constant => 1.0,
            LearningRateSchedule::Cosine => along_cosine(1.0, 0.0, step / n_steps),
            LearningRateSchedule::CosineRestarts(restarts) => {
                let (mut passed, mut length) = (epoch, restarts.first as f64);
                while passed >= length {
                    passed -= length;
                    length *= restarts.growth as f64;
                }
                along_cosine(1.0, 0.0, passed / length)
            }
            LearningRateSchedule::Step(steps) => {
                let parts = (steps.times + 1) as f64;
                let passed = (1..=steps.times).filter(|&part| epoch.floor() * parts >= part as f64 * epochs).count();
                steps.factor.powi(passed as i32)
            }
            LearningRateSchedule::OneCycle => one_cycle(step, n_steps),
            LearningRateSchedule::Polynomial(polynomial) => (1.0 - step / n_steps).powf(polynomial.power),
            LearningRateSchedule::Plateau(plateau) => plateau.factor.powi(n_plateaus(losses, plateau.patience) as i32),
        };
        self.learning_rate * share
    }
}

/// From `start` to `end` along half a cosine, of which `passed` lies behind.
fn along_cosine(start: f64, end: f64, passed: f64) -> f64 {
    end + (start - end) * 0.5 * (1.0 + (PI * passed).cos())
}

/// PyTorch's `OneCycleLR` with its defaults, for a greatest rate of one.
fn one_cycle(step: f64, n_steps: f64) -> f64 {
    let (lowest, last) = (1.0 / 25.0, 1e-4 / 25.0);
    let peak = 0.3 * n_steps - 1.0;
    if step <= peak {
        along_cosine(lowest, 1.0, step / peak)
    } else {
        along_cosine(1.0, last, (step - peak) / (n_steps - 1.0 - peak))
    }
}

/// How often losses stopped falling for more than `patience` epochs: PyTorch's `ReduceLROnPlateau`, whose losses must fall by one in ten thousand to count.
fn n_plateaus(losses: &[f64], patience: usize) -> usize {
    let (mut best, mut bad, mut plateaus) = (f64::INFINITY, 0, 0);
    for &loss in losses {
        if loss < best * (1.0 - 1e-4) {
            (best, bad) = (loss, 0);
        } else {
            bad += 1;
        }
        if bad > patience {
            (plateaus, bad) = (plateaus + 1, 0);
        }
    }
    plateaus
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use retune_spec::estimators::{CosineRestarts, Plateau, Polynomial};

    use super::*;
    use crate::fixture;

    #[test]
    fn rates_are_pytorchs() {
        for case in fixture::read().rates {
            let schedule = Schedule { kind: case.schedule, learning_rate: 0.1, warm_up: 0.0, epochs: case.epochs };
            let steps = (0..case.epochs).flat_map(|epoch| (0..case.n_batches).map(move |batch| (epoch, batch)));
            for ((epoch, batch), expected) in steps.zip(&case.rates) {
                let rate = schedule.rate(epoch, batch, case.n_batches, &[]);
                assert!(
                    (rate - expected).abs() < 1e-12,
                    "{:?}, epoch {epoch}, batch {batch}: {rate} {expected}",
                    case.schedule
                );
            }
        }
    }

    #[test]
    fn further_schedules_are_pytorchs() {
        let fixture = fixture::options();
        let (mut n_checked, rate) = (0, 0.1);
        for case in &fixture.schedules {
            let number = |key: &str| case.options.get(key).and_then(serde_json::Value::as_f64);
            let (kind, epochs) = match case.schedule.as_str() {
                "cosine_warm_restarts" if number("eta_min").is_none() => {
                    let growth = number("T_mult").unwrap_or(1.0) as usize;
                    let restarts = CosineRestarts { first: number("T_0").unwrap() as usize, growth };
                    (LearningRateSchedule::CosineRestarts(restarts), case.rates.len())
                }
                "polynomial" => {
                    let polynomial = Polynomial { power: number("power").unwrap_or(1.0) };
                    (LearningRateSchedule::Polynomial(polynomial), number("total_iters").unwrap() as usize)
                }
                _ => continue,
            };
            n_checked += 1;
            let schedule = Schedule { kind, learning_rate: rate, warm_up: 0.0, epochs };
            for (epoch, expected) in case.rates.iter().enumerate().take(epochs) {
                let ours = schedule.rate(epoch, 0, 1, &[]);
                assert!((ours - expected).abs() < 1e-12, "{} {:?}: {ours} {expected}", case.schedule, case.options);
            }
        }
        assert_eq!(n_checked, 4);
        for (case, least) in fixture.plateau.cases.iter().zip([0.0, 1e-6]) {
            let factor = case.options["factor"].as_f64().unwrap();
            let patience = case.options["patience"].as_u64().unwrap() as usize;
            let kind = LearningRateSchedule::Plateau(Plateau { factor, patience });
            let schedule = Schedule { kind, learning_rate: rate, warm_up: 0.0, epochs: 100 };
            for (at, expected) in case.rates.iter().enumerate().filter(|(_, rate)| **rate > least) {
                let ours = schedule.rate(at + 1, 0, 1, &fixture.plateau.losses[..=at]);
                assert!((ours / expected - 1.0).abs() < 1e-9, "{:?}, loss {at}: {ours} {expected}", case.options);
            }
        }
    }

    #[test]
    fn a_rate_rises_along_a_line_before_its_schedule_begins() {
        let kind = LearningRateSchedule::Constant;
        let schedule = Schedule { kind, learning_rate: 0.4, warm_up: 1.0, epochs: 5 };
        let rates: Vec<f64> = (0..6).map(|step| schedule.rate(step / 4, step % 4, 4, &[])).collect();
        assert_eq!(rates, [0.1, 0.2, 0.30000000000000004, 0.4, 0.4, 0.4]);
        let cosine = Schedule { kind: LearningRateSchedule::Cosine, ..schedule };
        // The schedule itself takes what is left of the training.
        let plain = Schedule { warm_up: 0.0, epochs: 4, ..cosine };
        assert_eq!(cosine.rate(3, 2, 4, &[]), plain.rate(2, 2, 4, &[]));
    }
}
