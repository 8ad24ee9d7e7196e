//! `bin`.

use polars::prelude::Column;
use rayon::prelude::*;
use retune_spec::preprocessing::{Bin, BinEncoding, BinStrategy};
use retune_stage::{Field, FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Names, indicator_columns};
use crate::outline::Outline;
use crate::source::Source;
use crate::stats::{by_column, linspace};
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// Narrower bins are merged: scikit-learn's bound.
const NARROW: f64 = 1e-8;

/// The most rounds of k-means, and the share of the variance that centres must move by for another one: scikit-learn's.
const MAX_ROUNDS: usize = 300;
const TOLERANCE: f64 = 1e-4;

/// Where the bins of each column end.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedBin {
    columns: Vec<String>,
    /// The borders between bins, in ascending order: one less than there are bins. A value on a border is in the bin above.
    borders: Vec<Vec<f64>>,
    /// The columns of each column's bins; `None` where bins are numbers.
    names: Option<Vec<Vec<String>>>,
}

impl FitStep for Bin {
    type Fitted = FittedBin;
    const KINDS: &'static [Kind] = &[Kind::Numeric];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if self.encode == BinEncoding::OneHot {
            outline.remove(columns);
            columns.iter().for_each(|name| outline.add_open(&format!("{name}_"), Kind::Boolean));
        }
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedBin>> {
        let borders = by_column(source, columns, |name, values| learn(self, name, values))?;
        let mut taken = Names::of(&source.schema());
        let mut names_of = |(name, borders): (&String, &Vec<f64>)| {
            (0..=borders.len()).map(|bin| taken.fresh(format!("{name}_{bin}"))).collect()
        };
        let names =
            (self.encode == BinEncoding::OneHot).then(|| columns.iter().zip(&borders).map(&mut names_of).collect());
        let n_bins: usize = borders.iter().map(|borders| borders.len() + 1).sum();
        let mut text = format!("made {} of {}", counted(n_bins, "bin"), counted(columns.len(), "column"));
        let n_fewer = borders.iter().filter(|borders| borders.len() + 1 < self.bins).count();
        if n_fewer > 0 {
            text += &format!("; {} too few distinct values for {}", have(n_fewer), counted(self.bins, "bin"));
        }
        Ok(Learnt::applied(FittedBin { columns: columns.to_vec(), borders, names }, text))
    }
}

fn have(n_columns: usize) -> String {
    if n_columns == 1 { "1 column has".to_owned() } else { format!("{n_columns} columns have") }
}

impl ApplyStep for FittedBin {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let Some(names) = &self.names else {
            return frame.map(&self.columns, |index, values| {
                let borders = &self.borders[index];
                let present = values.iter_mut().filter(|value| !value.is_nan());
                present.for_each(|value| *value = bin_of(*value, borders) as f64);
                Ok(())
            });
        };
        let encode = |((name, borders), names): ((&String, &Vec<f64>), &Vec<String>)| {
            let origin = frame.field(name)?.origin();
            Ok((name.clone(), columns_of(&frame.numeric(name)?, borders, names, origin)))
        };
        frame.replace(self.columns.par_iter().zip(&self.borders).zip(names).map(encode).collect::<Result<_>>()?)
    }
}

fn bin_of(value: f64, borders: &[f64]) -> usize {
    borders.partition_point(|&border| border <= value)
}

fn columns_of(values: &[f64], borders: &[f64], names: &[String], origin: &str) -> Vec<(Field, Column)> {
    // A bin that no name has stands for none.
    let bin = |value: f64| if value.is_nan() { u32::MAX } else { bin_of(value, borders) as u32 };
    let bins: Vec<u32> = values.iter().map(|&value| bin(value)).collect();
    indicator_columns(names, origin, &bins)
}

/// The borders between the bins of a column; none for a column that is constant or has no values.
fn learn(step: &Bin, name: &str, mut values: Vec<f64>) -> Result<Vec<f64>> {
    values.retain(|value| !value.is_nan());
    values.par_sort_unstable_by(f64::total_cmp);
    let (Some(&least), Some(&greatest)) = (values.first(), values.last()) else { return Ok(Vec::new()) };
    if !(greatest - least).is_finite() {
        return Err(StageError::data(format!("the values of column `{name}` are too far apart for bins"))
            .help("put `log1p` or `clip_outliers` before"));
    }
    if least == greatest {
        return Ok(Vec::new());
    }
    let ends: Vec<f64> = match step.strategy {
        BinStrategy::Uniform => linspace(least, greatest, step.bins + 1).collect(),
        BinStrategy::Quantile => {
            linspace(0.0, 100.0, step.bins + 1).map(|percent| percentile(&values, percent)).collect()
        }
        BinStrategy::KMeans => {
            let centres = centres(&values, step.bins);
            let between = centres.windows(2).map(|pair| (pair[1] + pair[0]) * 0.5);
            [least].into_iter().chain(between).chain([greatest]).collect()
        }
    };
    let wide = |&at: &usize| step.strategy == BinStrategy::Uniform || ends[at] - ends[at - 1] > NARROW;
    let mut kept: Vec<f64> = (1..ends.len()).filter(wide).map(|at| ends[at]).collect();
    // The last of them is the end of the range, no border.
    kept.pop();
    Ok(kept)
}

/// The percentile of ascending values after numpy's method `averaged_inverted_cdf`: a value, or the middle of two.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let last = sorted.len() - 1;
    let position = sorted.len() as f64 * (percent / 100.0) - 1.0;
    if position < 0.0 {
        return sorted[0];
    }
    let below = (position.floor() as usize).min(last);
    let above = (below + 1).min(last);
    if position.fract() == 0.0 { sorted[above] - (sorted[above] - sorted[below]) * 0.5 } else { sorted[above] }
}

/// The centres that k-means finds in ascending values, starting in the middle of equally wide bins, as scikit-learn's `KMeans` (Lloyd's rounds; a
/// cluster that loses all values starts again at the value that lies farthest from its centre).
fn centres(sorted: &[f64], n_clusters: usize) -> Vec<f64> {
    let n = sorted.len() as f64;
    let mean = sorted.iter().sum::<f64>() / n;
    let tolerance = TOLERANCE * sorted.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n;
    // Sums of all values up to each, from their mean, so that the sum of any run is one subtraction.
    let mut sums = vec![0.0; sorted.len() + 1];
    for (at, value) in sorted.iter().enumerate() {
        sums[at + 1] = sums[at] + (value - mean);
    }
    let edges: Vec<f64> = linspace(sorted[0], sorted[sorted.len() - 1], n_clusters + 1).collect();
    let mut centres: Vec<f64> = edges.windows(2).map(|edge| (edge[1] + edge[0]) * 0.5).collect();
    let mut starts_before = Vec::new();
    for _ in 0..MAX_ROUNDS {
        // In ascending order every cluster is a run of values, which ends halfway to the next centre.
        let mut starts = vec![0];
        starts
            .extend(centres.windows(2).map(|pair| sorted.partition_point(|value| value - pair[0] <= pair[1] - value)));
        starts.push(sorted.len());
        let moved = means(sorted, &sums, mean, &starts, &centres);
        let shift: f64 = moved.iter().zip(&centres).map(|(new, old)| (new - old) * (new - old)).sum();
        centres = moved;
        if starts == starts_before || shift <= tolerance {
            break;
        }
        starts_before = starts;
    }
    centres
}

/// The mean of each cluster, in ascending order; empty clusters take the values that lie farthest from their centres.
fn means(sorted: &[f64], sums: &[f64], mean: f64, starts: &[usize], centres: &[f64]) -> Vec<f64> {
    let runs = || starts.windows(2).map(|run| (run[0], run[1]));
    let mut totals: Vec<f64> = runs().map(|(start, end)| sums[end] - sums[start]).collect();
    let mut counts: Vec<usize> = runs().map(|(start, end)| end - start).collect();
    let empty: Vec<usize> = (0..counts.len()).filter(|&cluster| counts[cluster] == 0).collect();
    if !empty.is_empty() {
        // The farthest values of a run are at its ends. In the first round the least and the greatest value of all are equally far out, but for
        // rounding.
        let mut far: Vec<(f64, usize, usize)> = Vec::new();
        for (cluster, (start, end)) in runs().enumerate() {
            let near_ends = (start..end).filter(|&at| at < start + empty.len() || at + empty.len() >= end);
            far.extend(near_ends.map(|at| ((sorted[at] - centres[cluster]).abs(), at, cluster)));
        }
        far.sort_by(|one, other| other.0.total_cmp(&one.0));
        for (&cluster, &(distance, at, from)) in empty.iter().zip(&far) {
            if distance == 0.0 {
                break;
            }
            let value = sorted[at] - mean;
            (totals[from], counts[from]) = (totals[from] - value, counts[from] - 1);
            (totals[cluster], counts[cluster]) = (value, 1);
        }
    }
    let mut means: Vec<f64> = (0..counts.len())
        .map(
            |cluster| {
                if counts[cluster] == 0 { centres[cluster] } else { mean + totals[cluster] / counts[cluster] as f64 }
            },
        )
        .collect();
    means.sort_by(f64::total_cmp);
    means
}
