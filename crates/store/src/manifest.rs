//! The `manifest.json` of an artifact.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, StoreError, sealed};

/// The file in an artifact's folder that names all others.
pub const MANIFEST: &str = "manifest.json";
/// What every manifest says of its format.
pub const FORMAT: &str = "retune";
/// The version of the format that this program writes; it reads this one and older ones.
pub const FORMAT_VERSION: u32 = 1;

/// What an artifact is, who wrote it, and every file in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub format: String,
    /// The version of the manifest itself.
    pub format_version: u32,
    /// What the artifact holds, such as `pca`.
    pub kind: String,
    /// The version of that kind's files.
    pub kind_version: u32,
    /// The version of the program that wrote it.
    pub program: String,
    /// Whatever the kind wants to say without opening a file. Keys are sorted.
    pub meta: Value,
    /// Every file, sorted by path.
    pub files: Vec<FileEntry>,
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative to the artifact's folder, with `/`.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Of the content.
    pub blake3: Digest,
}

impl Manifest {
    pub(crate) fn new(kind: &str, kind_version: u32, meta: Value, files: Vec<FileEntry>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            kind: kind.to_owned(),
            kind_version,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            meta: sorted(meta),
            files,
        }
    }

    /// Reads and checks the bytes of the manifest in `dir`.
    pub(crate) fn parse(dir: &Path, bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |reason: String| StoreError::damaged(dir, MANIFEST, reason);
        if !sealed::is_intact(bytes) {
            // Many programs call a file so. One flipped byte cannot spoil both of these marks.
            let is_ours = contains(bytes, b"\"format\": \"retune\"") || contains(bytes, b"\"blake3\": \"");
            let damage = damaged("its bytes are not those that were written".to_owned());
            return Err(if is_ours { damage } else { StoreError::NotAnArtifact { dir: dir.to_owned() } });
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if head.format != FORMAT {
            return Err(StoreError::NotAnArtifact { dir: dir.to_owned() });
        }
        if head.format_version > FORMAT_VERSION {
            return Err(StoreError::Newer {
                dir: dir.to_owned(),
                what: "artifact format".to_owned(),
                found: head.format_version,
                supported: FORMAT_VERSION,
                program: head.program.escape_debug().to_string(),
            });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        for entry in &manifest.files {
            if let Err(reason) = check_name(&entry.path) {
                return Err(damaged(format!("it names the file `{}`, but {reason}", entry.path.escape_debug())));
            }
        }
        if !manifest.files.is_sorted_by(|a, b| a.path < b.path) {
            return Err(damaged("its files are not in order".to_owned()));
        }
        Ok(manifest)
    }

    /// The entry of a file.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        let found = self.files.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
        self.files.get(found)
    }
}

/// The fields that every version of the format has.
#[derive(Deserialize)]
struct Head {
    format: String,
    format_version: u32,
    program: String,
}

fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark)
}

/// Refuses names that would leave the folder or that are not portable: artifacts travel between machines.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 1024 {
        return Err("names have 1 to 1024 bytes");
    }
    if name.starts_with('/') {
        return Err("names are relative to the artifact's folder");
    }
    if name.contains(|letter: char| letter.is_control() || letter == '\\') {
        return Err("names have no control characters and no backslashes");
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("names have no empty parts, no `.` and no `..`");
    }
    if name == MANIFEST {
        return Err("that name is the manifest's own");
    }
    Ok(())
}

/// The same value with all keys in order, so that equal content has equal bytes.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().map(|(key, value)| (key, sorted(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        let entry = |path: &&str| FileEntry { path: (*path).to_owned(), size: 0, blake3: Digest::of(b"") };
        Manifest::new("test", 1, json!({ "b": 1, "a": { "d": 1, "c": 1.5 } }), paths.iter().map(entry).collect())
    }

    fn parse(manifest: &Manifest) -> Result<Manifest, String> {
        let dir = Path::new("/x");
        Manifest::parse(dir, &sealed::seal(dir, manifest).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read() {
        let manifest = manifest(&["a", "b/c.json"]);
        assert_eq!(manifest.meta.to_string(), r#"{"a":{"c":1.5,"d":1},"b":1}"#);
        assert_eq!(parse(&manifest), Ok(manifest.clone()));
        assert_eq!(manifest.file("b/c.json"), Some(&manifest.files[1]));
        assert_eq!(manifest.file("b"), None);
    }

    #[test]
    fn hostile_names_are_refused() {
        for (path, reason) in [
            ("../x", "names have no empty parts, no `.` and no `..`"),
            ("a/../../x", "names have no empty parts, no `.` and no `..`"),
            ("a//b", "names have no empty parts, no `.` and no `..`"),
            ("./a", "names have no empty parts, no `.` and no `..`"),
            ("/etc/passwd", "names are relative to the artifact's folder"),
            ("", "names have 1 to 1024 bytes"),
            ("a\\b", "names have no control characters and no backslashes"),
            ("a\u{1b}[2J", "names have no control characters and no backslashes"),
            ("manifest.json", "that name is the manifest's own"),
        ] {
            let message = parse(&manifest(&[path])).unwrap_err();
            let named = format!("it names the file `{}`, but {reason};", path.escape_debug());
            assert!(message.contains(&named), "{message}");
        }
        for fine in ["a", "a/b/c.json", "sub/manifest.json", "..a", "größe.json"] {
            assert_eq!(parse(&manifest(&[fine])).map(|_| ()), Ok(()), "{fine}");
        }
    }

    #[test]
    fn doubled_files_are_refused() {
        for paths in [["a", "a"], ["b", "a"]] {
            assert!(parse(&manifest(&paths)).unwrap_err().contains("its files are not in order"));
        }
    }

    #[test]
    fn a_newer_format_says_who_wrote_it() {
        let newer = Manifest { format_version: 3, program: "9.1.0".to_owned(), ..manifest(&[]) };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            parse(&newer).unwrap_err(),
            format!(
                "/x holds artifact format version 3, written by retune 9.1.0; this is retune {version}, which reads up \
                 to version 1: install retune 9.1.0 or a later one"
            )
        );
        let foreign = Manifest { format: "other".to_owned(), ..manifest(&[]) };
        let not_ours = "/x is not a retune artifact: it has no `manifest.json` written by retune";
        assert_eq!(parse(&foreign).unwrap_err(), not_ours);
        for content in [&b""[..], b"{}", b"{ \"name\": \"a web page\", \"icons\": [] }", b"\xff"] {
            assert_eq!(Manifest::parse(Path::new("/x"), content).unwrap_err().to_string(), not_ours);
        }
    }
}
