//! Locks of the operating system, which end with their holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::StoreError;

/// An exclusive lock, held until dropped. Threads of one process exclude each other too.
///
/// The file exists while the lock is held (a killed holder leaves it behind, unlocked) and contains the holder's process id.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock, or returns `None` if someone has it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>, StoreError> {
        loop {
            let file = open(path).map_err(|cause| StoreError::write(path, None, cause))?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(cause)) => {
                    return Err(StoreError::write(path, None, cause));
                }
                Ok(()) if is_at(&file, path) => return Ok(Some(Self::held(path, file))),
                // The former holder removed the file between our opening and our locking it.
                Ok(()) => {}
            }
        }
    }

    /// Takes the lock; if it has to wait, calls `waiting` once, with the holder's process id where it can be read.
    pub(crate) fn acquire(path: &Path, waiting: impl FnOnce(Option<u32>)) -> Result<Self, StoreError> {
        if let Some(lock) = Self::try_acquire(path)? {
            return Ok(lock);
        }
        waiting(holder(path));
        loop {
            let file = open(path).map_err(|cause| StoreError::write(path, None, cause))?;
            match file.lock() {
                Ok(()) if is_at(&file, path) => return Ok(Self::held(path, file)),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(StoreError::write(path, None, cause)),
            }
        }
    }

    fn held(path: &Path, mut file: File) -> Self {
        // The process id is for people; the lock holds on a full disk too.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Self { path: path.to_owned(), file }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while held: whoever waits on this file sees that it is gone and opens the next one.
        let _ = std::fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Opened for writing because network file systems lock nothing else exclusively.
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn holder(path: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path).ok()?.take(20).read_to_string(&mut text).ok()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let (inside, done) = (AtomicUsize::new(0), Mutex::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = Lock::acquire(&path, |_| ()).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                        *done.lock().unwrap() += 1;
                    }
                });
            }
        });
        assert_eq!(*done.lock().unwrap(), 400);
        assert!(!path.exists());
    }

    #[test]
    fn who_waits_is_told_for_whom() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let held = Lock::try_acquire(&path).unwrap().unwrap();
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        let told = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                Lock::acquire(&path, |pid| {
                    assert_eq!(pid, Some(std::process::id()));
                    told.store(true, Ordering::SeqCst);
                })
            });
            while !told.load(Ordering::SeqCst) && !waiter.is_finished() {
                std::thread::yield_now();
            }
            drop(held);
            waiter.join().unwrap().unwrap();
        });
        assert!(told.load(Ordering::SeqCst));
    }
}
