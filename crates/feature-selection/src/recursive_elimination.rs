//! `recursive_elimination`.

use retune_spec::feature_selection::RecursiveElimination;
use retune_stage::{Result, StageError};

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question};

impl Judge for RecursiveElimination {
    fn score_word(&self) -> &'static str {
        "score"
    }

    fn judge(&self, _features: &[Feature], _question: &Question) -> Result<Judgement> {
        Err(StageError::failed("not built yet"))
    }
}
