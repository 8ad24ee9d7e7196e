//! Rows and fitted stages in the store, and the last few of them in memory, so that stages of one host hand them on without reading.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use retune_spec::Schema;
use retune_stage::{
    Fitted, PIECE_ROWS, Pieces, Progress, Result, Rows, SaveDir, StageError, StageReport, StoredPieces, Table,
};
use retune_store::{Artifact, ArtifactWriter, Digest, Store};
use retune_table::{ArrowFile, IngestFiles, IngestReport, IpcFile, frame_json, in_order};
use retune_tensor::Tensors;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bundle::OpenBundle;
use crate::registry::{FITTED_VERSION, load_fitted};

/// The kind of an object that holds rows.
const ROWS: &str = "rows";

/// Counts changes of how rows are stored.
const ROWS_VERSION: u32 = 1;

/// The kind of an object that holds a report.
const REPORT: &str = "report";

/// Rows of a report's table that are written as JSON beside it, for programs that read no tables.
const TOLD_ROWS: usize = 500;

/// Rows objects that stay in memory.
const KEPT: usize = 4;

/// Tables of more bytes than this, at eight a value, are not held in memory but read by pieces. Fitting and applying hold a table several times (as it was,
/// as it becomes, as it is written), and a few objects are kept: so all stays within some 2 GiB. Smaller tables gain nothing by pieces.
const LARGE: u64 = 256 << 20;

/// Overrides [`LARGE`]. Nothing but memory and speed depends on it.
const LARGE_VARIABLE: &str = "RETUNE_PIECES_ABOVE";

/// Whether a table is read by pieces.
pub fn is_large(n_rows: usize, n_columns: usize) -> bool {
    let limit = std::env::var(LARGE_VARIABLE).ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(LARGE);
    n_rows.saturating_mul(n_columns).saturating_mul(size_of::<f64>()) as u64 > limit
}

/// Rows by set: `train`, `validation`, `test` and named ones.
pub type Sets = IndexMap<String, Rows>;

#[derive(Serialize, Deserialize)]
struct RowsIndex {
    sets: IndexMap<String, StoredRows>,
}

#[derive(Serialize, Deserialize)]
struct StoredRows {
    payload: Payload,
    n_rows: usize,
    schema: Schema,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Table,
    Tensors,
}

impl Payload {
    fn file(self, set: &str) -> String {
        match self {
            Self::Table => format!("{set}.arrow"),
            Self::Tensors => format!("{set}.safetensors"),
        }
    }
}

/// The rows objects in memory.
#[derive(Default)]
pub struct Objects {
    kept: Vec<(Digest, Arc<Sets>)>,
    /// The bundle of the last job that applied one.
    pub bundle: OpenBundle,
}

/// An object of rows that is being written.
pub struct RowsWriter<'a> {
    progress: &'a dyn Progress,
    writer: ArtifactWriter,
    index: RowsIndex,
    /// What was written, as long as none of it is large.
    sets: Option<Sets>,
}

impl<'a> RowsWriter<'a> {
    /// An object without any set.
    pub fn new(store: &Store, progress: &'a dyn Progress) -> Result<Self> {
        let index = RowsIndex { sets: IndexMap::new() };
        Ok(Self { progress, writer: store.writer()?, index, sets: Some(Sets::new()) })
    }

    /// Adds a set. Rows that are read by pieces are computed now, a few pieces at a time.
    pub fn write(&mut self, set: &str, rows: Rows) -> Result<()> {
        let (payload, schema) = match &rows {
            Rows::Table(_) | Rows::Pieces(_) => (Payload::Table, rows.schema().clone()),
            Rows::Tensors(_) => (Payload::Tensors, rows.schema().clone()),
        };
        let path = self.writer.file_path(&payload.file(set))?;
        match &rows {
            Rows::Table(table) => retune_table::write_ipc(table, &path)?,
            Rows::Pieces(pieces) => self.write_pieces(pieces.as_ref(), &path)?,
            Rows::Tensors(tensors) => tensors.save(&path)?,
        }
        let n_rows = rows.n_rows();
        let is_large = matches!(rows, Rows::Pieces(_)) || is_large(n_rows, schema.fields.len());
        self.index.sets.insert(set.to_owned(), StoredRows { payload, n_rows, schema });
        self.sets = self.sets.take().filter(|_| !is_large);
        if let Some(sets) = &mut self.sets {
            sets.insert(set.to_owned(), rows);
        }
        Ok(())
    }

    /// Adds sets of the rows of files, in one pass over them. Each has its rows as indices of those that have a target.
    pub fn write_files(
        &mut self,
        files: IngestFiles,
        sets: Vec<(String, Vec<usize>)>,
    ) -> Result<(Schema, IngestReport)> {
        self.sets = None;
        let payload = Payload::Table;
        let counts: Vec<(String, usize)> = sets.iter().map(|(set, rows)| (set.clone(), rows.len())).collect();
        let sets = sets.into_iter().map(|(set, rows)| Ok((self.writer.file_path(&payload.file(&set))?, rows)));
        let (progress, n_rows) = (self.progress, files.known().n_rows());
        let go_on = |done: usize| {
            progress.update("reading", done as u64, Some(n_rows as u64));
            !progress.cancelled()
        };
        let written = files.write(sets.collect::<Result<_>>()?, go_on);
        progress.check_cancelled()?;
        let (schema, report) = written?;
        for (set, n_rows) in counts {
            self.index.sets.insert(set, StoredRows { payload, n_rows, schema: schema.clone() });
        }
        Ok((schema, report))
    }

    fn write_pieces(&self, pieces: &dyn Pieces, path: &Path) -> Result<()> {
        let (mut file, mut n_rows) = (IpcFile::create(path)?, 0);
        if pieces.n_pieces() == 0 {
            // Something must tell the columns.
            file.push(Table::concat(&[], pieces.schema())?.frame())?;
        }
        let write = |table: Table| {
            self.progress.check_cancelled()?;
            n_rows += table.n_rows();
            self.progress.update("writing rows", n_rows as u64, Some(pieces.n_rows() as u64));
            Ok(file.push(table.frame())?)
        };
        in_order(pieces.n_pieces(), |index| pieces.piece(index, None), write)?;
        Ok(file.finish()?)
    }

    /// The number of rows of each set so far.
    pub fn counts(&self) -> IndexMap<String, usize> {
        self.index.sets.iter().map(|(set, stored)| (set.clone(), stored.n_rows)).collect()
    }
}

impl Objects {
    /// Stores rows.
    pub fn publish_rows(&mut self, store: &Store, sets: Sets, progress: &dyn Progress) -> Result<Digest> {
        let mut writer = RowsWriter::new(store, progress)?;
        sets.into_iter().try_for_each(|(set, rows)| writer.write(&set, rows))?;
        self.publish(store, writer)
    }

    /// Stores what was written.
    pub fn publish(&mut self, store: &Store, rows: RowsWriter) -> Result<Digest> {
        let RowsWriter { writer, index, sets, .. } = rows;
        writer.write_json("rows.json", &index)?;
        let digest = store.publish(writer, ROWS, ROWS_VERSION, json!({}))?;
        if let Some(sets) = sets {
            self.keep(digest, Arc::new(sets));
        }
        Ok(digest)
    }

    /// The rows of an object: from memory, or read and verified.
    pub fn rows(&mut self, store: &Store, digest: &Digest) -> Result<Arc<Sets>> {
        if let Some((_, sets)) = self.kept.iter().find(|(kept, _)| kept == digest) {
            return Ok(Arc::clone(sets));
        }
        let artifact = object(store, digest)?;
        artifact.require_kind(ROWS, ROWS_VERSION)?;
        let index: RowsIndex = artifact.read_json("rows.json")?;
        let mut sets = Sets::new();
        for (set, stored) in index.sets {
            let path = artifact.verified_path(&stored.payload.file(&set))?;
            let rows = match stored.payload {
                Payload::Table => table(&path, stored.schema, stored.n_rows)?,
                Payload::Tensors => Rows::Tensors(Arc::new(Tensors::load(&path, &stored.schema)?)),
            };
            if rows.n_rows() != stored.n_rows {
                return Err(StageError::failed(format!(
                    "{} has {} rows, not {}",
                    path.display(),
                    rows.n_rows(),
                    stored.n_rows
                )));
            }
            sets.insert(set, rows);
        }
        let sets = Arc::new(sets);
        // What is read by pieces holds no rows.
        self.keep(*digest, Arc::clone(&sets));
        Ok(sets)
    }

    fn keep(&mut self, digest: Digest, sets: Arc<Sets>) {
        self.kept.retain(|(kept, _)| *kept != digest);
        if self.kept.len() == KEPT {
            self.kept.remove(0);
        }
        self.kept.push((digest, sets));
    }
}

/// A stored table: in memory, or by pieces where it is large. (Files of earlier versions are one piece.)
fn table(path: &Path, schema: Schema, n_rows: usize) -> Result<Rows> {
    if is_large(n_rows, schema.fields.len()) {
        let file = ArrowFile::open(path)?;
        if file.is_cut_by(PIECE_ROWS) {
            return Ok(Rows::Pieces(Arc::new(StoredPieces { file, schema })));
        }
    }
    Ok(Rows::Table(retune_table::read_ipc(path, schema)?))
}

/// Stores a fitted stage.
pub fn publish_fitted(store: &Store, fitted: &dyn Fitted) -> Result<Digest> {
    let writer = store.writer()?;
    fitted.save(&SaveDir::new(&writer))?;
    let meta = json!({ "input": fitted.input(), "output": fitted.output() });
    Ok(store.publish(writer, fitted.kind(), FITTED_VERSION, meta)?)
}

/// Stores a report with its tables.
pub fn publish_report(store: &Store, report: &mut StageReport) -> Result<Digest> {
    let writer = store.writer()?;
    writer.write_json("report.json", report)?;
    // What the details hold already is not written twice.
    let told = report.tables.iter().filter(|(name, _)| report.details.get(name).is_none());
    let told: IndexMap<&str, Value> = told.map(|(name, frame)| (name.as_str(), frame_json(frame, TOLD_ROWS))).collect();
    if !told.is_empty() {
        writer.write_json("tables.json", &told)?;
    }
    for (name, frame) in &mut report.tables {
        retune_table::write_parquet(frame, &writer.file_path(&format!("{name}.parquet"))?)?;
    }
    Ok(store.publish(writer, REPORT, 1, json!({}))?)
}

/// A fitted stage in the store.
pub fn fitted(store: &Store, digest: &Digest) -> Result<Box<dyn Fitted>> {
    load_fitted(&object(store, digest)?)
}

/// An object that must be there.
pub fn object(store: &Store, digest: &Digest) -> Result<Artifact> {
    store.object(digest)?.ok_or_else(|| {
        StageError::failed(format!("object {digest} is not in the store any more")).help("run the pipeline again")
    })
}
