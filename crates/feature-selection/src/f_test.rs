//! `f_test`.

use retune_spec::feature_selection::FTest;
use retune_stage::{Result, StageError};

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question};

impl Judge for FTest {
    fn score_word(&self) -> &'static str {
        "score"
    }

    fn judge(&self, _features: &[Feature], _question: &Question) -> Result<Judgement> {
        Err(StageError::failed("not built yet"))
    }
}
