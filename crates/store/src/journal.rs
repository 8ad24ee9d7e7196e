//! JSON lines, appended one by one, that survive a crash.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;
use crate::temp::{parent_of, sync_dir};

/// Whether a line is on the disk when [`Journal::append`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// The operating system has it: it survives the death of the process, not a loss of power.
    Never,
    /// It survives a loss of power.
    EachLine,
}

/// An append-only file of JSON lines, with one writer at a time (whoever may write holds a lock).
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    flush: Flush,
}

impl Journal {
    /// Opens a journal for appending, making it if it is missing. A torn last line is cut off first, or else the next
    /// one would be glued to it.
    pub fn open(path: &Path, flush: Flush) -> Result<Self, StoreError> {
        let failed = |cause| StoreError::write(path, None, cause);
        let is_new = !path.exists();
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        if is_new && flush == Flush::EachLine {
            sync_dir(parent_of(path)).map_err(failed)?;
        }
        cut_torn_line(&mut file).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, flush })
    }

    /// Appends a value as one line, by one write. If that fails, the journal is as it was.
    pub fn append<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StoreError> {
        let mut line = serde_json::to_vec(value)
            .map_err(|error| StoreError::Json { path: self.path.clone(), reason: error.to_string() })?;
        line.push(b'\n');
        self.write(&line).map_err(|cause| StoreError::write(&self.path, Some(line.len() as u64), cause))
    }

    /// All lines of a journal; none if there is no such file. A torn last line is left out; any other line that cannot
    /// be read as `T` is an error that says which.
    pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, StoreError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(StoreError::read(path, cause)),
        };
        let Some(complete) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let lines = bytes[..complete].split(|byte| *byte == b'\n').enumerate();
        lines.map(|(i, line)| serde_json::from_slice(line).map_err(|error| broken(path, i + 1, &error))).collect()
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(line).and_then(|()| match self.flush {
            Flush::EachLine => self.file.sync_data(),
            Flush::Never => Ok(()),
        });
        if written.is_err() {
            // Half a line would spoil the next one. Should this fail too, the next opening cuts it off.
            let _ = self.file.set_len(before);
        }
        written
    }
}

fn broken(path: &Path, line: usize, error: &serde_json::Error) -> StoreError {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    StoreError::damaged(parent_of(path), &name, format!("line {line} cannot be read, {error}"))
}

fn cut_torn_line(file: &mut File) -> io::Result<()> {
    const STEP: u64 = 4096;
    let len = file.metadata()?.len();
    let mut end = len;
    let mut chunk = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        chunk.clear();
        file.seek(SeekFrom::Start(start))?;
        file.take(end - start).read_to_end(&mut chunk)?;
        if let Some(position) = chunk.iter().rposition(|byte| *byte == b'\n') {
            end = start + position as u64 + 1;
            break;
        }
        end = start;
    }
    if end < len { file.set_len(end) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::{Value, json};

    use super::*;

    fn read(content: &[u8]) -> Result<Vec<Value>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, content).unwrap();
        Journal::read(&path).map_err(|error| error.to_string().replace(&dir.path().display().to_string(), "DIR"))
    }

    #[test]
    fn lines_are_read_back_and_a_torn_one_is_not() {
        for (content, expected) in [
            (&b""[..], vec![]),
            (b"1\n", vec![json!(1)]),
            (b"1\n{\"a\":2}\n", vec![json!(1), json!({ "a": 2 })]),
            (b"1\n{\"a\":", vec![json!(1)]),
            // Complete as JSON, yet nobody knows whether more digits were to come.
            (b"1\n2", vec![json!(1)]),
            (b"{\"a", vec![]),
            (b"1\n\0\0\0\0", vec![json!(1)]),
        ] {
            assert_eq!(read(content), Ok(expected));
        }
    }

    #[test]
    fn a_broken_line_in_the_middle_is_named() {
        for (content, line) in
            [(&b"1\n{\"a\":\n3\n"[..], 2), (b"\xff\n1\n", 1), (b"1\n\n3\n", 2), (b"\n", 1), (b"1\n2\nx\n", 3)]
        {
            let message = read(content).unwrap_err();
            assert!(
                message.starts_with(&format!("`journal.jsonl` in DIR is damaged: line {line} cannot be read, ")),
                "{message}"
            );
        }
    }

    #[test]
    fn opening_cuts_a_torn_line_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let long = "x".repeat(10_000);
        for (before, kept) in [
            (String::new(), vec![]),
            ("1\n".to_owned(), vec![json!(1)]),
            ("1\n2".to_owned(), vec![json!(1)]),
            (long.clone(), vec![]),
            (format!("\"{long}\"\n\"{long}"), vec![json!(long)]),
        ] {
            std::fs::write(&path, before).unwrap();
            for flush in [Flush::Never, Flush::EachLine] {
                Journal::open(&path, flush).unwrap().append("next").unwrap();
            }
            let expected: Vec<_> = kept.into_iter().chain([json!("next"), json!("next")]).collect();
            assert_eq!(Journal::read::<Value>(&path).unwrap(), expected);
        }
        assert_eq!(Journal::read::<Value>(&dir.path().join("none")).unwrap(), Vec::<Value>::new());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_called_so() {
        // Not opened by `open`, which looks for a torn line: reading this device never ends.
        let path = Path::new("/dev/full");
        let file = OpenOptions::new().append(true).open(path).unwrap();
        let error = Journal { path: path.to_owned(), file, flush: Flush::Never }.append(&json!([1, 2])).unwrap_err();
        assert!(error.is_disk_full());
        assert!(error.to_string().contains("the device that holds /dev/full; 6 bytes were needed"), "{error}");
    }
}
