//! The job `apply`: rows through a bundle or a fitted stage.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use retune_estimators::Model;
use retune_protocol::{ApplyJob, BundleCard, Level, Reading};
use retune_stage::{FittedChain, Progress, Result, Rows, StageError};
use retune_store::Artifact;
use retune_table::{ReadOptions, TargetPolicy, conform, read_files};
use serde_json::json;

use crate::registry::load_fitted;
use crate::serve::Output;

/// The fitted chain of a bundle, or a single fitted stage.
pub struct Bundle {
    chain: FittedChain,
    reading: Reading,
}

impl Bundle {
    /// Opens and verifies the artifact.
    pub fn open(path: &Path) -> Result<Self> {
        let artifact = Artifact::open(path)?;
        let (stages, reading) = if artifact.manifest().kind == BundleCard::KIND {
            let card = BundleCard::of(&artifact)?;
            let stages = card.stages.iter().map(|folder| load_fitted(&artifact.embedded(folder)?));
            (stages.collect::<Result<Vec<_>>>()?, card.reading)
        } else {
            (vec![load_fitted(&artifact)?], Reading::default())
        };
        if stages.is_empty() {
            return Err(StageError::failed(format!("{} holds no fitted stage", path.display())));
        }
        Ok(Self { chain: FittedChain { stages }, reading })
    }

    /// Reads files and binds their columns by name to what the first stage needs.
    pub fn read(&self, files: &[PathBuf], target: TargetPolicy) -> Result<Rows> {
        let input = self.chain.input().ok_or_else(|| StageError::failed("the bundle holds no fitted stage"))?;
        let mut options = ReadOptions::default().like(input);
        options.null_values.clone_from(&self.reading.null_values);
        if let Some(&[separator]) = self.reading.separator.as_deref().map(str::as_bytes) {
            options.separator = separator;
        }
        let frame = read_files(files, &options)?;
        Ok(Rows::Table(conform(&frame, input, target)?.table))
    }

    /// Takes rows through all stages but the model.
    pub fn before_model(&self, rows: Rows) -> Result<Rows> {
        let n_before = self.chain.stages.len().saturating_sub(1);
        self.chain.stages[..n_before].iter().try_fold(rows, |rows, stage| stage.apply(rows))
    }

    /// The model at the end.
    pub fn model(&self) -> Result<&Model> {
        let last = self.chain.stages.last().and_then(|stage| stage.as_any().downcast_ref::<Model>());
        last.ok_or_else(|| {
            StageError::data("the artifact ends in no model")
                .help("`retune stage apply` takes rows through any fitted stage")
        })
    }
}

/// Takes files through the artifact and writes what comes out.
pub fn apply(job: &ApplyJob, progress: &dyn Progress) -> Result<Output> {
    refuse_overwriting(job)?;
    let bundle = Bundle::open(&job.artifact)?;
    progress.update("reading", 0, None);
    let rows = bundle.read(&job.input, TargetPolicy::Optional)?;
    let n_in = rows.n_rows();
    progress.update("applying", 0, None);
    let out = bundle.chain.apply(rows)?;
    if out.n_rows() != n_in {
        return Err(StageError::failed(format!("{n_in} rows went in and {} came out", out.n_rows())));
    }
    progress.check_cancelled()?;
    match &out {
        Rows::Table(table) => retune_table::write_file(table, &job.output)?,
        Rows::Tensors(tensors) => tensors.save(&job.output)?,
    }
    progress.message(Level::Info, &format!("{n_in} rows in, {n_in} rows out"));
    Ok((IndexMap::new(), json!({ "rows": n_in, "output": job.output })))
}

/// The output must be neither an input nor a part of the artifact.
fn refuse_overwriting(job: &ApplyJob) -> Result<()> {
    let Ok(output) = job.output.canonicalize() else { return Ok(()) };
    let is_input = job.input.iter().any(|input| input.canonicalize().is_ok_and(|input| input == output));
    let is_inside = job.artifact.canonicalize().is_ok_and(|artifact| output.starts_with(artifact));
    if is_input || is_inside {
        let what = if is_input { "would replace its own input" } else { "lies inside the model" };
        return Err(
            StageError::data(format!("the output {} {what}", job.output.display())).help("name another output file")
        );
    }
    Ok(())
}
