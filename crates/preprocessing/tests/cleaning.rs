//! Cleaning steps against pandas, polars and scikit-learn (`tests/reference/cleaning.py`), and what no reference has: reports, flags, mistakes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{assert_values, cases, fit, stage, stage_and_rows};
use retune_stage::{Fit, FitContext, Kind, Rows, Schema, Stage, Table};
use retune_testing::table;
use serde_json::{Value, json};

fn apply(fit: &Fit, rows: &Table) -> Table {
    fit.fitted.apply(Rows::Table(rows.clone())).unwrap().table().unwrap().clone()
}

fn error(steps: &Value, rows: &Table) -> (String, Option<String>) {
    let error = fit(steps, rows).err().unwrap_or_else(|| panic!("{steps} is fitted"));
    (error.message, error.help)
}

fn names(table: &Table) -> Vec<String> {
    table.schema().features().map(|field| field.name.clone()).collect()
}

fn texts<'a>(table: &'a Table, name: &str) -> Vec<Option<&'a str>> {
    table.strings(name).unwrap().iter().collect()
}

#[test]
fn columns_are_those_of_the_references() {
    for case in cases(include_str!("fixtures/cleaning.json")) {
        let name = case["name"].as_str().unwrap();
        let (stage, train, other) = stage_and_rows(&case);
        stage.check(train.schema()).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        let fit = stage
            .fit(Rows::Table(train.clone()), &FitContext::plain(1))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let [left, applied] = [fit.train.table().unwrap().clone(), apply(&fit, &other)];
        for (part, table) in [("train", &left), ("other", &applied)] {
            if let Some(expected) = case["expected"][part].as_object() {
                assert_values(&format!("{name}, {part}"), table, expected);
            }
        }
        if let Some(columns) = case["columns"].as_array() {
            assert_eq!(json!(names(&left)), json!(columns), "{name}");
        }
        if let Some(kept) = case["kept"].as_array() {
            let kept: Vec<usize> = kept.iter().map(|row| row.as_u64().unwrap() as usize).collect();
            // What is dropped in training is flagged elsewhere.
            let applied = apply(&fit, &train);
            let unflagged: Vec<usize> = match applied.schema().field(Schema::FLAGS) {
                Some(_) => texts(&applied, Schema::FLAGS)
                    .iter()
                    .enumerate()
                    .filter(|(_, flag)| flag.is_none())
                    .map(|(row, _)| row)
                    .collect(),
                None => (0..applied.n_rows()).collect(),
            };
            assert_eq!((left.n_rows(), &unflagged), (kept.len(), &kept), "{name}");
        }
    }
}

#[test]
fn reports_tell_what_was_done() {
    let rows = table([
        ("id", (0..24).map(|row| format!("u{row}")).collect::<Vec<_>>().into()),
        ("nr", (0..24_i64).map(|row| 1000 + row).collect::<Vec<_>>().into()),
        ("amount", (0..24_i64).map(|row| row * row * 977 % 10_007 * 13).collect::<Vec<_>>().into()),
        ("flat", vec![1.0; 24].into()),
        ("gone", (0..24).map(|row| (row == 7).then_some(1.0)).collect::<Vec<_>>().into()),
        (
            "city",
            (0..24)
                .map(|row| ["Lyon", "lyon ", "Lyyon", "Oslo", "type 1", "type 2"][row % 6])
                .collect::<Vec<_>>()
                .into(),
        ),
        ("price", (0..24).map(|row| ["1.234,50 EUR", "12 %", "7,5", "3k"][row % 4]).collect::<Vec<_>>().into()),
        ("level", (0..24).map(|row| ["1", "NA", "2", " ? "][row % 4]).collect::<Vec<_>>().into()),
        ("code", (0..24).map(|row| ["01", "NA", "02", "?"][row % 4]).collect::<Vec<_>>().into()),
        ("when", (0..24).map(|row| if row < 2 { "soon" } else { "2024-02-29" }).collect::<Vec<_>>().into()),
    ])
    .build();
    for (steps, text) in [
        (json!({"drop_missing": {"columns": 0.5}}), "dropped 1 column: `gone (96 % missing)`"),
        (
            json!({"drop_missing": {"columns": 0.5, "rows": 0}}),
            "dropped 1 column: `gone (96 % missing)` and 0 training rows",
        ),
        (json!({"drop_constant": {}}), "dropped 1 column of one value: `flat`"),
        (json!({"drop_identifiers": {}}), "dropped 2 identifiers: `id (100.0 % distinct)` and `nr (100.0 % distinct)`"),
        (json!({"drop_identifiers": {"min_rows": 25}}), "no column identifies rows"),
        (json!({"filter_rows": {"where": "nr < 1010"}}), "dropped 14 training rows for which `nr < 1010` is not true"),
        (
            json!({"merge_categories": {"columns": "city", "similarity": 0.8}}),
            "merged 2 levels into others in 1 column: `lyon ` and `Lyyon` into `Lyon`",
        ),
        (
            json!({"parse_numbers": {"columns": "price", "multipliers": {"k": 1000}}}),
            "read 1 column as numbers, leaving out `EUR`",
        ),
        (json!({"parse_numbers": {"columns": ["price"]}}), "read 1 column as numbers, leaving out `EUR` and `k`"),
        (
            json!({"null_tokens": {"columns": ["level", "code"]}}),
            "made 24 values missing in 2 columns; `level` now hold numbers only (`parse: true` would turn them into a numeric column)",
        ),
        (
            json!({"null_tokens": {"columns": ["level", "code"], "parse": true}}),
            "made 24 values missing in 2 columns; turned `level` into numbers",
        ),
        (
            json!({"parse_dates": {"columns": "when", "unparsed": "null"}}),
            "read 1 column as dates; 2 values could not be read and are missing now: column `when` `soon` in row 1, `soon` in row 2",
        ),
        (json!({"cast": {"columns": ["nr", "flat"], "to": "text"}}), "turned 2 columns into text"),
    ] {
        let fit = fit(&json!([steps]), &rows).unwrap_or_else(|error| panic!("{steps}: {error}"));
        assert_eq!(fit.report.learned[0].text, text, "{steps}");
    }
}

#[test]
fn mistakes_name_rows_and_the_way_out() {
    let rows = table([
        ("n", [1.0, 2.5, 3.0, 4.0].into()),
        ("x", ["1", "abc", "2", "def"].into()),
        ("d", ["2024-02-29", "03/04/2024", "soon", "2024-01-01"].into()),
        ("p", ["1.5", "1,5", "2", "3"].into()),
        ("t", ["a", "b", "a", "b"].into()),
    ])
    .target("t")
    .build();
    for (steps, message, help) in [
        (
            json!({"cast": {"columns": "x", "to": "numeric"}}),
            "column `x` has 2 values that cannot be read as numbers: `abc` in row 2, `def` in row 4",
            "numbers with units or other marks are read by `parse_numbers`, words for a missing value taken out by `null_tokens`; or set `unparsed: null`",
        ),
        (
            json!({"cast": {"columns": "n", "to": "integer"}}),
            "column `n` has 1 value that cannot be read as whole numbers: `2.5` in row 2",
            "correct them by `replace_values`, or set `unparsed: null` for missing values",
        ),
        (
            json!({"parse_dates": {"columns": "d"}}),
            "column `d` has 2 values that cannot be read as dates: `03/04/2024` in row 2, `soon` in row 3",
            "give their form: `formats: [\"%d/%m/%Y\"]`, or set `unparsed: null` for missing values",
        ),
        (
            json!({"parse_dates": {"columns": "d", "formats": ["%Y-%m"]}}),
            "the format `%Y-%m` does not give a whole date",
            "a date needs `%Y`, `%m` and `%d`, or `%Y` and `%j`, or `%s`",
        ),
        (
            json!({"parse_numbers": {"columns": "p"}}),
            "column `p` has `1.5` in row 1 and `1,5` in row 2: the decimal mark is not the same",
            "set `decimal: point` or `decimal: comma`; values that then cannot be read are reported",
        ),
        (
            json!({"replace_values": {"columns": ["n", "x"], "values": {"old": "new"}}}),
            "`values` has `old`, and column `n` is numeric, which holds numbers only",
            "give such columns a step `replace_values` of their own, or turn them into text before: `cast`",
        ),
        (
            json!({"drop_missing": {}}),
            "`drop_missing` says neither which rows nor which columns go",
            "give a share of missing values: `rows: 0.5`, `columns: 0.9`, or both",
        ),
        (
            json!({"cast": {"columns": "n", "to": "datetime"}}),
            "column `n` holds numbers, which are no dates by themselves",
            "turn them into text before, `cast: { to: text }`, and read that by a format: `parse_dates`, where `%s` is seconds since 1970",
        ),
        (
            json!({"filter_rows": {"where": "n > 1 AND"}}),
            "`n > 1 AND`: not valid SQL: expected an expression, found its end",
            "",
        ),
        (json!({"filter_rows": {"where": "nn > 1"}}), "no column `nn` at this step", "did you mean `n`?"),
        (
            json!({"filter_rows": {"where": "x = \"abc\""}}),
            "no column `abc` at this step",
            "text stands in single quotes: 'abc'",
        ),
        (json!({"filter_rows": {"where": "t = 'a'"}}), "column `t` is not a feature: it is the target", ""),
        (
            json!({"filter_rows": {"where": "n + 1"}}),
            "`n + 1` gives a number, not true or false",
            "write a condition such as \"age >= 18\"",
        ),
        (
            json!({"filter_rows": {"where": "x > 1"}}),
            "column `x` is text, `1` is a number",
            "write text in single quotes, and turn columns of text into numbers before: `cast`",
        ),
        (
            json!({"filter_rows": {"where": "n > 9"}}),
            "the step leaves no training row",
            "every training row is one that it drops: change its condition or limits",
        ),
    ] {
        let word = steps.as_object().unwrap().keys().next().unwrap();
        let expected = (format!("step 1 ({word}): {message}"), (!help.is_empty()).then(|| help.to_owned()));
        assert_eq!(error(&json!([steps]), &rows), expected, "{steps}");
    }
}

#[test]
fn values_that_cannot_be_read_are_counted_over_all_rows() {
    let rows = table([(
        "x",
        (0..150_000).map(|row| if row % 20_000 == 19_999 { "abc" } else { "1" }).collect::<Vec<_>>().into(),
    )])
    .build();
    let (message, _) = error(&json!([{"cast": {"columns": "x", "to": "numeric"}}]), &rows);
    assert_eq!(
        message,
        "step 1 (cast): column `x` has 7 values that cannot be read as numbers: `abc` in row 20000, `abc` in row 40000, `abc` in row 60000, `abc` in row 80000, `abc` in row 100000 and 2 more"
    );
}

#[test]
fn rows_to_predict_are_flagged_with_every_step_that_would_drop_them() {
    let rows = table([
        ("a", [Some(1.0), None, Some(3.0), Some(9.0)].into()),
        ("b", [Some(1.0), Some(2.0), None, Some(9.0)].into()),
    ])
    .build();
    let fit = fit(&json!([{"filter_rows": {"where": "a < 5"}}, {"drop_missing": {"rows": 0}}]), &rows).unwrap();
    assert_eq!(fit.train.n_rows(), 1);
    let changes: Vec<_> =
        fit.report.rows.iter().map(|change| (change.step.as_str(), change.rows_in, change.dropped)).collect();
    assert_eq!(changes, [("filter_rows", 4, 2), ("drop_missing", 2, 1)]);
    let applied = apply(&fit, &rows);
    assert_eq!(
        texts(&applied, Schema::FLAGS),
        [None, Some("filter_rows; drop_missing"), Some("drop_missing"), Some("filter_rows")]
    );
    assert_eq!(names(&applied), ["a", "b"]);
}

#[test]
fn spellings_become_the_most_frequent_one() {
    let train =
        table([("x", ["Lyon", "Lyon", "LYON", " lyon", "Lyonn", "Oslo", "Osl", "Region 10", "Region 11"].into())])
            .build();
    let other = table([(
        "x",
        [Some("lYoN"), Some("Lionn"), Some("Oslö"), Some("Region 12"), None, Some("OSLO"), Some("Bonn")].into(),
    )])
    .build();
    for (step, of_train, of_other) in [
        (
            json!({"similarity": 0.8}),
            vec!["Lyon", "Lyon", "Lyon", "Lyon", "Lyon", "Oslo", "Osl", "Region 10", "Region 11"],
            vec![Some("Lyon"), Some("Lionn"), Some("Oslö"), Some("Region 12"), None, Some("Oslo"), Some("Bonn")],
        ),
        (
            json!({"similarity": 0.75}),
            vec!["Lyon", "Lyon", "Lyon", "Lyon", "Lyon", "Osl", "Osl", "Region 10", "Region 11"],
            vec![Some("Lyon"), Some("Lionn"), Some("Osl"), Some("Region 12"), None, Some("Osl"), Some("Bonn")],
        ),
        (
            json!({"similarity": 1.0}),
            vec!["Lyon", "Lyon", "Lyon", "Lyon", "Lyonn", "Oslo", "Osl", "Region 10", "Region 11"],
            vec![Some("Lyon"), Some("Lionn"), Some("Oslö"), Some("Region 12"), None, Some("Oslo"), Some("Bonn")],
        ),
    ] {
        let fit = fit(&json!([{"merge_categories": step}]), &train).unwrap();
        let of_train: Vec<Option<&str>> = of_train.into_iter().map(Some).collect();
        assert_eq!(texts(fit.train.table().unwrap(), "x"), of_train, "{step}");
        assert_eq!(texts(&apply(&fit, &other), "x"), of_other, "{step}");
    }
}

#[test]
fn numbers_in_text_have_percents_and_multipliers() {
    let rows = table([("x", ["12 %", "3k", "-2 Mio", "(5)", "7 kg", "1e3"].into())]).build();
    for (step, expected) in [
        (json!({"multipliers": {"k": 1000, "Mio": 1e6}}), [0.12, 3000.0, -2e6, -5.0, 7.0, 1000.0]),
        (json!({"percent": "number"}), [12.0, 3.0, -2.0, -5.0, 7.0, 1000.0]),
    ] {
        let mut step = step;
        step["columns"] = json!("x");
        let fit = fit(&json!([{"parse_numbers": step}]), &rows).unwrap();
        assert_eq!(fit.train.table().unwrap().numeric("x").unwrap(), expected);
    }
}

#[test]
fn the_decimal_mark_is_learned_from_training_rows() {
    let train = table([("x", ["1,5", "1.234", "2"].into())]).build();
    let fit = fit(&json!([{"parse_numbers": {"columns": "x"}}]), &train).unwrap();
    assert_eq!(fit.train.table().unwrap().numeric("x").unwrap(), [1.5, 1234.0, 2.0]);
    let other = table([("x", ["1.234"].into())]).build();
    assert_eq!(apply(&fit, &other).numeric("x").unwrap(), [1234.0]);
    let wrong = table([("x", ["1.5"].into())]).build();
    let message = fit.fitted.apply(Rows::Table(wrong)).err().unwrap().message;
    assert_eq!(
        message,
        "step 1 (parse_numbers): column `x` has 1 value that cannot be read as numbers: `1.5` in row 1"
    );
}

#[test]
fn every_kind_becomes_every_other_that_it_can() {
    let rows = table([
        ("number", [Some(1.0), Some(0.0), None].into()),
        ("level", [Some("1"), Some("no"), None].into()),
        ("flag", [Some(true), Some(false), None].into()),
        ("when", [Some(86_400_000_000), Some(1_500_000), None].into()),
    ])
    .kind("when", Kind::Datetime)
    .build();
    let text = |column: &str, to: &str| {
        let fit = fit(&json!([{"cast": {"columns": column, "to": to, "unparsed": "null"}}]), &rows).unwrap();
        texts(fit.train.table().unwrap(), column).iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
    };
    let owned = |texts: [&str; 2]| vec![Some(texts[0].to_owned()), Some(texts[1].to_owned()), None];
    for (column, expected) in [
        ("number", ["1", "0"]),
        ("level", ["1", "no"]),
        ("flag", ["true", "false"]),
        ("when", ["1970-01-02", "1970-01-01T00:00:01.500000"]),
    ] {
        assert_eq!(text(column, "categorical"), owned(expected));
        assert_eq!(text(column, "text"), owned(expected));
    }
    let number = |column: &str, to: &str| {
        let fit = fit(&json!([{"cast": {"columns": column, "to": to, "unparsed": "null"}}]), &rows).unwrap();
        let numbers = fit.train.table().unwrap().numeric(column).unwrap();
        numbers.into_iter().map(|number| (!number.is_nan()).then_some(number)).collect::<Vec<_>>()
    };
    for (column, to, expected) in [
        ("number", "boolean", [Some(1.0), Some(0.0), None]),
        ("number", "integer", [Some(1.0), Some(0.0), None]),
        ("level", "boolean", [Some(1.0), Some(0.0), None]),
        ("level", "integer", [Some(1.0), None, None]),
        ("flag", "numeric", [Some(1.0), Some(0.0), None]),
        ("flag", "boolean", [Some(1.0), Some(0.0), None]),
    ] {
        assert_eq!(number(column, to), expected, "{column} to {to}");
    }
}

#[test]
fn words_for_a_missing_value_leave_other_columns_alone() {
    let train = table([
        ("zip", ["00501", "?", "10001"].into()),
        ("plain", ["1", "2", "3"].into()),
        ("age", ["31", "NA", "8"].into()),
    ])
    .build();
    let fit = fit(&json!([{"null_tokens": {"parse": true}}]), &train).unwrap();
    let kinds: Vec<Kind> = fit.fitted.output().features().map(|field| field.kind).collect();
    assert_eq!(kinds, [Kind::Categorical, Kind::Categorical, Kind::Numeric]);
    assert_eq!(texts(fit.train.table().unwrap(), "zip"), [Some("00501"), None, Some("10001")]);
    let wrong = table([("zip", ["x"].into()), ("plain", ["1"].into()), ("age", ["old"].into())]).build();
    let message = fit.fitted.apply(Rows::Table(wrong)).err().unwrap().message;
    assert_eq!(message, "step 1 (null_tokens): column `age` held numbers in the training rows and has `old` in row 1");
    // What follows may name the columns, whatever they become.
    stage(&json!([{"null_tokens": {"parse": true}}, {"standard_scale": {"columns": "age"}}, {"one_hot": {"columns": ["zip", "plain"]}}]))
        .check(train.schema())
        .unwrap();
}
