//! What goes wrong with tensors.

use retune_stage::StageError;
use tch::TchError;
use thiserror::Error;

/// The result of anything done with tensors.
pub type Result<T, E = TensorError> = std::result::Result<T, E>;

/// What goes wrong with tensors: an error of libtorch, or one of ours. Becomes a [`StageError`] by `?`.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct TensorError(#[from] pub StageError);

impl TensorError {
    /// The work could not be done.
    pub fn failed(message: impl Into<String>) -> Self {
        Self(StageError::failed(message))
    }

    /// The data do not fit.
    pub fn data(message: impl Into<String>) -> Self {
        Self(StageError::data(message))
    }

    /// Adds the way out.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self(self.0.help(help))
    }
}

impl From<TchError> for TensorError {
    fn from(error: TchError) -> Self {
        // libtorch appends the C++ stack to its messages; the first line says what is wrong.
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let reason = first.strip_prefix("Internal torch error: ").unwrap_or(first);
        let error = Self::failed(format!("libtorch: {reason}"));
        if reason.contains("out of memory") || reason.contains("allocate memory") {
            return error.help("make the batches or the network smaller");
        }
        error
    }
}

impl From<TensorError> for StageError {
    fn from(error: TensorError) -> Self {
        error.0
    }
}
