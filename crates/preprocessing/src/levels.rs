//! The distinct values of a column of text.

use polars::prelude::{PlHashMap, StringChunked};
use rayon::prelude::*;
use retune_stage::Result;
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::source::Source;

/// The levels of the training rows in ascending order; a missing value is the last of them, where there was one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Levels {
    names: Vec<String>,
    missing: bool,
}

impl Levels {
    /// The levels, and the index of each row's.
    pub(crate) fn learn(values: &StringChunked) -> (Self, Vec<u32>) {
        let mut found: PlHashMap<Option<&str>, u32> = PlHashMap::default();
        let mut codes = Vec::with_capacity(values.len());
        for value in values.iter() {
            let next = found.len() as u32;
            codes.push(*found.entry(value).or_insert(next));
        }
        let mut ordered: Vec<(Option<&str>, u32)> = found.into_iter().collect();
        ordered.sort_unstable_by_key(|(level, _)| (level.is_none(), *level));
        let mut rank = vec![0; ordered.len()];
        for (place, (_, code)) in ordered.iter().enumerate() {
            rank[*code as usize] = place as u32;
        }
        codes.iter_mut().for_each(|code| *code = rank[*code as usize]);
        let names: Vec<String> = ordered.iter().filter_map(|(level, _)| level.map(str::to_owned)).collect();
        let missing = names.len() < ordered.len();
        (Self { names, missing }, codes)
    }

    /// Levels in an order of their own, without a missing one.
    pub(crate) fn in_order(names: Vec<String>) -> Self {
        Self { names, missing: false }
    }

    /// The levels in order, without the missing one.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The same levels without the missing one.
    pub(crate) fn without_missing(self) -> Self {
        Self { missing: false, ..self }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len() + usize::from(self.missing)
    }

    /// How many levels there are without the missing one: they come first.
    pub(crate) fn n_named(&self) -> usize {
        self.names.len()
    }

    /// What a level is called; `missing` for a missing value.
    pub(crate) fn label(&self, code: usize) -> &str {
        self.names.get(code).map_or("missing", String::as_str)
    }

    /// The levels in order, the missing one last.
    fn into_all(self) -> impl Iterator<Item = Option<String>> {
        self.names.into_iter().map(Some).chain(self.missing.then_some(None))
    }

    /// How many rows have each level.
    pub(crate) fn counts(&self, codes: &[u32]) -> Vec<usize> {
        let mut counts = vec![0; self.len()];
        codes.iter().for_each(|&code| counts[code as usize] += 1);
        counts
    }

    /// The index of each row's level; `None` for one that was never seen.
    pub(crate) fn encode(&self, values: &StringChunked) -> Vec<Option<u32>> {
        let mut codes: PlHashMap<Option<&str>, u32> =
            self.names.iter().enumerate().map(|(code, name)| (Some(name.as_str()), code as u32)).collect();
        if self.missing {
            codes.insert(None, self.names.len() as u32);
        }
        values.iter().map(|value| codes.get(&value).copied()).collect()
    }
}

/// The levels of a column over all training rows, and how many rows have each.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LevelCounts {
    pub(crate) levels: Levels,
    pub(crate) counts: Vec<usize>,
}

impl LevelCounts {
    /// The most frequent level that is not missing, the first in order of equally frequent ones; `None` where every value is missing.
    pub(crate) fn most_frequent(&self) -> Option<&str> {
        let counts = &self.counts[..self.levels.names.len()];
        let most = counts.iter().copied().max()?;
        let place = counts.iter().position(|&count| count == most)?;
        self.levels.names.get(place).map(String::as_str)
    }
}

/// The levels of each column and their counts, over all training rows.
pub(crate) fn level_counts(source: &Source, columns: &[String]) -> Result<Vec<LevelCounts>> {
    let mut sums: Vec<PlHashMap<Option<String>, usize>> = vec![PlHashMap::default(); columns.len()];
    let of = |frame: &Frame, name: &String| {
        let (levels, codes) = Levels::learn(&frame.levels(name)?);
        let counts = levels.counts(&codes);
        Ok((levels, counts))
    };
    let map = |frame: &Frame| columns.par_iter().map(|name| of(frame, name)).collect::<Result<Vec<_>>>();
    source.fold(columns, map, |piece| {
        for (sum, (levels, counts)) in sums.iter_mut().zip(piece) {
            for (level, n) in levels.into_all().zip(counts) {
                *sum.entry(level).or_default() += n;
            }
        }
        Ok(())
    })?;
    Ok(sums.into_iter().map(in_order).collect())
}

fn in_order(counts: PlHashMap<Option<String>, usize>) -> LevelCounts {
    let mut counts: Vec<(Option<String>, usize)> = counts.into_iter().collect();
    counts.sort_unstable_by(|(one, _), (other, _)| (one.is_none(), one).cmp(&(other.is_none(), other)));
    let (levels, counts): (Vec<Option<String>>, Vec<usize>) = counts.into_iter().unzip();
    let missing = levels.last().is_some_and(Option::is_none);
    LevelCounts { levels: Levels { names: levels.into_iter().flatten().collect(), missing }, counts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polars::prelude::NewChunkedArray;

    fn column(values: &[Option<&str>]) -> StringChunked {
        StringChunked::from_slice_options("x".into(), values)
    }

    #[test]
    fn levels_are_in_order_and_missing_is_the_last() {
        let (levels, codes) = Levels::learn(&column(&[Some("b"), None, Some("a"), Some("b")]));
        assert_eq!(codes, [1, 2, 0, 1]);
        assert_eq!((levels.label(0), levels.label(1), levels.label(2), levels.len()), ("a", "b", "missing", 3));
        assert_eq!(levels.counts(&codes), [1, 2, 1]);
        assert_eq!(levels.encode(&column(&[Some("c"), Some("a"), None])), [None, Some(0), Some(2)]);
    }

    #[test]
    fn a_missing_value_is_unseen_where_training_rows_had_none() {
        let (levels, _) = Levels::learn(&column(&[Some("b"), Some("a")]));
        assert_eq!(levels.encode(&column(&[None, Some("b")])), [None, Some(1)]);
    }

    #[test]
    fn the_first_of_the_most_frequent() {
        let of = |values: &[Option<&str>]| {
            let (levels, codes) = Levels::learn(&column(values));
            let counts = LevelCounts { counts: levels.counts(&codes), levels };
            counts.most_frequent().map(str::to_owned)
        };
        let values = [Some("b"), Some("a"), Some("a"), Some("b"), None, None, None];
        assert_eq!(of(&values), Some("a".to_owned()));
        assert_eq!(of(&[None]), None);
    }
}
