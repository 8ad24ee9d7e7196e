//! What a file is, told by its content.

use std::fmt;
use std::path::Path;

use crate::error::{ErrorKind, WeightsError};

/// A format of weights files that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// <https://github.com/huggingface/safetensors>
    Safetensors,
    /// A zip archive by `torch.save`, from PyTorch 1.6 on.
    TorchZip,
    /// Pickles and storages one after the other, by `torch.save` before 1.6 or with `_use_new_zipfile_serialization=False`.
    TorchLegacy,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "a PyTorch file",
            Self::TorchLegacy => "a PyTorch file of the kind before 1.6",
        })
    }
}

/// What every file by the older `torch.save` begins with: protocol 2 or later, and a long integer of ten bytes, 0x1950a86a20f9469cfc6c.
const LEGACY_MAGIC: [u8; 12] = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

const SAVE_TENSORS: &str = "load it where it was made and save its tensors as safetensors";

/// Beginnings of files that are taken for weights, what they are, and the way out.
const OTHERS: [(&[u8], &str, &str); 16] = [
    (b"version https://git-lfs", "a git-lfs pointer, not the file itself", "fetch the file, `git lfs pull`"),
    (b"\x93NUMPY", "a NumPy array", SAVE_TENSORS),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras writes", SAVE_TENSORS),
    (b"\x1f\x8b", "compressed by gzip", "unpack it with `gunzip`"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it with `unzstd`"),
    (b"\xfd7zXZ\0", "compressed by xz", "unpack it with `unxz`"),
    (b"BZh", "compressed by bzip2", "unpack it with `bunzip2`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"GGUF", "a GGUF file, whose tensors are quantised", "fetch the model as safetensors"),
    (b"\x89PNG", "an image", "name the weights file"),
    (b"%PDF", "a PDF document", "name the weights file"),
    (b"ARROW1", "an Arrow file", "name the weights file"),
    (b"PAR1", "a Parquet file", "name the weights file"),
    (b"{", "JSON; the index of a model in several files lists those files", "name one of these files"),
    (b"\x7fELF", "a program", "name the weights file"),
];

/// The format of a file's bytes. What is no weights file is an error that says what it is; so is a name that says otherwise.
pub(crate) fn recognise(bytes: &[u8], name: &Path) -> Result<Format, WeightsError> {
    let named = name.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let is_named_safetensors = named.as_deref() == Some("safetensors");
    let is_named_torch = named.as_deref().is_some_and(|named| ["pt", "pth", "bin", "ckpt", "pkl"].contains(&named));
    let format = match told_by_content(bytes) {
        Ok(format) => format,
        // Its reader says best what is wrong with it.
        Err(Unknown::Nothing) if is_named_safetensors => Format::Safetensors,
        Err(Unknown::Nothing) => {
            return Err(WeightsError::new(ErrorKind::Format, "neither safetensors nor a PyTorch file")
                .with_help("name a weights file"));
        }
        Err(Unknown::Other(what, help)) => {
            return Err(WeightsError::new(ErrorKind::Format, format!("it is {what}")).with_help(help));
        }
    };
    let misnamed = match format {
        Format::Safetensors => is_named_torch.then_some("safetensors"),
        Format::TorchZip | Format::TorchLegacy => is_named_safetensors.then_some("pt"),
    };
    match misnamed {
        None => Ok(format),
        Some(right) => Err(WeightsError::new(ErrorKind::Format, format!("it is {format}, whatever its name says"))
            .with_help(format!("rename it to {}", name.with_extension(right).display()))),
    }
}

enum Unknown {
    Other(&'static str, &'static str),
    Nothing,
}

fn told_by_content(bytes: &[u8]) -> Result<Format, Unknown> {
    // First, as the length of its header may look like the beginning of anything else. No header is 4 GiB long.
    if bytes.get(4..9) == Some(b"\0\0\0\0{") {
        return Ok(Format::Safetensors);
    }
    if bytes.is_empty() {
        return Err(Unknown::Other("empty", "fetch or make the file again"));
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(Format::TorchZip);
    }
    if bytes[0] == 0x80 {
        // From protocol 4 on, the length of a frame comes first.
        let after_protocol = bytes.get(2..).unwrap_or_default();
        let number = if after_protocol.starts_with(&[0x95]) { after_protocol.get(9..) } else { Some(after_protocol) };
        return match number.unwrap_or_default() {
            // One that is cut is still called what it is.
            number if number.starts_with(&LEGACY_MAGIC) || LEGACY_MAGIC.starts_with(number) => Ok(Format::TorchLegacy),
            _ => Err(Unknown::Other("a pickle that PyTorch did not write", SAVE_TENSORS)),
        };
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Err(Unknown::Other(
            "a tar archive, as PyTorch wrote before 0.2",
            "load it with PyTorch and save it again, or unpack it where it holds a weights file",
        ));
    }
    if let Some((_, what, help)) = OTHERS.iter().find(|(beginning, ..)| bytes.starts_with(beginning)) {
        return Err(Unknown::Other(what, help));
    }
    let text = bytes.trim_ascii_start();
    let starts_like = |tag: &[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    if [&b"<!doctype"[..], b"<html", b"<?xml"].into_iter().any(starts_like) {
        return Err(Unknown::Other("a web page", "fetch the file that the page offers; it may ask to sign in"));
    }
    // A protocol buffer whose first field is a small number, the version, and whose second is text, the producer.
    if bytes.len() > 3 && bytes[0] == 0x08 && bytes[1] < 0x20 && bytes[2] == 0x12 {
        return Err(Unknown::Other("an ONNX model", SAVE_TENSORS));
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Err(Unknown::Other("a TensorFlow Lite model", SAVE_TENSORS));
    }
    Err(Unknown::Nothing)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn content_decides_and_the_name_must_agree() {
        let safetensors = b"\x08\x06\x12\0\0\0\0\0{}";
        let legacy = [&[0x80, 2][..], &LEGACY_MAGIC, b"."].concat();
        let tar = [&[b'a'; 257][..], b"ustar\0"].concat();
        for (name, bytes, expected) in [
            ("a.safetensors", &safetensors[..], "Ok(Safetensors)"),
            ("a", safetensors, "Ok(Safetensors)"),
            ("a.pt", b"PK\x03\x04", "Ok(TorchZip)"),
            ("A.CKPT", &legacy, "Ok(TorchLegacy)"),
            ("a.pth", &legacy[..9], "Ok(TorchLegacy)"),
            ("dir/a.bin", safetensors, "it is safetensors, whatever its name says; rename it to dir/a.safetensors"),
            ("a.SafeTensors", b"PK\x03\x04", "it is a PyTorch file, whatever its name says; rename it to a.pt"),
            (
                "a.safetensors",
                &legacy,
                "it is a PyTorch file of the kind before 1.6, whatever its name says; rename it to a.pt",
            ),
            ("a.safetensors", b"\xff\xff", "Ok(Safetensors)"),
            ("a.pt", b"\xff\xff", "neither safetensors nor a PyTorch file; name a weights file"),
            ("a.pt", b"", "it is empty; fetch or make the file again"),
            ("a.safetensors", b"", "it is empty; fetch or make the file again"),
            (
                "a.pt",
                b"version https://git-lfs.github.com/spec/v1\n",
                "it is a git-lfs pointer, not the file itself; fetch the file, `git lfs pull`",
            ),
            (
                "a.pt",
                b"\n <!DOCTYPE html>",
                "it is a web page; fetch the file that the page offers; it may ask to sign in",
            ),
            ("a.pt", b"\x80\x04}.", &format!("it is a pickle that PyTorch did not write; {SAVE_TENSORS}")),
            ("a.onnx", b"\x08\x07\x12\x07pytorch", &format!("it is an ONNX model; {SAVE_TENSORS}")),
            ("a.npy", b"\x93NUMPY\x01\0", &format!("it is a NumPy array; {SAVE_TENSORS}")),
            ("a.h5", b"\x89HDF\r\n\x1a\n\0", &format!("it is an HDF5 file, such as Keras writes; {SAVE_TENSORS}")),
            ("a.pt.gz", b"\x1f\x8b\x08", "it is compressed by gzip; unpack it with `gunzip`"),
            (
                "a.json",
                b"{\"weight_map\": {}}",
                "it is JSON; the index of a model in several files lists those files; name one of these files",
            ),
            (
                "a.pt",
                &tar,
                "it is a tar archive, as PyTorch wrote before 0.2; load it with PyTorch and save it again, or unpack it where it holds a weights file",
            ),
        ] {
            let found = match recognise(bytes, Path::new(name)) {
                Ok(format) => format!("Ok({format:?})"),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{name}");
        }
    }
}
