//! What is in each column, for people.

use polars::prelude::*;
use retune_spec::schema::{Kind, Role};
use serde::{Deserialize, Serialize};

use crate::{Table, TableError};

/// What is in a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnProfile {
    /// The column's name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// What its values are.
    pub kind: Kind,
    /// The number of rows.
    pub rows: usize,
    /// The number of missing values.
    pub missing: usize,
    /// The number of distinct values, missing ones left out.
    pub distinct: usize,
    /// Of numbers and booleans: the least, the mean and the greatest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 3]>,
    /// Of numbers: the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median: Option<f64>,
    /// Of numbers: how many lie where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Histogram>,
    /// Of levels, labels and booleans: the most frequent with their counts, five of a feature and thirty of the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub most_frequent: Vec<(String, usize)>,
}

/// Counts of values between edges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// One more than there are counts.
    pub edges: Vec<f64>,
    /// How many values lie between an edge and the next. The first and the last count what lies beyond, too.
    pub counts: Vec<usize>,
    /// Whether the bars are of equal ratios: of values that are positive and spread over three orders of magnitude.
    #[serde(default)]
    pub is_log: bool,
}

impl Histogram {
    /// Bars of equal width between the values' 0.5 % and 99.5 % quantiles, so that a single outlier does not press all others into one bar. Values that are not
    /// finite are left out; `None` where fewer than two differ.
    pub fn of(values: &[f64], n_bars: usize) -> Option<Self> {
        let sorted = sorted(values);
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        let (mut low, mut high) = (at(0.005), at(0.995));
        if low >= high {
            (low, high) = (first, last);
        }
        let is_log = low > 0.0 && high / low >= 1000.0;
        let place = |value: f64| if is_log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let (low, high) = (place(low), place(high));
        let width = (high - low) / n_bars as f64;
        if width <= 0.0 || !width.is_finite() {
            return None;
        }
        let mut counts = vec![0; n_bars];
        for value in &sorted {
            counts[(((place(*value) - low) / width).max(0.0) as usize).min(n_bars - 1)] += 1;
        }
        let edge = |edge: usize| if edge == n_bars { high } else { low + width * edge as f64 };
        let edges = (0..=n_bars).map(edge).map(|edge| if is_log { edge.exp() } else { edge }).collect();
        Some(Self { edges, counts, is_log })
    }
}

/// Bars of a column's histogram.
const BARS: usize = 24;

/// How many of the most frequent values of a feature and of the target are told.
const SHOWN: usize = 5;
const SHOWN_OF_TARGET: usize = 30;

/// Looks at every column but the row numbers.
pub fn profile(table: &Table) -> Result<Vec<ColumnProfile>, TableError> {
    let fields = table.schema().fields.iter().filter(|field| field.role != Role::RowNumber);
    let look = |field: &retune_spec::Field| {
        let column = table.column(&field.name)?;
        let missing = column.null_count();
        let is_number = matches!(field.kind, Kind::Numeric | Kind::Boolean) && missing < column.len();
        let numbers = if is_number { table.numeric(&field.name)? } else { Vec::new() };
        let shown = if field.role == Role::Target { SHOWN_OF_TARGET } else { SHOWN };
        Ok(ColumnProfile {
            name: field.name.clone(),
            role: field.role,
            kind: field.kind,
            rows: column.len(),
            missing,
            distinct: column.n_unique()? - usize::from(missing > 0),
            range: is_number.then(|| range(&numbers)),
            median: if field.kind == Kind::Numeric { median(&numbers) } else { None },
            histogram: if field.kind == Kind::Numeric { Histogram::of(&numbers, BARS) } else { None },
            most_frequent: match field.kind {
                Kind::Categorical => most_frequent(column, shown)?,
                Kind::Boolean => truths(&numbers),
                _ => Vec::new(),
            },
        })
    };
    fields.map(look).collect()
}

fn range(values: &[f64]) -> [f64; 3] {
    let present = || values.iter().copied().filter(|value| !value.is_nan());
    let (n, sum) = present().fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    [present().fold(f64::INFINITY, f64::min), sum / n, present().fold(f64::NEG_INFINITY, f64::max)]
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[middle - 1], upper) } else { upper })
}

fn truths(values: &[f64]) -> Vec<(String, usize)> {
    let count = |of: f64| values.iter().filter(|value| **value == of).count();
    let mut counts = vec![("true".to_owned(), count(1.0)), ("false".to_owned(), count(0.0))];
    counts.retain(|(_, count)| *count > 0);
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

fn most_frequent(column: &Column, shown: usize) -> Result<Vec<(String, usize)>, TableError> {
    let mut counts: PlHashMap<&str, usize> = PlHashMap::new();
    for value in column.str()?.iter().flatten() {
        *counts.entry(value).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().map(|(value, count)| (value.to_owned(), count)).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(shown);
    Ok(counts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use retune_spec::{Field, Schema};

    use super::*;

    #[test]
    fn a_single_outlier_does_not_press_all_others_into_one_bar() {
        let mut values: Vec<f64> = (0..1000).map(f64::from).collect();
        values.extend([1e12, f64::NAN]);
        let Histogram { edges, counts, is_log } = Histogram::of(&values, 10).unwrap();
        assert!(!is_log);
        assert_eq!((edges.len(), counts.iter().sum::<usize>()), (11, 1001));
        assert!(edges[10] < 1000.0 && counts.iter().all(|count| (90..=110).contains(count)), "{edges:?} {counts:?}");
        assert_eq!(Histogram::of(&[2.0, 2.0], 10), None);
        assert_eq!(Histogram::of(&[f64::NAN], 10), None);
        // Quantiles that are the same make way for the ends.
        let mut flags = vec![0.0; 999];
        flags.push(1.0);
        assert_eq!(
            Histogram::of(&flags, 2).unwrap(),
            Histogram { edges: vec![0.0, 0.5, 1.0], counts: vec![999, 1], is_log: false }
        );
        let spread: Vec<f64> = (0..=60).map(|i| 10_f64.powf(f64::from(i) / 10.0)).collect();
        let Histogram { counts, is_log, .. } = Histogram::of(&spread, 6).unwrap();
        assert!(is_log && counts.iter().all(|count| (9..=12).contains(count)), "{counts:?}");
    }

    #[test]
    fn columns_are_told_by_their_kinds() {
        let frame = df!("n" => [Some(1.0), Some(3.0), None, Some(8.0)], "b" => [Some(true), Some(false), Some(true), None], "c" => ["x", "y", "x", "z"]).unwrap();
        let kinds = [("n", Kind::Numeric), ("b", Kind::Boolean), ("c", Kind::Categorical)];
        let fields = kinds.into_iter().map(|(name, kind)| Field::feature(name, kind)).collect();
        let told = profile(&Table::new(frame, Schema { fields, task: None }).unwrap()).unwrap();
        assert_eq!(
            (told[0].missing, told[0].distinct, told[0].range, told[0].median),
            (1, 3, Some([1.0, 4.0, 8.0]), Some(3.0))
        );
        assert_eq!(told[1].most_frequent, [("true".to_owned(), 2), ("false".to_owned(), 1)]);
        assert_eq!(told[2].most_frequent[0], ("x".to_owned(), 2));
        assert_eq!((told[1].histogram.as_ref(), told[2].median), (None, None));
    }
}
