//! `ordinal_encode`.

use std::collections::HashSet;

use rayon::prelude::*;
use retune_spec::diagnostic::did_you_mean;
use retune_spec::preprocessing::{OrdinalEncode, UnseenCode, UnseenWord};
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::levels::{Levels, level_counts};
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The levels of each column in the order of their numbers.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedOrdinalEncode {
    columns: Vec<String>,
    levels: Vec<Levels>,
    unseen: UnseenCode,
    missing: Option<f64>,
}

impl FitStep for OrdinalEncode {
    type Fitted = FittedOrdinalEncode;
    const KINDS: &'static [Kind] = &[Kind::Categorical, Kind::Boolean, Kind::Text];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        for (name, levels) in &self.order {
            if Outline::is_closed(columns) && !columns.contains(name) {
                let near = did_you_mean(name, columns.iter().map(String::as_str));
                let help = near.map_or("add it to `columns`".to_owned(), |near| format!("did you mean `{near}`?"));
                return Err(
                    StageError::data(format!("`order` has `{name}`, which is none of the columns encoded")).help(help)
                );
            }
            let mut met = HashSet::new();
            if let Some(twice) = levels.iter().find(|level| !met.insert(*level)) {
                return Err(StageError::data(format!("`order` has the level `{twice}` of column `{name}` twice"))
                    .help("give every level once"));
            }
            refuse_taken_code(self, name, levels)?;
        }
        outline.set_kind(columns, Kind::Numeric);
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedOrdinalEncode>> {
        let sorted: Vec<String> = columns.iter().filter(|name| !self.order.contains_key(*name)).cloned().collect();
        let mut counts = level_counts(source, &sorted)?.into_iter();
        let levels_of = |name: &String| {
            let given = self.order.get(name).map(|levels| Levels::in_order(levels.clone()));
            let levels = given.or_else(|| counts.next().map(|counts| counts.levels.without_missing()));
            levels.ok_or_else(|| StageError::failed(format!("no levels of column `{name}`")))
        };
        let levels: Vec<Levels> = columns.iter().map(levels_of).collect::<Result<_>>()?;
        columns.iter().zip(&levels).try_for_each(|(name, levels)| refuse_taken_code(self, name, levels.names()))?;
        let n_levels: usize = levels.iter().map(Levels::len).sum();
        let text = format!("numbered {} of {}", counted(n_levels, "level"), counted(columns.len(), "column"));
        let (unseen, missing) = (self.unseen, self.missing);
        Ok(Learnt::applied(FittedOrdinalEncode { columns: columns.to_vec(), levels, unseen, missing }, text))
    }
}

impl ApplyStep for FittedOrdinalEncode {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let numbers = self.columns.par_iter().zip(&self.levels).map(|(name, levels)| self.numbers(frame, name, levels));
        frame.replace_numbers(&self.columns, numbers.collect::<Result<_>>()?)
    }
}

impl FittedOrdinalEncode {
    fn numbers(&self, frame: &Frame, name: &str, levels: &Levels) -> Result<Vec<f64>> {
        let values = frame.levels(name)?;
        let missing = self.missing.unwrap_or(f64::NAN);
        let number = |(row, (value, code)): (usize, (Option<&str>, Option<u32>))| match (value, code, self.unseen) {
            (_, Some(code), _) => Ok(f64::from(code)),
            (None, None, _) => Ok(missing),
            (Some(_), None, UnseenCode::Code(code)) => Ok(code),
            (Some(_), None, UnseenCode::Word(UnseenWord::Missing)) => Ok(f64::NAN),
            (Some(level), None, UnseenCode::Word(UnseenWord::Error)) => {
                let row = frame.table.row_number(row);
                Err(StageError::data(format!("column `{name}` has `{level}` in row {row}, which is not among its levels")).help(
                    "set `unseen: missing`, or `unseen` to a number such as -1, to take such rows; or give the level a place in `order`",
                ))
            }
        };
        values.iter().zip(levels.encode(&values)).enumerate().map(number).collect()
    }
}

/// Fails where the number of levels that were never seen, or of missing values, is that of a level.
fn refuse_taken_code(step: &OrdinalEncode, name: &str, levels: &[String]) -> Result<()> {
    let unseen = if let UnseenCode::Code(code) = step.unseen { Some(code) } else { None };
    for (word, code) in [("unseen", unseen), ("missing", step.missing)] {
        let taken = code.and_then(|code| (0..levels.len()).find(|&level| level as f64 == code));
        if let Some(level) = taken {
            let taken = &levels[level];
            return Err(StageError::data(format!(
                "`{word}: {level}` is the number of the level `{taken}` of column `{name}`"
            ))
            .help(format!("give `{word}` a number that no level has, such as -1")));
        }
    }
    Ok(())
}
