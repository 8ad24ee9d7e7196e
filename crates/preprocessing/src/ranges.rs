//! Ranges of usual values, learned from training rows: what `clip_outliers` and `outliers` share.

use rayon::prelude::*;
use retune_spec::preprocessing::ClipMethod;
use retune_stage::{Result, StageError};

use crate::frame::Frame;
use crate::source::Source;
use crate::stats::{moments, quantiles, quantiles_of};

/// The median absolute deviation of normal numbers whose standard deviation is 1.
const NORMAL_DEVIATION: f64 = 0.6745;

/// How ranges are learned.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) method: ClipMethod,
    pub(crate) factor: Option<f64>,
    pub(crate) percentiles: [f64; 2],
}

impl Rule {
    /// Fails where the parameters make no range.
    pub(crate) fn check(&self) -> Result<()> {
        let [low, high] = self.percentiles;
        if low < high && (0.0..=100.0).contains(&low) && (0.0..=100.0).contains(&high) {
            return Ok(());
        }
        Err(StageError::data(format!("`percentiles: [{low}, {high}]` is no range"))
            .help("give a lower and a higher number between 0 and 100"))
    }

    /// The range of each column; `None` for one that has no values or no spread. A column of which most values are equal has quartiles without distance: by
    /// such a range it would become a constant, so it is let alone.
    pub(crate) fn ranges(&self, source: &Source, columns: &[String]) -> Result<Vec<Option<[f64; 2]>>> {
        let factor = self.factor.or(self.method.default_factor()).unwrap_or_default();
        let widened = |low: f64, high: f64, spread: f64| {
            (spread > 0.0).then_some([low - factor * spread, high + factor * spread])
        };
        let between = |shares: [f64; 2]| quantiles(source, columns, &shares);
        let ranges: Vec<Option<[f64; 2]>> = match self.method {
            ClipMethod::ZScore => moments(source, columns, false)?
                .into_iter()
                .map(|moments| moments.and_then(|of| widened(of.mean, of.mean, of.variance().sqrt())))
                .collect(),
            ClipMethod::ModifiedZScore => medians(source, columns)?
                .into_iter()
                .map(|medians| {
                    medians.and_then(|[median, deviation]| widened(median, median, deviation / NORMAL_DEVIATION))
                })
                .collect(),
            ClipMethod::Iqr => between([0.25, 0.75])?
                .into_iter()
                .map(|quartiles| quartiles.and_then(|of| widened(of[0], of[1], of[1] - of[0])))
                .collect(),
            ClipMethod::Percentile => between(self.percentiles.map(|percentile| percentile / 100.0))?
                .into_iter()
                .map(|bounds| bounds.and_then(|of| (of[0] < of[1]).then_some([of[0], of[1]])))
                .collect(),
        };
        let finite = |range: &[f64; 2]| range.iter().all(|bound| bound.is_finite());
        Ok(ranges.into_iter().map(|range| range.filter(finite)).collect())
    }
}

/// The median of each column and the median distance from it; `None` for a column without values. Distances are of one column at a time, where rows are too
/// many to be held.
fn medians(source: &Source, columns: &[String]) -> Result<Vec<Option<[f64; 2]>>> {
    let of = |name: &String| {
        let mut values = source.numeric(name)?;
        values.retain(|value| !value.is_nan());
        let Some(median) = quantiles_of(&mut values, &[0.5]).map(|median| median[0]) else { return Ok(None) };
        values.iter_mut().for_each(|value| *value = (*value - median).abs());
        Ok(quantiles_of(&mut values, &[0.5]).map(|deviation| [median, deviation[0]]))
    };
    match source {
        Source::Frame(_) => columns.par_iter().map(of).collect(),
        Source::Pieces(_) => columns.iter().map(of).collect(),
    }
}

/// Whether each value of a column lies outside its range; a missing value does not.
pub(crate) fn outside(frame: &Frame, name: &str, range: Option<[f64; 2]>) -> Result<Vec<bool>> {
    let Some([low, high]) = range else { return Ok(vec![false; frame.n_rows()]) };
    Ok(frame.numeric(name)?.iter().map(|value| *value < low || *value > high).collect())
}

/// What lies outside of the ranges.
pub(crate) struct Outside {
    /// How many values of each column.
    pub(crate) values: Vec<usize>,
    /// The rows that have any.
    pub(crate) rows: Vec<bool>,
}

impl Outside {
    pub(crate) fn of(source: &Source, columns: &[String], ranges: &[Option<[f64; 2]>]) -> Result<Self> {
        let mut sum = Self { values: vec![0; columns.len()], rows: Vec::with_capacity(source.n_rows()) };
        source.fold(
            columns,
            |frame| of_frame(frame, columns, ranges),
            |piece: Self| {
                sum.values.iter_mut().zip(piece.values).for_each(|(sum, n)| *sum += n);
                sum.rows.extend(piece.rows);
                Ok(())
            },
        )?;
        Ok(sum)
    }

    pub(crate) fn n_values(&self) -> usize {
        self.values.iter().sum()
    }

    pub(crate) fn n_columns(&self) -> usize {
        self.values.iter().filter(|n| **n > 0).count()
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.rows.iter().filter(|outside| **outside).count()
    }
}

fn of_frame(frame: &Frame, columns: &[String], ranges: &[Option<[f64; 2]>]) -> Result<Outside> {
    let mut found = Outside { values: Vec::with_capacity(columns.len()), rows: vec![false; frame.n_rows()] };
    for (name, range) in columns.iter().zip(ranges) {
        let outside = outside(frame, name, *range)?;
        found.values.push(outside.iter().filter(|outside| **outside).count());
        found.rows.iter_mut().zip(outside).for_each(|(row, outside)| *row |= outside);
    }
    Ok(found)
}

/// `; left 2 columns without spread alone`, where there are such.
pub(crate) fn left_alone(ranges: &[Option<[f64; 2]>]) -> String {
    match ranges.iter().filter(|range| range.is_none()).count() {
        0 => String::new(),
        n => format!("; left {} without spread alone", crate::step::counted(n, "column")),
    }
}
