//! The job `apply`: rows through a bundle or a fitted stage.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use retune_estimators::Model;
use retune_preprocessing::FittedPreprocessing;
use retune_protocol::{ApplyJob, BundleCard, Level, Reading};
use retune_stage::{
    ChainedPieces, Fitted, FittedChain, Pieces, Progress, Result, Rows, SourcePieces, StageError, Table,
};
use retune_store::Artifact;
use retune_table::{ConformFiles, Files, OutputFile, ReadOptions, TargetPolicy, conform, in_order};
use serde_json::json;

use crate::objects::is_large;
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

    /// Reads files and binds their columns by name to what the first stage needs; by pieces where they are large.
    pub fn read(&self, files: &[PathBuf], target: TargetPolicy) -> Result<Rows> {
        let input = self.chain.input().ok_or_else(|| StageError::failed("the bundle holds no fitted stage"))?;
        let mut options = ReadOptions::default().like(input);
        options.null_values.clone_from(&self.reading.null_values);
        if let Some(&[separator]) = self.reading.separator.as_deref().map(str::as_bytes) {
            options.separator = separator;
        }
        let files = Files::open(files, &options)?;
        if is_large(files.n_rows(), files.head().width()) {
            return Ok(Rows::Pieces(Arc::new(SourcePieces(ConformFiles::new(files, input, target)?))));
        }
        Ok(Rows::Table(conform(&files.frame()?, input, target)?.table))
    }

    /// The model at the end, and the stages before it.
    pub fn into_model(self) -> Result<(FittedChain, Box<dyn Fitted>)> {
        let mut stages = self.chain.stages;
        let last = stages.pop().filter(|stage| stage.as_any().is::<Model>());
        let model = last.ok_or_else(|| {
            StageError::data("the artifact ends in no model")
                .help("`retune stage apply` takes rows through any fitted stage")
        })?;
        Ok((FittedChain { stages }, model))
    }
}

/// Takes rows through fitted stages: by pieces where they come so, as far as no step needs all rows at once.
pub fn through(chain: FittedChain, rows: Rows) -> Result<Rows> {
    let (mut stages, mut rows) = (VecDeque::from(chain.stages), rows);
    while let Rows::Pieces(pieces) = &rows {
        let Some(stage) = stages.pop_front() else { break };
        let steps = stage.as_any().downcast_ref::<FittedPreprocessing>();
        // Tensors are made of a piece at a time where a model turns them into predictions.
        let is_lazy = steps.is_some_and(|steps| !steps.gives_tensors() || steps.needs_all_rows() || stages.is_empty());
        if !is_lazy {
            stages.push_front(stage);
            let chain = Arc::new(FittedChain { stages: stages.into() });
            return Ok(Rows::Pieces(Arc::new(ChainedPieces::new(Arc::clone(pieces), chain)?)));
        }
        rows = stage.apply(rows)?;
    }
    FittedChain { stages: stages.into() }.apply(rows)
}

/// Takes files through the artifact and writes what comes out.
pub fn apply(job: &ApplyJob, progress: &dyn Progress) -> Result<Output> {
    refuse_overwriting(&job.artifact, &job.input, &job.output)?;
    let bundle = Bundle::open(&job.artifact)?;
    progress.update("reading", 0, None);
    let rows = bundle.read(&job.input, TargetPolicy::Optional)?;
    let n_in = rows.n_rows();
    progress.update("applying", 0, Some(n_in as u64));
    let out = through(bundle.chain, rows)?;
    if out.n_rows() != n_in {
        return Err(StageError::failed(format!("{n_in} rows went in and {} came out", out.n_rows())));
    }
    progress.check_cancelled()?;
    match &out {
        Rows::Table(table) => retune_table::write_file(table, &job.output)?,
        Rows::Tensors(tensors) => tensors.save(&job.output)?,
        Rows::Pieces(pieces) => write_pieces(pieces.as_ref(), &job.output, progress)?,
    }
    progress.message(Level::Info, &format!("{n_in} rows in, {n_in} rows out"));
    Ok((IndexMap::new(), json!({ "rows": n_in, "output": job.output })))
}

fn write_pieces(pieces: &dyn Pieces, path: &Path, progress: &dyn Progress) -> Result<()> {
    let (mut file, mut n_out) = (OutputFile::create(path)?, 0);
    let write = |table: Table| {
        progress.check_cancelled()?;
        n_out += table.n_rows();
        progress.update("applying", n_out as u64, Some(pieces.n_rows() as u64));
        Ok(file.push(&table)?)
    };
    in_order(pieces.n_pieces(), |index| pieces.piece(index, None), write)?;
    if n_out != pieces.n_rows() {
        return Err(StageError::failed(format!("{} rows went in and {n_out} came out", pieces.n_rows())));
    }
    Ok(file.finish()?)
}

/// The output must be neither an input nor a part of the artifact.
pub fn refuse_overwriting(artifact: &Path, input: &[PathBuf], output: &Path) -> Result<()> {
    let Ok(found) = output.canonicalize() else { return Ok(()) };
    let is_input = input.iter().any(|input| input.canonicalize().is_ok_and(|input| input == found));
    let is_inside = artifact.canonicalize().is_ok_and(|artifact| found.starts_with(artifact));
    if is_input || is_inside {
        let what = if is_input { "would replace its own input" } else { "lies inside the model" };
        return Err(
            StageError::data(format!("the output {} {what}", output.display())).help("name another output file")
        );
    }
    Ok(())
}
