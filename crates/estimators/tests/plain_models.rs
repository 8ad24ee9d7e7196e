//! Naive Bayes, discriminants, baselines and nearest neighbours against scikit-learn's, from `tests/reference/plain_models.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ndarray::{Array1, Array2, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune_estimators::{FitInfo, FitOptions, FittedModel, fit};
use retune_metrics::Prediction;
use retune_spec::Estimator;
use retune_stage::{Design, Device, LoadDir, SaveDir, Seed, Silent, StageError, Target, Task};
use retune_store::{Artifact, ArtifactWriter};
use serde_json::{Value, json};

fn options() -> FitOptions<'static> {
    FitOptions { seed: Seed(1), threads: 1, device: Device::Cpu, progress: &Silent }
}

fn estimator(json: &str) -> Estimator {
    serde_json::from_str(json).unwrap()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

fn design(features: Array2<f64>, target: Target) -> Design {
    let names = (0..features.ncols()).map(|column| format!("x{column}")).collect();
    Design { names, features, target: Some(target), ..Design::default() }
}

fn task(target: &Target) -> Task {
    match target {
        Target::Classes { n_classes, .. } => {
            Task::Classification { labels: (0..*n_classes).map(|code| format!("label {code}")).collect() }
        }
        Target::Values(_) => Task::Regression,
    }
}

fn learn(estimator: &Estimator, rows: &Design) -> Result<(FittedModel, FitInfo), StageError> {
    fit(estimator, rows, &task(rows.target().unwrap()), &options())
}

/// [rows, labels], or [rows, 1].
fn numbers(prediction: Prediction) -> Array2<f64> {
    match prediction {
        Prediction::Probabilities(probabilities) => probabilities,
        Prediction::Values(values) => Array1::from(values).insert_axis(Axis(1)),
        other => panic!("{other:?}"),
    }
}

fn assert_close(what: &str, ours: &Array2<f64>, theirs: &Array2<f64>, tolerance: f64) {
    assert_eq!(ours.dim(), theirs.dim(), "{what}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() <= tolerance * theirs.abs().max(1.0), "{what}: {ours} against {theirs}");
    }
}

#[test]
fn predictions_are_those_of_scikit_learn() {
    let fixture: Value = serde_json::from_str(include_str!("fixtures/plain_models.json")).unwrap();
    for case in fixture["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let features = case["features"].as_str().map_or(&case["features"], |shared| &fixture[shared]);
        let target = match case["n_classes"].as_u64() {
            Some(n_classes) => Target::Classes {
                codes: serde_json::from_value(case["target"].clone()).unwrap(),
                n_classes: n_classes as usize,
            },
            None => Target::Values(serde_json::from_value(case["target"].clone()).unwrap()),
        };
        let weights = serde_json::from_value(case["weights"].clone()).unwrap();
        let rows = Design { weights, ..design(matrix(features), target) };
        let estimator: Estimator = serde_json::from_value(case["estimator"].clone()).unwrap();
        let (model, info) = learn(&estimator, &rows).unwrap();
        let predictions = numbers(model.predict(matrix(&case["queries"]).view()).unwrap());
        assert_close(name, &predictions, &matrix(&case["predictions"]), 1e-9);
        let noted = name.contains("collinear");
        assert_eq!(info.notes.len(), usize::from(noted), "{name}: {:?}", info.notes);
        if let Some(tree) = name.starts_with("neighbors").then(|| name.contains("plane") || name.contains("manhattan"))
        {
            assert_eq!(model.describe().ends_with("found by a tree"), tree, "{name}: {}", model.describe());
        }
    }
}

/// Families that predict labels, as JSON.
const LABELS: [&str; 12] = [
    r#"{"baseline": {}}"#,
    r#"{"baseline": {"strategy": "prior"}}"#,
    r#"{"baseline": {"strategy": "stratified"}}"#,
    r#"{"gaussian_naive_bayes": {}}"#,
    r#"{"multinomial_naive_bayes": {}}"#,
    r#"{"bernoulli_naive_bayes": {"threshold": 2.0}}"#,
    r#"{"linear_discriminant": {}}"#,
    r#"{"linear_discriminant": {"shrinkage": 0.1}}"#,
    r#"{"linear_discriminant": {"shrinkage": "auto"}}"#,
    r#"{"quadratic_discriminant": {}}"#,
    r#"{"k_nearest_neighbors": {"weights": "distance"}}"#,
    r#"{"k_nearest_neighbors": {"distance": "cosine"}}"#,
];

/// Families that predict values, as JSON.
const VALUES: [&str; 3] = [
    r#"{"baseline": {}}"#,
    r#"{"baseline": {"strategy": "median"}}"#,
    r#"{"k_nearest_neighbors": {"distance": "manhattan"}}"#,
];

/// Counts and what follows from them.
fn made(n_rows: usize, n_features: usize, n_classes: usize) -> Design {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let codes: Vec<u32> = (0..n_rows).map(|_| rng.random_range(0..n_classes as u32)).collect();
    let features = Array2::from_shape_fn((n_rows, n_features), |(row, column)| {
        let shift = if column % n_classes == codes[row] as usize { 1.5 } else { 0.0 };
        (rng.random::<f64>() * 4.0 + shift).floor()
    });
    design(features, Target::Classes { codes, n_classes })
}

fn with_values(rows: &Design) -> Design {
    let values = rows.features.rows().into_iter().map(|row| row.sum().sin()).collect();
    Design { target: Some(Target::Values(values)), ..rows.clone() }
}

/// Every family with rows that it takes.
fn families(rows: &Design) -> Vec<(&'static str, Design)> {
    let labels = LABELS.into_iter().map(|json| (json, rows.clone()));
    labels.chain(VALUES.into_iter().map(|json| (json, with_values(rows)))).collect()
}

/// Writes an artifact and reads it as a model of a family.
fn read_back(family: &Estimator, save: impl FnOnce(&SaveDir)) -> Result<FittedModel, StageError> {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("artifact");
    let writer = ArtifactWriter::beside(&target).unwrap();
    save(&SaveDir::new(&writer));
    writer.publish_at(&target, "model", 1, json!({})).unwrap();
    FittedModel::load(family, &LoadDir::new(&Artifact::open(&target).unwrap()))
}

#[test]
fn what_is_stored_predicts_the_same() {
    for (json, rows) in families(&made(200, 5, 3)) {
        let family = estimator(json);
        let (model, _) = learn(&family, &rows).unwrap();
        let stored = read_back(&family, |dir| model.save(dir).unwrap()).unwrap();
        let predict = |model: &FittedModel| numbers(model.predict(rows.features.view()).unwrap());
        assert_eq!(predict(&stored), predict(&model), "{json}");
        assert_eq!(stored.describe(), model.describe(), "{json}");
    }
}

#[test]
fn what_does_not_fit_together_is_not_loaded() {
    let (two, three) = (ndarray::array![[1.0, 2.0], [3.0, 4.0]], ndarray::array![[0.0], [1.0], [1.0]]);
    let seen = |codes: &[u32]| json!({"n_classes": 3, "codes": codes, "shares": vec![0.5; codes.len()]});
    let card = json!({"neighbors": 1, "weights": "uniform", "distance": "euclidean", "n_classes": 2});
    let gaussian = |codes: &[u32]| ("gaussian_naive_bayes", seen(codes), "moments.safetensors");
    let neighbors = ("k_nearest_neighbors", card, "rows.safetensors");
    for ((family, card, file), matrices, message) in [
        (
            gaussian(&[0, 1, 2]),
            [("means", two.view()), ("variances", two.view())].to_vec(),
            "the stored model has no matrix `means` of 3 rows and some columns",
        ),
        (
            gaussian(&[0, 2]),
            [("means", two.view()), ("variances", two.slice(s![.., ..1]))].to_vec(),
            "the stored model has no matrix `variances` of 2 rows and 2 columns",
        ),
        (gaussian(&[2, 0]), [("means", two.view())].to_vec(), "model.json names labels that cannot be"),
        (gaussian(&[0, 3]), [("means", two.view())].to_vec(), "model.json names labels that cannot be"),
        (
            neighbors.clone(),
            [("rows", two.view()), ("target", three.view()), ("votes", three.view())].to_vec(),
            "the stored model has no matrix `target` of 2 rows and 1 columns",
        ),
        (
            neighbors,
            [("rows", two.view()), ("target", two.slice(s![.., ..1])), ("votes", two.slice(s![.., ..1]))].to_vec(),
            "rows.safetensors does not hold the training rows that model.json names",
        ),
    ] {
        let read = read_back(&Estimator::of(family).unwrap(), |dir| {
            dir.json("model.json", &card).unwrap();
            dir.matrices(file, &matrices).unwrap();
        });
        assert_eq!(read.err().unwrap().message, message);
    }
}

#[test]
fn neither_threads_nor_blocks_change_a_bit() {
    for (json, rows) in families(&made(9000, 6, 3)) {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (model, _) = learn(&estimator(json), &rows).unwrap();
                (numbers(model.predict(rows.features.view()).unwrap()), model)
            })
        };
        let ((all, model), (same, _)) = (with(1), with(3));
        assert_eq!(all, same, "{json}");
        for row in [0, 300, 8999] {
            let one = numbers(model.predict(rows.features.slice(s![row..=row, ..])).unwrap());
            assert_close(json, &one, &all.slice(s![row..=row, ..]).to_owned(), 1e-12);
        }
    }
}

#[test]
fn equal_weights_change_nothing_and_rows_of_no_weight_are_not_there() {
    for (json, rows) in families(&made(300, 5, 3)) {
        let predict = |rows: &Design| {
            let (model, _) = learn(&estimator(json), rows).unwrap();
            numbers(model.predict(made(300, 5, 3).features.view()).unwrap())
        };
        let plain = predict(&rows);
        // Where something is added to weighted counts, heavier rows make it count less.
        let weight = if json.contains("multinomial") || json.contains("bernoulli") { 1.0 } else { 2.5 };
        assert_close(json, &predict(&Design { weights: Some(vec![weight; 300]), ..rows.clone() }), &plain, 1e-9);
        let weights = (0..300).map(|row| f64::from(u8::from(row % 3 != 0))).collect();
        let kept: Vec<usize> = (0..300).filter(|row| row % 3 != 0).collect();
        // The smoothing of `gaussian_naive_bayes` is of all rows, as in scikit-learn.
        let tolerance = if json.contains("gaussian") { 1e-6 } else { 1e-9 };
        let (left_out, light) =
            (predict(&rows.take(&kept)), predict(&Design { weights: Some(weights), ..rows.clone() }));
        assert_close(json, &light, &left_out, tolerance);
    }
}

#[test]
fn a_label_without_rows_gets_no_probability() {
    let mut rows = made(300, 5, 2);
    let Some(Target::Classes { codes, n_classes }) = &mut rows.target else { panic!() };
    codes.iter_mut().for_each(|code| *code = *code * 2 + 1);
    *n_classes = 5;
    for json in LABELS {
        let (model, _) = learn(&estimator(json), &rows).unwrap();
        for row in numbers(model.predict(rows.features.view()).unwrap()).rows() {
            assert_eq!((row.len(), row[0], row[2], row[4]), (5, 0.0, 0.0, 0.0), "{json}");
            assert!((row.sum() - 1.0).abs() < 1e-12, "{json}");
        }
    }
}

#[test]
fn what_is_drawn_has_the_shares_of_the_labels() {
    let mut rows = made(4000, 6, 2);
    let Some(Target::Classes { codes, .. }) = &mut rows.target else { panic!() };
    codes.iter_mut().enumerate().for_each(|(row, code)| *code = u32::from(row % 4 == 0));
    let (model, _) = learn(&estimator(r#"{"baseline": {"strategy": "stratified"}}"#), &rows).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let queries = Array2::from_shape_simple_fn((20_000, 6), || rng.random::<f64>());
    let ones = numbers(model.predict(queries.view()).unwrap()).column(1).sum();
    // Three standard deviations of a binomial distribution.
    assert!((ones - 5000.0).abs() < 3.0 * (20_000.0_f64 * 0.25 * 0.75).sqrt(), "{ones}");
}

/// What is found without an index: every distance.
fn by_hand(rows: &Array2<f64>, query: ndarray::ArrayView1<f64>, k: usize, distance: &str) -> Vec<usize> {
    let mut all: Vec<(f64, usize)> = rows
        .rows()
        .into_iter()
        .enumerate()
        .map(|(at, row)| {
            let apart = row.iter().zip(query).map(|(one, other)| (one - other).abs());
            (apart.map(|apart| if distance == "euclidean" { apart * apart } else { apart }).sum(), at)
        })
        .collect();
    all.sort_by(|one, other| one.partial_cmp(other).unwrap());
    all[..k].iter().map(|(_, at)| *at).collect()
}

#[test]
fn of_rows_equally_near_the_earlier_ones_count() {
    // Small whole numbers, so that most rows are as near as others; few columns for the tree, many for the products.
    for (n_features, distance) in [(2, "euclidean"), (2, "manhattan"), (40, "euclidean"), (12, "manhattan")] {
        let rows = made(900, n_features, 3);
        // Their mean tells which rows were asked.
        let values: Vec<f64> = (0..900).map(|row| f64::from(row * row % 1009)).collect();
        let rows = Design { target: Some(Target::Values(values.clone())), ..rows };
        let json = format!(r#"{{"k_nearest_neighbors": {{"neighbors": 11, "distance": "{distance}"}}}}"#);
        let (model, _) = learn(&estimator(&json), &rows).unwrap();
        let predictions = numbers(model.predict(rows.features.view()).unwrap());
        for (query, prediction) in rows.features.rows().into_iter().zip(&predictions) {
            let found = by_hand(&rows.features, query, 11, distance);
            let mean = found.iter().map(|&row| values[row]).sum::<f64>() / 11.0;
            assert!((mean - prediction).abs() < 1e-9, "{json}, {n_features}: {mean} against {prediction}");
        }
    }
}

#[test]
fn neighbors_vote_by_weight_and_at_distance_zero_alone() {
    let rows =
        design(ndarray::array![[0.0], [0.0], [1.0], [3.0]], Target::Classes { codes: vec![0, 1, 1, 0], n_classes: 2 });
    let weighted = Design { weights: Some(vec![1.0, 3.0, 1.0, 1.0]), ..rows.clone() };
    for (json, rows, query, first) in [
        (r#"{"neighbors": 4}"#, &rows, 0.0, 0.5),
        (r#"{"neighbors": 4}"#, &weighted, 0.0, 2.0 / 6.0),
        (r#"{"neighbors": 4, "weights": "distance"}"#, &weighted, 0.0, 0.25),
        (r#"{"neighbors": 3, "weights": "distance"}"#, &rows, 2.0, 1.0 / 2.5 + 0.5 / 2.5),
        (r#"{"neighbors": 1}"#, &rows, 0.0, 1.0),
        (r#"{"neighbors": 1, "weights": "distance"}"#, &rows, 1e-200, 1.0),
        (r#"{"neighbors": 4, "distance": "cosine"}"#, &rows, 0.0, 0.5),
    ] {
        let (model, _) = learn(&estimator(&format!(r#"{{"k_nearest_neighbors": {json}}}"#)), rows).unwrap();
        let ours = numbers(model.predict(ndarray::array![[query]].view()).unwrap());
        assert_close(json, &ours, &ndarray::array![[first, 1.0 - first]], 1e-12);
    }
    let (model, info) = learn(&estimator(r#"{"k_nearest_neighbors": {"neighbors": 9}}"#), &rows).unwrap();
    assert_eq!(
        info.notes,
        ["k_nearest_neighbors was to ask 9 training rows, and there are 4: all of them are asked of every row"]
    );
    assert_eq!(model.describe(), "the nearest 4 of 4 rows by 1 features, found by matrix products");
}

#[test]
fn mistakes_are_named() {
    let rows = made(60, 3, 2);
    let with = |column: usize, value: fn(usize) -> f64| {
        let mut rows = rows.clone();
        rows.features.column_mut(column).iter_mut().enumerate().for_each(|(row, cell)| *cell = value(row));
        rows
    };
    let one_label = Design { target: Some(Target::Classes { codes: vec![1; 60], n_classes: 2 }), ..rows.clone() };
    let Some(Target::Classes { codes, .. }) = &rows.target else { panic!() };
    let one_of_each: Vec<usize> = (0..2).map(|code| codes.iter().position(|other| *other == code).unwrap()).collect();
    let same = "all training rows have the same label";
    for (json, rows, message, help) in [
        (
            r#"{"multinomial_naive_bayes": {}}"#,
            with(1, |row| if row == 4 { -0.5 } else { 1.0 }),
            "column `x1` holds -0.5 in row 5 of 60, and multinomial_naive_bayes counts",
            "put `min_max_scale` before this stage, or use gaussian_naive_bayes",
        ),
        (
            r#"{"gaussian_naive_bayes": {"variance_smoothing": 0.0}}"#,
            with(2, |_| 7.0),
            "column `x2` has one value only in the rows labelled `label 0`, so that no other is possible there",
            "raise `variance_smoothing`, or leave out columns that are constant",
        ),
        (
            r#"{"quadratic_discriminant": {}}"#,
            with(2, |_| 7.0),
            "the rows labelled `label 0` vary in 2 of 3 directions only, and quadratic_discriminant needs all",
            "raise `regularization`",
        ),
        (
            r#"{"k_nearest_neighbors": {}}"#,
            with(0, |row| if row == 9 { -1e200 } else { 0.0 }),
            "column `x0` has -1e200 in row 10, which is too large for distances",
            "put `clip_outliers`",
        ),
        (
            r#"{"baseline": {"strategy": "median"}}"#,
            rows.clone(),
            "the strategy of baseline says values, and the target holds labels",
            "set `strategy` to majority, prior or stratified",
        ),
        (
            r#"{"baseline": {"strategy": "prior"}}"#,
            with_values(&rows),
            "the strategy of baseline says labels, and the target holds values",
            "set `strategy` to mean or median",
        ),
        (
            r#"{"linear_discriminant": {}}"#,
            rows.take(&one_of_each),
            "2 rows of 2 labels do not tell how rows of a label vary",
            "set `shrinkage: auto`",
        ),
        (r#"{"gaussian_naive_bayes": {}}"#, one_label.clone(), same, "a model needs rows of two labels at least"),
        (r#"{"bernoulli_naive_bayes": {}}"#, one_label.clone(), same, "a model needs"),
        (r#"{"linear_discriminant": {}}"#, one_label.clone(), same, "a model needs"),
        (r#"{"quadratic_discriminant": {}}"#, one_label.clone(), same, "a model needs"),
    ] {
        let error = learn(&estimator(json), &rows).err().unwrap();
        assert_eq!(error.message, message);
        assert!(error.help.as_deref().unwrap_or_default().starts_with(help), "{:?}", error.help);
    }
    for (json, rows) in families(&rows) {
        let (model, _) = learn(&estimator(json), &rows).unwrap();
        let error = model.predict(rows.features.slice(s![.., ..2])).err().unwrap();
        assert_eq!(error.message, "the rows have 2 features, but the model was trained on 3", "{json}");
    }
    let (model, _) = learn(&estimator(r#"{"k_nearest_neighbors": {}}"#), &rows).unwrap();
    let error = model.predict(with(1, |row| if row == 3 { f64::NAN } else { 0.0 }).features.view()).err().unwrap();
    assert_eq!(error.message, "feature 2 of row 4 to predict is NaN, which has no distances");
}

#[test]
fn regularization_makes_up_for_rows_that_are_missing() {
    let rows = made(9, 6, 2);
    let (model, _) = learn(&estimator(r#"{"quadratic_discriminant": {"regularization": 0.5}}"#), &rows).unwrap();
    assert!(numbers(model.predict(rows.features.view()).unwrap()).iter().all(|value| value.is_finite()));
    let (model, info) = learn(&estimator(r#"{"linear_discriminant": {}}"#), &rows.take(&[0, 1, 2, 3, 4, 5])).unwrap();
    assert_eq!(
        info.notes,
        [
            "of 6 columns only 4 vary within labels independently of each other; linear_discriminant leaves the other directions out"
        ]
    );
    assert!(numbers(model.predict(rows.features.view()).unwrap()).iter().all(|value| value.is_finite()));
}
