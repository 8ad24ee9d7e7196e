//! `clean_text`.

use polars::prelude::IntoColumn;
use rayon::prelude::*;
use retune_spec::preprocessing::{CleanText, LetterCase, UnicodeForm};
use retune_stage::{FitContext, Kind, Result};
use serde::{Deserialize, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfkc_quick};

use crate::cells::{Cell, rewrite};
use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// How text is made uniform; there is nothing else to learn.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedCleanText {
    columns: Vec<String>,
    trim: bool,
    collapse_spaces: bool,
    case: LetterCase,
    unicode: UnicodeForm,
}

impl FitStep for CleanText {
    type Fitted = FittedCleanText;
    const REPAIRS: bool = true;
    const KINDS: &'static [Kind] = &[Kind::Categorical, Kind::Text];

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        Ok(())
    }

    fn fit(&self, _source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedCleanText>> {
        let Self { trim, collapse_spaces, case, unicode, .. } = *self;
        let fitted = FittedCleanText { columns: columns.to_vec(), trim, collapse_spaces, case, unicode };
        Ok(Learnt::applied(fitted, format!("made the text of {} uniform", counted(columns.len(), "column"))))
    }
}

impl ApplyStep for FittedCleanText {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let clean = |name: &String| {
            let cleaned = rewrite(frame.table.strings(name)?, |text, out| self.clean(text, out))?;
            Ok((name.clone(), vec![(frame.field(name)?.clone(), cleaned.into_column())]))
        };
        frame.replace(self.columns.par_iter().map(clean).collect::<Result<_>>()?)
    }
}

impl FittedCleanText {
    fn clean(&self, text: &str, out: &mut String) -> Cell {
        // Characters first: a compatibility form may turn into spaces, and one in capitals into others.
        match self.unicode {
            UnicodeForm::Nfc if is_nfc_quick(text.chars()) != IsNormalized::Yes => out.extend(text.nfc()),
            UnicodeForm::Nfkc if is_nfkc_quick(text.chars()) != IsNormalized::Yes => out.extend(text.nfkc()),
            _ => out.push_str(text),
        }
        match self.case {
            LetterCase::None => {}
            LetterCase::Lower if out.is_ascii() => out.make_ascii_lowercase(),
            LetterCase::Upper if out.is_ascii() => out.make_ascii_uppercase(),
            LetterCase::Lower => *out = out.to_lowercase(),
            LetterCase::Upper => *out = out.to_uppercase(),
        }
        if self.collapse_spaces {
            collapse(out);
        }
        if self.trim {
            let end = out.trim_end().len();
            out.truncate(end);
            let start = out.len() - out.trim_start().len();
            out.drain(..start);
        }
        if out == text { Cell::Same } else { Cell::Written }
    }
}

/// Turns each run of white space into one space, in place.
fn collapse(text: &mut String) {
    let mut after_space = false;
    let mut uniform = true;
    for character in text.chars() {
        let space = character.is_whitespace();
        uniform &= !space || character == ' ' && !after_space;
        after_space = space;
    }
    if uniform {
        return;
    }
    let mut out = String::with_capacity(text.len());
    let mut after_space = false;
    for character in text.chars() {
        let space = character.is_whitespace();
        if !space {
            out.push(character);
        } else if !after_space {
            out.push(' ');
        }
        after_space = space;
    }
    *text = out;
}
