//! `replace_values`.

use std::collections::BTreeMap;

use polars::prelude::{BooleanChunked, Column, IntoColumn, NewChunkedArray};
use rayon::prelude::*;
use retune_spec::preprocessing::{Constant, ReplaceValues};
use retune_stage::{Field, FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::cast::number;
use crate::cells::{Cell, rewrite};
use crate::frame::{Frame, numeric_column};
use crate::outline::{Outline, shown};
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// What is replaced by what; there is nothing else to learn.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedReplaceValues {
    columns: Vec<String>,
    values: BTreeMap<String, Option<Constant>>,
}

impl FitStep for ReplaceValues {
    type Fitted = FittedReplaceValues;
    const REPAIRS: bool = true;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Categorical, Kind::Boolean, Kind::Text];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        for name in columns {
            let kind = outline.schema().field(name).map_or(Kind::Text, |field| field.kind);
            for (old, new) in &self.values {
                check_value(name, kind, old, new.as_ref())?;
            }
        }
        Ok(())
    }

    fn fit(&self, _source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedReplaceValues>> {
        let values = self.values.iter().map(|(old, new)| (old.clone(), new.clone())).collect();
        let text = format!("replaces {} in {}", counted(self.values.len(), "value"), counted(columns.len(), "column"));
        Ok(Learnt::applied(FittedReplaceValues { columns: columns.to_vec(), values }, text))
    }
}

impl ApplyStep for FittedReplaceValues {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let replace = |name: &String| {
            let field = frame.field(name)?;
            let column = match field.kind {
                Kind::Numeric => self.numbers(frame, name)?,
                Kind::Boolean => self.booleans(frame, name)?,
                _ => self.texts(frame, name)?,
            };
            Ok((name.clone(), vec![(Field { kind: field.kind, ..field.clone() }, column)]))
        };
        frame.replace(self.columns.par_iter().map(replace).collect::<Result<_>>()?)
    }
}

impl FittedReplaceValues {
    fn numbers(&self, frame: &Frame, name: &str) -> Result<Column> {
        let by = |(old, new): (&String, &Option<Constant>)| {
            let new = match new {
                Some(Constant::Number(number)) => *number,
                _ => f64::NAN,
            };
            number(old).map(|old| (old, new))
        };
        let pairs: Vec<(f64, f64)> = self.values.iter().filter_map(by).collect();
        let replaced = |value: &f64| pairs.iter().find(|(old, _)| old == value).map(|(_, new)| *new);
        let mut values = frame.numeric(name)?;
        values.iter_mut().for_each(|value| *value = replaced(value).unwrap_or(*value));
        Ok(numeric_column(name, values))
    }

    fn booleans(&self, frame: &Frame, name: &str) -> Result<Column> {
        let by = |value: bool| match self.values.get(if value { "true" } else { "false" }) {
            None => Some(value),
            Some(Some(Constant::Boolean(new))) => Some(*new),
            Some(_) => None,
        };
        let [no, yes] = [by(false), by(true)];
        let column = frame.table.column(name)?;
        let values = column.bool().map_err(|error| StageError::failed(error.to_string()))?;
        let replaced = values.iter().map(|value| value.and_then(|value| if value { yes } else { no }));
        Ok(BooleanChunked::from_iter_options(name.into(), replaced).into_column())
    }

    fn texts(&self, frame: &Frame, name: &str) -> Result<Column> {
        let replaced = rewrite(frame.table.strings(name)?, |text, out| match self.values.get(text) {
            None => Cell::Same,
            Some(None) => Cell::Missing,
            Some(Some(new)) => {
                out.push_str(&written(new));
                Cell::Written
            }
        })?;
        Ok(replaced.into_column())
    }
}

fn written(value: &Constant) -> String {
    match value {
        Constant::Number(number) => number.to_string(),
        Constant::Boolean(boolean) => boolean.to_string(),
        Constant::Text(text) => text.clone(),
    }
}

/// Fails where a value cannot stand in a column of this kind.
fn check_value(name: &str, kind: Kind, old: &str, new: Option<&Constant>) -> Result<()> {
    let (wanted, old_fits, new_fits) = match kind {
        Kind::Numeric => ("numbers", number(old).is_some(), matches!(new, None | Some(Constant::Number(_)))),
        Kind::Boolean => {
            ("`true` and `false`", matches!(old, "true" | "false"), matches!(new, None | Some(Constant::Boolean(_))))
        }
        _ => return Ok(()),
    };
    let wrong = match (old_fits, new_fits, new) {
        (false, ..) => old.to_owned(),
        (_, false, Some(new)) => written(new),
        _ => return Ok(()),
    };
    Err(StageError::data(format!(
        "`values` has `{wrong}`, and column `{}` is {}, which holds {wanted} only",
        shown(name),
        kind.word()
    ))
    .help("give such columns a step `replace_values` of their own, or turn them into text before: `cast`"))
}
