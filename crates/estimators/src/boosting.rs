//! Gradient-boosted trees by LightGBM (Ke et al. 2017).

use std::ffi::CString;

use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune_metrics::Prediction;
use retune_spec::did_you_mean;
use retune_spec::estimators::{BoostingLoss, GradientBoosting, Monotone};
use retune_spec::fine_tuning::BoostingTuning;
use retune_stage::{Design, Fold, LoadDir, Result, SaveDir, StageError, Target, Task};
use serde::{Deserialize, Serialize};

use crate::family::{Family, Learned};
use crate::lightgbm::{Booster, Dataset, Output, Threads, Training, c_string};
pub use crate::lightgbm::{Columns, Use};
use crate::rows::{check_not_infinite, class_weights, row_weights};
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
    /// The places of the columns that hold codes of words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    categorical: Vec<usize>,
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
/// to the lowest loss are kept. Missing values are NaN. Fails where a feature is infinite, where `monotone` names a column that there is not, and where the loss does
/// not fit the target.
pub fn fit(spec: &GradientBoosting, rows: &Design, options: &FitOptions) -> Result<(FittedBoosting, FitInfo)> {
    check_not_infinite(rows)?;
    fit_on(spec, rows, &categorical(rows), options)
}

/// The columns of words.
fn categorical(rows: &Design) -> Vec<usize> {
    (0..rows.names.len()).filter(|&feature| rows.levels_of(feature).is_some()).collect()
}

/// [`fit`] where columns hold the codes of words: whole numbers from 0, NaN for what is unknown or missing.
fn fit_on(
    spec: &GradientBoosting,
    rows: &Design,
    categorical: &[usize],
    options: &FitOptions,
) -> Result<(FittedBoosting, FitInfo)> {
    let target = rows.target()?;
    check_target(spec.loss, target)?;
    let n_classes = n_classes(target);
    let weights = row_weights(rows, class_weights(spec.class_weight, rows)?.as_deref())?;
    let divided = match spec.early_stopping {
        0 => None,
        _ => rows.ties.set_aside(target, options.seed.derive("set aside").0),
    };
    let mut info = FitInfo::default();
    let threads = Threads::exactly(options.threads);
    let columns = Named { names: &rows.names, categorical };
    let parameters = parameters(spec, spec.learning_rate, n_classes, &columns, options)?;
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
    let card = Card { parameters: spec.clone(), n_classes, rounds, categorical: categorical.to_vec() };
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
    let Card { parameters: spec, n_classes, rounds, categorical } = &base.card;
    for rows in [train, validation] {
        check_not_infinite(rows)?;
        check_target(spec.loss, rows.target()?)?;
        if self::n_classes(rows.target()?) != *n_classes {
            return Err(StageError::data("the rows have another target than the rows that the base was trained on"));
        }
    }
    let class_weights = class_weights(spec.class_weight, train)?;
    let weights = |rows: &Design| row_weights(rows, class_weights.as_deref());
    let threads = Threads::exactly(options.threads);
    let columns = Named { names: &train.names, categorical };
    let parameters = parameters(spec, tuning.learning_rate, *n_classes, &columns, options)?;
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
    let card = Card { rounds: rounds + best, ..base.card.clone() };
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
    let unnamed = Named { names: &[], categorical: &[] };
    let parameters = parameters(spec, spec.learning_rate, n_classes(target), &unnamed, options)?;
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
        let is_last = options.progress.is_enough();
        options.progress.update("rounds", round as u64, Some(rounds as u64));
        let Some(loss) = training.validation_loss(threads)? else {
            if is_last {
                break;
            }
            continue;
        };
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
        if is_last {
            break;
        }
    }
    // Without a single split LightGBM still has a constant for every output.
    if losses.is_empty() && before.is_infinite() {
        best = training.iterations()?;
    }
    Ok((best, losses))
}

impl Family for GradientBoosting {
    type Learned = FittedBoosting;

    fn learn(&self, rows: &Design, _task: &Task, options: &FitOptions) -> Result<(FittedBoosting, FitInfo)> {
        fit_on(self, rows, &categorical(rows), options)
    }
}

impl Learned for FittedBoosting {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
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

    fn describe(&self) -> String {
        format!("{} rounds of boosted trees", self.card.rounds)
    }

    fn size(&self) -> usize {
        self.card.rounds
            * self.card.n_classes.filter(|labels| *labels > 2).unwrap_or(1)
            * 3
            * self.card.parameters.leaves
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("boosting.json", &self.card)?;
        dir.bytes("model.txt", self.booster.text(None)?.as_bytes())
    }

    fn load(dir: &LoadDir) -> Result<Self> {
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

impl FittedBoosting {
    /// The trees of each output.
    pub fn rounds(&self) -> usize {
        self.card.rounds
    }

    /// The sums of leaves of rows [rows, outputs], before the link function.
    pub fn raw(&self, features: ArrayView2<f64>) -> Result<Array2<f64>> {
        self.booster.predict(features, Output::Raw, &Threads::about(rayon::current_num_threads()))
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

/// What LightGBM is told of columns besides their values.
struct Named<'a> {
    names: &'a [String],
    /// The places of those that hold codes of words.
    categorical: &'a [usize],
}

/// The parameters in LightGBM's names. Histograms are built by columns, each by one thread, so that sums do not depend on the number of threads.
fn parameters(
    spec: &GradientBoosting,
    learning_rate: f64,
    n_classes: Option<usize>,
    columns: &Named,
    options: &FitOptions,
) -> Result<CString> {
    let objective = objective(spec, n_classes)?;
    // LightGBM's seeds are positive 32-bit integers.
    let seed = options.seed.derive("lightgbm").0 >> 33;
    let threads = options.threads.max(1);
    let GradientBoosting { leaves, min_rows, min_hessian, min_gain, column_share, row_share, l1, l2, bins, .. } = spec;
    let max_depth = if spec.max_depth == 0 { -1 } else { spec.max_depth as i64 };
    let bagging = i32::from(*row_share < 1.0);
    let lists = [
        ("monotone_constraints", directions(spec, columns)?),
        ("categorical_feature", columns.categorical.iter().map(ToString::to_string).collect()),
    ];
    let lists: String = lists
        .iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| format!(" {name}={}", list.join(",")))
        .collect();
    c_string(&format!(
        "{objective} learning_rate={learning_rate} num_leaves={leaves} max_depth={max_depth} min_data_in_leaf={min_rows} \
         min_sum_hessian_in_leaf={min_hessian} min_gain_to_split={min_gain} feature_fraction={column_share} \
         bagging_fraction={row_share} bagging_freq={bagging} lambda_l1={l1} lambda_l2={l2} max_bin={bins}{lists} \
         seed={seed} deterministic=true force_col_wise=true feature_pre_filter=false num_threads={threads} verbosity=-1"
    ))
}

fn objective(spec: &GradientBoosting, n_classes: Option<usize>) -> Result<String> {
    let alpha = spec.alpha;
    match (n_classes, spec.loss) {
        (Some(2), BoostingLoss::Squared) => Ok("objective=binary".to_owned()),
        (Some(n_classes), BoostingLoss::Squared) => Ok(format!("objective=multiclass num_class={n_classes}")),
        (Some(_), loss) => Err(StageError::data(format!(
            "gradient_boosting has the loss `{}` for values only, and the target holds labels",
            word(loss)
        ))
        .help("leave `loss` out")),
        (None, BoostingLoss::Squared) => Ok("objective=regression".to_owned()),
        (None, BoostingLoss::Absolute) => Ok("objective=regression_l1".to_owned()),
        (None, BoostingLoss::Huber) => Ok(format!("objective=huber alpha={alpha}")),
        (None, BoostingLoss::Quantile) if alpha >= 1.0 => {
            Err(StageError::data(format!("gradient_boosting cannot predict the quantile {alpha}"))
                .help("give an `alpha` between 0 and 1"))
        }
        (None, BoostingLoss::Quantile) => Ok(format!("objective=quantile alpha={alpha}")),
        (None, BoostingLoss::Poisson) => Ok("objective=poisson".to_owned()),
        (None, BoostingLoss::Gamma) => Ok("objective=gamma".to_owned()),
    }
}

/// For each column 1, -1 or 0; nothing where no column is bound.
fn directions(spec: &GradientBoosting, columns: &Named) -> Result<Vec<String>> {
    if spec.monotone.is_empty() {
        return Ok(Vec::new());
    }
    // LightGBM sets the leaves of these anew, whatever they are bound to.
    if matches!(spec.loss, BoostingLoss::Absolute | BoostingLoss::Quantile) {
        return Err(StageError::data(format!(
            "gradient_boosting has no `monotone` with the loss `{}`",
            word(spec.loss)
        ))
        .help("take another `loss`, such as `huber`, or leave `monotone` out"));
    }
    let mut directions = vec!["0".to_owned(); columns.names.len()];
    for (name, direction) in &spec.monotone {
        let Some(column) = columns.names.iter().position(|other| other == name) else {
            let error = StageError::data(format!("`monotone` names `{name}`, which is no feature"));
            let meant = did_you_mean(name, columns.names.iter().map(String::as_str));
            return Err(match meant {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None => error.help("name columns as they come to the model"),
            });
        };
        if columns.categorical.contains(&column) {
            return Err(StageError::data(format!("`monotone` names `{name}`, which holds words: they have no order"))
                .help("leave it out of `monotone`, or encode the column before this stage"));
        }
        directions[column] = match direction {
            Monotone::Increasing => "1".to_owned(),
            Monotone::Decreasing => "-1".to_owned(),
        };
    }
    Ok(directions)
}

/// Fails where deviances of counts or of positive values are asked for, and the target holds others.
fn check_target(loss: BoostingLoss, target: &Target) -> Result<()> {
    let Target::Values(values) = target else { return Ok(()) };
    let (fits, wanted): (fn(&f64) -> bool, _) = match loss {
        BoostingLoss::Poisson => (|value| *value >= 0.0, "values of at least 0"),
        BoostingLoss::Gamma => (|value| *value > 0.0, "values above 0"),
        _ => return Ok(()),
    };
    let Some(row) = values.iter().position(|value| !fits(value)) else { return Ok(()) };
    let (value, n_rows, row, loss) = (values[row], values.len(), row + 1, word(loss));
    Err(StageError::data(format!(
        "the loss `{loss}` is for {wanted}, and the target holds {value} in row {row} of {n_rows}"
    ))
    .help("take another `loss`, such as `squared`"))
}

fn word(loss: BoostingLoss) -> &'static str {
    match loss {
        BoostingLoss::Squared => "squared",
        BoostingLoss::Absolute => "absolute",
        BoostingLoss::Huber => "huber",
        BoostingLoss::Quantile => "quantile",
        BoostingLoss::Poisson => "poisson",
        BoostingLoss::Gamma => "gamma",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use retune_stage::{Device, Seed, Silent};

    use super::*;

    /// Columns of words, against LightGBM's Python package, from `tests/reference/boosting.py`.
    #[test]
    fn words_are_split_as_by_lightgbm() {
        let file: serde_json::Value = serde_json::from_str(include_str!("../tests/fixtures/boosting.json")).unwrap();
        let case = &file["words"];
        let rows: Vec<Vec<Option<f64>>> = serde_json::from_value(case["features"].clone()).unwrap();
        let cells: Vec<f64> = rows.iter().flatten().map(|cell| cell.unwrap_or(f64::NAN)).collect();
        let features = Array2::from_shape_vec((rows.len(), rows[0].len()), cells).unwrap();
        let names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let target = Some(Target::Values(serde_json::from_value(case["target"].clone()).unwrap()));
        let rows = Design { features, names, target, ..Design::default() };
        let spec: GradientBoosting =
            serde_json::from_str(r#"{ "trees": 20, "leaves": 7, "min_rows": 10, "bins": 63 }"#).unwrap();
        let options = FitOptions { seed: Seed(1), threads: 1, device: Device::Cpu, progress: &Silent };
        let (model, _) = fit_on(&spec, &rows, &[0, 3], &options).unwrap();
        let theirs: Vec<f64> = serde_json::from_value(case["raw"].clone()).unwrap();
        for (ours, theirs) in model.raw(rows.features.view()).unwrap().iter().zip(&theirs) {
            assert!((ours - theirs).abs() < 1e-9, "{ours} {theirs}");
        }
        let (numbers, _) = fit(&spec, &rows, &options).unwrap();
        assert!(numbers.raw(rows.features.view()).unwrap() != model.raw(rows.features.view()).unwrap());
        let mut bound = spec;
        bound.monotone.insert("d".to_owned(), Monotone::Increasing);
        let error = fit_on(&bound, &rows, &[0, 3], &options).err().unwrap();
        assert_eq!(error.message, "`monotone` names `d`, which holds words: they have no order");
    }
}
