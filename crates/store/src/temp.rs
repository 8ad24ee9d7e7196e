//! Temporaries that show by a lock whether their owner lives, and atomic writes built on them.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::StoreError;
use crate::lock::Lock;

const PREFIX: &str = ".retune-tmp-";
const LOCK_SUFFIX: &str = ".lock";

/// A name for a file or folder that is being written, and the lock beside it. Dropped, it takes both away, unless the
/// file or folder has been renamed to where it belongs.
#[derive(Debug)]
pub(crate) struct Temp {
    path: PathBuf,
    _lock: Lock,
}

impl Temp {
    /// An empty folder in `parent`.
    pub(crate) fn folder(parent: &Path) -> Result<Self, StoreError> {
        Self::create(parent, |path| fs::create_dir(path)).map(|(temp, ())| temp)
    }

    /// An empty file in `parent`.
    fn file(parent: &Path) -> Result<(Self, File), StoreError> {
        Self::create(parent, |path| OpenOptions::new().write(true).create_new(true).open(path))
    }

    fn create<T>(parent: &Path, create: impl Fn(&Path) -> io::Result<T>) -> Result<(Self, T), StoreError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
            let path = parent.join(format!("{PREFIX}{}-{count}-{nanos:08x}", std::process::id()));
            // The lock comes first, so that a sweep never meets a living temporary without one.
            let Some(lock) = Lock::try_acquire(&lock_of(&path))? else {
                continue;
            };
            match create(&path) {
                Ok(created) => return Ok((Self { path, _lock: lock }, created)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(StoreError::write(path, None, cause)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Writes a file so that readers, now or after a crash, see the old content or the new, never a part.
///
/// The temporary is made beside `path`; the parent folder must exist.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_atomic_through(parent_of(path), path, bytes)
}

/// As [`write_atomic`], with the temporary in `temp_dir` on the same file system.
pub(crate) fn write_atomic_through(temp_dir: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let (temp, mut file) = Temp::file(temp_dir)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(temp.path(), path))
        .and_then(|()| sync_dir(parent_of(path)))
        .map_err(|cause| StoreError::write(path, Some(bytes.len() as u64), cause))
}

/// Removes the temporaries of processes that are gone from `dir`; returns how many there were.
///
/// What cannot be removed, such as another user's, stays; so does everything in a folder that cannot be read.
pub fn sweep(dir: &Path) -> usize {
    let mut n_swept = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        let path = dir.join(name.strip_suffix(LOCK_SUFFIX).unwrap_or(name));
        // The lock file of a finished temporary may vanish while we look; taking the lock makes it anew and drops it.
        if let Ok(Some(lock)) = Lock::try_acquire(&lock_of(&path)) {
            n_swept += usize::from(path.symlink_metadata().is_ok());
            drop(Temp { path, _lock: lock });
        }
    }
    n_swept
}

/// Makes what happened to the names in a folder survive a loss of power.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The folder that holds `path`.
pub(crate) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or(OsStr::new(PREFIX)).to_owned();
    name.push(LOCK_SUFFIX);
    path.with_file_name(name)
}

fn remove(path: &Path) {
    // Nothing can be done about a failure here; the next sweep tries again.
    let _ = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_atomic_write_replaces_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for content in ["old", "new and longer", ""] {
            write_atomic(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        let message = write_atomic(&path, b"x").unwrap_err().to_string();
        assert!(message.starts_with(&format!("cannot write to {}: is a directory", path.display())), "{message}");
        assert_eq!(names(dir.path()), ["taken"]);
    }

    #[test]
    fn a_sweep_takes_the_dead_and_leaves_the_living() {
        let dir = tempfile::tempdir().unwrap();
        let living = Temp::folder(dir.path()).unwrap();
        fs::write(living.path().join("part"), "x").unwrap();
        // What a killed process leaves: a folder and a file with their locks, one whose lock was lost, and a lock alone.
        for (folder, file) in [(".retune-tmp-1-0-0", ".retune-tmp-1-0-0.lock"), (".retune-tmp-1-1-0", "user.txt")] {
            fs::create_dir_all(dir.path().join(folder).join("deep")).unwrap();
            fs::write(dir.path().join(file), "1").unwrap();
        }
        fs::write(dir.path().join(".retune-tmp-1-2-0"), "torn").unwrap();
        fs::write(dir.path().join(".retune-tmp-1-2-0.lock"), "").unwrap();
        fs::write(dir.path().join(".retune-tmp-1-3-0.lock"), "1").unwrap();

        assert_eq!(sweep(dir.path()), 3);
        assert!(living.path().join("part").exists());
        drop(living);
        assert_eq!(names(dir.path()), ["user.txt"]);
        assert_eq!(sweep(&dir.path().join("none")), 0);
    }
}
