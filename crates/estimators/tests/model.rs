//! Models bound to columns: predictions as tables, columns in another order, storage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use polars::prelude::Column;
use retune_estimators::{FitOptions, Model};
use retune_metrics::Prediction;
use retune_spec::Estimator;
use retune_stage::{Device, Field, Fitted, Kind, Role, Rows, Seed, Silent, Table, Target};
use retune_testing::{classification, regression, round_trip};

fn options() -> FitOptions<'static> {
    FitOptions { seed: Seed(1), threads: 1, device: Device::Cpu, progress: &Silent }
}

/// One of every family that can do the task, quick to train.
fn families(task: &str) -> Vec<Estimator> {
    let words: &[&str] = match task {
        "classification" => &[
            r#"{"logistic_regression": {}}"#,
            r#"{"gradient_boosting": {"trees": 20, "min_rows": 5}}"#,
            r#"{"mlp": {"hidden": [16], "epochs": 40, "learning_rate": 0.01, "batch_size": 32}}"#,
        ],
        _ => &[
            r#"{"linear_regression": {}}"#,
            r#"{"ridge": {}}"#,
            r#"{"gradient_boosting": {"trees": 100, "min_rows": 5}}"#,
            r#"{"mlp": {"hidden": [32], "epochs": 60, "learning_rate": 0.01, "batch_size": 32}}"#,
        ],
    };
    words.iter().map(|word| serde_json::from_str(word).unwrap()).collect()
}

/// The same rows with an id.
fn with_id(table: &Table) -> Rows {
    let field = Field { name: "code".into(), role: Role::Id, kind: Kind::Text, source: None };
    let codes: Vec<String> = (0..table.n_rows()).map(|row| format!("r{row}")).collect();
    Rows::Table(table.replace(&[], vec![(field, Column::new("code".into(), codes))]).unwrap())
}

#[test]
fn every_family_learns_stores_and_finds_its_columns_by_name() {
    for (task, table) in [("classification", classification(300, 4, 3, 1)), ("regression", regression(300, 4, 1))] {
        for estimator in families(task) {
            let word = estimator.word();
            let rows = with_id(&table);
            let (model, _) = Model::fit(&estimator, &rows, &options()).unwrap();
            let design = rows.design().unwrap();
            let prediction = model.predict(&design).unwrap();
            assert!(score(design.target.as_ref().unwrap(), &prediction) > 0.9, "{task} {word}");

            let loaded = round_trip(&model, Model::load).unwrap();
            assert_eq!(loaded.predict(&design).unwrap(), prediction, "{task} {word}");
            assert_eq!((&loaded.input, &loaded.task), (&model.input, &model.task));
            assert_eq!((loaded.estimator(), loaded.describe()), (model.estimator(), model.describe()));

            // The columns in another order, with one that the model has never seen, and without the target.
            let mut moved = design.clone();
            moved.target = None;
            moved.names = ["x3", "x9", "x0", "x2", "x1"].map(String::from).to_vec();
            moved.features = design.features.select(ndarray::Axis(1), &[3, 3, 0, 2, 1]);
            assert_eq!(model.predict(&moved).unwrap(), prediction, "{task} {word}");
            moved.names = ["x3", "x9", "x0", "x7", "x8"].map(String::from).to_vec();
            let error = model.predict(&moved).unwrap_err();
            assert_eq!(
                error.message, "the model needs 2 features that the rows do not have: `x1`, `x2`",
                "{task} {word}"
            );
        }
    }
}

/// Accuracy or the coefficient of determination.
fn score(target: &Target, prediction: &Prediction) -> f64 {
    use retune_metrics::{Truth, score};
    match target {
        Target::Classes { codes, n_classes } => {
            score(retune_spec::Metric::Accuracy, &Truth::Classes { codes, n_classes: *n_classes }, prediction)
        }
        Target::Values(values) => score(retune_spec::Metric::R2, &Truth::Values(values), prediction),
    }
    .unwrap()
}

#[test]
fn predictions_are_a_table_that_carries_row_numbers_and_ids() {
    let rows = with_id(&classification(30, 2, 2, 1));
    let (model, _) = Model::fit(&families("classification")[0], &rows, &options()).unwrap();
    let Rows::Table(out) = model.apply(rows.clone()).unwrap() else { panic!() };
    let names: Vec<&str> = out.schema().fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["#row", "code", "prediction", "probability_a", "probability_b"]);
    assert_eq!(model.output().fields, out.schema().fields[2..]);
    let [a, b] = ["probability_a", "probability_b"].map(|name| out.numeric(name).unwrap());
    for row in 0..30 {
        assert!((a[row] + b[row] - 1.0).abs() < 1e-12);
        let label = out.strings("prediction").unwrap().get(row).unwrap();
        assert_eq!(label, if a[row] >= b[row] { "a" } else { "b" });
    }

    let rows = Rows::Table(regression(30, 2, 1));
    let (model, _) = Model::fit(&families("regression")[0], &rows, &options()).unwrap();
    let Rows::Table(out) = model.apply(rows).unwrap() else { panic!() };
    assert_eq!(out.schema().fields[1..], [Field::feature("prediction", Kind::Numeric)]);
    assert_eq!(out.numeric("prediction").unwrap().len(), 30);
}

#[test]
fn an_id_named_as_a_prediction_is_refused() {
    let table = classification(30, 2, 2, 1);
    let field = Field { name: "prediction".into(), role: Role::Id, kind: Kind::Numeric, source: None };
    let rows = Rows::Table(table.replace(&[], vec![(field, Column::new("prediction".into(), vec![1.0; 30]))]).unwrap());
    let (model, _) = Model::fit(&families("classification")[0], &rows, &options()).unwrap();
    assert_eq!(
        model.apply(rows).err().unwrap().message,
        "the id column `prediction` is named as a column of the predictions"
    );
}
