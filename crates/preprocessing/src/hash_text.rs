//! `hash_text`.

use std::sync::Arc;

use retune_spec::preprocessing::{HashText, TextNorm};
use retune_stage::{Field, FitContext, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Names, SparseBlock};
use crate::hashing::Hashing;
use crate::outline::Outline;
use crate::projection::component_names;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};
use crate::terms::Analysis;

/// How terms are hashed; nothing is learned but the names that are free.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedHashText {
    columns: Vec<String>,
    /// The new columns of each column.
    names: Vec<Vec<String>>,
    analysis: Analysis,
    hashing: Hashing,
    binary: bool,
    norm: TextNorm,
}

impl FitStep for HashText {
    type Fitted = FittedHashText;
    const KINDS: &'static [Kind] = &[Kind::Text, Kind::Categorical];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        Analysis::check(self.analyzer, self.ngrams, self.stop_words.as_ref())?;
        outline.remove(columns);
        columns.iter().for_each(|name| outline.add_open(&format!("{name}_"), Kind::Numeric));
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedHashText>> {
        let mut taken = Names::of(&source.schema());
        let mut names_of = |name: &String| {
            component_names(name, self.n_features).into_iter().map(|name| taken.fresh(name)).collect::<Vec<_>>()
        };
        let fitted = FittedHashText {
            columns: columns.to_vec(),
            names: columns.iter().map(&mut names_of).collect(),
            analysis: Analysis::new(self.analyzer, self.ngrams, self.stop_words.as_ref()),
            hashing: Hashing { n_features: self.n_features, alternate_sign: self.alternate_sign },
            binary: self.binary,
            norm: self.norm,
        };
        let text = format!(
            "hashed the terms of {} into {} each",
            counted(columns.len(), "column"),
            counted(self.n_features, "column")
        );
        Ok(Learnt::applied(fitted, text))
    }
}

impl ApplyStep for FittedHashText {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let mut hashed = frame.remove(&self.columns)?;
        for (name, names) in self.columns.iter().zip(&self.names) {
            let origin = frame.field(name)?.origin();
            let fields = names.iter().map(|name| Field::derived(name, Kind::Numeric, origin)).collect();
            let texts = frame.levels(name)?;
            // A missing text has no terms.
            let texts: Vec<&str> = texts.iter().map(Option::unwrap_or_default).collect();
            let place = |term: &str| Some(self.hashing.place(term));
            let matrix = self.analysis.reader().rows(&texts, names.len(), place, |cells| self.scale(cells));
            hashed.sparse.push(Arc::new(SparseBlock { fields, matrix }));
        }
        Ok(hashed)
    }
}

impl FittedHashText {
    fn scale(&self, cells: &mut [(u32, f64)]) {
        if self.binary {
            cells.iter_mut().for_each(|(_, value)| *value = 1.0);
        }
        let length = match self.norm {
            TextNorm::L1 => cells.iter().map(|(_, value)| value.abs()).sum(),
            TextNorm::L2 => cells.iter().map(|(_, value)| value * value).sum::<f64>().sqrt(),
            TextNorm::None => 1.0,
        };
        // Terms that share a column may cancel out to a row of zeros.
        if length > 0.0 {
            cells.iter_mut().for_each(|(_, value)| *value /= length);
        }
    }
}
