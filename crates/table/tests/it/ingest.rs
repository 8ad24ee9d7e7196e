use retune_spec::data::Data;
use retune_table::{Kind, Role, Table, TableError, Target, Task, ingest, ingest_like};
use serde_json::{Value, json};

use crate::{data, frame, same, texts};

fn take(text: &str, declared: Value) -> Result<Table, TableError> {
    ingest(&frame(text), &data(declared)).map(|(table, _)| table)
}

fn with(rest: Value) -> Value {
    let mut declared = json!({ "target": "y" });
    declared.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    declared
}

#[test]
fn roles_and_kinds_are_told() {
    let text = "id,x,c,t,ok,d,g,when,skip,y\n\
        a,1,red,the first of them,true,2024-01-01,1,1,z,u\n\
        b,2.5,blue,a second one here,false,2024-01-02,1,2,z,v\n\
        c,,red,now the third one,true,,2,3,z,u\n";
    let declared = with(json!({ "id": "id", "ignore": ["skip"], "split": { "group": "g", "time": "when" } }));
    let table = take(text, declared).unwrap();
    let told: Vec<(&str, Role, Kind)> =
        table.schema().fields.iter().map(|field| (field.name.as_str(), field.role, field.kind)).collect();
    let expected = [
        ("#row", Role::RowNumber, Kind::Numeric),
        ("id", Role::Id, Kind::Categorical),
        ("x", Role::Feature, Kind::Numeric),
        ("c", Role::Feature, Kind::Categorical),
        ("t", Role::Feature, Kind::Text),
        ("ok", Role::Feature, Kind::Boolean),
        ("d", Role::Feature, Kind::Datetime),
        ("g", Role::Group, Kind::Numeric),
        ("when", Role::Time, Kind::Numeric),
        ("y", Role::Target, Kind::Categorical),
    ];
    assert_eq!(told, expected);
    assert_eq!(table.schema().task, Some(Task::Classification { labels: vec!["u".into(), "v".into()] }));
}

#[test]
fn kinds_can_be_declared() {
    let text = "a,b,c,d,y\n1,2.0,yes,2024-01-01,0\n2,2.5,no,2024-01-01T10:00,1\n";
    let columns = json!({ "a": "categorical", "b": "text", "c": "boolean", "d": "datetime" });
    let table = take(text, with(json!({ "columns": columns }))).unwrap();
    assert_eq!(texts(&table, "a"), [Some("1"), Some("2")]);
    assert_eq!(texts(&table, "b"), [Some("2"), Some("2.5")]);
    assert_eq!(table.numeric("c").unwrap(), [1.0, 0.0]);
    assert_eq!(table.schema().field("d").unwrap().kind, Kind::Datetime);
}

#[test]
fn the_task_is_told_from_the_target() {
    let rows = |value: fn(usize) -> String, n: usize| -> String {
        (0..n).map(|row| format!("{row},{}\n", value(row))).collect()
    };
    let labels =
        |labels: &[&str]| Task::Classification { labels: labels.iter().map(|&label| label.to_owned()).collect() };
    let few: fn(usize) -> String = |row| (row % 3).to_string();
    let cases = [
        (rows(|row| ["x", "B"][row % 2].into(), 4), json!({}), labels(&["B", "x"])),
        (rows(|row| (row % 2 == 0).to_string(), 4), json!({}), labels(&["false", "true"])),
        (rows(few, 100), json!({}), labels(&["0", "1", "2"])),
        (rows(few, 60), json!({}), Task::Regression),
        (rows(|row| row.to_string(), 1000), json!({}), Task::Regression),
        (rows(|row| format!("{}.5", row % 2), 100), json!({}), Task::Regression),
        (rows(few, 100), json!({ "task": "regression" }), Task::Regression),
        (rows(|row| format!("{}.0", [10, 2][row % 2]), 6), json!({ "task": "classification" }), labels(&["2", "10"])),
        (
            rows(|row| ["10", "2", "-1"][row % 3].into(), 6),
            json!({ "task": "classification" }),
            labels(&["-1", "2", "10"]),
        ),
    ];
    for (rows, declared, expected) in cases {
        let table = take(&format!("x,y\n{rows}"), with(declared)).unwrap();
        assert_eq!(table.schema().task.as_ref(), Some(&expected), "{}", &rows[..20]);
        table.target().unwrap();
    }
    let (_, report) = ingest(&frame(&format!("x,y\n{}", rows(few, 100))), &data(with(json!({})))).unwrap();
    let words = "classification of `y`, 3 labels (because it is an integer of 3 values; if it is a quantity, say `task: regression`)";
    assert_eq!(report.task, words);
}

#[test]
fn bad_data_are_told() {
    let numeric = json!({ "columns": { "x": "numeric" } });
    let fix = "correct them, or add words that stand for a missing value: `null_values: [a]`";
    let finite = "replace infinite values by a number or leave them empty, before retune reads them";
    let vary = "choose another `target`, or more varied rows";
    let once = "name it in one place only";
    let cases = [
        ("x,z\n1,2\n", json!({}), "data.target: no column `y`", "the columns are `x` and `z`"),
        ("x,w\n1,2\n", json!({ "target": "ww" }), "data.target: no column `ww`", "the columns are `x` and `w`"),
        (
            "age,y\n1,2\n",
            json!({ "id": "agee", "columns": { "aeg": "text" } }),
            "data.id: no column `agee`; did you mean `age`?\ndata.columns: no column `aeg`; did you mean `age`?",
            "the columns are `age` and `y`",
        ),
        ("x,y\n1,2\n", json!({ "id": "y" }), "column `y` is both `target` and `id`", once),
        ("x,y\n1,2\n", json!({ "weight": "y" }), "column `y` is both `target` and `weight`", once),
        ("x,y\n1,a\n2,a\n3,a\n", json!({}), "target `y` is `a` in all 3 rows: there is nothing to learn", vary),
        ("x,y\n1,0.5\n2,0.5\n", json!({}), "target `y` is `0.5` in all 2 rows: there is nothing to learn", vary),
        (
            "x,y\n1,a\n2,\n3,b\n4,\n",
            json!({}),
            "target `y` is missing in 2 rows (rows 2, 4)",
            "to leave such rows out: `missing_target: drop`",
        ),
        (
            "x,y\n1,a\n2,\n3,b\n",
            json!({}),
            "target `y` is missing in 1 row (row 2)",
            "to leave such rows out: `missing_target: drop`",
        ),
        (
            "x,y\n1,1.0\n2,2.25\n",
            json!({ "task": "classification" }),
            "target `y` is continuous (2.25 in row 2), where a classification was declared",
            "say `task: regression`, or give labels",
        ),
        (
            "x,y\n1,low\n2,2.25\n",
            json!({ "task": "regression" }),
            "column `y` must be numeric, but holds `low` in row 1",
            "correct them, or say `task: classification`",
        ),
        ("x,y\n1,a\n", json!({}), "1 row to learn from; at least 2 are needed", ""),
        ("x,y\n1,a\n2,\n", json!({ "missing_target": "drop" }), "1 row to learn from; at least 2 are needed", ""),
        ("x,y\n1,a\ninf,b\n-inf,b\n", json!({}), "column `x` is infinite in row 2 (2 rows in all)", finite),
        ("x,y\n1,inf\n2,1.5\n", json!({}), "column `y` is infinite in row 1", finite),
        (
            "x,w,y\n1,1,a\n2,-1,b\n",
            json!({ "weight": "w" }),
            "weight `w` is negative in row 2 (-1)",
            "weights are 0 or more",
        ),
        (
            "x,w,y\n1,1,a\n2,,b\n",
            json!({ "weight": "w" }),
            "weight `w` is missing in row 2",
            "give every row a weight; 0 leaves it out",
        ),
        (
            "x,w,y\n1,0,a\n2,0,b\n",
            json!({ "weight": "w" }),
            "weight `w` is 0 in every row",
            "at least one row must count",
        ),
        ("x,w,y\n1,k,a\n2,0,b\n", json!({ "weight": "w" }), "weight `w` is not numeric", ""),
        (
            "#row,y\n1,a\n2,b\n",
            json!({}),
            "a column is called `#row`, the name that retune keeps for row numbers",
            "rename it",
        ),
        (
            "x,y\na,u\n1,v\nb,u\nc,u\nd,v\n",
            numeric,
            "column `x` must be numeric, but holds `a` in row 1, `b` in row 3, `c` in row 4 and 1 value more",
            fix,
        ),
        (
            "x,y\n2,u\n1,v\n",
            json!({ "columns": { "x": "boolean" } }),
            "column `x` must be boolean, but holds `2` in row 1",
            "write `true` and `false`",
        ),
        (
            "x,y\n1.1.2024,u\n2024-01-01,v\n",
            json!({ "columns": { "x": "datetime" } }),
            "column `x` must be datetime, but holds `1.1.2024` in row 1",
            "write dates as 2024-02-29 or 2024-02-29T12:30",
        ),
    ];
    for (text, declared, message, help) in cases {
        let error = take(text, with(declared)).expect_err(message);
        same(&error, message, help);
    }
}

#[test]
fn types_that_no_step_can_use_are_told() {
    use polars::prelude::*;
    let lists = Series::new("l".into(), [Series::new("".into(), [1_i64, 2]), Series::new("".into(), [3_i64])]);
    let frame = DataFrame::new_infer_height(vec![
        lists.into_column(),
        Series::new("b".into(), [b"\x89PNG".as_slice(), b"\x89PNG".as_slice()]).into_column(),
        Series::new("y".into(), ["a", "b"]).into_column(),
    ])
    .unwrap();
    let take = |rest| ingest(&frame, &data(with(rest)));
    let words = |name: &str| format!("leave it out, `ignore: {name}`, or turn it into numbers or text first");
    same(&take(json!({})).unwrap_err(), "column `l` holds lists or records, which no step can work on", &words("l"));
    let bytes = "say what they are, `columns: { b: image }`, or leave the column out: `ignore: b`";
    same(&take(json!({ "ignore": "l" })).unwrap_err(), "column `b` holds bytes", bytes);
    let (table, _) = take(json!({ "ignore": "l", "columns": { "b": "image" } })).unwrap();
    assert_eq!(table.schema().field("b").unwrap().kind, Kind::Image);
}

#[test]
fn rows_without_a_target_can_be_dropped_and_keep_their_numbers() {
    let declared = data(with(json!({ "missing_target": "drop" })));
    let (table, report) = ingest(&frame("x,z,y\n1,,a\n2,,\nnan,,b\n4,,a\n"), &declared).unwrap();
    assert_eq!((report.rows_read, report.rows_dropped), (4, 1));
    assert_eq!((0..3).map(|row| table.row_number(row)).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(table.column("x").unwrap().null_count(), 1);
    assert_eq!(report.notes, ["column `z` has no value in any row"]);
}

#[test]
fn words_among_numbers_are_noted() {
    let text: String = "x,y\n"
        .chars()
        .chain((0..20).flat_map(|row| {
            format!("{},{}\n", if row == 7 { "NA".into() } else { row.to_string() }, ["a", "b"][row % 2])
                .chars()
                .collect::<Vec<_>>()
        }))
        .collect();
    let (_, report) = ingest(&frame(&text), &data(with(json!({})))).unwrap();
    assert_eq!(report.notes, ["column `x` is text because of `NA`; if they mean a missing value: `null_values: [NA]`"]);
}

#[test]
fn words_among_dates_are_noted() {
    let mut text = "when,y\n".to_owned();
    for day in 1..=20 {
        let when = if day == 7 { "soon".to_owned() } else { format!("2024-02-{day:02}") };
        text += &format!("{when},{}\n", day % 2);
    }
    let (_, report) = ingest(&frame(&text), &data(with(json!({})))).unwrap();
    let expected = "column `when` is text, not dates, because of `soon`; correct it, name it under `null_values`, or take the step `parse_dates`";
    assert_eq!(report.notes, [expected]);
}

#[test]
fn further_files_follow_the_training_rows() {
    let declared: Data = data(with(json!({ "ignore": "skip" })));
    let (train, _) = ingest(&frame("zip,x,y,skip\n00501,1,a,\n90210,2,b,\n"), &declared).unwrap();
    let like = |text: &str| ingest_like(&frame(text), &declared, train.schema());
    let (test, report) = like("more,y,x,zip,skip\n1,b,3.5,10001,1\n2,a,,10002,2\n").unwrap();
    assert_eq!(test.schema(), train.schema());
    assert_eq!(texts(&test, "zip"), [Some("10001"), Some("10002")]);
    assert_eq!(test.target().unwrap(), Target::Classes { codes: vec![1, 0], n_classes: 2 });
    assert_eq!(report.notes, ["not used, as the training rows do not have them: `more`"]);
    let fix = "correct them, or add words that stand for a missing value: `null_values: [q]`";
    let cases = [
        (
            "zip,x,y\n1,1,c\n",
            "target `y` has the label `c` in row 1, which no training row has",
            "the labels are `a` and `b`",
        ),
        (
            "zip,x,y\n1,1,a\n1,1,\n",
            "target `y` is missing in 1 row (row 2)",
            "to leave such rows out: `missing_target: drop`",
        ),
        ("zip,x\n1,1\n", "data.target: no column `y`", ""),
        ("zip,z,y\n1,1,a\n", "the rows lack 1 column: `x`", "they have `zip`, `z` and `y`"),
        ("zip,x,y\n1,q,a\n", "column `x` must be numeric, but holds `q` in row 1", fix),
    ];
    for (text, message, help) in cases {
        same(&like(text).expect_err(message), message, help);
    }
}
