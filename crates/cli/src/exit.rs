//! How the program ends.

use std::process::ExitCode;

use retune_pipeline::Error;
use retune_protocol::{ErrorClass, Failure};

use crate::output;

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The command line is wrong.
    Usage,
    /// The pipeline is not valid.
    PipelineInvalid,
    /// The data are not valid.
    DataInvalid,
    /// A stage failed.
    StageFailed,
    /// A required goal was not met, or the tuned model was refused where it was required.
    GoalMissed,
    /// Stopped by this signal.
    Interrupted(usize),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        let code = match exit {
            Exit::Done => 0,
            Exit::Usage => 2,
            Exit::PipelineInvalid => 3,
            Exit::DataInvalid => 4,
            Exit::StageFailed => 5,
            Exit::GoalMissed => 6,
            Exit::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        };
        Self::from(code)
    }
}

/// How a failure ends the program.
pub fn exit_of(failure: &Failure) -> Exit {
    match failure.class {
        ErrorClass::Usage => Exit::Usage,
        ErrorClass::Data | ErrorClass::Unavailable => Exit::DataInvalid,
        ErrorClass::Failed => Exit::StageFailed,
        ErrorClass::Cancelled => Exit::Interrupted(2),
    }
}

/// Prints an error with its way out.
pub fn report(error: Error) -> Exit {
    match error {
        Error::Invalid { source_text, diagnostics } => {
            output::error_text(&retune_spec::render(&diagnostics, &source_text, output::colours_on_stderr()));
            Exit::PipelineInvalid
        }
        Error::NoData { source_text, diagnostics } => {
            output::error_text(&retune_spec::render(&diagnostics, &source_text, output::colours_on_stderr()));
            Exit::DataInvalid
        }
        Error::Store(error) => {
            output::error(&error.to_string(), None);
            Exit::StageFailed
        }
        Error::Failure(failure) => {
            output::error(&failure.message, failure.help.as_deref());
            exit_of(&failure)
        }
    }
}
