//! Several stages, one after the other, fitted together.

use crate::{FitContext, Fitted, Result, Rows, Schema, Stage};

/// The raw training rows of a pipeline and the stages before a model selection: what a fold needs to be free of leaks.
pub struct Upstream {
    /// The training rows as they came from the data.
    pub train: Rows,
    /// The stages before, in their order.
    pub stages: Vec<Box<dyn Stage>>,
    /// The run's seed: each stage derives its own from it, as it does outside of folds.
    pub seed: crate::Seed,
    /// The stages' words after `uses:`, in the same order; with the run's seed they give each stage's seed.
    pub kinds: Vec<&'static str>,
}

impl Upstream {
    /// Fits every stage on `train` alone and returns what they learned and the rows as they leave the last one.
    pub fn fit(&self, train: Rows, context: &FitContext) -> Result<(FittedChain, Rows)> {
        let mut rows = train;
        let mut stages = Vec::with_capacity(self.stages.len());
        for (stage, kind) in self.stages.iter().zip(&self.kinds) {
            context.progress.check_cancelled()?;
            let context = FitContext {
                seed: self.seed.derive(kind),
                validation: None,
                upstream: None,
                base: None,
                work: None,
                ..*context
            };
            let fit = stage.fit(rows, &context)?;
            rows = fit.train;
            stages.push(fit.fitted);
        }
        Ok((FittedChain { stages }, rows))
    }
}

/// Fitted stages, applied one after the other.
pub struct FittedChain {
    /// The stages in their order.
    pub stages: Vec<Box<dyn Fitted>>,
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
