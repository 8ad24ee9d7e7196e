//! What a method is to the stage.

use retune_spec::feature_selection::Choice;
use retune_stage::{FitContext, Result, Target, Task, Ties};

use crate::choose::Grouped;
use crate::features::Feature;

/// A method of feature selection.
pub(crate) trait Judge {
    /// What its scores are called in a sentence.
    fn score_word(&self) -> &'static str;

    /// Whether columns may have missing values.
    fn takes_missing(&self) -> bool {
        false
    }

    /// How scores choose among columns; `None` where the method decides on each column itself.
    fn choice(&self) -> Option<Choice> {
        None
    }

    /// A verdict on each of the features (there is at least one), in their order. Those that `always_keep` pins are kept whatever it says of them.
    /// Where scores choose, `kept` is not looked at, and `reason` says only what the score is.
    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement>;
}

/// What a method says.
pub(crate) struct Judgement {
    /// Of each column, in their order.
    pub(crate) verdicts: Vec<Verdict>,
    /// Of all of them, for the report.
    pub(crate) note: Option<String>,
}

impl From<Vec<Verdict>> for Judgement {
    fn from(verdicts: Vec<Verdict>) -> Self {
        Self { verdicts, note: None }
    }
}

/// What a method is told besides the columns.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    /// What columns are to tell of. It is not constant.
    pub(crate) target: &'a Target,
    pub(crate) task: &'a Task,
    /// Groups and times, which whoever sets rows aside has to respect.
    pub(crate) ties: &'a Ties,
    /// Which of the columns belong together.
    pub(crate) groups: &'a Grouped,
    /// Seed, threads, and where to say how far it is.
    pub(crate) context: FitContext<'a>,
}

/// What a method says of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    /// The greater the better.
    pub(crate) score: f64,
    /// How probable such a score is where the column tells nothing.
    pub(crate) p_value: Option<f64>,
    /// Where the score lies with 95 % probability.
    pub(crate) interval: Option<[f64; 2]>,
    /// In what share of samples the column was chosen.
    pub(crate) frequency: Option<f64>,
    /// Whether the column stays.
    pub(crate) kept: bool,
    /// Why, in words.
    pub(crate) reason: String,
}

impl Verdict {
    /// Of a method that only scores.
    pub(crate) fn scored(score: f64, reason: String) -> Self {
        Self { score, reason, ..Self::default() }
    }
}

/// The places of scores in the order of their greatness, from 1; of equal ones the earlier comes first.
pub(crate) fn ranks(scores: &[f64]) -> Vec<usize> {
    let mut ranks = vec![0; scores.len()];
    for (rank, at) in best_first(scores).into_iter().enumerate() {
        ranks[at] = rank + 1;
    }
    ranks
}

/// The indices of scores, the greatest first; of equal ones the earlier comes first.
pub(crate) fn best_first(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

/// A score as a person reads it: three digits.
pub(crate) fn shown(score: f64) -> String {
    let magnitude = score.abs();
    if magnitude == 0.0 || (1e-3..1e4).contains(&magnitude) {
        let decimals = if magnitude >= 100.0 { 0 } else { 3 };
        let text = format!("{score:.decimals$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{score:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_ranked_and_shown() {
        assert_eq!(ranks(&[0.1, 0.5, 0.1, 0.7]), [3, 2, 4, 1]);
        let texts = [0.0, 0.5, 0.9934, 12.0, 123.4, 0.00012, -0.25, 2e9].map(shown);
        assert_eq!(texts, ["0", "0.5", "0.993", "12", "123", "1.20e-4", "-0.25", "2.00e9"]);
    }
}
