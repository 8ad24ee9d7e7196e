//! What lies in a run's folder, as far as the page shows it: JSON and text, never a table that would have to be decoded.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::ReportError;

/// A run.
pub struct Run {
    /// Its folder.
    pub folder: PathBuf,
    /// `run.json`.
    pub summary: Value,
    /// `pipeline.resolved.yaml`.
    pub yaml: String,
    /// `profile.json`: what is in the columns of the data. Null where the data were not read.
    pub profile: Value,
    /// What stages report, in the order of the run.
    pub stages: Vec<Stage>,
    /// For each entry of the scores the curves, errors and importances behind them.
    pub evaluations: Vec<Value>,
}

/// What a stage reports.
pub struct Stage {
    /// The stage's id.
    pub name: String,
    /// The word after `uses:`.
    pub kind: String,
    /// `stages/ID.json`.
    pub report: Value,
    /// `stages/ID.tables.json`: tables by name, `{ columns, rows, n_rows }` each.
    pub tables: Value,
}

impl Run {
    /// Reads a run's folder. Only `run.json` must be there: a run that failed early left little else.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let summary =
            json(&folder.join("run.json"))?.ok_or_else(|| ReportError::NoRun { folder: folder.to_owned() })?;
        let mut stages = Vec::new();
        for stage in summary.items("stages") {
            let (name, kind) = (stage.text("name"), stage.text("kind"));
            let report = json(&folder.join(format!("stages/{name}.json")))?;
            let tables = json(&folder.join(format!("stages/{name}.tables.json")))?;
            stages.extend(report.map(|report| Stage {
                name: name.to_owned(),
                kind: kind.to_owned(),
                report,
                tables: tables.unwrap_or_default(),
            }));
        }
        let results = summary.pointer("/metrics/results").and_then(Value::as_array);
        let n_results = results.map_or(0, Vec::len);
        let mut evaluations = Vec::new();
        for result in results.into_iter().flatten() {
            let name = match n_results {
                1 => "evaluation.json".to_owned(),
                _ => format!("evaluation-{}.json", result.text("stage")),
            };
            evaluations.push(json(&folder.join(name))?.unwrap_or_default());
        }
        Ok(Self {
            yaml: text(&folder.join("pipeline.resolved.yaml"))?.unwrap_or_default(),
            profile: json(&folder.join("profile.json"))?.unwrap_or_default(),
            folder: folder.to_owned(),
            summary,
            stages,
            evaluations,
        })
    }

    /// The scores, one entry for each stage that nothing follows.
    pub fn results(&self) -> &[Value] {
        self.summary.pointer("/metrics/results").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The run's name: the last part of its folder's path.
    pub fn name(&self) -> String {
        let folder = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// Reads of JSON values that never fail: what is missing is empty.
pub trait Look {
    /// A text, or nothing.
    fn text(&self, key: &str) -> &str;
    /// A number.
    fn number(&self, key: &str) -> Option<f64>;
    /// A whole number, 0 where there is none.
    fn whole(&self, key: &str) -> u64;
    /// The items of a list, or none.
    fn items(&self, key: &str) -> &[Value];
    /// The numbers of a list; a missing one is NaN.
    fn numbers(&self, key: &str) -> Vec<f64>;
}

impl Look for Value {
    fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Self::as_str).unwrap_or_default()
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.get(key).and_then(Self::as_f64)
    }

    fn whole(&self, key: &str) -> u64 {
        self.get(key).and_then(Self::as_u64).unwrap_or_default()
    }

    fn items(&self, key: &str) -> &[Value] {
        self.get(key).and_then(Self::as_array).map_or(&[], Vec::as_slice)
    }

    fn numbers(&self, key: &str) -> Vec<f64> {
        self.items(key).iter().map(|item| item.as_f64().unwrap_or(f64::NAN)).collect()
    }
}

fn text(path: &Path) -> Result<Option<String>, ReportError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ReportError::Read { path: path.to_owned(), reason: error.to_string() }),
    }
}

fn json(path: &Path) -> Result<Option<Value>, ReportError> {
    let Some(text) = text(path)? else { return Ok(None) };
    let value = serde_json::from_str(&text);
    value.map(Some).map_err(|error| ReportError::Read { path: path.to_owned(), reason: error.to_string() })
}
