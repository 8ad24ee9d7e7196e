//! The table and what its columns give to steps and models.

use globset::Glob;
use ndarray::Array2;
use polars::prelude::*;
use rayon::prelude::*;
use retune_spec::Selector;
use retune_spec::columns::{Dtype, OneOrMany, is_glob};
// polars has a `Schema` of its own.
use retune_spec::Schema as Columns;
use retune_spec::schema::{Field, Kind, Role, Task};

use crate::TableError;

/// Rows with named columns, each with a role and a kind.
#[derive(Clone, Debug)]
pub struct Table {
    frame: DataFrame,
    schema: Columns,
}

/// The column to predict, as numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The index of each row's label in the task's labels.
    Classes {
        /// One index a row.
        codes: Vec<u32>,
        /// How many labels there are.
        n_classes: usize,
    },
    /// Each row's value.
    Values(Vec<f64>),
}

impl Target {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { codes, .. } => codes.len(),
            Self::Values(values) => values.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows of each label in their order; of values, all rows as one.
    pub fn rows_by_label(&self) -> Vec<Vec<usize>> {
        match self {
            Self::Classes { codes, n_classes } => rows_by_code(codes, *n_classes),
            Self::Values(values) => vec![(0..values.len()).collect()],
        }
    }

    /// The rows at `indices`, in that order.
    #[must_use]
    pub fn take(&self, indices: &[usize]) -> Self {
        match self {
            Self::Classes { codes, n_classes } => {
                Self::Classes { codes: indices.iter().map(|&row| codes[row]).collect(), n_classes: *n_classes }
            }
            Self::Values(values) => Self::Values(indices.iter().map(|&row| values[row]).collect()),
        }
    }
}

/// The rows of each code, in their order.
pub(crate) fn rows_by_code(codes: &[u32], n_codes: usize) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new(); n_codes];
    codes.iter().enumerate().for_each(|(row, &code)| rows[code as usize].push(row));
    rows
}

/// The levels of a categorical column: its different values, sorted.
pub type Levels = std::sync::Arc<[String]>;

impl Table {
    /// A table of a frame whose columns are those of the schema, in any order; the frame is put into the schema's order.
    pub fn new(frame: DataFrame, schema: Columns) -> Result<Self, TableError> {
        let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
        let frame = frame.select(names.iter().copied())?;
        Ok(Self { frame, schema })
    }

    /// The columns.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// What the columns are.
    pub fn schema(&self) -> &Columns {
        &self.schema
    }

    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.frame.height()
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Result<&Column, TableError> {
        self.frame
            .column(name)
            .map_err(|_| TableError::no_column(name, self.schema.fields.iter().map(|field| field.name.as_str())))
    }

    /// The rows at `indices` (below [`Table::n_rows`]), in that order; a row may be taken more than once.
    pub fn take(&self, indices: &[usize]) -> Result<Self, TableError> {
        let indices: Vec<IdxSize> = indices.iter().map(|&row| row as IdxSize).collect();
        let frame = self.frame.take(&IdxCa::from_vec("".into(), indices))?;
        Ok(Self { frame, schema: self.schema.clone() })
    }

    /// The rows from `first` on, `n_rows` of them or as many as there are, without copying them.
    #[must_use]
    pub fn slice(&self, first: usize, n_rows: usize) -> Self {
        Self { frame: self.frame.slice(first as i64, n_rows), schema: self.schema.clone() }
    }

    /// Tables of one schema, one below the other.
    pub fn concat(tables: &[Self], schema: &Columns) -> Result<Self, TableError> {
        let Some((first, rest)) = tables.split_first() else {
            let columns = schema.fields.iter().map(empty_column).collect();
            return Self::new(DataFrame::new(0, columns)?, schema.clone());
        };
        let mut frame = first.frame.clone();
        rest.iter().try_for_each(|table| frame.vstack_mut(&table.frame).map(|_| ()))?;
        frame.rechunk_mut_par();
        Self::new(frame, schema.clone())
    }

    /// A column as 64-bit floats, a missing value as NaN. The column must be numeric or boolean.
    pub fn numeric(&self, name: &str) -> Result<Vec<f64>, TableError> {
        let column = self.column(name)?;
        if !(column.dtype().is_primitive_numeric() || column.dtype().is_bool()) {
            return Err(TableError::new(format!("column `{name}` is not numeric")));
        }
        let column = column.cast(&DataType::Float64)?;
        Ok(column.f64()?.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
    }

    /// A column of text or levels.
    pub fn strings(&self, name: &str) -> Result<&StringChunked, TableError> {
        let column = self.column(name)?;
        column.str().map_err(|_| TableError::new(format!("column `{name}` is not text")))
    }

    /// The table with the columns `names` replaced by `columns`, which take the place of the first of them (or the end, where `names` is empty).
    pub fn replace(&self, names: &[String], columns: Vec<(Field, Column)>) -> Result<Self, TableError> {
        let mut fields = Vec::with_capacity(self.schema.fields.len() + columns.len());
        let mut frame_columns = Vec::with_capacity(fields.capacity());
        let mut pending = Some(columns);
        for field in &self.schema.fields {
            if names.contains(&field.name) {
                push_all(&mut pending, &mut fields, &mut frame_columns);
            } else {
                fields.push(field.clone());
                frame_columns.push(self.column(&field.name)?.clone());
            }
        }
        push_all(&mut pending, &mut fields, &mut frame_columns);
        refuse_collisions(&fields)?;
        let frame = DataFrame::new(self.n_rows(), frame_columns)?;
        Ok(Self { frame, schema: Columns { fields, task: self.schema.task.clone() } })
    }

    /// The table without some columns.
    pub fn drop(&self, names: &[String]) -> Result<Self, TableError> {
        self.replace(names, Vec::new())
    }

    /// The names of the features that a selector chooses, in the table's order.
    pub fn select(&self, selector: &Selector) -> Result<Vec<String>, TableError> {
        select_typed(&self.schema, &|name| self.dtype(name), selector)
    }

    /// The type in which a column is stored, where a selector can name it.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.frame.column(name).ok().and_then(|column| dtype_of(column.dtype()))
    }

    /// The features but images as a matrix [rows, features] of 64-bit floats in standard layout, in which missing values are NaN, and for each feature that is
    /// categorical its levels, of which the numbers are the places. Fails for features that are neither.
    pub fn features(&self) -> Result<(Array2<f64>, Vec<Option<Levels>>), TableError> {
        let fields: Vec<&Field> = self.schema.features().filter(|field| field.kind != Kind::Image).collect();
        let features = fields.par_iter().map(|field| self.feature(field));
        let (columns, levels): (Vec<Vec<f64>>, Vec<Option<Levels>>) =
            features.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let (n_rows, n_columns) = (self.n_rows(), columns.len());
        let mut values = vec![0.0; n_rows * n_columns];
        if n_columns > 0 {
            values.par_chunks_mut(n_columns).enumerate().for_each(|(row, cells)| {
                for (cell, column) in cells.iter_mut().zip(&columns) {
                    *cell = column[row];
                }
            });
        }
        let values = Array2::from_shape_vec((n_rows, n_columns), values);
        Ok((values.map_err(|error| TableError::new(error.to_string()))?, levels))
    }

    /// The column to predict, as numbers. Fails where there is no target, a value is missing, or the task does not know a label.
    pub fn target(&self) -> Result<Target, TableError> {
        let field =
            self.schema.of_role(Role::Target).ok_or_else(|| TableError::new("the table has no target column"))?;
        let missing =
            |row| TableError::new(format!("target `{}` is missing in row {}", field.name, self.row_number(row)));
        match &self.schema.task {
            Some(Task::Regression) => {
                let values = self.numeric(&field.name)?;
                match values.iter().position(|value| value.is_nan()) {
                    Some(row) => Err(missing(row)),
                    None => Ok(Target::Values(values)),
                }
            }
            Some(Task::Classification { labels }) => {
                let known: PlHashMap<&str, u32> =
                    labels.iter().enumerate().map(|(code, label)| (label.as_str(), code as u32)).collect();
                let code = |(row, value): (usize, Option<&str>)| {
                    let value = value.ok_or_else(|| missing(row))?;
                    known.get(value).copied().ok_or_else(|| {
                        let row = self.row_number(row);
                        TableError::new(format!(
                            "target `{}` has the label `{value}` in row {row}, which no training row has",
                            field.name
                        ))
                    })
                };
                let codes = self.strings(&field.name)?.iter().enumerate().map(code).collect::<Result<_, _>>()?;
                Ok(Target::Classes { codes, n_classes: labels.len() })
            }
            None => Err(TableError::new(format!("the task of target `{}` is not known", field.name))),
        }
    }

    /// The sample weights, where there is a weight column.
    pub fn weights(&self) -> Result<Option<Vec<f64>>, TableError> {
        self.schema.of_role(Role::Weight).map(|field| self.numeric(&field.name)).transpose()
    }

    fn feature(&self, field: &Field) -> Result<(Vec<f64>, Option<Levels>), TableError> {
        match field.kind {
            Kind::Numeric | Kind::Boolean => Ok((self.numeric(&field.name)?, None)),
            Kind::Categorical => {
                let (codes, levels) = self.coded(&field.name)?;
                Ok((codes, Some(levels)))
            }
            kind => {
                Err(TableError::new(format!("column `{}` is {}, where numbers are needed", field.name, kind.word()))
                    .help(encoder_hint(kind)))
            }
        }
    }

    /// A column's values as places among its sorted levels; NaN where one is missing.
    fn coded(&self, name: &str) -> Result<(Vec<f64>, Levels), TableError> {
        let text = crate::kinds::as_text(self.column(name)?)?;
        let mut levels: Vec<&str> = text.iter().flatten().collect::<PlHashSet<_>>().into_iter().collect();
        levels.sort_unstable();
        let places: PlHashMap<&str, f64> =
            levels.iter().enumerate().map(|(place, level)| (*level, place as f64)).collect();
        let codes = text.iter().map(|value| value.and_then(|value| places.get(value).copied()).unwrap_or(f64::NAN));
        Ok((codes.collect(), levels.into_iter().map(str::to_owned).collect::<Vec<_>>().into()))
    }

    /// The numbers of all rows in their source.
    pub fn row_numbers(&self) -> Vec<u32> {
        let numbers = self.frame.column(Columns::ROW).ok().and_then(|column| column.u32().ok());
        let place = |(row, number): (usize, Option<u32>)| number.unwrap_or(row as u32 + 1);
        match numbers {
            Some(numbers) => numbers.iter().enumerate().map(place).collect(),
            None => (1..=self.n_rows() as u32).collect(),
        }
    }

    /// The number of a row in its source, for messages; counted from 1.
    pub fn row_number(&self, row: usize) -> u64 {
        row_number(&self.frame, row)
    }
}

/// The number of a row in its source: what the column [`Columns::ROW`] says or, without one, its place; counted from 1.
pub(crate) fn row_number(frame: &DataFrame, row: usize) -> u64 {
    let numbers = frame.column(Columns::ROW).ok().and_then(|column| column.u32().ok());
    numbers.and_then(|numbers| numbers.get(row)).map_or(row as u64 + 1, u64::from)
}

/// The names of the features that a selector chooses, in the schema's order. A name that does not exist and a selector that matches nothing are errors,
/// except for a kind of which there is none.
pub fn select(schema: &Columns, selector: &Selector) -> Result<Vec<String>, TableError> {
    select_typed(schema, &|_| None, selector)
}

/// [`select`] where the columns' types are known. Of a column whose type is not, its kind decides whether a `dtype` may choose it.
pub fn select_typed(
    schema: &Columns,
    dtype_of: &dyn Fn(&str) -> Option<Dtype>,
    selector: &Selector,
) -> Result<Vec<String>, TableError> {
    let chosen: Vec<String> = match selector {
        Selector::Not { not } => {
            let left_out = select_typed(schema, dtype_of, not)?;
            schema.features().map(|field| field.name.clone()).filter(|name| !left_out.contains(name)).collect()
        }
        Selector::Dtype { dtype } => {
            let is = |field: &&Field| {
                let stored = dtype_of(&field.name);
                dtype.as_slice().iter().any(|dtype| match stored {
                    Some(stored) => dtype.covers(stored),
                    None => dtype.may_hold(field.kind),
                })
            };
            schema.features().filter(is).map(|field| field.name.clone()).collect()
        }
        Selector::Name { name } => {
            require_feature(schema, name)?;
            vec![name.clone()]
        }
        Selector::Words(words) => select_words(schema, words)?,
    };
    Ok(chosen)
}

fn dtype_of(dtype: &DataType) -> Option<Dtype> {
    Some(match dtype {
        DataType::Float32 => Dtype::Float32,
        DataType::Float64 => Dtype::Float64,
        DataType::Int8 => Dtype::Int8,
        DataType::Int16 => Dtype::Int16,
        DataType::Int32 => Dtype::Int32,
        DataType::Int64 => Dtype::Int64,
        DataType::UInt8 => Dtype::Uint8,
        DataType::UInt16 => Dtype::Uint16,
        DataType::UInt32 => Dtype::Uint32,
        DataType::UInt64 => Dtype::Uint64,
        DataType::Boolean => Dtype::Boolean,
        DataType::String => Dtype::String,
        DataType::Date => Dtype::Date,
        DataType::Datetime(..) => Dtype::Datetime,
        DataType::Time => Dtype::Time,
        DataType::Duration(_) => Dtype::Duration,
        DataType::Binary => Dtype::Binary,
        _ => return None,
    })
}

fn select_words(schema: &Columns, words: &OneOrMany<String>) -> Result<Vec<String>, TableError> {
    let mut chosen = vec![false; schema.fields.len()];
    for word in words.as_slice() {
        let glob = if is_glob(word) {
            let glob =
                Glob::new(word).map_err(|error| TableError::new(format!("`{word}` is not a pattern: {error}")))?;
            Some(glob.compile_matcher())
        } else {
            None
        };
        let kind = Kind::from_word(word);
        let mut any = false;
        for (field, chosen) in schema.fields.iter().zip(&mut chosen).filter(|(field, _)| field.role == Role::Feature) {
            let matches = match (&glob, kind) {
                (Some(glob), _) => glob.is_match(&field.name),
                (None, Some(kind)) => field.kind == kind,
                (None, None) => word == "all" || *word == field.name,
            };
            *chosen |= matches;
            any |= matches;
        }
        if !any && glob.is_some() {
            return Err(TableError::new(format!("the pattern `{word}` matches no feature column")));
        }
        if !any && kind.is_none() && word != "all" {
            require_feature(schema, word)?;
        }
    }
    let names = schema.fields.iter().zip(&chosen).filter(|(_, chosen)| **chosen);
    Ok(names.map(|(field, _)| field.name.clone()).collect())
}

fn require_feature(schema: &Columns, name: &str) -> Result<(), TableError> {
    match schema.field(name) {
        Some(field) if field.role == Role::Feature => Ok(()),
        Some(field) => Err(TableError::new(format!("column `{name}` is not a feature (its role is {:?})", field.role))),
        None => Err(TableError::no_column(name, schema.features().map(|field| field.name.as_str()))),
    }
}

/// A column of a field without any row.
fn empty_column(field: &Field) -> Column {
    let dtype = match field.kind {
        Kind::Numeric => DataType::Float64,
        Kind::Boolean => DataType::Boolean,
        Kind::Datetime => DataType::Datetime(TimeUnit::Microseconds, None),
        Kind::Categorical | Kind::Text => DataType::String,
        Kind::Image | Kind::Audio => DataType::Binary,
    };
    Column::new_empty(field.name.as_str().into(), &dtype)
}

fn push_all(pending: &mut Option<Vec<(Field, Column)>>, fields: &mut Vec<Field>, columns: &mut Vec<Column>) {
    for (field, column) in pending.take().into_iter().flatten() {
        columns.push(column.with_name(field.name.as_str().into()));
        fields.push(field);
    }
}

fn refuse_collisions(fields: &[Field]) -> Result<(), TableError> {
    let mut seen = PlHashSet::with_capacity(fields.len());
    match fields.iter().find(|field| !seen.insert(field.name.as_str())) {
        None => Ok(()),
        Some(field) => Err(TableError::new(format!("two columns would be called `{}`", field.name))
            .help("rename one of the source columns, or give the step another `prefix` where it has one")),
    }
}

/// What a model that needs numbers advises for a column of another kind.
pub fn encoder_hint(kind: Kind) -> &'static str {
    match kind {
        Kind::Categorical => "encode it before this stage: `one_hot` or `target_encode`",
        Kind::Text => "encode it before this stage: `tf_idf`",
        _ => "leave it out: list it under `data.ignore`",
    }
}
