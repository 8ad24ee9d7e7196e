//! BLAKE3 digests of bytes and of files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::StoreError;

/// A BLAKE3 digest, shown and stored as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest has 64 lower-case hexadecimal digits")]
pub struct ParseDigestError;

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*hash(&mut blake3::Hasher::new(), bytes).finalize().as_bytes())
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }

    /// The 32 bytes, for instance to derive a seed from.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Where it lives below `objects`, `keys` or the like: `ab/abcdef...`.
    pub(crate) fn sharded(&self) -> String {
        let hex = self.to_string();
        format!("{}/{hex}", &hex[..2])
    }
}

/// The digest of a regular file's content, read in one pass on all cores.
///
/// Reads instead of mapping the file, so that one that shrinks or a failing disk is an error, not a signal.
pub fn digest_file(path: &Path) -> Result<Digest, StoreError> {
    hash_file(path).map_err(|cause| StoreError::read(path, cause))
}

fn hash_file(path: &Path) -> io::Result<Digest> {
    const CHUNK: usize = 2 << 20;
    // Opening a pipe would wait for a writer, so we look first.
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut file = File::open(path)?;
    let mut buffer = vec![0; usize::try_from(metadata.len()).map_or(CHUNK, |size| size.saturating_add(1).min(CHUNK))];
    let mut hasher = blake3::Hasher::new();
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok(Digest(*hasher.finalize().as_bytes())),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash(&mut hasher, &buffer[..n]);
    }
}

fn hash<'a>(hasher: &'a mut blake3::Hasher, bytes: &[u8]) -> &'a mut blake3::Hasher {
    // Below this size handing the work to other threads costs more than it saves.
    if bytes.len() < 256 << 10 { hasher.update(bytes) } else { hasher.update_rayon(bytes) }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ParseDigestError);
        }
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes())).map_err(|_| ParseDigestError)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    /// `b3sum` of nothing, from the BLAKE3 test vectors.
    const NOTHING: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    #[test]
    fn hex_both_ways() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), NOTHING);
        assert_eq!(digest.short(), "af1349b9f5f9");
        assert_eq!(NOTHING.parse(), Ok(digest));
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{NOTHING}\""));
        assert_eq!(serde_json::from_str::<Digest>(&format!("\"{NOTHING}\"")).unwrap(), digest);
        for bad in ["", "af", &NOTHING.to_uppercase(), &NOTHING.replace('a', "g"), &format!("{NOTHING}0")] {
            assert_eq!(bad.parse::<Digest>(), Err(ParseDigestError), "{bad}");
        }
    }

    #[test]
    fn a_file_hashes_like_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        for size in [0, 1, 1000, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5_000_000] {
            let path = dir.path().join("file");
            let bytes: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(digest_file(&path).unwrap(), Digest(*blake3::hash(&bytes).as_bytes()), "{size} bytes");
        }
    }

    #[test]
    fn what_is_no_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for (path, reason) in [
            (dir.path().join("none"), "no such file or directory"),
            (dir.path().to_owned(), "is a directory"),
            ("/dev/null".into(), "not a regular file"),
        ] {
            let message = digest_file(&path).unwrap_err().to_string();
            assert_eq!(message, format!("cannot read {}: {reason}", path.display()));
        }
    }
}
