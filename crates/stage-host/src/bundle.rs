//! Bundles and single fitted stages, opened to be applied.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use retune_estimators::Model;
use retune_preprocessing::FittedPreprocessing;
use retune_protocol::{BundleCard, LEVELS_FILE, Reading};
use retune_stage::{ChainedPieces, Fitted, FittedChain, Result, Rows, Schema, SourcePieces, StageError};
use retune_store::{Artifact, Digest};
use retune_table::{ConformFiles, Files, ReadOptions, TargetPolicy, conform};

use crate::objects::is_large;
use crate::registry::load_fitted;

/// The fitted chain of a bundle, or a single fitted stage.
pub struct Bundle {
    chain: FittedChain,
    reading: Reading,
    levels: IndexMap<String, Vec<String>>,
}

impl Bundle {
    /// Opens and verifies the artifact.
    pub fn open(path: &Path) -> Result<Self> {
        Self::of(&Artifact::open(path)?)
    }

    fn of(artifact: &Artifact) -> Result<Self> {
        let mut levels = IndexMap::new();
        let (stages, reading) = if artifact.manifest().kind == BundleCard::KIND {
            let card = BundleCard::of(artifact)?;
            if artifact.manifest().files.iter().any(|file| file.path == LEVELS_FILE) {
                levels = artifact.read_json(LEVELS_FILE)?;
            }
            let stages = card.stages.iter().map(|folder| load_fitted(&artifact.embedded(folder)?));
            (stages.collect::<Result<Vec<_>>>()?, card.reading)
        } else {
            (vec![load_fitted(artifact)?], Reading::default())
        };
        if stages.is_empty() {
            return Err(StageError::failed(format!("{} holds no fitted stage", artifact.dir().display())));
        }
        Ok(Self { chain: FittedChain { stages: stages.into_iter().map(Arc::from).collect() }, reading, levels })
    }

    /// The fitted stages.
    pub fn chain(&self) -> &FittedChain {
        &self.chain
    }

    /// The columns that the first stage needs.
    pub fn input(&self) -> Result<&Schema> {
        self.chain.input().ok_or_else(|| StageError::failed("the bundle holds no fitted stage"))
    }

    /// The words of training rows by categorical column, as far as they are few; empty for a single stage.
    pub fn levels(&self) -> &IndexMap<String, Vec<String>> {
        &self.levels
    }

    /// Whether what becomes of a row depends on no other row, and is a row of a table.
    pub fn is_row_wise(&self) -> bool {
        let stages = &self.chain.stages;
        stages.iter().enumerate().all(|(index, stage)| {
            let steps = stage.as_any().downcast_ref::<FittedPreprocessing>();
            steps.is_none_or(|steps| !steps.needs_all_rows() && (!steps.gives_tensors() || index + 1 < stages.len()))
        })
    }

    /// Whether predictions come out.
    pub fn ends_in_model(&self) -> bool {
        self.chain.stages.last().is_some_and(|stage| stage.as_any().is::<Model>())
    }

    /// Opens files as those of the training rows were read.
    pub fn files(&self, files: &[PathBuf]) -> Result<Files> {
        let mut options = ReadOptions::default().like(self.input()?);
        options.null_values.clone_from(&self.reading.null_values);
        if let Some(&[separator]) = self.reading.separator.as_deref().map(str::as_bytes) {
            options.separator = separator;
        }
        Ok(Files::open(files, &options)?)
    }

    /// Reads files and binds their columns by name to what the first stage needs; by pieces where they are large.
    pub fn read(&self, files: &[PathBuf], target: TargetPolicy) -> Result<Rows> {
        let (files, input) = (self.files(files)?, self.input()?);
        if is_large(files.n_rows(), files.head().width()) {
            return Ok(Rows::Pieces(Arc::new(SourcePieces(ConformFiles::new(files, input, target)?))));
        }
        Ok(Rows::Table(conform(&files.frame()?, input, target)?.table))
    }

    /// The model at the end, and the stages before it.
    pub fn into_model(self) -> Result<(FittedChain, Arc<dyn Fitted>)> {
        let mut stages = self.chain.stages;
        let last = stages.pop().filter(|stage| stage.as_any().is::<Model>());
        let model = last.ok_or_else(|| {
            StageError::data("the artifact ends in no model")
                .help("`retune stage apply` takes rows through any fitted stage")
        })?;
        Ok((FittedChain { stages }, model))
    }
}

/// The bundle that was opened last: jobs over many files name the same one again and again.
#[derive(Default)]
pub struct OpenBundle(Option<(PathBuf, Digest, Arc<Bundle>)>);

impl OpenBundle {
    /// The bundle at a path, opened and verified anew where it is not what was opened there before.
    pub fn get(&mut self, path: &Path) -> Result<Arc<Bundle>> {
        let artifact = Artifact::open(path)?;
        if let Some((known, digest, bundle)) = &self.0
            && known == path
            && *digest == artifact.digest()
        {
            return Ok(Arc::clone(bundle));
        }
        let bundle = Arc::new(Bundle::of(&artifact)?);
        self.0 = Some((path.to_owned(), artifact.digest(), Arc::clone(&bundle)));
        Ok(bundle)
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
