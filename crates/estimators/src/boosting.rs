//! Gradient-boosted trees by LightGBM.

use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune_metrics::Prediction;
use retune_spec::estimators::GradientBoosting;
use retune_spec::fine_tuning::BoostingTuning;
use retune_stage::{Design, Fold, LoadDir, Result, SaveDir, StageError, Target};
use serde::{Deserialize, Serialize};

use crate::lightgbm::{Booster, Dataset, Output, Threads, Training, c_string};
pub use crate::lightgbm::{Columns, Use};
use crate::rows::{check_finite, class_weights, row_weights};
use crate::{FitInfo, FitOptions};

/// Trained boosted trees.
pub struct FittedBoosting {
    card: Card,
    booster: Booster,
}

/// What `boosting.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    parameters: GradientBoosting,
    /// How many labels there are; `None` for values.
    n_classes: Option<usize>,
    rounds: usize,
}

/// How the loss on the validation rows went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The loss before the first further round.
    pub base: f64,
    /// The loss after each further round.
    pub validation: Vec<f64>,
    /// The further rounds that were kept; 0 where none lowered the loss.
    pub best: usize,
}

/// Trains on rows. With early stopping a tenth of them is set aside to judge by - whole groups, or the latest rows, where there are such - and the rounds up
/// to the lowest loss are kept.
pub fn fit(spec: &GradientBoosting, rows: &Design, options: &FitOptions) -> Result<(FittedBoosting, FitInfo)> {
    check_finite(rows)?;
    let target = rows.target()?;
    let n_classes = n_classes(target);
    let weights = row_weights(rows, class_weights(spec.class_weight, rows)?.as_deref())?;
    let divided = match spec.early_stopping {
        0 => None,
        _ => rows.ties.set_aside(target, options.seed.derive("set aside").0),
    };
    let mut info = FitInfo::default();
    let threads = Threads::exactly(options.threads);
    let parameters = c_string(&parameters(spec, spec.learning_rate, n_classes, options))?;
    let weights = weights.as_deref();
    let (train, validation) = if let Some(Fold { train: learned, validation: judges }) = divided {
        let take =
            |indices: &[usize]| weights.map(|weights| indices.iter().map(|&row| weights[row]).collect::<Vec<_>>());
        let train = dataset(&rows.take(&learned), take(&learned).as_deref(), None, None, &parameters, &threads)?;
        let validation =
            dataset(&rows.take(&judges), take(&judges).as_deref(), None, Some(&train), &parameters, &threads)?;
        (train, Some(validation))
    } else {
        if spec.early_stopping > 0 {
            let few = match (&rows.ties.times, &rows.ties.groups) {
                (Some(_), _) => "different times",
                (None, Some(_)) => "groups",
                (None, None) => "rows",
            };
            info.notes.push(format!(
                "gradient_boosting ran all rounds: there are too few {few} to set rows aside for early stopping"
            ));
        }
        (dataset(rows, weights, None, None, &parameters, &threads)?, None)
    };
    let mut training = Training::new(train, validation, &parameters, &threads)?;
    let (rounds, _) = boost(&mut training, spec.trees, spec.early_stopping, f64::INFINITY, &threads, options)?;
    info.rounds = Some(rounds);
    let card = Card { parameters: spec.clone(), n_classes, rounds };
    Ok((FittedBoosting { card, booster: training.finish(rounds)? }, info))
}

/// Grows further trees on what the base leaves unexplained, judged by validation rows. The rounds up to the lowest loss are kept, which may be none.
pub fn fit_more(
    base: &FittedBoosting,
    tuning: &BoostingTuning,
    train: &Design,
    validation: &Design,
    options: &FitOptions,
) -> Result<(FittedBoosting, Curve)> {
    let Card { parameters: spec, n_classes, rounds } = &base.card;
    for rows in [train, validation] {
        check_finite(rows)?;
        if self::n_classes(rows.target()?) != *n_classes {
            return Err(StageError::data("the rows have another target than the rows that the base was trained on"));
        }
    }
    let class_weights = class_weights(spec.class_weight, train)?;
    let weights = |rows: &Design| row_weights(rows, class_weights.as_deref());
    let threads = Threads::exactly(options.threads);
    let parameters = c_string(&parameters(spec, tuning.learning_rate, *n_classes, options))?;
    let start = |rows: &Design| base.booster.predict(rows.features.view(), Output::Raw, &threads);
    let data = |rows: &Design, reference: Option<&Dataset>| {
        dataset(rows, weights(rows)?.as_deref(), Some(&start(rows)?), reference, &parameters, &threads)
    };
    let learned = data(train, None)?;
    let judges = data(validation, Some(&learned))?;
    let mut training = Training::new(learned, Some(judges), &parameters, &threads)?;
    let before = training.validation_loss(&threads)?.unwrap_or(f64::INFINITY);
    let (best, losses) = boost(&mut training, tuning.more_trees, tuning.early_stopping, before, &threads, options)?;
    let curve = Curve { base: before, validation: losses, best };
    let booster = match best {
        0 => Booster::from_text(&base.booster.text(None)?)?,
        _ => Booster::joined(&base.booster, &training.finish(best)?)?,
    };
    let card = Card { parameters: spec.clone(), n_classes: *n_classes, rounds: rounds + best };
    Ok((FittedBoosting { card, booster }, curve))
}

/// Trees to be looked into rather than to be kept.
pub struct Grown {
    training: Training,
    /// How many it was grown with.
    threads: usize,
}

/// LightGBM learns its bins from so many rows (`bin_construct_sample_cnt`).
const BIN_ROWS: usize = 200_000;

/// Runs all rounds on columns that may have missing values (NaN), without a matrix of them. Weights of labels and early stopping are not looked at.
pub fn grow(spec: &GradientBoosting, columns: &dyn Columns, target: &Target, options: &FitOptions) -> Result<Grown> {
    let n_rows = columns.n_rows();
    if target.len() != n_rows {
        return Err(StageError::failed(format!("{n_rows} rows have {} targets", target.len())));
    }
    let mut sample: Vec<usize> = match n_rows {
        ..=BIN_ROWS => (0..n_rows).collect(),
        _ => rand::seq::index::sample(&mut ChaCha8Rng::seed_from_u64(options.seed.derive("bins").0), n_rows, BIN_ROWS)
            .into_vec(),
    };
    sample.sort_unstable();
    let threads = Threads::exactly(options.threads);
    let parameters = c_string(&parameters(spec, spec.learning_rate, n_classes(target), options))?;
    let mut dataset = Dataset::of_columns(columns, &sample, &parameters, &threads)?;
    dataset.set_target(&numbers(target))?;
    let mut training = Training::new(dataset, None, &parameters, &threads)?;
    boost(&mut training, spec.trees, 0, f64::INFINITY, &threads, options)?;
    Ok(Grown { training, threads: threads.count })
}

impl Grown {
    /// How much each column is used.
    pub fn importance(&self, counted_by: Use) -> Result<Vec<f64>> {
        self.training.booster().importance(counted_by)
    }

    /// The trees in LightGBM's text format.
    pub fn text(&self) -> Result<String> {
        self.training.booster().text(None)
    }

    /// The sums of leaves of rows [rows, outputs], before the link function.
    pub fn raw(&self, features: ArrayView2<f64>) -> Result<Array2<f64>> {
        self.training.booster().predict(features, Output::Raw, &Threads::about(self.threads))
    }

    /// LightGBM's SHAP values of rows [rows, outputs * (columns + 1)]: of each column and, last, what all rows have in common; for each output in turn.
    pub fn contributions(&self, features: ArrayView2<f64>) -> Result<Array2<f64>> {
        self.training.booster().predict(features, Output::Contributions, &Threads::about(self.threads))
    }
}

/// Runs rounds until no split is worth while, or the loss on the validation rows did not fall below `before` and any later one for `patience` rounds.
/// Returns the rounds to keep and the losses.
fn boost(
    training: &mut Training,
    rounds: usize,
    patience: usize,
    before: f64,
    threads: &Threads,
    options: &FitOptions,
) -> Result<(usize, Vec<f64>)> {
    let mut losses = Vec::new();
    let (mut best, mut lowest) = (0, before);
    for round in 1..=rounds {
        options.progress.check_cancelled()?;
        if training.update(threads)? {
            break;
        }
        options.progress.update("rounds", round as u64, Some(rounds as u64));
        let Some(loss) = training.validation_loss(threads)? else { continue };
        if !loss.is_finite() {
            return Err(StageError::failed(format!(
                "gradient_boosting diverged: the loss after round {round} is {loss}"
            ))
            .help("lower `learning_rate`"));
        }
        losses.push(loss);
        if loss < lowest {
            (best, lowest) = (round, loss);
        } else if round - best >= patience {
            break;
        }
    }
    // Without a single split LightGBM still has a constant for every output.
    if losses.is_empty() && before.is_infinite() {
        best = training.iterations()?;
    }
    Ok((best, losses))
}

impl FittedBoosting {
    /// The labels' probabilities, or the values, of rows [rows, features].
    pub fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        let threads = Threads::about(rayon::current_num_threads());
        let response = self.booster.predict(features, Output::Response, &threads)?;
        Ok(match self.card.n_classes {
            None => Prediction::Values(response.into_raw_vec_and_offset().0),
            Some(2) => {
                let first = response.mapv(|probability| 1.0 - probability);
                let both = concatenate(Axis(1), &[first.view(), response.view()]);
                Prediction::Probabilities(both.map_err(|error| StageError::failed(error.to_string()))?)
            }
            Some(_) => Prediction::Probabilities(response),
        })
    }

    /// The trees of each output.
    pub fn rounds(&self) -> usize {
        self.card.rounds
    }

    /// Writes `boosting.json`, and `model.txt` in LightGBM's own format.
    pub fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("boosting.json", &self.card)?;
        dir.bytes("model.txt", self.booster.text(None)?.as_bytes())
    }

    /// Reads what [`FittedBoosting::save`] wrote.
    pub fn load(dir: &LoadDir) -> Result<Self> {
        let card: Card = dir.json("boosting.json")?;
        let text =
            String::from_utf8(dir.bytes("model.txt")?).map_err(|_| StageError::failed("model.txt is not UTF-8"))?;
        let booster = Booster::from_text(&text)?;
        let outputs = match card.n_classes {
            Some(n_classes) if n_classes > 2 => n_classes,
            _ => 1,
        };
        if booster.outputs()? != outputs {
            return Err(StageError::failed(format!(
                "model.txt has {} outputs where boosting.json says {outputs}",
                booster.outputs()?
            )));
        }
        Ok(Self { card, booster })
    }
}

fn n_classes(target: &Target) -> Option<usize> {
    match target {
        Target::Classes { n_classes, .. } => Some(*n_classes),
        Target::Values(_) => None,
    }
}

fn numbers(target: &Target) -> Vec<f32> {
    match target {
        Target::Classes { codes, .. } => codes.iter().map(|&code| code as f32).collect(),
        Target::Values(values) => values.iter().map(|&value| value as f32).collect(),
    }
}

fn dataset(
    rows: &Design,
    weights: Option<&[f64]>,
    start: Option<&Array2<f64>>,
    reference: Option<&Dataset>,
    parameters: &std::ffi::CStr,
    threads: &Threads,
) -> Result<Dataset> {
    let mut dataset = Dataset::new(rows.features.view(), parameters, reference, threads)?;
    dataset.set_target(&numbers(rows.target()?))?;
    if let Some(weights) = weights {
        dataset.set_weights(&weights.iter().map(|&weight| weight as f32).collect::<Vec<_>>())?;
    }
    if let Some(start) = start {
        let by_output: Vec<f64> = start.t().iter().copied().collect();
        dataset.set_start(&by_output)?;
    }
    Ok(dataset)
}

/// The parameters in LightGBM's names. Histograms are built by columns, each by one thread, so that sums do not depend on the number of threads.
fn parameters(spec: &GradientBoosting, learning_rate: f64, n_classes: Option<usize>, options: &FitOptions) -> String {
    let objective = match n_classes {
        None => "objective=regression".to_owned(),
        Some(2) => "objective=binary".to_owned(),
        Some(n_classes) => format!("objective=multiclass num_class={n_classes}"),
    };
    // LightGBM's seeds are positive 32-bit integers.
    let seed = options.seed.derive("lightgbm").0 >> 33;
    let threads = options.threads.max(1);
    let GradientBoosting { leaves, min_rows, column_share, row_share, l2, bins, .. } = spec;
    let max_depth = if spec.max_depth == 0 { -1 } else { spec.max_depth as i64 };
    let bagging = i32::from(*row_share < 1.0);
    format!(
        "{objective} learning_rate={learning_rate} num_leaves={leaves} max_depth={max_depth} min_data_in_leaf={min_rows} \
         feature_fraction={column_share} bagging_fraction={row_share} bagging_freq={bagging} lambda_l2={l2} max_bin={bins} \
         seed={seed} deterministic=true force_col_wise=true feature_pre_filter=false num_threads={threads} verbosity=-1"
    )
}
