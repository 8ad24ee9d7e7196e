//! Arrow files whose record batches are read one at a time.

use std::io::Cursor;
use std::path::Path;

use polars::prelude::*;
use polars_arrow::io::ipc::read::{FileMetadata, FileReader, get_row_count_from_blocks, read_file_metadata};
use retune_spec::Schema as Columns;
use retune_spec::schema::Field;

use crate::bytes::Bytes;
use crate::files::{Chunks, starts_of};
use crate::{Table, TableError};

/// An Arrow IPC file. Its record batches are read in any order, from many threads at once, and nothing of them stays in memory.
pub struct ArrowFile {
    bytes: Bytes,
    metadata: FileMetadata,
    /// The first row of each batch, and the number of rows.
    starts: Vec<usize>,
}

impl ArrowFile {
    /// Opens a file that [`crate::write_ipc`] wrote.
    pub fn open(path: &Path) -> Result<Self, TableError> {
        Self::of(Bytes::open(path)?).map_err(|error| error.within(path.display()))
    }

    pub(crate) fn of(bytes: Bytes) -> Result<Self, TableError> {
        let mut reader = Cursor::new(bytes.as_slice());
        let metadata = read_file_metadata(&mut reader)?;
        let counts = metadata.blocks.iter().map(|block| {
            let rows = get_row_count_from_blocks(&mut reader, std::slice::from_ref(block))?;
            usize::try_from(rows).map_err(|_| TableError::new("a record batch has less than no rows"))
        });
        let starts = starts_of(counts.collect::<Result<Vec<usize>, TableError>>()?);
        Ok(Self { bytes, metadata, starts })
    }

    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.first_row(self.n_batches())
    }

    /// The number of record batches.
    pub fn n_batches(&self) -> usize {
        self.metadata.blocks.len()
    }

    /// The number of the first row of a batch, counted from 0; the number of rows for the index after the last.
    pub fn first_row(&self, index: usize) -> usize {
        self.starts[index]
    }

    /// Whether every batch but the last has so many rows, and the last no more.
    pub fn is_cut_by(&self, n_rows: usize) -> bool {
        let last = self.n_batches().saturating_sub(1);
        (0..=last).all(|index| self.starts[index] == index * n_rows)
            && (self.n_batches() == 0 || self.n_rows() - self.starts[last] <= n_rows)
    }

    /// A record batch as a table of the schema, or of those of its columns that are named.
    pub fn table(&self, index: usize, schema: &Columns, columns: Option<&[String]>) -> Result<Table, TableError> {
        let wanted = |field: &&Field| columns.is_none_or(|columns| columns.contains(&field.name));
        let fields: Vec<Field> = schema.fields.iter().filter(wanted).cloned().collect();
        let schema = Columns { fields, task: schema.task.clone() };
        let names: Vec<String> = schema.fields.iter().map(|field| field.name.clone()).collect();
        Table::new(self.batch(index, Some(&names))?, schema)
    }

    fn batch(&self, index: usize, columns: Option<&[String]>) -> Result<DataFrame, TableError> {
        let names = self.metadata.schema.iter_names().map(|name| name.as_str());
        let projection = columns.map(|columns| {
            let wanted = |(_, name): &(usize, &str)| columns.iter().any(|column| column == name);
            names.enumerate().filter(wanted).map(|(at, _)| at).collect::<Vec<usize>>()
        });
        if projection.as_ref().is_some_and(Vec::is_empty) {
            return Ok(DataFrame::new(self.n_rows_of(index), Vec::new())?);
        }
        // The reader walks over the blocks that it is given.
        let mut metadata = self.metadata.clone();
        metadata.blocks = vec![self.metadata.blocks[index]];
        let mut reader = FileReader::new(Cursor::new(self.bytes.as_slice()), metadata, projection, None);
        let batch = reader.next().ok_or_else(|| TableError::new("a record batch is not there"))??;
        let block = self.metadata.blocks[index];
        let begin = usize::try_from(block.offset).unwrap_or(0);
        let length = usize::try_from(block.body_length + i64::from(block.meta_data_length)).unwrap_or(0);
        let end = begin.saturating_add(length).min(self.bytes.as_slice().len());
        self.bytes.release(begin.min(end)..end);
        Ok(DataFrame::from(batch))
    }

    fn n_rows_of(&self, index: usize) -> usize {
        self.starts[index + 1] - self.starts[index]
    }
}

impl Chunks for ArrowFile {
    fn head(&self) -> Result<DataFrame, TableError> {
        let fields = self.metadata.schema.iter_values();
        let columns = fields.map(|field| {
            let field = polars::prelude::Field::from(field);
            Column::new_empty(field.name, &field.dtype)
        });
        Ok(DataFrame::new(0, columns.collect())?)
    }

    fn n_chunks(&self) -> usize {
        self.n_batches()
    }

    fn n_rows(&self, chunk: usize) -> usize {
        self.n_rows_of(chunk)
    }

    fn read(&self, chunk: usize, columns: Option<&[String]>) -> Result<DataFrame, TableError> {
        self.batch(chunk, columns)
    }
}
