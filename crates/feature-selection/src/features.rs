//! The columns as methods see them: numbers without gaps.

use std::borrow::Cow;
use std::collections::HashSet;

use rayon::prelude::*;
use retune_stage::{Result, StageError, Table, Target};

/// A feature column.
pub(crate) struct Feature<'a> {
    pub(crate) name: &'a str,
    /// Its place among all features of the input.
    pub(crate) at: usize,
    /// Finite numbers; a boolean counts as 0 or 1. Borrowed from the table where they lie there as 64-bit floats already.
    pub(crate) values: Cow<'a, [f64]>,
    /// Whether `always_keep` chooses it.
    pub(crate) pinned: bool,
}

/// The features of a table but for those of `without`.
pub(crate) fn features<'a>(table: &'a Table, without: &[String], pinned: &[String]) -> Result<Vec<Feature<'a>>> {
    let (without, pinned): (HashSet<&String>, HashSet<&String>) = (without.iter().collect(), pinned.iter().collect());
    let fields: Vec<_> =
        table.schema().features().enumerate().filter(|(_, field)| !without.contains(&field.name)).collect();
    let feature = |(at, field): &(usize, &'a retune_stage::Field)| {
        let values = finite(table, &field.name)?;
        Ok(Feature { name: &field.name, at: *at, values, pinned: pinned.contains(&field.name) })
    };
    fields.par_iter().map(feature).collect()
}

/// What the features are to tell of. Fails where it never changes: nothing can be told of it.
pub(crate) fn target(table: &Table) -> Result<Target> {
    let target = table.target()?;
    let name = table.schema().of_role(retune_stage::Role::Target).map_or("", |field| field.name.as_str());
    let constant = match &target {
        Target::Classes { codes, .. } => codes.windows(2).all(|pair| pair[0] == pair[1]),
        Target::Values(values) => {
            if let Some(row) = values.iter().position(|value| !value.is_finite()) {
                let row = table.row_number(row);
                return Err(StageError::data(format!("target `{name}` is missing or infinite in row {row}"))
                    .help("drop rows without a target: `data.missing_target: drop`"));
            }
            values.windows(2).all(|pair| pair[0] == pair[1])
        }
    };
    if constant {
        let message =
            format!("target `{name}` is the same in all {} training rows: no feature can tell of it", table.n_rows());
        return Err(StageError::data(message)
            .help("check `data.target` and the split: rows of one kind may have come together"));
    }
    Ok(target)
}

fn finite<'a>(table: &'a Table, name: &str) -> Result<Cow<'a, [f64]>> {
    let values = match table.column(name)?.f64().map(|values| values.cont_slice()) {
        Ok(Ok(values)) => Cow::Borrowed(values),
        _ => Cow::Owned(table.numeric(name)?),
    };
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(row) if values[row].is_nan() => {
            Err(StageError::data(format!("column `{name}` has a missing value in row {}", table.row_number(row)))
                .help("add the step `impute` to a preprocessing stage before"))
        }
        Some(row) => Err(StageError::data(format!("column `{name}` is infinite in row {}", table.row_number(row)))
            .help("add the step `clip_outliers` to a preprocessing stage before")),
    }
}
