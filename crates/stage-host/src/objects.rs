//! Rows and fitted stages in the store, and the last few of them in memory, so that stages of one host hand them on without reading.

use std::sync::Arc;

use indexmap::IndexMap;
use retune_spec::Schema;
use retune_stage::{Fitted, Result, Rows, SaveDir, StageError, StageReport};
use retune_store::{Artifact, Digest, Store};
use retune_tensor::Tensors;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::registry::{FITTED_VERSION, load_fitted};

/// The kind of an object that holds rows.
const ROWS: &str = "rows";

/// Counts changes of how rows are stored.
const ROWS_VERSION: u32 = 1;

/// The kind of an object that holds a report.
const REPORT: &str = "report";

/// Rows objects that stay in memory.
const KEPT: usize = 4;

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
}

impl Objects {
    /// Stores rows.
    pub fn publish_rows(&mut self, store: &Store, sets: Sets) -> Result<Digest> {
        let writer = store.writer()?;
        let mut index = RowsIndex { sets: IndexMap::new() };
        for (set, rows) in &sets {
            let payload = match rows {
                Rows::Table(_) => Payload::Table,
                Rows::Tensors(_) => Payload::Tensors,
            };
            let path = writer.file_path(&payload.file(set))?;
            match rows {
                Rows::Table(table) => retune_table::write_ipc(table, &path)?,
                Rows::Tensors(tensors) => tensors.save(&path)?,
            }
            index
                .sets
                .insert(set.clone(), StoredRows { payload, n_rows: rows.n_rows(), schema: rows.schema().clone() });
        }
        writer.write_json("rows.json", &index)?;
        let digest = store.publish(writer, ROWS, ROWS_VERSION, json!({}))?;
        self.keep(digest, Arc::new(sets));
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
                Payload::Table => Rows::Table(retune_table::read_ipc(&path, stored.schema)?),
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
