//! Tree-structured Parzen estimator (Bergstra et al. 2011), with the settings of Optuna 5 (Watanabe 2023) but for two that `just bench model-selection` found better.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::axis::Axis;
use super::parzen::Parzen;

/// Trials that are drawn at random before it begins to learn (Optuna's default).
const STARTUP_TRIALS: usize = 10;

/// The share of trials that count as good. With Optuna's tenth, what is left to gain after 50 trials is a sixth greater (a quarter with one density over all axes),
/// over eleven functions and 200 seeds; with a fifth it is greater than with this where axes are seen by themselves.
const GOOD_SHARE: f64 = 0.15;

/// The greatest number of trials that count as good (Optuna's default).
const MOST_GOOD: usize = 25;

/// How axes are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Each by itself (Bergstra et al. 2011).
    Each,
    /// By one density over all of them (Falkner et al. 2018).
    Together,
}

impl View {
    /// Points that are drawn from the good trials' density, to choose from: Optuna's default for one axis, which more of them would make greedy; a point of many
    /// axes is rarely good in all of them.
    fn draws(self) -> usize {
        match self {
            Self::Each => 24,
            Self::Together => 64,
        }
    }
}

/// Draws from where good trials were and bad ones were not.
pub struct Tpe {
    axes: Vec<Axis>,
    view: View,
    told: Vec<(Vec<f64>, f64)>,
    pending: Vec<Vec<f64>>,
}

impl Tpe {
    pub fn new(axes: Vec<Axis>, view: View) -> Self {
        Self { axes, view, told: Vec::new(), pending: Vec::new() }
    }

    pub fn propose(&mut self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let point = if self.told.len() < STARTUP_TRIALS {
            self.axes.iter().map(|axis| axis.at(rng.random())).collect()
        } else {
            self.likeliest(rng)
        };
        self.pending.push(point.clone());
        point
    }

    /// What came of a proposal; one without a score tells nothing.
    pub fn tell(&mut self, point: &[f64], score: Option<f64>) {
        if let Some(at) = self.pending.iter().position(|pending| pending == point) {
            self.pending.remove(at);
        }
        self.told.extend(score.map(|score| (point.to_vec(), score)));
    }

    fn likeliest(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let (good, bad) = self.split();
        match self.view {
            View::Together => likelier(&self.axes, &good, &bad, self.view.draws(), rng),
            View::Each => {
                let each = self.axes.iter().enumerate().flat_map(|(at, &axis)| {
                    likelier(&[axis], &along(&good, at), &along(&bad, at), self.view.draws(), rng)
                });
                each.collect()
            }
        }
    }

    /// The points of the trials that went well, and those of the others, each the earliest first. What is not known yet counts as bad, so that proposals that
    /// are made together keep apart (a constant liar).
    fn split(&self) -> (Vec<&[f64]>, Vec<&[f64]>) {
        let mut order: Vec<usize> = (0..self.told.len()).collect();
        // Of equal scores the earlier is the better.
        order.sort_by(|&a, &b| self.told[b].1.total_cmp(&self.told[a].1));
        let n_good = ((GOOD_SHARE * order.len() as f64).ceil() as usize).min(MOST_GOOD);
        let mut bad = order.split_off(n_good);
        order.sort_unstable();
        bad.sort_unstable();
        let points = |trials: Vec<usize>| trials.into_iter().map(|trial| self.told[trial].0.as_slice());
        (points(order).collect(), points(bad).chain(self.pending.iter().map(Vec::as_slice)).collect())
    }
}

/// Points along one axis.
fn along<'a>(points: &[&'a [f64]], at: usize) -> Vec<&'a [f64]> {
    points.iter().map(|point| &point[at..=at]).collect()
}

/// Of some draws from the density of the good trials, the one at which that is highest beside the density of the bad ones.
fn likelier(axes: &[Axis], good: &[&[f64]], bad: &[&[f64]], draws: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let (good, bad) = (Parzen::new(axes, good), Parzen::new(axes, bad));
    let draws = (0..draws).map(|_| good.draw(rng));
    let rated = draws.map(|point| (good.log_density(&point) - bad.log_density(&point), point));
    let best = rated.reduce(|best, other| if other.0 > best.0 { other } else { best });
    best.map(|(_, point)| point).unwrap_or_default()
}
