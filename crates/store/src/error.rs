//! What can go wrong, said with the path and the way out.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// Everything that the store and the artifacts may report.
///
/// The operating system's reason is part of the message, so these errors have no `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk or the user's quota is full.
    #[error(
        "no space left on the device that holds {}{}; free some, or write to another disk \
         (`RETUNE_STORE` for the store, `--out` for results)",
        path.display(), bytes_needed(*needed)
    )]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// The size of the write that failed, where known.
        needed: Option<u64>,
    },

    /// Any other failure to write: read-only file system, no permission, a file where a folder should be.
    #[error(
        "cannot write to {}: {}; choose another folder (`RETUNE_STORE` for the store, `--out` for results)",
        path.display(), reason(cause)
    )]
    Write {
        /// What was being written.
        path: PathBuf,
        /// The operating system's answer.
        cause: io::Error,
    },

    /// A file that should be there cannot be read.
    #[error("cannot read {}: {}", path.display(), reason(cause))]
    Read {
        /// What was being read.
        path: PathBuf,
        /// The operating system's answer.
        cause: io::Error,
    },

    /// A file of ours is not what was written.
    #[error("`{file}` in {} is damaged: {reason}; remove {}, the next run makes it again", dir.display(), dir.display())]
    Damaged {
        /// The folder of the artifact, or of the file.
        dir: PathBuf,
        /// The file, relative to `dir`.
        file: String,
        /// How one can tell.
        reason: String,
    },

    /// Written by a later version of the program.
    #[error(
        "{} holds {what} version {found}, written by retune {program}; this is retune {}, which reads up to version \
         {supported}: install retune {program} or a later one",
        dir.display(), env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The folder of the artifact.
        dir: PathBuf,
        /// What is newer: the artifact format, or a kind of artifact.
        what: String,
        /// The version found.
        found: u32,
        /// The newest version that this program reads.
        supported: u32,
        /// The version of the program that wrote it.
        program: String,
    },

    /// An artifact, but not of the kind asked for.
    #[error("{} holds `{found}` where `{wanted}` is needed", dir.display())]
    WrongKind {
        /// The folder of the artifact.
        dir: PathBuf,
        /// Its kind.
        found: String,
        /// The kind asked for.
        wanted: String,
    },

    /// A folder without a manifest of ours.
    #[error("{} is not a retune artifact: it has no `manifest.json` written by retune", dir.display())]
    NotAnArtifact {
        /// The folder.
        dir: PathBuf,
    },

    /// A name that must not become a file of an artifact.
    #[error("`{}` cannot be a file of an artifact: {reason}", name.escape_debug())]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The place where an artifact should go is taken.
    #[error("{} already exists; remove it or choose another folder", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },

    /// An input file changed under our hands.
    #[error("{} changed while it was being read; run again once nothing writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },

    /// A value that JSON cannot hold, such as a map with keys that are not strings.
    #[error("cannot write {} as JSON: {reason}", path.display())]
    Json {
        /// The file it was meant for.
        path: PathBuf,
        /// The serializer's answer.
        reason: String,
    },
}

impl StoreError {
    /// A failure to write `path`: a full disk or quota is told apart from everything else.
    pub fn write(path: impl Into<PathBuf>, needed: Option<u64>, cause: io::Error) -> Self {
        let path = path.into();
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, needed },
            _ => Self::Write { path, cause },
        }
    }

    /// A failure to read `path`.
    pub fn read(path: impl Into<PathBuf>, cause: io::Error) -> Self {
        Self::Read { path: path.into(), cause }
    }

    pub(crate) fn damaged(dir: &Path, file: &str, reason: impl Into<String>) -> Self {
        Self::Damaged { dir: dir.to_owned(), file: file.escape_debug().to_string(), reason: reason.into() }
    }

    /// True if the disk or the user's quota is full: nothing was lost, and more room is all it takes.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }

    /// True if stored bytes do not hold up: to a cache this is a miss.
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::NotAnArtifact { .. })
    }
}

fn bytes_needed(needed: Option<u64>) -> String {
    let mut text = String::new();
    if let Some(needed) = needed {
        // Writing to a string cannot fail.
        let _ = write!(text, "; {needed} bytes were needed");
    }
    text
}

/// The operating system's words in the middle of a sentence: `read-only file system`.
fn reason(cause: &io::Error) -> String {
    let text = cause.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::from("unknown error"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn messages_name_the_path_and_the_way_out() {
        const FULL: &str = "no space left on the device that holds /s/x; 42 bytes were needed; free some, or write to \
                            another disk (`RETUNE_STORE` for the store, `--out` for results)";
        let otherwise = |reason: &str| {
            format!(
                "cannot write to /s/x: {reason}; choose another folder (`RETUNE_STORE` for the store, `--out` for results)"
            )
        };
        // Numbers of Linux: ENOSPC, EDQUOT, EROFS, EACCES, ENOTDIR, EIO.
        for (errno, full, message) in [
            (28, true, FULL.to_owned()),
            (122, true, FULL.to_owned()),
            (30, false, otherwise("read-only file system")),
            (13, false, otherwise("permission denied")),
            (20, false, otherwise("not a directory")),
            (5, false, otherwise("input/output error")),
        ] {
            let error = StoreError::write("/s/x", Some(42), io::Error::from_raw_os_error(errno));
            assert_eq!((error.is_disk_full(), error.to_string()), (full, message));
        }
    }
}
