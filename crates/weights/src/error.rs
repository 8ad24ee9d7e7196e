//! What can go wrong with a weights file.

use std::fmt;

/// What kind of mistake a [`WeightsError`] is, for those who treat some of them on their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file cannot be read.
    Read,
    /// The file cannot be written.
    Write,
    /// It is not the file that was pinned by its SHA-256.
    Pin,
    /// It is no weights file, or is named like another kind of one.
    Format,
    /// It is TorchScript: a program, which only libtorch can read, and only if the user trusts it.
    TorchScript,
    /// Its pickle asks for what could run code. Nothing was run.
    Unsafe,
    /// It is not what a program wrote: cut, flipped, or inconsistent.
    Damaged,
    /// It is sound, but holds what retune does not know, such as sparse tensors.
    Unsupported,
    /// It is not clear, or not true, that the tensors are under the key.
    Key,
    /// The mapping of names does not fit.
    Mapping,
}

/// What went wrong with a weights file. Displayed, it is the message and the way out.
#[derive(Clone, Debug, thiserror::Error)]
pub struct WeightsError {
    kind: ErrorKind,
    message: String,
    help: Option<String>,
}

impl WeightsError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), help: None }
    }

    pub(crate) fn damaged(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Damaged, message).with_help("fetch or make the file again")
    }

    #[must_use]
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Puts the file in front, by the one caller who knows it.
    #[must_use]
    pub(crate) fn within(mut self, file: &str) -> Self {
        self.message = format!("{file}: {}", self.message);
        self
    }

    /// What kind of mistake it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is wrong, with the file and the tensor, without the way out.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The way out.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}
