//! Several stages, one after the other, fitted together.

use std::sync::Arc;

use serde_json::Value;

use crate::{FitContext, Fitted, Result, Rows, Schema, Seed, Stage, StageError};

/// The raw training rows of a pipeline and the stages before a model selection: what a fold needs to be free of leaks.
pub struct Upstream {
    /// The training rows as they came from the data.
    pub train: Rows,
    /// The stages before, in their order.
    pub stages: Arc<Vec<Link>>,
    /// The run's seed: each stage derives its own from it, as it does outside of folds.
    pub seed: Seed,
    /// Builds a stage of the same word from other settings. The number counts the steps that other stages of the same declaration do before it.
    pub rebuild: fn(&str, &Value, usize) -> Result<Box<dyn Stage>>,
}

/// A stage before a model selection.
pub struct Link {
    /// Its name in the pipeline.
    pub id: String,
    /// The word after `uses:`; with the run's seed it gives the stage's seed.
    pub word: &'static str,
    /// What is declared after `with:`.
    pub with: Value,
    /// The stage itself.
    pub stage: Box<dyn Stage>,
}

impl Upstream {
    /// Rows that no stage comes before, for whoever selects a model without a pipeline.
    pub fn none(train: Rows, seed: Seed) -> Self {
        let rebuild = |word: &str, _: &Value, _: usize| Err(StageError::failed(format!("there is no stage `{word}`")));
        Self { train, stages: Arc::new(Vec::new()), seed, rebuild }
    }

    /// The same stages before other rows.
    #[must_use]
    pub fn with_train(&self, train: Rows) -> Self {
        Self { train, stages: self.stages.clone(), ..*self }
    }

    /// The context of a stage of the chain.
    pub fn context<'a>(&self, word: &str, context: &FitContext<'a>) -> FitContext<'a> {
        FitContext {
            seed: self.seed.derive(word),
            validation: None,
            sets: &[],
            upstream: None,
            base: None,
            work: None,
            ..*context
        }
    }
}

/// Fitted stages, applied one after the other.
#[derive(Clone)]
pub struct FittedChain {
    /// The stages in their order.
    pub stages: Vec<Arc<dyn Fitted>>,
}

impl FittedChain {
    /// Takes rows through every stage.
    pub fn apply(&self, rows: Rows) -> Result<Rows> {
        self.stages.iter().try_fold(rows, |rows, stage| stage.apply(rows))
    }

    /// The columns that the first stage needs; `None` for an empty chain.
    pub fn input(&self) -> Option<&Schema> {
        self.stages.first().map(|stage| stage.input())
    }
}
