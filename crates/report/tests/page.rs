//! The page of a run's folder that is made up here, with names and values that would break a page which does not escape them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use retune_report::{Comparison, Difference, Run, render, render_comparison, render_run};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A name that ends a script, opens an element and closes an attribute.
const HOSTILE: &str = "</script><img src=x onerror=\"alert('x')\">";

fn write(folder: &Path, name: &str, value: &Value) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, value.to_string()).unwrap();
}

fn score(value: f64) -> Value {
    json!({ "value": value, "low": value - 0.02, "high": value + 0.02 })
}

/// A run of a classification with a search and a tuning.
fn folder(accuracy: f64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = "ab".repeat(32);
    let stage = |name: &str, kind: &str, cached: bool| json!({ "name": name, "kind": kind, "key": key, "cached": cached, "outcome": { "objects": {}, "result": { "summary": HOSTILE }, "seconds": 1.5 } });
    let result = json!({
        "task": "classification", "set": "test", "n_rows": 120, "labels": ["no", HOSTILE], "confidence": 0.95, "metric": "accuracy", "stage": "tuned",
        "models": [
            { "id": "model", "family": "mlp", "scores": { "accuracy": score(0.8), "log_loss": score(0.4) } },
            { "id": "tuned", "family": "mlp", "scores": { "accuracy": score(accuracy), "log_loss": score(0.3) } },
        ],
        "difference": { "accuracy": score(accuracy - 0.8) },
        "confusion": [[50, 10], [5, 55]],
        "guard": { "decision": "kept_tuned", "metric": "accuracy", "reason": format!("kept {HOSTILE}") },
    });
    let nodes = [
        ("data", "read", json!([])),
        (HOSTILE, "preprocessing", json!(["data"])),
        ("model", "model-selection", json!([HOSTILE, "data"])),
        ("tuned", "fine-tuning", json!(["model"])),
    ];
    let graph: Vec<Value> =
        nodes.iter().map(|(name, kind, needs)| json!({ "name": name, "kind": kind, "needs": needs })).collect();
    write(
        folder.path(),
        "run.json",
        &json!({
            "pipeline": HOSTILE, "status": "done", "seconds": 12.0, "begun": "2026-01-01T00:00:00Z",
            "stages": [stage("data", "read", true), stage("model", "model-selection", false), stage("tuned", "fine-tuning", false)],
            "metrics": { "pipeline": HOSTILE, "results": [result] },
            "graph": graph,
            "failures": [],
            "inputs": [{ "set": "all", "path": format!("data/{HOSTILE}.csv"), "blake3": key }],
            "environment": { "command": format!("retune run '{HOSTILE}'"), "retune": "0.1.0", "libtorch": "2.13.0", "lightgbm": "4.7.0", "system": "linux x86_64", "processor": "P", "cores": 2, "threads": 2, "device": "cpu", "seed": 7 },
        }),
    );
    std::fs::write(
        folder.path().join("pipeline.resolved.yaml"),
        format!("version: 1\nname: \"{HOSTILE}\"\n# a comment\nseed: {accuracy}\n"),
    )
    .unwrap();
    let column = |name: &str, role: &str| json!({ "name": name, "role": role, "kind": "numeric", "rows": 100, "missing": 30, "distinct": 70, "range": [0.0, 1.5, 3.0], "median": 1.4, "histogram": { "edges": [0.0, 1.0, 2.0, 3.0], "counts": [10, 40, 20] } });
    let mut target = column(HOSTILE, "target");
    target["histogram"] = Value::Null;
    target["most_frequent"] = json!([["no", 60], [HOSTILE, 40]]);
    write(
        folder.path(),
        "profile.json",
        &json!({ "rows": 1000, "looked_at": 100, "columns": [column(HOSTILE, "feature"), target] }),
    );
    let trial = |number: usize, mean: f64, status: &str| {
        json!({
            "rank": number + 1, "family": HOSTILE, "values": json!({ "l2": 10_f64.powi(number as i32 - 2), HOSTILE: if number.is_multiple_of(2) { HOSTILE } else { "b" } }).to_string(),
            "mean": mean, "std": 0.01, "low": mean - 0.05, "high": mean + 0.05, "tied": number == 1, "folds": 5, "fit_seconds": 0.2, "predict_seconds": 0.01, "size": 1e4, "status": status, "trial": 9 - number,
        })
    };
    let trials: Vec<Value> = (0..4)
        .map(|number| {
            trial(number, 0.9 - number as f64 / 100.0, if number == 3 { "given up early" } else { "finished" })
        })
        .collect();
    write(
        folder.path(),
        "stages/model.json",
        &json!({
            "rows": [{ "step": HOSTILE, "rows_in": 100, "dropped": 1, "quarantined": 2, "added": 3, "changed": 4, "flagged": 0 }], "columns": [3, 5],
            "learned": [{ "step": "search", "text": HOSTILE }],
            "details": { "metric": "accuracy", "leaderboard": trials, "features": [
                { "name": HOSTILE, "source": "a", "method": "mi", "score": 0.5, "rank": 1, "decision": "kept", "reason": HOSTILE },
                { "name": "b", "source": "b", "method": "mi", "score": 0.1, "rank": 2, "decision": "dropped", "reason": "less" },
            ] },
        }),
    );
    write(
        folder.path(),
        "stages/tuned.json",
        &json!({ "rows": [], "columns": [0, 0], "learned": [], "details": {
        "goal": { "reached": false, "reason": "accuracy 0.82 where 0.9 was asked for" },
        "tries": [{ "name": "tuned", "verdict": { "decision": "kept_base", "reason": HOSTILE }, "diagnosis": ["overfit"] }, { "name": "wise_ft", "verdict": { "decision": "kept_tuned", "reason": "better" } }],
    } }),
    );
    write(
        folder.path(),
        "stages/tuned.tables.json",
        &json!({
            "comparison": { "columns": ["model", "set", "rows", "accuracy", "low", "high", "better_by", "better_by_low", "better_by_high", "mcnemar_p", "calibration_error", "numbers", "ms_per_1000_rows"],
                "rows": [["base", HOSTILE, 60, 0.8, 0.7, 0.9, null, null, null, null, 0.1, 1000, 3.0], ["tuned", HOSTILE, 60, 0.9, 0.8, 0.95, 0.1, 0.0, 0.2, 0.04, 0.1, 1000, 3.0]], "n_rows": 2 },
            "learning_curve": { "columns": ["epoch", "phase", "train_loss", "validation_loss", "learning_rate"], "rows": [[1, HOSTILE, 1.0, 1.2, 0.1], [2, HOSTILE, 0.5, null, 0.1]], "n_rows": 2 },
            "learning_rates": { "columns": ["learning_rate", "loss", "taken"], "rows": [[1e-5, 3.0, false], [1e-4, 2.0, true], [1e-3, 9.0, false]], "n_rows": 3 },
        }),
    );
    write(
        folder.path(),
        "evaluation.json",
        &json!({
            "model": "tuned", "labels_left_out": 0,
            "curves": [{ "model": HOSTILE, "label": HOSTILE, "positive": 60, "auc": 0.9, "average_precision": 0.8, "roc": [[0.0, 0.0], [0.2, 0.8], [1.0, 1.0]], "precision_recall": [[1.0, 0.5], [0.0, 1.0]] }],
            "calibration": [{ "model": "tuned", "of": HOSTILE, "predicted": [0.1, 0.9], "observed": [0.2, 0.8], "rows": [60, 60], "error": 0.1 }],
            "worst": { "wrong": 15, "columns": [HOSTILE, "b"], "rows": [
                { "row": 17, "truth": "no", "predicted": HOSTILE, "probability": 0.99, "of_truth": 0.01, "cells": [HOSTILE, null], "image": "data:image/png;base64,iVBORw0KGgo=" },
                { "row": 18, "truth": "no", "predicted": "x", "probability": 0.9, "of_truth": 0.1, "cells": ["c", "d"], "image": "javascript:alert(1)" },
            ] },
            "importance": { "metric": "accuracy", "score": 0.9, "n_rows": 120, "repeats": 2, "features": [{ "rank": 1, "name": HOSTILE, "importance": 0.1, "low": 0.05, "high": 0.15, "reason": HOSTILE }, { "rank": 2, "name": "b", "importance": -0.01, "low": -0.02, "high": 0.0, "reason": "less" }] },
        }),
    );
    folder
}

/// Everything that a page of any run must keep to.
fn check(page: &str) {
    // `retune report` of a pipeline of such a name is no address; neither is what stands in texts.
    let addresses = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!addresses.contains("http://") && !addresses.contains("https://"), "an address");
    for forbidden in ["<script", "<img src=x", "onerror=\"", "javascript:", "<link", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for element in ["section", "table", "svg", "figure", "div", "details", "li", "tr"] {
        let (opened, closed) = (
            page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count(),
            page.matches(&format!("</{element}>")).count(),
        );
        assert_eq!(opened, closed, "{element}");
    }
    let levels: Vec<u32> =
        page.match_indices("<h").filter_map(|(at, _)| page[at + 2..].chars().next()?.to_digit(10)).collect();
    assert_eq!(levels[0], 1);
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "headings in order: {levels:?}");
    let (images, titled) = (page.matches("role=\"img\"").count(), page.matches("role=\"img\" aria-label=\"").count());
    assert_eq!(images, titled);
}

fn ids(page: &str) -> Vec<&str> {
    page.match_indices("<section id=\"")
        .map(|(at, start)| page[at + start.len()..].split('"').next().unwrap())
        .collect()
}

#[test]
fn the_page_has_every_section_and_escapes_what_it_shows() {
    let folder = folder(0.82);
    let page = render(folder.path()).unwrap();
    check(&page);
    assert_eq!(
        ids(&page),
        [
            "result",
            "evaluation",
            "errors",
            "importance",
            "tuning",
            "search",
            "features",
            "steps",
            "data",
            "pipeline",
            "repeat"
        ]
    );
    for text in [
        "&lt;/script&gt;&lt;img src=x onerror=&quot;",
        "Guard:",
        "Goal:",
        "Confusion matrix",
        "ROC curve",
        "Precision and recall",
        "Calibration",
        "Learning curve",
        "Search for a learning rate",
        "Search history",
        "Leaderboard",
        "not told apart",
        "given up early",
        "100 of 1000 training rows",
        "BLAKE3",
        "retune run",
        "It looks like overfit",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // What is an image is shown, what says it is one is not.
    assert_eq!(page.matches("<img ").count(), 1);
    assert_eq!(page, render(folder.path()).unwrap(), "the same folder gives the same page");
}

#[test]
fn a_run_that_failed_early_has_a_page_of_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    assert!(render(folder.path()).unwrap_err().to_string().starts_with("no run at "));
    let failure =
        json!({ "stage": "data", "class": "data", "message": format!("no column {HOSTILE}"), "help": "name another" });
    write(
        folder.path(),
        "run.json",
        &json!({ "pipeline": "p", "status": "failed", "seconds": 0.1, "stages": [], "metrics": null, "failures": [failure], "graph": [{ "name": "data", "kind": "read", "needs": [] }] }),
    );
    let page = render(folder.path()).unwrap();
    check(&page);
    assert_eq!(ids(&page), ["result", "pipeline"]);
    assert!(page.contains("no column &lt;/script&gt;") && page.contains("Help: name another"));
    // What versions before wrote says less.
    write(
        folder.path(),
        "run.json",
        &json!({ "pipeline": "p", "status": "interrupted", "seconds": 0.1, "stages": [], "metrics": null }),
    );
    let page = render(folder.path()).unwrap();
    check(&page);
    assert_eq!(ids(&page), ["result"]);
    std::fs::write(folder.path().join("run.json"), "{").unwrap();
    assert!(render(folder.path()).unwrap_err().to_string().starts_with("cannot read "));
}

#[test]
fn a_regression_has_residuals_and_no_matrix() {
    let folder = folder(0.82);
    let mut run = Run::read(folder.path()).unwrap();
    let result = run.summary.pointer_mut("/metrics/results/0").unwrap();
    result["task"] = json!("regression");
    result["labels"] = Value::Null;
    result["confusion"] = Value::Null;
    run.evaluations[0] = json!({ "model": "tuned", "residuals": { "edges": [-1.0, 0.0, 1.0], "counts": [3, 4], "points": [[1.0, 1.5], [2.0, 1.0]], "rows": 7 },
        "worst": { "columns": ["a"], "rows": [{ "row": 3, "truth": 1.0, "predicted": 9.0, "error": -8.0, "cells": ["x"] }] },
        "importance": { "left_out": "Not computed: why." } });
    let page = render_run(&run);
    check(&page);
    assert!(
        page.contains("Prediction against truth")
            && page.contains("Residuals")
            && page.contains("-8.0000")
            && page.contains("Not computed: why.")
    );
    assert!(!page.contains("Confusion matrix") && !page.contains("ROC curve"));
}

#[test]
fn two_runs_are_compared() {
    let (a, b) = (folder(0.82), folder(0.9));
    let comparison = Comparison::new(Run::read(a.path()).unwrap(), Run::read(b.path()).unwrap());
    let changed: Vec<Difference> = comparison
        .yaml()
        .into_iter()
        .filter(|line| matches!(line, Difference::First(_) | Difference::Second(_)))
        .collect();
    assert_eq!(changed, [Difference::First("seed: 0.82".to_owned()), Difference::Second("seed: 0.9".to_owned())]);
    let pairs = comparison.scores();
    assert_eq!(pairs.iter().map(|pair| pair.metric.as_str()).collect::<Vec<_>>(), ["accuracy", "log_loss"]);
    assert!((pairs[0].difference().unwrap() - 0.08).abs() < 1e-12);
    assert_eq!([pairs[0].lies_apart(), pairs[1].lies_apart()], [Some(true), Some(false)]);
    assert_eq!(comparison.best()[0][0][3], "accuracy 0.9000");
    let json = comparison.json();
    assert_eq!((&json["scores"][1]["difference"], &json["yaml"][0]["line"]), (&json!(0.0), &json!("seed: 0.82")));
    let page = render_comparison(&comparison);
    check(&page);
    assert_eq!(ids(&page), ["runs", "scores", "search", "yaml"]);
    let same = Comparison::new(Run::read(a.path()).unwrap(), Run::read(a.path()).unwrap());
    assert!(same.yaml().is_empty() && render_comparison(&same).contains("The pipelines are the same"));
}
