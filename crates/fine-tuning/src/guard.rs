//! The guard: a tuned model that does not hold up is not kept.

use retune_estimators::truth_of;
use retune_metrics::{Interval, Prediction, paired_difference, score};
use retune_spec::Metric;
use retune_spec::fine_tuning::{Goal, Guard};
use retune_stage::{Design, Result, Seed, StageError};
use serde::Serialize;

/// Bootstrap resamples of the interval.
const RESAMPLES: usize = 1000;

/// Which model goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The tuned one.
    KeptTuned,
    /// The one that it started from.
    KeptBase,
}

/// What the guard saw and decided.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Which model goes on.
    pub decision: Decision,
    /// The score compared.
    pub metric: Metric,
    /// The base's score; null where tuning failed before it was needed.
    pub base: Option<f64>,
    /// The tuned model's score.
    pub tuned: Option<f64>,
    /// Tuned minus base, turned so that more is better.
    pub difference: Option<Interval>,
    /// The rows that were compared on.
    pub n_rows: usize,
    /// Other sets that were compared on, and what came of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Verdict>,
    /// Why, in words.
    pub reason: String,
    /// Whether refusing the tuned model ends the program with code 6.
    pub required: bool,
}

impl Verdict {
    /// Whether the tuned model goes on.
    pub fn holds_up(&self) -> bool {
        self.decision == Decision::KeptTuned
    }

    /// The same after other sets were looked at: the tuned model goes on only where it holds up on all of them.
    #[must_use]
    pub fn with(mut self, also: Vec<Self>) -> Self {
        if self.holds_up()
            && let Some(first) = also.iter().find(|verdict| !verdict.holds_up())
        {
            self.decision = Decision::KeptBase;
            self.reason.clone_from(&first.reason);
        }
        self.also = also;
        self
    }
}

/// What is compared on.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// What the rows are called.
    pub name: &'a str,
    /// The rows.
    pub rows: &'a Design,
    /// The score may be worse than the base's by so much.
    pub max_drop: f64,
}

/// What became of a goal.
#[derive(Clone, Debug, Serialize)]
pub struct GoalResult {
    /// The score.
    pub metric: Metric,
    /// What the kept model reached.
    pub value: f64,
    /// Whether that is enough.
    pub reached: bool,
    /// Whether missing it ends the program with code 6.
    pub required: bool,
    /// In words.
    pub reason: String,
}

/// Compares two models on rows that neither learned from nor was stopped by.
pub fn judge(
    spec: &Guard,
    metric: Metric,
    bench: Bench,
    base: &Prediction,
    tuned: &Prediction,
    seed: Seed,
) -> Result<Verdict> {
    let Bench { name, rows, max_drop } = bench;
    let truth = truth_of(rows.target()?);
    let score = |prediction| score(metric, &truth, prediction).map_err(|error| StageError::data(error.to_string()));
    let (base_score, tuned_score) = (score(base)?, score(tuned));
    let n_rows = rows.n_rows();
    let verdict = |decision, tuned, difference, reason| Verdict {
        decision,
        metric,
        base: Some(base_score),
        tuned,
        difference,
        n_rows,
        also: Vec::new(),
        reason,
        required: spec.required,
    };
    let Some(tuned_score) = tuned_score.ok().filter(|score| score.is_finite()) else {
        return Ok(verdict(Decision::KeptBase, None, None, "base kept: the tuned model cannot be scored".to_owned()));
    };
    if base == tuned {
        let reason =
            format!("base kept: tuning changed nothing ({} {base_score:.4} on {n_rows} {name} rows)", metric.word());
        return Ok(verdict(Decision::KeptBase, Some(tuned_score), None, reason));
    }
    let difference = paired_difference(metric, &truth, base, tuned, RESAMPLES, spec.confidence, seed.0);
    let difference = better_is_more(metric, difference.map_err(|error| StageError::data(error.to_string()))?);
    let holds_up = difference.value >= -max_drop && difference.high >= 0.0;
    let (decision, kept) =
        if holds_up { (Decision::KeptTuned, "tuned kept") } else { (Decision::KeptBase, "base kept") };
    let reason = format!(
        "{kept}: {} {tuned_score:.4} against the base's {base_score:.4} on {n_rows} {name} rows ({:+.4} for the better, {:.0} % interval {:+.4} to {:+.4})",
        metric.word(),
        difference.value,
        spec.confidence * 100.0,
        difference.low,
        difference.high
    );
    Ok(verdict(decision, Some(tuned_score), Some(difference), reason))
}

/// The verdict where there is no tuned model to compare.
pub fn refused(spec: &Guard, metric: Metric, why: &str) -> Verdict {
    Verdict {
        decision: Decision::KeptBase,
        metric,
        base: None,
        tuned: None,
        difference: None,
        n_rows: 0,
        also: Vec::new(),
        reason: format!("base kept: {why}"),
        required: spec.required,
    }
}

/// The verdict where there is no base that could be lost.
pub fn unopposed(spec: &Guard, metric: Metric, rows: &Design, tuned: &Prediction) -> Result<Verdict> {
    let score = score(metric, &truth_of(rows.target()?), tuned).map_err(|error| StageError::data(error.to_string()))?;
    let n_rows = rows.n_rows();
    let reason = format!("trained from nothing: {} {score:.4} on {n_rows} guard rows", metric.word());
    Ok(Verdict { decision: Decision::KeptTuned, tuned: Some(score), n_rows, reason, ..refused(spec, metric, "") })
}

/// Whether the kept model reaches a goal on the guard rows.
pub fn reach(goal: &Goal, rows: &Design, kept: &Prediction) -> Result<GoalResult> {
    let value =
        score(goal.metric, &truth_of(rows.target()?), kept).map_err(|error| StageError::data(error.to_string()))?;
    let is_enough = goal.at_least.is_none_or(|least| value >= least) && goal.at_most.is_none_or(|most| value <= most);
    let wanted = match (goal.at_least, goal.at_most) {
        (Some(least), _) => format!("at least {least}"),
        (None, Some(most)) => format!("at most {most}"),
        (None, None) => "anything".to_owned(),
    };
    let word = if is_enough { "reached" } else { "missed" };
    let reason = format!(
        "goal {word}: {} is {value:.4} on {} guard rows, {wanted} was asked for",
        goal.metric.word(),
        rows.n_rows()
    );
    Ok(GoalResult { metric: goal.metric, value, reached: is_enough, required: goal.required, reason })
}

pub fn better_is_more(metric: Metric, difference: Interval) -> Interval {
    if metric.greater_is_better() {
        return difference;
    }
    Interval { value: -difference.value, low: -difference.high, high: -difference.low, ..difference }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use retune_stage::Target;

    use super::*;

    fn rows(values: Vec<f64>) -> Design {
        let features = ndarray::Array2::zeros((values.len(), 1));
        let target = Some(Target::Values(values));
        Design { features, names: vec!["x".to_owned()], target, ..Design::default() }
    }

    fn verdict(base_error: f64, tuned_error: f64, max_drop: f64) -> Decision {
        let truth: Vec<f64> = (0..200).map(f64::from).collect();
        let off = |error: f64| {
            Prediction::Values(
                truth.iter().enumerate().map(|(i, y)| y + if i % 2 == 0 { error } else { -error }).collect(),
            )
        };
        let guard = Guard::default();
        let bench = Bench { name: "guard", rows: &rows(truth.clone()), max_drop };
        judge(&guard, Metric::Rmse, bench, &off(base_error), &off(tuned_error), Seed(1)).unwrap().decision
    }

    #[test]
    fn the_base_stays_unless_the_tuned_model_holds_up() {
        assert_eq!(verdict(2.0, 1.0, 0.0), Decision::KeptTuned);
        assert_eq!(verdict(1.0, 2.0, 0.0), Decision::KeptBase);
        assert_eq!(verdict(1.0, 1.0, 0.0), Decision::KeptBase);
        assert_eq!(verdict(1.0, f64::NAN, 0.0), Decision::KeptBase);
        // Allowed to drop, but surely worse: no point estimate talks the interval away.
        assert_eq!(verdict(1.0, 1.2, 0.5), Decision::KeptBase);
    }

    #[test]
    fn goals_look_the_right_way() {
        let truth: Vec<f64> = (0..10).map(f64::from).collect();
        let prediction = Prediction::Values(truth.iter().map(|y| y + 1.0).collect());
        let goal = |at_most| Goal { metric: Metric::Rmse, at_least: None, at_most: Some(at_most), required: true };
        assert!(reach(&goal(1.5), &rows(truth.clone()), &prediction).unwrap().reached);
        assert!(!reach(&goal(0.5), &rows(truth), &prediction).unwrap().reached);
    }
}
