//! Image files as rows: what is in each, and the folder that it lies in.

use std::path::PathBuf;

use polars::prelude::*;

use crate::TableError;
use crate::files::Chunks;

/// Files that are read at once.
const CHUNK: usize = 128;

/// The columns: the bytes of the file, and the name of its folder.
const IMAGE: &str = "image";
const LABEL: &str = "label";

/// Image files, each a row of the columns `image` and `label`.
pub(crate) struct ImageFiles {
    paths: Vec<PathBuf>,
}

impl ImageFiles {
    /// Files in the order in which they are named. Nothing is read yet.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths }
    }

    fn of(&self, chunk: usize) -> &[PathBuf] {
        let first = chunk * CHUNK;
        &self.paths[first..self.paths.len().min(first + CHUNK)]
    }
}

fn folder(path: &std::path::Path) -> Option<&str> {
    path.parent()?.file_name()?.to_str()
}

impl Chunks for ImageFiles {
    fn head(&self) -> Result<DataFrame, TableError> {
        let image = Column::new_empty(IMAGE.into(), &DataType::Binary);
        let label = Column::new_empty(LABEL.into(), &DataType::String);
        Ok(DataFrame::new(0, vec![image, label])?)
    }

    fn n_chunks(&self) -> usize {
        self.paths.len().div_ceil(CHUNK)
    }

    fn n_rows(&self, chunk: usize) -> usize {
        self.of(chunk).len()
    }

    fn read(&self, chunk: usize, columns: Option<&[String]>) -> Result<DataFrame, TableError> {
        let paths = self.of(chunk);
        let is_wanted = |name: &str| columns.is_none_or(|columns| columns.iter().any(|column| column == name));
        let mut read = Vec::new();
        if is_wanted(IMAGE) {
            let bytes = |path: &PathBuf| {
                std::fs::read(path).map_err(|error| TableError::new(format!("cannot read {}: {error}", path.display())))
            };
            let bytes = paths.iter().map(bytes).collect::<Result<Vec<_>, _>>()?;
            let image: BinaryChunked = bytes.iter().map(|bytes| Some(bytes.as_slice())).collect();
            read.push(image.with_name(IMAGE.into()).into_column());
        }
        if is_wanted(LABEL) {
            let labels: StringChunked = paths.iter().map(|path| folder(path)).collect();
            read.push(labels.with_name(LABEL.into()).into_column());
        }
        Ok(DataFrame::new(paths.len(), read)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use retune_spec::data::Format;

    use crate::{ReadOptions, read_files};

    #[test]
    fn files_are_rows_and_folders_are_labels() {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (name, bytes) in [("cat/a.png", "one"), ("dog/b.JPG", "two"), ("cat/c.webp", "three")] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            paths.push(path);
        }
        let frame = read_files(&paths, &ReadOptions::default()).unwrap();
        let labels: Vec<_> = frame.column("label").unwrap().str().unwrap().iter().flatten().collect();
        assert_eq!(labels, ["cat", "cat", "dog"]);
        let images: Vec<_> = frame.column("image").unwrap().binary().unwrap().iter().flatten().collect();
        assert_eq!(images, [&b"one"[..], b"three", b"two"]);
        let bare = folder.path().join("cat/none");
        std::fs::write(&bare, "x").unwrap();
        assert!(read_files(std::slice::from_ref(&bare), &ReadOptions::default()).is_err());
        let named = ReadOptions { format: Some(Format::Images), ..ReadOptions::default() };
        assert_eq!(read_files(&[bare], &named).unwrap().height(), 1);
    }
}
