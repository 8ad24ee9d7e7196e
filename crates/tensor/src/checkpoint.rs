//! Trainings on the disk: what a killed one goes on from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{History, Result, TensorError, weights};

/// Counts changes of what a checkpoint holds. One of another version is not read.
const VERSION: u32 = 1;

/// A training is kept at most so often, unless it is interrupted or ends.
const EVERY: Duration = Duration::from_secs(10);

/// The tensor of bytes that holds [`State`] as JSON.
const STATE: &str = "state";

/// Where a training is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// Whether it has ended; then its best parameters are all that is of interest.
    pub finished: bool,
    /// The epoch under way, counted from 1.
    pub epoch: usize,
    /// Batches of it that are done.
    pub batch: usize,
    /// The sum of the losses of its rows so far.
    pub sum: f64,
    /// Steps of the optimiser so far.
    pub steps: u64,
    /// The losses so far.
    pub history: History,
    /// The least loss of the rows of early stopping.
    pub best_loss: Option<f64>,
    /// How many epochs were averaged.
    pub averaged: usize,
    /// What is left of the learning rate after going back.
    pub rate_factor: f64,
    /// How often the training went back.
    pub rollbacks: usize,
}

impl Default for State {
    /// Before the first epoch.
    fn default() -> Self {
        Self {
            version: VERSION,
            finished: false,
            epoch: 1,
            batch: 0,
            sum: 0.0,
            steps: 0,
            history: History::default(),
            best_loss: None,
            averaged: 0,
            rate_factor: 1.0,
            rollbacks: 0,
        }
    }
}

/// Tensors by name.
pub(crate) type Named = Vec<(String, Tensor)>;

/// The file of a training.
pub(crate) struct Checkpoint {
    path: Option<PathBuf>,
    written: Instant,
    /// How long the last writing took.
    cost: Duration,
}

impl Checkpoint {
    /// Keeps nothing where there is no path.
    pub fn at(path: Option<&Path>) -> Self {
        Self { path: path.map(Path::to_owned), written: Instant::now(), cost: Duration::ZERO }
    }

    /// Reads what a training of the same job left; `None` where there is nothing of use.
    pub fn read(&self) -> Option<(State, HashMap<String, Tensor>)> {
        let bytes = std::fs::read(self.path.as_ref()?).ok()?;
        // Whatever is wrong with it: the training then begins anew, which costs nothing but time.
        let stored = weights::parse(&bytes, "checkpoint").ok()?;
        let state: State = serde_json::from_slice(stored.tensor(STATE).ok()?.data()).ok()?;
        let tensors = stored.tensors().into_iter().filter(|(name, _)| name != STATE);
        let tensors = tensors.map(|(name, view)| Ok((name, weights::tensor(&view)?))).collect::<Result<_>>().ok()?;
        (state.version == VERSION).then_some((state, tensors))
    }

    /// Whether it is time to keep the training again.
    pub fn is_due(&self) -> bool {
        self.path.is_some() && self.written.elapsed() > EVERY.max(20 * self.cost)
    }

    /// Keeps the training: whole, or as it was before.
    pub fn write(&mut self, state: &State, tensors: impl FnOnce() -> Result<Named>) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let begun = Instant::now();
        let text = serde_json::to_vec(state).map_err(|error| TensorError::failed(error.to_string()))?;
        let mut all = tensors()?;
        all.push((STATE.to_owned(), Tensor::f_from_data_size(&text, &[text.len() as i64], Kind::Uint8)?));
        let bytes = weights::to_bytes(all.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
        let written = retune_store::write_atomic(path, &bytes);
        written.map_err(|error| TensorError::failed(format!("the training cannot be kept: {error}")))?;
        (self.written, self.cost) = (Instant::now(), begun.elapsed());
        Ok(())
    }
}
