//! What proposes the values of trials: every combination, draws that fill the space, or draws that learn from what came of the earlier ones.
//!
//! Each proposal has randomness of its own, derived from the seed and its number: what was told moves densities only, and the same sequence of proposals and
//! scores gives the same bits.

mod axis;
mod cma_es;
mod grid;
mod parzen;
mod sobol;
#[cfg(test)]
mod tests;
mod tpe;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune_spec::model_selection::{Sampler, Space};
use retune_stage::Seed;
use serde_json::{Map, Value};

use self::axis::Axis;
use self::cma_es::CmaEs;
use self::grid::Grid;
pub use self::grid::grid_of;
use self::tpe::{Tpe, View};

/// Proposes values for some spaces, and is told what came of them. Several may be proposed before any is told of.
pub struct Proposer {
    spaces: Vec<(String, Space)>,
    method: Method,
    seed: Seed,
    n_proposed: u64,
}

/// The values of a trial.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// A value for each space.
    pub values: Map<String, Value>,
    /// The place of the values, one coordinate for each space: what to tell the score of.
    pub point: Vec<f64>,
}

enum Method {
    Grid(Grid),
    Random,
    Sobol,
    Tpe(Tpe),
    CmaEs(Box<CmaEs>),
}

impl Proposer {
    /// For some spaces with their names. A list without spaces has a single combination, whatever the sampler.
    pub fn new(spaces: Vec<(String, Space)>, sampler: Sampler, seed: Seed) -> Self {
        let axes = || spaces.iter().map(|(_, space)| Axis::of(space)).collect();
        let method = match sampler {
            _ if spaces.is_empty() => Method::Grid(Grid::of(&spaces)),
            Sampler::Grid => Method::Grid(Grid::of(&spaces)),
            Sampler::Random => Method::Random,
            Sampler::Sobol => Method::Sobol,
            Sampler::Tpe => Method::Tpe(Tpe::new(axes(), View::Each)),
            Sampler::MultivariateTpe => Method::Tpe(Tpe::new(axes(), View::Together)),
            Sampler::CmaEs => Method::CmaEs(Box::new(CmaEs::new(axes()))),
        };
        Self { spaces, method, seed, n_proposed: 0 }
    }

    /// How many combinations there are; `None` where values are drawn.
    pub fn combinations(&self) -> Option<u64> {
        match &self.method {
            Method::Grid(grid) => Some(grid.combinations()),
            _ => None,
        }
    }

    /// The values of the next trial; `None` when every combination was tried.
    pub fn propose(&mut self) -> Option<Proposal> {
        let number = self.n_proposed;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed.derive(&number.to_string()).0);
        let axes = self.spaces.iter().map(|(_, space)| Axis::of(space));
        let point: Vec<f64> = match &mut self.method {
            Method::Grid(grid) => grid.digits(number)?,
            Method::Random => axes.map(|axis| axis.at(rng.random())).collect(),
            Method::Sobol => axes.enumerate().map(|(at, axis)| axis.at(sobol::share(number, at, self.seed))).collect(),
            Method::Tpe(tpe) => tpe.propose(&mut rng),
            Method::CmaEs(evolution) => evolution.propose(&mut rng),
        };
        self.n_proposed += 1;
        let values = match &self.method {
            Method::Grid(grid) => grid.values(&point),
            _ => self
                .spaces
                .iter()
                .zip(&point)
                .map(|((name, space), &at)| (name.clone(), axis::value(space, at)))
                .collect(),
        };
        Some(Proposal { values, point })
    }

    /// What came of the proposal at a point: a score of which more is better, or nothing for a trial that failed.
    pub fn tell(&mut self, point: &[f64], score: Option<f64>) {
        let score = score.filter(|score| !score.is_nan());
        match &mut self.method {
            Method::Tpe(tpe) => tpe.tell(point, score),
            Method::CmaEs(evolution) => evolution.tell(point, score),
            Method::Grid(_) | Method::Random | Method::Sobol => {}
        }
    }
}
