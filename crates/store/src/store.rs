//! The store: objects by digest, records by key, and the places where jobs work and wait.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::temp::{Temp, parent_of, sweep, sync_dir, write_atomic_through};
use crate::writer::Durability;
use crate::{Artifact, ArtifactWriter, Digest, Lock, StatCache, StoreError, sealed};

/// A folder of objects and of what is known about them. Any number of processes may use it at once.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store, making what is missing of its folders.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).map_err(|cause| StoreError::write(root, None, cause))?;
        for folder in ["objects", "keys", "stages", "work", "locks", "tmp"] {
            make_dir(&root.join(folder))?;
        }
        Ok(Self { root })
    }

    /// The store at a folder, to look at: nothing is made, and where there is no folder, the store is empty.
    pub fn at(root: &Path) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).map_err(|cause| StoreError::read(root, cause))?;
        Ok(Self { root })
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder to write an object into, for [`Store::publish`].
    pub fn writer(&self) -> Result<ArtifactWriter, StoreError> {
        ArtifactWriter::in_folder(&self.tmp())
    }

    /// Makes what was written an object. The same content published twice, by whomever, is one object.
    ///
    /// `meta` and `kind` are part of the content, as is the version of this program.
    #[expect(clippy::needless_pass_by_value, reason = "a published writer is used up")]
    pub fn publish(
        &self,
        writer: ArtifactWriter,
        kind: &str,
        kind_version: u32,
        meta: Value,
    ) -> Result<Digest, StoreError> {
        let digest = writer.seal(kind, kind_version, meta, Durability::Durable)?;
        let target = self.object_dir(&digest);
        make_dir(parent_of(&target))?;
        loop {
            match fs::rename(writer.path(), &target) {
                Ok(()) => {
                    let shard = parent_of(&target);
                    sync_dir(shard).map_err(|cause| StoreError::write(shard, None, cause))?;
                    return Ok(digest);
                }
                Err(error) if is_taken(&error) => {
                    if Artifact::open_checked(&target, Some(&digest)).and_then(|there| there.verify_all()).is_ok() {
                        return Ok(digest);
                    }
                    self.discard(&digest)?;
                }
                Err(cause) => return Err(StoreError::write(target, None, cause)),
            }
        }
    }

    /// An object, or `None` if it is not there. A manifest that does not hash to the digest is an error.
    pub fn object(&self, digest: &Digest) -> Result<Option<Artifact>, StoreError> {
        match Artifact::open_checked(&self.object_dir(digest), Some(digest)) {
            Ok(artifact) => Ok(Some(artifact)),
            Err(StoreError::Read { cause, .. }) if is_absent(&cause) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an object in one step; to others it is there or not. That it was not there is fine.
    pub fn discard(&self, digest: &Digest) -> Result<(), StoreError> {
        let target = self.object_dir(digest);
        let grave = Temp::folder(&self.tmp())?;
        match fs::rename(&target, grave.path().join("object")) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(StoreError::write(target, None, cause)),
            _ => Ok(()),
        }
    }

    /// What [`Store::record`] left under a key. Absent, torn, flipped and of another shape are all a miss.
    ///
    /// Objects that a record mentions may be missing or damaged; to the caller that is a miss as well. Only a record
    /// that may not be read is an error: recomputing it would fail on writing it, hours later.
    pub fn lookup<T: DeserializeOwned>(&self, key: &Digest) -> Result<Option<T>, StoreError> {
        read_record(&self.key_path(key))
    }

    /// Remembers something small under a key, replacing what was there.
    pub fn record<T: Serialize>(&self, key: &Digest, record: &T) -> Result<(), StoreError> {
        self.write_record(&self.key_path(key), record)
    }

    /// Waits for a lock; if it has to wait, calls `waiting` once with the holder's process id, where known.
    ///
    /// Signals do not interrupt the wait; a program that wants to hear them calls [`Store::try_lock`] now and then.
    pub fn lock(&self, name: &str, waiting: impl FnOnce(Option<u32>)) -> Result<Lock, StoreError> {
        Lock::acquire(&self.lock_path(name), waiting)
    }

    /// Takes a lock, or returns `None` if someone has it.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        Lock::try_acquire(&self.lock_path(name))
    }

    /// The scratch folder of one job, for its ledger and its checkpoints. It survives crashes, until
    /// [`Store::remove_work`].
    pub fn work_dir(&self, key: &Digest) -> Result<PathBuf, StoreError> {
        let path = self.work_path(key);
        make_dir(&path)?;
        Ok(path)
    }

    /// The folder of a search, for its ledger. It stays, so that a longer search goes on where a shorter one ended.
    pub fn search_dir(&self, key: &Digest) -> Result<PathBuf, StoreError> {
        let path = self.root.join("searches").join(key.to_string());
        make_dir(&path)?;
        Ok(path)
    }

    /// Whether a job has a scratch folder.
    pub fn has_work(&self, key: &Digest) -> bool {
        self.work_path(key).exists()
    }

    /// Removes the scratch folder of a finished job.
    pub fn remove_work(&self, key: &Digest) -> Result<(), StoreError> {
        let path = self.work_path(key);
        match fs::remove_dir_all(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(StoreError::write(path, None, cause)),
            _ => Ok(()),
        }
    }

    /// Keeps the key fields of a stage's run, so that `retune why` can say what changed since.
    pub fn remember_stage(&self, pipeline: &str, stage: &str, fields: &Value) -> Result<(), StoreError> {
        self.write_record(&self.stage_path(pipeline, stage), fields)
    }

    /// The key fields of a stage's last finished run.
    pub fn last_stage(&self, pipeline: &str, stage: &str) -> Result<Option<Value>, StoreError> {
        read_record(&self.stage_path(pipeline, stage))
    }

    /// The digests of input files seen before.
    pub fn stat_cache(&self) -> StatCache {
        StatCache::load(&self.root.join("stat-cache.json"))
    }

    /// Removes what killed processes left half-written, as far as it can; returns how many files and folders.
    pub fn sweep_tmp(&self) -> usize {
        sweep(&self.tmp())
    }

    fn write_record<T: Serialize>(&self, path: &Path, record: &T) -> Result<(), StoreError> {
        let bytes = sealed::seal_record(path, record)?;
        // A cached run ends with the records it began with, and need not wait for the disk.
        if fs::read(path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        make_dir(parent_of(path))?;
        write_atomic_through(&self.tmp(), path, &bytes)
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn object_dir(&self, digest: &Digest) -> PathBuf {
        self.root.join("objects").join(digest.sharded())
    }

    fn key_path(&self, key: &Digest) -> PathBuf {
        self.root.join("keys").join(key.sharded() + ".json")
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(file_name(name) + ".lock")
    }

    fn work_path(&self, key: &Digest) -> PathBuf {
        self.root.join("work").join(key.to_string())
    }

    fn stage_path(&self, pipeline: &str, stage: &str) -> PathBuf {
        self.root.join("stages").join(file_name(pipeline)).join(file_name(stage) + ".json")
    }
}

fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(sealed::open_record(&bytes)),
        Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => Err(StoreError::read(path, cause)),
        Err(_) => Ok(None),
    }
}

fn make_dir(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)
        .and_then(|()| sync_dir(parent_of(path)))
        .map_err(|cause| StoreError::write(path, None, cause))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory)
}

/// A file name for any text: the text itself where it is harmless, else its digest.
fn file_name(text: &str) -> String {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !text.is_empty() && text.len() <= 100 && !text.starts_with('.') && text.bytes().all(harmless) {
        text.to_owned()
    } else {
        format!(".{}", Digest::of(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;
    use crate::key_of;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        (dir, store)
    }

    fn publish(store: &Store, content: &str) -> Digest {
        let writer = store.writer().unwrap();
        writer.write_bytes("sub/data", content.as_bytes()).unwrap();
        store.publish(writer, "test", 1, json!({ "rows": 1 })).unwrap()
    }

    fn entries(path: PathBuf) -> usize {
        fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn the_same_content_is_one_object() {
        let (_dir, store) = store();
        let digest = publish(&store, "x");
        assert_eq!(publish(&store, "x"), digest);
        assert_ne!(publish(&store, "y"), digest);
        let artifact = store.object(&digest).unwrap().unwrap();
        assert_eq!(artifact.digest(), digest);
        assert_eq!(artifact.read_bytes("sub/data").unwrap(), b"x");
        assert_eq!(entries(store.root().join("tmp")), 0);
        assert!(store.object(&Digest::of(b"other")).unwrap().is_none());
    }

    #[test]
    fn concurrent_publishers_of_one_object() {
        let (_dir, store) = store();
        let digests: Vec<Digest> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| publish(&store, "x"))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(digests.iter().all(|digest| *digest == digests[0]));
        store.object(&digests[0]).unwrap().unwrap().verify_all().unwrap();
        assert_eq!((entries(store.root().join("objects")), entries(store.root().join("tmp"))), (1, 0));
    }

    #[test]
    fn publishing_again_heals_a_damaged_object() {
        let (_dir, store) = store();
        let digest = publish(&store, "x");
        let dir = store.object_dir(&digest);
        type Spoil = fn(&Path);
        let spoils: [Spoil; 4] = [
            |dir| fs::write(dir.join("sub/data"), "y").unwrap(),
            |dir| fs::write(dir.join("manifest.json"), "{}").unwrap(),
            |dir| fs::remove_file(dir.join("manifest.json")).unwrap(),
            |dir| {
                fs::remove_dir_all(dir).unwrap();
                fs::write(dir, "a file").unwrap();
            },
        ];
        for spoil in spoils {
            spoil(&dir);
            let read = |artifact: Option<Artifact>| artifact.map(|artifact| artifact.read_bytes("sub/data"));
            assert!(!matches!(store.object(&digest).map(read), Ok(Some(Ok(_)))));
            assert_eq!(publish(&store, "x"), digest);
            store.object(&digest).unwrap().unwrap().verify_all().unwrap();
            assert_eq!(entries(store.root().join("tmp")), 0);
        }
        store.discard(&digest).unwrap();
        store.discard(&digest).unwrap();
        assert!(store.object(&digest).unwrap().is_none());
    }

    #[test]
    fn an_object_under_a_foreign_name_is_damaged() {
        let (_dir, store) = store();
        let (x, y) = (publish(&store, "x"), publish(&store, "y"));
        fs::copy(store.object_dir(&x).join("manifest.json"), store.object_dir(&y).join("manifest.json")).unwrap();
        let message = store.object(&y).unwrap_err().to_string();
        assert!(message.contains(&format!("its digest is {} instead of {}", x.short(), y.short())), "{message}");
    }

    #[test]
    fn records_survive_or_miss() {
        let (_dir, store) = store();
        let key = key_of(&json!({ "stage": "pca" }));
        let lookup = || store.lookup::<Vec<u32>>(&key).unwrap();
        assert_eq!(lookup(), None);
        store.record(&key, &vec![1, 2]).unwrap();
        assert_eq!(lookup(), Some(vec![1, 2]));
        store.record(&key, &vec![3]).unwrap();
        assert_eq!(lookup(), Some(vec![3]));
        let path = store.key_path(&key);
        let bytes = fs::read(&path).unwrap();
        for torn in [&b""[..], &bytes[..10], &bytes[..bytes.len() - 1], b"\xff\xfe"] {
            fs::write(&path, torn).unwrap();
            assert_eq!(lookup(), None);
        }
        // A flip that leaves valid JSON of the right shape.
        fs::write(&path, String::from_utf8(bytes).unwrap().replacen('3', "4", 1)).unwrap();
        assert_eq!(lookup(), None);
        assert_eq!(store.lookup::<String>(&key).unwrap(), None);
        store.record(&key, &vec![3]).unwrap();
        assert_eq!(lookup(), Some(vec![3]));
    }

    #[test]
    fn stages_are_remembered_under_any_name() {
        let (_dir, store) = store();
        for (pipeline, stage) in
            [("p", "s"), ("../../p", "s"), ("p", "../s"), ("", "."), ("größe", "a/b"), ("p/q", "..")]
        {
            let fields = json!({ "names": [pipeline, stage], "rate": 0.1 });
            assert_eq!(store.last_stage(pipeline, stage).unwrap(), None);
            store.remember_stage(pipeline, stage, &fields).unwrap();
            assert_eq!(store.last_stage(pipeline, stage).unwrap(), Some(fields));
        }
        assert_eq!(entries(store.root().join("..")), 1);
        assert_eq!(entries(store.root().to_owned()), 6);
    }

    #[test]
    fn work_survives_until_removed() {
        let (_dir, store) = store();
        let key = key_of(&json!(1));
        fs::write(store.work_dir(&key).unwrap().join("ledger"), "x").unwrap();
        assert_eq!(fs::read_to_string(store.work_dir(&key).unwrap().join("ledger")).unwrap(), "x");
        store.remove_work(&key).unwrap();
        store.remove_work(&key).unwrap();
        assert_eq!(entries(store.work_dir(&key).unwrap()), 0);
    }

    #[test]
    fn locks_of_different_names_do_not_meet() {
        let (_dir, store) = store();
        let held = store.lock("run/a", |_| ()).unwrap();
        assert!(store.try_lock("run/a").unwrap().is_none());
        assert!(store.try_lock("run/b").unwrap().is_some());
        drop(held);
        assert!(store.try_lock("run/a").unwrap().is_some());
        assert_eq!(entries(store.root().join("locks")), 0);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (root, culprit, reason) in [
            (file.path().to_owned(), file.path().join("objects"), "not a directory"),
            ("/proc/retune".into(), "/proc/retune/objects".into(), "no such file or directory"),
        ] {
            assert_eq!(
                Store::open(&root).unwrap_err().to_string(),
                format!(
                    "cannot write to {}: {reason}; choose another folder (`RETUNE_STORE` for the store, `--out` for \
                     results)",
                    culprit.display()
                )
            );
        }
    }

    #[test]
    fn looking_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        let (store, key) = (Store::at(&root).unwrap(), key_of(&json!(1)));
        assert_eq!(store.lookup::<u32>(&key).unwrap(), None);
        assert_eq!(store.last_stage("pipeline", "stage").unwrap(), None);
        assert!(store.object(&key).unwrap().is_none() && !store.has_work(&key));
        assert_eq!((store.sweep_tmp(), entries(dir.path().to_owned())), (0, 0));
        Store::open(&root).unwrap().record(&key, &7).unwrap();
        assert_eq!(store.lookup::<u32>(&key).unwrap(), Some(7));
    }

    #[test]
    fn dropped_writers_leave_nothing() {
        let (_dir, store) = store();
        let writer = store.writer().unwrap();
        writer.write_bytes("a/b", b"x").unwrap();
        assert_eq!(entries(store.root().join("tmp")), 2);
        assert_eq!(store.sweep_tmp(), 0);
        drop(writer);
        assert_eq!(entries(store.root().join("tmp")), 0);
    }
}
