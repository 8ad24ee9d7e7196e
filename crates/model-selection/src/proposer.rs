//! What proposes the values of trials: the samplers of the crate `optimizer`, and a grid.

use optimizer::parameter::{CategoricalParam, FloatParam, IntParam, Parameter};
use optimizer::sampler::random::RandomSampler;
use optimizer::sampler::tpe::TpeSampler;
use optimizer::{Direction, Study, Trial as Asked};
use retune_spec::model_selection::{Candidate, Sampler, Space};
use retune_stage::{Result, Seed, StageError};
use serde_json::{Map, Value, json};

/// How many values the grid takes of a range.
const GRID_VALUES: i64 = 5;

/// Trials of a candidate that TPE draws at random before it begins to learn. Fewer than Optuna's ten, because searches here are short.
const STARTUP_TRIALS: usize = 5;

/// Proposes values for one candidate, and is told what came of them.
pub enum Proposer {
    /// Every combination, in order.
    Grid(std::vec::IntoIter<Map<String, Value>>),
    /// A study that learns or draws.
    Study {
        /// The study.
        study: Box<Study<f64>>,
        /// The spaces by hyperparameter.
        dimensions: Vec<(String, Dimension)>,
        /// The trial that was asked for and not yet told.
        asked: Option<Box<Asked>>,
    },
}

/// A space as `optimizer` knows it.
pub enum Dimension {
    /// An index into a list.
    Choice(CategoricalParam<usize>, Vec<Value>),
    /// A whole number.
    Int(IntParam),
    /// A number.
    Float(FloatParam),
}

impl Proposer {
    /// For one candidate. A candidate without spaces has a single combination, whatever the sampler.
    pub fn new(candidate: &Candidate, sampler: Sampler, seed: Seed) -> Result<Self> {
        let spaces = candidate.spaces();
        if spaces.is_empty() || sampler == Sampler::Grid {
            return Ok(Self::Grid(combinations(&spaces).into_iter()));
        }
        let study = match sampler {
            Sampler::Random => Study::with_sampler(Direction::Maximize, RandomSampler::with_seed(seed.0)),
            Sampler::Tpe | Sampler::Grid => {
                let tpe = TpeSampler::builder().seed(seed.0).n_startup_trials(STARTUP_TRIALS).build();
                Study::with_sampler(Direction::Maximize, tpe.map_err(|error| StageError::failed(error.to_string()))?)
            }
        };
        let dimensions = spaces.into_iter().map(|(name, space)| (name, Dimension::of(space))).collect();
        Ok(Self::Study { study: Box::new(study), dimensions, asked: None })
    }

    /// The values of the next trial; `None` when every combination was tried.
    pub fn propose(&mut self) -> Result<Option<Map<String, Value>>> {
        match self {
            Self::Grid(combinations) => Ok(combinations.next()),
            Self::Study { study, dimensions, asked } => {
                let mut trial = study.ask();
                let mut values = Map::new();
                for (name, dimension) in dimensions {
                    let value = dimension.suggest(&mut trial).map_err(|error| StageError::failed(format!("`{name}`: {error}")))?;
                    values.insert(name.clone(), value);
                }
                *asked = Some(Box::new(trial));
                Ok(Some(values))
            }
        }
    }

    /// What came of the last proposal: a score of which more is better, or nothing.
    pub fn tell(&mut self, score: Option<f64>) {
        if let Self::Study { study, asked, .. } = self
            && let Some(trial) = asked.take()
        {
            study.tell(*trial, score.ok_or("it failed"));
        }
    }
}

impl Dimension {
    fn of(space: Space) -> Self {
        match space {
            Space::Choice(values) => Self::Choice(CategoricalParam::new((0..values.len()).collect()), values),
            Space::Int([low, high]) => Self::Int(IntParam::new(low, high)),
            Space::Uniform([low, high]) => Self::Float(FloatParam::new(low, high)),
            Space::LogUniform([low, high]) => Self::Float(FloatParam::new(low, high).log_scale()),
        }
    }

    fn suggest(&self, trial: &mut Asked) -> Result<Value, optimizer::Error> {
        Ok(match self {
            Self::Choice(parameter, values) => values[parameter.suggest(trial)?].clone(),
            Self::Int(parameter) => json!(parameter.suggest(trial)?),
            Self::Float(parameter) => json!(parameter.suggest(trial)?),
        })
    }
}

/// The values that the grid takes of a space.
pub fn grid_of(space: &Space) -> Vec<Value> {
    let steps = |n: i64| (0..n).map(move |step| step as f64 / (n - 1).max(1) as f64);
    match space {
        Space::Choice(values) => values.clone(),
        Space::Int([low, high]) => {
            let n = (high - low + 1).min(GRID_VALUES);
            steps(n).map(|share| json!(low + ((high - low) as f64 * share).round() as i64)).collect()
        }
        Space::Uniform([low, high]) => steps(GRID_VALUES).map(|share| json!(low + (high - low) * share)).collect(),
        Space::LogUniform([low, high]) => steps(GRID_VALUES).map(|share| json!((low.ln() + (high.ln() - low.ln()) * share).exp().clamp(*low, *high))).collect(),
    }
}

/// Every combination of the spaces' values; the last space changes fastest.
fn combinations(spaces: &[(String, Space)]) -> Vec<Map<String, Value>> {
    let mut combinations = vec![Map::new()];
    for (name, space) in spaces {
        let values = grid_of(space);
        let extended = combinations.iter().flat_map(|combination| {
            values.iter().map(move |value| {
                let mut combination = combination.clone();
                combination.insert(name.clone(), value.clone());
                combination
            })
        });
        combinations = extended.collect();
    }
    combinations
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn candidate(json: Value) -> Candidate {
        serde_json::from_value(json).unwrap()
    }

    fn drawn(sampler: Sampler, candidate_json: Value, seed: u64, trials: usize) -> Vec<Value> {
        let mut proposer = Proposer::new(&candidate(candidate_json), sampler, Seed(seed)).unwrap();
        let mut drawn = Vec::new();
        while drawn.len() < trials {
            let Some(values) = proposer.propose().unwrap() else { break };
            let score = values.values().next().and_then(Value::as_f64).map(|x| -(x - 3.0).powi(2));
            proposer.tell(score);
            drawn.push(Value::Object(values));
        }
        drawn
    }

    #[test]
    fn the_grid_tries_every_combination_once() {
        let space = json!({ "mlp": { "dropout": { "choice": [0, 0.5] }, "epochs": { "int": [1, 3] } } });
        let tried = drawn(Sampler::Grid, space, 0, 100);
        let expected = [(json!(0), 1), (json!(0), 2), (json!(0), 3), (json!(0.5), 1), (json!(0.5), 2), (json!(0.5), 3)];
        assert_eq!(tried, expected.map(|(dropout, epochs)| json!({ "dropout": dropout, "epochs": epochs })));
        assert_eq!(drawn(Sampler::Tpe, json!({ "ridge": { "l2": 2 } }), 0, 100), [json!({})]);
    }

    #[test]
    fn ranges_are_cut_at_their_ends() {
        assert_eq!(grid_of(&Space::Uniform([0.0, 1.0])), [json!(0.0), json!(0.25), json!(0.5), json!(0.75), json!(1.0)]);
        let log = grid_of(&Space::LogUniform([1e-4, 1.0]));
        assert_eq!((log.len(), log[0].as_f64(), log[4].as_f64()), (5, Some(1e-4), Some(1.0)));
    }

    #[test]
    fn the_same_seed_proposes_the_same() {
        for sampler in [Sampler::Random, Sampler::Tpe] {
            let space = || json!({ "ridge": { "l2": { "uniform": [0, 10] } } });
            assert_eq!(drawn(sampler, space(), 1, 20), drawn(sampler, space(), 1, 20));
            assert_ne!(drawn(sampler, space(), 1, 20), drawn(sampler, space(), 2, 20));
        }
    }

    #[test]
    fn tpe_closes_in_on_the_optimum() {
        let distance = |sampler| {
            let of_seed = |seed| {
                let tried = drawn(sampler, json!({ "ridge": { "l2": { "uniform": [-50, 50] } } }), seed, 40);
                tried.iter().skip(30).map(|values| (values["l2"].as_f64().unwrap() - 3.0).abs()).sum::<f64>()
            };
            (0..10).map(of_seed).sum::<f64>()
        };
        assert!(distance(Sampler::Tpe) < 0.5 * distance(Sampler::Random));
    }
}
