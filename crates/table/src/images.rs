//! A column of images, not yet decoded.

use polars::prelude::{Column, DataType};

use crate::{Kind, Table, TableError};

/// A column of images: the bytes of image files, or their paths.
#[derive(Clone, Debug)]
pub struct Images {
    column: Column,
}

/// An image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFile<'a> {
    /// What is in it.
    Bytes(&'a [u8]),
    /// Where it is.
    Path(&'a str),
}

impl Images {
    /// A column of bytes or text.
    pub fn new(column: Column) -> Result<Self, TableError> {
        match column.dtype() {
            DataType::Binary | DataType::String => Ok(Self { column }),
            dtype => Err(TableError::new(format!("column `{}` holds {dtype}, not images", column.name()))
                .help("give the bytes of image files, or their paths")),
        }
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        self.column.name()
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.column.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.column.is_empty()
    }

    /// The file of a row; `None` where it is missing.
    pub fn get(&self, row: usize) -> Option<ImageFile<'_>> {
        match self.column.dtype() {
            DataType::Binary => self.column.binary().ok()?.get(row).map(ImageFile::Bytes),
            _ => self.column.str().ok()?.get(row).map(ImageFile::Path),
        }
    }

    /// The rows at `indices`, in that order.
    #[must_use]
    pub fn take(&self, indices: &[usize]) -> Self {
        let indices: Vec<u32> = indices.iter().map(|&row| row as u32).collect();
        // Every index is one of a row of the same table.
        let taken = self.column.take_slice(&indices);
        Self { column: taken.unwrap_or_else(|_| self.column.clear()) }
    }
}

impl Table {
    /// The feature that holds images, where there is one. Fails where there are several: a network sees one.
    pub fn images(&self) -> Result<Option<Images>, TableError> {
        let mut columns = self.schema().features().filter(|field| field.kind == Kind::Image);
        let Some(first) = columns.next() else { return Ok(None) };
        if let Some(second) = columns.next() {
            return Err(TableError::new(format!("`{}` and `{}` both hold images", first.name, second.name))
                .help("list all but one under `data.ignore`, or make numbers of them with `decode_image`"));
        }
        Images::new(self.column(&first.name)?.clone()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use polars::prelude::NamedFrom;
    use polars::series::Series;

    use super::*;

    #[test]
    fn rows_are_bytes_paths_or_missing() {
        let bytes = Series::new("image".into(), [Some(&b"one"[..]), None, Some(&b"three"[..])]);
        let images = Images::new(bytes.into()).unwrap();
        assert_eq!((images.len(), images.get(0), images.get(1)), (3, Some(ImageFile::Bytes(b"one")), None));
        let taken = images.take(&[2, 0]);
        assert_eq!((taken.len(), taken.get(0)), (2, Some(ImageFile::Bytes(b"three"))));
        let paths = Images::new(Series::new("image".into(), ["a.png", "b.png"]).into()).unwrap();
        assert_eq!(paths.get(1), Some(ImageFile::Path("b.png")));
        let error = Images::new(Series::new("image".into(), [1.5]).into()).unwrap_err();
        assert_eq!(error.message, "column `image` holds f64, not images");
    }
}
