//! Parquet files, read by row groups.

use std::io::Cursor;

use polars::io::parquet::metadata::FileMetadataRef;
use polars::prelude::*;

use crate::TableError;
use crate::bytes::Bytes;
use crate::files::Chunks;

/// A chunk has at most so many cells: a row group of many rows is read in parts.
const MOST_CELLS: usize = 8 << 20;

/// One file.
pub(crate) struct ParquetFile {
    bytes: Bytes,
    metadata: FileMetadataRef,
    head: DataFrame,
    /// The first row of each chunk and the number of its rows.
    chunks: Vec<(usize, usize)>,
}

impl ParquetFile {
    pub fn open(bytes: Bytes) -> Result<Self, TableError> {
        let mut reader = ParquetReader::new(Cursor::new(bytes.as_slice()));
        let metadata = reader.get_metadata()?.clone();
        let schema = reader.schema()?;
        let head = schema.iter_values().map(|field| {
            let field = Field::from(field);
            Column::new_empty(field.name, &field.dtype)
        });
        let head = DataFrame::new(0, head.collect())?;
        let most_rows = (MOST_CELLS / head.width().max(1)).max(1);
        let (mut chunks, mut first) = (Vec::new(), 0);
        for group in &metadata.row_groups {
            let end = first + group.num_rows();
            chunks.extend((first..end).step_by(most_rows).map(|begin| (begin, most_rows.min(end - begin))));
            first = end;
        }
        Ok(Self { bytes, metadata, head, chunks })
    }
}

impl Chunks for ParquetFile {
    fn head(&self) -> Result<DataFrame, TableError> {
        Ok(self.head.clone())
    }

    fn n_chunks(&self) -> usize {
        self.chunks.len()
    }

    fn n_rows(&self, chunk: usize) -> usize {
        self.chunks[chunk].1
    }

    fn read(&self, chunk: usize, columns: Option<&[String]>) -> Result<DataFrame, TableError> {
        let mut reader = ParquetReader::new(Cursor::new(self.bytes.as_slice())).with_slice(Some(self.chunks[chunk]));
        reader.set_metadata(FileMetadataRef::clone(&self.metadata));
        let frame = reader.with_columns(columns.map(<[String]>::to_vec)).finish()?;
        self.bytes.release(0..self.bytes.as_slice().len());
        Ok(frame)
    }
}
