//! `correlation`: of columns that repeat one another keeps the one that tells most of the target.

use std::borrow::Cow;

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;
use retune_spec::feature_selection::{Correlation, CorrelationMethod};
use retune_stage::{FitContext, Result, Target};
use retune_table::numbers::dot;

use crate::features::{Feature, Stored};
use crate::judge::{Judge, Judgement, Question, Verdict, best_first, shown};
use crate::moments::Moments;
use crate::neighbors::Sorted;

/// Columns of a tile: two tiles make one task, whose result does not depend on who computes it.
const TILE: usize = 128;

/// Rows of a block: two tiles' blocks stay in a core's cache.
const BLOCK: usize = 512;

/// Features are visited from the one that tells most of the target (the absolute correlation with a number, the correlation ratio eta with classes;
/// with `spearman` both of ranks) to the one that tells least, those of `always_keep` first; each is kept unless it correlates above `max` with one
/// kept before. A constant column correlates with nothing.
impl Judge for Correlation {
    fn score_word(&self) -> &'static str {
        "correlation with the target"
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let columns: Vec<Centred> =
            features.par_iter().map(|feature| centred(feature.stored()?, self.method)).collect::<Result<_>>()?;
        let told = told(&columns, question.target, self.method)?;
        let pairs = pairs_above(&columns, self.max, &question.context)?;
        let pinned: Vec<bool> = features.iter().map(|feature| feature.pinned).collect();
        let rivals = weed(&told, &pinned, &pairs);
        let verdict = |at: usize| {
            let reason = rivals[at].map_or_else(
                || format!("no better column correlates above {}", self.max),
                |(rival, r)| because(&features[rival], r, told[rival], told[at]),
            );
            Verdict { kept: rivals[at].is_none(), ..Verdict::scored(told[at], reason) }
        };
        Ok((0..features.len()).map(verdict).collect::<Vec<_>>().into())
    }
}

pub(crate) fn centred(values: Stored, method: CorrelationMethod) -> Result<Centred> {
    match method {
        CorrelationMethod::Pearson => Ok(Centred::new(values)),
        CorrelationMethod::Spearman => Ok(Centred::new(Stored::F64(Cow::Owned(mean_ranks(&values.numbers()))))),
    }
}

/// How much each column tells of the target, from 0 to 1.
fn told(columns: &[Centred], target: &Target, method: CorrelationMethod) -> Result<Vec<f64>> {
    Ok(match target {
        Target::Values(values) => {
            let target = centred(Stored::F64(Cow::Borrowed(values)), method)?;
            columns.par_iter().map(|column| column.correlation(&target).abs()).collect()
        }
        Target::Classes { codes, n_classes } => {
            columns.par_iter().map(|column| column.eta(codes, *n_classes)).collect()
        }
    })
}

/// A column, and what makes its mean 0 and its length 1, so that a product of two is their correlation.
pub(crate) struct Centred<'a> {
    values: Stored<'a>,
    mean: f64,
    /// 0 for a constant column.
    scale: f64,
}

impl<'a> Centred<'a> {
    fn new(values: Stored<'a>) -> Self {
        let numbers = values.numbers();
        let Moments { mean, scatter } = Moments::of(&numbers);
        let varies = numbers.iter().any(|value| *value != numbers[0]) && scatter > 0.0 && scatter.is_finite();
        drop(numbers);
        Self { values, mean, scale: if varies { scatter.sqrt().recip() } else { 0.0 } }
    }

    fn correlation(&self, other: &Self) -> f64 {
        let of = |column: &Self| {
            let mut values = Vec::with_capacity(column.values.len());
            column.values.append(0..column.values.len(), |value| (value - column.mean) * column.scale, &mut values);
            values
        };
        dot(&of(self), &of(other)).clamp(-1.0, 1.0)
    }

    /// The correlation ratio: the root of the share of the scatter that lies between classes.
    fn eta(&self, codes: &[u32], n_classes: usize) -> f64 {
        let mut classes = vec![(0.0, 0.0); n_classes];
        for (value, &code) in self.values.numbers().iter().zip(codes) {
            let (sum, count) = &mut classes[code as usize];
            *sum += (value - self.mean) * self.scale;
            *count += 1.0;
        }
        let between = |&(sum, count): &(f64, f64)| if count > 0.0 { sum * sum / count } else { 0.0 };
        classes.iter().map(between).sum::<f64>().sqrt().min(1.0)
    }
}

/// Two columns and their correlation.
pub(crate) type Pair = (usize, usize, f64);

/// All pairs of columns whose absolute correlation is above `max`.
pub(crate) fn pairs_above(columns: &[Centred], max: f64, context: &FitContext) -> Result<Vec<Pair>> {
    let tiles: Vec<&[Centred]> = columns.chunks(TILE).collect();
    let tasks: Vec<(usize, usize)> = (0..tiles.len()).flat_map(|a| (a..tiles.len()).map(move |b| (a, b))).collect();
    let found = |&(a, b): &(usize, usize)| {
        context.progress.check_cancelled()?;
        let products = if a == b { products_within(tiles[a]) } else { products_between(tiles[a], tiles[b]) };
        let mut pairs = Vec::new();
        for j in 0..products.ncols() {
            // Within a tile, each pair counts once.
            let end = if a == b { j } else { products.nrows() };
            let correlations = (0..end).map(|i| (a * TILE + i, b * TILE + j, products[(i, j)].clamp(-1.0, 1.0)));
            pairs.extend(correlations.filter(|(_, _, r)| r.abs() > max));
        }
        Ok(pairs)
    };
    let found: Vec<Vec<Pair>> = tasks.par_iter().map(found).collect::<Result<_>>()?;
    Ok(found.concat())
}

/// The correlations of the columns of one tile with those of another: [columns of `left`, columns of `right`].
fn products_between(left: &[Centred], right: &[Centred]) -> Mat<f64> {
    let mut products = Mat::zeros(left.len(), right.len());
    let (mut left_block, mut right_block) = (Vec::new(), Vec::new());
    for start in (0..left[0].values.len()).step_by(BLOCK) {
        let (left, right) = (fill(&mut left_block, left, start), fill(&mut right_block, right, start));
        add_products(&mut products, BlockStructure::Rectangular, left, right);
    }
    products
}

/// The correlations of the columns of a tile with one another: only those above the diagonal are computed.
fn products_within(tile: &[Centred]) -> Mat<f64> {
    let mut products = Mat::zeros(tile.len(), tile.len());
    let mut block = Vec::new();
    for start in (0..tile[0].values.len()).step_by(BLOCK) {
        let block = fill(&mut block, tile, start);
        add_products(&mut products, BlockStructure::TriangularUpper, block, block);
    }
    products
}

fn add_products(products: &mut Mat<f64>, structure: BlockStructure, left: MatRef<f64>, right: MatRef<f64>) {
    let whole = BlockStructure::Rectangular;
    matmul(products.as_mut(), structure, Accum::Add, left.transpose(), whole, right, whole, 1.0, Par::Seq);
}

/// A block of rows of the columns, centred and scaled: [rows, columns].
fn fill<'b>(block: &'b mut Vec<f64>, columns: &[Centred], start: usize) -> MatRef<'b, f64> {
    block.clear();
    let end = columns[0].values.len().min(start + BLOCK);
    for column in columns {
        column.values.append(start..end, |value| (value - column.mean) * column.scale, block);
    }
    MatRef::from_column_major_slice(block, end - start, columns.len())
}

/// Gives each column that is dropped the kept one that it correlates with, and how much.
fn weed(told: &[f64], pinned: &[bool], pairs: &[Pair]) -> Vec<Option<(usize, f64)>> {
    let mut near = vec![Vec::new(); told.len()];
    for &(a, b, r) in pairs {
        near[a].push((b, r));
        near[b].push((a, r));
    }
    let mut order = best_first(told);
    order.sort_by_key(|&at| !pinned[at]);
    let mut rivals = vec![None; told.len()];
    let mut visited = pinned.to_vec();
    for at in order {
        visited[at] = true;
        if rivals[at].is_none() {
            for &(other, r) in near[at].iter().filter(|(other, _)| !visited[*other]) {
                rivals[other].get_or_insert((at, r));
            }
        }
    }
    rivals
}

fn because(rival: &Feature, r: f64, told_by_rival: f64, told: f64) -> String {
    let (best, own) = (shown(told_by_rival), shown(told));
    let which = match told_by_rival.total_cmp(&told) {
        _ if rival.pinned => "which is listed under `always_keep`".to_owned(),
        std::cmp::Ordering::Greater if best != own => format!("which tells more of the target ({best} > {own})"),
        std::cmp::Ordering::Greater => format!("which tells slightly more of the target (both {best})"),
        _ => format!("which comes before it and tells as much of the target ({best})"),
    };
    format!("correlates {} with `{}`, {which}", shown(r), rival.name)
}

/// Ranks from 1; equal values share the mean of theirs.
fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let sorted = Sorted::new(values);
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equal in sorted.values.chunk_by(|a, b| a == b) {
        let end = start + equal.len();
        let rank = (start + 1 + end) as f64 / 2.0;
        sorted.rows[start..end].iter().for_each(|&row| ranks[row as usize] = rank);
        start = end;
    }
    ranks
}
