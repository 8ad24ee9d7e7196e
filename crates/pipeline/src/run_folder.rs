//! What a run leaves in `runs/PIPELINE/TIME/`.

use std::fs;
use std::path::{Path, PathBuf};

use retune_protocol::{EVALUATION, Failure, LEVELS, PROFILE, PROFILE_FILE};
use retune_spec::Document;
use retune_store::{Digest, Flush, Journal, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bundle::write_bundle;
use crate::environment::Environment;
use crate::events::Event;
use crate::graph::Work;
use crate::keys::{Outcome, Planner};
use crate::project::Error;

/// What `run.json` says of a stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageSummary {
    /// Its name.
    pub name: String,
    /// What it is: the word after `uses:`, `read` or `evaluate`.
    pub kind: String,
    /// Its cache key.
    pub key: Digest,
    /// Whether its result was in the store.
    pub cached: bool,
    /// What it left.
    pub outcome: Outcome,
}

/// What `run.json` says of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSummary {
    /// The pipeline's name.
    pub pipeline: String,
    /// `done`, `failed` or `interrupted`.
    pub status: String,
    /// Seconds that it took.
    pub seconds: f64,
    /// What was done, in the order of the pipeline.
    pub stages: Vec<StageSummary>,
    /// What is in `metrics.json`; null before anything was scored.
    pub metrics: Value,
    /// When it began.
    #[serde(default)]
    pub begun: String,
    /// Everything that the pipeline does, whether it ran or not, and what each needs.
    #[serde(default)]
    pub graph: Vec<NodeSummary>,
    /// What failed.
    #[serde(default)]
    pub failures: Vec<FailureSummary>,
    /// The files that were read, and their digests.
    #[serde(default)]
    pub inputs: Vec<InputSummary>,
    /// What it ran on, and how it was called.
    #[serde(default)]
    pub environment: Option<Environment>,
}

/// What `run.json` says of a node of the graph.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeSummary {
    /// Its name.
    pub name: String,
    /// What it is: the word after `uses:`, `read` or `evaluate`.
    pub kind: String,
    /// The names of the nodes whose results it needs.
    pub needs: Vec<String>,
}

/// What `run.json` says of a failure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailureSummary {
    /// The stage that failed.
    pub stage: String,
    /// Why, and the way out.
    #[serde(flatten)]
    pub failure: Failure,
}

/// What `run.json` says of a file that was read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InputSummary {
    /// The set that its rows belong to; of a weights file, the stage that starts from it.
    pub set: String,
    /// Where it is, from the current folder on where it lies there.
    pub path: PathBuf,
    /// The digest of its content.
    pub blake3: String,
}

/// What is known of a run besides what its stages left.
pub struct Told {
    /// `done`, `failed` or `interrupted`.
    pub status: &'static str,
    /// Seconds that it took.
    pub seconds: f64,
    /// What was done.
    pub stages: Vec<StageSummary>,
    /// What failed.
    pub failures: Vec<FailureSummary>,
    /// The files that were read.
    pub inputs: Vec<InputSummary>,
    /// What it ran on.
    pub environment: Environment,
}

/// The folder of one run.
pub struct RunFolder {
    path: PathBuf,
    pipeline: String,
    begun: String,
    journal: Journal,
}

impl RunFolder {
    /// A new folder, named after the time.
    pub fn create(runs: &Path, pipeline: &str) -> Result<Self, Error> {
        let parent = runs.join(pipeline);
        let cannot = |error: std::io::Error| retune_store::StoreError::write(&parent, None, error);
        fs::create_dir_all(&parent).map_err(cannot)?;
        let now = jiff::Timestamp::now();
        let (time, begun) =
            (now.strftime("%Y%m%dT%H%M%SZ").to_string(), now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let names = std::iter::once(time.clone()).chain((2..).map(|n| format!("{time}-{n}")));
        for name in names {
            let path = parent.join(name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    let journal = Journal::open(&path.join("journal.jsonl"), Flush::Never)?;
                    return Ok(Self { path, pipeline: pipeline.to_owned(), begun, journal });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot(error).into()),
            }
        }
        Err(Failure::failed("no name is left for a run").into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line to the journal.
    pub fn journal(&mut self, event: &Event) -> Result<(), Error> {
        Ok(self.journal.append(&json!({ "time": jiff::Timestamp::now().to_string(), "what": event }))?)
    }

    /// Writes the results that there are.
    pub fn finish(&self, store: &Store, planner: &Planner, told: Told) -> Result<RunSummary, Error> {
        let document: &Document = planner.document;
        self.write("pipeline.resolved.yaml", document.resolved_yaml().as_bytes())?;
        self.copy_tables(store, planner)?;
        self.copy_profile(store, planner)?;
        let metrics = self.write_results(store, planner)?;
        let Told { status, seconds, stages, failures, inputs, environment } = told;
        let summary = RunSummary {
            pipeline: self.pipeline.clone(),
            status: status.to_owned(),
            seconds,
            stages,
            metrics,
            begun: self.begun.clone(),
            graph: planner.graph.summary(document),
            failures,
            inputs,
            environment: Some(environment),
        };
        self.write_json("run.json", &summary)?;
        Ok(summary)
    }

    /// Writes the page that shows the run, from what lies in the folder.
    pub fn write_report(&self) -> Result<(), Error> {
        let page = retune_report::render(&self.path).map_err(|error| Failure::failed(error.to_string()))?;
        self.write(retune_report::FILE, page.as_bytes())
    }

    /// What is in the columns of the data.
    fn copy_profile(&self, store: &Store, planner: &Planner) -> Result<(), Error> {
        let profile = planner.outcome(0).and_then(|outcome| outcome.object(PROFILE));
        let Some(profile) = profile.and_then(|digest| store.object(digest).transpose()) else { return Ok(()) };
        self.write(PROFILE_FILE, &profile?.read_bytes(PROFILE_FILE)?)
    }

    /// `metrics.json`, predictions and a bundle for each stage that nothing follows.
    fn write_results(&self, store: &Store, planner: &Planner) -> Result<Value, Error> {
        let pipeline = &planner.document.pipeline;
        let leaves: Vec<usize> = (0..pipeline.stages.len())
            .filter(|&stage| (0..pipeline.stages.len()).all(|other| planner.graph.input(other) != Some(stage)))
            .collect();
        let mut results = Vec::new();
        for &leaf in &leaves {
            let mut chain = planner.chain(leaf);
            chain.push(leaf);
            let stages: Option<Vec<(String, Digest)>> = chain
                .iter()
                .map(|&stage| Some((pipeline.stages[stage].id.clone(), planner.fitted_for(leaf, stage)?)))
                .collect();
            let suffix = if leaves.len() == 1 { String::new() } else { format!("-{}", pipeline.stages[leaf].id) };
            if let Some(stages) = stages {
                let levels = planner.graph.nodes.iter().position(|node| node.work == Work::Read);
                let levels =
                    levels.and_then(|node| planner.outcome(node)).and_then(|outcome| outcome.object(LEVELS).copied());
                write_bundle(store, &self.path.join(format!("model{suffix}")), pipeline, &stages, levels)?;
            }
            let evaluation = planner.graph.nodes.iter().position(|node| node.work == Work::Evaluate(leaf));
            let evaluation =
                evaluation.and_then(|node| planner.outcome(node)).and_then(|outcome| outcome.object("evaluation"));
            if let Some(evaluation) = evaluation.and_then(|digest| store.object(digest).transpose()) {
                let evaluation = evaluation?;
                let mut scores: Value = evaluation.read_json("scores.json")?;
                scores["stage"] = json!(pipeline.stages[leaf].id);
                scores["guard"] = tuning_details(store, planner, leaf)?;
                results.push(scores);
                for (name, ending) in [("predictions", "parquet"), (EVALUATION, "json")] {
                    let file = format!("{name}.{ending}");
                    if evaluation.manifest().files.iter().any(|stored| stored.path == file) {
                        self.write(&format!("{name}{suffix}.{ending}"), &evaluation.read_bytes(&file)?)?;
                    }
                }
            }
        }
        if results.is_empty() {
            return Ok(Value::Null);
        }
        let metrics = json!({ "pipeline": pipeline.name, "results": results });
        self.write_json("metrics.json", &metrics)?;
        Ok(metrics)
    }

    /// Tables of the stages' reports: `leaderboard.parquet`, `features.parquet`, and the reports themselves.
    fn copy_tables(&self, store: &Store, planner: &Planner) -> Result<(), Error> {
        let stages = &planner.document.pipeline.stages;
        for (stage, spec) in stages.iter().enumerate() {
            let Some(report) = planner.stage_object(stage, "report") else { continue };
            let Some(report) = store.object(&report)? else { continue };
            let alone = stages.iter().filter(|other| other.kind.word() == spec.kind.word()).count() == 1;
            for file in &report.manifest().files {
                let bytes = report.read_bytes(&file.path)?;
                match file.path.as_str() {
                    "report.json" => self.write(&format!("stages/{}.json", spec.id), &bytes)?,
                    "tables.json" => self.write(&format!("stages/{}.tables.json", spec.id), &bytes)?,
                    table if alone => self.write(table, &bytes)?,
                    table => {
                        let (name, ending) = table.rsplit_once('.').unwrap_or((table, "bin"));
                        self.write(&format!("{name}-{}.{ending}", spec.id), &bytes)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        let cannot = |error: std::io::Error| retune_store::StoreError::write(&path, Some(bytes.len() as u64), error);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(cannot)?;
        }
        fs::write(&path, bytes).map_err(cannot)?;
        Ok(())
    }

    fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Error> {
        let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| Failure::failed(error.to_string()))?;
        bytes.push(b'\n');
        self.write(name, &bytes)
    }

    /// Points `latest` at the folder. For whole runs that ended well: what predicts with `latest/model` goes on while somebody tries a part of the pipeline, or
    /// fails, as a program built before stays where a later build fails.
    pub fn point_latest(&self) -> Result<(), Error> {
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else { return Ok(()) };
        let (temporary, latest) = (parent.join(format!(".latest-{}", std::process::id())), parent.join("latest"));
        let cannot = |error: std::io::Error| retune_store::StoreError::write(&latest, None, error);
        let _ = fs::remove_file(&temporary);
        std::os::unix::fs::symlink(name, &temporary).map_err(cannot)?;
        fs::rename(&temporary, &latest).map_err(cannot)?;
        Ok(())
    }
}

/// The newest run in a pipeline's folder that came to its end, whatever came of it.
pub fn newest_run(runs: &Path) -> Option<PathBuf> {
    // `TIME`, and `TIME-2`, `TIME-3` ... of those that began in the same second.
    let order = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (time, number) = name.split_once('-').unwrap_or((name, "1"));
        (time.to_owned(), number.parse::<u64>().unwrap_or_default())
    };
    let folders = fs::read_dir(runs).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    folders.filter(|path| !path.is_symlink() && path.join("run.json").exists()).max_by_key(order)
}

/// What the guard of the last fine-tuning decided; null where there was none.
fn tuning_details(store: &Store, planner: &Planner, leaf: usize) -> Result<Value, Error> {
    let Some(digest) = planner.stage_object(leaf, "report") else { return Ok(Value::Null) };
    let Some(report) = store.object(&digest)? else { return Ok(Value::Null) };
    let report: Value = report.read_json("report.json")?;
    Ok(report.get("details").and_then(|details| details.get("guard")).cloned().unwrap_or(Value::Null))
}
