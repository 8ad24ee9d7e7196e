//! How texts become terms; what `tf_idf` and `hash_text` share.

use std::sync::LazyLock;

use polars::prelude::PlHashSet;
use rayon::prelude::*;
use regex::Regex;
use retune_spec::preprocessing::{Analyzer, StopWords};
use retune_stage::{Result, StageError};
use serde::{Deserialize, Serialize};

use crate::sparse::Csr;

/// Rows per unit of parallel work.
pub(crate) const BLOCK: usize = 4096;

/// Cells of a row that are held before those of one column are put together: texts may be megabytes long.
const HELD_CELLS: usize = 65_536;

/// scikit-learn's list, one word a line below the lines of its source and licence, which start with `#`.
const ENGLISH: &str = include_str!("stop_words/english.txt");

/// What terms are made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Analysis {
    analyzer: Analyzer,
    ngrams: [usize; 2],
    /// Words that are left out, in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stop_words: Vec<String>,
}

/// An [`Analysis`] at work.
pub(crate) struct Reader<'a> {
    analysis: &'a Analysis,
    stop_words: PlHashSet<&'a str>,
}

impl Analysis {
    /// Fails for parameters that contradict one another.
    pub(crate) fn check(
        analyzer: Analyzer,
        [shortest, longest]: [usize; 2],
        stop_words: Option<&StopWords>,
    ) -> Result<()> {
        if shortest < 1 || shortest > longest {
            return Err(StageError::data(format!("`ngrams: [{shortest}, {longest}]` is no range"))
                .help("give the shortest length (1 or more) and the longest, as in `[1, 2]`"));
        }
        if analyzer == Analyzer::Character && stop_words.is_some() {
            return Err(StageError::data(
                "`stop_words` leaves out words, and `analyzer: character` makes terms of characters",
            )
            .help("leave `stop_words` out, or set `analyzer: word`"));
        }
        Ok(())
    }

    pub(crate) fn new(analyzer: Analyzer, ngrams: [usize; 2], stop_words: Option<&StopWords>) -> Self {
        let stop_words = match stop_words {
            None => Vec::new(),
            Some(StopWords::Language(_)) => {
                ENGLISH.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
            }
            Some(StopWords::Words(words)) => words.iter().map(|word| word.to_lowercase()).collect(),
        };
        Self { analyzer, ngrams, stop_words }
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { analysis: self, stop_words: self.stop_words.iter().map(String::as_str).collect() }
    }
}

impl Reader<'_> {
    /// Gives each term of a text, as often as it occurs.
    pub(crate) fn for_each_term(&self, text: &str, visit: impl FnMut(&str)) {
        let text = text.to_lowercase();
        match self.analysis.analyzer {
            Analyzer::Word => self.for_each_word_run(&text, visit),
            Analyzer::Character => for_each_character_run(&text, self.analysis.ngrams, visit),
        }
    }

    /// Runs of words, joined by a space. A word is two or more letters, digits and underscores: scikit-learn's `\b\w\w+\b`.
    fn for_each_word_run(&self, text: &str, mut visit: impl FnMut(&str)) {
        static WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]{2,}").ok());
        let words = WORD.iter().flat_map(|word| word.find_iter(text)).map(|found| found.as_str());
        let words: Vec<&str> = words.filter(|word| !self.stop_words.contains(word)).collect();
        let [shortest, longest] = self.analysis.ngrams;
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

    /// A sparse row for each text, each by itself. `place` says for a term in which column it counts and by how much, where it does; `scale` turns the sums
    /// of a row, which are in the order of the columns.
    pub(crate) fn rows(
        &self,
        texts: &[&str],
        n_columns: usize,
        place: impl Fn(&str) -> Option<(u32, f64)> + Sync,
        scale: impl Fn(&mut [(u32, f64)]) + Sync,
    ) -> Csr {
        let block = |texts: &[&str]| {
            let mut matrix = Csr::empty(n_columns);
            let mut tally = Tally::default();
            for text in texts {
                self.for_each_term(text, |term| {
                    if let Some((column, value)) = place(term) {
                        tally.add(column, value);
                    }
                });
                let cells = tally.sums();
                scale(cells);
                matrix.push_row(cells.iter().copied());
                tally.clear();
            }
            matrix
        };
        Csr::stacked(n_columns, texts.par_chunks(BLOCK).map(block).collect())
    }
}

/// The cells of one row while they are added up.
#[derive(Default)]
pub(crate) struct Tally {
    cells: Vec<(u32, f64)>,
    /// How many of them were left when those of one column were put together last.
    n_columns: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, column: u32, value: f64) {
        self.cells.push((column, value));
        // Each time as many cells as before are new, so that the whole is not quadratic.
        if self.cells.len() >= HELD_CELLS.max(2 * self.n_columns) {
            self.n_columns = self.sums().len();
        }
    }

    /// The sum of each column, in the order of the columns. The summands are whole numbers, so that their order has no effect.
    pub(crate) fn sums(&mut self) -> &mut [(u32, f64)] {
        self.cells.sort_unstable_by_key(|(column, _)| *column);
        self.cells.dedup_by(|next, sum| {
            let same = next.0 == sum.0;
            if same {
                sum.1 += next.1;
            }
            same
        });
        &mut self.cells
    }

    pub(crate) fn clear(&mut self) {
        self.cells.clear();
        self.n_columns = 0;
    }
}

/// Runs of characters within each word with a space on either side; a word shorter than a run counts once: scikit-learn's `char_wb`.
fn for_each_character_run(text: &str, [shortest, longest]: [usize; 2], mut visit: impl FnMut(&str)) {
    let (mut padded, mut starts) = (String::new(), Vec::new());
    for word in text.split_whitespace() {
        padded.clear();
        padded.extend([" ", word, " "]);
        starts.clear();
        starts.extend(padded.char_indices().map(|(start, _)| start).chain([padded.len()]));
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
    use retune_spec::preprocessing::StopLanguage;

    fn terms(analysis: &Analysis, text: &str) -> Vec<String> {
        let mut terms = Vec::new();
        analysis.reader().for_each_term(text, |term| terms.push(term.to_owned()));
        terms
    }

    // Expected terms from CountVectorizer.build_analyzer() of scikit-learn 1.9.1.
    #[test]
    fn terms_are_those_of_scikit_learn() {
        let english = StopWords::Language(StopLanguage::English);
        let words = StopWords::Words(vec!["Two".to_owned(), "x_1".to_owned()]);
        for (analyzer, ngrams, stop_words, text, expected) in [
            (
                Analyzer::Word,
                [1, 1],
                None,
                "A C++ lib, for X_1 & naïve Ünits 42!",
                vec!["lib", "for", "x_1", "naïve", "ünits", "42"],
            ),
            (
                Analyzer::Word,
                [1, 2],
                None,
                "Web server-side",
                vec!["web", "server", "side", "web server", "server side"],
            ),
            (Analyzer::Word, [2, 3], None, "one two", vec!["one two"]),
            (Analyzer::Word, [1, 1], None, "a b", vec![]),
            (Analyzer::Word, [1, 2], Some(&english), "The Web of things", vec!["web", "things", "web things"]),
            (Analyzer::Word, [1, 2], Some(&words), "one TWO three x_1", vec!["one", "three", "one three"]),
            (Analyzer::Character, [2, 3], None, "ab  C", vec![" a", "ab", "b ", " ab", "ab ", " c", "c ", " c "]),
            (Analyzer::Character, [4, 5], None, "é", vec![" é "]),
            (Analyzer::Character, [1, 1], None, "", vec![]),
        ] {
            assert_eq!(terms(&Analysis::new(analyzer, ngrams, stop_words), text), expected, "{text}");
        }
    }

    #[test]
    fn sums_do_not_depend_on_when_cells_are_put_together() {
        let mut tally = Tally::default();
        let n = 10 * HELD_CELLS as u32;
        (0..n).for_each(|at| tally.add(at % 7, 1.0));
        let sums: Vec<(u32, f64)> = (0..7).map(|column| (column, f64::from((n - column).div_ceil(7)))).collect();
        assert_eq!(tally.sums(), sums);
    }
}
