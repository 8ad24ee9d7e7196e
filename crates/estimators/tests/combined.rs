//! Models of several members, with calibrations and decisions: what they predict, and storage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ndarray::{Array2, Axis, array, concatenate};
use retune_estimators::{Calibrator, Combination, Decision, FitOptions, Knots, Member, Model, Sigmoid};
use retune_metrics::Prediction;
use retune_spec::Estimator;
use retune_spec::model_selection::Encode;
use retune_stage::{Design, Device, Field, Fitted, Kind, LoadDir, Rows, SaveDir, Seed, Silent, Task};
use retune_store::{Artifact, ArtifactWriter};
use retune_testing::{classification, regression, round_trip};
use serde_json::json;

fn options() -> FitOptions<'static> {
    FitOptions { seed: Seed(1), threads: 1, device: Device::Cpu, progress: &Silent }
}

fn fitted(words: &[&str], rows: &Rows) -> Vec<Model> {
    let fit = |word: &&str| Model::fit(&serde_json::from_str(word).unwrap(), rows, &options()).unwrap().0;
    words.iter().map(fit).collect()
}

fn together(models: &[Model], combination: Combination) -> Model {
    let members: Vec<Member> = models.iter().flat_map(|model| model.members().to_vec()).collect();
    Model::together(members, combination, models[0].task.clone(), models[0].input.fields.clone()).unwrap()
}

fn said(models: &[Model], rows: &Design) -> Vec<Prediction> {
    models.iter().map(|model| model.predict(rows).unwrap()).collect()
}

/// What it predicts, after it was stored and loaded too.
fn predicted(model: &Model, rows: &Design) -> Prediction {
    let prediction = model.predict(rows).unwrap();
    let loaded = round_trip(model, Model::load).unwrap();
    assert_eq!(loaded.predict(rows).unwrap(), prediction);
    assert_eq!((loaded.describe(), loaded.output()), (model.describe(), model.output()));
    assert_eq!((loaded.calibration(), loaded.decision()), (model.calibration(), model.decision()));
    prediction
}

const LABELS: [&str; 2] = [r#"{"logistic_regression": {}}"#, r#"{"gradient_boosting": {"trees": 20, "min_rows": 5}}"#];
const VALUES: [&str; 2] = [r#"{"ridge": {"l2": 100}}"#, r#"{"gradient_boosting": {"trees": 20, "min_rows": 5}}"#];

#[test]
fn means_are_weighted() {
    let rows = Rows::Table(classification(200, 3, 3, 1));
    let (models, design) = (fitted(&LABELS, &rows), rows.design().unwrap());
    let [a, b] = [0, 1].map(|model| said(&models, &design)[model].probabilities().unwrap().clone());
    let model = together(&models, Combination::Weighted(vec![0.25, 0.75]));
    let Prediction::Probabilities(mean) = predicted(&model, &design) else { panic!() };
    assert!((mean - (0.25 * a + 0.75 * b)).iter().all(|apart| apart.abs() < 1e-15));
    assert_eq!(model.family(), "logistic_regression + gradient_boosting");
    assert_eq!(model.describe(), "a weighted mean: 0.250 logistic_regression + 0.750 gradient_boosting");

    let rows = Rows::Table(regression(200, 3, 1));
    let (models, design) = (fitted(&VALUES, &rows), rows.design().unwrap());
    let model = together(&models, Combination::Weighted(vec![0.5, 0.5]));
    let Prediction::Values(mean) = predicted(&model, &design) else { panic!() };
    let said = said(&models, &design);
    let [Prediction::Values(a), Prediction::Values(b)] = said.as_slice() else { panic!() };
    assert!(mean.iter().zip(a.iter().zip(b)).all(|(mean, (a, b))| (mean - (a + b) / 2.0).abs() < 1e-12));
}

#[test]
fn a_model_of_predictions_is_stored_with_its_members() {
    for (words, table) in [
        (LABELS, classification(200, 3, 3, 1)),
        (LABELS, classification(200, 3, 2, 1)),
        (VALUES, regression(200, 3, 1)),
    ] {
        let rows = Rows::Table(table);
        let (models, design) = (fitted(&words, &rows), rows.design().unwrap());
        let said = said(&models, &design);
        let stack = Combination::stack(&said, design.target().unwrap(), None, 1.0, &Silent).unwrap();
        let expected = stack.apply(&said).unwrap();
        let model = together(&models, stack);
        assert_eq!(predicted(&model, &design), expected);
        assert!(model.describe().contains(" of the predictions of "), "{}", model.describe());
    }
}

#[test]
fn what_is_calibrated_is_decided_then() {
    let rows = Rows::Table(classification(200, 3, 2, 1));
    let (models, design) = (fitted(&LABELS[..1], &rows), rows.design().unwrap());
    let plain = models[0].predict(&design).unwrap().probabilities().unwrap().clone();
    let calibrators = [
        (
            Calibrator::Platt(vec![Sigmoid { a: -2.0, b: 1.5 }]),
            (|p| 1.0 / (1.0 + (-2.0 * p + 1.5).exp())) as fn(f64) -> f64,
        ),
        (Calibrator::Isotonic(vec![Knots { scores: vec![0.25, 0.75], probabilities: vec![0.2, 0.4] }]), |p| {
            0.2 + 0.4 * (p.clamp(0.25, 0.75) - 0.25)
        }),
        (Calibrator::Temperature(2.0), |p| p.sqrt() / (p.sqrt() + (1.0 - p).sqrt())),
    ];
    for (calibrator, expected) in calibrators {
        let model = models[0].clone().with_calibration(calibrator).unwrap();
        let model = model.with_decision(Decision::Threshold(0.3)).unwrap();
        let Prediction::Decided { probabilities, labels } = predicted(&model, &design) else { panic!() };
        for (row, &label) in labels.iter().enumerate() {
            let second = expected(plain[[row, 1]]);
            // The temperature adds 1e-12 to probabilities.
            assert!((probabilities[[row, 1]] - second).abs() < 1e-5, "{} {second}", probabilities[[row, 1]]);
            assert!((probabilities.row(row).sum() - 1.0).abs() < 1e-12);
            assert_eq!(label, u32::from(probabilities[[row, 1]] >= 0.3));
        }
        assert!(model.describe().ends_with("; `b` from a probability of 0.3000"), "{}", model.describe());
        let Rows::Table(table) = model.apply(rows.clone()).unwrap() else { panic!() };
        let first = table.strings("prediction").unwrap().get(0).map(str::to_owned);
        assert_eq!(first.as_deref(), Some(["a", "b"][labels[0] as usize]));
    }
}

/// What the encoder of the linear member makes of rows is written out by hand beside it; the trees see the rows as they are.
#[test]
fn a_member_sees_rows_as_its_own_family_takes_them() {
    let table = classification(120, 2, 2, 1);
    let mut train = Rows::Table(table.clone()).design().unwrap();
    let gap = |row: usize| row.is_multiple_of(7);
    let kind = |row: usize| (row * row + row / 5) % 3;
    for row in (0..120).filter(|&row| gap(row)) {
        train.features[[row, 0]] = f64::NAN;
    }
    let kinds = Array2::from_shape_fn((120, 1), |(row, _)| kind(row) as f64);
    train.features = concatenate![Axis(1), train.features, kinds];
    train.names.push("kind".to_owned());
    let levels: Vec<String> = ["x", "y", "z"].map(str::to_owned).to_vec();
    train.levels = vec![None, None, Some(levels.into())];

    let mut known: Vec<f64> = train.features.column(0).iter().copied().filter(|value| !value.is_nan()).collect();
    known.sort_by(f64::total_cmp);
    let median = (known[known.len() / 2] + known[(known.len() - 1) / 2]) / 2.0;
    let mut by_count = [0, 1, 2];
    by_count.sort_by_key(|&level| std::cmp::Reverse((0..120).filter(|&row| kind(row) == level).count()));
    let hand = Array2::from_shape_fn((120, 5), |(row, column)| match column {
        0 if gap(row) => median,
        0 => train.features[[row, 0]],
        1 => f64::from(u8::from(gap(row))),
        2 => train.features[[row, 1]],
        _ => f64::from(u8::from(kind(row) == by_count[column - 3])),
    });
    let hand = Design {
        features: hand,
        names: ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(),
        levels: Vec::new(),
        ..train.clone()
    };

    let task = table.schema().task.clone().unwrap();
    let [linear, trees]: [Estimator; 2] = LABELS.map(|word| serde_json::from_str(word).unwrap());
    let encode = Encode { max_levels: 2 };
    let members = [&trees, &linear]
        .map(|family| Member::fit(family, &train, &task, Some(&encode), &options()).unwrap().0)
        .to_vec();
    assert_eq!(members.iter().map(|member| member.encoder.is_some()).collect::<Vec<_>>(), [false, true]);
    let alone = |family: &Estimator, rows: &Design| {
        let (fitted, _) = retune_estimators::fit(family, rows, &task, &options()).unwrap();
        fitted.predict_rows(rows).unwrap().probabilities().unwrap().clone()
    };
    let expected = 0.5 * alone(&trees, &train) + 0.5 * alone(&linear, &hand);
    let mut fields = retune_estimators::learned_fields(table.schema());
    fields.insert(2, Field::feature("kind".to_owned(), Kind::Categorical));
    let model = Model::together(members, Combination::Weighted(vec![0.5, 0.5]), task.clone(), fields).unwrap();
    let model = model.with_levels(train.levels.clone());
    let Prediction::Probabilities(mean) = predicted(&model, &train) else { panic!() };
    assert!((mean - expected).iter().all(|apart| apart.abs() < 1e-12));
}

#[test]
fn weights_of_labels_decide() {
    let probabilities = array![[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8]];
    let decide = |weights: [f64; 3]| {
        Decision::Weights(weights.to_vec()).apply(Prediction::Probabilities(probabilities.clone())).unwrap().labels()
    };
    assert_eq!(decide([1.0, 1.0, 1.0]), [0, 0, 2]);
    assert_eq!(decide([1.0, 2.0, 0.1]), [1, 1, 1]);
    let error = Decision::Threshold(0.5).apply(Prediction::Scores(probabilities)).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("add `calibrate: platt`"));
}

#[test]
fn a_model_of_before_there_were_members_is_read() {
    let rows = Rows::Table(classification(100, 2, 2, 1));
    let model = &fitted(&LABELS[..1], &rows)[0];
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("artifact");
    let writer = ArtifactWriter::beside(&target).unwrap();
    let dir = SaveDir::new(&writer);
    let card = json!({
        "estimator": { "logistic_regression": { "l2": 1.0, "class_weight": "none", "max_iterations": 200, "tolerance": 1e-4 } },
        "task": model.task,
        "features": model.input.fields,
    });
    dir.json("model.json", &card).unwrap();
    model.fitted().save(&dir.child("fitted")).unwrap();
    writer.publish_at(&target, "model", 1, json!({})).unwrap();
    let loaded = Model::load(&LoadDir::new(&Artifact::open(&target).unwrap())).unwrap();
    let design = rows.design().unwrap();
    assert_eq!(loaded.predict(&design).unwrap(), model.predict(&design).unwrap());
    assert!(matches!(loaded.combination(), Combination::Single));
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let rows = Rows::Table(classification(100, 2, 2, 1));
    let model = &fitted(&LABELS[..1], &rows)[0];
    let of = |combination| {
        let parts = (model.members().to_vec(), model.task.clone(), model.input.fields.clone());
        Model::together(parts.0, combination, parts.1, parts.2).err().map(|error| error.message)
    };
    let message = Some("the model's combination does not fit its 1 members".to_owned());
    assert_eq!(of(Combination::Weighted(vec![0.5, 0.5])), message);
    assert_eq!(of(Combination::Weighted(vec![0.5])), message);
    assert_eq!(of(Combination::Single), None);
    let curve = Sigmoid { a: 1.0, b: 0.0 };
    let calibrated = model.clone().with_calibration(Calibrator::Platt(vec![curve; 2])).err().unwrap();
    assert_eq!(calibrated.message, "the model's calibration does not fit its 2 labels");
    let decided = model.clone().with_decision(Decision::Weights(vec![1.0; 3])).err().unwrap();
    assert_eq!(decided.message, "the model's decision does not fit its 2 labels");
}

#[test]
fn scores_have_columns_of_their_own_until_they_are_calibrated() {
    let rows = Rows::Table(classification(100, 2, 2, 1));
    let model = fitted(&[r#"{"linear_svm": {}}"#], &rows).remove(0);
    assert!(matches!(predicted(&model, &rows.design().unwrap()), Prediction::Scores(_)));
    let columns = |model: &Model| {
        let Rows::Table(table) = model.apply(rows.clone()).unwrap() else { panic!() };
        let names: Vec<String> = table.schema().fields.iter().map(|field| field.name.clone()).collect();
        assert_eq!(model.output().fields, table.schema().fields[1..]);
        names[1..].to_vec()
    };
    assert_eq!(columns(&model), ["prediction", "score_a", "score_b"]);
    let scores = said(&[model.clone(), model.clone()], &rows.design().unwrap());
    let error = Combination::Weighted(vec![0.5, 0.5]).apply(&scores).unwrap_err();
    assert!(error.message.starts_with("a mean needs the probabilities of every member"));
    let model = model.with_calibration(Calibrator::Platt(vec![Sigmoid { a: -1.0, b: 0.0 }])).unwrap();
    assert_eq!(columns(&model), ["prediction", "probability_a", "probability_b"]);
    assert!(matches!(model.task, Task::Classification { .. }));
    assert_eq!(*model.estimator(), Estimator::of("linear_svm").unwrap());
}
