//! From a frame as it was read to a table with roles, kinds and a task.

use polars::prelude::*;
use retune_spec::data::{Data, MissingTarget, TaskKind};
use retune_spec::schema::{Field, Kind, Role, Task};
use retune_spec::{OneOrMany, Schema as Columns};
use serde::{Deserialize, Serialize};

use crate::error::{counted, listed};
use crate::kinds::{as_text, nearly, refuse_infinities, settle};
use crate::table::row_number;
use crate::{Table, TableError};

/// What happened to the rows on the way in, for the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestReport {
    /// Rows in the files.
    pub rows_read: usize,
    /// Rows dropped because their target was missing.
    pub rows_dropped: usize,
    /// What is learned, and how that was told.
    pub task: String,
    /// What the user may want to know: columns without any value, columns that are almost numbers.
    pub notes: Vec<String>,
}

/// Gives every column its role and kind, and the table its task. The column [`Columns::ROW`] is added in front; columns under `ignore` are left out.
///
/// Kinds are told from the values: text where a string column has three words or more on average and more than half of its values are
/// distinct, else categorical. `columns` overrides. A column without any value stays, as categorical; imputers decide what becomes of it.
/// NaN becomes a missing value; an infinite feature, target or weight is an error.
pub fn ingest(frame: &DataFrame, data: &Data) -> Result<(Table, IngestReport), TableError> {
    let names: Vec<&str> = frame.get_column_names().into_iter().map(|name| name.as_str()).collect();
    refuse_row_name(frame)?;
    check_names(&names, data)?;
    settle_all(frame, data)
}

/// [`ingest`] for a frame whose names were checked; it may lack columns that are not looked at.
pub(crate) fn settle_all(frame: &DataFrame, data: &Data) -> Result<(Table, IngestReport), TableError> {
    let mut report = IngestReport { rows_read: frame.height(), ..IngestReport::default() };
    let mut columns = vec![row_numbers(frame.height())];
    let mut fields = vec![row_field()];
    for column in frame.columns() {
        let name = column.name().as_str();
        let Some(role) = role_of(name, data) else { continue };
        let (column, kind) = settle(column, data.columns.get(name).copied(), frame)?;
        if matches!(role, Role::Feature | Role::Target | Role::Weight) {
            refuse_infinities(&column, frame)?;
        }
        if role == Role::Feature {
            note(&column, &mut report);
        }
        columns.push(column);
        fields.push(Field { name: name.to_owned(), role, kind, source: None });
    }
    let mut frame = DataFrame::new(frame.height(), columns)?;
    (frame, report.rows_dropped) = with_target(frame, data)?;
    if frame.height() < 2 {
        return Err(TableError::new(format!(
            "{} to learn from; at least 2 are needed",
            counted(frame.height(), "row")
        )));
    }
    if let Some(weight) = &data.weight {
        check_weights(&frame, weight)?;
    }
    let (target, kind, task, words) = settle_target(frame.column(&data.target)?, data.task, &frame)?;
    report.task = words;
    frame.with_column(target)?;
    if let Some(field) = fields.iter_mut().find(|field| field.role == Role::Target) {
        field.kind = kind;
    }
    Ok((Table::new(frame, Columns { fields, task: Some(task) })?, report))
}

/// A further file of a pipeline (validation, test, a named set): bound to the columns of the training rows, rows without a target treated as `data` says.
/// A label that the training rows do not have is an error.
pub fn ingest_like(frame: &DataFrame, data: &Data, schema: &Columns) -> Result<(Table, IngestReport), TableError> {
    refuse_row_name(frame)?;
    if let Some(target) = schema.of_role(Role::Target).filter(|target| frame.column(&target.name).is_err()) {
        return Err(no_target(&target.name, frame));
    }
    let mut numbered = frame.clone();
    numbered.insert_column(0, row_numbers(frame.height()))?;
    let settled = match numbered.column(&data.target) {
        // NaN and the empty field are missing, too.
        Ok(target) => settle(target, None, frame)?.0,
        Err(_) => return Err(no_target(&data.target, frame)),
    };
    numbered.with_column(settled)?;
    let (kept, dropped) = with_target(numbered, data)?;
    let bound = crate::conform(&kept, schema, crate::TargetPolicy::Required)?;
    if let Some(weight) = &data.weight {
        check_weights(bound.table.frame(), weight)?;
    }
    let mut report = IngestReport { rows_read: frame.height(), rows_dropped: dropped, ..IngestReport::default() };
    let extra: Vec<String> = bound.extra.into_iter().filter(|name| role_of(name, data).is_some()).collect();
    if !extra.is_empty() {
        report.notes.push(format!("not used, as the training rows do not have them: {}", listed(&extra)));
    }
    Ok((bound.table, report))
}

pub(crate) fn row_field() -> Field {
    Field { name: Columns::ROW.to_owned(), role: Role::RowNumber, kind: Kind::Numeric, source: None }
}

pub(crate) fn row_numbers(height: usize) -> Column {
    row_numbers_from(0, height)
}

/// Row numbers of a part of a source; `first` is counted from 0.
pub(crate) fn row_numbers_from(first: usize, height: usize) -> Column {
    let first = first as u32;
    UInt32Chunked::from_vec(Columns::ROW.into(), (first + 1..=first + height as u32).collect()).into_column()
}

pub(crate) fn refuse_row_name(frame: &DataFrame) -> Result<(), TableError> {
    match frame.column(Columns::ROW) {
        Err(_) => Ok(()),
        Ok(_) => Err(TableError::new(format!(
            "a column is called `{}`, the name that retune keeps for row numbers",
            Columns::ROW
        ))
        .help("rename it")),
    }
}

fn items(names: &Option<OneOrMany<String>>) -> &[String] {
    names.as_ref().map(OneOrMany::as_slice).unwrap_or_default()
}

/// The role that the pipeline gives to a column; `None` for one that is left out.
pub(crate) fn role_of(name: &str, data: &Data) -> Option<Role> {
    let split = data.split.as_ref();
    let is = |declared: Option<&String>| declared.is_some_and(|declared| declared == name);
    if name == data.target {
        Some(Role::Target)
    } else if is(data.weight.as_ref()) {
        Some(Role::Weight)
    } else if is(split.and_then(|split| split.group.as_ref())) {
        Some(Role::Group)
    } else if is(split.and_then(|split| split.time.as_ref())) {
        Some(Role::Time)
    } else if is(split.and_then(|split| split.column.as_ref())) {
        // Read for the split alone.
        Some(Role::Ignore)
    } else if items(&data.id).iter().any(|id| id == name) {
        Some(Role::Id)
    } else if items(&data.ignore).iter().any(|ignored| ignored == name) {
        None
    } else {
        Some(Role::Feature)
    }
}

/// Every declared column must exist, and the target and the weight are nothing else.
pub(crate) fn check_names(names: &[&str], data: &Data) -> Result<(), TableError> {
    let split = data.split.as_ref();
    let by_split = split
        .map(|split| [("split.group", &split.group), ("split.time", &split.time), ("split.column", &split.column)]);
    let mut declared: Vec<(&str, &str)> = vec![("target", data.target.as_str())];
    declared.extend(data.weight.iter().map(|name| ("weight", name.as_str())));
    declared.extend(by_split.into_iter().flatten().filter_map(|(place, name)| Some((place, name.as_deref()?))));
    declared.extend(items(&data.id).iter().map(|name| ("id", name.as_str())));
    declared.extend(items(&data.ignore).iter().map(|name| ("ignore", name.as_str())));
    let kinds = data.columns.keys().map(|name| ("columns", name.as_str()));
    let missing = declared.iter().copied().chain(kinds).filter(|(_, name)| !names.contains(name));
    let missing: Vec<String> = missing
        .map(|(place, name)| TableError::no_column(name, names.iter().copied()).within(format!("data.{place}")).message)
        .collect();
    if !missing.is_empty() {
        return Err(TableError::new(missing.join("\n")).help(format!("the columns are {}", listed(names))));
    }
    for sole in declared.iter().filter(|(place, _)| matches!(*place, "target" | "weight")) {
        if let Some((other, _)) = declared.iter().find(|(place, name)| *name == sole.1 && *place != sole.0) {
            return Err(TableError::new(format!("column `{}` is both `{}` and `{other}`", sole.1, sole.0))
                .help("name it in one place only"));
        }
    }
    Ok(())
}

fn note(column: &Column, report: &mut IngestReport) {
    if column.null_count() == column.len() {
        report.notes.push(no_value(column.name()));
    } else if let Ok(values) = column.str() {
        report.notes.extend(nearly(values));
    }
}

pub(crate) fn no_value(name: &str) -> String {
    format!("column `{name}` has no value in any row")
}

/// The rows that have a target, and how many were dropped.
pub(crate) fn with_target(frame: DataFrame, data: &Data) -> Result<(DataFrame, usize), TableError> {
    let target = frame.column(&data.target)?;
    let missing = target.null_count();
    if missing == 0 {
        return Ok((frame, 0));
    }
    if data.missing_target == MissingTarget::Error {
        let absent = target.is_null();
        let rows = absent.iter().enumerate().filter(|(_, null)| *null == Some(true));
        let rows: Vec<String> = rows.take(3).map(|(row, _)| row_number(&frame, row).to_string()).collect();
        let (word, more) =
            if missing == 1 { ("row", "") } else { ("rows", if missing > rows.len() { ", ..." } else { "" }) };
        return Err(TableError::new(format!(
            "target `{}` is missing in {} ({word} {}{more})",
            data.target,
            counted(missing, "row"),
            rows.join(", ")
        ))
        .help("to leave such rows out: `missing_target: drop`"));
    }
    let kept = frame.filter(&target.is_not_null())?;
    Ok((kept, missing))
}

pub(crate) fn no_target(name: &str, frame: &DataFrame) -> TableError {
    TableError::no_column(name, frame.get_column_names().into_iter().map(|name| name.as_str())).within("data.target")
}

pub(crate) fn check_weights(frame: &DataFrame, name: &str) -> Result<(), TableError> {
    let column = frame.column(name)?;
    if !column.dtype().is_primitive_numeric() {
        return Err(TableError::new(format!("weight `{name}` is not numeric")));
    }
    let weights = column.cast(&DataType::Float64)?;
    let weights = weights.f64()?;
    if let Some(row) = weights.iter().position(|weight| weight.is_none()) {
        return Err(TableError::new(format!("weight `{name}` is missing in row {}", row_number(frame, row)))
            .help("give every row a weight; 0 leaves it out"));
    }
    if let Some((row, weight)) =
        weights.iter().enumerate().find_map(|(row, weight)| Some((row, weight.filter(|weight| *weight < 0.0)?)))
    {
        return Err(TableError::new(format!(
            "weight `{name}` is negative in row {} ({weight})",
            row_number(frame, row)
        ))
        .help("weights are 0 or more"));
    }
    if weights.iter().flatten().all(|weight| weight == 0.0) {
        return Err(TableError::new(format!("weight `{name}` is 0 in every row")).help("at least one row must count"));
    }
    Ok(())
}

/// The target as it is stored, its kind, the task, and how that was told.
fn settle_target(
    column: &Column,
    declared: Option<TaskKind>,
    frame: &DataFrame,
) -> Result<(Column, Kind, Task, String), TableError> {
    let name = column.name();
    let (task, because) = match declared {
        Some(task) => (task, "as declared".to_owned()),
        None => infer_task(column)?,
    };
    match task {
        TaskKind::Classification => {
            refuse_fractions(column, frame)?;
            let text = as_text(column)?;
            let labels = labels_of(&text);
            if let [only] = labels.as_slice() {
                return Err(constant(name, only, column.len()));
            }
            let words = format!("classification of `{name}`, {} ({because})", counted(labels.len(), "label"));
            Ok((text.into_column(), Kind::Categorical, Task::Classification { labels }, words))
        }
        TaskKind::Regression => {
            let (column, _) = match column.dtype() {
                DataType::Boolean => {
                    return Err(TableError::new(format!(
                        "target `{name}` is true or false, which is not a number to predict"
                    ))
                    .help("say `task: classification`"));
                }
                _ => settle(column, Some(Kind::Numeric), frame)
                    .map_err(|error| error.help("correct them, or say `task: classification`"))?,
            };
            let values = column.cast(&DataType::Float64)?;
            if let (Some(low), Some(high)) = (values.f64()?.min(), values.f64()?.max())
                && low == high
            {
                return Err(constant(name, &low.to_string(), values.len()));
            }
            Ok((values, Kind::Numeric, Task::Regression, format!("regression of `{name}` ({because})")))
        }
    }
}

fn constant(name: &str, value: &str, n_rows: usize) -> TableError {
    TableError::new(format!("target `{name}` is `{value}` in all {n_rows} rows: there is nothing to learn"))
        .help("choose another `target`, or more varied rows")
}

fn infer_task(column: &Column) -> Result<(TaskKind, String), TableError> {
    const MOST_LABELS: usize = 20;
    let distinct = column.n_unique()?;
    Ok(match column.dtype() {
        DataType::String => (TaskKind::Classification, "because it is text".to_owned()),
        DataType::Boolean => (TaskKind::Classification, "because it is true or false".to_owned()),
        dtype if dtype.is_integer() && distinct <= MOST_LABELS && distinct * 20 < column.len() => (
            TaskKind::Classification,
            format!("because it is an integer of {distinct} values; if it is a quantity, say `task: regression`"),
        ),
        dtype if dtype.is_integer() => (
            TaskKind::Regression,
            format!("because it is an integer of {distinct} values; if they are labels, say `task: classification`"),
        ),
        dtype if dtype.is_float() => (TaskKind::Regression, "because it is a number with a fraction".to_owned()),
        dtype => {
            return Err(TableError::new(format!(
                "target `{}` is of type {dtype}, which cannot be predicted",
                column.name()
            )));
        }
    })
}

fn refuse_fractions(column: &Column, frame: &DataFrame) -> Result<(), TableError> {
    if !column.dtype().is_float() {
        return Ok(());
    }
    let values = column.cast(&DataType::Float64)?;
    let fraction = values
        .f64()?
        .iter()
        .enumerate()
        .find_map(|(row, value)| Some((row, value.filter(|value| value.fract() != 0.0)?)));
    match fraction {
        None => Ok(()),
        Some((row, value)) => Err(TableError::new(format!(
            "target `{}` is continuous ({value} in row {}), where a classification was declared",
            column.name(),
            row_number(frame, row)
        ))
        .help("say `task: regression`, or give labels")),
    }
}

/// The distinct labels: numbers in their order, text by code point.
pub(crate) fn labels_of(values: &StringChunked) -> Vec<String> {
    let distinct: PlHashSet<&str> = values.iter().flatten().collect();
    let mut labels: Vec<String> = distinct.into_iter().map(str::to_owned).collect();
    labels.sort_unstable();
    let numbers: Option<Vec<f64>> =
        labels.iter().map(|label| label.parse().ok().filter(|value: &f64| value.is_finite())).collect();
    if let Some(numbers) = numbers {
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
        labels = order.into_iter().map(|at| labels[at].clone()).collect();
    }
    labels
}
