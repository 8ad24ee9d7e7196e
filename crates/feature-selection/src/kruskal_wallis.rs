//! `kruskal_wallis`: keeps the columns whose ranks differ between labels.

use std::borrow::Cow;

use rayon::prelude::*;
use retune_spec::feature_selection::{Choice, KruskalWallis};
use retune_stage::Result;

use crate::chi2::Classes;
use crate::f_test::{is_constant, tested};
use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question};

/// The p-value is that of the chi-squared distribution. A constant column has the score 0 and the p-value 1.
impl Judge for KruskalWallis {
    fn score_word(&self) -> &'static str {
        "H statistic"
    }

    fn choice(&self) -> Option<Choice> {
        Some(KruskalWallis::choice(self))
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let classes = Classes::of(question.target)?;
        let verdict = |feature: &Feature| {
            question.context.progress.check_cancelled()?;
            let score = h(feature.numbers()?, &classes);
            Ok(tested("H", score, classes.p_value(score)))
        };
        Ok(features.par_iter().map(verdict).collect::<Result<Vec<_>>>()?.into())
    }
}

/// H, which ties make greater.
fn h(values: Cow<[f64]>, classes: &Classes) -> f64 {
    if is_constant(&values) {
        return 0.0;
    }
    let mut pairs: Vec<(u64, u32)> =
        values.iter().map(|&value| key(value)).zip(classes.codes.iter().copied()).collect();
    drop(values);
    pairs.sort_unstable_by_key(|pair| pair.0);
    let n = pairs.len() as f64;
    // Of ranks less their mean, which loses no digits.
    let (mut sums, mut tied, mut start) = (vec![0.0; classes.counts.len()], 0.0, 0);
    for equal in pairs.chunk_by(|a, b| a.0 == b.0) {
        let end = start + equal.len();
        let rank = (start + end) as f64 / 2.0 - n / 2.0;
        equal.iter().for_each(|&(_, code)| sums[code as usize] += rank);
        let many = equal.len() as f64;
        tied += many * (many * many - 1.0);
        start = end;
    }
    let present = sums.iter().zip(&classes.counts).filter(|(_, count)| **count > 0.0);
    let between: f64 = present.map(|(sum, count)| sum * sum / count).sum();
    12.0 / (n * (n + 1.0)) * between / (1.0 - tied / (n * (n * n - 1.0)))
}

/// A whole number for each value, in the same order; numbers are sorted faster.
fn key(value: f64) -> u64 {
    // -0 becomes 0.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}
