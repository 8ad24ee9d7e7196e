//! The columns as methods see them.

use std::borrow::Cow;
use std::collections::HashSet;

use polars::prelude::{Column, DataType};
use rayon::prelude::*;
use retune_stage::{Result, StageError, Table, Target};

/// A feature column. Cheap to copy: its values stay in the table, as they are stored there, and are turned into numbers when a method asks for them.
#[derive(Clone)]
pub(crate) struct Feature<'a> {
    pub(crate) name: &'a str,
    /// Its place among all features of the input.
    pub(crate) at: usize,
    /// Whether `always_keep` chooses it.
    pub(crate) pinned: bool,
    /// The name of the column of the data that it was made from.
    pub(crate) source: &'a str,
    column: &'a Column,
    table: &'a Table,
    /// The rows that are looked at, where it is not all of them.
    rows: Option<&'a [usize]>,
}

/// Numbers in the fewest bytes that hold them.
pub(crate) enum Stored<'a> {
    /// 64-bit floats, and whatever needs as many.
    F64(Cow<'a, [f64]>),
    /// 32-bit floats, short integers and booleans.
    F32(Cow<'a, [f32]>),
}

/// A float of either width: a copy of a column of 32-bit floats takes half the memory.
pub(crate) trait Number: Copy + PartialOrd + Into<f64> {}

impl<T: Copy + PartialOrd + Into<f64>> Number for T {}

impl<'a> Feature<'a> {
    /// The values: finite, but for methods that take missing values, which are NaN; a boolean counts as 0 or 1.
    pub(crate) fn numbers(&self) -> Result<Cow<'a, [f64]>> {
        Ok(match self.stored()? {
            Stored::F64(values) => values,
            Stored::F32(values) => Cow::Owned(values.iter().map(|&value| f64::from(value)).collect()),
        })
    }

    /// The same as they are stored, where that takes less memory.
    pub(crate) fn stored(&self) -> Result<Stored<'a>> {
        let stored = stored(self.column)?;
        let Some(rows) = self.rows else { return Ok(stored) };
        Ok(match stored {
            Stored::F64(values) => Stored::F64(rows.iter().map(|&row| values[row]).collect()),
            Stored::F32(values) => Stored::F32(rows.iter().map(|&row| values[row]).collect()),
        })
    }

    /// How many values are missing.
    pub(crate) fn n_missing(&self) -> Result<usize> {
        Ok(self.numbers()?.iter().filter(|value| value.is_nan()).count())
    }

    /// The number of a row in the data, for messages.
    pub(crate) fn row_number(&self, at: usize) -> u64 {
        self.table.row_number(self.rows.map_or(at, |rows| rows[at]))
    }

    /// The same column in some of the rows.
    pub(crate) fn of_rows(&self, rows: &'a [usize]) -> Self {
        Self { rows: Some(rows), ..self.clone() }
    }
}

impl Stored<'_> {
    /// Adds the values of some rows to the end of a list.
    pub(crate) fn append(&self, rows: std::ops::Range<usize>, turn: impl Fn(f64) -> f64, to: &mut Vec<f64>) {
        match self {
            Self::F64(values) => to.extend(values[rows].iter().map(|&value| turn(value))),
            Self::F32(values) => to.extend(values[rows].iter().map(|&value| turn(f64::from(value)))),
        }
    }

    /// The first value that is so, and its row.
    fn find(&self, is: impl Fn(f64) -> bool) -> Option<(usize, f64)> {
        fn first<T: Number>(values: &[T], is: impl Fn(f64) -> bool) -> Option<(usize, f64)> {
            values.iter().map(|&value| value.into()).enumerate().find(|&(_, value)| is(value))
        }
        match self {
            Self::F64(values) => first(values, is),
            Self::F32(values) => first(values, is),
        }
    }

    /// As 64-bit floats.
    pub(crate) fn numbers(&self) -> Cow<'_, [f64]> {
        match self {
            Self::F64(values) => Cow::Borrowed(values),
            Self::F32(values) => Cow::Owned(values.iter().map(|&value| f64::from(value)).collect()),
        }
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F64(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }
}

fn stored(column: &Column) -> Result<Stored<'_>> {
    let failed = |error: polars::error::PolarsError| StageError::failed(error.to_string());
    let series = column.as_materialized_series();
    if let Ok(values) = series.f64() {
        return Ok(Stored::F64(match values.cont_slice() {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => values.iter().map(|value| value.unwrap_or(f64::NAN)).collect(),
        }));
    }
    if let Ok(values) = series.f32()
        && let Ok(values) = values.cont_slice()
    {
        return Ok(Stored::F32(Cow::Borrowed(values)));
    }
    let short =
        [DataType::Boolean, DataType::Int8, DataType::Int16, DataType::UInt8, DataType::UInt16, DataType::Float32];
    if short.contains(column.dtype()) {
        let values = series.cast(&DataType::Float32).map_err(failed)?;
        let values = values.f32().map_err(failed)?;
        return Ok(Stored::F32(values.iter().map(|value| value.unwrap_or(f32::NAN)).collect()));
    }
    let values = series.cast(&DataType::Float64).map_err(failed)?;
    let values = values.f64().map_err(failed)?;
    Ok(Stored::F64(values.iter().map(|value| value.unwrap_or(f64::NAN)).collect()))
}

/// The features of a table but for those of `without`.
pub(crate) fn features<'a>(table: &'a Table, without: &[String], pinned: &[String]) -> Result<Vec<Feature<'a>>> {
    let (without, pinned): (HashSet<&String>, HashSet<&String>) = (without.iter().collect(), pinned.iter().collect());
    let fields = table.schema().features().enumerate().filter(|(_, field)| !without.contains(&field.name));
    let feature = |(at, field): (usize, &'a retune_stage::Field)| {
        let column = table.column(&field.name)?;
        let pinned = pinned.contains(&field.name);
        Ok(Feature { name: &field.name, at, pinned, source: field.origin(), column, table, rows: None })
    };
    fields.map(feature).collect()
}

/// Fails for the first feature that has a value which is missing or infinite; `missing_too` is false where missing ones may be.
pub(crate) fn refuse_unfit(table: &Table, features: &[Feature], missing_too: bool) -> Result<()> {
    let unfit = |feature: &Feature| -> Result<Option<StageError>> {
        let name = feature.name;
        let bad = |value: f64| !value.is_finite() && (missing_too || !value.is_nan());
        let Some((at, value)) = feature.stored()?.find(bad) else { return Ok(None) };
        let row = table.row_number(at);
        Ok(Some(if value.is_nan() {
            StageError::data(format!("column `{name}` has a missing value in row {row}"))
                .help("add the step `impute` to a preprocessing stage before")
        } else {
            StageError::data(format!("column `{name}` is infinite in row {row}"))
                .help("add the step `clip_outliers` to a preprocessing stage before")
        }))
    };
    let unfit: Vec<Option<StageError>> = features.par_iter().map(unfit).collect::<Result<_>>()?;
    unfit.into_iter().flatten().next().map_or(Ok(()), Err)
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
