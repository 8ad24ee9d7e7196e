//! Files for the tests.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use retune_weights::{Options, Weights, WeightsError};

pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

/// The file, or the message without the folder.
pub fn opened(name: &str, key: Option<&str>) -> Result<Weights, String> {
    let options = Options { key: key.map(str::to_owned), ..Options::default() };
    let folder = format!("{}/", fixture("").display().to_string().trim_end_matches('/'));
    Weights::open(&fixture(name), &options).map_err(|error| error.to_string().replace(&folder, ""))
}

pub fn read(bytes: &[u8], file: &str) -> Result<Weights, WeightsError> {
    Weights::from_bytes(bytes.to_vec(), file, &Options::default())
}

/// Records, uncompressed, in a zip archive.
pub fn zip(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    for (name, content) in records {
        let (mut entry, config) = archive.new_file(name).start().unwrap();
        let mut writer = config.wrap(&mut entry);
        std::io::Write::write_all(&mut writer, content).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

/// The content of a record.
pub fn unzipped(bytes: &[u8], name: &str) -> Vec<u8> {
    let archive = rawzip::ZipArchive::from_slice(bytes).unwrap();
    let mut entries = archive.entries();
    while let Some(entry) = entries.next_entry().unwrap() {
        if entry.file_path().as_ref().ends_with(name.as_bytes()) {
            return archive.get_entry(entry.wayfinder()).unwrap().data().to_vec();
        }
    }
    panic!("no record {name}");
}

/// A file of the kind before PyTorch 1.6 with this pickle, and no storages.
pub fn legacy(pickle: &[u8]) -> Vec<u8> {
    [LEGACY_HEAD, pickle, b"\x80\x02]."].concat()
}

/// The magic number, the version of the format, and sizes of types, which are not looked at.
pub const LEGACY_HEAD: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";
