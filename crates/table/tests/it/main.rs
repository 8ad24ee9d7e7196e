//! Tables from the outside: what users see of files, roles, splits and bridges.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod bridges;
mod by_chunks;
mod conform;
mod csv;
mod files;
mod ingest;
mod split;
mod table;

use std::path::PathBuf;

use polars::prelude::DataFrame;
use retune_spec::Data;
use retune_table::{ReadOptions, Table, TableError, read_files};

/// A folder of files.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn temporary() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// The message and the way out with the folder's own path left out.
    pub fn words(&self, error: &TableError) -> (String, String) {
        let folder = format!("{}/", self.0.path().display());
        (error.message.replace(&folder, ""), error.help.clone().unwrap_or_default().replace(&folder, ""))
    }
}

/// `data` of a pipeline, as YAML would give it.
pub fn data(json: serde_json::Value) -> Data {
    serde_json::from_value(json).unwrap()
}

/// A frame from the text of a CSV file.
pub fn frame(text: &str) -> DataFrame {
    let folder = Folder::temporary();
    read_files(&[folder.write("x.csv", text)], &ReadOptions::default()).unwrap()
}

/// The values of a text column.
pub fn texts<'a>(table: &'a Table, name: &str) -> Vec<Option<&'a str>> {
    table.strings(name).unwrap().iter().collect()
}

/// Checks an error's words; those wanted may leave out the way out.
pub fn same(error: &TableError, message: &str, help: &str) {
    assert_eq!(error.message, message);
    assert_eq!(error.help.as_deref().unwrap_or_default(), help, "{message}");
}
