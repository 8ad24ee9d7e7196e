//! Cases of fixtures: a step, its training rows and others, and the columns that must come out.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use polars::prelude::{Column, DataFrame};
use retune_preprocessing::PreprocessingStage;
use retune_spec::preprocessing::{Preprocessing, Step};
use retune_stage::{Field, Fit, FitContext, Fitted, Kind, Role, Rows, Schema, Stage, StageError, Table, Task};
use serde_json::{Map, Value};

/// How near to the reference numbers must be where a case has no `tolerance` of its own.
const TOLERANCE: f64 = 1e-9;

/// The stage that has the one step of a case, its training rows and the others. Text is of the kind that the case names, or categorical.
pub fn stage_and_rows(case: &Value) -> (PreprocessingStage, Table, Table) {
    let step: Step = serde_json::from_value(case["step"].clone()).unwrap();
    let kind = if case["kind"] == "text" { Kind::Text } else { Kind::Categorical };
    let (train, other) = (table(&case["train"], kind, case["target"].as_array()), table(&case["other"], kind, None));
    (PreprocessingStage(Preprocessing { steps: vec![step] }), train, other)
}

/// A stage of steps as a pipeline declares them.
pub fn stage(steps: &Value) -> PreprocessingStage {
    PreprocessingStage(Preprocessing { steps: serde_json::from_value(steps.clone()).unwrap() })
}

/// Fits steps on training rows.
pub fn fit(steps: &Value, train: &Table) -> Result<Fit, StageError> {
    stage(steps).fit(Rows::Table(train.clone()), &FitContext::plain(1))
}

/// The cases of a fixture.
pub fn cases(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

/// Fits the step of a case, compares what becomes of both tables, where the case says so, and gives what was fitted.
pub fn assert_case(case: &Value) -> Box<dyn Fitted> {
    let name = case["name"].as_str().unwrap();
    let (stage, train, other) = stage_and_rows(case);
    stage.check(train.schema()).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
    let fit = stage.fit(Rows::Table(train), &FitContext::plain(1)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let applied = fit.fitted.apply(Rows::Table(other)).unwrap();
    let tolerance = case["tolerance"].as_f64().unwrap_or(TOLERANCE);
    // Which rows are in which fold of target_encode is up to the seed: see the tests of that step.
    if !case["step"].as_object().unwrap().contains_key("target_encode") {
        assert_columns_to(tolerance, name, &fit.train, case["expected"]["train"].as_object());
    }
    assert_columns_to(tolerance, name, &applied, case["expected"]["other"].as_object());
    fit.fitted
}

pub fn assert_columns(name: &str, rows: &Rows, expected: Option<&Map<String, Value>>) {
    assert_columns_to(TOLERANCE, name, rows, expected);
}

/// `tolerance` is relative to numbers above 1.
fn assert_columns_to(tolerance: f64, name: &str, rows: &Rows, expected: Option<&Map<String, Value>>) {
    let table = rows.table().unwrap();
    let Some(expected) = expected else { return };
    for (column, values) in expected {
        let ours = table.numeric(column).unwrap_or_else(|error| panic!("{name}: {error}"));
        let values = values.as_array().unwrap();
        assert_eq!(ours.len(), values.len(), "{name}: rows of {column}");
        for (row, (ours, theirs)) in ours.iter().zip(values).enumerate() {
            match theirs.as_f64() {
                None => assert!(ours.is_nan(), "{name}: {column}, row {row}: {ours} instead of missing"),
                Some(theirs) => assert!(
                    (ours - theirs).abs() <= tolerance * theirs.abs().max(1.0),
                    "{name}: {column}, row {row}: {ours} against {theirs}"
                ),
            }
        }
    }
    // Nothing else came out, except what the step let alone.
    let made = table.schema().features().filter(|field| expected.contains_key(&field.name)).count();
    assert_eq!(made, expected.len(), "{name}");
}

/// Compares columns of any kind: text, true and false, numbers, points in time as the seconds since 1970.
pub fn assert_values(name: &str, table: &Table, expected: &Map<String, Value>) {
    for (column, values) in expected {
        let kind = table.schema().field(column).unwrap_or_else(|| panic!("{name}: no column {column}")).kind;
        let ours = table.column(column).unwrap();
        assert_eq!(ours.len(), values.as_array().unwrap().len(), "{name}: rows of {column}");
        let number = |row: usize| match kind {
            Kind::Datetime => ours.to_physical_repr().get(row).unwrap().extract::<f64>().map(|micros| micros / 1e6),
            _ => Some(table.numeric(column).unwrap()[row]),
        };
        for (row, theirs) in values.as_array().unwrap().iter().enumerate() {
            let place = format!("{name}: {column}, row {row}");
            let null = ours.get(row).unwrap().is_null();
            match theirs {
                Value::Null => assert!(null, "{place}: {:?} instead of missing", ours.get(row)),
                Value::String(text) => {
                    assert_eq!(table.strings(column).unwrap().get(row), Some(text.as_str()), "{place}");
                }
                _ => {
                    let theirs = theirs.as_f64().unwrap_or_else(|| f64::from(u8::from(theirs == &Value::Bool(true))));
                    let ours = number(row).filter(|_| !null).unwrap_or(f64::NAN);
                    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{place}: {ours} against {theirs}");
                }
            }
        }
    }
}

/// A table of JSON columns; text is of the given kind, and the target's task is that of its values.
pub fn table(columns: &Value, kind: Kind, target: Option<&Vec<Value>>) -> Table {
    let mut made: Vec<(Field, Column)> = Vec::new();
    for (name, values) in columns.as_object().unwrap() {
        let (column, numeric) = column(name, values.as_array().unwrap());
        made.push((Field::feature(name, if numeric { Kind::Numeric } else { kind }), column));
    }
    let mut task = None;
    if let Some(target) = target {
        let (column, numeric) = column("target", target);
        let mut labels: Vec<String> = target.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect();
        labels.sort();
        labels.dedup();
        task = Some(if numeric { Task::Regression } else { Task::Classification { labels } });
        made.push((Field { role: Role::Target, ..Field::feature("target", kind) }, column));
    }
    let (fields, columns): (Vec<Field>, Vec<Column>) = made.into_iter().unzip();
    let frame = DataFrame::new(columns[0].len(), columns).unwrap();
    Table::new(frame, Schema { fields, task }).unwrap()
}

fn column(name: &str, values: &[Value]) -> (Column, bool) {
    if values.iter().any(Value::is_string) {
        let values: Vec<Option<&str>> = values.iter().map(Value::as_str).collect();
        (Column::new(name.into(), values), false)
    } else {
        let values: Vec<Option<f64>> = values.iter().map(Value::as_f64).collect();
        (Column::new(name.into(), values), true)
    }
}
