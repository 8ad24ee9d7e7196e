//! `frequency_encode`.

use rayon::prelude::*;
use retune_spec::preprocessing::{Frequency, FrequencyEncode};
use retune_stage::{FitContext, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::levels::{LevelCounts, Levels, level_counts};
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The number that stands for each level of each column.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedFrequencyEncode {
    columns: Vec<String>,
    frequencies: Vec<Frequencies>,
}

#[derive(Serialize, Deserialize)]
struct Frequencies {
    levels: Levels,
    numbers: Vec<f64>,
}

impl FitStep for FrequencyEncode {
    type Fitted = FittedFrequencyEncode;
    const KINDS: &'static [Kind] = &[Kind::Categorical, Kind::Boolean, Kind::Text];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        outline.set_kind(columns, Kind::Numeric);
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedFrequencyEncode>> {
        let whole = match self.measure {
            Frequency::Share => source.n_rows() as f64,
            Frequency::Count => 1.0,
        };
        let frequencies = |LevelCounts { levels, counts }: LevelCounts| Frequencies {
            levels,
            numbers: counts.into_iter().map(|count| count as f64 / whole).collect(),
        };
        let frequencies: Vec<Frequencies> = level_counts(source, columns)?.into_iter().map(frequencies).collect();
        let n_levels: usize = frequencies.iter().map(|of| of.numbers.len()).sum();
        let text = format!("counted {} of {}", counted(n_levels, "level"), counted(columns.len(), "column"));
        Ok(Learnt::applied(FittedFrequencyEncode { columns: columns.to_vec(), frequencies }, text))
    }
}

impl ApplyStep for FittedFrequencyEncode {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let numbers = |(name, of): (&String, &Frequencies)| {
            let codes = of.levels.encode(&frame.levels(name)?);
            Ok(codes.into_iter().map(|code| code.map_or(0.0, |code| of.numbers[code as usize])).collect())
        };
        let numbers = self.columns.par_iter().zip(&self.frequencies).map(numbers).collect::<Result<_>>()?;
        frame.replace_numbers(&self.columns, numbers)
    }
}
