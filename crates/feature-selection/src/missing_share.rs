//! `missing_share`: drops columns with too many missing values.

use rayon::prelude::*;
use retune_spec::feature_selection::MissingShare;
use retune_stage::Result;

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};

/// The score is the share of values that are there.
impl Judge for MissingShare {
    fn score_word(&self) -> &'static str {
        "share of values"
    }

    fn takes_missing(&self) -> bool {
        true
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let n_rows = question.target.len();
        let judged = |feature: &Feature| {
            let missing = feature.n_missing()? as f64 / n_rows as f64;
            let kept = missing <= self.max;
            let limit = if kept { "not more" } else { "more" };
            let reason = format!(
                "{} % of its values are missing, {limit} than {} %",
                shown(100.0 * missing),
                shown(100.0 * self.max)
            );
            Ok(Verdict { kept, ..Verdict::scored(1.0 - missing, reason) })
        };
        Ok(features.par_iter().map(judged).collect::<Result<Vec<_>>>()?.into())
    }
}
