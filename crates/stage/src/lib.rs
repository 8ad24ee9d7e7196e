//! The contract that the four steps share: stages and fitted stages, what flows between them, how they are saved, and how they report.

mod artifact;
mod chain;
mod context;
mod error;
mod pieces;
mod report;
mod rows;
mod seed;

use std::any::Any;

pub use artifact::{LoadDir, SaveDir};
pub use chain::{FittedChain, Link, Upstream};
pub use context::{FitContext, Progress, Quiet, Silent};
pub use error::StageError;
pub use pieces::{ChainedPieces, SourcePieces, StoredPieces};
pub use report::{Learned, RowChange, StageReport};
pub use retune_protocol::{Device, ErrorClass, Level};
pub use retune_table::{
    Field, Fold, ImageFile, Images, Kind, Levels, PIECE_ROWS, Role, Schema, Table, Target, Task, Ties, encoder_hint,
};
pub use rows::{Design, Pieces, Rows, TensorRows, available_memory, gather};
pub use seed::Seed;

/// The result of anything a stage does.
pub type Result<T, E = StageError> = std::result::Result<T, E>;

/// A stage as declared in YAML.
pub trait Stage: Send + Sync {
    /// What the columns say, before any row is read: every mistake at once.
    fn check(&self, input: &Schema) -> Result<(), Vec<StageError>>;

    /// Learns from training rows (validation rows only where it says so) and returns, besides what it learned, the training rows as the next
    /// stage must see them: fewer (dropped), more (balanced) or cross-fitted.
    fn fit(&self, train: Rows, context: &FitContext) -> Result<Fit>;
}

/// What fitting a stage gives.
pub struct Fit {
    /// What was learned.
    pub fitted: Box<dyn Fitted>,
    /// The training rows as the next stage must see them.
    pub train: Rows,
    /// What happened, for the user.
    pub report: StageReport,
    /// Of a model selection that searched the stages before it too: those stages with the values that won, fitted on all training rows. `train` is then the rows
    /// that leave them.
    pub chain: Option<FittedChain>,
    /// Of a fine-tuning of a network that came from a file: that network as it was, to be compared with.
    pub base: Option<Box<dyn Fitted>>,
}

/// What a stage learned. There is no unfitted `apply`, and `apply` neither adds nor drops a row.
pub trait Fitted: Send + Sync {
    /// The word after `uses:`; the key of the table of loaders.
    fn kind(&self) -> &'static str;

    /// The columns it needs.
    fn input(&self) -> &Schema;

    /// The columns it gives.
    fn output(&self) -> &Schema;

    /// Turns rows that have the input's columns into rows that have the output's. For a model: into predictions.
    fn apply(&self, rows: Rows) -> Result<Rows>;

    /// Writes all of it, so that the loader of its kind gives back the same.
    fn save(&self, dir: &SaveDir) -> Result<()>;

    /// For callers that know the concrete type.
    fn as_any(&self) -> &dyn Any;
}
