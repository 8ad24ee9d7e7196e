//! `tf_idf`.

use std::sync::Arc;

use polars::prelude::PlHashMap;
use rayon::prelude::*;
use retune_spec::preprocessing::{TfIdf, Weighting};
use retune_stage::{Field, FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Names, SparseBlock};
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};
use crate::terms::{Analysis, BLOCK};

/// More different terms than this in a column are not held: about 2 GB.
const MAX_TERMS: usize = 20_000_000;

/// The terms of each column and what they weigh.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedTfIdf {
    columns: Vec<String>,
    vocabularies: Vec<Vocabulary>,
    analysis: Analysis,
    #[serde(default)]
    weighting: Weighting,
    sublinear: bool,
}

#[derive(Serialize, Deserialize)]
struct Vocabulary {
    /// In ascending order.
    terms: Vec<String>,
    /// The new column of each term.
    names: Vec<String>,
    /// The inverse document frequency of each term.
    weights: Vec<f64>,
}

/// How often a term occurs.
#[derive(Clone, Copy, Default)]
struct Occurrences {
    /// In how many rows.
    n_rows: u64,
    total: u64,
}

type Counts = PlHashMap<Box<str>, Occurrences>;

impl FitStep for TfIdf {
    type Fitted = FittedTfIdf;
    const KINDS: &'static [Kind] = &[Kind::Text, Kind::Categorical];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        Analysis::check(self.analyzer, self.ngrams, self.stop_words.as_ref())?;
        if self.sublinear && self.weighting != Weighting::TfIdf {
            return Err(StageError::data("`sublinear` is for `weighting: tf_idf`")
                .help("leave `sublinear` out, or set `weighting: tf_idf`"));
        }
        outline.remove(columns);
        columns.iter().for_each(|name| outline.add_open(&format!("{name}_"), Kind::Numeric));
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedTfIdf>> {
        let analysis = Analysis::new(self.analyzer, self.ngrams, self.stop_words.as_ref());
        let counts = count(&analysis, source, columns)?;
        let n_found: usize = counts.iter().map(Counts::len).sum();
        let learned = columns.iter().zip(counts).map(|(name, counts)| learn(self, name, counts, source.n_rows()));
        let mut vocabularies: Vec<Vocabulary> = learned.collect::<Result<_>>()?;
        let mut taken = Names::of(&source.schema());
        for name in vocabularies.iter_mut().flat_map(|vocabulary| &mut vocabulary.names) {
            *name = taken.fresh(std::mem::take(name));
        }
        let n_kept: usize = vocabularies.iter().map(|vocabulary| vocabulary.terms.len()).sum();
        let verb = if self.weighting == Weighting::TfIdf { "weighed" } else { "counted" };
        let text = format!("{verb} {n_kept} of {} of {}", counted(n_found, "term"), counted(columns.len(), "column"));
        let (weighting, sublinear) = (self.weighting, self.sublinear);
        let fitted = FittedTfIdf { columns: columns.to_vec(), vocabularies, analysis, weighting, sublinear };
        Ok(Learnt::applied(fitted, text))
    }
}

impl ApplyStep for FittedTfIdf {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let mut weighed = frame.remove(&self.columns)?;
        for (name, vocabulary) in self.columns.iter().zip(&self.vocabularies) {
            let origin = frame.field(name)?.origin();
            let fields = vocabulary.names.iter().map(|name| Field::derived(name, Kind::Numeric, origin)).collect();
            let codes: PlHashMap<&str, u32> =
                vocabulary.terms.iter().enumerate().map(|(code, term)| (term.as_str(), code as u32)).collect();
            let texts = frame.levels(name)?;
            // A missing text has no terms.
            let texts: Vec<&str> = texts.iter().map(Option::unwrap_or_default).collect();
            let place = |term: &str| codes.get(term).map(|&code| (code, 1.0));
            let scale = |cells: &mut [(u32, f64)]| self.weigh(&vocabulary.weights, cells);
            let matrix = self.analysis.reader().rows(&texts, vocabulary.terms.len(), place, scale);
            weighed.sparse.push(Arc::new(SparseBlock { fields, matrix }));
        }
        Ok(weighed)
    }
}

impl FittedTfIdf {
    /// Turns the counts of a row's terms into their numbers.
    fn weigh(&self, weights: &[f64], cells: &mut [(u32, f64)]) {
        match self.weighting {
            Weighting::Count => {}
            Weighting::Binary => cells.iter_mut().for_each(|(_, count)| *count = 1.0),
            Weighting::TfIdf => {
                for (term, count) in cells.iter_mut() {
                    let frequency = if self.sublinear { 1.0 + count.ln() } else { *count };
                    *count = frequency * weights[*term as usize];
                }
                let length = cells.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
                cells.iter_mut().for_each(|(_, weight)| *weight /= length);
            }
        }
    }
}

/// How often each term of each column occurs. Whole numbers, so that it does not matter in which order rows are counted.
fn count(analysis: &Analysis, source: &Source, columns: &[String]) -> Result<Vec<Counts>> {
    let map = |frame: &Frame| {
        let of = |name: &String| {
            let texts = frame.levels(name)?;
            let texts: Vec<&str> = texts.iter().map(Option::unwrap_or_default).collect();
            texts.par_chunks(BLOCK).map(|texts| count_block(analysis, name, texts)).collect::<Result<Vec<_>>>()
        };
        columns.iter().map(of).collect::<Result<Vec<_>>>()
    };
    let mut sums = vec![Counts::default(); columns.len()];
    source.fold(columns, map, |piece| {
        for ((name, sums), blocks) in columns.iter().zip(&mut sums).zip(piece) {
            for (term, found) in blocks.into_iter().flatten() {
                let sum = sums.entry(term).or_default();
                sum.n_rows += found.n_rows;
                sum.total += found.total;
            }
            refuse_too_many(name, sums)?;
        }
        Ok(())
    })?;
    Ok(sums)
}

fn count_block(analysis: &Analysis, name: &str, texts: &[&str]) -> Result<Counts> {
    let reader = analysis.reader();
    // With the last row that a term was found in.
    let mut counts: PlHashMap<Box<str>, (Occurrences, usize)> = PlHashMap::default();
    for (row, text) in texts.iter().enumerate() {
        reader.for_each_term(text, |term| {
            if let Some((found, last)) = counts.get_mut(term) {
                found.total += 1;
                found.n_rows += u64::from(*last != row);
                *last = row;
            } else if counts.len() <= MAX_TERMS {
                // One text alone may have more terms than can be held.
                counts.insert(term.into(), (Occurrences { n_rows: 1, total: 1 }, row));
            }
        });
    }
    let counts = counts.into_iter().map(|(term, (found, _))| (term, found)).collect();
    refuse_too_many(name, &counts)?;
    Ok(counts)
}

fn refuse_too_many(name: &str, counts: &Counts) -> Result<()> {
    if counts.len() <= MAX_TERMS {
        return Ok(());
    }
    Err(StageError::data(format!("column `{name}` has more than {MAX_TERMS} different terms"))
        .help("use `hash_text`, which keeps no list of terms, or shorter `ngrams`"))
}

/// The terms to keep and what they weigh.
fn learn(step: &TfIdf, name: &str, counts: Counts, n_rows: usize) -> Result<Vocabulary> {
    let n_terms = counts.len();
    let most = step.max_share * n_rows as f64;
    let fits = |found: &Occurrences| found.n_rows >= step.min_rows as u64 && found.n_rows as f64 <= most;
    let mut kept: Vec<(Box<str>, Occurrences)> = counts.into_iter().filter(|(_, found)| fits(found)).collect();
    if kept.is_empty() {
        let rows = counted(step.min_rows, "training row");
        let (most, lever) = if step.max_share < 1.0 {
            (format!(" and in {} of them or fewer", most.floor()), "lower `min_rows`, raise `max_share`")
        } else {
            (String::new(), "lower `min_rows`")
        };
        return Err(StageError::data(format!(
            "no term of column `{name}` is in {rows} or more{most} (it has {n_terms} different terms in all)"
        ))
        .help(format!("{lever}, or leave `{name}` out of `columns`")));
    }
    // Of equally frequent terms the first in order is kept.
    kept.par_sort_unstable_by(|(one, found), (other, others)| {
        others.total.cmp(&found.total).then_with(|| one.cmp(other))
    });
    kept.truncate(step.max_features);
    kept.par_sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let weight = |found: &Occurrences| ((1.0 + n_rows as f64) / (1.0 + found.n_rows as f64)).ln() + 1.0;
    Ok(Vocabulary {
        names: kept.iter().map(|(term, _)| format!("{name}_{term}")).collect(),
        weights: kept.iter().map(|(_, found)| weight(found)).collect(),
        terms: kept.into_iter().map(|(term, _)| term.into_string()).collect(),
    })
}
