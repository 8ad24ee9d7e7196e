//! Writing artifacts: everything goes to a temporary folder, which becomes the artifact by one rename.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use crate::artifact::list_files;
use crate::manifest::{FileEntry, MANIFEST, Manifest, check_name};
use crate::temp::{Temp, parent_of, sweep, sync_dir};
use crate::{Artifact, Digest, StoreError, digest_file, sealed};

/// Whether what is published must outlive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is synced to the disk before it gets its name.
    Durable,
    /// It can be made again.
    Derived,
}

/// The folder of an artifact that is being written. Dropped without being published, it vanishes.
///
/// [`crate::Store::writer`] and [`crate::Store::publish`] make an object of the store of it, [`ArtifactWriter::beside`]
/// and [`ArtifactWriter::publish_at`] a folder of the user's; what writes the files in between need not know which.
#[derive(Debug)]
pub struct ArtifactWriter {
    temp: Temp,
}

impl ArtifactWriter {
    /// A writer for a folder of the user's, which must not exist yet (an empty folder may). Its parent folder is made.
    ///
    /// Takes away what killed processes left in that parent folder.
    pub fn beside(target: &Path) -> Result<Self, StoreError> {
        let parent = parent_of(target);
        fs::create_dir_all(parent).map_err(|cause| StoreError::write(parent, None, cause))?;
        if target.symlink_metadata().is_ok() && !fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none())
        {
            return Err(StoreError::Exists { path: target.to_owned() });
        }
        sweep(parent);
        Self::in_folder(parent)
    }

    /// Writes the manifest and moves the folder to the place that [`ArtifactWriter::beside`] was told, all or nothing.
    pub fn publish_at(self, target: &Path, kind: &str, kind_version: u32, meta: Value) -> Result<Artifact, StoreError> {
        self.publish_with(target, kind, kind_version, meta, Durability::Durable)
    }

    /// The same for what can be made again from the store in milliseconds: nothing waits for the disk. What a power cut
    /// tears is seen by its digests.
    pub fn publish_derived_at(
        self,
        target: &Path,
        kind: &str,
        kind_version: u32,
        meta: Value,
    ) -> Result<Artifact, StoreError> {
        self.publish_with(target, kind, kind_version, meta, Durability::Derived)
    }

    fn publish_with(
        self,
        target: &Path,
        kind: &str,
        kind_version: u32,
        meta: Value,
        durability: Durability,
    ) -> Result<Artifact, StoreError> {
        let digest = self.seal(kind, kind_version, meta, durability)?;
        fs::rename(self.path(), target)
            .and_then(|()| match durability {
                Durability::Durable => sync_dir(parent_of(target)),
                Durability::Derived => Ok(()),
            })
            .map_err(|cause| match cause.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                    StoreError::Exists { path: target.to_owned() }
                }
                _ => StoreError::write(target, None, cause),
            })?;
        Artifact::open_checked(target, Some(&digest))
    }

    pub(crate) fn in_folder(parent: &Path) -> Result<Self, StoreError> {
        Ok(Self { temp: Temp::folder(parent)? })
    }

    /// The temporary folder.
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Where a file is to be written by a library that opens paths itself; its folders are made.
    ///
    /// Names are relative, with `/` between folders.
    pub fn file_path(&self, name: &str) -> Result<PathBuf, StoreError> {
        check_name(name).map_err(|reason| StoreError::BadName { name: name.to_owned(), reason })?;
        self.place(name)
    }

    /// A new file. A failure to write to it is best told by [`StoreError::write`].
    pub fn create(&self, name: &str) -> Result<File, StoreError> {
        let path = self.file_path(name)?;
        create_new(&path).map_err(|cause| StoreError::write(path, None, cause))
    }

    /// A new file with this content.
    pub fn write_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.file_path(name)?;
        write_new(&path, bytes)
    }

    /// A new JSON file. Not-a-number and infinities become `null`: JSON has no others.
    pub fn write_json<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        let path = self.file_path(name)?;
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|error| StoreError::Json { path: path.clone(), reason: error.to_string() })?;
        bytes.push(b'\n');
        write_new(&path, &bytes)
    }

    /// Copies a whole artifact into a subfolder, checking every file; [`Artifact::embedded`] opens it there.
    pub fn embed(&self, folder: &str, artifact: &Artifact) -> Result<(), StoreError> {
        let manifest = artifact.dir().join(MANIFEST);
        let bytes = fs::read(&manifest).map_err(|cause| StoreError::read(manifest, cause))?;
        if Digest::of(&bytes) != artifact.digest() {
            return Err(StoreError::damaged(artifact.dir(), MANIFEST, "it changed since it was opened"));
        }
        self.write_bytes(&format!("{folder}/{MANIFEST}"), &bytes)?;
        for entry in &artifact.manifest().files {
            let (from, to) =
                (artifact.verified_path(&entry.path)?, self.file_path(&format!("{folder}/{}", entry.path))?);
            fs::copy(from, &to).map_err(|cause| StoreError::write(to, Some(entry.size), cause))?;
        }
        Ok(())
    }

    /// Hashes and syncs every file and folder and writes the manifest, the last file; returns its digest.
    pub(crate) fn seal(
        &self,
        kind: &str,
        kind_version: u32,
        meta: Value,
        durability: Durability,
    ) -> Result<Digest, StoreError> {
        let found = list_files(self.path()).map_err(|cause| StoreError::read(self.path(), cause))?;
        for file in &found {
            let reason = if file.is_file { check_name(&file.path).err() } else { Some("it is not a regular file") };
            if let Some(reason) = reason {
                return Err(StoreError::BadName { name: file.path.clone(), reason });
            }
        }
        let entries: Vec<_> = found.into_par_iter().map(|file| self.sync_and_hash(file.path, durability)).collect();
        let files = entries.into_iter().collect::<Result<Vec<_>, _>>()?;
        let folders = folders_of(&files);

        let path = self.place(MANIFEST)?;
        let bytes = sealed::seal(&path, &Manifest::new(kind, kind_version, meta, files))?;
        write_new(&path, &bytes)?;
        if durability == Durability::Derived {
            return Ok(Digest::of(&bytes));
        }
        for path in folders.iter().map(|folder| self.path().join(folder)).chain([path, self.path().to_owned()]) {
            // `sync_dir` syncs whatever the path names, the manifest too.
            sync_dir(&path).map_err(|cause| StoreError::write(path, None, cause))?;
        }
        Ok(Digest::of(&bytes))
    }

    fn sync_and_hash(&self, name: String, durability: Durability) -> Result<FileEntry, StoreError> {
        let path = self.path().join(&name);
        let size = File::open(&path)
            .and_then(|file| {
                if durability == Durability::Durable {
                    file.sync_all()?;
                }
                file.metadata()
            })
            .map_err(|cause| StoreError::write(&path, None, cause))?
            .len();
        Ok(FileEntry { path: name, size, blake3: digest_file(&path)? })
    }

    fn place(&self, name: &str) -> Result<PathBuf, StoreError> {
        let path = self.path().join(name);
        let folder = parent_of(&path);
        fs::create_dir_all(folder).map_err(|cause| StoreError::write(folder, None, cause))?;
        Ok(path)
    }
}

/// All folders that hold files, innermost first within each path.
fn folders_of(files: &[FileEntry]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = files
        .iter()
        .flat_map(|file| Path::new(&file.path).ancestors().skip(1))
        .filter(|folder| !folder.as_os_str().is_empty())
        .map(Path::to_owned)
        .collect();
    folders.sort_by(|a, b| b.cmp(a));
    folders.dedup();
    folders
}

fn create_new(path: &Path) -> io::Result<File> {
    // A second file of the same name is a mistake of ours, better heard of than overwritten.
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    create_new(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|cause| StoreError::write(path, Some(bytes.len() as u64), cause))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_checked_and_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let writer = ArtifactWriter::in_folder(dir.path()).unwrap();
        for bad in ["../x", "/x", "a/../x", "manifest.json", ""] {
            assert!(matches!(writer.write_bytes(bad, b""), Err(StoreError::BadName { .. })), "{bad}");
            assert!(matches!(writer.create(bad), Err(StoreError::BadName { .. })), "{bad}");
        }
        let message = writer.file_path("../x").unwrap_err().to_string();
        assert_eq!(message, "`../x` cannot be a file of an artifact: names have no empty parts, no `.` and no `..`");
        writer.write_bytes("a", b"1").unwrap();
        assert!(writer.write_bytes("a", b"2").unwrap_err().to_string().contains("file exists"));
    }

    #[test]
    fn links_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let writer = ArtifactWriter::in_folder(dir.path()).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", writer.path().join("link")).unwrap();
        let message = writer.seal("test", 1, json!({}), Durability::Durable).unwrap_err().to_string();
        assert_eq!(message, "`link` cannot be a file of an artifact: it is not a regular file");
    }

    #[test]
    fn a_place_that_is_taken_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("model");
        fs::create_dir(&taken).unwrap();
        // An empty folder will do, a full one not, whenever it got full.
        let early = ArtifactWriter::beside(&taken).unwrap();
        fs::write(taken.join("mine"), "precious").unwrap();
        let expected = format!("{} already exists; remove it or choose another folder", taken.display());
        assert_eq!(early.publish_at(&taken, "test", 1, json!({})).unwrap_err().to_string(), expected);
        assert_eq!(ArtifactWriter::beside(&taken).unwrap_err().to_string(), expected);
        assert_eq!(
            ArtifactWriter::beside(&taken.join("mine")).unwrap_err().to_string(),
            expected.replace("model", "model/mine")
        );
        assert_eq!(fs::read_to_string(taken.join("mine")).unwrap(), "precious");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
