//! Files by `torch.save`: where the pickle and the storages lie, and the tensors that the pickle makes of them.
//!
//! After `torch/serialization.py` and `caffe2/serialize/inline_container.cc`, PyTorch 2.13.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use indexmap::IndexMap;
use rawzip::{CompressionMethod, ZipArchive};

use crate::error::{ErrorKind, WeightsError};
use crate::pickle::{self, Element, Node, Pickled, Storage, Tensor, Value};
use crate::state_dict::{self, StateDict};
use crate::stored::{ByteOrder, Source, Stored};

type Result<T> = std::result::Result<T, WeightsError>;

/// The named tensors of a file, and what a user should know of how they were found.
pub(crate) struct Found {
    pub tensors: IndexMap<String, Stored>,
    pub notes: Vec<String>,
}

/// Tensors may repeat elements of a storage or share one. So many bytes, and so many times the file, may all of them have together.
const MAX_BYTES: usize = 16 << 20;
const MAX_TIMES_FILE: usize = 64;

/// A zip archive with the pickle `NAME/data.pkl`, the storages `NAME/data/0` and so on, and the order of bytes in `NAME/byteorder`.
pub(crate) fn read_zip(source: &Arc<Source>, key: Option<&str>, is_pinned: bool) -> Result<Found> {
    let archive = Archive::open(source, is_pinned)?;
    let pickle_at = archive.checked("data.pkl")?;
    let order = match archive.get("byteorder") {
        // Written from PyTorch 2.1 on; files without it are of machines that are little-endian, with very few exceptions.
        None => ByteOrder::Little,
        Some(_) => match &source[archive.checked("byteorder")?] {
            b"little" => ByteOrder::Little,
            b"big" => ByteOrder::Big,
            _ => return Err(WeightsError::damaged("`byteorder` says neither `little` nor `big`")),
        },
    };
    let pickled = pickle::read(&source[pickle_at], 0, Some("data.pkl"))?;
    let chosen = state_dict::choose(&pickled, key)?;
    let mut storages = HashMap::new();
    let storage_of = |storage: &Storage| {
        if let Some(range) = storages.get(storage.key) {
            return Ok(Range::clone(range));
        }
        let name = format!("data/{}", storage.key);
        let range = archive.checked(&name)?;
        storages.insert(storage.key.to_owned(), range.clone());
        Ok(range)
    };
    stored(source, order, &chosen, storage_of)
}

/// Four pickles - a magic number, a version, sizes of types, the object - and a fifth of the keys of storages, which follow in that order.
pub(crate) fn read_legacy(source: &Arc<Source>, key: Option<&str>) -> Result<Found> {
    let magic = pickle::read(source, 0, None)?;
    let version = pickle::read(source, magic.end, None)?;
    if version.root != Value::Int(1001) {
        return Err(WeightsError::new(
            ErrorKind::Unsupported,
            "the file is of a version of the format other than 1001",
        )
        .with_help("load it with PyTorch and save it again"));
    }
    // Storages are little-endian whatever the machine was, which is what this one describes.
    let system = pickle::read(source, version.end, None)?;
    let pickled = pickle::read(source, system.end, None)?;
    let chosen = state_dict::choose(&pickled, key)?;
    let storages = legacy_storages(source, &pickled)?;
    stored(source, ByteOrder::Little, &chosen, |storage| {
        storages.get(storage.key).cloned().ok_or_else(|| {
            WeightsError::damaged(format!("the storage `{}` is not in the file", storage.key.escape_debug()))
        })
    })
}

/// Where the storages lie: each is its number of elements in eight bytes, and the elements.
fn legacy_storages<'p>(source: &'p Source, pickled: &Pickled<'p>) -> Result<HashMap<&'p str, Range<usize>>> {
    let keys = pickle::read(source, pickled.end, None)?;
    let Some(list) = keys.list(keys.root) else {
        return Err(WeightsError::damaged("the keys of its storages are no list"));
    };
    let known: HashMap<&str, &Storage> = pickled.storages().map(|storage| (storage.key, storage)).collect();
    let mut at = keys.end;
    let mut storages = HashMap::new();
    for key in list {
        let Value::Text(key) = *key else {
            return Err(WeightsError::damaged("the key of a storage is no text"));
        };
        let Some(storage) = known.get(key) else {
            return Err(WeightsError::damaged(format!("no tensor has the storage `{}`", key.escape_debug())));
        };
        let name = key.escape_debug();
        let cut = || WeightsError::damaged(format!("the file is cut: it ends within the storage `{name}`"));
        let (head, rest) = source.get(at..).and_then(<[u8]>::split_first_chunk).ok_or_else(cut)?;
        if u64::from_le_bytes(*head) != storage.n_elements as u64 {
            return Err(WeightsError::damaged(format!(
                "the storage `{name}` is not of the length that its tensors say"
            )));
        }
        let length = storage.n_elements.checked_mul(storage.element.size());
        let length = length.filter(|length| *length <= rest.len()).ok_or_else(cut)?;
        let start = at + head.len();
        at = start + length;
        if storages.insert(key, start..at).is_some() {
            return Err(WeightsError::damaged(format!("the storage `{name}` is there twice")));
        }
    }
    Ok(storages)
}

/// The tensors of a state dict, each checked against its storage.
fn stored<'p>(
    source: &Arc<Source>,
    order: ByteOrder,
    chosen: &StateDict<'p, '_>,
    mut storage_of: impl FnMut(&Storage<'p>) -> Result<Range<usize>>,
) -> Result<Found> {
    let mut n_bytes_left = source.len().saturating_mul(MAX_TIMES_FILE).saturating_add(MAX_BYTES);
    let mut tensors = IndexMap::with_capacity(chosen.tensors.len());
    for (name, node) in &chosen.tensors {
        let place = |error: WeightsError| error.within(&format!("tensor `{}`", name.escape_debug()));
        let tensor = match node {
            Node::Tensor(tensor) => tensor,
            Node::OtherTensor(what) => return Err(place(unsupported(what))),
            _ => continue,
        };
        let bytes = storage_of(&tensor.storage).map_err(place)?;
        let tensor = checked(source, order, tensor, bytes).map_err(place)?;
        n_bytes_left = n_bytes_left.checked_sub(tensor.n_bytes()).ok_or_else(|| {
            place(WeightsError::damaged(format!(
                "with it, the tensors have more than {MAX_TIMES_FILE} times the bytes of the file"
            )))
        })?;
        tensors.insert((*name).to_owned(), tensor);
    }
    Ok(Found { tensors, notes: chosen.notes.clone() })
}

/// A tensor whose storage is these bytes, none of whose elements lies outside it.
fn checked(source: &Arc<Source>, order: ByteOrder, tensor: &Tensor, bytes: Range<usize>) -> Result<Stored> {
    let Tensor { storage, element, at } = tensor;
    if storage.n_elements.checked_mul(storage.element.size()) != Some(bytes.len()) {
        return Err(WeightsError::damaged(format!(
            "its storage `{}` has {} bytes instead of {} elements of {}",
            storage.key.escape_debug(),
            bytes.len(),
            storage.n_elements,
            storage.element.size()
        )));
    }
    let bytes = match storage.view {
        None => bytes,
        Some((offset, length)) => {
            let size = storage.element.size();
            let start = offset.checked_mul(size).and_then(|offset| bytes.start.checked_add(offset));
            let end = length.checked_mul(size).and_then(|length| start?.checked_add(length));
            match (start, end) {
                (Some(start), Some(end)) if end <= bytes.end => start..end,
                _ => return Err(WeightsError::damaged("its storage reaches beyond the one that holds it")),
            }
        }
    };
    let dtype = match element {
        Element::Known(dtype) => *dtype,
        Element::Other(other) => return Err(unsupported(other.name)),
    };
    let n_there = bytes.len() / dtype.size();
    let fits = at.end().is_some_and(|end| end <= n_there)
        && at.n_elements().and_then(|n| n.checked_mul(dtype.size())).is_some();
    if !fits {
        return Err(WeightsError::damaged(format!(
            "offset {}, shape {:?} and strides {:?} reach beyond its storage of {n_there} elements",
            at.offset, at.shape, at.strides
        )));
    }
    Ok(Stored::picked(source, dtype, bytes, order, at.clone()))
}

fn unsupported(what: &str) -> WeightsError {
    WeightsError::new(ErrorKind::Unsupported, format!("it is {what}, a kind that is not read"))
        .with_help("convert it where the file was made, or leave it out of the state dict")
}

/// The records of a zip archive, by the name after the folder that all are in.
struct Archive<'s> {
    source: &'s [u8],
    records: HashMap<String, Record>,
    /// The SHA-256 of the whole file was as expected, which says more than the checksums in it.
    is_pinned: bool,
}

struct Record {
    bytes: Range<usize>,
    crc: u32,
    /// Neither compressed nor encrypted.
    is_plain: bool,
}

impl<'s> Archive<'s> {
    fn open(source: &'s [u8], is_pinned: bool) -> Result<Self> {
        let failed = |error: rawzip::Error| WeightsError::damaged(format!("it is not a whole zip archive, {error}"));
        let archive = ZipArchive::from_slice(source).map_err(failed)?;
        let mut entries = archive.entries();
        let mut records = HashMap::new();
        let mut folder = None;
        while let Some(entry) = entries.next_entry().map_err(failed)? {
            let path = entry.file_path();
            let Ok(path) = std::str::from_utf8(path.as_ref()) else {
                return Err(WeightsError::damaged("a record has a name that is not UTF-8"));
            };
            let (found, name) = path.split_once('/').unwrap_or(("", path));
            // As in PyTorch, the first record tells the folder.
            if *folder.get_or_insert_with(|| found.to_owned()) != found {
                continue;
            }
            let there = archive.get_entry(entry.wayfinder()).map_err(failed)?;
            let (start, end) = there.compressed_data_range();
            let record = Record {
                bytes: start as usize..end as usize,
                crc: entry.crc32(),
                is_plain: entry.compression_method() == CompressionMethod::STORE && !entry.flags().is_encrypted(),
            };
            if records.insert(name.to_owned(), record).is_some() {
                return Err(WeightsError::damaged(format!("the record `{}` is there twice", path.escape_debug())));
            }
        }
        Self { source, records, is_pinned }.told_from_others()
    }

    /// Itself, if it holds what `torch.save` writes.
    fn told_from_others(self) -> Result<Self> {
        let has_folder = |folder: &str| self.records.keys().any(|name| name.starts_with(folder));
        if self.records.contains_key("constants.pkl") || has_folder("code/") {
            return Err(WeightsError::new(
                ErrorKind::TorchScript,
                "it is TorchScript, which is a program and not only weights",
            )
            .with_help(
                "if you trust whoever made it, say `trust: true`; or save `module.state_dict()` where it was made",
            ));
        }
        if self.records.contains_key("data.pkl") {
            return Ok(self);
        }
        let what = if self.records.keys().any(|name| name.ends_with(".npy")) {
            "a NumPy archive (npz)"
        } else if self.records.contains_key("archive_format")
            || self.records.contains_key("serialized_exported_program.json")
        {
            "a program by `torch.export`"
        } else {
            "a zip archive without the `data.pkl` that PyTorch writes"
        };
        Err(WeightsError::new(ErrorKind::Format, format!("it is {what}"))
            .with_help("load it where it was made and save its tensors as safetensors"))
    }

    fn get(&self, name: &str) -> Option<&Record> {
        self.records.get(name)
    }

    /// Where a record's bytes lie.
    fn stored(&self, name: &str) -> Result<Range<usize>> {
        let Some(record) = self.get(name) else {
            return Err(WeightsError::damaged(format!("the record `{}` is missing", name.escape_debug())));
        };
        if !record.is_plain {
            let message = format!(
                "the record `{}` is compressed or encrypted, which `torch.save` does not do",
                name.escape_debug()
            );
            return Err(WeightsError::new(ErrorKind::Unsupported, message)
                .with_help("unpack the archive and pack it again with `zip -0 -r`, or save it again"));
        }
        Ok(record.bytes.clone())
    }

    /// The same, after the record was held against its checksum where nothing better is known.
    fn checked(&self, name: &str) -> Result<Range<usize>> {
        let bytes = self.stored(name)?;
        if self.is_pinned
            || self.get(name).map(|record| record.crc) == Some(crc32fast::hash(&self.source[bytes.clone()]))
        {
            return Ok(bytes);
        }
        Err(WeightsError::new(
            ErrorKind::Damaged,
            format!("the record `{}` does not have its checksum", name.escape_debug()),
        )
        .with_help("fetch or make the file again; one that was saved without checksums is read with its `sha256:`"))
    }
}
