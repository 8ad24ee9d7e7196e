//! The bytes of a source file.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::{Mmap, UncheckedAdvice};

use crate::TableError;

/// A file's bytes: mapped, or read where it is a pipe.
pub(crate) enum Bytes {
    Mapped(Mmap),
    Read(Vec<u8>),
}

/// The system maps pages around those that are touched; so many bytes on either side go with a range that is released.
const AROUND: usize = 2 << 20;

impl Bytes {
    /// Opens a file that has bytes.
    pub fn open(path: &Path) -> Result<Self, TableError> {
        let name = path.display();
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => TableError::unavailable(format!("no file {name}")).help(nearest_file(path)),
            std::io::ErrorKind::PermissionDenied => TableError::new(format!("cannot read {name}: {error}")),
            _ => TableError::unavailable(format!("cannot read {name}: {error}")),
        };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if metadata.is_dir() {
            return Err(TableError::new(format!("{name} is a directory, not a file"))
                .help(format!("to read its files: {}", path.join("*").display())));
        }
        if !metadata.is_file() {
            return Ok(Self::Read(std::fs::read(path).map_err(failed)?));
        }
        if metadata.len() == 0 {
            return Err(TableError::new(format!("{name} is empty")));
        }
        let file = File::open(path).map_err(failed)?;
        // SAFETY: the bytes are only parsed, never trusted; a file that another program cuts while it is read ends this process, as in every reader that maps files.
        Ok(Self::Mapped(unsafe { Mmap::map(&file) }.map_err(failed)?))
    }

    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Read(bytes) => bytes,
        }
    }

    /// Says that a range was read for now. Its pages would count as this process's memory for as long as the file is open.
    pub fn release(&self, range: Range<usize>) {
        if let Self::Mapped(bytes) = self {
            let range = range.start.saturating_sub(AROUND)..range.end.saturating_add(AROUND).min(bytes.len());
            // SAFETY: pages of a file that is mapped for reading come back, the same, when they are read again.
            let advised = unsafe { bytes.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
            // Nothing but memory is lost where the system does not listen.
            drop(advised);
        }
    }
}

fn nearest_file(path: &Path) -> String {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(parent) else {
        return format!("there is no folder {} either", parent.display());
    };
    let names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match retune_spec::diagnostic::did_you_mean(&wanted, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", parent.join(near).display()),
        None => "paths are relative to the working directory".to_owned(),
    }
}
