//! What is in the image files that rows name by their paths.

use std::path::{Path, PathBuf};

use retune_spec::images::located;
use retune_store::{Digest, StatCache, key_of};
use serde_json::{Value, json};

/// Files that are hashed before somebody is asked whether to go on.
const FILES_AT_ONCE: usize = 256;

/// How a stage reads image files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reader {
    root: Option<String>,
    max_bytes: u64,
}

/// All the ways in which a stage reads image files, by its parameters with their defaults: whatever has a limit of bytes reads such.
pub fn readers(with: &Value) -> Vec<Reader> {
    let nested: Box<dyn Iterator<Item = &Value>> = match with {
        Value::Object(entries) => Box::new(entries.values()),
        Value::Array(items) => Box::new(items.iter()),
        _ => return Vec::new(),
    };
    let own = with
        .get("max_bytes")
        .and_then(Value::as_u64)
        .map(|max_bytes| Reader { root: with.get("root").and_then(Value::as_str).map(str::to_owned), max_bytes });
    own.into_iter().chain(nested.flat_map(readers)).collect()
}

impl Reader {
    /// The digest of the paths and of what is in their files. What the reader refuses, or cannot read, counts as such: whoever reads it says what that means.
    /// Where `goes_on` says no, the digest is worth nothing.
    pub fn digest(&self, paths: &[String], folder: &Path, cache: &mut StatCache, goes_on: impl Fn() -> bool) -> Digest {
        let root = self.root.as_ref().map(|root| folder.join(root));
        let file = |path: &String| -> Option<PathBuf> {
            let file = located(path, root.as_deref()).ok().map(|file| folder.join(file))?;
            let metadata = file.metadata().ok()?;
            (metadata.is_file() && metadata.len() <= self.max_bytes).then_some(file)
        };
        let mut known: Vec<Value> = Vec::with_capacity(paths.len());
        for paths in paths.chunks(FILES_AT_ONCE) {
            if !goes_on() {
                break;
            }
            let files: Vec<Option<PathBuf>> = paths.iter().map(file).collect();
            let found: Vec<&PathBuf> = files.iter().flatten().collect();
            let all = cache.digest_files(&found).map(|digests| digests.into_iter().map(Some).collect());
            // One that cannot be read is no reason not to know the others.
            let mut one =
                |file: &&PathBuf| cache.digest_files(&[file]).ok().and_then(|digests| digests.first().copied());
            let digests: Vec<_> = all.unwrap_or_else(|_| found.iter().map(&mut one).collect());
            let mut digests = digests.into_iter();
            known.extend(paths.iter().zip(&files).map(|(path, file)| {
                let digest = file.as_ref().and_then(|_| digests.next().flatten());
                json!([path, digest.map(|digest| digest.blake3.to_string())])
            }));
        }
        key_of(&Value::from(known))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_changes_what_is_read_changes_the_digest() {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text).unwrap();
        std::fs::create_dir(place.path().join("scans")).unwrap();
        write("scans/a", "1");
        write("outside", "2");
        let paths = ["a", "b", "../outside", "/etc/passwd"].map(str::to_owned);
        let under = Reader { root: Some("scans".to_owned()), max_bytes: 3 };
        let anywhere = Reader { root: None, ..under.clone() };
        let digest = |reader: &Reader| {
            let mut cache = StatCache::load(&place.path().join("no cache"));
            reader.digest(&paths, place.path(), &mut cache, || true)
        };
        let mut before = digest(&under);
        let mut changes = |change: &dyn Fn(), expected: bool| {
            change();
            let after = digest(&under);
            assert_eq!(after != before, expected);
            before = after;
        };
        changes(&|| {}, false);
        changes(&|| write("scans/a", "3"), true);
        changes(&|| write("scans/b", "4"), true);
        // What lies outside of the root is refused, and what is too long is.
        changes(&|| write("outside", "5"), false);
        changes(&|| write("scans/b", "much too long"), true);
        changes(&|| write("scans/b", "much too long as well"), false);
        changes(&|| std::fs::remove_file(place.path().join("scans/a")).unwrap(), true);
        // Without a root, paths start at the folder.
        let before = digest(&anywhere);
        write("b", "6");
        assert_ne!(digest(&anywhere), before);
    }

    #[test]
    fn readers_are_found_wherever_they_are_declared() {
        let with = json!({ "steps": [{ "decode_image": { "root": "scans", "max_bytes": 7 } }, { "one_hot": {} }], "base": { "input": { "max_bytes": 8 } } });
        let expected = [Reader { root: Some("scans".to_owned()), max_bytes: 7 }, Reader { root: None, max_bytes: 8 }];
        assert_eq!(readers(&with), expected);
        assert!(readers(&json!({ "steps": [{ "impute": {} }] })).is_empty());
    }
}
