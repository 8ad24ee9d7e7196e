//! JSON files that prove themselves: the last field of the object is the BLAKE3 of every byte before it.
//!
//! ```text
//! {
//!   "kind": "pca",
//!   "blake3": "<digest of every byte before the comma>"
//! }
//! ```
//! The seal is exact to the byte, and the file stays plain JSON. Later versions of the program keep the seal.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Digest, StoreError};

const TAIL_LEN: usize = ",\n  \"blake3\": \"".len() + 64 + "\"\n}\n".len();

/// The bytes of a value that serializes to a JSON object with at least one field, `path` being where they will go.
pub(crate) fn seal<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, StoreError> {
    let json_error = |reason: String| StoreError::Json { path: path.to_owned(), reason };
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| json_error(error.to_string()))?;
    if !bytes.ends_with(b"\n}") {
        return Err(json_error("not an object with fields".to_owned()));
    }
    bytes.truncate(bytes.len() - 2);
    let tail = tail(&bytes);
    bytes.extend(tail);
    Ok(bytes)
}

/// True if these bytes came from [`seal`] and nothing happened to them since.
pub(crate) fn is_intact(bytes: &[u8]) -> bool {
    bytes.len().checked_sub(TAIL_LEN).is_some_and(|end| bytes[end..] == tail(&bytes[..end]))
}

fn tail(body: &[u8]) -> Vec<u8> {
    format!(",\n  \"blake3\": \"{}\"\n}}\n", Digest::of(body)).into_bytes()
}

/// Any value, as one field of a sealed object.
#[derive(Serialize, Deserialize)]
struct Record<T> {
    record: T,
}

/// The bytes of a sealed record.
pub(crate) fn seal_record<T: Serialize>(path: &Path, record: &T) -> Result<Vec<u8>, StoreError> {
    seal(path, &Record { record })
}

/// The record in these bytes; `None` if they are torn, flipped or of another shape.
pub(crate) fn open_record<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    if !is_intact(bytes) {
        return None;
    }
    serde_json::from_slice::<Record<T>>(bytes).ok().map(|record| record.record)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_flip_and_every_cut_is_seen() {
        let value = json!({ "score": 0.1, "names": ["a", "b"], "none": null });
        let bytes = seal_record(Path::new("x"), &value).unwrap();
        assert_eq!(open_record::<Value>(&bytes), Some(value));
        for i in 0..bytes.len() {
            assert!(!is_intact(&bytes[..i]), "cut at {i}");
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[i] ^= 1 << bit;
                assert!(!is_intact(&flipped), "bit {bit} of byte {i}");
            }
        }
        assert!(!is_intact(&[&bytes[..], b"\n"].concat()));
    }

    #[test]
    fn a_record_of_another_shape_is_none() {
        let bytes = seal_record(Path::new("x"), &json!({ "a": 1 })).unwrap();
        assert_eq!(open_record::<Vec<u8>>(&bytes), None);
    }

    #[test]
    fn a_sealed_file_is_plain_json_and_needs_fields() {
        let bytes = seal(Path::new("x"), &json!({ "a": 1 })).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["a"], 1);
        assert!(value["blake3"].is_string());
        for not_an_object in [json!({}), json!([1]), json!(1)] {
            assert!(matches!(seal(Path::new("x"), &not_an_object), Err(StoreError::Json { .. })));
        }
    }
}
