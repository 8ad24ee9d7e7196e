//! What every stage that turns rows promises, whatever it does; modelled on scikit-learn's estimator checks. A stage declares what it is
//! ([`Subject`]) and is held to it.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use polars::prelude::*;
use retune_spec::schema::{Field, Kind, Role, Schema as Columns};
use retune_stage::{Fit, FitContext, Fitted, LoadDir, Pieces, Result, Rows, Stage, StageError, Table};

use crate::round_trip;

/// Numbers in 64 bits may differ by this much, relative to the larger of 1 and the number, where the same is computed in another order.
const CLOSE: f64 = 1e-12;

/// The same for sums that are taken by other pieces, or over repeated rows instead of weighted ones.
const REGROUPED: f64 = 1e-9;

/// The same for columns of 32 bits.
const SINGLE: f64 = 1e-5;

/// Reads a fitted stage back.
pub type Load<'a> = &'a dyn Fn(&LoadDir) -> Result<Box<dyn Fitted>>;

/// A stage, rows that it can be fitted on, and what it declares of itself.
pub struct Subject<'a> {
    /// For messages.
    pub name: String,
    /// The stage.
    pub stage: &'a dyn Stage,
    /// Reads what its fitted form saves.
    pub load: Load<'a>,
    /// Rows with a target; at least 20.
    pub rows: Table,
    /// What becomes of a row depends on those beside it.
    pub in_order: bool,
    /// Training rows leave it other than the same rows would when it is applied to them: cross-fitted, or resampled.
    pub own_training_rows: bool,
    /// It learns from sample weights; `None` for a chain of which only some steps do.
    pub takes_weights: Option<bool>,
}

impl Subject<'_> {
    /// Panics, naming subject and check, where a promise is broken.
    pub fn conform(&self) {
        let fit = self.fit(&self.rows).unwrap_or_else(|error| self.fail("fit", &error.to_string()));
        self.check_itself(&fit);
        self.check_repetition(&fit);
        self.check_rows(&*fit.fitted);
        self.check_columns(&*fit.fitted);
        self.check_pieces(&fit);
        self.check_weights();
        self.check_types();
        self.check_degenerate();
    }

    fn fit(&self, rows: &Table) -> Result<Fit, StageError> {
        self.fit_rows(Rows::Table(rows.clone()))
    }

    fn fit_rows(&self, rows: Rows) -> Result<Fit, StageError> {
        self.stage.fit(rows, &FitContext::plain(1))
    }

    fn apply(&self, fitted: &dyn Fitted, rows: &Table) -> Cells {
        let applied = fitted.apply(Rows::Table(rows.clone()));
        Cells::of(applied.unwrap_or_else(|error| self.fail("apply", &error.to_string())))
    }

    fn fail(&self, check: &str, what: &str) -> ! {
        panic!("{}: {check}: {what}", self.name)
    }

    fn same(&self, check: &str, one: &Cells, other: &Cells, tolerance: f64) {
        if let Some(difference) = one.difference(other, tolerance) {
            self.fail(check, &difference);
        }
    }

    /// The check that precedes a fit agrees with it, and the fit with what it says of itself.
    fn check_itself(&self, fit: &Fit) {
        if let Err(errors) = self.stage.check(self.rows.schema()) {
            self.fail("the check before the fit", &format!("{errors:?}"));
        }
        let applied = self.apply(&*fit.fitted, &self.rows);
        let told: Vec<&str> = fit.fitted.output().features().map(|field| field.name.as_str()).collect();
        let given: Vec<&str> = applied.columns.iter().map(|(name, _)| name.as_str()).collect();
        if told != given {
            self.fail("names of the outputs", &format!("{told:?} are told and {given:?} given"));
        }
        if fit.report.columns[1] != told.len() {
            self.fail("number of the outputs", &format!("{} are reported", fit.report.columns[1]));
        }
        if fit.fitted.input() != self.rows.schema() {
            self.fail("input", "it tells another schema than that of the rows it was fitted on");
        }
        let mut n_rows = self.rows.n_rows();
        for change in &fit.report.rows {
            if change.rows_in != n_rows || change.changed.max(change.flagged) > change.rows_in {
                self.fail("account of rows", &format!("{change:?} after {n_rows} rows"));
            }
            n_rows = change.rows_out();
        }
        if n_rows != fit.train.n_rows() {
            self.fail("account of rows", &format!("{n_rows} are told and {} given", fit.train.n_rows()));
        }
        if !self.own_training_rows && n_rows == self.rows.n_rows() {
            self.same("training rows", &Cells::of(fit.train.clone()), &applied, 0.0);
        }
    }

    /// The same again gives the same, saved and loaded too, and leaves its input alone.
    fn check_repetition(&self, fit: &Fit) {
        let before = self.rows.frame().clone();
        let again = self.fit(&self.rows).unwrap_or_else(|error| self.fail("second fit", &error.to_string()));
        self.same("second fit", &Cells::of(fit.train.clone()), &Cells::of(again.train), 0.0);
        let applied = self.apply(&*fit.fitted, &self.rows);
        self.same("second fit, applied", &applied, &self.apply(&*again.fitted, &self.rows), 0.0);
        let loaded =
            round_trip(&*fit.fitted, self.load).unwrap_or_else(|error| self.fail("loading", &error.to_string()));
        self.same("saved and loaded", &applied, &self.apply(&*loaded, &self.rows), 0.0);
        if (loaded.input(), loaded.output()) != (fit.fitted.input(), fit.fitted.output()) {
            self.fail("saved and loaded", "the schemas changed");
        }
        if !before.equals_missing(self.rows.frame()) {
            self.fail("input", "it was changed");
        }
    }

    /// Rows come and go as they should: any order and number of them, none too.
    fn check_rows(&self, fitted: &dyn Fitted) {
        let all = self.apply(fitted, &self.rows);
        let n_rows = self.rows.n_rows();
        let take = |rows: &[usize]| self.rows.take(rows).unwrap_or_else(|error| self.fail("rows", &error.to_string()));
        let none = self.apply(fitted, &take(&[]));
        self.same("no rows", &none, &all.take(&[]), 0.0);
        if self.in_order {
            return;
        }
        let backwards: Vec<usize> = (0..n_rows).rev().chain([3, 3]).collect();
        self.same("rows in another order", &self.apply(fitted, &take(&backwards)), &all.take(&backwards), CLOSE);
        for size in [1, 7] {
            for first in (0..n_rows).step_by(size).take(6) {
                let rows: Vec<usize> = (first..n_rows.min(first + size)).collect();
                let check = format!("{size} rows from {first}");
                self.same(&check, &self.apply(fitted, &take(&rows)), &all.take(&rows), CLOSE);
            }
        }
    }

    /// Columns are matched by name: in any order, with others beside them, never with one missing.
    fn check_columns(&self, fitted: &dyn Fitted) {
        let all = self.apply(fitted, &self.rows);
        let schema = self.rows.schema();
        let turned = Columns { fields: schema.fields.iter().rev().cloned().collect(), task: schema.task.clone() };
        let turned = Table::new(self.rows.frame().clone(), turned).expect("the same columns");
        self.same("columns in another order", &self.apply(fitted, &turned), &all, 0.0);
        let extra = Column::new("an extra column".into(), vec![1.5; self.rows.n_rows()]);
        let wider = self.rows.replace(&[], vec![(Field::feature("an extra column", Kind::Numeric), extra)]);
        let wider = wider.unwrap_or_else(|error| self.fail("an extra column", &error.to_string()));
        self.same("an extra column", &self.apply(fitted, &wider), &all, 0.0);
        for field in schema.features() {
            let narrower = self.rows.drop(std::slice::from_ref(&field.name)).expect("a column of the table");
            match fitted.apply(Rows::Table(narrower)) {
                Ok(_) => self.fail("a missing column", &format!("`{}` was not missed", field.name)),
                Err(error) if error.message.contains(&field.name) => {}
                Err(error) => self.fail("a missing column", &format!("`{}` is not named: {error}", field.name)),
            }
        }
    }

    /// Read by pieces, it learns and gives the same.
    fn check_pieces(&self, fit: &Fit) {
        let pieces = |size| Rows::Pieces(Arc::new(Cut { table: self.rows.clone(), size }));
        for size in [7, 1000] {
            let check = format!("pieces of {size} rows");
            let by_pieces = self.fit_rows(pieces(size)).unwrap_or_else(|error| self.fail(&check, &error.to_string()));
            self.same(&check, &Cells::of(by_pieces.train), &Cells::of(fit.train.clone()), REGROUPED);
            let applied = fit.fitted.apply(pieces(size)).unwrap_or_else(|error| self.fail(&check, &error.to_string()));
            self.same(&check, &Cells::of(applied), &self.apply(&*fit.fitted, &self.rows), CLOSE);
        }
    }

    /// A weight of n counts like n rows, where weights are taken; where they are not, they change nothing.
    fn check_weights(&self) {
        let Some(takes_weights) = self.takes_weights else { return };
        let weights: Vec<f64> = (0..self.rows.n_rows()).map(|row| (row % 3 + 1) as f64).collect();
        let field = Field { role: Role::Weight, ..Field::feature("weight", Kind::Numeric) };
        let column = Column::new("weight".into(), weights.clone());
        let weighted = self.rows.replace(&[], vec![(field, column)]).expect("a new column");
        let other = if takes_weights {
            let repeated = (0..weights.len()).flat_map(|row| std::iter::repeat_n(row, weights[row] as usize));
            self.rows.take(&repeated.collect::<Vec<_>>()).expect("rows of the table")
        } else {
            self.rows.clone()
        };
        let fit = |rows: &Table| self.fit(rows).unwrap_or_else(|error| self.fail("weights", &error.to_string()));
        let (weighted_fit, other_fit) = (fit(&weighted), fit(&other));
        let one = self.apply(&*weighted_fit.fitted, &weighted);
        self.same("weights", &one, &self.apply(&*other_fit.fitted, &self.rows), REGROUPED);
    }

    /// Numbers of every type give what 64-bit floats of the same values give.
    fn check_types(&self) {
        let baseline = self.typed(&DataType::Float64);
        let expected = self.fit(&baseline).map(|fit| self.apply(&*fit.fitted, &baseline));
        use DataType as D;
        for dtype in [D::Float32, D::Int8, D::Int16, D::Int32, D::Int64, D::UInt8, D::UInt16, D::UInt32, D::UInt64] {
            let check = format!("numbers of type {dtype}");
            let rows = self.typed(&dtype);
            let given = self.fit(&rows).map(|fit| self.apply(&*fit.fitted, &rows));
            match (&expected, given) {
                (Ok(expected), Ok(given)) => {
                    self.same(&check, &given, expected, if dtype == D::Float32 { SINGLE } else { CLOSE });
                }
                (Err(one), Err(other)) if one.message == other.message => {}
                (one, other) => {
                    let [one, other] = [one.as_ref().err(), other.as_ref().err()];
                    self.fail(&check, &format!("{other:?}, and as 64-bit floats {one:?}"));
                }
            }
        }
    }

    /// The rows with every numeric feature turned into whole numbers from 1 to 100 of a type.
    fn typed(&self, dtype: &DataType) -> Table {
        let mut frame = self.rows.frame().clone();
        for field in self.rows.schema().features().filter(|field| field.kind == Kind::Numeric) {
            let values = self.rows.numeric(&field.name).expect("a column of numbers");
            let whole: Float64Chunked = values
                .iter()
                .map(|value| (!value.is_nan()).then(|| (value.abs() * 7.0).floor().rem_euclid(100.0) + 1.0))
                .collect();
            let column = whole.with_name(field.name.as_str().into()).into_column().cast(dtype).expect("small numbers");
            frame.with_column(column).expect("as many rows");
        }
        Table::new(frame, self.rows.schema().clone()).expect("the same columns")
    }

    /// Rows that there is little to learn from give an error with a text or a result, never a panic.
    fn check_degenerate(&self) {
        let schema = self.rows.schema();
        let with = |change: &dyn Fn(&Column) -> Column| {
            let mut frame = self.rows.frame().clone();
            for field in schema.features() {
                let column = change(self.rows.column(&field.name).expect("a column of the table"));
                frame.with_column(column).expect("as many rows");
            }
            Table::new(frame, schema.clone()).expect("the same columns")
        };
        let n_rows = self.rows.n_rows();
        let repeat = |row: usize| move |column: &Column| column.new_from_index(row, n_rows);
        let infinite = |column: &Column| match column.dtype().is_float() {
            true => column * f64::MAX * 2.0,
            false => column.clone(),
        };
        let first = schema.features().next().map(|field| field.name.clone()).unwrap_or_default();
        let others: Vec<String> =
            schema.features().map(|field| field.name.clone()).filter(|name| *name != first).collect();
        let cases = [
            ("no row", self.rows.slice(0, 0)),
            ("one row", self.rows.slice(0, 1)),
            ("two rows", self.rows.slice(0, 2)),
            ("one column", self.rows.drop(&others).expect("columns of the table")),
            ("all missing", with(&|column| Column::full_null(column.name().clone(), column.len(), column.dtype()))),
            ("constant", with(&repeat(0))),
            ("infinite", with(&infinite)),
        ];
        for (case, rows) in cases {
            match self.fit(&rows) {
                Err(error) if error.message.is_empty() => self.fail(case, "an error without a text"),
                Err(_) => {}
                Ok(fit) => {
                    if let Ok(applied) = fit.fitted.apply(Rows::Table(rows.clone()))
                        && applied.n_rows() != rows.n_rows()
                    {
                        self.fail(case, &format!("{} rows became {}", rows.n_rows(), applied.n_rows()));
                    }
                }
            }
        }
    }
}

/// A table cut into pieces.
struct Cut {
    table: Table,
    size: usize,
}

impl Pieces for Cut {
    fn schema(&self) -> &Columns {
        self.table.schema()
    }

    fn n_rows(&self) -> usize {
        self.table.n_rows()
    }

    fn n_pieces(&self) -> usize {
        self.table.n_rows().div_ceil(self.size)
    }

    fn first_row(&self, index: usize) -> usize {
        self.table.n_rows().min(index * self.size)
    }

    fn piece(&self, index: usize, columns: Option<&[String]>) -> Result<Table> {
        let piece = self.table.slice(index * self.size, self.size);
        let Some(columns) = columns else { return Ok(piece) };
        let fields = self.schema().fields.iter().filter(|field| columns.contains(&field.name)).cloned().collect();
        Ok(Table::new(piece.frame().clone(), Columns { fields, task: self.schema().task.clone() })?)
    }
}

/// The features of rows, column by column.
struct Cells {
    columns: Vec<(String, Vec<Cell>)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Number(f64),
    Text(String),
    Missing,
}

impl Cells {
    fn of(rows: Rows) -> Self {
        let rows = rows.gather().expect("rows that fit into memory");
        if let Rows::Tensors(tensors) = &rows {
            let design = tensors.design().expect("numbers");
            let columns = design.names.iter().zip(design.features.columns());
            let cells = |values: ndarray::ArrayView1<f64>| values.iter().map(|value| Cell::Number(*value)).collect();
            return Self { columns: columns.map(|(name, values)| (name.clone(), cells(values))).collect() };
        }
        let table = rows.table().expect("a table");
        let columns = table.schema().features().map(|field| (field.name.clone(), cells(table, field))).collect();
        Self { columns }
    }

    fn take(&self, rows: &[usize]) -> Self {
        let take = |cells: &Vec<Cell>| rows.iter().map(|&row| cells[row].clone()).collect();
        Self { columns: self.columns.iter().map(|(name, cells)| (name.clone(), take(cells))).collect() }
    }

    /// The first place where the two differ.
    fn difference(&self, other: &Self, tolerance: f64) -> Option<String> {
        let names = |cells: &Self| cells.columns.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        if names(self) != names(other) {
            return Some(format!("columns {:?} and {:?}", names(self), names(other)));
        }
        self.columns.iter().zip(&other.columns).find_map(|((name, ours), (_, theirs))| {
            if ours.len() != theirs.len() {
                return Some(format!("{} and {} rows", ours.len(), theirs.len()));
            }
            let differ = |(one, other): (&Cell, &Cell)| match (one, other) {
                (Cell::Number(one), Cell::Number(other)) => {
                    let apart = (one - other).abs();
                    !(one.to_bits() == other.to_bits() || apart <= tolerance * one.abs().max(1.0))
                }
                (one, other) => one != other,
            };
            let row = ours.iter().zip(theirs).position(differ)?;
            Some(format!("column `{name}`, row {}: {:?} and {:?}", row + 1, ours[row], theirs[row]))
        })
    }
}

fn cells(table: &Table, field: &Field) -> Vec<Cell> {
    let column = table.column(&field.name).expect("a column of the table");
    let number = |value: Option<f64>| value.map_or(Cell::Missing, Cell::Number);
    match field.kind {
        Kind::Numeric | Kind::Boolean | Kind::Datetime => {
            let numbers = column.to_physical_repr().cast(&DataType::Float64).expect("numbers");
            numbers.f64().expect("numbers").iter().map(number).collect()
        }
        Kind::Categorical | Kind::Text => {
            let text = table.strings(&field.name).expect("text");
            text.iter().map(|text| text.map_or(Cell::Missing, |text| Cell::Text(text.to_owned()))).collect()
        }
        Kind::Image | Kind::Audio => (0..column.len())
            .map(|row| column.get(row).map_or(Cell::Missing, |value| Cell::Text(value.to_string())))
            .collect(),
    }
}
