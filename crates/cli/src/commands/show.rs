//! `retune show`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use retune_pipeline::{Error, Project, RunSummary, newest_run};
use retune_protocol::Failure;
use retune_report::numbers::digits;
use serde_json::Value;

use crate::Outcome;
use crate::arguments::{Part, Show};
use crate::exit::Exit;
use crate::output::{self, QUIET, STRONG};
use crate::progress::duration;
use crate::results::print_metrics;

/// Shows what a run left.
pub fn show(arguments: &Show) -> Outcome {
    let (part, run) = match arguments.what.as_slice() {
        [part, run] => (part_of(part)?, run),
        [run] => (Part::All, run),
        _ => return Err(Failure::data("one run can be shown at a time").into()),
    };
    let folder = folder_of(run)?;
    let run: RunSummary = read_json(&folder.join("run.json"))?;
    if arguments.json {
        let value = match part {
            Part::Metrics => run.metrics,
            _ => serde_json::to_value(&run).map_err(|error| Failure::failed(error.to_string()))?,
        };
        output::print(&format!("{value:#}\n"));
        return Ok(Exit::Done);
    }
    let wants = |wanted: Part| part == Part::All || part == wanted;
    if wants(Part::Stages) {
        print_stages(&run);
    }
    for stage in &run.stages {
        let path = folder.join("stages").join(format!("{}.json", stage.name));
        if !path.exists() {
            continue;
        }
        let report: Value = read_json(&path)?;
        if wants(Part::Steps) {
            print_steps(&stage.name, &report);
        }
        if wants(Part::Features) {
            print_records(&stage.name, "features", report.pointer("/details/features"));
        }
        if wants(Part::Leaderboard) {
            print_records(&stage.name, "leaderboard", report.pointer("/details/leaderboard"));
        }
    }
    if wants(Part::Metrics) {
        print_metrics(&run.metrics);
    }
    Ok(Exit::Done)
}

fn part_of(word: &Path) -> Result<Part, Failure> {
    let word = word.display().to_string();
    Part::from_str(&word, true).map_err(|_| {
        let words: Vec<String> = Part::value_variants()
            .iter()
            .filter_map(|part| Some(part.to_possible_value()?.get_name().to_owned()))
            .collect();
        let meant = retune_spec::did_you_mean(&word, words.iter().map(String::as_str));
        let help =
            meant.map_or_else(|| format!("use one of {}", words.join(", ")), |word| format!("did you mean `{word}`?"));
        Failure::data(format!("a run has no part `{word}`")).help(help)
    })
}

/// A run's folder: the path itself, or the newest run of a pipeline of that name, whatever came of it.
pub fn folder_of(path: &Path) -> Result<PathBuf, Error> {
    let runs = Project::here(None)?.runs;
    let itself = path.join("run.json").exists().then(|| path.to_owned());
    itself.or_else(|| newest_run(path)).or_else(|| newest_run(&runs.join(path))).ok_or_else(|| {
        let known: Vec<String> = pipelines_that_ran(&runs);
        let wanted = path.display().to_string();
        let help = match retune_spec::did_you_mean(&wanted, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if known.is_empty() => "nothing ran here yet: `retune run PIPELINE` leaves a run".to_owned(),
            None => format!(
                "name a run's folder, such as `runs/NAME/latest`, or a pipeline's name; runs are here of {}",
                known.join(", ")
            ),
        };
        Failure::data(format!("no run at {wanted}")).help(help).into()
    })
}

/// The pipelines of which a run is left.
fn pipelines_that_ran(runs: &Path) -> Vec<String> {
    let folders =
        std::fs::read_dir(runs).into_iter().flatten().flatten().filter(|entry| newest_run(&entry.path()).is_some());
    let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let bytes =
        std::fs::read(path).map_err(|error| Failure::data(format!("cannot read {}: {error}", path.display())))?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::data(format!("{}: {error}", path.display())))
}

fn print_stages(run: &RunSummary) {
    output::line(&format!(
        "{STRONG}{}{STRONG:#}: {} {QUIET}in {}{QUIET:#}",
        run.pipeline,
        run.status,
        duration(run.seconds)
    ));
    let rows = run.stages.iter().map(|stage| {
        let took = if stage.cached {
            format!("cached ({})", duration(stage.outcome.seconds))
        } else {
            duration(stage.outcome.seconds)
        };
        vec![stage.name.clone(), stage.kind.clone(), took, stage.outcome.summary()]
    });
    output::print(&output::table(&["stage", "uses", "took", "result"], rows.collect(), 4));
}

fn print_steps(stage: &str, report: &Value) {
    const KEYS: [&str; 7] = ["step", "rows_in", "dropped", "quarantined", "added", "changed", "flagged"];
    let items = |key: &str| report.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |item: &Value, key: &str| item.get(key).map_or_else(String::new, cell);
    let rows: Vec<Vec<String>> =
        items("rows").iter().map(|change| KEYS.map(|key| text(change, key)).to_vec()).collect();
    if !rows.is_empty() {
        output::line(&format!("{STRONG}{stage}{STRONG:#}: training rows"));
        output::print(&output::table(&KEYS.map(|key| if key == "rows_in" { "rows in" } else { key }), rows, 1));
    }
    for learned in items("learned") {
        output::line(&format!("  {}: {}", text(&learned, "step"), text(&learned, "text")));
    }
}

/// Prints a list of records as a table; keys that no record has a value for are left out.
fn print_records(stage: &str, what: &str, records: Option<&Value>) {
    let Some(records) = records.and_then(Value::as_array) else { return };
    let mut keys: Vec<String> = Vec::new();
    for key in records.iter().filter_map(Value::as_object).flat_map(|record| record.keys()) {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys.retain(|key| records.iter().any(|record| record.get(key).is_some_and(|value| !value.is_null())));
    if keys.is_empty() {
        return;
    }
    output::line(&format!("{STRONG}{stage}{STRONG:#}: {what}"));
    let rows =
        records.iter().map(|record| keys.iter().map(|key| record.get(key).map_or_else(String::new, cell)).collect());
    let header: Vec<&str> = keys.iter().map(String::as_str).collect();
    output::print(&output::table(&header, rows.collect(), header.len()));
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Number(number) if number.is_f64() => number.as_f64().map_or_else(String::new, digits),
        Value::Array(items) => format!("[{}]", items.iter().map(cell).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
