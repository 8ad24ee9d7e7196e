//! What a stage is told besides its rows.

use std::path::Path;

use retune_protocol::{Device, Level};

use crate::{Fitted, Rows, Seed, StageError, Upstream};

/// Where a stage says how far it is. Cheap to call.
pub trait Progress: Send + Sync {
    /// `done` of `total` units of a phase, such as folds or trials.
    fn update(&self, phase: &str, done: u64, total: Option<u64>);

    /// Something that the user should read.
    fn message(&self, level: Level, text: &str);

    /// Whether somebody asked to stop: the stage should return [`StageError::cancelled`] soon.
    fn cancelled(&self) -> bool;

    /// Whether what was learned so far has to do: what learns round by round ends with the rounds that it has.
    fn is_enough(&self) -> bool {
        false
    }

    /// Fails if somebody asked to stop.
    fn check_cancelled(&self) -> Result<(), StageError> {
        if self.cancelled() { Err(StageError::cancelled()) } else { Ok(()) }
    }
}

/// Says nothing and never stops.
pub struct Silent;

impl Progress for Silent {
    fn update(&self, _phase: &str, _done: u64, _total: Option<u64>) {}
    fn message(&self, _level: Level, _text: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}

/// Passes on only the wish to stop: for work of which many pieces are done beside each other.
pub struct Quiet<'a>(pub &'a dyn Progress);

impl Progress for Quiet<'_> {
    fn update(&self, _phase: &str, _done: u64, _total: Option<u64>) {}
    fn message(&self, _level: Level, _text: &str) {}
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
    fn is_enough(&self) -> bool {
        self.0.is_enough()
    }
}

/// What a stage is told besides its training rows.
#[derive(Clone, Copy)]
pub struct FitContext<'a> {
    /// What the stage derives its randomness from.
    pub seed: Seed,
    /// Threads that it may use.
    pub threads: usize,
    /// Where tensors are computed.
    pub device: Device,
    /// The validation rows, as the stages before turned them; only fine-tuning looks at them.
    pub validation: Option<&'a Rows>,
    /// Further named sets of rows, as the stages before turned them; only fine-tuning looks at them.
    pub sets: &'a [(String, Rows)],
    /// The raw training rows and the stages before this one, for the folds of a model selection.
    pub upstream: Option<&'a Upstream>,
    /// The model that a fine-tuning starts from.
    pub base: Option<&'a dyn Fitted>,
    /// A folder that outlives a crash, for ledgers and checkpoints of this very job.
    pub work: Option<&'a Path>,
    /// Where to say how far it is.
    pub progress: &'a dyn Progress,
}

impl FitContext<'_> {
    /// A context with nothing but a seed, one thread and the processor.
    pub fn plain(seed: u64) -> FitContext<'static> {
        FitContext {
            seed: Seed(seed),
            threads: 1,
            device: Device::Cpu,
            validation: None,
            sets: &[],
            upstream: None,
            base: None,
            work: None,
            progress: &Silent,
        }
    }

    /// The same with the seed of a place within.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        Self { seed: self.seed.derive(place), ..self }
    }
}
