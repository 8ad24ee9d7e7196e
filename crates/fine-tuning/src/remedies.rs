//! What is tried where a tuned model does not hold up.

use retune_estimators::FitOptions;
use retune_estimators::networks::Phase;
use retune_estimators::{FittedModel, Member, Model, networks, truth_of};
use retune_metrics::{Prediction, Truth};
use retune_spec::Estimator;
use retune_spec::fine_tuning::{BatchNorms, FineTuning, Rehearsal, Remedy, TuningStrategy};
use retune_stage::{Design, FitContext, Result};

use crate::guard::Verdict;

/// The strength of `l2_sp` where a tuning had none (Li et al. 2018).
const L2_SP: f64 = 0.1;

/// The tuning that a remedy asks for; `None` for one that trains nothing.
pub fn changed(spec: &FineTuning, remedy: Remedy) -> Option<FineTuning> {
    let mut spec = spec.clone();
    match remedy {
        Remedy::WiseFt => return None,
        Remedy::L2Sp => spec.network.l2_sp = if spec.network.l2_sp > 0.0 { 10.0 * spec.network.l2_sp } else { L2_SP },
        Remedy::Rehearsal => {
            let set = spec.guard.also.first().map(|also| also.set.clone());
            let known = spec.network.rehearsal.as_ref().map(|rehearsal| rehearsal.set.clone());
            let set = known.or(set)?;
            let share = spec.network.rehearsal.as_ref().map_or(0.25, |rehearsal| (2.0 * rehearsal.share).min(0.9));
            spec.network.rehearsal = Some(Rehearsal { set, share });
        }
        Remedy::LowerLearningRate => {
            spec.network.learning_rate /= 10.0;
            spec.boosting.learning_rate /= 10.0;
        }
        Remedy::FreezeBatchNorm => spec.network.batch_norm = BatchNorms::Frozen,
        Remedy::LinearProbe => spec.network.strategy = TuningStrategy::LinearProbe,
    }
    Some(spec)
}

/// Whether a remedy has anything to say of a model.
pub fn applies(remedy: Remedy, model: &Model) -> bool {
    let is_network = |member: &Member| matches!(member.fitted.as_ref(), FittedModel::Network(_));
    let is_boosting = |member: &Member| matches!(member.estimator, Estimator::GradientBoosting(_));
    model
        .members()
        .iter()
        .any(|member| is_network(member) || remedy == Remedy::LowerLearningRate && is_boosting(member))
}

/// The model whose networks lie between the base's and the tuned ones.
pub fn wise_ft(base: &Model, tuned: &Model, stop: &Design, context: &FitContext) -> Result<(Model, Vec<String>)> {
    let stop = base.bind(stop)?;
    let options = FitOptions::of(context);
    let (mut members, mut notes) = (Vec::new(), Vec::new());
    for (from, to) in base.members().iter().zip(tuned.members()) {
        match (from.fitted.as_ref(), to.fitted.as_ref()) {
            (FittedModel::Network(from), FittedModel::Network(network)) => {
                let (network, note) = networks::wise_ft(from, network, &to.seen(&stop), &options)?;
                members.push(to.with_fitted(to.estimator.clone(), FittedModel::Network(network)));
                notes.push(note);
            }
            _ => members.push(to.clone()),
        }
    }
    Ok((tuned.with_members(members), notes))
}

/// A loss is taken for one that rises when it is so many times the least.
const RISEN: f64 = 1.1;

/// What probably went wrong, in words: told from the learning curves, the predictions and the scores.
pub fn diagnose(
    phases: &[Phase],
    verdict: &Verdict,
    rows: &Design,
    tuned: &Prediction,
    statistics_shifted: bool,
) -> Result<Vec<&'static str>> {
    let mut found = Vec::new();
    if let Some(history) = phases.last().map(|phase| &phase.history) {
        let falls = history.train.first().zip(history.train.last()).is_some_and(|(first, last)| last < first);
        let least = history.looks().map(|(_, loss)| loss).fold(f64::INFINITY, f64::min);
        let rises = history.looks().last().is_some_and(|(_, last)| last > RISEN * least);
        if falls && rises {
            found.push("overfit: the training loss falls while the validation loss rises");
        }
    }
    if verdict.also.iter().any(|other| !other.holds_up())
        && verdict.difference.as_ref().is_some_and(|difference| difference.value >= 0.0)
    {
        found.push("forgetting: better on these rows, worse on those it came from");
    }
    if statistics_shifted {
        found.push("batch-norm shift: with the base's statistics of batch norms the tuned weights do better");
    }
    if let Truth::Classes { codes, n_classes } = truth_of(rows.target()?) {
        let count = |labels: &[u32]| {
            let mut counts = vec![0usize; n_classes];
            labels.iter().for_each(|&label| counts[label as usize] += 1);
            counts
        };
        let (said, true_ones) = (count(&tuned.labels()), count(codes));
        let n_said = said.iter().filter(|&&count| count > 0).count();
        let n_true = true_ones.iter().filter(|&&count| count > 0).count();
        if 2 * n_said <= n_true {
            found.push("class collapse: at most half of the labels are predicted at all");
        }
    }
    Ok(found)
}
