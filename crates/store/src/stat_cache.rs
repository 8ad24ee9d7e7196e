//! Digests of input files, remembered while the files stay as they are.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Digest, StoreError, digest_file, sealed, write_atomic};

/// A file changed this recently may change again without its times showing it (clocks of file systems are coarse), so
/// its digest is not remembered.
const RACY_NANOS: i64 = 2_000_000_000;

/// What changes when a file's content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
}

impl Fingerprint {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime_ns: nanos(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanos(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn of_path(path: &Path) -> Result<Self, StoreError> {
        path.metadata().map(|metadata| Self::of(&metadata)).map_err(|cause| StoreError::read(path, cause))
    }

    fn is_settled(&self, now_ns: i64) -> bool {
        now_ns.saturating_sub(self.mtime_ns.max(self.ctime_ns)) >= RACY_NANOS
    }
}

/// The content of an input file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigest {
    /// In bytes.
    pub size: u64,
    /// Of the content.
    pub blake3: Digest,
}

/// Remembers the digest of a file until its size, times or inode change.
///
/// Processes that save at the same time forget each other's news, which costs a hash and nothing else.
#[derive(Debug)]
pub struct StatCache {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
    is_changed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    fingerprint: Fingerprint,
    blake3: Digest,
}

impl StatCache {
    /// The cache in this file; empty if the file is missing or damaged.
    pub fn load(path: &Path) -> Self {
        let entries = fs::read(path).ok().and_then(|bytes| sealed::open_record(&bytes)).unwrap_or_default();
        Self { path: path.to_owned(), entries, is_changed: false }
    }

    /// The digests of these files, in their order; those not remembered are hashed in parallel.
    ///
    /// A file that changes while it is hashed is an error.
    pub fn digest_files<P: AsRef<Path> + Sync>(&mut self, paths: &[P]) -> Result<Vec<FileDigest>, StoreError> {
        let now_ns = now_ns();
        let mut digests = Vec::with_capacity(paths.len());
        let mut unknown = Vec::new();
        for (i, path) in paths.iter().enumerate() {
            let path = path.as_ref();
            let fingerprint = Fingerprint::of_path(path)?;
            let known = self.entries.get(&entry_name(path)?).filter(|entry| entry.fingerprint == fingerprint);
            if known.is_none() {
                unknown.push((i, path, fingerprint));
            }
            digests.push(known.map(|entry| FileDigest { size: fingerprint.size, blake3: entry.blake3 }));
        }
        // Starting rayon's threads costs more than all the looking above.
        if unknown.is_empty() {
            return Ok(digests.into_iter().flatten().collect());
        }
        let hashed: Vec<_> = unknown.par_iter().map(|(_, path, before)| hash_unchanged(path, before)).collect();
        for ((i, path, fingerprint), blake3) in unknown.into_iter().zip(hashed) {
            let blake3 = blake3?;
            digests[i] = Some(FileDigest { size: fingerprint.size, blake3 });
            if fingerprint.is_settled(now_ns) {
                self.entries.insert(entry_name(path)?, Entry { fingerprint, blake3 });
                self.is_changed = true;
            }
        }
        Ok(digests.into_iter().flatten().collect())
    }

    /// Writes the cache if there is news, without the files that are gone.
    pub fn save(&mut self) -> Result<(), StoreError> {
        if self.is_changed {
            self.entries.retain(|path, _| Path::new(path).exists());
            write_atomic(&self.path, &sealed::seal_record(&self.path, &self.entries)?)?;
            self.is_changed = false;
        }
        Ok(())
    }
}

fn hash_unchanged(path: &Path, before: &Fingerprint) -> Result<Digest, StoreError> {
    let digest = digest_file(path)?;
    if Fingerprint::of_path(path)? == *before { Ok(digest) } else { Err(StoreError::Changed { path: path.to_owned() }) }
}

/// Symbolic links need not be resolved: the inode is that of the file they lead to.
fn entry_name(path: &Path) -> Result<String, StoreError> {
    let absolute = std::path::absolute(path).map_err(|cause| StoreError::read(path, cause))?;
    // Two names that differ only in what is not UTF-8 share an entry, and the inode tells them apart.
    Ok(absolute.to_string_lossy().into_owned())
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::time::Duration;

    use super::*;

    /// Puts a lie in the cache for a file as it is now: whoever returns it has trusted the cache.
    fn cache_with_lie(dir: &Path, file: &Path) -> StatCache {
        let entry = Entry { fingerprint: Fingerprint::of_path(file).unwrap(), blake3: Digest::of(b"a lie") };
        let entries = BTreeMap::from([(entry_name(file).unwrap(), entry)]);
        StatCache { path: dir.join("stat-cache.json"), entries, is_changed: true }
    }

    #[test]
    fn only_an_untouched_file_is_trusted() {
        type Touch = fn(&Path);
        let modified = |path: &Path, seconds| {
            fs::File::open(path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        };
        let cases: [(&str, bool, Touch); 5] = [
            ("untouched", true, |_| ()),
            ("size", false, |path| fs::write(path, "longer").unwrap()),
            ("mtime", false, |path| {
                fs::File::open(path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(2)).unwrap();
            }),
            ("inode", false, |path| {
                fs::copy(path, path.with_extension("copy")).unwrap();
                fs::File::open(path.with_extension("copy"))
                    .unwrap()
                    .set_modified(UNIX_EPOCH + Duration::from_secs(1))
                    .unwrap();
                fs::rename(path.with_extension("copy"), path).unwrap();
            }),
            ("same size and mtime", false, |path| {
                std::thread::sleep(Duration::from_millis(20));
                fs::write(path, "other").unwrap();
                fs::File::open(path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
            }),
        ];
        for (name, is_trusted, touch) in cases {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("data");
            fs::write(&file, "right").unwrap();
            modified(&file, 1);
            let mut cache = cache_with_lie(dir.path(), &file);
            touch(&file);
            let digest = cache.digest_files(&[&file]).unwrap()[0];
            let truth = digest_file(&file).unwrap();
            assert_eq!(digest.blake3, if is_trusted { Digest::of(b"a lie") } else { truth }, "{name}");
            assert_eq!(digest.size, fs::metadata(&file).unwrap().len());
        }
    }

    #[test]
    fn a_fresh_file_is_hashed_but_not_remembered() {
        let second = 1_000_000_000;
        for (mtime_ns, ctime_ns, is_settled) in [
            (0, 8 * second, true),
            (0, 8 * second + 1, false),
            (8 * second + 1, 0, false),
            // From a clock ahead of ours.
            (20 * second, 0, false),
            (i64::MIN, i64::MIN, true),
        ] {
            let fingerprint = Fingerprint { device: 1, inode: 1, size: 1, mtime_ns, ctime_ns };
            assert_eq!(fingerprint.is_settled(10 * second), is_settled, "{mtime_ns} {ctime_ns}");
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("data");
        fs::write(&file, "x").unwrap();
        let mut cache = StatCache::load(&dir.path().join("stat-cache.json"));
        assert_eq!(cache.digest_files(&[&file]).unwrap()[0].blake3, Digest::of(b"x"));
        assert!(cache.entries.is_empty());
    }

    #[test]
    fn digests_come_in_order_and_survive_saving() {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = (0..20).map(|i| dir.path().join(i.to_string())).collect();
        for (i, file) in files.iter().enumerate() {
            fs::write(file, i.to_string()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(2100));
        let path = dir.path().join("stat-cache.json");
        let mut cache = StatCache::load(&path);
        let digests = cache.digest_files(&files).unwrap();
        let expected: Vec<_> = (0..20).map(|i: i32| Digest::of(i.to_string().as_bytes())).collect();
        assert_eq!(digests.iter().map(|digest| digest.blake3).collect::<Vec<_>>(), expected);

        fs::remove_file(&files[0]).unwrap();
        cache.save().unwrap();
        let mut loaded = StatCache::load(&path);
        assert_eq!(loaded.entries.len(), 19);
        assert_eq!(loaded.digest_files(&files[1..]).unwrap(), digests[1..]);
        assert!(!loaded.is_changed, "everything was remembered");

        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(StatCache::load(&path).entries.is_empty());
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = StatCache::load(&dir.path().join("none.json"));
        let missing = dir.path().join("gone.csv");
        let message = cache.digest_files(&[&missing]).unwrap_err().to_string();
        assert_eq!(message, format!("cannot read {}: no such file or directory", missing.display()));
        assert!(cache.digest_files::<&Path>(&[]).unwrap().is_empty());
    }
}
