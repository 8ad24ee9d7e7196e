//! `null_tokens`.

use std::collections::HashSet;

use polars::prelude::IntoColumn;
use rayon::prelude::*;
use retune_spec::preprocessing::NullTokens;
use retune_stage::{Field, FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::cast::{number, numbers};
use crate::cells::{self, Cell, rewrite};
use crate::frame::{Frame, numeric_column};
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The words that stand for a missing value, and the columns that are numbers without them.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedNullTokens {
    columns: Vec<String>,
    /// Whether each column becomes numbers.
    numeric: Vec<bool>,
    /// In lower case, without spaces around them.
    tokens: Vec<String>,
}

impl FitStep for NullTokens {
    type Fitted = FittedNullTokens;
    const REPAIRS: bool = true;
    const KINDS: &'static [Kind] = &[Kind::Categorical, Kind::Text];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if self.tokens.is_empty() {
            return Err(StageError::data("`tokens` is empty").help("name words such as \"NA\", or leave `tokens` out"));
        }
        if self.parse {
            // Which of them become numbers only the data know.
            outline.remove(columns);
            columns.iter().for_each(|name| outline.add_open(name, Kind::Numeric));
        }
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedNullTokens>> {
        let tokens: Vec<String> = self.tokens.iter().map(|token| token.trim().to_lowercase()).collect();
        let mut seen = vec![Seen::default(); columns.len()];
        let known = Tokens::of(&tokens);
        let map =
            |frame: &Frame| columns.par_iter().map(|name| Seen::of(frame, name, &known)).collect::<Result<Vec<_>>>();
        source.fold(columns, map, |piece| {
            seen.iter_mut().zip(piece).for_each(|(sum, piece)| sum.add(&piece));
            Ok(())
        })?;
        let n_replaced: usize = seen.iter().map(|seen| seen.replaced).sum();
        let n_columns = seen.iter().filter(|seen| seen.replaced > 0).count();
        let mut text = format!("made {} missing in {}", counted(n_replaced, "value"), counted(n_columns, "column"));
        let numeric: Vec<bool> = seen.iter().map(Seen::numeric).collect();
        let names: Vec<&String> =
            columns.iter().zip(&numeric).filter(|(_, numeric)| **numeric).map(|(name, _)| name).collect();
        if !names.is_empty() {
            let listed = retune_table::listed(&names);
            text += &match self.parse {
                true => format!("; turned {listed} into numbers"),
                false => {
                    format!("; {listed} now hold numbers only (`parse: true` would turn them into a numeric column)")
                }
            };
        }
        let numeric = numeric.into_iter().map(|numeric| numeric && self.parse).collect();
        Ok(Learnt::applied(FittedNullTokens { columns: columns.to_vec(), numeric, tokens }, text))
    }
}

impl ApplyStep for FittedNullTokens {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let known = Tokens::of(&self.tokens);
        let replace = |(name, numeric): (&String, &bool)| {
            let field = frame.field(name)?.clone();
            let values = frame.table.strings(name)?;
            let column = if *numeric {
                refuse_text(frame, name, &known)?;
                numeric_column(name, numbers(cells::read(values, number)))
            } else {
                rewrite(values, |text, _| if known.hold(text) { Cell::Missing } else { Cell::Same })?.into_column()
            };
            let kind = if *numeric { Kind::Numeric } else { field.kind };
            Ok((name.clone(), vec![(Field { kind, ..field }, column)]))
        };
        frame.replace(self.columns.par_iter().zip(&self.numeric).map(replace).collect::<Result<_>>()?)
    }
}

/// Fails where a column that held numbers and words for a missing value in training holds something else.
fn refuse_text(frame: &Frame, name: &str, known: &Tokens) -> Result<()> {
    let wrong = |text: &str| number(text).is_none() && !known.hold(text);
    let values = frame.table.strings(name)?;
    let mut rows =
        values.iter().enumerate().filter_map(|(row, text)| text.filter(|text| wrong(text)).map(|text| (row, text)));
    let first: Vec<String> =
        rows.by_ref().take(5).map(|(row, text)| format!("`{text}` in row {}", frame.table.row_number(row))).collect();
    if first.is_empty() {
        return Ok(());
    }
    let more = match rows.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(StageError::data(format!(
        "column `{name}` held numbers in the training rows and has {}{more}",
        first.join(", ")
    ))
    .help("add words for a missing value to `tokens`, or set `parse: false` and use `cast` with `unparsed: null`"))
}

/// The words for a missing value.
struct Tokens<'a> {
    words: HashSet<&'a str>,
    /// The bytes of the longest.
    longest: usize,
}

impl<'a> Tokens<'a> {
    fn of(tokens: &'a [String]) -> Self {
        let longest = tokens.iter().map(String::len).max().unwrap_or(0);
        Self { words: tokens.iter().map(String::as_str).collect(), longest }
    }

    fn hold(&self, text: &str) -> bool {
        let text = text.trim();
        // Most values are longer than any of the words, and need not be looked up: small letters take a third of the bytes of capitals at least.
        if text.len() > 3 * self.longest {
            return false;
        }
        self.words.contains(text)
            || text.chars().any(char::is_uppercase) && self.words.contains(text.to_lowercase().as_str())
    }
}

/// What the training values of a column are.
#[derive(Clone, Default)]
struct Seen {
    replaced: usize,
    numbers: usize,
    others: usize,
}

impl Seen {
    fn of(frame: &Frame, name: &str, known: &Tokens) -> Result<Self> {
        let mut seen = Self::default();
        for text in frame.table.strings(name)?.iter().flatten() {
            if known.hold(text) {
                seen.replaced += 1;
            } else if number(text).is_some() && !is_code(text) {
                seen.numbers += 1;
            } else {
                seen.others += 1;
            }
        }
        Ok(seen)
    }

    fn add(&mut self, other: &Self) {
        self.replaced += other.replaced;
        self.numbers += other.numbers;
        self.others += other.others;
    }

    /// Whether words for a missing value were all that kept the column from being numbers.
    fn numeric(&self) -> bool {
        self.replaced > 0 && self.numbers > 0 && self.others == 0
    }
}

/// Leading zeros are codes on purpose.
fn is_code(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && !text.contains('.')
}
