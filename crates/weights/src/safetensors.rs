//! The safetensors format, <https://github.com/huggingface/safetensors#format>: the length of a header, the header, which is JSON, and the tensors' bytes.
//!
//! The crate `safetensors` reads it too, and the tests hold this reader against it. It lets a name be there twice, does not name the tensor that is at fault, and
//! writes metadata in an order that changes from run to run.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, WeightsError};
use crate::stored::{Dtype, Source, Stored, n_elements};

type Result<T> = std::result::Result<T, WeightsError>;

const METADATA: &str = "__metadata__";

/// As in the crate `safetensors`.
const MAX_HEADER: u64 = 100_000_000;

/// A tensor that is to be written.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// The kind of its elements.
    pub dtype: Dtype,
    /// Its shape; empty for a single number.
    pub shape: &'a [usize],
    /// Its values, the last axis varying fastest, as little-endian bytes.
    pub bytes: Cow<'a, [u8]>,
}

/// The bytes of a safetensors file. The same tensors and metadata give the same bytes, in whatever order they come.
///
/// A name that is there twice, or that is `__metadata__`, and bytes that are not as many as the shape needs, are errors.
pub fn to_bytes<'a>(
    tensors: impl IntoIterator<Item = Named<'a>>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let (header, tensors) = header(tensors, metadata)?;
    let mut bytes = header;
    for tensor in tensors {
        bytes.extend_from_slice(&tensor.bytes);
    }
    Ok(bytes)
}

/// Writes a safetensors file, so that whoever reads it, now or after a crash, sees the old content or the new and never a part. Otherwise as [`to_bytes`].
///
/// The temporary is made beside `path`, whose folder must exist.
pub fn write<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = Named<'a>>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let (header, tensors) = header(tensors, metadata).map_err(|error| error.within(&path.display().to_string()))?;
    write_atomic(path, &header, &tensors).map_err(|error| {
        WeightsError::new(ErrorKind::Write, format!("cannot write {}: {error}", path.display()))
            .with_help("choose a folder that exists, can be written to and has room")
    })
}

fn write_atomic(path: &Path, header: &[u8], tensors: &[Named]) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut options = tempfile::Builder::new();
    options.prefix(".retune-weights-");
    // Readable by whoever may read other files that the user writes.
    #[cfg(unix)]
    options.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temporary = options.tempfile_in(parent)?;
    temporary.write_all(header)?;
    for tensor in tensors {
        temporary.write_all(&tensor.bytes)?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(parent)?.sync_all()
}

#[derive(Serialize, Deserialize)]
struct Info<'h> {
    #[serde(borrow)]
    dtype: Cow<'h, str>,
    shape: Cow<'h, [usize]>,
    data_offsets: (usize, usize),
}

/// The length and the header, padded to a multiple of eight bytes, and the tensors in the order of the file: larger elements first, so that
/// all are aligned, then by name.
fn header<'a>(
    tensors: impl IntoIterator<Item = Named<'a>>,
    metadata: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, Vec<Named<'a>>)> {
    let mut tensors: Vec<Named> = tensors.into_iter().collect();
    tensors.sort_by(|a, b| rank(b.dtype).cmp(&rank(a.dtype)).then(a.name.cmp(b.name)));
    let mut names = HashSet::new();
    let mut at = 0;
    let mut entries = Vec::with_capacity(tensors.len() + 1);
    if !metadata.is_empty() {
        entries.push(entry(METADATA, metadata)?);
    }
    for tensor in &tensors {
        if tensor.name == METADATA || !names.insert(tensor.name) {
            let why = if tensor.name == METADATA { "is no name for a tensor" } else { "is there twice" };
            return Err(WeightsError::new(ErrorKind::Write, format!("`{}` {why}", tensor.name.escape_debug()))
                .with_help("give each tensor a name of its own"));
        }
        let expected = n_elements(tensor.shape).and_then(|n| n.checked_mul(tensor.dtype.size()));
        if expected != Some(tensor.bytes.len()) {
            let message = format!(
                "tensor `{}` has {} bytes, which is not what {} {:?} needs",
                tensor.name.escape_debug(),
                tensor.bytes.len(),
                tensor.dtype,
                tensor.shape
            );
            return Err(WeightsError::new(ErrorKind::Write, message));
        }
        let info = Info {
            dtype: tensor.dtype.name().into(),
            shape: tensor.shape.into(),
            data_offsets: (at, at + tensor.bytes.len()),
        };
        entries.push(entry(tensor.name, &info)?);
        at += tensor.bytes.len();
    }
    let json = format!("{{{}}}", entries.join(","));
    let length = json.len().next_multiple_of(8);
    if length as u64 > MAX_HEADER {
        return Err(WeightsError::new(ErrorKind::Write, format!("a header of {length} bytes is too long")));
    }
    let mut bytes = (length as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.resize(8 + length, b' ');
    Ok((bytes, tensors))
}

fn entry<T: Serialize + ?Sized>(name: &str, value: &T) -> Result<String> {
    let json = |result: serde_json::Result<String>| {
        result.map_err(|error| WeightsError::new(ErrorKind::Write, format!("no JSON can be made of `{name}`, {error}")))
    };
    Ok(format!("{}:{}", json(serde_json::to_string(name))?, json(serde_json::to_string(value))?))
}

/// The order of kinds in the crate `safetensors`, whose files ours are like to the byte.
fn rank(dtype: Dtype) -> u8 {
    match dtype {
        Dtype::Bool => 0,
        Dtype::U8 => 1,
        Dtype::I8 => 2,
        Dtype::I16 => 3,
        Dtype::F16 => 4,
        Dtype::BF16 => 5,
        Dtype::I32 => 6,
        Dtype::F32 => 7,
        Dtype::F64 => 8,
        Dtype::I64 => 9,
    }
}

/// The tensors in the order of their bytes, and the metadata.
pub(crate) fn read(source: &Arc<Source>) -> Result<(IndexMap<String, Stored>, BTreeMap<String, String>)> {
    let (header, start) = split(source)?;
    let mut infos = header.tensors;
    infos.sort_by_key(|(_, info)| info.data_offsets);
    let n_bytes = source.len() - start;
    let mut tensors = IndexMap::with_capacity(infos.len());
    let mut end = 0;
    let mut previous = String::new();
    for (name, info) in infos {
        let shown = name.escape_debug().to_string();
        let wrong = |what: String| WeightsError::damaged(format!("tensor `{shown}` {what}"));
        let Some(dtype) = Dtype::named(&info.dtype) else {
            let message = format!("tensor `{shown}` is {}, a kind that is not read", info.dtype.escape_debug());
            return Err(WeightsError::new(ErrorKind::Unsupported, message)
                .with_help("convert it where the file was made, or leave it out"));
        };
        let Range { start: from, end: to } = info.data_offsets.0..info.data_offsets.1;
        if from > to || to > n_bytes {
            return Err(wrong(format!("is said to be bytes {from} to {to} of {n_bytes}")));
        }
        let needed = n_elements(&info.shape).and_then(|n| n.checked_mul(dtype.size()));
        if needed != Some(to - from) {
            let needed = needed.map_or("more than there can be".to_owned(), |needed| needed.to_string());
            return Err(wrong(format!("has {} bytes; {dtype} {:?} needs {needed}", to - from, info.shape)));
        }
        if from < end {
            return Err(wrong(format!("overlaps tensor `{previous}`")));
        }
        if from > end {
            return Err(wrong(format!("begins at byte {from}, and no tensor has the bytes from {end} on")));
        }
        end = to;
        tensors.insert(name, Stored::plain(source, dtype, info.shape.into_owned(), start + from..start + to));
        previous = shown;
    }
    if end != n_bytes {
        return Err(WeightsError::damaged(format!("no tensor has the last {} bytes", n_bytes - end)));
    }
    Ok((tensors, header.metadata))
}

/// The header, and where it ends.
fn split(source: &[u8]) -> Result<(Header<'_>, usize)> {
    let Some((length, rest)) = source.split_first_chunk() else {
        return Err(WeightsError::damaged(format!("{} bytes are no safetensors file", source.len())));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(WeightsError::damaged(format!("its header is said to have {length} bytes, more than any has")));
    }
    let length = length as usize;
    let Some(json) = rest.get(..length) else {
        return Err(WeightsError::damaged(format!(
            "the file is cut: its header has {length} bytes, of which {} are there",
            rest.len()
        )));
    };
    let header = std::str::from_utf8(json).map_err(|error| error.to_string()).and_then(|json| {
        let mut json = serde_json::Deserializer::from_str(json);
        let header = json.deserialize_map(HeaderVisitor).map_err(|error| error.to_string())?;
        json.end().map_err(|error| error.to_string())?;
        Ok(header)
    });
    let header = header.map_err(|error| WeightsError::damaged(format!("its header cannot be read, {error}")))?;
    Ok((header, 8 + length))
}

#[derive(Default)]
struct Header<'h> {
    tensors: Vec<(String, Info<'h>)>,
    metadata: BTreeMap<String, String>,
}

/// Reads the header as a list of entries, so that none is lost that is there twice.
struct HeaderVisitor;

impl<'h> Visitor<'h> for HeaderVisitor {
    type Value = Header<'h>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'h>>(self, mut map: A) -> std::result::Result<Header<'h>, A::Error> {
        let mut header = Header::default();
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let at = |error: A::Error| A::Error::custom(format!("`{}`: {error}", name.escape_debug()));
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("`{}` is there twice", name.escape_debug())));
            }
            if name == METADATA {
                header.metadata = map.next_value().map_err(at)?;
            } else {
                let info = map.next_value().map_err(at)?;
                header.tensors.push((name, info));
            }
        }
        Ok(header)
    }
}
