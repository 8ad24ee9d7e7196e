//! `kruskal_wallis`.

use retune_spec::feature_selection::KruskalWallis;
use retune_stage::{Result, StageError};

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question};

impl Judge for KruskalWallis {
    fn score_word(&self) -> &'static str {
        "score"
    }

    fn judge(&self, _features: &[Feature], _question: &Question) -> Result<Judgement> {
        Err(StageError::failed("not built yet"))
    }
}
