//! What is logged of a run, wherever it is logged: read from the run's folder and from the resolved pipeline.

use std::collections::HashSet;
use std::path::Path;

use indexmap::IndexMap;
use retune_pipeline::{LIBTORCH, LIGHTGBM, RunSummary};
use retune_spec::Document;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The series: `STAGE/WHAT`.
    pub name: String,
    /// The place in the series: an epoch, a round, a trial; 0 where there is but one.
    pub step: i64,
    /// The value.
    pub value: f64,
}

/// What `stages/ID.tables.json` holds of a table.
#[derive(Deserialize)]
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

/// Times, scores with their intervals, trials and learning curves, and what could not be read.
pub fn points(folder: &Path) -> (Vec<Point>, Vec<String>) {
    let (mut points, mut warnings) = (Vec::new(), Vec::new());
    let mut read = |name: &str| match read_json::<Value>(&folder.join(name)) {
        Ok(value) => value,
        Err(error) => {
            warnings.push(format!("{name} of the run is not logged: {error}"));
            None
        }
    };
    let Some(run) = read("run.json").and_then(|run| serde_json::from_value::<RunSummary>(run).ok()) else {
        return (points, warnings);
    };
    points.extend(point("seconds", 0, Some(run.seconds)));
    for stage in &run.stages {
        let id = &stage.name;
        if !stage.cached {
            points.extend(point(&format!("{id}/seconds"), 0, Some(stage.outcome.seconds)));
        }
        if let Some(report) = read(&format!("stages/{id}.json")) {
            points.extend(trials(id, &report));
        }
        let tables = read(&format!("stages/{id}.tables.json")).and_then(|tables| serde_json::from_value(tables).ok());
        let tables: IndexMap<String, Value> = tables.unwrap_or_default();
        for (name, table) in tables.into_iter().filter(|(name, _)| name.starts_with("learning_curve")) {
            if let Ok(table) = serde_json::from_value(table) {
                points.extend(curve(&format!("{id}/{name}"), &table));
            }
        }
    }
    points.extend(scores(&run.metrics));
    // Two branches that were tuned from one model have its scores both.
    let mut seen = HashSet::new();
    points.retain(|point| seen.insert((point.name.clone(), point.step)));
    (points, warnings)
}

/// Every score of every model with the ends of its interval, and how far the tuned model is from its base.
fn scores(metrics: &Value) -> Vec<Point> {
    let mut points = Vec::new();
    for result in list(metrics, "results") {
        let set = result["set"].as_str().unwrap_or("test");
        let mut add = |id: &Value, scores: &Value, what: &str| {
            for (metric, score) in scores.as_object().into_iter().flatten() {
                for (end, key) in [("", "value"), ("_low", "low"), ("_high", "high")] {
                    let name = format!("{}/{set}_{metric}{what}{end}", id.as_str().unwrap_or("model"));
                    points.extend(point(&name, 0, score[key].as_f64()));
                }
            }
        };
        for model in list(result, "models") {
            add(&model["id"], &model["scores"], "");
        }
        if let Some(tuned) = list(result, "models").last() {
            add(&tuned["id"], &result["difference"], "_difference");
        }
    }
    points
}

/// The mean score of each trial.
fn trials(id: &str, report: &Value) -> Vec<Point> {
    let of = |trial: &Value| point(&format!("{id}/trial_score"), trial["trial"].as_i64()?, trial["mean"].as_f64());
    let mut points: Vec<Point> = list(&report["details"], "leaderboard").iter().filter_map(of).collect();
    points.sort_by_key(|point| point.step);
    points
}

/// A series for each column of numbers. The first column is the step where it counts something.
fn curve(name: &str, table: &Table) -> Vec<Point> {
    let counted = !table.rows.is_empty() && table.rows.iter().all(|row| row.first().is_some_and(Value::is_i64));
    let step = |number: usize, row: &[Value]| row[0].as_i64().filter(|_| counted).unwrap_or(number as i64);
    let columns = table.columns.iter().enumerate().skip(usize::from(counted));
    let of = |(column, title): (usize, &String)| {
        let series = format!("{name}/{title}");
        let rows = table.rows.iter().enumerate();
        rows.filter_map(move |(number, row)| point(&series, step(number, row), row.get(column)?.as_f64()))
            .collect::<Vec<_>>()
    };
    columns.flat_map(of).collect()
}

/// A point, unless its value is missing or no number that can be drawn.
fn point(name: &str, step: i64, value: Option<f64>) -> Option<Point> {
    value.filter(|value| value.is_finite()).map(|value| Point { name: name.to_owned(), step, value })
}

/// What identifies the results: the keys of the stages and the digests of what they left; and what the guards decided.
pub fn tags(folder: &Path) -> Vec<(String, String)> {
    let mut tags = Vec::new();
    let Ok(Some(run)) = read_json::<RunSummary>(&folder.join("run.json")) else { return tags };
    for stage in &run.stages {
        tags.push((format!("retune.key.{}", stage.name), stage.key.to_string()));
        for (name, digest) in &stage.outcome.objects {
            tags.push((format!("retune.digest.{}.{name}", stage.name), digest.to_string()));
        }
    }
    let guards = list(&run.metrics, "results").iter();
    let decided: Vec<String> = guards
        .filter_map(|result| Some(format!("{}: {}", result["stage"].as_str()?, result["guard"]["reason"].as_str()?)))
        .collect();
    if !decided.is_empty() {
        tags.push(("mlflow.note.content".to_owned(), decided.join("\n\n")));
    }
    tags
}

/// What is known of a run when it begins.
pub fn first_tags(source: &Path, folder: &Path) -> Vec<(String, String)> {
    let mut tags = vec![
        ("mlflow.source.name".to_owned(), source.display().to_string()),
        ("mlflow.source.type".to_owned(), "LOCAL".to_owned()),
        ("retune.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("retune.libtorch".to_owned(), LIBTORCH.to_owned()),
        ("retune.lightgbm".to_owned(), LIGHTGBM.to_owned()),
        ("retune.folder".to_owned(), folder.display().to_string()),
    ];
    tags.extend(std::env::var("USER").ok().map(|user| ("mlflow.user".to_owned(), user)));
    tags
}

/// The parameters of the pipeline and every setting of its stages, by the path that leads to it: `params.trials`, `prepare.steps.0.impute.strategy`.
pub fn parameters(document: &Document) -> Vec<(String, String)> {
    let resolved = &document.resolved;
    let mut out = vec![("seed".to_owned(), resolved["seed"].to_string())];
    flatten("params", &resolved["params"], &mut out);
    flatten("data", &resolved["data"], &mut out);
    for stage in list(resolved, "stages") {
        flatten(stage["id"].as_str().unwrap_or("stage"), &stage["with"], &mut out);
    }
    out
}

fn flatten(path: &str, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(keys) => keys.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, out)),
        // A list of plain values reads best as it is written.
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().for_each(|(place, item)| flatten(&format!("{path}.{place}"), item, out));
        }
        Value::String(text) => out.push((path.to_owned(), text.clone())),
        other => out.push((path.to_owned(), other.to_string())),
    }
}

/// The run's name: its folder's.
pub fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// A file's value; `None` where there is no file.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| error.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::json;

    use super::*;

    fn shown(points: &[Point]) -> Vec<String> {
        points.iter().map(|point| format!("{} {} {}", point.name, point.step, point.value)).collect()
    }

    #[test]
    fn curves_count_by_their_first_column_where_it_counts() {
        for (columns, rows, expected) in [
            (
                json!(["epoch", "phase", "train_loss"]),
                json!([[1, "head", 0.5], [2, "all", 0.25], [3, "all", null]]),
                vec!["t/c/train_loss 1 0.5", "t/c/train_loss 2 0.25"],
            ),
            (
                json!(["l2", "validation_loss"]),
                json!([[0.1, 0.5], [1.0, 0.25]]),
                vec!["t/c/l2 0 0.1", "t/c/l2 1 1", "t/c/validation_loss 0 0.5", "t/c/validation_loss 1 0.25"],
            ),
            (json!(["epoch", "train_loss"]), json!([]), vec![]),
            // A row that was cut off is no reason to panic.
            (json!(["epoch", "loss"]), json!([[1]]), vec![]),
        ] {
            let table: Table = serde_json::from_value(json!({ "columns": columns, "rows": rows })).unwrap();
            assert_eq!(shown(&curve("t/c", &table)), expected);
        }
    }

    #[test]
    fn scores_come_with_their_intervals() {
        let interval = |value: f64| json!({ "value": value, "low": value - 0.25, "high": null });
        let metrics = json!({ "results": [{
            "set": "test",
            "models": [
                { "id": "model", "scores": { "accuracy": interval(0.5) } },
                { "id": "tuned", "scores": { "accuracy": interval(0.75) } },
            ],
            "difference": { "accuracy": interval(0.25) },
        }] });
        assert_eq!(
            shown(&scores(&metrics)),
            [
                "model/test_accuracy 0 0.5",
                "model/test_accuracy_low 0 0.25",
                "tuned/test_accuracy 0 0.75",
                "tuned/test_accuracy_low 0 0.5",
                "tuned/test_accuracy_difference 0 0.25",
                "tuned/test_accuracy_difference_low 0 0",
            ]
        );
    }

    #[test]
    fn settings_are_flattened_and_plain_lists_kept() {
        let mut out = Vec::new();
        let value = json!({ "steps": [{ "pca": { "columns": ["a", "b"], "components": 2 } }], "empty": null, "f": {} });
        flatten("prepare", &value, &mut out);
        let out: Vec<String> = out.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(out, ["prepare.steps.0.pca.columns=[\"a\",\"b\"]", "prepare.steps.0.pca.components=2"]);
    }
}
