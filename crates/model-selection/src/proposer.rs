//! What proposes the values of trials: a grid, independent draws, or a tree-structured Parzen estimator.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune_spec::model_selection::{Candidate, Sampler, Space};
use retune_stage::Seed;
use serde_json::{Map, Value, json};

use crate::parzen::Parzen;

/// How many values the grid takes of a range.
const GRID_VALUES: i64 = 5;

/// Trials of a candidate that TPE draws at random before it begins to learn. Fewer than Optuna's ten, because searches here are short.
const STARTUP_TRIALS: usize = 5;

/// The share of trials that count as good, and their greatest number (Optuna's defaults).
const GOOD_SHARE: f64 = 0.1;
const MOST_GOOD: usize = 25;

/// Values that TPE draws from the good trials' density, to choose from (Optuna's default).
const DRAWS: usize = 24;

/// Proposes values for one candidate, and is told what came of them.
pub enum Proposer {
    /// Every combination, in order.
    Grid(Grid),
    /// Draws, that may learn.
    Drawn(Drawn),
}

/// The combinations of the spaces' values, made one by one; the last space changes fastest.
pub struct Grid {
    values: Vec<(String, Vec<Value>)>,
    next: u64,
}

/// Draws of a space.
pub struct Drawn {
    spaces: Vec<(String, Space)>,
    seed: Seed,
    learns: bool,
    proposed: usize,
    last: Vec<f64>,
    told: Vec<(Vec<f64>, f64)>,
}

impl Proposer {
    /// For one candidate. A candidate without spaces has a single combination, whatever the sampler.
    pub fn new(candidate: &Candidate, sampler: Sampler, seed: Seed) -> Self {
        let spaces = candidate.spaces();
        if spaces.is_empty() || sampler == Sampler::Grid {
            return Self::Grid(Grid::of(&spaces));
        }
        let learns = sampler == Sampler::Tpe;
        Self::Drawn(Drawn { spaces, seed, learns, proposed: 0, last: Vec::new(), told: Vec::new() })
    }

    /// How many combinations there are; `None` where values are drawn.
    pub fn combinations(&self) -> Option<u64> {
        match self {
            Self::Grid(grid) => Some(grid.combinations()),
            Self::Drawn(_) => None,
        }
    }

    /// The values of the next trial; `None` when every combination was tried.
    pub fn propose(&mut self) -> Option<Map<String, Value>> {
        match self {
            Self::Grid(grid) => grid.next(),
            Self::Drawn(drawn) => Some(drawn.propose()),
        }
    }

    /// What came of the last proposal: a score of which more is better, or nothing.
    pub fn tell(&mut self, score: Option<f64>) {
        if let (Self::Drawn(drawn), Some(score)) = (self, score) {
            drawn.told.push((std::mem::take(&mut drawn.last), score));
        }
    }
}

impl Grid {
    fn of(spaces: &[(String, Space)]) -> Self {
        Self { values: spaces.iter().map(|(name, space)| (name.clone(), grid_of(space))).collect(), next: 0 }
    }

    fn combinations(&self) -> u64 {
        self.values.iter().fold(1, |product, (_, values)| product.saturating_mul(values.len() as u64))
    }
}

impl Iterator for Grid {
    type Item = Map<String, Value>;

    /// The number of the combination, read with one digit for each space.
    fn next(&mut self) -> Option<Self::Item> {
        let mut left = self.next;
        let mut combination = Vec::with_capacity(self.values.len());
        for (name, values) in self.values.iter().rev() {
            let n = values.len() as u64;
            combination.push((name.clone(), values[(left % n) as usize].clone()));
            left /= n;
        }
        self.next += 1;
        (left == 0).then(|| combination.into_iter().rev().collect())
    }
}

impl Drawn {
    /// Each trial has randomness of its own: what was told moves the densities only.
    fn propose(&mut self) -> Map<String, Value> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed.derive(&self.proposed.to_string()).0);
        self.proposed += 1;
        let learned = self.learns && self.told.len() >= STARTUP_TRIALS;
        let split = learned.then(|| self.split());
        self.last = (0..self.spaces.len())
            .map(|at| {
                let axis = Axis::of(&self.spaces[at].1);
                match &split {
                    None => axis.uniform(&mut rng),
                    Some((good, bad)) => {
                        let along =
                            |trials: &[usize]| trials.iter().map(|&trial| self.told[trial].0[at]).collect::<Vec<f64>>();
                        axis.likelier(&along(good), &along(bad), &mut rng)
                    }
                }
            })
            .collect();
        self.spaces.iter().zip(&self.last).map(|((name, space), &at)| (name.clone(), value_at(space, at))).collect()
    }

    /// The trials that went well, and the others.
    fn split(&self) -> (Vec<usize>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.told.len()).collect();
        // Of equal scores the earlier is the better.
        order.sort_by(|&a, &b| self.told[b].1.total_cmp(&self.told[a].1));
        let n_good = ((GOOD_SHARE * order.len() as f64).ceil() as usize).clamp(1, MOST_GOOD);
        let bad = order.split_off(n_good);
        (order, bad)
    }
}

/// A space as a line, or as a set of places on it.
enum Axis {
    /// Places 0, 1, ... that have no order.
    Places(usize),
    /// A range; in logarithms where the space is logarithmic, half a step wider on both sides where it is of whole numbers.
    Range(f64, f64),
}

impl Axis {
    fn of(space: &Space) -> Self {
        match space {
            Space::Choice(values) => Self::Places(values.len()),
            Space::Int([low, high]) => Self::Range(*low as f64 - 0.5, *high as f64 + 0.5),
            Space::Uniform([low, high]) => Self::Range(*low, *high),
            Space::LogUniform([low, high]) => Self::Range(low.ln(), high.ln()),
        }
    }

    fn uniform(&self, rng: &mut ChaCha8Rng) -> f64 {
        match *self {
            Self::Places(n) => rng.random_range(0..n) as f64,
            Self::Range(low, high) => low + (high - low) * rng.random::<f64>(),
        }
    }

    /// Of some draws from the density of the good trials, the one at which that is highest beside the density of the bad ones (Bergstra et al. 2011).
    fn likelier(&self, good: &[f64], bad: &[f64], rng: &mut ChaCha8Rng) -> f64 {
        match *self {
            Self::Places(n) => {
                let weights = |seen: &[f64]| -> Vec<f64> {
                    // One more for each place: what was never tried is not impossible.
                    let count = |place: usize| 1.0 + seen.iter().filter(|&&at| at as usize == place).count() as f64;
                    (0..n).map(|place| count(place) / (n + seen.len()) as f64).collect()
                };
                let (good, bad) = (weights(good), weights(bad));
                let draws = (0..DRAWS).map(|_| pick(&good, rng));
                best(draws.map(|place| (place as f64, (good[place] / bad[place]).ln())))
            }
            Self::Range(low, high) => {
                let (good, bad) = (Parzen::new(good, low, high), Parzen::new(bad, low, high));
                let draws: Vec<f64> = (0..DRAWS).map(|_| good.draw(rng)).collect();
                best(draws.into_iter().map(|at| (at, good.log_density(at) - bad.log_density(at))))
            }
        }
    }
}

fn pick(weights: &[f64], rng: &mut ChaCha8Rng) -> usize {
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    let found = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    found.unwrap_or(weights.len() - 1)
}

fn best(rated: impl Iterator<Item = (f64, f64)>) -> f64 {
    rated.fold((0.0, f64::NEG_INFINITY), |best, other| if other.1 > best.1 { other } else { best }).0
}

fn value_at(space: &Space, at: f64) -> Value {
    match space {
        Space::Choice(values) => values[at as usize].clone(),
        Space::Int([low, high]) => json!((at.round() as i64).clamp(*low, *high)),
        Space::Uniform([low, high]) => json!(at.clamp(*low, *high)),
        Space::LogUniform([low, high]) => json!(at.exp().clamp(*low, *high)),
    }
}

/// The values that the grid takes of a space.
pub fn grid_of(space: &Space) -> Vec<Value> {
    let steps = |n: i64| (0..n).map(move |step| step as f64 / (n - 1).max(1) as f64);
    match space {
        Space::Choice(values) => values.clone(),
        Space::Int([low, high]) => {
            let n = high.saturating_sub(*low).saturating_add(1).min(GRID_VALUES);
            steps(n).map(|share| json!(low + ((high - low) as f64 * share).round() as i64)).collect()
        }
        Space::Uniform([low, high]) => steps(GRID_VALUES).map(|share| json!(low + (high - low) * share)).collect(),
        // Powers of both ends, so that they are met exactly.
        Space::LogUniform([low, high]) => {
            steps(GRID_VALUES).map(|share| json!(low.powf(1.0 - share) * high.powf(share))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn drawn(
        sampler: Sampler,
        candidate: Value,
        seed: u64,
        trials: usize,
        score: fn(&Map<String, Value>) -> f64,
    ) -> Vec<Value> {
        let candidate = serde_json::from_value(candidate).unwrap();
        let mut proposer = Proposer::new(&candidate, sampler, Seed(seed));
        let mut drawn = Vec::new();
        while drawn.len() < trials {
            let Some(values) = proposer.propose() else { break };
            proposer.tell(Some(score(&values)));
            drawn.push(Value::Object(values));
        }
        drawn
    }

    fn near_three(values: &Map<String, Value>) -> f64 {
        values.get("l2").map_or(0.0, |l2| -(l2.as_f64().unwrap() - 3.0).powi(2))
    }

    #[test]
    fn the_grid_tries_every_combination_once() {
        let space = json!({ "mlp": { "dropout": { "choice": [0, 0.5] }, "epochs": { "int": [1, 3] } } });
        let tried = drawn(Sampler::Grid, space, 0, 100, near_three);
        let expected = [(json!(0), 1), (json!(0), 2), (json!(0), 3), (json!(0.5), 1), (json!(0.5), 2), (json!(0.5), 3)];
        assert_eq!(tried, expected.map(|(dropout, epochs)| json!({ "dropout": dropout, "epochs": epochs })));
        assert_eq!(drawn(Sampler::Tpe, json!({ "ridge": { "l2": 2 } }), 0, 100, near_three), [json!({})]);
        let combinations = |sampler, candidate| {
            Proposer::new(&serde_json::from_value(candidate).unwrap(), sampler, Seed(0)).combinations()
        };
        let wide = json!({ "ridge": { "l2": { "int": [1, 3] }, "more": { "uniform": [0, 1] } } });
        assert_eq!(combinations(Sampler::Grid, wide.clone()), Some(15));
        assert_eq!(combinations(Sampler::Random, wide), None);
    }

    #[test]
    fn ranges_are_cut_at_their_ends() {
        assert_eq!(
            grid_of(&Space::Uniform([0.0, 1.0])),
            [json!(0.0), json!(0.25), json!(0.5), json!(0.75), json!(1.0)]
        );
        let log = grid_of(&Space::LogUniform([1e-4, 1.0]));
        assert_eq!((log.len(), log[0].as_f64(), log[4].as_f64()), (5, Some(1e-4), Some(1.0)));
    }

    #[test]
    fn the_same_seed_proposes_the_same() {
        for sampler in [Sampler::Random, Sampler::Tpe] {
            let tried =
                |seed| drawn(sampler, json!({ "ridge": { "l2": { "uniform": [0, 10] } } }), seed, 20, near_three);
            assert_eq!(tried(1), tried(1));
            assert_ne!(tried(1), tried(2));
        }
    }

    /// The mean distance of the last draws from the optimum, over seeds.
    fn distance(sampler: Sampler, space: &Value) -> f64 {
        let of_seed = |seed| {
            let tried = drawn(sampler, json!({ "ridge": { "l2": space } }), seed, 60, near_three);
            tried.iter().skip(40).map(|values| (values["l2"].as_f64().unwrap() - 3.0).abs()).sum::<f64>()
        };
        (0..10).map(of_seed).sum::<f64>() / 200.0
    }

    #[test]
    fn tpe_closes_in_on_the_optimum() {
        for space in
            [json!({ "uniform": [-50, 50] }), json!({ "log_uniform": [0.01, 1000] }), json!({ "int": [-50, 50] })]
        {
            let (tpe, random) = (distance(Sampler::Tpe, &space), distance(Sampler::Random, &space));
            assert!(tpe < 0.5 * random, "{space}: {tpe} {random}");
        }
    }

    #[test]
    fn tpe_prefers_the_better_choice() {
        let space = json!({ "ridge": { "l2": { "choice": [1, 2, 3, 4, 5, 6] } } });
        let tried = drawn(Sampler::Tpe, space, 1, 60, near_three);
        let right = tried.iter().skip(20).filter(|values| values["l2"] == 3).count();
        assert!(right > 20, "{right} of 40");
    }

    #[test]
    fn two_spaces_of_the_same_range_are_told_apart() {
        let apart = |values: &Map<String, Value>| {
            let at = |name: &str| values[name].as_f64().unwrap();
            -(at("dropout") - 0.9).abs() - (at("label_smoothing") - 0.1).abs()
        };
        let space = json!({ "mlp": { "dropout": { "uniform": [0, 1] }, "label_smoothing": { "uniform": [0, 1] } } });
        let tried = drawn(Sampler::Tpe, space, 3, 80, apart);
        let mean = |name: &str| tried.iter().skip(50).map(|values| values[name].as_f64().unwrap()).sum::<f64>() / 30.0;
        assert!(
            mean("dropout") > 0.7 && mean("label_smoothing") < 0.3,
            "{} {}",
            mean("dropout"),
            mean("label_smoothing")
        );
    }
}
