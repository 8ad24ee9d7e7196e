//! `binary_encode`.

use polars::prelude::{BooleanChunked, Column, IntoColumn};
use rayon::prelude::*;
use retune_spec::preprocessing::BinaryEncode;
use retune_stage::{Field, FitContext, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Names};
use crate::levels::{LevelCounts, Levels, level_counts};
use crate::outline::Outline;
use crate::projection::component_names;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The digits that each column becomes.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedBinaryEncode {
    columns: Vec<String>,
    encodings: Vec<Encoding>,
}

#[derive(Serialize, Deserialize)]
struct Encoding {
    levels: Levels,
    /// The columns of the digits, the highest first.
    names: Vec<String>,
}

impl FitStep for BinaryEncode {
    type Fitted = FittedBinaryEncode;
    const KINDS: &'static [Kind] = &[Kind::Categorical, Kind::Boolean, Kind::Text];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        outline.remove(columns);
        columns.iter().for_each(|name| outline.add_open(&format!("{name}_"), Kind::Boolean));
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedBinaryEncode>> {
        let mut taken = Names::of(&source.schema());
        let mut encoding = |(name, LevelCounts { levels, .. }): (&String, LevelCounts)| {
            let n_digits = (usize::BITS - levels.len().leading_zeros()) as usize;
            let names = component_names(name, n_digits).into_iter().map(|name| taken.fresh(name)).collect();
            Encoding { levels, names }
        };
        let encodings: Vec<Encoding> = columns.iter().zip(level_counts(source, columns)?).map(&mut encoding).collect();
        let n_levels: usize = encodings.iter().map(|encoding| encoding.levels.len()).sum();
        let n_digits: usize = encodings.iter().map(|encoding| encoding.names.len()).sum();
        let text = format!(
            "wrote {} of {} with {}",
            counted(n_levels, "level"),
            counted(columns.len(), "column"),
            counted(n_digits, "binary digit")
        );
        Ok(Learnt::applied(FittedBinaryEncode { columns: columns.to_vec(), encodings }, text))
    }
}

impl ApplyStep for FittedBinaryEncode {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let encode = |(name, encoding): (&String, &Encoding)| Ok((name.clone(), encoding.apply(frame, name)?));
        frame.replace(self.columns.par_iter().zip(&self.encodings).map(encode).collect::<Result<_>>()?)
    }
}

impl Encoding {
    fn apply(&self, frame: &Frame, name: &str) -> Result<Vec<(Field, Column)>> {
        let origin = frame.field(name)?.origin();
        // Levels count from 1; 0 is for one that was never seen.
        let codes = self.levels.encode(&frame.levels(name)?);
        let numbers: Vec<u32> = codes.into_iter().map(|code| code.map_or(0, |code| code + 1)).collect();
        let digit = |(place, name): (usize, &String)| {
            let shift = self.names.len() - 1 - place;
            let cells = numbers.iter().map(|number| number >> shift & 1 == 1).collect();
            let cells = BooleanChunked::from_bitmap(name.as_str().into(), cells);
            (Field::derived(name, Kind::Boolean, origin), cells.into_column())
        };
        Ok(self.names.iter().enumerate().map(digit).collect())
    }
}
