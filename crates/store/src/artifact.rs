//! Reading artifacts: objects of the store and bundles on a user's disk alike.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use rayon::prelude::*;
use serde::de::DeserializeOwned;

use crate::manifest::{FileEntry, MANIFEST, Manifest};
use crate::stat_cache::Fingerprint;
use crate::{Digest, StoreError, digest_file};

/// Files that this process has hashed, so that a file handed out many times is hashed once.
static VERIFIED: LazyLock<Mutex<HashSet<(Fingerprint, Digest)>>> = LazyLock::new(Mutex::default);

/// A folder whose manifest names every file. Nothing of it is returned unchecked.
#[derive(Debug, Clone)]
pub struct Artifact {
    dir: PathBuf,
    digest: Digest,
    manifest: Manifest,
}

impl Artifact {
    /// Reads and checks the manifest; opens no other file.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_checked(dir, None)
    }

    /// As [`Artifact::open`]; a manifest with another digest than the `expected` one is damaged.
    pub(crate) fn open_checked(dir: &Path, expected: Option<&Digest>) -> Result<Self, StoreError> {
        let path = dir.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && dir.is_dir() => {
                return Err(StoreError::NotAnArtifact { dir: dir.to_owned() });
            }
            // What is missing is the folder.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Err(StoreError::read(dir, cause)),
            Err(cause) => return Err(StoreError::read(path, cause)),
        };
        let digest = Digest::of(&bytes);
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            let reason = format!("its digest is {} instead of {}", digest.short(), expected.short());
            return Err(StoreError::damaged(dir, MANIFEST, reason));
        }
        let manifest = Manifest::parse(dir, &bytes)?;
        Ok(Self { dir: dir.to_owned(), digest, manifest })
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it is and which files it has.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The digest of its manifest, and through it of everything in it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Requires a kind in a version that the caller can read, and returns that version.
    pub fn require_kind(&self, kind: &str, newest_version: u32) -> Result<u32, StoreError> {
        let Manifest { kind: found, kind_version, program, .. } = &self.manifest;
        if found != kind {
            return Err(StoreError::WrongKind {
                dir: self.dir.clone(),
                found: found.escape_debug().to_string(),
                wanted: kind.to_owned(),
            });
        }
        if *kind_version > newest_version {
            return Err(StoreError::Newer {
                dir: self.dir.clone(),
                what: format!("`{kind}`"),
                found: *kind_version,
                supported: newest_version,
                program: program.escape_debug().to_string(),
            });
        }
        Ok(*kind_version)
    }

    /// The content of a file. Missing from the manifest or from the disk, cut, grown or flipped is an error naming it.
    pub fn read_bytes(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let entry = self.entry(name)?;
        self.fingerprint(entry)?;
        let path = self.dir.join(name);
        let bytes = fs::read(&path).map_err(|cause| StoreError::read(path, cause))?;
        self.compare(entry, Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// A JSON file.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, StoreError> {
        serde_json::from_slice(&self.read_bytes(name)?)
            .map_err(|error| StoreError::damaged(&self.dir, name, format!("it is not of the expected form, {error}")))
    }

    /// The path of a file whose content was checked, for memory-mapping and for libraries that open paths themselves.
    ///
    /// Hashes the file once per process, and again when its size, times or inode have changed.
    pub fn verified_path(&self, name: &str) -> Result<PathBuf, StoreError> {
        let entry = self.entry(name)?;
        self.verify(entry)?;
        Ok(self.dir.join(name))
    }

    /// Checks every file, and that there is no other. The error names the first culprit by path.
    pub fn verify_all(&self) -> Result<(), StoreError> {
        let checks: Vec<_> = self.manifest.files.par_iter().map(|entry| self.verify(entry)).collect();
        checks.into_iter().collect::<Result<(), _>>()?;
        for file in list_files(&self.dir).map_err(|cause| StoreError::read(&self.dir, cause))? {
            if file.path != MANIFEST && self.manifest.file(&file.path).is_none() {
                return Err(StoreError::damaged(&self.dir, &file.path, "the manifest does not name it"));
            }
        }
        Ok(())
    }

    /// An artifact in a subfolder of this one, as [`crate::ArtifactWriter::embed`] puts it there.
    pub fn embedded(&self, folder: &str) -> Result<Self, StoreError> {
        let manifest = self.entry(&format!("{folder}/{MANIFEST}"))?;
        Self::open_checked(&self.dir.join(folder), Some(&manifest.blake3))
    }

    fn entry(&self, name: &str) -> Result<&FileEntry, StoreError> {
        self.manifest
            .file(name)
            .ok_or_else(|| StoreError::damaged(&self.dir, name, "it is needed, but the manifest does not name it"))
    }

    fn verify(&self, entry: &FileEntry) -> Result<(), StoreError> {
        let known = (self.fingerprint(entry)?, entry.blake3);
        if VERIFIED.lock().unwrap_or_else(PoisonError::into_inner).contains(&known) {
            return Ok(());
        }
        self.compare(entry, digest_file(&self.dir.join(&entry.path))?)?;
        VERIFIED.lock().unwrap_or_else(PoisonError::into_inner).insert(known);
        Ok(())
    }

    /// Looks at a file without opening it: it must be there, be a regular file and have the right size.
    fn fingerprint(&self, entry: &FileEntry) -> Result<Fingerprint, StoreError> {
        let damaged = |reason: String| StoreError::damaged(&self.dir, &entry.path, reason);
        let path = self.dir.join(&entry.path);
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(damaged("it is missing".to_owned()));
            }
            Err(cause) => return Err(StoreError::read(path, cause)),
        };
        if !metadata.is_file() {
            return Err(damaged("it is not a regular file".to_owned()));
        }
        if metadata.len() != entry.size {
            return Err(damaged(format!("it has {} bytes instead of {}", metadata.len(), entry.size)));
        }
        Ok(Fingerprint::of(&metadata))
    }

    fn compare(&self, entry: &FileEntry, found: Digest) -> Result<(), StoreError> {
        if found == entry.blake3 {
            return Ok(());
        }
        let reason = format!("its digest is {} instead of {}", found.short(), entry.blake3.short());
        Err(StoreError::damaged(&self.dir, &entry.path, reason))
    }
}

/// Something in an artifact's folder that is not a folder.
pub(crate) struct Found {
    /// Relative, with `/`; what is not UTF-8 is replaced.
    pub path: String,
    /// Not a link, pipe, socket or device.
    pub is_file: bool,
}

/// Everything below a folder, sorted by path.
pub(crate) fn list_files(dir: &Path) -> io::Result<Vec<Found>> {
    fn walk(dir: &Path, prefix: &str, found: &mut Vec<Found>) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                walk(&entry.path(), &format!("{path}/"), found)?;
            } else {
                found.push(Found { path, is_file: kind.is_file() });
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(dir, "", &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;
    use crate::ArtifactWriter;

    fn bundle(dir: &Path) -> Artifact {
        let target = dir.join("model");
        let writer = ArtifactWriter::beside(&target).unwrap();
        writer.write_bytes("weights.bin", &[7; 1000]).unwrap();
        writer.write_json("sub/state.json", &json!({ "mean": [0.5, 1.5] })).unwrap();
        writer.write_bytes("empty", b"").unwrap();
        writer.publish_at(&target, "test", 2, json!({ "rows": 3 })).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let written = bundle(dir.path());
        let artifact = Artifact::open(&dir.path().join("model")).unwrap();
        assert_eq!(artifact.manifest(), written.manifest());
        assert_eq!(artifact.digest(), written.digest());
        assert_eq!(artifact.read_bytes("weights.bin").unwrap(), [7; 1000]);
        assert_eq!(artifact.read_json::<serde_json::Value>("sub/state.json").unwrap(), json!({ "mean": [0.5, 1.5] }));
        assert_eq!(fs::read(artifact.verified_path("weights.bin").unwrap()).unwrap(), [7; 1000]);
        assert!(artifact.read_bytes("empty").unwrap().is_empty());
        artifact.verify_all().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn damage_is_named() {
        type Spoil = fn(&Path);
        let cases: [(&str, &str, Spoil); 7] = [
            ("weights.bin", "its digest is", |dir| {
                flip(&dir.join("weights.bin"), 500);
            }),
            ("sub/state.json", "its digest is", |dir| {
                flip(&dir.join("sub/state.json"), 0);
            }),
            ("weights.bin", "it has 999 bytes instead of 1000", |dir| {
                fs::write(dir.join("weights.bin"), [7; 999]).unwrap();
            }),
            ("empty", "it has 1 bytes instead of 0", |dir| {
                fs::write(dir.join("empty"), "x").unwrap();
            }),
            ("empty", "it is missing", |dir| {
                fs::remove_file(dir.join("empty")).unwrap();
            }),
            ("sub/state.json", "it is missing", |dir| {
                fs::remove_dir_all(dir.join("sub")).unwrap();
                fs::write(dir.join("sub"), "").unwrap();
            }),
            ("weights.bin", "it is not a regular file", |dir| {
                fs::rename(dir.join("weights.bin"), dir.join("../moved")).unwrap();
                std::os::unix::fs::symlink("../moved", dir.join("weights.bin")).unwrap();
            }),
        ];
        for (file, reason, spoil) in cases {
            let dir = tempfile::tempdir().unwrap();
            let artifact = bundle(dir.path());
            spoil(artifact.dir());
            let all = artifact.verify_all().unwrap_err();
            assert!(all.is_damaged());
            for error in [all, artifact.read_bytes(file).unwrap_err(), artifact.verified_path(file).unwrap_err()] {
                let start = format!("`{file}` in {} is damaged: {reason}", artifact.dir().display());
                assert!(error.to_string().starts_with(&start), "{error}");
            }
        }
    }

    #[test]
    fn a_file_too_many_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let artifact = bundle(dir.path());
        fs::write(artifact.dir().join("sub/planted"), "x").unwrap();
        let path = artifact.dir().display();
        assert_eq!(
            artifact.verify_all().unwrap_err().to_string(),
            format!(
                "`sub/planted` in {path} is damaged: the manifest does not name it; remove {path}, the next run makes it \
                 again"
            )
        );
        for unknown in ["sub/planted", "other", "../model/empty", "manifest.json"] {
            assert!(artifact.read_bytes(unknown).unwrap_err().is_damaged(), "{unknown}");
        }
    }

    #[test]
    fn every_flip_in_the_manifest_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let artifact = bundle(dir.path());
        let path = artifact.dir().join(MANIFEST);
        let bytes = fs::read(&path).unwrap();
        for i in 0..bytes.len() {
            flip(&path, i);
            let message = Artifact::open(artifact.dir()).unwrap_err().to_string();
            assert!(message.starts_with("`manifest.json` in "), "byte {i}: {message}");
            flip(&path, i);
        }
        Artifact::open(artifact.dir()).unwrap();
    }

    #[test]
    fn a_checked_path_is_checked_again_when_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let artifact = bundle(dir.path());
        let path = artifact.verified_path("weights.bin").unwrap();
        flip(&path, 1);
        // The clock of a file system is coarse; a user's change comes later than this.
        fs::File::open(&path).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert!(artifact.verified_path("weights.bin").unwrap_err().is_damaged());
    }

    #[test]
    fn kinds_and_their_versions() {
        let dir = tempfile::tempdir().unwrap();
        let artifact = bundle(dir.path());
        let path = artifact.dir().display();
        assert_eq!(artifact.require_kind("test", 2).unwrap(), 2);
        assert_eq!(artifact.require_kind("test", 3).unwrap(), 2);
        let message = artifact.require_kind("test", 1).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{path} holds `test` version 2, written by retune ")), "{message}");
        let message = artifact.require_kind("pca", 2).unwrap_err().to_string();
        assert_eq!(message, format!("{path} holds `test` where `pca` is needed"));
    }

    #[test]
    fn a_folder_without_manifest_and_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        let message = Artifact::open(dir.path()).unwrap_err().to_string();
        assert_eq!(message, format!("{path} is not a retune artifact: it has no `manifest.json` written by retune"));
        let message = Artifact::open(&dir.path().join("none")).unwrap_err().to_string();
        assert_eq!(message, format!("cannot read {path}/none: no such file or directory"));
    }

    #[test]
    fn an_artifact_inside_another() {
        let dir = tempfile::tempdir().unwrap();
        let inner = bundle(dir.path());
        let target = dir.path().join("outer");
        let writer = ArtifactWriter::beside(&target).unwrap();
        writer.embed("stages/0", &inner).unwrap();
        let outer = writer.publish_at(&target, "bundle", 1, json!({})).unwrap();
        outer.verify_all().unwrap();
        let embedded = outer.embedded("stages/0").unwrap();
        assert_eq!(embedded.manifest(), inner.manifest());
        embedded.verify_all().unwrap();
        flip(&outer.dir().join("stages/0/manifest.json"), 30);
        assert!(outer.embedded("stages/0").unwrap_err().is_damaged());
        assert!(outer.embedded("stages/1").unwrap_err().is_damaged());
    }

    fn flip(path: &Path, position: usize) {
        let mut bytes = fs::read(path).unwrap();
        bytes[position] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}
