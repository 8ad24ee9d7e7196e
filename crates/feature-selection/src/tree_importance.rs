//! `tree_importance`: keeps the columns that boosted trees use most.

use retune_estimators::boosting::Use;
use retune_spec::feature_selection::{Choice, Importance, TreeImportance};
use retune_stage::Result;

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};
use crate::trees::{Numbers, boosted, grow};

/// LightGBM's own `feature_importance`, divided by its sum.
impl Judge for TreeImportance {
    fn score_word(&self) -> &'static str {
        "importance"
    }

    fn takes_missing(&self) -> bool {
        true
    }

    fn choice(&self) -> Option<Choice> {
        Some(TreeImportance::choice(self))
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let spec = boosted(self.trees, self.leaves, self.learning_rate)?;
        let grown = grow(&spec, &Numbers::of(features, None)?, question.target, question)?;
        let (counted_by, word) = match self.importance {
            Importance::Gain => (Use::Gain, "gain"),
            Importance::Split => (Use::Splits, "splits"),
        };
        let used = grown.importance(counted_by)?;
        let total: f64 = used.iter().sum();
        let verdict = |used: f64| {
            let share = if total > 0.0 { used / total } else { 0.0 };
            Verdict::scored(share, format!("has {} of the {word} of the trees", shown(share)))
        };
        Ok(used.into_iter().map(verdict).collect::<Vec<_>>().into())
    }
}
