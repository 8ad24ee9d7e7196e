//! What a run says while it runs. `docs/events.md` documents it for those who read the JSON lines.

use std::path::PathBuf;

use retune_protocol::{Failure, Level};
use serde::{Deserialize, Serialize};

/// Something that happened in a run; written as JSON lines to the journal and, on request, to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event", deny_unknown_fields)]
pub enum Event {
    /// The run began.
    RunStarted {
        /// The pipeline's name.
        pipeline: String,
        /// The folder that the run leaves its results in.
        folder: PathBuf,
        /// The names of everything that will be looked at.
        stages: Vec<String>,
    },
    /// A stage's result was in the store.
    StageCached {
        /// Its name.
        stage: String,
        /// Its cache key.
        key: String,
    },
    /// A stage began.
    StageStarted {
        /// Its name.
        stage: String,
        /// Its cache key.
        key: String,
        /// Why it runs.
        reason: String,
    },
    /// How far a stage is.
    Progress {
        /// Its name.
        stage: String,
        /// What is being done.
        phase: String,
        /// Units done.
        done: u64,
        /// All units, where known.
        total: Option<u64>,
    },
    /// Something to read.
    Message {
        /// The stage's name, or [`TRACKING`].
        stage: String,
        /// How grave it is.
        level: Level,
        /// In words.
        text: String,
    },
    /// A stage is done.
    StageFinished {
        /// Its name.
        stage: String,
        /// Seconds that it took.
        seconds: f64,
        /// One line on what came out.
        summary: String,
    },
    /// A stage failed.
    StageFailed {
        /// Its name.
        stage: String,
        /// Why.
        failure: Failure,
    },
    /// A stage was not begun, because one that it needs failed.
    StageSkipped {
        /// Its name.
        stage: String,
        /// The stage that failed.
        because: String,
    },
    /// The run ended.
    RunFinished {
        /// How.
        status: RunStatus,
        /// Seconds that it took.
        seconds: f64,
    },
}

/// Whose message it is where the run is logged elsewhere; no stage.
pub const TRACKING: &str = "tracking";

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Everything that was asked for is there.
    Done,
    /// A stage failed.
    Failed,
    /// Somebody asked to stop.
    Interrupted,
}

impl RunStatus {
    /// The word in `run.json` and in events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Who hears of it.
pub trait Listener {
    /// Called for each event, in order.
    fn hear(&mut self, event: &Event);
}

impl<F: FnMut(&Event)> Listener for F {
    fn hear(&mut self, event: &Event) {
        self(event);
    }
}
