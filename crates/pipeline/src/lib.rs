//! Planning and running a pipeline.
//!
//! Light: it knows files, cache keys and the child process that does the work, but no algorithm. [`Graph`] says what depends on what, [`Planner`]
//! gives every node its cache key and says what would run and why, [`run`] starts `retune-stage` for what is missing and leaves a run folder.

mod batch;
mod bundle;
mod environment;
mod events;
mod graph;
mod headers;
mod host;
mod images;
mod keys;
mod project;
mod run;
mod run_folder;

pub use batch::{Batch, BatchResult, Shard, batch};
pub use bundle::{write_bundle, write_fitted};
pub use environment::Environment;
pub use events::{Event, Listener, RunStatus, TRACKING};
pub use graph::{Graph, Node, NodeId, Work};
pub use headers::{columns_of, format_of};
pub use host::{Gone, Host, HostMessage, Session, program as host_program, run_job, run_job_within};
pub use keys::{LIBTORCH, LIGHTGBM, Outcome, Planner, Reason, Status};
pub use project::{Error, Inputs, Project, expand, found_by};
pub use run::{Choice, Interrupt, Options, RunResult, chosen_nodes, in_words, run, threads_of};
pub use run_folder::{
    FailureSummary, InputSummary, NodeSummary, RunFolder, RunSummary, StageSummary, Told, newest_run,
};
