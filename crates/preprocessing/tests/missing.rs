//! Steps for missing values against scikit-learn's and pandas', from `tests/reference/missing.py`, and what they say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{assert_case, cases};
use retune_preprocessing::PreprocessingStage;
use retune_spec::preprocessing::Preprocessing;
use retune_stage::{Fit, FitContext, Kind, Role, Rows, Stage, StageError, Table};
use retune_testing::table;
use serde_json::{Value, json};

fn fit(steps: &Value, train: &Table) -> Result<Fit, StageError> {
    let stage = PreprocessingStage(Preprocessing { steps: serde_json::from_value(steps.clone()).unwrap() });
    if let Err(errors) = stage.check(train.schema()) {
        return Err(errors[0].clone());
    }
    stage.fit(Rows::Table(train.clone()), &FitContext::plain(1))
}

#[test]
fn columns_are_those_of_scikit_learn_and_pandas() {
    cases(include_str!("fixtures/missing.json")).iter().for_each(|case| drop(assert_case(case)));
}

#[test]
fn values_of_every_kind_are_taken_from_the_row_before() {
    let rows = table([
        ("number", [Some(1), None, Some(3), None].into()),
        ("flag", [Some(true), None, None, Some(false)].into()),
        ("level", [None, Some("a"), None, Some("b")].into()),
        ("when", [Some(10), None, None, Some(40)].into()),
        ("patient", ["p", "p", "q", "p"].into()),
    ])
    .kind("when", Kind::Datetime)
    .role("patient", Role::Group)
    .build();
    let fit = fit(&json!([{"fill_missing": {"by": "patient"}}]), &rows).unwrap();
    let filled = fit.train.table().unwrap();
    assert_eq!(format!("{:?}", filled.numeric("number").unwrap()), "[1.0, 1.0, 3.0, 1.0]");
    assert_eq!(format!("{:?}", filled.numeric("flag").unwrap()), "[1.0, 1.0, NaN, 0.0]");
    assert_eq!(format!("{:?}", filled.numeric("when").unwrap()), "[10.0, 10.0, NaN, 40.0]");
    assert_eq!(filled.strings("level").unwrap().iter().collect::<Vec<_>>(), [None, Some("a"), None, Some("b")]);
    assert_eq!(fit.report.learned[0].text, "filled 4 missing values; 4 had none to take");
    assert_eq!((fit.report.rows[0].changed, fit.report.rows[0].rows_out()), (2, 4));
}

#[test]
fn rows_beyond_a_piece_are_filled_and_counted() {
    let n = 40_000;
    let values: Vec<Option<f64>> = (0..n).map(|row| (row == 0).then_some(7.0)).collect();
    let fit = fit(&json!([{"fill_missing": {}}]), &table([("x", values.into())]).build()).unwrap();
    assert_eq!(fit.train.table().unwrap().column("x").unwrap().null_count(), 0);
    assert_eq!(fit.report.rows[0].changed, n - 1);
}

#[test]
fn what_was_filled_is_told() {
    let rows = table([
        ("x", [Some(1.0), None, Some(3.0), Some(4.5)].into()),
        ("y", [Some(1.0), Some(2.0), None, None].into()),
        ("whole", [Some(1.0), Some(2.0), Some(3.0), Some(4.0)].into()),
    ])
    .build();
    for (step, text, n_changed) in [
        (json!({"knn_impute": {}}), "filled 3 missing values from the 5 nearest of 4 training rows", 3),
        (
            json!({"iterative_impute": {"rounds": 1}}),
            "filled 3 missing values by regressions on the other columns in 1 round, in which they did not settle",
            3,
        ),
        (json!({"missing_indicator": {}}), "marked 3 missing values in 2 columns", 0),
    ] {
        let fit = fit(&json!([step]), &rows).unwrap();
        assert_eq!(fit.report.learned[0].text, text);
        assert_eq!(fit.report.rows.iter().map(|change| change.changed).sum::<usize>(), n_changed, "{step}");
    }
}

#[test]
fn mistakes_have_a_name_and_a_way_out() {
    let rows = table([
        ("x", [Some(1.0), None, Some(3.0)].into()),
        ("empty", [None::<f64>, None, None].into()),
        ("huge", [Some(1e200), Some(-1e200), None].into()),
        ("city", ["a", "b", "c"].into()),
    ])
    .build();
    let leave_out = "leave it out of `columns`, or list it under `data.ignore`";
    for (step, message, help) in [
        (
            json!({"knn_impute": {"columns": ["x", "empty"]}}),
            "column `empty` has no value in any training row to fill missing ones by",
            leave_out,
        ),
        (
            json!({"iterative_impute": {"columns": ["x", "empty"]}}),
            "column `empty` has no value in any training row to fill missing ones by",
            leave_out,
        ),
        (
            json!({"knn_impute": {"columns": ["x", "huge"]}}),
            "column `huge` has 1e200 in row 1, which is too large for distances",
            "put `clip_outliers`, `log1p` or `standard_scale` before",
        ),
        (
            json!({"iterative_impute": {"columns": ["x", "huge"]}}),
            "the numbers are too large for regressions",
            "scale the columns before: `standard_scale`",
        ),
        (json!({"fill_missing": {"by": ["cty"]}}), "no column `cty` at this step", "did you mean `city`?"),
        (
            json!({"fill_missing": {"order_by": "day"}}),
            "no column `day` at this step",
            "it is no column of the data, or an earlier step replaced it",
        ),
    ] {
        let error = fit(&json!([step]), &rows).err().unwrap_or_else(|| panic!("{step}"));
        let word = step.as_object().unwrap().keys().next().unwrap();
        assert_eq!(error.message, format!("step 1 ({word}): {message}"));
        assert_eq!(error.help.as_deref(), Some(help), "{step}");
    }
}

#[test]
fn rows_to_predict_need_the_column_that_orders_them() {
    let rows = table([("x", [Some(1.0), None].into()), ("day", [1.0, 2.0].into())]).role("day", Role::Time).build();
    let fit = fit(&json!([{"fill_missing": {"order_by": "day"}}]), &rows).unwrap();
    let other = table([("x", [Some(1.0), None].into())]).build();
    let error = fit.fitted.apply(Rows::Table(other)).err().unwrap();
    assert_eq!(error.message, "step 1 (fill_missing): the rows lack the column `day`");
    assert_eq!(error.help.as_deref(), Some("`by` and `order_by` need their columns wherever the step is applied"));
}

#[test]
fn columns_that_say_the_same_do_not_break_a_regression() {
    let values: Vec<f64> = (0..50).map(|row| 1e8 * f64::from(row)).collect();
    let gaps = |every: usize| -> Vec<Option<f64>> {
        values.iter().enumerate().map(|(row, value)| (row % every != 1).then_some(*value)).collect()
    };
    let rows = table([("a", values.clone().into()), ("b", gaps(5).into()), ("c", gaps(7).into())]).build();
    let fit = fit(&json!([{"iterative_impute": {}}]), &rows).unwrap();
    for name in ["b", "c"] {
        let filled = fit.train.table().unwrap().numeric(name).unwrap();
        assert!(filled.iter().zip(&values).all(|(ours, theirs)| (ours - theirs).abs() < 1e-7 * 5e9), "{filled:?}");
    }
}
