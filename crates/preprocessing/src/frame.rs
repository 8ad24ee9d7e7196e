//! The rows on their way through the steps of one stage: a table, and beside it what is better kept sparse.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use polars::prelude::{
    BooleanChunked, ChunkedArray, Column, DataFrame, DataType, Float64Type, IntoColumn, NewChunkedArray, StringChunked,
};
use rayon::prelude::*;
use retune_stage::{Field, Kind, Result, Role, Schema, StageError, Table};
use retune_table::numbers::sum;

use crate::sparse::Csr;

/// More cells than this are not written out as a dense table: 16 GB of numbers.
const MAX_DENSE_CELLS: usize = 2_000_000_000;

/// A table, and columns that are sparse until a step or the end of the stage needs them dense.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) table: Table,
    pub(crate) sparse: Vec<Arc<SparseBlock>>,
}

/// Numeric feature columns of which most cells are zero.
pub(crate) struct SparseBlock {
    pub(crate) fields: Vec<Field>,
    pub(crate) matrix: Csr,
}

/// The columns that take the place of one.
pub(crate) type Replacement = (String, Vec<(Field, Column)>);

impl Frame {
    pub(crate) fn new(table: Table) -> Self {
        Self { table, sparse: Vec::new() }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.table.n_rows()
    }

    /// Every column, the sparse ones last.
    pub(crate) fn schema(&self) -> Schema {
        let mut schema = self.table.schema().clone();
        schema.fields.extend(self.sparse.iter().flat_map(|block| block.fields.iter().cloned()));
        schema
    }

    /// What a table column is.
    pub(crate) fn field(&self, name: &str) -> Result<&Field> {
        self.table.schema().field(name).ok_or_else(|| StageError::failed(format!("no column `{name}`")))
    }

    /// A table column as numbers, a missing value as NaN.
    pub(crate) fn numeric(&self, name: &str) -> Result<Vec<f64>> {
        match self.table.column(name)?.f64() {
            Ok(values) => Ok(numbers(values)),
            // Other numbers and booleans.
            Err(_) => Ok(self.table.numeric(name)?),
        }
    }

    /// A table column as numbers, none missing.
    pub(crate) fn complete(&self, name: &str) -> Result<Vec<f64>> {
        let values = self.numeric(name)?;
        match values.iter().position(|value| value.is_nan()) {
            None => Ok(values),
            Some(row) => {
                Err(StageError::data(format!("column `{name}` has no value in row {}", self.table.row_number(row)))
                    .help("fill missing values before: add the step `impute`"))
            }
        }
    }

    /// A table column as levels; `true` and `false` for a boolean one.
    pub(crate) fn levels(&self, name: &str) -> Result<StringChunked> {
        let column = self.table.column(name)?;
        if column.dtype().is_bool() {
            let text = column.cast(&DataType::String).map_err(|error| StageError::failed(error.to_string()))?;
            return text.str().cloned().map_err(|error| StageError::failed(error.to_string()));
        }
        Ok(self.table.strings(name)?.clone())
    }

    /// The frame with the numbers of some table columns changed in place; `change` is given the column's index in `names`.
    pub(crate) fn map(
        &self,
        names: &[String],
        change: impl Fn(usize, &mut [f64]) -> Result<()> + Sync,
    ) -> Result<Self> {
        let changed = |(index, name): (usize, &String)| {
            let mut values = self.numeric(name)?;
            change(index, &mut values)?;
            self.replacement(name, values)
        };
        self.replace(names.par_iter().enumerate().map(changed).collect::<Result<_>>()?)
    }

    /// The frame with other numbers in the place of some table columns.
    pub(crate) fn replace_numbers(&self, names: &[String], numbers: Vec<Vec<f64>>) -> Result<Self> {
        let replacement = |(name, values): (&String, Vec<f64>)| self.replacement(name, values);
        self.replace(names.par_iter().zip(numbers).map(replacement).collect::<Result<_>>()?)
    }

    fn replacement(&self, name: &str, values: Vec<f64>) -> Result<Replacement> {
        let field = Field { kind: Kind::Numeric, ..self.field(name)?.clone() };
        let column = numeric_column(name, values);
        Ok((name.to_owned(), vec![(field, column)]))
    }

    /// The frame with some table columns each replaced, where it stands, by others (or by none).
    pub(crate) fn replace(&self, replacements: Vec<Replacement>) -> Result<Self> {
        let mut replacements: HashMap<String, Vec<(Field, Column)>> = replacements.into_iter().collect();
        let mut columns = Vec::new();
        for field in &self.table.schema().fields {
            match replacements.remove(&field.name) {
                Some(others) => columns.extend(others),
                None => columns.push((field.clone(), self.table.column(&field.name)?.clone())),
            }
        }
        self.with_columns(columns)
    }

    /// The frame with further columns at its end.
    pub(crate) fn append(&self, further: Vec<(Field, Column)>) -> Result<Self> {
        let own = |field: &Field| Ok((field.clone(), self.table.column(&field.name)?.clone()));
        let mut columns = self.table.schema().fields.iter().map(own).collect::<Result<Vec<_>>>()?;
        columns.extend(further);
        self.with_columns(columns)
    }

    /// The frame without some columns, dense or sparse.
    pub(crate) fn remove(&self, names: &[String]) -> Result<Self> {
        let gone: HashSet<&str> = names.iter().map(String::as_str).collect();
        let dense = names.iter().filter(|name| self.table.schema().field(name).is_some());
        let mut frame = self.replace(dense.map(|name| (name.clone(), Vec::new())).collect())?;
        frame.sparse = self.sparse.iter().filter_map(|block| block.without(&gone)).collect();
        Ok(frame)
    }

    /// The rows from `first` on, `n_rows` of them or as many as there are; dense columns are not copied.
    pub(crate) fn slice(&self, first: usize, n_rows: usize) -> Self {
        if first == 0 && n_rows >= self.n_rows() {
            return self.clone();
        }
        let rows: Vec<usize> = (first..self.n_rows().min(first + n_rows)).collect();
        let slice = |block: &Arc<SparseBlock>| {
            Arc::new(SparseBlock { fields: block.fields.clone(), matrix: block.matrix.take(&rows) })
        };
        Self { table: self.table.slice(first, n_rows), sparse: self.sparse.iter().map(slice).collect() }
    }

    /// Notes at rows that `step` would have dropped them, had they been training rows.
    pub(crate) fn flag(&self, flagged: &[bool], step: &str) -> Result<Self> {
        let known = self.table.schema().field(Schema::FLAGS).is_some();
        let before = if known { Some(self.table.strings(Schema::FLAGS)?) } else { None };
        let text = flagged.iter().enumerate().map(|(row, flagged)| {
            let before = before.and_then(|before| before.get(row));
            match (before, flagged) {
                (Some(before), true) => Some(format!("{before}; {step}")),
                (None, true) => Some(step.to_owned()),
                (before, false) => before.map(str::to_owned),
            }
        });
        let column = StringChunked::from_iter_options(Schema::FLAGS.into(), text).into_column();
        let field = Field { name: Schema::FLAGS.to_owned(), role: Role::Flags, kind: Kind::Text, source: None };
        if known {
            self.replace(vec![(Schema::FLAGS.to_owned(), vec![(field, column)])])
        } else {
            self.append(vec![(field, column)])
        }
    }

    /// The rows at `indices`, in that order.
    pub(crate) fn take(&self, indices: &[usize]) -> Result<Self> {
        let take = |block: &Arc<SparseBlock>| {
            Arc::new(SparseBlock { fields: block.fields.clone(), matrix: block.matrix.take(indices) })
        };
        Ok(Self { table: self.table.take(indices)?, sparse: self.sparse.iter().map(take).collect() })
    }

    /// The frame with those of the columns that are sparse moved into the table.
    pub(crate) fn densify(&self, names: &[String]) -> Result<Self> {
        if self.sparse.is_empty() || names.is_empty() {
            return Ok(self.clone());
        }
        let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
        let mut dense = Vec::new();
        for block in &self.sparse {
            let chosen: Vec<usize> =
                (0..block.fields.len()).filter(|&index| wanted.contains(block.fields[index].name.as_str())).collect();
            refuse_too_many_cells(self.n_rows(), chosen.len(), block)?;
            let columns = block.matrix.dense_columns(&chosen);
            dense.extend(chosen.iter().zip(columns).map(|(&index, values)| {
                let field = block.fields[index].clone();
                let column = numeric_column(&field.name, values);
                (field, column)
            }));
        }
        if dense.is_empty() {
            return Ok(self.clone());
        }
        let rest = self.sparse.iter().filter_map(|block| block.without(&wanted)).collect();
        Self { table: self.table.clone(), sparse: rest }.append(dense)
    }

    /// The table, with everything dense.
    pub(crate) fn finish(self) -> Result<Table> {
        let names: Vec<String> =
            self.sparse.iter().flat_map(|block| &block.fields).map(|field| field.name.clone()).collect();
        Ok(self.densify(&names)?.table)
    }

    fn with_columns(&self, columns: Vec<(Field, Column)>) -> Result<Self> {
        let mut names: HashSet<&str> =
            self.sparse.iter().flat_map(|block| &block.fields).map(|field| field.name.as_str()).collect();
        if let Some((field, _)) = columns.iter().find(|(field, _)| !names.insert(&field.name)) {
            return Err(StageError::data(format!("two columns would be called `{}`", field.name))
                .help("rename the column of the source, or give the step another `prefix` where it has one"));
        }
        let (fields, columns): (Vec<Field>, Vec<Column>) = columns.into_iter().unzip();
        let frame = DataFrame::new(self.n_rows(), columns).map_err(|error| StageError::failed(error.to_string()))?;
        let schema = Schema { fields, task: self.table.schema().task.clone() };
        Ok(Self { table: Table::new(frame, schema)?, sparse: self.sparse.clone() })
    }
}

impl SparseBlock {
    /// The block without some columns; `None` where none is left.
    fn without(self: &Arc<Self>, names: &HashSet<&str>) -> Option<Arc<Self>> {
        let kept: Vec<usize> =
            (0..self.fields.len()).filter(|&index| !names.contains(self.fields[index].name.as_str())).collect();
        match kept.len() {
            0 => None,
            n if n == self.fields.len() => Some(Arc::clone(self)),
            _ => {
                let fields = kept.iter().map(|&index| self.fields[index].clone()).collect();
                Some(Arc::new(Self { fields, matrix: self.matrix.select_columns(&kept) }))
            }
        }
    }
}

/// Numbers, a missing one as NaN.
fn numbers(values: &ChunkedArray<Float64Type>) -> Vec<f64> {
    let mut numbers = Vec::with_capacity(values.len());
    for chunk in values.downcast_iter() {
        let first = numbers.len();
        numbers.extend_from_slice(chunk.values());
        if let Some(present) = chunk.validity() {
            for (number, present) in numbers[first..].iter_mut().zip(present) {
                if !present {
                    *number = f64::NAN;
                }
            }
        }
    }
    numbers
}

/// A column of numbers whose NaN are missing values.
pub(crate) fn numeric_column(name: &str, values: Vec<f64>) -> Column {
    // A sum takes one addition a number; only where it says that there may be some are missing values looked for.
    let present = sum(&values, |value| value).is_nan().then(|| values.iter().map(|value| !value.is_nan()).collect());
    ChunkedArray::<Float64Type>::from_vec_validity(name.into(), values, present).into_column()
}

/// A column of 0 and 1 for each of the names: 1 where `codes` has the place of the name.
pub(crate) fn indicator_columns(names: &[String], origin: &str, codes: &[u32]) -> Vec<(Field, Column)> {
    let column = |(place, name): (usize, &String)| {
        let place = place as u32;
        let cells =
            BooleanChunked::from_bitmap(name.as_str().into(), codes.iter().map(|&code| code == place).collect());
        (Field::derived(name, Kind::Boolean, origin), cells.into_column())
    };
    names.iter().enumerate().map(column).collect()
}

/// The source column that all columns were made from, where there is only one.
pub(crate) fn common_origin(schema: &Schema, names: &[String]) -> Option<String> {
    let names: HashSet<&String> = names.iter().collect();
    let mut origins = schema.fields.iter().filter(|field| names.contains(&field.name)).map(Field::origin);
    let first = origins.next()?;
    origins.all(|origin| origin == first).then(|| first.to_owned())
}

/// Names that nothing has yet: where data give a name that is taken, underscores are added.
pub(crate) struct Names(HashSet<String>);

impl Names {
    pub(crate) fn of(schema: &Schema) -> Self {
        Self(schema.fields.iter().map(|field| field.name.clone()).collect())
    }

    pub(crate) fn fresh(&mut self, name: String) -> String {
        let mut name = name;
        while !self.0.insert(name.clone()) {
            name.push('_');
        }
        name
    }
}

/// Refuses to make more columns than a step allows by its `max_columns`, with what they would cost; `help` says how to get along with fewer.
/// `n_rows`: how many rows there are, where that is known.
pub(crate) fn refuse_too_many_columns(
    n_columns: usize,
    max_columns: usize,
    n_rows: Option<usize>,
    help: &str,
) -> Result<()> {
    if n_columns <= max_columns {
        return Ok(());
    }
    let rows = n_rows.unwrap_or(1_000_000);
    let megabytes = n_columns as f64 * rows as f64 * 8.0 / 1e6;
    Err(StageError::data(format!(
        "{n_columns} columns would be made, more than `max_columns: {max_columns}`; as numbers of {rows} rows they take {megabytes:.0} MB"
    ))
    .help(format!("{help}, or raise `max_columns`")))
}

fn refuse_too_many_cells(n_rows: usize, n_columns: usize, block: &SparseBlock) -> Result<()> {
    if n_rows.saturating_mul(n_columns) <= MAX_DENSE_CELLS {
        return Ok(());
    }
    let origin = block.fields.first().map_or("", Field::origin);
    Err(StageError::data(format!(
        "{n_columns} sparse columns made of `{origin}` would be written out for {n_rows} rows, more than {MAX_DENSE_CELLS} cells"
    ))
    .help("add `truncated_svd` behind the step that made them, or let it make fewer: `max_features`, `n_features`"))
}
