//! Steps that make columns of a row's own values, against pandas and polars (`tests/reference/features.py`), and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{assert_values, cases, fit, stage_and_rows};
use polars::prelude::{DataType, TimeUnit};
use retune_stage::{FitContext, Kind, Rows, Stage, Table};
use retune_testing::table;
use serde_json::{Value, json};

/// Microseconds as points in time, where a case says that its numbers are.
fn typed(table: Table, case: &Value) -> Table {
    if case["kind"] != "datetime" {
        return table;
    }
    let mut schema = table.schema().clone();
    schema.fields[0].kind = Kind::Datetime;
    let micros = table.column("x").unwrap().cast(&DataType::Datetime(TimeUnit::Microseconds, None)).unwrap();
    Table::new(table.frame().clone().with_column(micros).unwrap().clone(), schema).unwrap()
}

#[test]
fn columns_are_those_of_the_references() {
    for case in cases(include_str!("fixtures/features.json")) {
        let name = case["name"].as_str().unwrap();
        let (stage, train, other) = stage_and_rows(&case);
        let (train, other) = (typed(train, &case), typed(other, &case));
        stage.check(train.schema()).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        let fit =
            stage.fit(Rows::Table(train), &FitContext::plain(1)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let applied = fit.fitted.apply(Rows::Table(other)).unwrap();
        for (part, rows) in [("train", &fit.train), ("other", &applied)] {
            let expected = case["expected"][part].as_object().unwrap();
            assert_values(&format!("{name}, {part}"), rows.table().unwrap(), expected);
            let made = rows
                .table()
                .unwrap()
                .schema()
                .features()
                .filter(|field| field.source.is_some() || field.name == "made")
                .count();
            assert_eq!(made, expected.len(), "{name}");
        }
    }
}

#[test]
fn new_columns_have_kinds_and_sources() {
    let rows =
        table([("price", [1.0, 2.0].into()), ("weight", [2.0, 0.0].into()), ("city", ["a", "b"].into())]).build();
    let steps = json!([{"derive": {"columns": {"ratio": "price / weight", "half": "price / 2", "same": "half = ratio", "big": "upper(city)", "one": "1"}}}]);
    let fit = fit(&steps, &rows).unwrap();
    let fields: Vec<(&str, Kind, Option<&str>)> = fit
        .fitted
        .output()
        .features()
        .skip(3)
        .map(|field| (field.name.as_str(), field.kind, field.source.as_deref()))
        .collect();
    assert_eq!(
        fields,
        [
            ("ratio", Kind::Numeric, None),
            ("half", Kind::Numeric, Some("price")),
            ("same", Kind::Boolean, None),
            ("big", Kind::Categorical, Some("city")),
            ("one", Kind::Numeric, None),
        ]
    );
    let table = fit.train.table().unwrap();
    let ratio = table.numeric("ratio").unwrap();
    assert!(ratio[0] == 0.5 && ratio[1].is_nan());
    assert_eq!(table.column("same").unwrap().null_count(), 1);
}

#[test]
fn missing_values_are_unknown_as_in_sql() {
    let rows = table([
        ("a", [Some(true), Some(true), Some(true), Some(false), Some(false), Some(false), None, None, None].into()),
        ("b", [Some(true), Some(false), None, Some(true), Some(false), None, Some(true), Some(false), None].into()),
        ("n", [Some(1.0), None, Some(2.0), Some(1.0), None, Some(2.0), Some(1.0), None, Some(2.0)].into()),
    ])
    .build();
    // 1 is true, 0 false, 2 unknown: the truth tables of SQL-92, 8.12.
    for (expression, expected) in [
        ("a AND b", [1, 0, 2, 0, 0, 0, 2, 0, 2]),
        ("a OR b", [1, 1, 1, 1, 0, 2, 1, 2, 2]),
        ("NOT a", [0, 0, 0, 1, 1, 1, 2, 2, 2]),
        ("a IS TRUE", [1, 1, 1, 0, 0, 0, 0, 0, 0]),
        ("a IS NOT FALSE", [1, 1, 1, 0, 0, 0, 1, 1, 1]),
        ("a IS UNKNOWN", [0, 0, 0, 0, 0, 0, 1, 1, 1]),
        ("n IN (1, NULL)", [1, 2, 2, 1, 2, 2, 1, 2, 2]),
        ("n NOT IN (1, NULL)", [0, 2, 2, 0, 2, 2, 0, 2, 2]),
        ("n BETWEEN 2 AND NULL", [0, 2, 2, 0, 2, 2, 0, 2, 2]),
        ("n = NULL", [2; 9]),
    ] {
        let fit = fit(&json!([{"derive": {"columns": {"x": expression}}}]), &rows).unwrap();
        let x = fit.train.table().unwrap().numeric("x").unwrap();
        let found: Vec<i32> = x.into_iter().map(|value| if value.is_nan() { 2 } else { value as i32 }).collect();
        assert_eq!(found, expected, "{expression}");
    }
}

#[test]
fn points_in_time_are_compared_with_dates_in_text() {
    let rows = table([("d", [Some(0), Some(86_400_000_000), None].into())]).kind("d", Kind::Datetime).build();
    for (expression, expected) in [
        ("d < '1970-01-02'", [1.0, 0.0]),
        ("d >= DATE '1970-01-02'", [0.0, 1.0]),
        ("d BETWEEN '1969-12-31T12:00' AND '1970-01-01 00:00:00'", [1.0, 0.0]),
        ("d IN ('1970-01-02', '2000-01-01')", [0.0, 1.0]),
        ("CASE WHEN d > '1970-01-01' THEN d ELSE '2000-01-01' END > '1999-12-31'", [1.0, 0.0]),
    ] {
        let fit = fit(&json!([{"derive": {"columns": {"x": expression}}}]), &rows)
            .unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert_eq!(fit.train.table().unwrap().numeric("x").unwrap()[..2], expected, "{expression}");
    }
}

#[test]
fn expressions_say_what_is_wrong() {
    let rows = table([
        ("n", [1.0, 2.0].into()),
        ("s", ["a", "b"].into()),
        ("f", [true, false].into()),
        ("d", [0_i64, 1].into()),
    ])
    .kind("d", Kind::Datetime)
    .build();
    for (expression, message, help) in [
        (
            "s + 1",
            "`x`: column `s` is text, where a number is needed",
            "turn the column into numbers before: `cast` or `parse_numbers`",
        ),
        ("f * 2", "`x`: column `f` is true or false, where a number is needed", "CAST(... AS DOUBLE) gives 1 and 0"),
        ("n AND f", "`x`: column `n` is a number, where true or false is needed", "write a comparison, such as x > 0"),
        (
            "d + 1",
            "`x`: column `d` is a point in time, where a number is needed",
            "take the column apart before: `datetime_parts`",
        ),
        (
            "f = 1",
            "`x`: column `f` is true or false, `1` is a number",
            "write IS TRUE, or CAST(... AS DOUBLE) for 1 and 0",
        ),
        ("f < TRUE", "`x`: true and false have no order", "compare them by = or <>"),
        ("d > 'soon'", "`x`: `soon` is no date", "write dates as '2024-02-29' or '2024-02-29 12:30'"),
        (
            "CASE WHEN f THEN n ELSE s END",
            "`x`: column `n` is a number, column `s` is text",
            "write text in single quotes, and turn columns of text into numbers before: `cast`",
        ),
        ("d", "`x`: `d` gives a point in time", "a new column holds numbers, true and false, or levels"),
        ("NULL", "`x`: `NULL` gives no value", "a new column holds numbers, true and false, or levels"),
        ("x + 1", "`x`: no column `x` at this step", "did you mean `n`?"),
        (
            "n > (SELECT 1)",
            "`x`: `n > (SELECT 1)` at `SELECT 1`: an expression cannot hold a query: it sees the values of its own row only",
            "join tables before retune reads them",
        ),
    ] {
        let error = fit(&json!([{"derive": {"columns": {"x": expression}}}]), &rows)
            .err()
            .unwrap_or_else(|| panic!("{expression}"));
        assert_eq!(
            (error.message, error.help.as_deref()),
            (format!("step 1 (derive): {message}"), Some(help)),
            "{expression}"
        );
    }
    let error = fit(&json!([{"derive": {"columns": {"n": "1"}}}]), &rows).err().unwrap();
    assert_eq!(error.message, "step 1 (derive): there is a column `n` already");
}

#[test]
fn repeated_and_unordered_parts_give_one_column_each() {
    let rows =
        table([("d", [0_i64, 1].into()), ("t", ["a b", "c"].into())]).kind("d", Kind::Datetime).text("t").build();
    let steps = json!([{"datetime_parts": {"parts": ["hour", "year", "hour"], "keep": true}}, {"text_statistics": {"statistics": ["words", "length", "words"], "keep": false}}]);
    let fit = fit(&steps, &rows).unwrap();
    let names: Vec<&str> = fit.fitted.output().features().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["d", "d_hour", "d_year", "t_length", "t_words"]);
}
