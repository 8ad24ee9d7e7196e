//! `target_encode`.

use polars::prelude::Column;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_spec::preprocessing::{Smooth, TargetEncode};
use retune_stage::{Field, FitContext, Fold, Kind, Result, Role, StageError, Target, Task, Ties};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, numeric_column};
use crate::levels::Levels;
use crate::outline::Outline;
use crate::source::Source;
use crate::stats::Moments;
use crate::step::{ApplyStep, FitStep, Learnt, Train, counted};

/// What each level of each column is replaced by.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedTargetEncode {
    columns: Vec<String>,
    encodings: Vec<Encoding>,
    /// The overall mean of each quantity, which a level never seen is replaced by.
    means: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
struct Encoding {
    levels: Levels,
    /// A new column for each quantity.
    names: Vec<String>,
    /// For each quantity, the value of each level.
    values: Vec<Vec<f64>>,
}

impl FitStep for TargetEncode {
    type Fitted = FittedTargetEncode;
    const KINDS: &'static [Kind] = &[Kind::Categorical, Kind::Boolean, Kind::Text];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if outline.schema().of_role(Role::Target).is_none() {
            return Err(StageError::data("the rows have no target to encode by"));
        }
        let task = outline.schema().task.clone();
        outline.remove(columns);
        for name in columns {
            match &task {
                None => outline.add_open(&format!("{name}_"), Kind::Numeric),
                Some(task) => suffixes(task)
                    .into_iter()
                    .try_for_each(|suffix| outline.add(format!("{name}_{suffix}"), Kind::Numeric))?,
            }
        }
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], context: &FitContext) -> Result<Learnt<FittedTargetEncode>> {
        let frame = source.frame()?;
        let task = frame
            .table
            .schema()
            .task
            .as_ref()
            .ok_or_else(|| StageError::data("the task of the target is not known"))?;
        let (target, quantities) = quantities(frame)?;
        if columns.is_empty() {
            let fitted = FittedTargetEncode { columns: Vec::new(), encodings: Vec::new(), means: Vec::new() };
            return Ok(Learnt::applied(fitted, "encoded no column".to_owned()));
        }
        if frame.n_rows() < self.folds {
            return Err(StageError::data(format!(
                "{} folds need at least {} training rows; there are {}",
                self.folds,
                self.folds,
                frame.n_rows()
            ))
            .help("lower `folds`"));
        }
        let folds = folds(&Ties::of(&frame.table)?, &target, self.folds, context.seed.0)?;
        let everyone = vec![true; frame.n_rows()];
        let learn = |name: &String| {
            let names: Vec<String> = suffixes(task).iter().map(|suffix| format!("{name}_{suffix}")).collect();
            let (levels, codes) = Levels::learn(&frame.levels(name)?);
            let encode = |quantity: &Vec<f64>, rows: &[bool]| encode(&codes, levels.len(), quantity, rows, self.smooth);
            let values = quantities.iter().map(|quantity| encode(quantity, &everyone).0).collect();
            let train = quantities.iter().map(|quantity| cross_fit(&codes, &folds, |rows| encode(quantity, rows)));
            let train = new_columns(frame, name, &names, train.collect())?;
            Ok((Encoding { levels, names, values }, (name.clone(), train)))
        };
        let learned: Vec<_> = columns.par_iter().map(learn).collect::<Result<_>>()?;
        let (encodings, train): (Vec<Encoding>, Vec<_>) = learned.into_iter().unzip();
        let means = quantities.iter().map(|quantity| Moments::of(quantity, None).map_or(0.0, |of| of.mean)).collect();
        let n_levels: usize = encodings.iter().map(|encoding| encoding.levels.len()).sum();
        let text = format!(
            "encoded {} of {} by the target, training rows over {} folds",
            counted(columns.len(), "column"),
            counted(n_levels, "level"),
            self.folds
        );
        let fitted = FittedTargetEncode { columns: columns.to_vec(), encodings, means };
        Ok(Learnt::new(fitted, Train::Frame(frame.replace(train)?), text))
    }
}

impl ApplyStep for FittedTargetEncode {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let replace = |(name, encoding): (&String, &Encoding)| {
            let codes = encoding.levels.encode(&frame.levels(name)?);
            let column = |(values, mean): (&Vec<f64>, &f64)| {
                codes
                    .iter()
                    .map(|code| code.and_then(|code| values.get(code as usize)).copied().unwrap_or(*mean))
                    .collect()
            };
            let columns = encoding.values.iter().zip(&self.means).map(column).collect();
            Ok((name.clone(), new_columns(frame, name, &encoding.names, columns)?))
        };
        frame.replace(self.columns.par_iter().zip(&self.encodings).map(replace).collect::<Result<_>>()?)
    }
}

/// How the new columns of a column are called: for two labels or a number `target`, for more labels theirs.
fn suffixes(task: &Task) -> Vec<String> {
    match task {
        Task::Classification { labels } if labels.len() > 2 => labels.clone(),
        _ => vec!["target".to_owned()],
    }
}

/// The target, and the quantities whose means are taken: the target itself, whether it is the second of two labels, or whether it is each of more.
fn quantities(frame: &Frame) -> Result<(Target, Vec<Vec<f64>>)> {
    let target = frame.table.target()?;
    let is = |codes: &[u32], label: u32| codes.iter().map(|&code| f64::from(u8::from(code == label))).collect();
    let quantities = match &target {
        Target::Values(values) => match values.iter().position(|value| value.is_nan()) {
            None => vec![values.clone()],
            Some(row) => {
                return Err(StageError::data(format!(
                    "the target has no value in row {}",
                    frame.table.row_number(row)
                )));
            }
        },
        Target::Classes { codes, n_classes } if *n_classes > 2 => {
            (0..*n_classes as u32).map(|label| is(codes, label)).collect()
        }
        Target::Classes { codes, .. } => vec![is(codes, 1)],
    };
    Ok((target, quantities))
}

/// What the values of training rows are learned from. Without groups and times the folds are random, with every label spread evenly; groups stay whole, or a row
/// would be encoded by its own kin. Where rows have times, each span learns from those before it only: blocks that learn from later ones as well would give the
/// model values that know the future, and those of rows to predict do not.
fn folds(ties: &Ties, target: &Target, n_folds: usize, seed: u64) -> Result<Vec<Fold>> {
    if !ties.is_empty() {
        return Ok(ties.folds(target, &[], n_folds, seed)?);
    }
    let mut rows: Vec<usize> = (0..target.len()).collect();
    rows.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    if let Target::Classes { codes, .. } = target {
        rows.sort_by_key(|&row| codes[row]);
    }
    let mut fold_of = vec![0; rows.len()];
    rows.iter().enumerate().for_each(|(place, &row)| fold_of[row] = place % n_folds);
    Ok((0..n_folds).map(|fold| one_against_the_others(&fold_of, fold)).collect())
}

fn one_against_the_others(fold_of: &[usize], fold: usize) -> Fold {
    let (validation, train) = (0..fold_of.len()).partition(|&row| fold_of[row] == fold);
    Fold { train, validation }
}

/// Each row's value as learned, with the mean, from the rows that its fold learns from. Rows of no fold are the earliest, which have no past: they all get one
/// value, the mean over them, so that none of them shows its own target.
fn cross_fit(codes: &[u32], folds: &[Fold], learn: impl Fn(&[bool]) -> (Vec<f64>, f64)) -> Vec<f64> {
    let mut is_first = vec![true; codes.len()];
    folds.iter().flat_map(|fold| &fold.validation).for_each(|&row| is_first[row] = false);
    let mut values = vec![learn(&is_first).1; codes.len()];
    for fold in folds {
        let mut others = vec![false; codes.len()];
        fold.train.iter().for_each(|&row| others[row] = true);
        let (learned, _) = learn(&others);
        fold.validation.iter().for_each(|&row| values[row] = learned[codes[row] as usize]);
    }
    values
}

/// The value of each level, learned from some rows, and the mean over those: as scikit-learn's `TargetEncoder`.
fn encode(codes: &[u32], n_levels: usize, quantity: &[f64], rows: &[bool], smooth: Smooth) -> (Vec<f64>, f64) {
    let chosen = || {
        codes
            .iter()
            .zip(quantity)
            .zip(rows)
            .filter(|(_, chosen)| **chosen)
            .map(|((code, value), _)| (*code as usize, *value))
    };
    let (mut counts, mut sums) = (vec![0.0; n_levels], vec![0.0; n_levels]);
    for (code, value) in chosen() {
        counts[code] += 1.0;
        sums[code] += value;
    }
    let n: f64 = counts.iter().sum();
    let mean = sums.iter().sum::<f64>() / n.max(1.0);
    let values = match smooth {
        Smooth::Rows(weight) => {
            let value = |(sum, count): (&f64, &f64)| {
                if count + weight == 0.0 { mean } else { (sum + weight * mean) / (count + weight) }
            };
            sums.iter().zip(&counts).map(value).collect()
        }
        Smooth::Auto(_) => {
            let variance = chosen().map(|(_, value)| (value - mean).powi(2)).sum::<f64>() / n.max(1.0);
            let mut squares = vec![0.0; n_levels];
            for (code, value) in chosen() {
                squares[code] += (value - sums[code] / counts[code]).powi(2);
            }
            let value = |level: usize| {
                let count: f64 = counts[level];
                let weight = variance * count / (variance * count + squares[level] / count);
                // Without rows, or without any spread, there is nothing to say about the level.
                if weight.is_nan() { mean } else { weight * (sums[level] / count) + (1.0 - weight) * mean }
            };
            (0..n_levels).map(value).collect()
        }
    };
    (values, mean)
}

fn new_columns(frame: &Frame, name: &str, names: &[String], values: Vec<Vec<f64>>) -> Result<Vec<(Field, Column)>> {
    let origin = frame.field(name)?.origin();
    let column = |(name, values): (&String, Vec<f64>)| {
        (Field::derived(name, Kind::Numeric, origin), numeric_column(name, values))
    };
    Ok(names.iter().zip(values).map(column).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use polars::prelude::{NewChunkedArray, StringChunked};
    use serde_json::Value;

    // Expected values from TargetEncoder.fit_transform of scikit-learn with the same folds (tests/reference/preprocessing.py).
    #[test]
    fn training_rows_are_encoded_as_by_scikit_learn() {
        let cases: Vec<Value> = serde_json::from_str(include_str!("../tests/fixtures/preprocessing.json")).unwrap();
        let mut n_checked = 0;
        for case in cases.iter().filter(|case| case["folds"].is_array()) {
            let step: TargetEncode = serde_json::from_value(case["step"]["target_encode"].clone()).unwrap();
            let folds: Vec<usize> = serde_json::from_value(case["folds"].clone()).unwrap();
            for (name, column) in case["train"].as_object().unwrap() {
                let values: Vec<Option<&str>> = column.as_array().unwrap().iter().map(Value::as_str).collect();
                let (levels, codes) = Levels::learn(&StringChunked::from_slice_options("x".into(), &values));
                for (suffix, quantity) in target_quantities(&case["target"]) {
                    let expected = case["expected"]["train"][format!("{name}_{suffix}")].as_array().unwrap();
                    let learn = |rows: &[bool]| encode(&codes, levels.len(), &quantity, rows, step.smooth);
                    let folds: Vec<Fold> = (0..step.folds).map(|fold| one_against_the_others(&folds, fold)).collect();
                    let ours = cross_fit(&codes, &folds, learn);
                    for (ours, theirs) in ours.iter().zip(expected) {
                        assert!(
                            (ours - theirs.as_f64().unwrap()).abs() < 1e-9,
                            "{}: {ours} against {theirs}",
                            case["name"]
                        );
                    }
                    n_checked += 1;
                }
            }
        }
        assert_eq!(n_checked, 2 * 3 * (1 + 1 + 3));
    }

    fn target_quantities(target: &Value) -> Vec<(String, Vec<f64>)> {
        let target = target.as_array().unwrap();
        if target[0].is_number() {
            return vec![("target".to_owned(), target.iter().map(|value| value.as_f64().unwrap()).collect())];
        }
        let mut labels: Vec<&str> = target.iter().map(|value| value.as_str().unwrap()).collect();
        labels.sort_unstable();
        labels.dedup();
        let is = |label: &str| target.iter().map(|value| f64::from(u8::from(value == label))).collect();
        match labels.as_slice() {
            [_, second] => vec![("target".to_owned(), is(second))],
            labels => labels.iter().map(|label| ((*label).to_owned(), is(label))).collect(),
        }
    }

    #[test]
    fn folds_spread_every_label() {
        let codes: Vec<u32> = (0..103).map(|row| u32::from(row % 10 == 0)).collect();
        let target = Target::Classes { codes: codes.clone(), n_classes: 2 };
        let folds = folds(&Ties::default(), &target, 5, 7).unwrap();
        for fold in &folds {
            let of_fold = |label: u32| fold.validation.iter().filter(|&&row| codes[row] == label).count();
            assert!((18..=19).contains(&of_fold(0)) && (2..=3).contains(&of_fold(1)), "{fold:?}");
            assert_eq!(fold.train.len() + fold.validation.len(), 103);
        }
        assert_ne!(folds, super::folds(&Ties::default(), &target, 5, 8).unwrap());
    }

    /// The training rows' values of a step with two folds, rows of one level, without smoothing.
    fn encoded(ties: &Ties, target: Vec<f64>) -> Vec<f64> {
        let folds = folds(ties, &Target::Values(target.clone()), 2, 3).unwrap();
        let codes = vec![0; target.len()];
        cross_fit(&codes, &folds, |rows| encode(&codes, 1, &target, rows, Smooth::Rows(0.0)))
    }

    #[test]
    fn no_row_is_encoded_by_its_own_group() {
        let groups = vec![0, 0, 1, 1, 0, 1];
        let ties = Ties { groups: Some(groups.clone()), times: None };
        // Each group has the mean of the other one.
        let expected: Vec<f64> = groups.iter().map(|&group| if group == 0 { 6.0 } else { 2.0 }).collect();
        assert_eq!(encoded(&ties, vec![1.0, 2.0, 5.0, 6.0, 3.0, 7.0]), expected);
        let one_group = Ties { groups: Some(vec![0; 6]), times: None };
        let error = folds(&one_group, &Target::Values(vec![0.0; 6]), 2, 3).unwrap_err();
        assert_eq!(error.message, "2 folds need at least 2 groups; there are 1");
    }

    #[test]
    fn no_row_is_encoded_by_what_came_later() {
        let ties = Ties { groups: None, times: Some(vec![5, 4, 3, 2, 1, 0]) };
        // Three spans: the first has its own mean, the second that of the first, the third that of both.
        let [first, second, third] = [(1.0 + 2.0) / 2.0, (1.0 + 2.0) / 2.0, (1.0 + 2.0 + 10.0 + 20.0) / 4.0];
        assert_eq!(
            encoded(&ties, vec![1000.0, 500.0, 20.0, 10.0, 2.0, 1.0]),
            [third, third, second, second, first, first]
        );
    }
}
