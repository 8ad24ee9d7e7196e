//! Outliers against numpy's and scikit-learn's, from `tests/reference/outliers.py`, and what becomes of rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{assert_case, cases, stage};
use retune_stage::{Fit, FitContext, Kind, Rows, Schema, Stage, StageError, Table};
use retune_testing::table;
use serde_json::{Value, json};

fn fit(steps: &Value, train: &Table) -> Result<Fit, StageError> {
    if let Err(errors) = stage(steps).check(train.schema()) {
        return Err(errors[0].clone());
    }
    stage(steps).fit(Rows::Table(train.clone()), &FitContext::plain(1))
}

/// Whether each row is flagged as one that would have been dropped.
fn flags(rows: &Rows) -> Vec<bool> {
    let table = rows.table().unwrap();
    table.strings(Schema::FLAGS).unwrap().iter().map(|flags| flags.is_some()).collect()
}

#[test]
fn outliers_are_those_of_numpy_and_scikit_learn() {
    let cases = cases(include_str!("fixtures/outliers.json"));
    for case in cases.iter().filter(|case| case.get("step").is_some()) {
        let fitted = assert_case(case);
        if case["step"]["outliers"]["action"] == "drop" {
            let other = fitted.apply(Rows::Table(common::table(&case["other"], Kind::Categorical, None))).unwrap();
            assert_eq!(json!(flags(&other)), case["flagged"], "{}", case["name"]);
        }
    }
}

#[test]
fn rows_are_accounted_for() {
    // Without an action each method flags; what it flags or drops in training rows is told.
    let values: Vec<f64> = (0..60).map(|row| if row == 7 { 90.0 } else { f64::from(row % 13) }).collect();
    let rows = table([
        ("x", values.iter().map(|value| (*value != 4.0).then_some(*value)).collect::<Vec<_>>().into()),
        ("y", values.iter().map(|value| -value).collect::<Vec<_>>().into()),
        ("flat", vec![1.0; 60].into()),
    ])
    .build();
    let share = 1.0 / 60.0;
    for (step, text, account) in [
        (json!({}), "flagged 2 values in 2 columns, of 1 training row; left 1 column without spread alone", [0, 0, 1]),
        (
            json!({"action": "drop"}),
            "dropped 1 training row for 2 values in 2 columns; left 1 column without spread alone",
            [1, 0, 0],
        ),
        (json!({"action": "clip"}), "clipped 2 values in 2 columns; left 1 column without spread alone", [0, 1, 0]),
        (
            json!({"action": "null"}),
            "made 2 values missing in 2 columns; left 1 column without spread alone",
            [0, 1, 0],
        ),
        (
            json!({"method": "isolation_forest", "contamination": share, "columns": ["y"]}),
            "flagged 1 of 60 training rows",
            [0, 0, 1],
        ),
        (
            json!({"method": "local_outlier_factor", "contamination": share, "columns": ["y"], "action": "drop"}),
            "dropped 1 of 60 training rows",
            [1, 0, 0],
        ),
        (
            json!({"method": "isolation_forest", "contamination": share, "columns": ["y"], "action": "drop"}),
            "dropped 1 of 60 training rows",
            [1, 0, 0],
        ),
    ] {
        let fit = fit(&json!([{"outliers": step}]), &rows).unwrap_or_else(|error| panic!("{step}: {error}"));
        assert_eq!(fit.report.learned[0].text, text, "{step}");
        let change = &fit.report.rows[0];
        assert_eq!([change.dropped, change.changed, change.flagged], account, "{step}");
        assert_eq!(change.rows_out(), fit.train.n_rows(), "{step}");
        let applied = fit.fitted.apply(Rows::Table(rows.clone())).unwrap();
        assert_eq!(applied.n_rows(), 60, "{step}");
        if account[0] == 1 {
            assert!(fit.train.table().unwrap().numeric(Schema::ROW).unwrap().iter().all(|row| *row != 8.0), "{step}");
            assert_eq!(flags(&applied).iter().position(|flagged| *flagged), Some(7), "{step}");
            assert!(flags(&fit.train).iter().all(|flagged| !flagged), "{step}");
            // The column is there whatever the rows.
            assert_eq!(flags(&fit.fitted.apply(Rows::Table(rows.take(&[]).unwrap())).unwrap()).len(), 0);
        }
    }
}

#[test]
fn new_columns_stand_beside_their_own() {
    let rows = table([
        ("x", [1.0, 2.0, 3.0, 4.0, 99.0].into()),
        ("calm", [1.0, 2.0, 3.0, 4.0, 5.0].into()),
        ("y", [-70.0, 2.0, 3.0, 4.0, 5.0].into()),
    ])
    .build();
    let fit = fit(&json!([{"outliers": {"columns": ["x", "calm", "y"]}}]), &rows).unwrap();
    let names: Vec<&str> = fit.fitted.output().features().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["x", "x_outlier", "calm", "y", "y_outlier"]);
    assert_eq!(fit.fitted.output().field("x_outlier").unwrap().source.as_deref(), Some("x"));
    assert_eq!(fit.train.table().unwrap().numeric("y_outlier").unwrap(), [1.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn mistakes_have_a_name_and_a_way_out() {
    let rows = table([
        ("x", [Some(1.0), None, Some(3.0)].into()),
        ("whole", [1.0, 2.0, 3.0].into()),
        ("outlier", [1.0, 2.0, 3.0].into()),
        ("huge", [1e200, -1e200, 3.0].into()),
        ("city", ["a", "b", "c"].into()),
    ])
    .build();
    let one = rows.take(&[0]).unwrap();
    for (step, rows, message, help) in [
        (
            json!({"method": "isolation_forest", "action": "clip"}),
            &rows,
            "`method: isolation_forest` finds rows, and `action: clip` is for values",
            "use `action: drop` or `action: flag`, or a method for values",
        ),
        (
            json!({"trees": 5}),
            &rows,
            "`trees` is not used by `method: iqr`",
            "remove `trees`, or choose a method that uses it: `isolation_forest`",
        ),
        (
            json!({"method": "percentile", "factor": 2.0}),
            &rows,
            "`factor` is not used by `method: percentile`",
            "remove `factor`, or choose a method that uses it: `iqr`, `z_score`, `modified_z_score`",
        ),
        (
            json!({"method": "percentile", "percentiles": [99, 1]}),
            &rows,
            "`percentiles` must be in order, found 99 and 1",
            "write the lower one first",
        ),
        (
            json!({"method": "isolation_forest", "columns": ["whole"]}),
            &rows,
            "there is a column `outlier` already",
            "rename the column of the source, or give the step another `prefix` where it has one",
        ),
        (
            json!({"method": "local_outlier_factor", "action": "drop", "columns": ["whole", "x"]}),
            &rows,
            "column `x` has no value in row 2",
            "fill missing values before: add the step `impute`",
        ),
        (
            json!({"method": "local_outlier_factor", "action": "drop", "columns": ["huge"]}),
            &rows,
            "column `huge` has 1e200 in row 1, which is too large for distances",
            "put `clip_outliers`, `log1p` or `standard_scale` before",
        ),
        (
            json!({"method": "local_outlier_factor", "action": "drop", "columns": ["whole"]}),
            &one,
            "local outlier factors need at least 2 training rows",
            "leave the step out, or use `method: iqr`",
        ),
    ] {
        let error = fit(&json!([{"outliers": step}]), rows).err().unwrap_or_else(|| panic!("{step}"));
        assert_eq!(error.message, format!("step 1 (outliers): {message}"));
        assert_eq!(error.help.as_deref(), Some(help), "{step}");
    }
}
