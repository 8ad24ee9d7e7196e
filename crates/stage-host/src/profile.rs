//! The job `profile`: a look at the columns of files, for `retune init`.

use indexmap::IndexMap;
use retune_protocol::ProfileJob;
use retune_stage::Result;
use retune_table::{ReadOptions, ingest, profile as profile_table, read_files};
use serde_json::json;

use crate::serve::Output;

/// Looks at every column.
pub fn profile(job: &ProfileJob) -> Result<Output> {
    let data = serde_json::from_value(json!({ "path": "", "target": job.target }))?;
    let (table, report) = ingest(&read_files(&job.input, &ReadOptions::default())?, &data)?;
    Ok((
        IndexMap::new(),
        json!({ "schema": table.schema(), "columns": profile_table(&table)?, "rows": table.n_rows(), "notes": report.notes }),
    ))
}
