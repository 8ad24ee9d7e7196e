//! `relief_f`: keeps the columns that differ between near rows of different labels.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use retune_spec::feature_selection::{Choice, ReliefF};
use retune_stage::{Result, Target};

use crate::f_test::counts;
use crate::features::{Feature, Stored};
use crate::judge::{Judge, Judgement, Question, Verdict, shown};
use crate::mutual_information::sampled;

/// Rows whose distances are computed together: they stay in registers.
const TILE: usize = 16;

/// Rows that are turned into tiles at once.
const BLOCK: usize = 1024;

/// Rows that are compared in one task, whose result does not depend on who computes it.
const GROUP: usize = 128;

/// How fast the influence of neighbours of values falls off with their places: as 1/e after so many (Robnik-Sikonja and Kononenko 1997).
const FALL: f64 = 20.0;

/// The distance of two rows is the sum over columns of the difference as a share of the column's range. With labels, a column's score is what it differs on
/// average from the `neighbors` nearest rows of each other label, weighted by the share of the label among the rows of other labels, less what it differs
/// from the nearest of the same label. With values, it compares the probabilities of different values of the column among near rows whose target differs
/// and does not. Of rows at one distance, the earlier are nearer. A label of fewer rows has fewer neighbours. Range and shares are those of all rows.
impl Judge for ReliefF {
    fn score_word(&self) -> &'static str {
        "weight"
    }

    fn choice(&self) -> Option<Choice> {
        Some(ReliefF::choice(self))
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let Question { target, context, .. } = question;
        let columns: Vec<Column> = features.par_iter().map(Column::new).collect::<Result<_>>()?;
        let told = Told::new(target);
        let rows = sampled(target.len(), self.max_rows, context.seed.derive("rows"))
            .unwrap_or_else(|| (0..target.len()).collect());
        let done = AtomicU64::new(0);
        let of_group = |rows: &[usize]| {
            let near = nearest(&columns, rows, &told, self.neighbors, question)?;
            let seen = done.fetch_add(rows.len() as u64, Ordering::Relaxed) + rows.len() as u64;
            context.progress.update("rows", seen, Some(target.len().min(self.max_rows) as u64));
            Ok(told.sums(&columns, rows, &near))
        };
        let groups: Vec<Sums> = rows.par_chunks(GROUP).map(of_group).collect::<Result<_>>()?;
        let scores = told.weights(&groups, columns.len(), rows.len() as f64);
        let verdict = |score: f64| Verdict::scored(score, format!("its weight among near rows is {}", shown(score)));
        Ok(scores.into_iter().map(verdict).collect::<Vec<_>>().into())
    }
}

/// A column, and what brings its values between 0 and 1.
struct Column<'a> {
    values: Stored<'a>,
    least: f64,
    /// 0 for a constant column.
    scale: f64,
}

impl<'a> Column<'a> {
    fn new(feature: &Feature<'a>) -> Result<Self> {
        let values = feature.stored()?;
        let (least, scale) = match range(&values.numbers()) {
            // The range is beyond all numbers, or its reciprocal would be.
            (_, f64::INFINITY) => (0.0, f64::MAX.recip() / 2.0),
            (least, range) if range < f64::MIN_POSITIVE => (least, 0.0),
            (least, range) => (least, range.recip()),
        };
        Ok(Self { values, least, scale })
    }

    fn at(&self, row: usize) -> f64 {
        let value = match &self.values {
            Stored::F64(values) => values[row],
            Stored::F32(values) => f64::from(values[row]),
        };
        (value - self.least) * self.scale
    }
}

/// The least value, and how far the greatest is from it.
fn range(values: &[f64]) -> (f64, f64) {
    let (least, greatest) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), &value| (least.min(value), greatest.max(value)));
    (least, greatest - least)
}

/// What the columns are to tell of.
enum Told<'a> {
    Classes {
        codes: &'a [u32],
        counts: Vec<f64>,
    },
    /// With the reciprocal of their range.
    Values {
        values: &'a [f64],
        scale: f64,
    },
}

/// Sums over some of the rows.
struct Sums {
    /// With labels: the differences between labels less those within. With values: those of columns.
    of_columns: Vec<f64>,
    /// With values: the products of the differences of columns and target, and the differences of the target.
    with_target: Vec<f64>,
    of_target: f64,
}

/// The nearest rows of a row, by label: the nearest first, with their distances.
type Near = Vec<Vec<(f64, u32)>>;

impl<'a> Told<'a> {
    fn new(target: &'a Target) -> Self {
        match target {
            Target::Classes { codes, n_classes } => Self::Classes { codes, counts: counts(codes, *n_classes) },
            Target::Values(values) => Self::Values { values, scale: range(values).1.recip() },
        }
    }

    /// How many lists of neighbours a row has.
    fn n_lists(&self) -> usize {
        match self {
            Self::Classes { counts, .. } => counts.len(),
            Self::Values { .. } => 1,
        }
    }

    fn list_of(&self, row: usize) -> usize {
        match self {
            Self::Classes { codes, .. } => codes[row] as usize,
            Self::Values { .. } => 0,
        }
    }

    /// The influence of each of a row's neighbours, and how much its target differs.
    fn influences(&self, row: usize, near: &Near) -> Vec<(u32, f64, f64)> {
        match self {
            Self::Classes { codes, counts } => {
                let own = codes[row] as usize;
                let others = codes.len() as f64 - counts[own];
                let weight = |class: usize| if class == own { -1.0 } else { counts[class] / others };
                let of_class = |(class, near): (usize, &Vec<(f64, u32)>)| {
                    let influence = weight(class) / near.len() as f64;
                    near.iter().map(|&(_, row)| (row, influence, 0.0)).collect::<Vec<_>>()
                };
                near.iter().enumerate().flat_map(of_class).collect()
            }
            Self::Values { values, scale } => {
                let influences: Vec<f64> =
                    (1..=near[0].len()).map(|place| (-(place as f64 / FALL).powi(2)).exp()).collect();
                let total: f64 = influences.iter().sum();
                let differs = |other: u32| (values[row] - values[other as usize]).abs() * scale;
                let pairs = near[0].iter().zip(&influences);
                pairs.map(|(&(_, other), influence)| (other, influence / total, differs(other))).collect()
            }
        }
    }

    fn sums(&self, columns: &[Column], rows: &[usize], near: &[Near]) -> Sums {
        let influences: Vec<_> = rows.iter().zip(near).map(|(&row, near)| self.influences(row, near)).collect();
        let of_column = |column: &Column| {
            let (mut own, mut with_target) = (0.0, 0.0);
            for (&row, influences) in rows.iter().zip(&influences) {
                let value = column.at(row);
                for &(other, influence, target) in influences {
                    let difference = influence * (value - column.at(other as usize)).abs();
                    own += difference;
                    with_target += difference * target;
                }
            }
            (own, with_target)
        };
        let (of_columns, with_target) = columns.iter().map(of_column).unzip();
        let of_target = influences.iter().flatten().map(|(_, influence, target)| influence * target).sum();
        Sums { of_columns, with_target, of_target }
    }

    /// Each column's score.
    fn weights(&self, groups: &[Sums], n_columns: usize, n_rows: f64) -> Vec<f64> {
        let total = |of: &dyn Fn(&Sums) -> f64| groups.iter().map(of).sum::<f64>();
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let of_target = total(&|sums| sums.of_target);
        let weight = |at: usize| {
            let own = total(&|sums| sums.of_columns[at]);
            match self {
                Self::Classes { .. } => own / n_rows,
                Self::Values { .. } => {
                    let both = total(&|sums| sums.with_target[at]);
                    share(both, of_target) - share(own - both, n_rows - of_target)
                }
            }
        };
        (0..n_columns).map(weight).collect()
    }
}

/// The neighbours of some rows among all: one pass over the table, of which a block is turned into numbers at a time.
fn nearest(
    columns: &[Column],
    rows: &[usize],
    told: &Told,
    neighbors: usize,
    question: &Question,
) -> Result<Vec<Near>> {
    let n_rows = question.target.len();
    let own: Vec<Vec<f64>> = rows.iter().map(|&row| columns.iter().map(|column| column.at(row)).collect()).collect();
    let mut near: Vec<Near> = vec![vec![Vec::new(); told.n_lists()]; rows.len()];
    let mut tiles = vec![0.0; BLOCK * columns.len()];
    for start in (0..n_rows).step_by(BLOCK) {
        question.context.progress.check_cancelled()?;
        let end = n_rows.min(start + BLOCK);
        fill(&mut tiles, columns, start..end);
        for (tile, first) in tiles.chunks(TILE * columns.len()).zip((start..end).step_by(TILE)) {
            for ((own, &row), near) in own.iter().zip(rows).zip(&mut near) {
                for (distance, other) in distances(tile, own).into_iter().zip(first..end) {
                    if other != row {
                        offer(&mut near[told.list_of(other)], neighbors, distance, other as u32);
                    }
                }
            }
        }
    }
    Ok(near)
}

/// Rows as tiles: [tiles, columns, rows of a tile].
fn fill(tiles: &mut [f64], columns: &[Column], rows: std::ops::Range<usize>) {
    let mut values = Vec::with_capacity(rows.len());
    for (at, column) in columns.iter().enumerate() {
        values.clear();
        column.values.append(rows.clone(), |value| (value - column.least) * column.scale, &mut values);
        for (values, tile) in values.chunks(TILE).zip(tiles.chunks_mut(TILE * columns.len())) {
            tile[at * TILE..][..values.len()].copy_from_slice(values);
        }
    }
}

/// From one row to each of a tile.
fn distances(tile: &[f64], own: &[f64]) -> [f64; TILE] {
    let mut sums = [0.0; TILE];
    for (values, own) in tile.chunks_exact(TILE).zip(own) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += (value - own).abs();
        }
    }
    sums
}

/// Puts a row into a list of the nearest, where it is one.
fn offer(near: &mut Vec<(f64, u32)>, most: usize, distance: f64, row: u32) {
    if near.len() == most {
        if near.last().is_some_and(|(farthest, _)| distance >= *farthest) {
            return;
        }
        near.pop();
    }
    let place = near.partition_point(|(other, _)| *other <= distance);
    near.insert(place, (distance, row));
}
