//! `information_value`: keeps the columns whose bins tell one label from another.

use std::cmp::Ordering;

use rayon::prelude::*;
use retune_spec::feature_selection::{Choice, InformationValue};
use retune_stage::{Result, Task};

use crate::chi2::Classes;
use crate::features::{Feature, Number, Stored};
use crate::judge::{Judge, Judgement, Question, Verdict, shown};

/// Below it, a column is useless (Siddiqi 2006).
const USELESS: f64 = 0.02;

/// What an empty cell counts, so that its logarithm is a number.
const EMPTY: f64 = 0.5;

/// Edges that are all compared, which is faster than to search them while they are few.
const FEW_EDGES: usize = 16;

/// The weight of evidence of a bin is the logarithm of the quotient of the shares of the label's rows and of the others that are in it (Siddiqi 2006).
/// Where a bin has no row of one of the two, half a row is counted there. Bins end at the values of ranks n/bins, 2n/bins ..., rounded up; equal values are
/// in one bin.
impl Judge for InformationValue {
    fn score_word(&self) -> &'static str {
        "information value"
    }

    fn choice(&self) -> Option<Choice> {
        let choice = InformationValue::choice(self);
        let least = if choice.keep.is_none() { Some(USELESS) } else { None };
        Some(Choice { min_score: choice.min_score.or(least), ..choice })
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let classes = Classes::of(question.target)?;
        let labels: &[String] = match question.task {
            Task::Classification { labels } => labels,
            Task::Regression => &[],
        };
        let verdict = |feature: &Feature| {
            question.context.progress.check_cancelled()?;
            let table = match feature.stored()? {
                Stored::F64(values) => table(&values, &classes, self.bins),
                Stored::F32(values) => table(&values, &classes, self.bins),
            };
            let (score, class) = greatest(&table, &classes.counts);
            let told = match labels.get(class) {
                Some(label) if classes.n_present() > 2 => format!(" of `{label}` against the rest"),
                _ => String::new(),
            };
            Ok(Verdict::scored(score, format!("{} information value{told}: {}", strength(score), shown(score))))
        };
        Ok(features.par_iter().map(verdict).collect::<Result<Vec<_>>>()?.into())
    }
}

/// The words of Siddiqi (2006).
fn strength(score: f64) -> &'static str {
    match score {
        score if score < USELESS => "useless",
        score if score < 0.1 => "weak",
        score if score < 0.3 => "medium",
        _ => "strong",
    }
}

/// The greatest information value of a class against the rest, and the class. `table` has the classes' rows of each bin.
fn greatest(table: &[Vec<f64>], counts: &[f64]) -> (f64, usize) {
    let n_rows: f64 = counts.iter().sum();
    let value = |class: usize| {
        let shares = |bin: &Vec<f64>| {
            let (own, all) = (bin[class], bin.iter().sum::<f64>());
            let share = |cell: f64, of: f64| if cell > 0.0 { cell / of } else { EMPTY / of };
            (all > 0.0).then(|| [share(own, counts[class]), share(all - own, n_rows - counts[class])])
        };
        table.iter().filter_map(shares).map(|[own, rest]| (own - rest) * (own / rest).ln()).sum::<f64>()
    };
    let mut present = (0..counts.len()).filter(|&class| counts[class] > 0.0);
    // Of two labels, both have the same.
    let first = present.next().map_or((0.0, 0), |class| (value(class), class));
    let others = if present.clone().count() > 1 { present.collect() } else { Vec::new() };
    others
        .into_iter()
        .map(|class| (value(class), class))
        .fold(first, |best, next| if next.0 > best.0 { next } else { best })
}

/// How many rows of each class are in each bin: [bins, classes].
fn table<T: Number>(values: &[T], classes: &Classes, n_bins: usize) -> Vec<Vec<f64>> {
    let bins = Bins::of(values, n_bins);
    let mut table = vec![vec![0.0; classes.counts.len()]; bins.len()];
    for (&value, &code) in values.iter().zip(classes.codes) {
        table[bins.bin(value.into())][code as usize] += 1.0;
    }
    table
}

/// Bins of equal numbers of rows, as far as equal values let them be; a bin for each value where there are no more values than bins.
pub(crate) struct Bins {
    /// The greatest value of each bin but the last.
    edges: Vec<f64>,
}

impl Bins {
    pub(crate) fn of<T: Number>(values: &[T], n_bins: usize) -> Self {
        let edges = few_values(values, n_bins).unwrap_or_else(|| {
            let ranks: Vec<usize> = (1..n_bins).map(|bin| (bin * values.len()).div_ceil(n_bins)).collect();
            let places: Vec<usize> = ranks.into_iter().filter(|&rank| rank > 0).map(|rank| rank - 1).collect();
            let mut edges = Vec::with_capacity(places.len());
            select(&mut values.to_vec(), 0, &places, &mut edges);
            edges.dedup();
            edges
        });
        Self { edges: edges.into_iter().map(Into::into).collect() }
    }

    /// How many bins there are; one of them may be empty.
    pub(crate) fn len(&self) -> usize {
        self.edges.len() + 1
    }

    /// The bin of a value.
    pub(crate) fn bin(&self, value: f64) -> usize {
        if self.edges.len() <= FEW_EDGES {
            self.edges.iter().map(|edge| usize::from(*edge < value)).sum()
        } else {
            self.edges.partition_point(|edge| *edge < value)
        }
    }
}

/// All values but the greatest, in their order; `None` where there are more than `most`.
fn few_values<T: Number>(values: &[T], most: usize) -> Option<Vec<T>> {
    let mut distinct: Vec<T> = Vec::new();
    for value in values {
        if let Err(place) = distinct.binary_search_by(|other| order(other, value)) {
            if distinct.len() == most {
                return None;
            }
            distinct.insert(place, *value);
        }
    }
    distinct.pop();
    Some(distinct)
}

/// The values that would be at `places` if all were sorted; `values` begins at the place `start`.
fn select<T: Number>(values: &mut [T], start: usize, places: &[usize], found: &mut Vec<T>) {
    let Some(&middle) = places.get(places.len() / 2) else { return };
    let (below, value, above) = values.select_nth_unstable_by(middle - start, order);
    let value = *value;
    let first = places.partition_point(|place| *place < middle);
    let rest = places.partition_point(|place| *place <= middle);
    select(below, start, &places[..first], found);
    found.push(value);
    select(above, middle + 1, &places[rest..], found);
}

/// Of numbers; none is NaN.
fn order<T: Number>(a: &T, b: &T) -> Ordering {
    a.partial_cmp(b).unwrap_or(Ordering::Equal)
}
