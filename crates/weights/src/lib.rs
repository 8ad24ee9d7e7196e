//! Weights files: safetensors and PyTorch's, read without running code.
//!
//! [`Weights::open`] tells the format by the content, maps the file and checks everything that its tensors depend on; their bytes are then those of the map, or
//! gathered on demand. A PyTorch file is a pickle, which in Python may run any code: the reader here knows the few names that rebuild tensors, does by itself what
//! they stand for, and refuses every other.
//!
//! ```no_run
//! # fn main() -> Result<(), retune_weights::WeightsError> {
//! use retune_weights::{Dtype, KNOWN_BUFFERS, Mapping, Options, Weights, compare};
//!
//! let weights = Weights::open("model.pt".as_ref(), &Options::default())?;
//! let weights = weights.mapped(&Mapping::new([("module.*", Some("*")), ("head.*", None)])?)?;
//! let fit = compare(&weights, &[("conv.weight", Dtype::F32, [16, 3, 3, 3])], &KNOWN_BUFFERS);
//! assert!(fit.is_exact(), "{fit}");
//! # Ok(())
//! # }
//! ```

mod error;
mod fit;
mod format;
mod mapping;
mod pattern;
mod pickle;
mod safetensors;
mod state_dict;
mod stored;
mod torch;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind::NotFound;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use memmap2::Mmap;
use sha2::{Digest, Sha256};

pub use error::{ErrorKind, WeightsError};
pub use fit::{Fit, KNOWN_BUFFERS, Mismatch, OtherKind, compare};
pub use format::Format;
pub use mapping::Mapping;
pub use safetensors::{Named, to_bytes, write};
pub use stored::{Dtype, Stored};

use stored::Source;

/// How a weights file is read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The SHA-256 that the whole file must have, as 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// Where the dict of tensors is in a PyTorch checkpoint, keys with dots between them: `model` or `checkpoint.model`. Without it, it is the one under a key
    /// that training programs use, `state_dict` or `model` and the like, or else the whole object.
    pub key: Option<String>,
}

/// The named tensors of a file, in its order.
#[derive(Clone, Debug)]
pub struct Weights {
    file: String,
    format: Format,
    tensors: IndexMap<String, Stored>,
    metadata: BTreeMap<String, String>,
    notes: Vec<String>,
}

impl Weights {
    /// Maps a file and checks it, all but the values.
    ///
    /// What is no weights file, is named like another kind of one, is not the file that was pinned, is damaged or would run code is an error that says so.
    pub fn open(path: &Path, options: &Options) -> Result<Self, WeightsError> {
        let name = path.display().to_string();
        let source = map(path).map_err(|error| match error.kind() {
            NotFound => WeightsError::new(ErrorKind::Read, format!("no file {name}"))
                .with_help("paths are relative to the working directory"),
            _ => WeightsError::new(ErrorKind::Read, format!("cannot read {name}: {error}"))
                .with_help("name a file that can be read"),
        })?;
        Self::read(source, path, options).map_err(|error| error.within(&name))
    }

    /// The same for the bytes of a file. Its name is for messages, and must not say another format than the bytes have.
    pub fn from_bytes(bytes: Vec<u8>, file: &str, options: &Options) -> Result<Self, WeightsError> {
        Self::read(Source::Held(bytes), Path::new(file), options).map_err(|error| error.within(file))
    }

    fn read(source: Source, path: &Path, options: &Options) -> Result<Self, WeightsError> {
        if let Some(expected) = &options.sha256 {
            check_digest(&source, expected)?;
        }
        let format = format::recognise(&source, path)?;
        let source = Arc::new(source);
        let key = options.key.as_deref();
        let mut metadata = BTreeMap::new();
        let found = match format {
            Format::Safetensors if key.is_some() => {
                return Err(WeightsError::new(ErrorKind::Key, "a safetensors file has no dict within a dict")
                    .with_help("leave `key:` out"));
            }
            Format::Safetensors => {
                let tensors;
                (tensors, metadata) = safetensors::read(&source)?;
                torch::Found { tensors, notes: Vec::new() }
            }
            Format::TorchZip => torch::read_zip(&source, key, options.sha256.is_some())?,
            Format::TorchLegacy => torch::read_legacy(&source, key)?,
        };
        Ok(Self { file: path.display().to_string(), format, tensors: found.tensors, metadata, notes: found.notes })
    }

    /// Under other names, some left out. A rule that decides for no tensor is an error, and so are two tensors of one name.
    pub fn mapped(&self, mapping: &Mapping) -> Result<Self, WeightsError> {
        let tensors = mapping.applied(&self.tensors).map_err(|error| error.within(&self.file))?;
        Ok(Self { tensors, ..self.clone() })
    }

    /// The file, for messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What a user should know of how the tensors were found: under which key, and what was left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The metadata of a safetensors file.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// A tensor by its name.
    pub fn get(&self, name: &str) -> Option<&Stored> {
        self.tensors.get(name)
    }

    /// Names and tensors, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Stored)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
}

fn map(path: &Path) -> std::io::Result<Source> {
    let metadata = std::fs::metadata(path)?;
    // What has no length that could be mapped, such as a pipe, is read; a folder says that it is one. An empty file cannot be mapped everywhere.
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(Source::Held(std::fs::read(path)?));
    }
    let file = File::open(path)?;
    // SAFETY: every place in the file is checked against its length, and its bytes are only numbers. A file that another program cuts while it is read ends this
    // process, as in every reader that maps files.
    Ok(Source::Mapped(unsafe { Mmap::map(&file) }?))
}

fn check_digest(bytes: &[u8], expected: &str) -> Result<(), WeightsError> {
    if expected.len() != 64 || !expected.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(WeightsError::new(ErrorKind::Pin, format!("`sha256: {expected}` is not 64 hexadecimal digits"))
            .with_help("`sha256sum FILE` says what it is"));
    }
    let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    Err(WeightsError::new(ErrorKind::Pin, format!("its SHA-256 is {found} instead of {}", expected.to_lowercase()))
        .with_help("fetch the file that was pinned; if this one is meant, pin it"))
}
