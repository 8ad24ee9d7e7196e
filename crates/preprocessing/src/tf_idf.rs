//! `tf_idf`.

use std::sync::{Arc, LazyLock};

use polars::prelude::{PlHashMap, StringChunked};
use rayon::prelude::*;
use regex::Regex;
use retune_spec::preprocessing::{Analyzer, TfIdf};
use retune_stage::{Field, FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Names, SparseBlock};
use crate::outline::Outline;
use crate::sparse::Csr;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// Rows per unit of parallel work.
const BLOCK: usize = 4096;

/// The terms of each column and what they weigh.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedTfIdf {
    columns: Vec<String>,
    vocabularies: Vec<Vocabulary>,
    analysis: Analysis,
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

/// How texts become terms.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Analysis {
    analyzer: Analyzer,
    ngrams: [usize; 2],
}

impl FitStep for TfIdf {
    type Fitted = FittedTfIdf;
    const KINDS: &'static [Kind] = &[Kind::Text, Kind::Categorical];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        let [shortest, longest] = self.ngrams;
        if shortest < 1 || shortest > longest {
            return Err(StageError::data(format!("`ngrams: [{shortest}, {longest}]` is no range"))
                .help("give the shortest length (1 or more) and the longest, as in `[1, 2]`"));
        }
        outline.remove(columns);
        columns.iter().for_each(|name| outline.add_open(&format!("{name}_"), Kind::Numeric));
        Ok(())
    }

    fn fit(&self, frame: &Frame, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedTfIdf>> {
        let analysis = Analysis { analyzer: self.analyzer, ngrams: self.ngrams };
        let learn = |name: &String| {
            let counts = analysis.count(&frame.levels(name)?);
            let vocabulary = learn(self, name, &counts)?;
            Ok((vocabulary, counts))
        };
        let learned: Vec<(Vocabulary, Counts)> = columns.iter().map(learn).collect::<Result<_>>()?;
        let (mut vocabularies, counts): (Vec<Vocabulary>, Vec<Counts>) = learned.into_iter().unzip();
        let mut taken = Names::of(frame);
        for name in vocabularies.iter_mut().flat_map(|vocabulary| &mut vocabulary.names) {
            *name = taken.fresh(std::mem::take(name));
        }
        let n_found: usize = counts.iter().map(|counts| counts.terms.len()).sum();
        let n_kept: usize = vocabularies.iter().map(|vocabulary| vocabulary.terms.len()).sum();
        let text = format!("weighed {n_kept} of {} of {}", counted(n_found, "term"), counted(columns.len(), "column"));
        let fitted = FittedTfIdf { columns: columns.to_vec(), vocabularies, analysis, sublinear: self.sublinear };
        let train = fitted.weigh(frame, counts)?;
        Ok(Learnt { fitted, train, text })
    }
}

impl ApplyStep for FittedTfIdf {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let counts = self.columns.iter().map(|name| Ok(self.analysis.count(&frame.levels(name)?)));
        self.weigh(frame, counts.collect::<Result<_>>()?)
    }
}

impl FittedTfIdf {
    /// The frame with the weighed counts in place of the columns.
    fn weigh(&self, frame: &Frame, counts: Vec<Counts>) -> Result<Frame> {
        let mut weighed = frame.remove(&self.columns)?;
        for ((name, vocabulary), counts) in self.columns.iter().zip(&self.vocabularies).zip(counts) {
            let origin = frame.field(name)?.origin();
            let fields = vocabulary.names.iter().map(|name| Field::derived(name, Kind::Numeric, origin)).collect();
            weighed.sparse.push(Arc::new(SparseBlock { fields, matrix: vocabulary.weigh(&counts, self.sublinear) }));
        }
        Ok(weighed)
    }
}

impl Vocabulary {
    /// Counts weighed by term, each row scaled to unit length.
    fn weigh(&self, counts: &Counts, sublinear: bool) -> Csr {
        let place = |term: &str| self.terms.binary_search_by(|own| own.as_str().cmp(term)).ok();
        let places: Vec<Option<usize>> = counts.terms.par_iter().map(|term| place(term)).collect();
        let mut weighed = Csr::empty(self.terms.len());
        let mut cells = Vec::new();
        for row in 0..counts.matrix.n_rows() {
            cells.clear();
            let known = counts.matrix.row(row).filter_map(|(term, count)| Some((places[term as usize]?, count)));
            cells.extend(known.map(|(place, count)| {
                let frequency = if sublinear { 1.0 + count.ln() } else { count };
                (place as u32, frequency * self.weights[place])
            }));
            // In the order of the terms, so that a row's length does not depend on the rows before it.
            cells.sort_unstable_by_key(|(place, _)| *place);
            let length = cells.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
            weighed.push_row(cells.iter().map(|(place, weight)| (*place, weight / length)));
        }
        weighed
    }
}

/// The terms to keep and what they weigh.
fn learn(step: &TfIdf, name: &str, counts: &Counts) -> Result<Vocabulary> {
    let mut n_rows = vec![0_usize; counts.terms.len()];
    let mut totals = vec![0.0; counts.terms.len()];
    for (&term, &count) in counts.matrix.columns.iter().zip(&counts.matrix.values) {
        n_rows[term as usize] += 1;
        totals[term as usize] += count;
    }
    let mut kept: Vec<usize> = (0..counts.terms.len()).filter(|&term| n_rows[term] >= step.min_rows).collect();
    if kept.is_empty() {
        let (rows, n_terms) = (counted(step.min_rows, "training row"), counts.terms.len());
        return Err(StageError::data(format!(
            "no term of column `{name}` is in {rows} or more (it has {n_terms} different terms in all)"
        ))
        .help(format!("lower `min_rows`, or leave `{name}` out of `columns`")));
    }
    // Of equally frequent terms the first in order is kept.
    kept.sort_unstable_by(|&a, &b| totals[b].total_cmp(&totals[a]).then_with(|| counts.terms[a].cmp(&counts.terms[b])));
    kept.truncate(step.max_features);
    kept.sort_unstable_by(|&a, &b| counts.terms[a].cmp(&counts.terms[b]));
    let n = counts.matrix.n_rows() as f64;
    Ok(Vocabulary {
        terms: kept.iter().map(|&term| counts.terms[term].to_string()).collect(),
        names: kept.iter().map(|&term| format!("{name}_{}", counts.terms[term])).collect(),
        weights: kept.iter().map(|&term| ((1.0 + n) / (1.0 + n_rows[term] as f64)).ln() + 1.0).collect(),
    })
}

/// How often each row has each of the terms that occur; terms in the order in which they are met.
struct Counts {
    terms: Vec<Box<str>>,
    matrix: Csr,
}

impl Analysis {
    /// Counts the terms of every row. A missing text has none.
    fn count(self, texts: &StringChunked) -> Counts {
        let texts: Vec<&str> = texts.iter().map(Option::unwrap_or_default).collect();
        let blocks: Vec<Counts> = texts.par_chunks(BLOCK).map(|texts| self.count_block(texts)).collect();
        merge(blocks)
    }

    fn count_block(self, texts: &[&str]) -> Counts {
        let mut codes: PlHashMap<Box<str>, u32> = PlHashMap::default();
        let mut matrix = Csr::empty(0);
        let mut row = Vec::new();
        for text in texts {
            row.clear();
            self.for_each_term(&text.to_lowercase(), |term| match codes.get(term) {
                Some(&code) => row.push(code),
                None => {
                    row.push(codes.len() as u32);
                    codes.insert(term.into(), codes.len() as u32);
                }
            });
            row.sort_unstable();
            matrix.push_row(row.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as f64)));
        }
        let mut terms: Vec<(u32, Box<str>)> = codes.into_iter().map(|(term, code)| (code, term)).collect();
        terms.sort_unstable_by_key(|(code, _)| *code);
        Counts { matrix, terms: terms.into_iter().map(|(_, term)| term).collect() }
    }

    fn for_each_term(self, text: &str, visit: impl FnMut(&str)) {
        match self.analyzer {
            Analyzer::Word => for_each_word_run(text, self.ngrams, visit),
            Analyzer::Character => for_each_character_run(text, self.ngrams, visit),
        }
    }
}

fn merge(blocks: Vec<Counts>) -> Counts {
    let mut codes: PlHashMap<Box<str>, u32> = PlHashMap::default();
    let mut merged = Counts { terms: Vec::new(), matrix: Csr::empty(0) };
    for block in blocks {
        let mut code = |term: Box<str>| {
            let next = codes.len() as u32;
            *codes.entry(term).or_insert_with_key(|term| {
                merged.terms.push(term.clone());
                next
            })
        };
        let codes: Vec<u32> = block.terms.into_iter().map(&mut code).collect();
        for row in 0..block.matrix.n_rows() {
            merged.matrix.push_row(block.matrix.row(row).map(|(term, count)| (codes[term as usize], count)));
        }
    }
    merged.matrix.n_columns = merged.terms.len();
    merged
}

/// Runs of words, joined by a space. A word is two or more letters, digits and underscores: scikit-learn's `\b\w\w+\b`.
fn for_each_word_run(text: &str, [shortest, longest]: [usize; 2], mut visit: impl FnMut(&str)) {
    static WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]{2,}").ok());
    let words: Vec<&str> = WORD.iter().flat_map(|word| word.find_iter(text)).map(|found| found.as_str()).collect();
    let mut run = String::new();
    for length in shortest..=longest.min(words.len()) {
        for words in words.windows(length) {
            match words {
                [word] => visit(word),
                words => {
                    run.clear();
                    for word in words {
                        if !run.is_empty() {
                            run.push(' ');
                        }
                        run.push_str(word);
                    }
                    visit(&run);
                }
            }
        }
    }
}

/// Runs of characters within each word with a space on either side; a word shorter than a run counts once: scikit-learn's `char_wb`.
fn for_each_character_run(text: &str, [shortest, longest]: [usize; 2], mut visit: impl FnMut(&str)) {
    let mut padded = String::new();
    for word in text.split_whitespace() {
        padded.clear();
        padded.extend([" ", word, " "]);
        let mut starts: Vec<usize> = padded.char_indices().map(|(start, _)| start).collect();
        starts.push(padded.len());
        let n_characters = starts.len() - 1;
        for length in shortest..=longest {
            if length >= n_characters {
                visit(&padded);
                break;
            }
            starts.windows(length + 1).for_each(|run| visit(&padded[run[0]..run[length]]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(analyzer: Analyzer, ngrams: [usize; 2], text: &str) -> Vec<String> {
        let mut terms = Vec::new();
        Analysis { analyzer, ngrams }.for_each_term(&text.to_lowercase(), |term| terms.push(term.to_owned()));
        terms
    }

    // Expected terms from CountVectorizer.build_analyzer() of scikit-learn 1.9.1.
    #[test]
    fn terms_are_those_of_scikit_learn() {
        for (analyzer, ngrams, text, expected) in [
            (
                Analyzer::Word,
                [1, 1],
                "A C++ lib, for X_1 & naïve Ünits 42!",
                vec!["lib", "for", "x_1", "naïve", "ünits", "42"],
            ),
            (Analyzer::Word, [1, 2], "Web server-side", vec!["web", "server", "side", "web server", "server side"]),
            (Analyzer::Word, [2, 3], "one two", vec!["one two"]),
            (Analyzer::Word, [1, 1], "a b", vec![]),
            (Analyzer::Character, [2, 3], "ab  C", vec![" a", "ab", "b ", " ab", "ab ", " c", "c ", " c "]),
            (Analyzer::Character, [4, 5], "é", vec![" é "]),
            (Analyzer::Character, [1, 1], "", vec![]),
        ] {
            assert_eq!(terms(analyzer, ngrams, text), expected, "{text}");
        }
    }
}
