//! Binding rows to the columns that something fitted needs.

use polars::prelude::*;
use rayon::prelude::*;
use retune_spec::Schema as Columns;
use retune_spec::schema::{Field, Kind, Role, Task};

use crate::error::{counted, listed, nearest};
use crate::ingest::row_numbers;
use crate::kinds::{as_text, is_finite, refuse_infinities, settle};
use crate::table::row_number;
use crate::{Table, TableError};

/// Whether rows must have a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetPolicy {
    /// Every row must have one that the task knows: rows to learn from or to judge by.
    Required,
    /// It is carried where it is there and sound, and left out where values are missing or unknown: rows to predict.
    Optional,
}

/// Rows bound to a schema.
#[derive(Clone, Debug)]
pub struct Conformed {
    /// The rows, with the schema's columns in its order. Columns that are not learned from (ids, groups, weights ...) are left out where they are missing.
    pub table: Table,
    /// Columns that nothing needs; they were left out.
    pub extra: Vec<String>,
}

/// Binds rows to the columns of a schema by name. Missing columns are an error that lists them all; values that do not fit a column's kind are an
/// error with their row; row numbers are made where there are none.
pub fn conform(frame: &DataFrame, input: &Columns, target: TargetPolicy) -> Result<Conformed, TableError> {
    check_missing(frame, input, target)?;
    let bound = |field: &Field| match frame.column(&field.name) {
        Ok(column) => match bind(column, field, input, frame) {
            Ok(column) => Ok(Some((field.clone(), column))),
            Err(_) if field.role == Role::Target && target == TargetPolicy::Optional => Ok(None),
            Err(error) => Err(error),
        },
        Err(_) if field.role == Role::RowNumber => Ok(Some((field.clone(), row_numbers(frame.height())))),
        Err(_) => Ok(None),
    };
    // Of several mistakes the first in the order of the columns is told.
    let bound: Vec<Result<Option<(Field, Column)>, TableError>> = input.fields.par_iter().map(bound).collect();
    let bound: Vec<Option<(Field, Column)>> = bound.into_iter().collect::<Result<_, _>>()?;
    let (fields, columns): (Vec<Field>, Vec<Column>) = bound.into_iter().flatten().unzip();
    let known = |name: &str| name == Columns::ROW || input.field(name).is_some();
    let extra = frame.get_column_names().into_iter().filter(|name| !known(name)).map(|name| name.to_string()).collect();
    // Rows to predict keep the task: it names the labels.
    let schema = Columns { fields, task: input.task.clone() };
    Ok(Conformed { table: Table::new(DataFrame::new(frame.height(), columns)?, schema)?, extra })
}

pub(crate) fn check_missing(frame: &DataFrame, input: &Columns, target: TargetPolicy) -> Result<(), TableError> {
    let names = frame.get_column_names().into_iter().map(|name| name.as_str());
    let names: Vec<&str> = names.filter(|name| *name != Columns::ROW).collect();
    let needed = |field: &&Field| match field.role {
        Role::Feature => true,
        Role::Target | Role::Weight => target == TargetPolicy::Required,
        _ => false,
    };
    let missing: Vec<&str> = input
        .fields
        .iter()
        .filter(needed)
        .map(|field| field.name.as_str())
        .filter(|name| !names.contains(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let spare = || names.iter().copied().filter(|name| input.field(name).is_none());
    let meant: Vec<String> =
        missing.iter().filter_map(|name| Some(format!("`{}` may be `{name}`", nearest(name, spare())?))).collect();
    let error = TableError::new(format!("the rows lack {}: {}", counted(missing.len(), "column"), listed(&missing)));
    Err(if meant.is_empty() {
        error.help(format!("they have {}", listed(&names)))
    } else {
        error.help(format!("{}; columns are matched by their names", meant.join(", ")))
    })
}

pub(crate) fn bind(column: &Column, field: &Field, input: &Columns, frame: &DataFrame) -> Result<Column, TableError> {
    match (field.role, &input.task) {
        (Role::RowNumber, _) => Ok(column.cast(&DataType::UInt32)?),
        (Role::Feature, _) if field.kind == Kind::Numeric && is_finite(column) => Ok(column.clone()),
        (Role::Feature, _) => {
            let (column, _) = settle(column, Some(field.kind), frame)?;
            refuse_infinities(&column, frame)?;
            Ok(column)
        }
        (Role::Target, Some(Task::Classification { labels })) => {
            let text = as_text(&settle(column, Some(Kind::Categorical), frame)?.0)?;
            check_labels(&text, labels, frame)?;
            Ok(text.into_column())
        }
        (Role::Target, Some(Task::Regression)) => {
            let values = settle(column, Some(Kind::Numeric), frame)?.0.cast(&DataType::Float64)?;
            refuse_infinities(&values, frame)?;
            match values.is_null().iter().position(|null| null == Some(true)) {
                Some(row) => Err(missing_target(&field.name, row, frame)),
                None => Ok(values),
            }
        }
        // Carried, not learned from: as it comes.
        _ => Ok(settle(column, None, frame)?.0),
    }
}

fn check_labels(values: &StringChunked, labels: &[String], frame: &DataFrame) -> Result<(), TableError> {
    let known: PlHashSet<&str> = labels.iter().map(String::as_str).collect();
    for (row, value) in values.iter().enumerate() {
        let Some(value) = value else { return Err(missing_target(values.name(), row, frame)) };
        if !known.contains(value) {
            return Err(TableError::new(format!(
                "target `{}` has the label `{value}` in row {}, which no training row has",
                values.name(),
                row_number(frame, row)
            ))
            .help(format!("the labels are {}", listed(labels))));
        }
    }
    Ok(())
}

fn missing_target(name: &str, row: usize, frame: &DataFrame) -> TableError {
    TableError::new(format!("target `{name}` is missing in row {}", row_number(frame, row)))
}
