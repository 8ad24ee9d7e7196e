//! What a stage can fail of.

use retune_protocol::{ErrorClass, Failure};
use retune_store::StoreError;
use retune_table::{Blame, TableError};
use thiserror::Error;

/// What went wrong in a stage. The caller that knows the stage's name adds it.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct StageError {
    /// Whose fault it is.
    pub class: ErrorClass,
    /// What is wrong, naming the culprit.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}

impl StageError {
    /// The data do not fit.
    pub fn data(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Data, message: message.into(), help: None }
    }

    /// The stage could not do its work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Failed, message: message.into(), help: None }
    }

    /// Somebody asked to stop.
    pub fn cancelled() -> Self {
        Self { class: ErrorClass::Cancelled, message: "stopped".to_owned(), help: None }
    }

    /// Adds the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Puts where it happened in front: `step 3 (impute): ...`.
    #[must_use]
    pub fn within(mut self, place: impl std::fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        Self { class: error.class, message: error.message, help: error.help }
    }
}

impl From<TableError> for StageError {
    fn from(error: TableError) -> Self {
        let class = match error.blame {
            Blame::Data => ErrorClass::Data,
            Blame::Source => ErrorClass::Unavailable,
            Blame::Machine => ErrorClass::Failed,
        };
        Self { class, message: error.message, help: error.help }
    }
}

macro_rules! failed_from {
    ($($error:ty),*) => {$(
        impl From<$error> for StageError {
            fn from(error: $error) -> Self {
                Self::failed(error.to_string())
            }
        }
    )*};
}

failed_from!(StoreError, polars::error::PolarsError, std::io::Error, serde_json::Error);
