//! `retune predict`, `retune evaluate`, and the jobs that other commands send to a host of their own.

use std::path::{Path, PathBuf};

use retune_pipeline::{Error, Project, run_job};
use retune_protocol::{ApplyJob, Device, EventKind, Failure, ImportanceJob, Job, Level, Request, ScoreJob, VERSION};
use retune_spec::Selector;
use retune_spec::batch::{BadRows, Handling};
use retune_spec::columns::OneOrMany;
use serde_json::Value;

use crate::Outcome;
use crate::arguments::{Evaluate, Importance, Predict};
use crate::exit::Exit;
use crate::output::{self, WARNING};
use crate::results::{print_importance, print_scores};

/// Writes predictions for rows.
pub fn predict(arguments: &Predict) -> Outcome {
    apply(bundle_of(&arguments.model)?, &arguments.input, &arguments.output)
}

/// Takes rows through an artifact and writes what comes out.
pub fn apply(artifact: PathBuf, input: &[PathBuf], output: &Path) -> Outcome {
    let names: Vec<String> = input.iter().map(|path| path.display().to_string()).collect();
    let job = ApplyJob {
        artifact,
        input: absolute(input)?,
        name: names.join(", "),
        output: absolute_one(output)?,
        handling: Handling { bad_rows: BadRows::Fail, ..Handling::default() },
        quarantine: None,
    };
    let result = host(Job::Apply(job))?;
    let rows = result.get("rows").and_then(Value::as_u64).unwrap_or(0);
    output::line(&format!("{} {rows} rows", output.display()));
    Ok(Exit::Done)
}

/// Scores a bundle on rows that have the target.
pub fn evaluate(arguments: &Evaluate) -> Outcome {
    let scores =
        host(Job::Score(ScoreJob { artifact: bundle_of(&arguments.model)?, input: absolute(&arguments.input)? }))?;
    if arguments.json {
        output::print(&format!("{scores:#}\n"));
    } else {
        print_scores(&scores);
    }
    Ok(Exit::Done)
}

/// Shows what a bundle's score loses when columns of its input are shuffled.
pub fn importance(arguments: &Importance) -> Outcome {
    let selector = |text: &str| {
        let words = text.split(',').map(|word| word.trim().to_owned()).collect();
        Selector::Words(OneOrMany::Many(words))
    };
    let job = ImportanceJob {
        artifact: bundle_of(&arguments.model)?,
        input: absolute(&arguments.input)?,
        metric: arguments.metric,
        repeats: arguments.repeats as usize,
        max_rows: arguments.max_rows as usize,
        groups: arguments.groups.iter().map(|(name, columns)| (name.clone(), selector(columns))).collect(),
        seed: arguments.seed,
        output: arguments.output.as_deref().map(absolute_one).transpose()?,
    };
    let result = host(Job::Importance(job))?;
    if arguments.json {
        output::print(&format!("{result:#}\n"));
    } else {
        print_importance(&result);
    }
    Ok(Exit::Done)
}

/// Sends one job to a host of its own.
pub fn host(job: Job) -> Result<Value, Error> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let request =
        Request { version: VERSION, id: 1, store: Project::here(None)?.store, threads, device: Device::Cpu, job };
    Ok(run_job(&request, warn)?)
}

/// Shows what is worth a look.
pub fn warn(event: &EventKind) {
    if let EventKind::Message { level: Level::Warning, text } = event {
        output::note(&format!("{WARNING}warning{WARNING:#}: {text}"));
    }
}

/// Paths as the host sees them, whatever its folder.
pub fn absolute(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    paths.iter().map(|path| absolute_one(path)).collect()
}

pub fn absolute_one(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::data(format!("{}: {error}", path.display())))
}

/// The bundle or fitted stage that a path means: itself, or `model/` in a run's folder.
pub fn bundle_of(path: &Path) -> Result<PathBuf, Failure> {
    let candidates = [path.to_owned(), path.join("model")];
    match candidates.iter().find(|candidate| candidate.join("manifest.json").exists()) {
        Some(found) => absolute_one(found),
        None => Err(Failure::data(format!(
            "{} is no model: neither it nor its folder `model` has a `manifest.json`",
            path.display()
        ))
        .help("name the folder `model` of a run, such as `runs/NAME/latest/model`")),
    }
}
