//! `stability`: repeats a method on samples of the rows, and keeps the columns that it chooses often.

use rand::seq::index::sample;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune_metrics::NORMAL_95;
use retune_spec::feature_selection::{Choice, Sample, Stability};
use retune_stage::{Quiet, Result, Seed, StageError, Target};

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};
use crate::{decided, judge_of};

/// A sample of rows with one label only tells nothing: at most so many draws are tried for one that does.
const MOST_DRAWS: u64 = 100;

/// The share of the samples in which a column is chosen, with the interval of Wilson (1927).
impl Judge for Stability {
    fn score_word(&self) -> &'static str {
        "selection frequency"
    }

    fn takes_missing(&self) -> bool {
        judge_of(&self.method).takes_missing()
    }

    fn choice(&self) -> Option<Choice> {
        Some(Choice { keep: self.keep.clone(), min_score: Some(self.min_frequency), significance: None })
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let judge = judge_of(&self.method);
        let mut chosen = vec![0_usize; features.len()];
        let mut n_chosen = 0;
        for repeat in 0..self.repeats {
            question.context.progress.check_cancelled()?;
            question.context.progress.update("samples", repeat as u64, Some(self.repeats as u64));
            let place = format!("sample {}", repeat + 1);
            let rows = drawn(self.sample, question.target, question.context.seed.derive(&place))?;
            let (target, ties) = (question.target.take(&rows), question.ties.take(&rows));
            let sampled: Vec<Feature> = features.iter().map(|feature| feature.of_rows(&rows)).collect();
            // What a method warns of would be said once for each sample.
            let quiet = Quiet(question.context.progress);
            let mut context = question.context.at(&place);
            context.progress = &quiet;
            let question = Question { target: &target, ties: &ties, context, ..*question };
            let judgement =
                decided(judge, self.method.word(), &sampled, &question).map_err(|error| error.within(&place))?;
            for (count, _) in chosen.iter_mut().zip(&judgement.verdicts).filter(|(_, verdict)| verdict.kept) {
                *count += 1;
                n_chosen += 1;
            }
        }
        let verdict = |&count: &usize| {
            let frequency = count as f64 / self.repeats as f64;
            let reason = format!("chosen in {count} of {} samples", self.repeats);
            let interval = Some(wilson(count, self.repeats));
            Verdict { frequency: Some(frequency), interval, ..Verdict::scored(frequency, reason) }
        };
        let mean = n_chosen as f64 / self.repeats as f64;
        let note = format!(
            "{} chose {} columns on average, with a stability of {}",
            self.method.word(),
            shown(mean),
            shown(nogueira(&chosen, self.repeats))
        );
        Ok(Judgement { verdicts: chosen.iter().map(verdict).collect(), note: Some(note) })
    }
}

/// Rows of a sample in ascending order, of which the target is not constant.
fn drawn(how: Sample, target: &Target, seed: Seed) -> Result<Vec<usize>> {
    let n_rows = target.len();
    for draw in 0..MOST_DRAWS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.derive(&format!("draw {draw}")).0);
        let mut rows = match how {
            Sample::Bootstrap => (0..n_rows).map(|_| rng.random_range(0..n_rows)).collect(),
            Sample::Half => sample(&mut rng, n_rows, n_rows.div_ceil(2)).into_vec(),
        };
        rows.sort_unstable();
        let varies = match target {
            Target::Classes { codes, .. } => rows.iter().any(|&row| codes[row] != codes[rows[0]]),
            Target::Values(values) => rows.iter().any(|&row| values[row] != values[rows[0]]),
        };
        if varies {
            return Ok(rows);
        }
    }
    Err(StageError::data(format!("in {MOST_DRAWS} samples of {n_rows} rows the target never changes"))
        .help("all but a few rows have the same target: collect more, or leave `stability` out"))
}

/// The stability of choices of columns (Nogueira, Sechidis and Brown 2018, definition 4): `chosen` says in how many of the choices each column is.
fn nogueira(chosen: &[usize], n_choices: usize) -> f64 {
    let (n_columns, n) = (chosen.len() as f64, n_choices as f64);
    let share = |&count: &usize| count as f64 / n;
    let variance = |share: f64| n / (n - 1.0) * share * (1.0 - share);
    let mean_variance = chosen.iter().map(share).map(variance).sum::<f64>() / n_columns;
    let mean_share = chosen.iter().map(share).sum::<f64>() / n_columns;
    let by_chance = mean_share * (1.0 - mean_share);
    if by_chance > 0.0 { 1.0 - mean_variance / by_chance } else { 1.0 }
}

/// The 95 % interval of a share (Wilson 1927).
fn wilson(count: usize, n: usize) -> [f64; 2] {
    const Z: f64 = NORMAL_95;
    let (n, share) = (n as f64, count as f64 / n as f64);
    let centre = share + Z * Z / (2.0 * n);
    let margin = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    [centre - margin, centre + margin].map(|end| (end / (1.0 + Z * Z / n)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand from the definition.
    #[test]
    fn stability_is_one_for_equal_choices_and_zero_by_chance() {
        assert!((nogueira(&[10, 10, 0, 0, 0], 10) - 1.0).abs() < 1e-15);
        assert!((nogueira(&[10, 10], 10) - 1.0).abs() < 1e-15);
        // Two choices of one of two columns each, all different: 1 - (2/1 * 1/4) / (1/2 * 1/2) = -1.
        assert!((nogueira(&[1, 1], 2) + 1.0).abs() < 1e-15);
        // Shares 3/4, 1/2, 1/4, 0: 1 - (4/3 * (3/16 + 4/16 + 3/16) / 4) / (3/8 * 5/8).
        assert!((nogueira(&[3, 2, 1, 0], 4) - (1.0 - (4.0 / 3.0 * 10.0 / 64.0) / (15.0 / 64.0))).abs() < 1e-15);
    }

    /// scipy 1.17, `binomtest(43, 50).proportion_ci(method="wilson")`.
    #[test]
    fn intervals_are_wilsons() {
        let [low, high] = wilson(43, 50);
        assert!(
            (low - 0.738_138_062_894_144_6).abs() < 1e-12 && (high - 0.930_491_665_729_837_1).abs() < 1e-12,
            "{low} {high}"
        );
        assert!(wilson(0, 50)[0].abs() < 1e-15);
    }
}
