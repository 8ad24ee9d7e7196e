//! `boruta`: keeps every column that tells more than shuffled copies of columns do.

mod forest;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_spec::feature_selection::{Boruta, Undecided};
use retune_stage::{Result, StageError};
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};
use forest::{Forest, Told, binned};

/// A noise column that is near the target by luck is so in every forest; it must not be nearer than the luckiest of a few copies.
const FEWEST_COPIES: usize = 30;

/// What the forests so far say of a column.
struct Tested {
    decision: Decision,
    /// How often it beat the copies.
    hits: usize,
    importances: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Undecided,
    Confirmed,
    Rejected,
}

/// Forests have Gini importances and try the root of the number of columns in each split. Tests are corrected in the two steps of BorutaPy: the rate of false
/// discoveries over the columns (Benjamini and Hochberg 1995), and the level divided by the number of forests so far, since each is followed by a test.
/// A rejected column is in no further forest, but its copy is, unlike in BorutaPy: else the luckiest of many noise columns would in the end be compared with few
/// copies, and beat them in every forest.
impl Judge for Boruta {
    fn score_word(&self) -> &'static str {
        "median importance"
    }

    fn takes_missing(&self) -> bool {
        true
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let progress = question.context.progress;
        let codes: Vec<Vec<u8>> =
            features.par_iter().map(|feature| Ok(binned(&feature.numbers()?))).collect::<Result<_>>()?;
        let told = Told::of(question.target);
        let untested = || Tested { decision: Decision::Undecided, hits: 0, importances: Vec::new() };
        let mut columns: Vec<Tested> = features.iter().map(|_| untested()).collect();
        let mut limits = Vec::new();
        for iteration in 1..=self.iterations {
            progress.check_cancelled()?;
            progress.update("forests", iteration as u64 - 1, Some(self.iterations as u64));
            let seed = question.context.seed.derive(&format!("forest {iteration}"));
            let left: Vec<usize> =
                (0..columns.len()).filter(|&column| columns[column].decision != Decision::Rejected).collect();
            let shuffled = |copy: usize| {
                let mut codes = codes[copy % codes.len()].clone();
                codes.shuffle(&mut ChaCha8Rng::seed_from_u64(seed.derive(&format!("copy {copy}")).0));
                codes
            };
            let copies: Vec<Vec<u8>> = (0..codes.len().max(FEWEST_COPIES)).into_par_iter().map(shuffled).collect();
            let grown_on = left.iter().map(|&column| &codes[column]).chain(&copies).map(Vec::as_slice).collect();
            let forest = Forest { columns: grown_on, told: &told, trees: self.trees, depth: self.depth };
            let importances = forest.importances(seed);
            let (importances, of_copies) = importances.split_at(left.len());
            let limit = percentile(of_copies, self.percentile);
            limits.push(limit);
            for (&column, &importance) in left.iter().zip(importances) {
                columns[column].hits += usize::from(importance > limit);
                columns[column].importances.push(importance);
            }
            decide(&mut columns, &left, iteration, self.alpha)?;
            if columns.iter().all(|column| column.decision != Decision::Undecided) {
                break;
            }
        }
        let limit = percentile(&limits, 50.0);
        let verdicts = columns.iter().map(|column| verdict(column, limit, self.undecided)).collect();
        let count = |decision| columns.iter().filter(|column| column.decision == decision).count();
        let note = format!(
            "{} columns confirmed, {} rejected and {} undecided after {} forests",
            count(Decision::Confirmed),
            count(Decision::Rejected),
            count(Decision::Undecided),
            limits.len()
        );
        Ok(Judgement { verdicts, note: Some(note) })
    }
}

/// Tests whether columns beat the copies more, or less, often than in half of the forests.
fn decide(columns: &mut [Tested], left: &[usize], iteration: usize, alpha: f64) -> Result<()> {
    let by_chance = by_chance(iteration)?;
    let more: Vec<f64> = left.iter().map(|&column| at_least(&by_chance, columns[column].hits)).collect();
    let less: Vec<f64> = left.iter().map(|&column| by_chance.cdf(columns[column].hits as u64)).collect();
    let limit = |p_values: &[f64]| discovered(p_values, alpha).min(alpha / iteration as f64);
    let (more_limit, less_limit) = (limit(&more), limit(&less));
    for ((&column, more), less) in left.iter().zip(more).zip(less) {
        let decision = &mut columns[column].decision;
        *decision = match *decision {
            Decision::Undecided if more <= more_limit => Decision::Confirmed,
            Decision::Undecided if less <= less_limit => Decision::Rejected,
            decided => decided,
        };
    }
    Ok(())
}

/// `limit`: the median importance of the best copies.
fn verdict(column: &Tested, limit: f64, undecided: Undecided) -> Verdict {
    let n = column.importances.len();
    let median = percentile(&column.importances, 50.0);
    let beat = format!("beat shuffled copies in {} of {n} forests", column.hits);
    let (kept, reason) = match (column.decision, undecided) {
        (Decision::Confirmed, _) => (true, format!("{beat}: confirmed")),
        (Decision::Rejected, _) => (false, format!("{beat}: rejected")),
        (Decision::Undecided, Undecided::Keep) => (true, format!("{beat}: undecided, and so kept")),
        (Decision::Undecided, Undecided::Drop) => (false, format!("{beat}: undecided, and so dropped")),
        (Decision::Undecided, Undecided::ByMedian) => {
            let kept = median > limit;
            let than = if kept { "above" } else { "not above" };
            (
                kept,
                format!(
                    "{beat}: undecided; its median importance {} is {than} that of the best copies, {}",
                    shown(median),
                    shown(limit)
                ),
            )
        }
    };
    let p_value = by_chance(n).ok().map(|by_chance| at_least(&by_chance, column.hits));
    Verdict { kept, p_value, ..Verdict::scored(median, reason) }
}

/// How often a column beats the copies that is as likely to as not.
fn by_chance(iterations: usize) -> Result<Binomial> {
    Binomial::new(0.5, iterations as u64).map_err(|error| StageError::failed(error.to_string()))
}

fn at_least(by_chance: &Binomial, hits: usize) -> f64 {
    hits.checked_sub(1).map_or(1.0, |fewer| by_chance.sf(fewer as u64))
}

/// The greatest p-value that is significant with the rate of false discoveries controlled; below 0 where none is.
fn discovered(p_values: &[f64], level: f64) -> f64 {
    let mut sorted = p_values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let mut greatest_first = sorted.iter().enumerate().rev();
    greatest_first.find(|&(at, &p)| p <= level * (at + 1) as f64 / n).map_or(-1.0, |(_, &p)| p)
}

/// As numpy has it, between the two values that it lies between.
fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = percent / 100.0 * sorted.len().saturating_sub(1) as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or(0.0);
    at(place.floor()) + (at(place.ceil()) - at(place.floor())) * place.fract()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// numpy 2.4, `percentile`; statsmodels' `fdrcorrection` by hand.
    #[test]
    fn percentiles_and_discoveries() {
        let values = [3.0, 1.0, 2.0, 10.0];
        let expected = [(100.0, 10.0), (50.0, 2.5), (90.0, 7.9), (10.0, 1.3)];
        assert!(expected.iter().all(|&(percent, value)| (percentile(&values, percent) - value).abs() < 1e-12));
        assert_eq!(discovered(&[0.04, 0.01, 0.03, 0.5], 0.05), 0.01);
        assert_eq!(discovered(&[0.035, 0.01, 0.03, 0.5], 0.05), 0.035);
        assert_eq!(discovered(&[0.4, 0.9], 0.05), -1.0);
    }

    /// By hand from binomial tails (12 of 12: 1/4096, 11 or more: 13/4096) against 0.05 / 12 and the false discovery rate, as BorutaPy's `two_step`.
    #[test]
    fn columns_are_decided_in_two_steps() {
        use Decision::{Confirmed, Rejected, Undecided};
        let decided = |hits: &[usize], iteration| {
            let tested = |&hits: &usize| Tested { decision: Undecided, hits, importances: Vec::new() };
            let mut columns: Vec<Tested> = hits.iter().map(tested).collect();
            decide(&mut columns, &(0..hits.len()).collect::<Vec<_>>(), iteration, 0.05).unwrap();
            columns.iter().map(|column| column.decision).collect::<Vec<Decision>>()
        };
        assert_eq!(
            decided(&[12, 11, 10, 6, 1, 0], 12),
            [Confirmed, Confirmed, Undecided, Undecided, Rejected, Rejected]
        );
        // 1/128 is above 0.05 / 7, 1/256 is below 0.05 / 8.
        assert_eq!(decided(&[7, 3], 7)[0], Undecided);
        assert_eq!(decided(&[8, 4], 8)[0], Confirmed);
        // One of 500 columns: 1/256 is above 0.05 / 500.
        let mut hits = vec![4; 500];
        hits[0] = 8;
        assert_eq!(decided(&hits, 8)[0], Undecided);
    }
}
