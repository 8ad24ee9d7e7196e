//! Tests of whether two models differ.

use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::function::beta::beta_reg;

use crate::MetricError;

/// What McNemar's test says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McNemar {
    /// Rows that only the first model has right.
    pub only_a: u64,
    /// Rows that only the second model has right.
    pub only_b: u64,
    /// The probability of a difference so great if the models were equally good.
    pub p_value: f64,
}

/// McNemar's exact test of two models on the same rows (Dietterich 1998), two-sided: of the rows that one model alone has right, each model would have half.
/// Fails for lengths that differ and for no rows.
pub fn mcnemar(truth: &[u32], a: &[u32], b: &[u32]) -> Result<McNemar, MetricError> {
    if let Some(labels) = [a, b].into_iter().find(|labels| labels.len() != truth.len()) {
        return Err(MetricError::Mismatch { what: "rows", truth: truth.len(), prediction: labels.len() });
    }
    if truth.is_empty() {
        return Err(MetricError::Empty);
    }
    let only = |right: &[u32], wrong: &[u32]| {
        let rows = truth.iter().zip(right).zip(wrong);
        rows.filter(|((truth, right), wrong)| truth == right && truth != wrong).count() as u64
    };
    let (only_a, only_b) = (only(a, b), only(b, a));
    Ok(McNemar { only_a, only_b, p_value: two_sided(only_a.min(only_b), only_a + only_b) })
}

/// The probability that one of the two sides of `n` fair coins has `least` or fewer. Terms are relative to the middle one, which no number of rows makes
/// too small or too great.
fn two_sided(least: u64, n: u64) -> f64 {
    let mut term = 1.0;
    let (mut tail, mut half) = (0.0, 0.0);
    for heads in (0..=n / 2).rev() {
        // The middle of an even number of coins belongs to both sides.
        half += if 2 * heads == n { term / 2.0 } else { term };
        tail += if heads <= least { term } else { 0.0 };
        term *= heads as f64 / (n - heads + 1) as f64;
    }
    (tail / half).min(1.0)
}

/// What the corrected resampled t-test says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The mean difference, the second model's scores minus the first one's.
    pub difference: f64,
    /// The difference over its corrected standard error.
    pub t: f64,
    /// The probability of a difference so great, either way, if the models were equally good.
    pub p_value: f64,
}

/// The corrected resampled t-test of two models' scores on the same folds or splits (Nadeau & Bengio 2003, equation 9), two-sided, with one degree of freedom
/// less than there are scores. `test_share` is the rows that a fold tests on over those that it trains on, such as 1 / 9 for ten folds: because training
/// sets overlap, the variance of the mean is that much greater. Fails for fewer than two scores, lengths that differ, and differences that are all equal but
/// not 0, of which no variance is known.
pub fn corrected_t_test(a: &[f64], b: &[f64], test_share: f64) -> Result<Comparison, MetricError> {
    if !(test_share >= 0.0 && test_share.is_finite()) {
        let (what, range) = ("the share of test rows", "a number from 0");
        return Err(MetricError::Setting { what, value: test_share, range });
    }
    let undefined = |reason| Err(MetricError::NoTest { reason });
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| b - a).collect();
    if a.len() != b.len() {
        return undefined("the models have different numbers of them");
    }
    if differences.len() < 2 {
        return undefined("there are fewer than two");
    }
    if differences.iter().any(|difference| !difference.is_finite()) {
        return undefined("one is not a finite number");
    }
    if differences.iter().all(|difference| *difference == 0.0) {
        return Ok(Comparison { difference: 0.0, t: 0.0, p_value: 1.0 });
    }
    let n = differences.len() as f64;
    let difference = differences.iter().sum::<f64>() / n;
    let variance = differences.iter().map(|other| (other - difference).powi(2)).sum::<f64>() / (n - 1.0);
    if differences.iter().all(|other| *other == differences[0]) {
        return undefined("all differ by the same");
    }
    let t = difference / (variance * (1.0 / n + test_share)).sqrt();
    let freedom = n - 1.0;
    let p_value = beta_reg(freedom / 2.0, 0.5, freedom / (freedom + t * t));
    Ok(Comparison { difference, t, p_value })
}

/// Where the mean score of a model lies with 95 % probability, by the variance that [`corrected_t_test`] takes; `None` of fewer than two scores.
pub fn corrected_interval(scores: &[f64], test_share: f64) -> Option<[f64; 2]> {
    let n = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = StudentsT::new(0.0, 1.0, n - 1.0).ok()?.inverse_cdf(0.975);
    let reach = t * (variance * (1.0 / n + test_share)).sqrt();
    reach.is_finite().then_some([mean - reach, mean + reach])
}
