//! Every step against scikit-learn's, from `tests/reference/preprocessing.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use polars::prelude::{Column, DataFrame};
use retune_preprocessing::PreprocessingStage;
use retune_spec::preprocessing::{Preprocessing, Step};
use retune_stage::{Field, FitContext, Fitted, Kind, Role, Rows, Schema, Stage, Table, Task};
use retune_testing::round_trip;
use serde_json::{Map, Value};

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("fixtures/preprocessing.json")).unwrap()
}

#[test]
fn columns_are_those_of_scikit_learn() {
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let step: Step = serde_json::from_value(case["step"].clone()).unwrap();
        let target = case["target"].as_array();
        let kind = if case["kind"] == "text" { Kind::Text } else { Kind::Categorical };
        let (train, other) = (table(&case["train"], kind, target), table(&case["other"], kind, None));
        let stage = PreprocessingStage(Preprocessing { steps: vec![step] });
        stage.check(train.schema()).unwrap();
        let fit =
            stage.fit(Rows::Table(train), &FitContext::plain(1)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let applied = fit.fitted.apply(Rows::Table(other)).unwrap();
        // Which rows are in which fold of target_encode is up to the seed: see the tests of that step.
        if target.is_none() {
            assert_columns(name, &fit.train, case["expected"]["train"].as_object());
        }
        assert_columns(name, &applied, case["expected"]["other"].as_object());
        assert_state(name, &*fit.fitted, &case);
    }
}

/// What a decomposition says of itself.
fn assert_state(name: &str, fitted: &dyn Fitted, case: &Value) {
    let mut saved = Value::Null;
    round_trip(fitted, |dir| {
        saved = dir.json("stage.json")?;
        Ok(())
    })
    .unwrap();
    for (key, tolerance) in
        [("explained_variance", 1e-8), ("explained_variance_ratio", 1e-8), ("singular_values", 1e-6)]
    {
        let Some(expected) = case[key].as_array() else { continue };
        let step = saved["steps"][0].as_object().unwrap().values().next().unwrap();
        for (ours, theirs) in step[key].as_array().unwrap().iter().zip(expected) {
            let (ours, theirs) = (ours.as_f64().unwrap(), theirs.as_f64().unwrap());
            assert!((ours - theirs).abs() <= tolerance * theirs, "{name}: {key} {ours} against {theirs}");
        }
    }
}

fn assert_columns(name: &str, rows: &Rows, expected: Option<&Map<String, Value>>) {
    let table = rows.table().unwrap();
    let Some(expected) = expected else { return };
    for (column, values) in expected {
        let ours = table.numeric(column).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (row, (ours, theirs)) in ours.iter().zip(values.as_array().unwrap()).enumerate() {
            match theirs.as_f64() {
                None => assert!(ours.is_nan(), "{name}: {column}, row {row}: {ours} instead of missing"),
                Some(theirs) => assert!(
                    (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0),
                    "{name}: {column}, row {row}: {ours} against {theirs}"
                ),
            }
        }
    }
    // Nothing else came out, except what the step let alone.
    let made = table.schema().features().filter(|field| expected.contains_key(&field.name)).count();
    assert_eq!(made, expected.len(), "{name}");
}

fn table(columns: &Value, kind: Kind, target: Option<&Vec<Value>>) -> Table {
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
