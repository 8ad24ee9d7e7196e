//! What can go wrong.

use std::path::PathBuf;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder holds no run.
    #[error("no run at {}", folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
    },
    /// A file of the run cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}
