#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! A tuned model that does not hold up, and what is tried then.

use retune_estimators::{FitOptions, Model};
use retune_fine_tuning::FineTuningStage;
use retune_spec::Estimator;
use retune_stage::{Fit, FitContext, Rows, Stage};
use serde_json::{Value, json};

/// Rows in a band of `y`, whose label is the sign of `x`, or its opposite in the upper band.
fn rows(n_rows: usize, upper: bool, seed: usize) -> Rows {
    let unit =
        |row: usize, salt: usize| (((row * 7919 + seed * 104_729 + salt) * 2_654_435_761) % 10_007) as f64 / 10_007.0;
    let x: Vec<f64> = (0..n_rows).map(|row| unit(row, 1) * 2.0 - 1.0).collect();
    let y: Vec<f64> = (0..n_rows).map(|row| unit(row, 5) + if upper { 1.0 } else { -2.0 }).collect();
    let label: Vec<&str> = x.iter().map(|x| if (*x > 0.0) != upper { "right" } else { "left" }).collect();
    Rows::Table(
        retune_testing::table([("x", x.into()), ("y", y.into()), ("label", label.into())]).target("label").build(),
    )
}

/// A network that knows the lower band, tuned on rows of the upper one.
fn tuned(settings: Value) -> Fit {
    let estimator: Estimator = serde_json::from_value(
        json!({ "mlp": { "hidden": [16], "batch_size": 32, "epochs": 30, "learning_rate": 0.02 } }),
    )
    .unwrap();
    let plain = FitContext::plain(5);
    let (base, _) = Model::fit(&estimator, &rows(300, false, 1), &FitOptions::of(&plain)).unwrap();
    let (validation, old) = (rows(200, true, 3), rows(200, false, 4));
    let sets = [("old".to_owned(), old)];
    let context = FitContext { base: Some(&base), validation: Some(&validation), sets: &sets, ..plain };
    let mut spec = json!({
        "base": "model",
        "network": { "learning_rate": 0.02, "layer_decay": 1.0, "batch_size": 32, "epochs": 20 },
    });
    settings.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
    FineTuningStage(serde_json::from_value(spec).unwrap()).fit(rows(300, true, 2), &context).unwrap()
}

/// The decision of each try, by its name.
fn tries(fit: &Fit) -> Vec<(String, String)> {
    let told = fit.report.details["tries"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    told.iter().map(|tried| (text(&tried["name"]), text(&tried["verdict"]["decision"]))).collect()
}

fn expect(fit: &Fit, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(name, decision)| (name.to_string(), decision.to_string())).collect();
    assert_eq!(tries(fit), expected, "{:#}", fit.report.details);
}

#[test]
fn a_tuned_model_that_holds_up_is_kept_without_a_remedy() {
    let fit = tuned(json!({ "guard": { "metric": "accuracy", "remedies": ["l2_sp"] } }));
    expect(&fit, &[("tuned", "kept_tuned")]);
    assert_eq!(fit.report.details["guard"]["decision"], "kept_tuned");
}

#[test]
fn remedies_are_tried_in_their_order_until_one_holds_up_on_all_sets() {
    let guard = json!({ "metric": "accuracy", "also": [{ "set": "old", "max_drop": 0.1 }], "remedies": ["wise_ft", "rehearsal", "l2_sp"] });
    let fit = tuned(json!({ "guard": guard }));
    expect(&fit, &[("tuned", "kept_base"), ("wise_ft", "kept_base"), ("rehearsal", "kept_tuned")]);
    let first = &fit.report.details["tries"][0];
    assert!(first["diagnosis"][0].as_str().unwrap().starts_with("forgetting"), "{first:#}");
    // Base, tuned model and remedies on the guard's rows and on the named set.
    let (_, comparison) = fit.report.tables.iter().find(|(name, _)| name == "comparison").unwrap();
    assert_eq!(comparison.shape().0, 2 * 4);
    let of = |model: &str, set: &str| {
        let row = (0..8).find(|&row| {
            let cell = |name: &str| comparison.column(name).unwrap().str().unwrap().get(row).unwrap().to_owned();
            cell("model") == model && cell("set") == set
        });
        comparison.column("accuracy").unwrap().f64().unwrap().get(row.unwrap()).unwrap()
    };
    assert!(of("base", "old") > 0.95 && of("base", "guard") < 0.2);
    assert!(of("tuned", "old") < 0.85 && of("tuned", "guard") > 0.9, "{comparison}");
    assert!(of("rehearsal", "old") > 0.85 && of("rehearsal", "guard") > 0.85);
}

#[test]
fn where_nothing_holds_up_the_base_stays() {
    let guard = json!({ "metric": "accuracy", "also": [{ "set": "old" }], "remedies": ["lower_learning_rate", "linear_probe"] });
    let fit = tuned(json!({ "guard": guard }));
    assert!(tries(&fit).iter().all(|(_, decision)| decision == "kept_base"), "{:?}", tries(&fit));
    assert_eq!(tries(&fit).len(), 3);
    let model = fit.fitted.as_any().downcast_ref::<Model>().unwrap();
    let old = rows(200, false, 4).design().unwrap();
    let labels = model.predict(&old).unwrap().labels();
    let Some(retune_stage::Target::Classes { codes, .. }) = old.target else { panic!() };
    assert!(labels.iter().zip(&codes).filter(|(a, b)| a == b).count() > 190);
}

#[test]
fn a_set_that_is_not_there_is_named() {
    let estimator: Estimator = serde_json::from_value(json!({ "mlp": { "epochs": 1 } })).unwrap();
    let plain = FitContext::plain(5);
    let (base, _) = Model::fit(&estimator, &rows(60, false, 1), &FitOptions::of(&plain)).unwrap();
    let validation = rows(60, true, 3);
    let context = FitContext { base: Some(&base), validation: Some(&validation), ..plain };
    let spec = json!({ "base": "model", "rows": "old" });
    let error = FineTuningStage(serde_json::from_value(spec).unwrap()).fit(rows(60, true, 2), &context).err().unwrap();
    assert_eq!(error.message, "there is no set `old`");
    assert_eq!(error.help.as_deref(), Some("name its file, `sets: { old: FILE }` under `data`"));
}
