//! Where pieces come from: files of the store, files of the user, and fitted stages that turn each piece by itself.

use std::sync::Arc;

use retune_table::{ArrowFile, ConformFiles, Schema, Table};

use crate::{FittedChain, Pieces, Result, Rows};

/// The rows of an Arrow file, by record batches.
pub struct StoredPieces {
    /// The file.
    pub file: ArrowFile,
    /// Its columns.
    pub schema: Schema,
}

impl Pieces for StoredPieces {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn n_rows(&self) -> usize {
        self.file.n_rows()
    }

    fn n_pieces(&self) -> usize {
        self.file.n_batches()
    }

    fn first_row(&self, index: usize) -> usize {
        self.file.first_row(index)
    }

    fn piece(&self, index: usize, columns: Option<&[String]>) -> Result<Table> {
        Ok(self.file.table(index, &self.schema, columns)?)
    }
}

/// The rows of a user's files, by chunks.
pub struct SourcePieces(pub ConformFiles);

impl Pieces for SourcePieces {
    fn schema(&self) -> &Schema {
        self.0.schema()
    }

    fn n_rows(&self) -> usize {
        self.0.n_rows()
    }

    fn n_pieces(&self) -> usize {
        self.0.n_chunks()
    }

    fn first_row(&self, index: usize) -> usize {
        self.0.first_row(index)
    }

    fn piece(&self, index: usize, columns: Option<&[String]>) -> Result<Table> {
        Ok(self.0.chunk(index, columns)?)
    }
}

/// Rows that are taken through fitted stages piece by piece: each stage must turn a row whatever rows come with it, and the last must give a table.
pub struct ChainedPieces {
    inner: Arc<dyn Pieces>,
    chain: Arc<FittedChain>,
    schema: Schema,
}

impl ChainedPieces {
    /// Takes the first piece through the stages to see what columns come out.
    pub fn new(inner: Arc<dyn Pieces>, chain: Arc<FittedChain>) -> Result<Self> {
        let head = match inner.n_pieces() {
            0 => Table::concat(&[], inner.schema())?,
            _ => inner.piece(0, None)?,
        };
        let schema = chain.apply(Rows::Table(head))?.schema().clone();
        Ok(Self { inner, chain, schema })
    }
}

impl Pieces for ChainedPieces {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn n_rows(&self) -> usize {
        self.inner.n_rows()
    }

    fn n_pieces(&self) -> usize {
        self.inner.n_pieces()
    }

    fn first_row(&self, index: usize) -> usize {
        self.inner.first_row(index)
    }

    fn piece(&self, index: usize, columns: Option<&[String]>) -> Result<Table> {
        let table = self.chain.apply(Rows::Table(self.inner.piece(index, None)?))?.table()?.clone();
        let Some(columns) = columns else { return Ok(table) };
        let fields = table.schema().fields.iter().filter(|field| columns.contains(&field.name)).cloned().collect();
        let schema = Schema { fields, task: table.schema().task.clone() };
        Ok(Table::new(table.frame().clone(), schema)?)
    }
}
