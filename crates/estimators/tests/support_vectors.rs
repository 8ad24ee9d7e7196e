//! Support vector machines against scikit-learn's, from `tests/reference/support_vectors.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shared;

use ndarray::{Array1, ArrayView1, Axis, s};
use retune_estimators::{FittedLinearSvm, FittedModel, FittedSvm, Learned};
use retune_metrics::Prediction;
use retune_stage::{Design, LoadDir, SaveDir, Target};
use retune_store::{Artifact, ArtifactWriter};
use serde_json::{Value, json};
use shared::{assert_close, cases, design, learn, made, matrix, numbers};

const FIXTURE: &str = include_str!("fixtures/support_vectors.json");

/// The hyperparameters of a case, with a tolerance.
fn spec(case: &Value, tolerance: f64, max_iterations: usize) -> Value {
    let mut spec = case["spec"].clone();
    spec["tolerance"] = json!(tolerance);
    spec["max_iterations"] = json!(max_iterations);
    spec
}

fn linear(spec: Value, rows: &Design) -> (FittedLinearSvm, Vec<String>) {
    let (FittedModel::LinearSvm(model), info) = learn(json!({"linear_svm": spec}), rows).unwrap() else { panic!() };
    (model, info.notes)
}

fn kernel(spec: Value, rows: &Design) -> (FittedSvm, Vec<String>) {
    let (FittedModel::Svm(model), info) = learn(json!({"svm": spec}), rows).unwrap() else { panic!() };
    (model, info.notes)
}

/// Half the squared norm plus `c` times the losses of an output.
fn objective(case: &Value, rows: &Design, coefficients: ArrayView1<f64>, intercept: f64, output: usize) -> f64 {
    let spec = &case["spec"];
    let n_classes = case["n_classes"].as_u64().unwrap_or(0) as u32;
    let (c, epsilon) = (spec["c"].as_f64().unwrap_or(1.0), spec["epsilon"].as_f64().unwrap_or(0.0));
    let scores = rows.features.dot(&coefficients) + intercept;
    let loss = |row: usize| {
        let (loss, weight) = match rows.target.as_ref().unwrap() {
            Target::Values(values) => ((scores[row] - values[row]).abs() - epsilon, 1.0),
            Target::Classes { codes, .. } => {
                let is_own = codes[row] == if n_classes == 2 { 1 } else { output as u32 };
                let n_same = codes.iter().filter(|code| **code == codes[row]).count();
                let is_balanced = spec["class_weight"] == "balanced" && (n_classes == 2 || is_own);
                let weight = if is_balanced { codes.len() as f64 / (n_classes as usize * n_same) as f64 } else { 1.0 };
                (1.0 - if is_own { scores[row] } else { -scores[row] }, weight)
            }
        };
        let loss = loss.max(0.0);
        let weight = weight * rows.weights.as_ref().map_or(1.0, |weights| weights[row]);
        weight * if spec["loss"] == "hinge" { loss } else { loss * loss }
    };
    let losses: f64 = (0..rows.n_rows()).map(loss).sum();
    0.5 * (coefficients.dot(&coefficients) + intercept * intercept) + c * losses
}

#[test]
fn linear_machines_are_as_good_as_liblinears() {
    for case in cases(FIXTURE, "linear") {
        let name = case["name"].as_str().unwrap();
        let rows = design(&case);
        let (model, notes) = linear(spec(&case, 1e-10, 1_000_000), &rows);
        assert_eq!(notes, Vec::<String>::new(), "{name}");
        assert_eq!(model.coefficients.dim(), matrix(&case["coefficients"]).dim(), "{name}");
        for (output, theirs) in numbers(&case["objectives"]).into_iter().enumerate() {
            let ours = objective(&case, &rows, model.coefficients.row(output), model.intercepts[output], output);
            assert!(ours <= theirs * (1.0 + 1e-9) && ours >= theirs * (1.0 - 1e-6), "{name}: {ours} against {theirs}");
        }
        assert_close(name, &model.coefficients, &matrix(&case["coefficients"]), 1e-4);
    }
}

fn decisions(prediction: Prediction) -> ndarray::Array2<f64> {
    match prediction {
        Prediction::Scores(scores) => scores,
        Prediction::Values(values) => Array1::from(values).insert_axis(Axis(1)),
        _ => panic!("neither scores nor values"),
    }
}

#[test]
fn machines_with_a_kernel_decide_as_libsvms() {
    for case in cases(FIXTURE, "kernel") {
        let name = case["name"].as_str().unwrap();
        let rows = design(&case);
        let (model, notes) = kernel(spec(&case, 1e-7, 0), &rows);
        assert_eq!(notes, Vec::<String>::new(), "{name}");
        let theirs = match case["n_classes"].is_null() {
            true => Array1::from(numbers(&case["decisions"])).insert_axis(Axis(1)),
            false => matrix(&case["decisions"]),
        };
        let ours = decisions(model.predict(rows.features.view()).unwrap());
        assert_eq!(ours.dim(), theirs.dim(), "{name}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!((ours - theirs).abs() <= 1e-5 * theirs.abs().max(1.0), "{name}: {ours} against {theirs}");
        }
        if let Some(theirs) = case["objective"].as_f64() {
            let ours = model.objectives()[0];
            assert!((ours - theirs).abs() <= 1e-5 * theirs.abs(), "{name}: {ours} against {theirs}");
        }
        let n_vectors = case["n_vectors"].as_u64().unwrap() as usize;
        assert!(
            model.vectors.nrows().abs_diff(n_vectors) <= 1,
            "{name}: {} against {n_vectors}",
            model.vectors.nrows()
        );
    }
}

#[test]
fn many_rows_are_shrunk_and_end_within_the_tolerance() {
    // Enough steps for variables to be set aside more than once.
    let rows = made(3000, 5, 2);
    let (loose, _) = kernel(json!({"c": 100.0, "tolerance": 1e-3}), &rows);
    let (tight, notes) = kernel(json!({"c": 100.0, "tolerance": 1e-6}), &rows);
    assert_eq!(notes, Vec::<String>::new());
    let (loose, tight) = (loose.objectives()[0], tight.objectives()[0]);
    assert!(tight <= loose && (tight - loose).abs() <= 1e-3 * tight.abs(), "{loose} {tight}");
}

#[test]
fn one_column_is_enough() {
    let rows = made(300, 1, 2);
    let Some(Target::Classes { codes, .. }) = &rows.target else { panic!() };
    for family in ["svm", "linear_svm"] {
        let labels = learn(json!({ family: {} }), &rows).unwrap().0.predict(rows.features.view()).unwrap().labels();
        let right = labels.iter().zip(codes).filter(|(ours, truth)| ours == truth).count();
        assert!(right > 250, "{family}: {right}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let rows = made(2000, 6, 3);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let hinge = linear(json!({"loss": "hinge", "max_iterations": 20}), &rows).0;
            (kernel(json!({}), &rows).0, linear(json!({}), &rows).0, hinge)
        })
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn labels_without_rows_score_lowest() {
    for family in ["svm", "linear_svm"] {
        for n_seen in [2, 3] {
            let mut rows = made(200, 3, n_seen);
            let Some(Target::Classes { codes, n_classes }) = &mut rows.target else { panic!() };
            codes.iter_mut().for_each(|code| *code = 2 * *code + 1);
            *n_classes = 7;
            let (model, _) = learn(json!({ family: {} }), &rows).unwrap();
            let prediction = model.predict(rows.features.view()).unwrap();
            assert!(prediction.labels().iter().all(|label| label % 2 == 1));
            assert_eq!(decisions(prediction).dim(), (200, 7));
        }
    }
}

#[test]
fn models_are_saved_and_mistakes_are_named() {
    let rows = made(300, 4, 3);
    for family in ["svm", "linear_svm"] {
        let spec = json!({ family: {} });
        let (model, _) = learn(spec.clone(), &rows).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("artifact");
        let writer = ArtifactWriter::beside(&target).unwrap();
        model.save(&SaveDir::new(&writer)).unwrap();
        writer.publish_at(&target, "model", 1, json!({})).unwrap();
        let artifact = Artifact::open(&target).unwrap();
        let read = FittedModel::load(&serde_json::from_value(spec.clone()).unwrap(), &LoadDir::new(&artifact)).unwrap();
        let of = |model: &FittedModel| model.predict(rows.features.view()).unwrap();
        assert_eq!(of(&model), of(&read));
        let error = model.predict(rows.features.slice(s![.., ..3])).err().unwrap();
        assert_eq!(error.message, "the rows have 3 features, but the model was trained on 4");
        let one_label = Design { target: Some(Target::Classes { codes: vec![1; 300], n_classes: 3 }), ..rows.clone() };
        let error = learn(spec, &one_label).err().unwrap();
        assert_eq!(error.message, "all training rows have the same label");
    }
    let (_, notes) = kernel(json!({"max_iterations": 3}), &rows);
    assert_eq!(notes, ["svm did not converge in 3 steps; raise `max_iterations` or `tolerance`"]);
    let (_, notes) = linear(json!({"loss": "hinge", "max_iterations": 1, "tolerance": 1e-9}), &rows);
    assert_eq!(
        notes,
        ["linear_svm did not converge in 1 iterations; scale the columns, or raise `max_iterations` or `tolerance`"]
    );
}
