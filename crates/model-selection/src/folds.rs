//! Folds whose chain of stages has seen its own training rows only.

use rayon::prelude::*;
use retune_stage::{Design, FitContext, Quiet, Result, Rows, StageError, Task};
use retune_table::{Fold, folds};

/// One fold: what a trial learns from, and what it is scored on.
pub struct PreparedFold {
    /// Training rows, as the chain fitted on them turned them.
    pub train: Design,
    /// Validation rows, taken through that chain.
    pub validation: Design,
}

/// Divides the raw training rows and fits the chain before the model once for each fold.
pub fn prepare(n_folds: usize, context: &FitContext) -> Result<Vec<PreparedFold>> {
    let upstream =
        context.upstream.ok_or_else(|| StageError::failed("a model selection needs the raw training rows"))?;
    let raw = &upstream.train;
    let seed = context.seed.derive("folds").0;
    let parts: Vec<Fold> = match raw {
        Rows::Table(table) => folds(table, n_folds, seed)?,
        rows => {
            let design = rows.design()?;
            let labels = match &rows.schema().task {
                Some(Task::Classification { labels }) => labels.as_slice(),
                _ => &[],
            };
            design.ties.folds(design.target()?, labels, n_folds, seed)?
        }
    };
    let done = std::sync::atomic::AtomicU64::new(0);
    context.progress.update("preparing folds", 0, Some(n_folds as u64));
    let quiet = Quiet(context.progress);
    let prepare = |(number, part): (usize, &Fold)| {
        let quiet_context = FitContext { progress: &quiet, ..*context };
        let fold = || {
            let (chain, train) = upstream.fit(raw.take(&part.train)?, &quiet_context)?;
            let validation = chain.apply(raw.take(&part.validation)?)?;
            Ok(PreparedFold { train: train.design()?, validation: validation.design()? })
        };
        let fold = fold().map_err(|error: StageError| error.within(format!("fold {}", number + 1)));
        let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        context.progress.update("preparing folds", done, Some(n_folds as u64));
        fold
    };
    parts.par_iter().enumerate().map(prepare).collect()
}
