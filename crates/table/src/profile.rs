//! What is in each column, for people.

use polars::prelude::*;
use retune_spec::schema::{Kind, Role};
use serde::{Deserialize, Serialize};

use crate::{Table, TableError};

/// What is in a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnProfile {
    /// The column's name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// What its values are.
    pub kind: Kind,
    /// The number of rows.
    pub rows: usize,
    /// The number of missing values.
    pub missing: usize,
    /// The number of distinct values, missing ones left out.
    pub distinct: usize,
    /// Of numbers and booleans: the least, the mean and the greatest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 3]>,
    /// Of levels and labels: the five most frequent with their counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub most_frequent: Vec<(String, usize)>,
}

/// Looks at every column but the row numbers.
pub fn profile(table: &Table) -> Result<Vec<ColumnProfile>, TableError> {
    let fields = table.schema().fields.iter().filter(|field| field.role != Role::RowNumber);
    let look = |field: &retune_spec::Field| {
        let column = table.column(&field.name)?;
        let missing = column.null_count();
        let numbers = matches!(field.kind, Kind::Numeric | Kind::Boolean) && missing < column.len();
        Ok(ColumnProfile {
            name: field.name.clone(),
            role: field.role,
            kind: field.kind,
            rows: column.len(),
            missing,
            distinct: column.n_unique()? - usize::from(missing > 0),
            range: if numbers { Some(range(&table.numeric(&field.name)?)) } else { None },
            most_frequent: if field.kind == Kind::Categorical { most_frequent(column)? } else { Vec::new() },
        })
    };
    fields.map(look).collect()
}

fn range(values: &[f64]) -> [f64; 3] {
    let present = || values.iter().copied().filter(|value| !value.is_nan());
    let (n, sum) = present().fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    [present().fold(f64::INFINITY, f64::min), sum / n, present().fold(f64::NEG_INFINITY, f64::max)]
}

fn most_frequent(column: &Column) -> Result<Vec<(String, usize)>, TableError> {
    const SHOWN: usize = 5;
    let mut counts: PlHashMap<&str, usize> = PlHashMap::new();
    for value in column.str()?.iter().flatten() {
        *counts.entry(value).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().map(|(value, count)| (value.to_owned(), count)).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(SHOWN);
    Ok(counts)
}
