//! `outliers`.

use polars::prelude::{BooleanChunked, Column, IntoColumn, NewChunkedArray};
use retune_spec::preprocessing::{AutoWord, Contamination, OutlierAction, OutlierMethod, Outliers};
use retune_stage::{Field, FitContext, Kind, LoadDir, Result, Role, SaveDir, StageError};
use serde::{Deserialize, Serialize};

use crate::clip_outliers::clipped;
use crate::frame::Frame;
use crate::isolation_forest::Forest;
use crate::local_outlier_factor::Densities;
use crate::neighbours::matrix;
use crate::outline::Outline;
use crate::ranges::{Outside, Rule, left_alone, outside};
use crate::source::Source;
use crate::stats::quantiles_of;
use crate::step::{ApplyStep, FitStep, Learnt, Train, counted};

/// The word in the language, which rows are flagged by.
const WORD: &str = "outliers";

/// What is usual, and what is done with the rest.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedOutliers {
    columns: Vec<String>,
    action: OutlierAction,
    usual: Usual,
}

#[derive(Serialize, Deserialize)]
enum Usual {
    /// The range of each column; `None` for one that is let alone.
    Values(Vec<Option<[f64; 2]>>),
    /// Rows whose score is not below this.
    Rows { scores: Scores, least: f64 },
}

/// What gives rows a score, the lower the more unusual.
#[derive(Serialize, Deserialize)]
enum Scores {
    IsolationForest(Forest),
    LocalOutlierFactor(Densities),
}

impl FitStep for Outliers {
    type Fitted = FittedOutliers;
    const KINDS: &'static [Kind] = &[Kind::Numeric];
    const REPAIRS: bool = true;

    fn repairs(&self) -> bool {
        matches!(self.action, OutlierAction::Clip | OutlierAction::Null)
    }

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if let Some((_, message, help)) = self.misfits().into_iter().next() {
            return Err(StageError::data(message).help(help));
        }
        if let Some(rule) = rule(self) {
            rule.check()?;
        }
        match (self.action, self.method.of_values()) {
            (OutlierAction::Flag, None) => outline.add(Self::OUTLIER.to_owned(), Kind::Boolean),
            (OutlierAction::Flag, Some(_)) => {
                let known = columns.iter().filter(|name| Outline::is_closed(std::slice::from_ref(name)));
                known.for_each(|name| outline.add_open(&indicator_name(name), Kind::Boolean));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn fit(&self, source: &Source, columns: &[String], context: &FitContext) -> Result<Learnt<FittedOutliers>> {
        match rule(self) {
            Some(rule) => fit_values(self, rule, source, columns),
            None => fit_rows(self, source.frame()?, columns, context),
        }
    }
}

impl ApplyStep for FittedOutliers {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        match &self.usual {
            Usual::Values(ranges) => self.apply_values(frame, ranges),
            Usual::Rows { scores, least } => {
                let cells = complete(frame, &self.columns)?;
                let scores = match scores {
                    Scores::IsolationForest(forest) => forest.scores(&cells),
                    Scores::LocalOutlierFactor(densities) => densities.scores(&cells)?,
                };
                let unusual: Vec<bool> = scores.iter().map(|score| score < least).collect();
                match self.action {
                    OutlierAction::Drop => frame.flag(&unusual, WORD),
                    _ => frame.append(vec![flags(Outliers::OUTLIER, None, &unusual)]),
                }
            }
        }
    }

    fn save(&self, dir: &SaveDir, file: &str) -> Result<()> {
        match &self.usual {
            Usual::Values(_) => Ok(()),
            Usual::Rows { scores: Scores::IsolationForest(forest), .. } => forest.save(dir, file),
            Usual::Rows { scores: Scores::LocalOutlierFactor(densities), .. } => densities.save(dir, file),
        }
    }

    fn load(&mut self, dir: &LoadDir, file: &str) -> Result<()> {
        match &mut self.usual {
            Usual::Values(_) => Ok(()),
            Usual::Rows { scores: Scores::IsolationForest(forest), .. } => forest.load(dir, file),
            Usual::Rows { scores: Scores::LocalOutlierFactor(densities), .. } => densities.load(dir, file),
        }
    }
}

impl FittedOutliers {
    fn apply_values(&self, frame: &Frame, ranges: &[Option<[f64; 2]>]) -> Result<Frame> {
        match self.action {
            OutlierAction::Clip => clipped(frame, &self.columns, ranges),
            OutlierAction::Null => frame.map(&self.columns, |index, values| {
                if let Some([low, high]) = ranges[index] {
                    values
                        .iter_mut()
                        .filter(|value| **value < low || **value > high)
                        .for_each(|value| *value = f64::NAN);
                }
                Ok(())
            }),
            OutlierAction::Drop => {
                let mut any = vec![false; frame.n_rows()];
                for (name, range) in self.columns.iter().zip(ranges) {
                    let outside = outside(frame, name, *range)?;
                    any.iter_mut().zip(outside).for_each(|(any, outside)| *any |= outside);
                }
                frame.flag(&any, WORD)
            }
            OutlierAction::Flag => {
                let flagged = self.columns.iter().zip(ranges).filter(|(_, range)| range.is_some());
                let flagged = flagged.map(|(name, range)| {
                    let field = frame.field(name)?.clone();
                    let column = frame.table.column(name)?.clone();
                    let flags = flags(&indicator_name(name), Some(field.origin()), &outside(frame, name, *range)?);
                    Ok((name.clone(), vec![(field, column), flags]))
                });
                frame.replace(flagged.collect::<Result<_>>()?)
            }
        }
    }
}

/// Fits a method that looks at values.
fn fit_values(step: &Outliers, rule: Rule, source: &Source, columns: &[String]) -> Result<Learnt<FittedOutliers>> {
    let mut ranges = rule.ranges(source, columns)?;
    let found = Outside::of(source, columns, &ranges)?;
    let (n_values, n_rows) = (counted(found.n_values(), "value"), found.n_rows());
    let in_columns = format!("in {}", counted(found.n_columns(), "column"));
    let rows = counted(n_rows, "training row");
    let text = match step.action {
        OutlierAction::Clip => format!("clipped {n_values} {in_columns}"),
        OutlierAction::Null => format!("made {n_values} missing {in_columns}"),
        OutlierAction::Drop => format!("dropped {rows} for {n_values} {in_columns}"),
        OutlierAction::Flag => format!("flagged {n_values} {in_columns}, of {rows}"),
    };
    let text = text + &left_alone(&ranges);
    if step.action == OutlierAction::Flag {
        // A column without outliers in training rows gets no flags.
        ranges.iter_mut().zip(&found.values).filter(|(_, n)| **n == 0).for_each(|(range, _)| *range = None);
    }
    let (train, flagged) = match step.action {
        OutlierAction::Drop => (Train::Kept(found.rows.iter().map(|outside| !outside).collect()), 0),
        OutlierAction::Flag => (Train::Applied, n_rows),
        OutlierAction::Clip | OutlierAction::Null => (Train::Applied, 0),
    };
    let fitted = FittedOutliers { columns: columns.to_vec(), action: step.action, usual: Usual::Values(ranges) };
    Ok(Learnt { flagged, ..Learnt::new(fitted, train, text) })
}

/// Fits a method that looks at rows.
fn fit_rows(
    step: &Outliers,
    frame: &Frame,
    columns: &[String],
    context: &FitContext,
) -> Result<Learnt<FittedOutliers>> {
    if columns.is_empty() {
        return Err(StageError::data("there is no column to find outliers by").help("choose other `columns`"));
    }
    let cells = complete(frame, columns)?;
    let (scores, train, auto) = if step.method == OutlierMethod::IsolationForest {
        let n_trees = step.trees.unwrap_or(100);
        let forest = Forest::grow(&cells, columns.len(), n_trees, context.seed.0);
        let train = forest.scores(&cells);
        (Scores::IsolationForest(forest), train, -0.5)
    } else {
        let (densities, train) = Densities::learn(cells, columns.len(), step.neighbours.unwrap_or(20))?;
        (Scores::LocalOutlierFactor(densities), train, -1.5)
    };
    let least = match step.contamination.unwrap_or(Contamination::Auto(AutoWord::Auto)) {
        Contamination::Auto(_) => auto,
        Contamination::Share(share) => quantiles_of(&mut train.clone(), &[share]).map_or(auto, |scores| scores[0]),
    };
    let unusual: Vec<bool> = train.iter().map(|score| *score < least).collect();
    let n_unusual = unusual.iter().filter(|unusual| **unusual).count();
    let did = if step.action == OutlierAction::Drop { "dropped" } else { "flagged" };
    let text = format!("{did} {} of {}", n_unusual, counted(frame.n_rows(), "training row"));
    // A training row's own score takes no account of itself, which that of a row to predict would.
    let (train, flagged) = if step.action == OutlierAction::Drop {
        let kept: Vec<usize> = (0..unusual.len()).filter(|&row| !unusual[row]).collect();
        (frame.take(&kept)?.flag(&vec![false; kept.len()], WORD)?, 0)
    } else {
        (frame.append(vec![flags(Outliers::OUTLIER, None, &unusual)])?, n_unusual)
    };
    let usual = Usual::Rows { scores, least };
    let fitted = FittedOutliers { columns: columns.to_vec(), action: step.action, usual };
    Ok(Learnt { flagged, ..Learnt::new(fitted, Train::Frame(train), text) })
}

/// How ranges are learned, by a method that looks at values.
fn rule(step: &Outliers) -> Option<Rule> {
    let percentiles = step.percentiles.unwrap_or([1.0, 99.0]);
    step.method.of_values().map(|method| Rule { method, factor: step.factor, percentiles })
}

fn indicator_name(name: &str) -> String {
    format!("{name}_outlier")
}

/// A feature of 0 and 1.
fn flags(name: &str, origin: Option<&str>, flagged: &[bool]) -> (Field, Column) {
    let field =
        Field { name: name.to_owned(), role: Role::Feature, kind: Kind::Boolean, source: origin.map(str::to_owned) };
    (field, BooleanChunked::from_slice(name.into(), flagged).into_column())
}

/// The columns as a matrix [rows, columns] in row order, none missing.
fn complete(frame: &Frame, columns: &[String]) -> Result<Vec<f64>> {
    let cells = matrix(frame, columns)?;
    match cells.iter().position(|cell| cell.is_nan()) {
        None => Ok(cells),
        Some(cell) => {
            let (row, name) = (frame.table.row_number(cell / columns.len()), &columns[cell % columns.len()]);
            Err(StageError::data(format!("column `{name}` has no value in row {row}"))
                .help("fill missing values before: add the step `impute`"))
        }
    }
}
