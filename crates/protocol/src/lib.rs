//! What the two programs say to each other: jobs go to `retune-stage`, events come back, one JSON object a line.
//!
//! The channel is a pair of pipes of its own ([`JOBS_FD`], [`EVENTS_FD`]), because C++ libraries print on standard output and data may flow there.
//! Large things never travel: a job names objects in the store, and the host publishes what it makes there.

mod bundle;
mod device;

use std::path::PathBuf;

use indexmap::IndexMap;
use retune_spec::batch::Handling;
use retune_spec::{Data, Metric, Selector, StageKind};
use retune_store::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use bundle::{BundleCard, Reading};
pub use device::Device;

/// Counts changes of the protocol; both sides must agree.
pub const VERSION: u32 = 1;

/// The file descriptor on which `retune-stage` reads jobs.
pub const JOBS_FD: i32 = 3;

/// The file descriptor on which `retune-stage` writes events.
pub const EVENTS_FD: i32 = 4;

/// The file descriptor on which `retune-stage` reads rows, for [`Job::Stream`].
pub const INPUT_FD: i32 = 5;

/// The file descriptor on which `retune-stage` writes rows, for [`Job::Stream`].
pub const OUTPUT_FD: i32 = 6;

/// A job and what all jobs need.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The protocol's version.
    pub version: u32,
    /// Names the job in events.
    pub id: u64,
    /// The root of the store.
    pub store: PathBuf,
    /// Threads that the job may use.
    pub threads: usize,
    /// Where tensors are computed.
    pub device: Device,
    /// What to do.
    pub job: Job,
}

/// What to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Job {
    /// Read files, give columns roles and kinds, divide the rows. Publishes `rows`.
    Read(Box<ReadJob>),
    /// Fit a stage. Publishes `fitted`, `report` and, unless the stage is a model, `rows`.
    Fit(Box<FitJob>),
    /// Score base and tuned model on test rows. Publishes `evaluation`.
    Evaluate(EvaluateJob),
    /// Take files through a bundle or a fitted stage and write the result to a file.
    Apply(ApplyJob),
    /// Take an Arrow stream on [`INPUT_FD`] through a bundle or a fitted stage, and write one to [`OUTPUT_FD`].
    Stream(StreamJob),
    /// Put the rows of files below one another.
    Stack(StackJob),
    /// Score a bundle on files that have the target.
    Score(ScoreJob),
    /// Shuffle a bundle's input columns and see what its score loses.
    Importance(ImportanceJob),
    /// Look at a file's columns, for `init`.
    Profile(ProfileJob),
    /// Say which libraries there are and what they can use, for `doctor`: a [`HostReport`].
    Doctor,
}

/// See [`Job::Read`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadJob {
    /// The declaration.
    pub data: Data,
    /// The files of each set, globs expanded: `all` where one source is divided, else `train`, `validation`, `test` and named sets.
    pub files: IndexMap<String, Vec<PathBuf>>,
    /// The run's seed.
    pub seed: u64,
}

/// See [`Job::Fit`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FitJob {
    /// The stage.
    pub stage: StageKind,
    /// The run's seed; the stage derives its own from it.
    pub seed: u64,
    /// The rows it is fitted on: the object `rows` of the stage before.
    pub rows: Digest,
    /// The rows as they came from the data, for the folds of a model selection.
    pub raw: Digest,
    /// The names of the stages between the data and this one, and the stages, for the folds of a model selection.
    pub chain: Vec<(String, StageKind)>,
    /// The model that a fine-tuning starts from.
    pub base: Option<Digest>,
    /// The folder in the store for ledgers and checkpoints of this job: its key; of a model selection, the key of the search however long it is.
    pub work: Digest,
}

/// See [`Job::Evaluate`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvaluateJob {
    /// The rows as they came from the data.
    pub raw: Digest,
    /// The fitted stages between the data and the models.
    pub chain: Vec<Digest>,
    /// The models to score, by stage id; the first is the base of comparison.
    pub models: IndexMap<String, Digest>,
    /// What the last model was chosen by, for the importance of columns; that of the task where nothing is said.
    #[serde(default)]
    pub metric: Option<Metric>,
    /// The run's seed.
    pub seed: u64,
}

/// See [`Job::Apply`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApplyJob {
    /// A bundle or the artifact of one fitted stage.
    pub artifact: PathBuf,
    /// Files to read; their format is told from their ending.
    pub input: Vec<PathBuf>,
    /// What the list of bad rows calls them.
    pub name: String,
    /// The file to write; its format is told from its ending.
    pub output: PathBuf,
    /// What is done about rows and columns that are not as they were in training.
    pub handling: Handling,
    /// The file that lists rows which were set aside; it is made where there are such rows.
    pub quarantine: Option<PathBuf>,
}

/// See [`Job::Stream`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamJob {
    /// A bundle or the artifact of one fitted stage.
    pub artifact: PathBuf,
    /// See [`ApplyJob::handling`].
    pub handling: Handling,
    /// See [`ApplyJob::quarantine`].
    pub quarantine: Option<PathBuf>,
}

/// See [`Job::Stack`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StackJob {
    /// Files of the same columns, in their order; their format is told from their ending.
    pub input: Vec<PathBuf>,
    /// The file to write; its format is told from its ending.
    pub output: PathBuf,
}

/// See [`Job::Score`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScoreJob {
    /// A bundle.
    pub artifact: PathBuf,
    /// Files to read; their format is told from their ending.
    pub input: Vec<PathBuf>,
}

/// See [`Job::Importance`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportanceJob {
    /// A bundle.
    pub artifact: PathBuf,
    /// Files to read; their format is told from their ending.
    pub input: Vec<PathBuf>,
    /// What is scored; accuracy or R2 where nothing is said.
    pub metric: Option<Metric>,
    /// Shuffles of each column or group.
    pub repeats: usize,
    /// At most so many rows are looked at.
    pub max_rows: usize,
    /// Columns that are shuffled together, by name.
    pub groups: IndexMap<String, Selector>,
    /// What is drawn by.
    pub seed: u64,
    /// A file for the result; its format is told from its ending.
    pub output: Option<PathBuf>,
}

/// See [`Job::Profile`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProfileJob {
    /// Files to read; their format is told from their ending.
    pub input: Vec<PathBuf>,
    /// The column to predict.
    pub target: String,
}

/// What the host says of itself; see [`Job::Doctor`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostReport {
    /// The version of `retune-stage`.
    pub version: String,
    /// libtorch.
    pub libtorch: Library,
    /// LightGBM.
    pub lightgbm: Library,
    /// Whether libtorch was built for CUDA.
    pub cuda: bool,
    /// The CUDA devices that libtorch can use.
    pub devices: usize,
}

/// A library that the host runs with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Library {
    /// Its version.
    pub version: String,
    /// The file that was loaded, where that can be told.
    pub path: Option<PathBuf>,
}

/// What the host says of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// The request's id.
    pub id: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum EventKind {
    /// How far it is.
    Progress {
        /// What is being done, in words.
        phase: String,
        /// Units done.
        done: u64,
        /// All units, where known.
        total: Option<u64>,
    },
    /// Something to read.
    Message {
        /// How grave it is.
        level: Level,
        /// In words.
        text: String,
    },
    /// It is done.
    Done {
        /// The published objects by name: `rows`, `fitted`, `report`, `evaluation`.
        objects: IndexMap<String, Digest>,
        /// Small results.
        result: Value,
    },
    /// It failed.
    Failed(Failure),
}

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warning,
}

/// Whose fault a failure is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The command line names something that does not exist.
    Usage,
    /// The data do not fit what was declared.
    Data,
    /// Something outside did not answer; at another time it may.
    Unavailable,
    /// The stage could not do its work.
    Failed,
    /// Somebody asked to stop.
    Cancelled,
}

/// What went wrong and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// Whose fault it is.
    pub class: ErrorClass,
    /// What is wrong, naming the culprit.
    pub message: String,
    /// The way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Failure {
    /// The stage could not do its work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Failed, message: message.into(), help: None }
    }

    /// The command line names something that does not exist.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Usage, message: message.into(), help: None }
    }

    /// The data do not fit.
    pub fn data(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Data, message: message.into(), help: None }
    }

    /// Adds the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What the job `read` publishes the paths as that columns of images name: a list in [`IMAGE_PATHS_FILE`], sorted. Absent where there are none.
pub const IMAGE_PATHS: &str = "image_paths";

/// The file of [`IMAGE_PATHS`].
pub const IMAGE_PATHS_FILE: &str = "paths.json";

/// What the job `read` publishes the words of training rows as: by categorical column, in [`LEVELS_FILE`]. A bundle has the same file.
pub const LEVELS: &str = "levels";

/// The file of [`LEVELS`].
pub const LEVELS_FILE: &str = "levels.json";

/// What the job `read` publishes its look at the columns of the training rows as.
pub const PROFILE: &str = "profile";

/// The file of [`PROFILE`].
pub const PROFILE_FILE: &str = "profile.json";

/// What the job `evaluate` publishes its scores as; in there, `evaluation.json` has the curves, errors and importances behind them.
pub const EVALUATION: &str = "evaluation";

/// What a model selection's job publishes a stage before it as, where it fitted that stage anew.
pub fn refitted(id: &str) -> String {
    format!("fitted {id}")
}
