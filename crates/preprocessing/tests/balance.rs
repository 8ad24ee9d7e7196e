//! Steps that balance labels: what imbalanced-learn promises of them, and that only training rows are touched.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;

use retune_preprocessing::PreprocessingStage;
use retune_spec::preprocessing::Preprocessing;
use retune_stage::{Fit, FitContext, Kind, Role, Rows, Schema, Stage, StageError, Table};
use retune_testing::table;
use serde_json::{Value, json};

fn fit_with(seed: u64, steps: &Value, train: &Table) -> Result<Fit, StageError> {
    let stage = PreprocessingStage(Preprocessing { steps: serde_json::from_value(steps.clone()).unwrap() });
    if let Err(errors) = stage.check(train.schema()) {
        return Err(errors[0].clone());
    }
    stage.fit(Rows::Table(train.clone()), &FitContext::plain(seed))
}

fn fit(steps: &Value, train: &Table) -> Result<Fit, StageError> {
    fit_with(1, steps, train)
}

/// 60 rows of `a`, 25 of `b` and 12 of `c`, or of the first two only.
fn rows(n_labels: usize) -> Table {
    let labels: Vec<&str> = [("a", 60), ("b", 25), ("c", 12)][..n_labels]
        .iter()
        .flat_map(|(label, n)| std::iter::repeat_n(*label, *n))
        .collect();
    let n = labels.len();
    let noise = |row: usize, factor: usize| ((row * factor + row * row * 7) % 101) as f64 / 10.0;
    table([
        ("x", (0..n).map(|row| noise(row, 13)).collect::<Vec<_>>().into()),
        ("whole", (0..n).map(|row| (row * 37 % 50) as i64).collect::<Vec<_>>().into()),
        ("free", (0..n).map(|row| row % 3 == 0).collect::<Vec<_>>().into()),
        ("name", (0..n).map(|row| format!("row {row}")).collect::<Vec<_>>().into()),
        ("label", labels.into()),
    ])
    .role("name", Role::Id)
    .target("label")
    .build()
}

fn counts(rows: &Rows) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for label in rows.table().unwrap().strings("label").unwrap().iter().flatten() {
        *counts.entry(label.to_owned()).or_default() += 1;
    }
    counts
}

fn row_numbers(rows: &Rows) -> Vec<usize> {
    rows.table().unwrap().numeric(Schema::ROW).unwrap().into_iter().map(|row| row as usize).collect()
}

#[test]
fn labels_get_the_rows_that_imbalanced_learn_says() {
    for (step, n_labels, expected, dropped, added, text) in [
        (json!({"random_over_sample": {}}), 3, [60, 60, 60], 0, 83, "repeated 83 training rows of 2 labels"),
        (
            json!({"random_over_sample": {"sampling": 0.75}}),
            2,
            [60, 45, 0],
            0,
            20,
            "repeated 20 training rows of 1 label",
        ),
        (json!({"smote": {}}), 3, [60, 60, 60], 0, 83, "added 83 training rows between those of 2 labels"),
        (json!({"smote": {"sampling": 0.5}}), 2, [60, 30, 0], 0, 5, "added 5 training rows between those of 1 label"),
        (json!({"smote": {"sampling": 1}}), 2, [60, 60, 0], 0, 35, "added 35 training rows between those of 1 label"),
        (json!({"random_under_sample": {}}), 3, [12, 12, 12], 61, 0, "dropped 61 training rows of 2 labels"),
        (
            json!({"random_under_sample": {"sampling": 0.5}}),
            2,
            [50, 25, 0],
            10,
            0,
            "dropped 10 training rows of 1 label",
        ),
    ] {
        let rows = rows(n_labels);
        let fit = fit(&json!([step]), &rows).unwrap_or_else(|error| panic!("{step}: {error}"));
        let counts = counts(&fit.train);
        assert_eq!(["a", "b", "c"].map(|label| counts.get(label).copied().unwrap_or(0)), expected, "{step}");
        let change = &fit.report.rows[0];
        assert_eq!((change.dropped, change.added, change.rows_out()), (dropped, added, fit.train.n_rows()), "{step}");
        assert_eq!(fit.report.learned[0].text, text);
        // Nothing happens to rows that are not learned from.
        let applied = fit.fitted.apply(Rows::Table(rows.clone())).unwrap();
        assert!(applied.table().unwrap().frame().equals_missing(rows.frame()), "{step}");
    }
}

#[test]
fn repeated_rows_are_rows() {
    let rows = rows(3);
    let before = rows.n_rows();
    let fit = fit(&json!([{"random_over_sample": {}}]), &rows).unwrap();
    let numbers = row_numbers(&fit.train);
    assert_eq!(numbers[..before], (1..=before).collect::<Vec<_>>());
    let taken = rows.take(&numbers.iter().map(|number| number - 1).collect::<Vec<_>>()).unwrap();
    assert!(fit.train.table().unwrap().frame().equals_missing(taken.frame()));
    // Drawn among all rows of a label.
    let drawn: std::collections::HashSet<usize> = numbers[before..].iter().copied().collect();
    assert!(drawn.len() > 25, "{}", drawn.len());
}

#[test]
fn kept_rows_are_in_their_order_and_others_with_another_seed() {
    let rows = rows(3);
    let kept = |seed| row_numbers(&fit_with(seed, &json!([{"random_under_sample": {}}]), &rows).unwrap().train);
    assert!(kept(1).is_sorted());
    assert_eq!(kept(1), kept(1));
    assert_ne!(kept(1), kept(2));
    assert_eq!(kept(1)[24..], (86..=97).collect::<Vec<_>>());
}

#[test]
fn synthetic_rows_lie_between_a_row_and_a_neighbour_of_its_label() {
    let rows = rows(3);
    let labels: Vec<String> = rows.strings("label").unwrap().iter().flatten().map(str::to_owned).collect();
    let columns = ["x", "whole", "free"].map(|name| rows.numeric(name).unwrap());
    let at = |row: usize| [0, 1, 2].map(|column| columns[column][row]);
    for neighbours in [1, 3, 30] {
        let fit = fit(&json!([{"smote": {"neighbours": neighbours}}]), &rows).unwrap();
        let train = fit.train.table().unwrap();
        let added = ["x", "whole", "free"].map(|name| train.numeric(name).unwrap());
        let numbers = row_numbers(&fit.train);
        let names: Vec<&str> = train.strings("name").unwrap().iter().flatten().collect();
        for row in rows.n_rows()..train.n_rows() {
            let base = numbers[row] - 1;
            assert_eq!(names[row], format!("row {base}"));
            let mut others: Vec<usize> =
                (0..rows.n_rows()).filter(|&other| other != base && labels[other] == labels[base]).collect();
            let apart = |other: usize| -> f64 { at(base).iter().zip(at(other)).map(|(a, b)| (a - b).powi(2)).sum() };
            others.sort_by(|one, other| apart(*one).total_cmp(&apart(*other)));
            let farthest = apart(others[others.len().min(neighbours) - 1]);
            let new = [added[0][row], added[1][row], added[2][row]];
            let between = |other: &usize| {
                let (from, to) = (at(base), at(*other));
                let column = usize::from(from[0] == to[0]);
                let share = (new[column] - from[column]) / (to[column] - from[column]);
                let whole = if share.is_nan() { 0.0 } else { share };
                let on =
                    |column: usize| (from[column] + whole * (to[column] - from[column]) - new[column]).abs() < 1e-9;
                (0.0..=1.0).contains(&whole) && on(0) && on(1) && (new[2] == from[2] || new[2] == to[2])
            };
            let near = others.iter().filter(|other| apart(**other) <= farthest);
            assert!(near.into_iter().any(between), "row {row} of {neighbours} neighbours");
        }
        // A boolean stays one.
        assert_eq!(fit.fitted.output().field("free").unwrap().kind, Kind::Boolean);
        assert!(train.column("free").unwrap().dtype().is_bool());
    }
}

#[test]
fn weights_are_those_of_scikit_learn() {
    // compute_class_weight("balanced", classes=["a", "b", "c"], y=...) of 60, 25 and 12 rows.
    let expected = [97.0 / (3.0 * 60.0), 97.0 / (3.0 * 25.0), 97.0 / (3.0 * 12.0)];
    let rows = rows(3);
    for (step, expected, text) in [
        (json!({}), expected, "weighed 3 labels from 0.539 to 2.694"),
        (json!({"weights": {"b": 2.5, "c": 0}}), [1.0, 2.5, 0.0], "weighed 3 labels from 0.000 to 2.500"),
    ] {
        let fit = fit(&json!([{"class_weights": step}]), &rows).unwrap();
        assert_eq!(fit.report.learned[0].text, text);
        let train = fit.train.table().unwrap();
        let weights = train.weights().unwrap().unwrap();
        assert_eq!([weights[0], weights[60], weights[96]], expected);
        assert_eq!(train.schema().field("#weight").unwrap().role, Role::Weight);
        let applied = fit.fitted.apply(Rows::Table(rows.clone())).unwrap();
        assert!(applied.table().unwrap().frame().equals_missing(rows.frame()));
    }
    let numbers = rows.drop(&["name".to_owned()]).unwrap();
    let design = fit(&json!([{"class_weights": {}}]), &numbers).unwrap().train.design().unwrap();
    assert_eq!(design.weights.unwrap()[60], expected[1]);
    assert!(design.names.iter().all(|name| name != "#weight"));
}

#[test]
fn weights_that_rows_have_are_multiplied() {
    let rows = table([
        ("x", [1.0, 2.0, 3.0, 4.0].into()),
        ("w", [1.0, 3.0, 2.0, 2.0].into()),
        ("label", ["a", "a", "b", "b"].into()),
    ])
    .role("w", Role::Weight)
    .target("label")
    .build();
    let fit = fit(&json!([{"class_weights": {"weights": {"a": 2}}}, {"class_weights": {}}]), &rows).unwrap();
    // 2, 6, 2, 2 and then 12 / (2 * 8) and 12 / (2 * 4), as compute_class_weight with sample_weight.
    assert_eq!(fit.train.table().unwrap().weights().unwrap().unwrap(), [1.5, 4.5, 3.0, 3.0]);
    assert_eq!(fit.train.schema().fields.iter().filter(|field| field.role == Role::Weight).count(), 1);
}

#[test]
fn labels_of_one_row_and_of_none() {
    // A fold may lack a label.
    let rows = table([("x", [1.0, 2.0, 3.0, 9.0].into()), ("label", ["a", "a", "a", "b"].into())])
        .target("label")
        .labels(["a", "b", "none"])
        .build();
    for (step, expected) in [
        (json!({"random_over_sample": {}}), [3, 3]),
        (json!({"random_under_sample": {}}), [1, 1]),
        (json!({"class_weights": {}}), [3, 1]),
    ] {
        let fit = fit(&json!([step]), &rows).unwrap();
        assert_eq!(["a", "b"].map(|label| counts(&fit.train)[label]), expected, "{step}");
    }
    let error = fit(&json!([{"smote": {}}]), &rows).err().unwrap();
    assert_eq!(error.message, "step 1 (smote): label `b` has 1 training row, which has no neighbour of its label");
    assert_eq!(error.help.as_deref(), Some("use `random_over_sample`, which repeats rows"));
}

#[test]
fn mistakes_have_a_name_and_a_way_out() {
    let (two, three) = (rows(2), rows(3));
    let numbers = table([("x", [1.0, 2.0].into()), ("y", [1.0, 2.0].into())]).target("y").build();
    let words = table([("x", ["u", "v"].into()), ("label", ["a", "b"].into())]).target("label").build();
    let gaps =
        table([("x", [Some(1.0), None, Some(2.0)].into()), ("label", ["a", "b", "b"].into())]).target("label").build();
    for (step, rows, message, help) in [
        (
            json!({"smote": {}}),
            &numbers,
            "the rows have no labels to balance",
            "leave the step out, or set `data.task: classification`",
        ),
        (
            json!({"random_over_sample": {"sampling": 0.5}}),
            &three,
            "a ratio in `sampling` is for two labels, and there are 3",
            "write `sampling: auto`",
        ),
        (
            json!({"random_over_sample": {"sampling": 0.25}}),
            &two,
            "`sampling: 0.25` is below the 0.417 that there are: 25 rows of `b` for 60 of `a`",
            "give a higher `sampling`, or leave the step out",
        ),
        (
            json!({"random_under_sample": {"sampling": 0.25}}),
            &two,
            "`sampling: 0.25` is below the 0.417 that there are: 25 rows of `b` for 60 of `a`",
            "give a higher `sampling`, or leave the step out",
        ),
        (
            json!({"smote": {}}),
            &words,
            "column `x` is categorical; smote works on numeric and boolean columns",
            "encode it before: `one_hot` or `target_encode`; or leave it out under `data.ignore`",
        ),
        (
            json!({"smote": {}}),
            &gaps,
            "column `x` has no value in row 2",
            "fill missing values before: add the step `impute`",
        ),
        (
            json!({"class_weights": {"weights": {"d": 2.0}}}),
            &two,
            "`weights` has the label `d`, which no training row has",
            "the labels are `a`, `b`",
        ),
        (
            json!({"class_weights": {"weights": {"a": -1.0}}}),
            &two,
            "`weights` gives `a` the weight -1",
            "a weight is 0 or more",
        ),
    ] {
        let error = fit(&json!([step]), rows).err().unwrap_or_else(|| panic!("{step}"));
        let word = step.as_object().unwrap().keys().next().unwrap();
        assert_eq!(error.message, format!("step 1 ({word}): {message}"));
        assert_eq!(error.help.as_deref(), Some(help), "{step}");
    }
}
