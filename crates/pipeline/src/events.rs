//! What a run says while it runs.

use retune_protocol::{Failure, Level};
use serde::Serialize;

/// Something that happened in a run; written as JSON lines to the journal and, on request, to standard error.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The run began.
    RunStarted {
        /// The pipeline's name.
        pipeline: String,
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
        /// The stage's name.
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
        /// `done`, `failed` or `interrupted`.
        status: &'static str,
        /// Seconds that it took.
        seconds: f64,
    },
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
