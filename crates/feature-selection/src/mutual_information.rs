//! `mutual_information`: keeps the columns that tell most about the target.

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use retune_spec::feature_selection::{Choice, MutualInformation};
use retune_stage::{Result, Seed, Target};

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};
use crate::moments::Moments;
use crate::neighbors::{Digamma, Sorted, kraskov, ross};

/// A column of more distinct values is continuous.
const MAX_LEVELS: usize = 32;

/// A column of three or more distinct values is continuous with fewer rows than this for each value (and class): counting so few overestimates.
const ROWS_PER_CELL: usize = 10;

/// The deviation of the noise that parts equal values, as in scikit-learn, where the deviation of the column is 1.
const NOISE: f64 = 1e-10;

/// A column of two distinct values, or of at most 32 with ten rows or more for each (and for each of the classes with each), is counted, whatever the values
/// are; so a 0/1 column is counted before and after it is scaled. Others are continuous: standardised and moved by tiny noise
/// that parts equal values; each column's noise has a seed of its own, from its name.
/// `keep` counts the columns of `always_keep` in.
impl Judge for MutualInformation {
    fn score_word(&self) -> &'static str {
        "mutual information"
    }

    fn choice(&self) -> Option<Choice> {
        Some(MutualInformation::choice(self))
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let Question { target, context, .. } = question;
        let rows = sampled(target.len(), self.max_rows, context.seed.derive("rows"));
        let told = match &rows {
            Some(rows) => Told::new(&target.take(rows), self.neighbors, context.seed),
            None => Told::new(target, self.neighbors, context.seed),
        };
        let score = |feature: &Feature| {
            context.progress.check_cancelled()?;
            let seed = context.seed.derive(feature.name);
            let values = feature.numbers()?;
            Ok(match &rows {
                Some(rows) => told.by(&rows.iter().map(|&row| values[row]).collect::<Vec<_>>(), seed),
                None => told.by(&values, seed),
            })
        };
        let scores: Vec<f64> = features.par_iter().map(score).collect::<Result<_>>()?;
        let verdict = |score: f64| Verdict::scored(score, format!("tells {} nats of the target", shown(score)));
        Ok(scores.into_iter().map(verdict).collect::<Vec<_>>().into())
    }
}

/// The rows that are looked at, in their order; `None` for all of them.
pub(crate) fn sampled(n_rows: usize, max_rows: usize, seed: Seed) -> Option<Vec<usize>> {
    (n_rows > max_rows).then(|| {
        let mut rows = sample(&mut ChaCha8Rng::seed_from_u64(seed.0), n_rows, max_rows).into_vec();
        rows.sort_unstable();
        rows
    })
}

/// What is to be told.
struct Told {
    target: Prepared,
    neighbors: usize,
    digamma: Digamma,
}

enum Prepared {
    Classes { codes: Vec<u32>, n_classes: usize },
    Values(Continuous),
}

/// Values with unit deviation, no two of them equal.
struct Continuous {
    values: Vec<f64>,
    sorted: Sorted,
}

impl Told {
    fn new(target: &Target, neighbors: usize, seed: Seed) -> Self {
        let digamma = Digamma::up_to(target.len().max(neighbors));
        let target = match target {
            Target::Classes { codes, n_classes } => Prepared::Classes { codes: codes.clone(), n_classes: *n_classes },
            Target::Values(values) => Prepared::Values(Continuous::new(values, seed.derive("target"))),
        };
        Self { target, neighbors, digamma }
    }

    /// What a column tells, in nats.
    fn by(&self, column: &[f64], seed: Seed) -> f64 {
        let (levels, k, digamma) = (Levels::of(column), self.neighbors, &self.digamma);
        match (&self.target, levels) {
            (Prepared::Classes { codes, n_classes }, Some(levels)) if levels.countable(*n_classes) => {
                counted(&levels, codes, *n_classes)
            }
            (Prepared::Classes { codes, n_classes }, _) => {
                ross(&Continuous::new(column, seed).sorted, codes, *n_classes, k, digamma)
            }
            (Prepared::Values(target), Some(levels)) if levels.countable(1) => {
                ross(&target.sorted, &levels.codes, levels.n_levels, k, digamma)
            }
            (Prepared::Values(target), _) => {
                let column = Continuous::new(column, seed);
                kraskov(&column.values, &column.sorted, &target.values, &target.sorted, k, digamma)
            }
        }
    }
}

impl Continuous {
    fn new(values: &[f64], seed: Seed) -> Self {
        let moments = Moments::of(values);
        let deviation = moments.variance(values.len()).sqrt();
        let scale = if deviation > 0.0 { deviation.recip() } else { 1.0 };
        let mut rng = ChaCha8Rng::seed_from_u64(seed.0);
        let noisy = |value: &f64| {
            let noise: f64 = StandardNormal.sample(&mut rng);
            (value - moments.mean) * scale + NOISE * noise
        };
        let values: Vec<f64> = values.iter().map(noisy).collect();
        let sorted = Sorted::new(&values);
        Self { values, sorted }
    }
}

/// A column of few distinct values.
struct Levels {
    codes: Vec<u32>,
    n_levels: usize,
}

impl Levels {
    /// `None` where there are more than [`MAX_LEVELS`].
    fn of(column: &[f64]) -> Option<Self> {
        let mut levels: Vec<f64> = Vec::new();
        let mut codes = Vec::with_capacity(column.len());
        for value in column {
            let code = levels.iter().position(|level| level == value).unwrap_or(levels.len());
            if code == levels.len() {
                levels.push(*value);
            }
            if levels.len() > MAX_LEVELS {
                return None;
            }
            codes.push(code as u32);
        }
        Some(Self { codes, n_levels: levels.len() })
    }

    fn countable(&self, n_classes: usize) -> bool {
        self.n_levels <= 2 || self.codes.len() >= ROWS_PER_CELL * self.n_levels * n_classes
    }
}

/// Mutual information of two variables of few values: scikit-learn's `mutual_info_score`.
fn counted(levels: &Levels, codes: &[u32], n_classes: usize) -> f64 {
    let mut cells = vec![0.0; levels.n_levels * n_classes];
    let (mut rows, mut columns) = (vec![0.0; levels.n_levels], vec![0.0; n_classes]);
    for (&level, &code) in levels.codes.iter().zip(codes) {
        cells[level as usize * n_classes + code as usize] += 1.0;
        rows[level as usize] += 1.0;
        columns[code as usize] += 1.0;
    }
    let total = codes.len() as f64;
    let tells = |(at, &count): (usize, &f64)| {
        let expected = rows[at / n_classes] * columns[at % n_classes] / total;
        if count > 0.0 { count / total * f64::ln(count / expected) } else { 0.0 }
    };
    cells.iter().enumerate().map(tells).sum::<f64>().max(0.0)
}
