//! Tables of files, for the examples that time a stage.

use std::collections::BTreeSet;
use std::path::Path;

use polars::prelude::*;
use retune_spec::schema::{Field, Kind, Role, Schema as Columns, Task};
use retune_stage::Table;
use retune_table::{ReadOptions, read_files};

/// The rows of a file. Every column is a feature but the target, which holds labels where it is text.
pub fn file(path: impl AsRef<Path>, target: Option<&str>) -> Table {
    let mut frame = read_files(&[path.as_ref().to_owned()], &ReadOptions::default()).expect("a table that can be read");
    let field = |column: &Column| {
        let kind = match column.dtype() {
            DataType::String => Kind::Categorical,
            DataType::Boolean => Kind::Boolean,
            _ => Kind::Numeric,
        };
        let field = Field::feature(column.name().as_str(), kind);
        if target == Some(field.name.as_str()) { Field { role: Role::Target, ..field } } else { field }
    };
    let mut fields: Vec<Field> = frame.columns().iter().map(field).collect();
    let task = target.map(|target| match frame.column(target).expect("a target").str() {
        Ok(values) => {
            let labels: BTreeSet<&str> = values.iter().flatten().collect();
            Task::Classification { labels: labels.into_iter().map(str::to_owned).collect() }
        }
        Err(_) => Task::Regression,
    });
    let numbers = UInt32Chunked::from_vec(Columns::ROW.into(), (1..=frame.height() as u32).collect());
    frame.insert_column(0, numbers.into_column()).expect("no column of that name");
    fields.insert(0, Field { name: Columns::ROW.to_owned(), role: Role::RowNumber, kind: Kind::Numeric, source: None });
    Table::new(frame, Columns { fields, task }).expect("columns that match")
}
