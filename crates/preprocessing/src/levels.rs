//! The distinct values of a column of text.

use std::collections::HashMap;

use polars::prelude::StringChunked;
use serde::{Deserialize, Serialize};

/// The levels of the training rows in ascending order; a missing value is the last of them, where there was one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Levels {
    names: Vec<String>,
    missing: bool,
}

impl Levels {
    /// The levels, and the index of each row's.
    pub(crate) fn learn(values: &StringChunked) -> (Self, Vec<u32>) {
        let mut found: HashMap<Option<&str>, u32> = HashMap::new();
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

    pub(crate) fn len(&self) -> usize {
        self.names.len() + usize::from(self.missing)
    }

    /// What a level is called; `missing` for a missing value.
    pub(crate) fn label(&self, code: usize) -> &str {
        self.names.get(code).map_or("missing", String::as_str)
    }

    /// How many rows have each level.
    pub(crate) fn counts(&self, codes: &[u32]) -> Vec<usize> {
        let mut counts = vec![0; self.len()];
        codes.iter().for_each(|&code| counts[code as usize] += 1);
        counts
    }

    /// The index of each row's level; `None` for one that was never seen.
    pub(crate) fn encode(&self, values: &StringChunked) -> Vec<Option<u32>> {
        let mut codes: HashMap<Option<&str>, u32> =
            self.names.iter().enumerate().map(|(code, name)| (Some(name.as_str()), code as u32)).collect();
        if self.missing {
            codes.insert(None, self.names.len() as u32);
        }
        values.iter().map(|value| codes.get(&value).copied()).collect()
    }
}

/// The most frequent text, the smallest of equally frequent ones; `None` where every value is missing.
pub(crate) fn most_frequent(values: &StringChunked) -> Option<String> {
    let (levels, codes) = Levels::learn(values);
    let mut counts = levels.counts(&codes);
    counts.truncate(levels.names.len());
    let most = counts.iter().copied().max()?;
    let place = counts.iter().position(|&count| count == most)?;
    levels.names.get(place).cloned()
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
    fn the_smallest_of_the_most_frequent() {
        assert_eq!(
            most_frequent(&column(&[Some("b"), Some("a"), Some("a"), Some("b"), None, None, None])).as_deref(),
            Some("a")
        );
        assert_eq!(most_frequent(&column(&[None])), None);
    }
}
