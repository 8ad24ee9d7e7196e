//! `variance_threshold`: drops columns that hardly vary.

use rayon::prelude::*;
use retune_spec::feature_selection::VarianceThreshold;
use retune_stage::Result;

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};
use crate::moments::Moments;

impl Judge for VarianceThreshold {
    fn score_word(&self) -> &'static str {
        "variance"
    }

    fn takes_missing(&self) -> bool {
        true
    }

    fn judge(&self, features: &[Feature], _question: &Question) -> Result<Judgement> {
        let judged = |feature: &Feature| {
            let mut values = feature.numbers()?;
            if values.iter().any(|value| value.is_nan()) {
                values.to_mut().retain(|value| !value.is_nan());
            }
            Ok(verdict(&values, self.threshold))
        };
        Ok(features.par_iter().map(judged).collect::<Result<Vec<_>>>()?.into())
    }
}

fn verdict(values: &[f64], threshold: f64) -> Verdict {
    let score = variance(values);
    let kept = score > threshold;
    let reason = match (kept, score == 0.0) {
        (true, _) => format!("its variance {} is above {threshold}", shown(score)),
        (false, true) => "it is constant".to_owned(),
        (false, false) => format!("its variance {} is not above {threshold}", shown(score)),
    };
    Verdict { kept, ..Verdict::scored(score, reason) }
}

/// The variance of the population; exactly 0 for a constant column, whose mean may be off by a rounding.
fn variance(values: &[f64]) -> f64 {
    match values.first() {
        Some(first) if values.iter().any(|value| value != first) => Moments::of(values).variance(values.len()),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardly_varying_columns_are_dropped() {
        let check = |values: &[f64], threshold: f64, kept: bool, reason: &str| {
            let verdict = verdict(values, threshold);
            assert_eq!((verdict.kept, verdict.reason.as_str()), (kept, reason));
        };
        check(&[0.1; 10], 0.0, false, "it is constant");
        check(&[0.0, 1.0], 0.0, true, "its variance 0.25 is above 0");
        check(&[0.0, 1.0], 0.25, false, "its variance 0.25 is not above 0.25");
        check(&[1e9, 1e9 + 1.0], 0.2, true, "its variance 0.25 is above 0.2");
    }
}
