//! What a method is to the stage.

use retune_stage::{FitContext, Result, Target};

use crate::features::Feature;

/// A method of feature selection.
pub(crate) trait Judge {
    /// What its scores are called in a sentence.
    fn score_word(&self) -> &'static str;

    /// A verdict on each of the features (there is at least one), in their order. Those that `always_keep` pins are kept whatever it says of them.
    fn judge(&self, features: &[Feature], target: &Target, context: &FitContext) -> Result<Vec<Verdict>>;
}

/// What a method says of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// The greater the better.
    pub(crate) score: f64,
    /// Whether the column stays.
    pub(crate) kept: bool,
    /// Why, in words.
    pub(crate) reason: String,
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
