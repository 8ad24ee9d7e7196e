//! Looks at the target only.

use ndarray::{ArrayView1, ArrayView2};
use retune_metrics::Prediction;
use retune_spec::estimators::{Baseline, BaselineStrategy};
use retune_stage::{Design, LoadDir, Result, SaveDir, StageError, Task};
use serde::{Deserialize, Serialize};

use crate::family::{Family, Learned};
use crate::labels::{Labelled, Seen};
use crate::rows::{check_width, row_weights, values};
use crate::{FitInfo, FitOptions};

/// What is said of every row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedBaseline {
    n_features: usize,
    says: Says,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Says {
    /// The place of the commonest label among those seen.
    Majority {
        seen: Seen,
        place: usize,
    },
    Prior(Seen),
    Stratified {
        seen: Seen,
        seed: u64,
    },
    Value(f64),
}

impl Family for Baseline {
    type Learned = FittedBaseline;

    fn learn(&self, rows: &Design, task: &Task, options: &FitOptions) -> Result<(FittedBaseline, FitInfo)> {
        let by_default = match task {
            Task::Classification { .. } => BaselineStrategy::Majority,
            Task::Regression => BaselineStrategy::Mean,
        };
        let says = match (self.strategy.unwrap_or(by_default), task) {
            (BaselineStrategy::Majority, Task::Classification { .. }) => {
                let seen = Labelled::one_or_more(rows)?.seen;
                Says::Majority { place: commonest(&seen), seen }
            }
            (BaselineStrategy::Prior, Task::Classification { .. }) => Says::Prior(Labelled::one_or_more(rows)?.seen),
            (BaselineStrategy::Stratified, Task::Classification { .. }) => {
                Says::Stratified { seen: Labelled::one_or_more(rows)?.seen, seed: options.seed.derive("baseline").0 }
            }
            (BaselineStrategy::Mean, Task::Regression) => Says::Value(mean(rows)?),
            (BaselineStrategy::Median, Task::Regression) => Says::Value(median(rows)?),
            (_, Task::Classification { .. }) => return Err(unfit("values", "labels", "majority, prior or stratified")),
            (_, Task::Regression) => return Err(unfit("labels", "values", "mean or median")),
        };
        Ok((FittedBaseline { n_features: rows.features.ncols(), says }, FitInfo::default()))
    }
}

fn unfit(says: &str, holds: &str, others: &str) -> StageError {
    StageError::data(format!("the strategy of baseline says {says}, and the target holds {holds}"))
        .help(format!("set `strategy` to {others}"))
}

/// The first of those that are most frequent.
fn commonest(seen: &Seen) -> usize {
    (0..seen.len()).rev().max_by(|&one, &other| seen.shares[one].total_cmp(&seen.shares[other])).unwrap_or(0)
}

fn mean(rows: &Design) -> Result<f64> {
    let (values, weights) = (values(rows)?, row_weights(rows, None)?);
    Ok(match weights {
        None => values.iter().sum::<f64>() / values.len() as f64,
        Some(weights) => {
            let sum: f64 = values.iter().zip(&weights).map(|(value, weight)| value * weight).sum();
            sum / weights.iter().sum::<f64>()
        }
    })
}

/// The value on whose two sides the rows weigh the same, or the middle of two such.
fn median(rows: &Design) -> Result<f64> {
    let (values, weights) = (values(rows)?, row_weights(rows, None)?);
    let weight = |row: usize| weights.as_ref().map_or(1.0, |weights| weights[row]);
    let mut sorted: Vec<(f64, f64)> = values.iter().enumerate().map(|(row, &value)| (value, weight(row))).collect();
    sorted.retain(|(_, weight)| *weight > 0.0);
    sorted.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
    let half = sorted.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut below = 0.0;
    let reaches = |&(_, weight): &(f64, f64)| {
        below += weight;
        below >= half
    };
    let Some(at) = sorted.iter().position(reaches) else {
        return Err(StageError::failed("the target has no value that weighs anything"));
    };
    let next = if below > half { at } else { (at + 1).min(sorted.len() - 1) };
    Ok(f64::midpoint(sorted[at].0, sorted[next].0))
}

/// A number from 0 to 1 that follows from a row's values (the mixing of SplitMix64: Steele et al. 2014).
fn draw(row: ArrayView1<f64>, seed: u64) -> f64 {
    let mix = |state: u64, value: &f64| {
        // Zeros of both signs are the same, and so are all missing values.
        let bits = if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() };
        let mixed = (state ^ bits).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let hash = row.iter().fold(seed, mix);
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// The place in which a number from 0 to 1 falls.
fn fall(shares: &[f64], number: f64) -> usize {
    let mut above = 0.0;
    let reaches = |share: &f64| {
        above += share;
        number < above
    };
    shares.iter().position(reaches).unwrap_or(shares.len() - 1)
}

impl Learned for FittedBaseline {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        check_width(features, self.n_features)?;
        Ok(match &self.says {
            Says::Value(value) => Prediction::Values(vec![*value; features.nrows()]),
            Says::Majority { seen, place } => {
                seen.spread(features, |_, mut shares| shares.column_mut(*place).fill(1.0))
            }
            Says::Prior(seen) => seen.spread(features, |_, mut shares| shares.assign(&ArrayView1::from(&seen.shares))),
            Says::Stratified { seen, seed } => seen.spread(features, |rows, mut shares| {
                for (row, mut shares) in rows.rows().into_iter().zip(shares.rows_mut()) {
                    shares[fall(&seen.shares, draw(row, *seed))] = 1.0;
                }
            }),
        })
    }

    fn describe(&self) -> String {
        match &self.says {
            Says::Value(value) => format!("{value} for every row"),
            Says::Majority { .. } => "the commonest label for every row".to_owned(),
            Says::Prior(seen) => format!("the shares of {} labels for every row", seen.len()),
            Says::Stratified { seen, .. } => format!("labels drawn by the shares of {}", seen.len()),
        }
    }

    fn size(&self) -> usize {
        1
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("model.json", self)
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        let model: Self = dir.json("model.json")?;
        match &model.says {
            Says::Value(_) => {}
            Says::Prior(seen) | Says::Stratified { seen, .. } => seen.check()?,
            Says::Majority { seen, place } => {
                seen.check()?;
                if *place >= seen.len() {
                    return Err(StageError::failed("model.json names a label that is not seen"));
                }
            }
        }
        Ok(model)
    }
}
