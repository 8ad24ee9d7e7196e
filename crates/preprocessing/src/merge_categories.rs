//! `merge_categories`.

use std::collections::HashMap;

use polars::prelude::IntoColumn;
use rayon::prelude::*;
use retune_spec::preprocessing::{MergeCategories, SimilarityMeasure};
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::cells::{Cell, rewrite};
use crate::frame::Frame;
use crate::levels::{LevelCounts, Levels, level_counts};
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// Every two of more levels than these are not compared.
const MAX_COMPARED: usize = 20_000;

/// The spelling that stands for each known one.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedMergeCategories {
    columns: Vec<String>,
    merges: Vec<Merges>,
    similarity: f64,
    measure: SimilarityMeasure,
}

/// The levels of one column.
#[derive(Serialize, Deserialize)]
struct Merges {
    /// The levels that stand for others and themselves: their folded form and their spelling, the most frequent first.
    levels: Vec<(String, String)>,
    /// The folded forms that are not those of `levels`, and the level that stands for each.
    others: Vec<(String, usize)>,
}

impl FitStep for MergeCategories {
    type Fitted = FittedMergeCategories;
    const REPAIRS: bool = true;
    const KINDS: &'static [Kind] = &[Kind::Categorical, Kind::Text];

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedMergeCategories>> {
        let mut fitted = FittedMergeCategories {
            columns: columns.to_vec(),
            merges: Vec::new(),
            similarity: self.similarity,
            measure: self.measure,
        };
        let (mut told, mut n_merged, mut n_columns) = (Vec::new(), 0, 0);
        for (name, counts) in columns.iter().zip(level_counts(source, columns)?) {
            let (merges, merged) = fitted.learn(name, counts)?;
            n_merged += merged.iter().map(|(others, _)| others.len()).sum::<usize>();
            n_columns += usize::from(!merged.is_empty());
            told.extend(
                merged.into_iter().map(|(others, level)| format!("{} into `{level}`", retune_table::listed(&others))),
            );
            fitted.merges.push(merges);
        }
        let mut text = format!("merged {} into others in {}", counted(n_merged, "level"), counted(n_columns, "column"));
        let more = told.len().saturating_sub(5);
        if !told.is_empty() {
            told.truncate(5);
            text += &format!(": {}", told.join("; "));
        }
        if more > 0 {
            text += &format!("; and {more} more");
        }
        Ok(Learnt::applied(fitted, text))
    }
}

impl ApplyStep for FittedMergeCategories {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let merge = |(name, merges): (&String, &Merges)| {
            let values = frame.table.strings(name)?;
            // Each distinct value once: comparing is slow, and values repeat.
            let (distinct, _) = Levels::learn(values);
            let labels: Vec<&str> = (0..distinct.n_named()).map(|code| distinct.label(code)).collect();
            let known = merges.index();
            let spelled =
                |label: &&str| self.level_of(label, merges, &known).map(|level| merges.levels[level].1.as_str());
            let spellings: Vec<Option<&str>> = labels.par_iter().map(spelled).collect();
            let spelling_of: HashMap<&str, &str> = labels
                .iter()
                .zip(spellings)
                .filter_map(|(label, spelling)| Some((*label, spelling.filter(|spelling| spelling != label)?)))
                .collect();
            let merged = rewrite(values, |text, out| match spelling_of.get(text) {
                None => Cell::Same,
                Some(spelling) => {
                    out.push_str(spelling);
                    Cell::Written
                }
            })?;
            Ok((name.clone(), vec![(frame.field(name)?.clone(), merged.into_column())]))
        };
        frame.replace(self.columns.par_iter().zip(&self.merges).map(merge).collect::<Result<_>>()?)
    }
}

impl Merges {
    /// The level that stands for each known folded form.
    fn index(&self) -> HashMap<&str, usize> {
        let own = self.levels.iter().enumerate().map(|(level, (form, _))| (form.as_str(), level));
        own.chain(self.others.iter().map(|(form, level)| (form.as_str(), *level))).collect()
    }
}

/// Levels that were merged, and the one that they became.
type Merged = (Vec<String>, String);

impl FittedMergeCategories {
    fn learn(&self, name: &str, counts: LevelCounts) -> Result<(Merges, Vec<Merged>)> {
        // Spellings of one folded form, with the rows that have them.
        let mut forms: HashMap<String, Vec<(&str, usize)>> = HashMap::new();
        for code in 0..counts.levels.n_named() {
            let label = counts.levels.label(code);
            forms.entry(folded(label)).or_default().push((label, counts.counts[code]));
        }
        let rows = |spellings: &[(&str, usize)]| spellings.iter().map(|(_, n)| n).sum::<usize>();
        let mut forms: Vec<(String, Vec<(&str, usize)>)> = forms.into_iter().collect();
        forms
            .sort_by(|(one, of_one), (other, of_other)| rows(of_other).cmp(&rows(of_one)).then_with(|| one.cmp(other)));
        if self.similarity < 1.0 && forms.len() > MAX_COMPARED {
            return Err(StageError::data(format!(
                "column `{name}` has {} different levels, too many to compare every two of them",
                forms.len()
            ))
            .help(format!("leave `{name}` out of `columns`, or set `similarity: 1` to merge only what differs in capitals and spaces")));
        }
        let mut merges = Merges { levels: Vec::new(), others: Vec::new() };
        let mut members: Vec<Vec<&str>> = Vec::new();
        for (form, mut spellings) in forms {
            spellings.sort_by(|(one, n), (other, m)| m.cmp(n).then_with(|| one.cmp(other)));
            let labels = spellings.iter().map(|(label, _)| *label);
            match self.nearest(&form, &merges.levels) {
                Some(level) => {
                    merges.others.push((form, level));
                    members[level].extend(labels);
                }
                None => {
                    merges.levels.push((form, spellings[0].0.to_owned()));
                    members.push(labels.skip(1).collect());
                }
            }
        }
        let merged = members.into_iter().zip(&merges.levels).filter(|(members, _)| !members.is_empty());
        let merged = merged
            .map(|(members, (_, spelling))| (members.into_iter().map(str::to_owned).collect(), spelling.clone()))
            .collect();
        Ok((merges, merged))
    }

    /// The level that a text is a spelling of.
    fn level_of(&self, text: &str, merges: &Merges, known: &HashMap<&str, usize>) -> Option<usize> {
        let form = folded(text);
        known.get(form.as_str()).copied().or_else(|| self.nearest(&form, &merges.levels))
    }

    /// The most similar of some levels, the most frequent of equally similar ones; `None` where none is similar enough.
    fn nearest(&self, form: &str, levels: &[(String, String)]) -> Option<usize> {
        if self.similarity >= 1.0 || form.is_empty() {
            return None;
        }
        let length = form.chars().count();
        let digits: Vec<char> = digits_of(form).collect();
        let mut best: Option<(f64, usize)> = None;
        for (level, (other, _)) in levels.iter().enumerate() {
            // `type 1` and `type 2` are not the same, however long the word before.
            if !digits_of(other).eq(digits.iter().copied()) {
                continue;
            }
            let similarity = match self.measure {
                SimilarityMeasure::DamerauLevenshtein => {
                    let other_length = other.chars().count();
                    let bound = length.min(other_length) as f64 / length.max(other_length) as f64;
                    if bound < self.similarity {
                        continue;
                    }
                    strsim::normalized_damerau_levenshtein(form, other)
                }
                SimilarityMeasure::JaroWinkler => strsim::jaro_winkler(form, other),
            };
            if similarity >= self.similarity && best.is_none_or(|(most, _)| similarity > most) {
                best = Some((similarity, level));
            }
        }
        best.map(|(_, level)| level)
    }
}

fn digits_of(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter(char::is_ascii_digit)
}

/// Without what makes no difference: look-alike characters, capitals, runs of spaces and those around.
fn folded(text: &str) -> String {
    let text: String = text.nfkc().collect::<String>().to_lowercase();
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}
