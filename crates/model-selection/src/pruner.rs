//! Which trials are given up early.

use std::ops::Range;

use retune_spec::model_selection::{Halving, Pruner, Resource};

use crate::evaluate::Share;
use crate::trial::{Trial, mean};

/// Folds that a trial runs between two looks of the median rule. Fixed, so that what is given up does not depend on the number of threads.
const FOLDS_AT_ONCE: usize = 2;

/// Finished trials that the median rule wants to see before it gives one up.
const STARTUP: usize = 3;

/// A step of a trial: some folds with some share of a resource. Only the folds of the last kind of step are the trial's scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The folds of this step.
    pub folds: Range<usize>,
    /// What they have.
    pub share: Share,
    /// Whether the pruner looks at the score afterwards.
    pub is_looked_at: bool,
}

/// The steps of a trial, in their order.
pub fn steps(pruner: Pruner, number: usize, n_folds: usize) -> Vec<Step> {
    let whole = |from: usize, to: usize| Step { folds: from..to, share: Share::Whole, is_looked_at: to < n_folds };
    match pruner {
        Pruner::None => vec![whole(0, n_folds)],
        Pruner::Median => {
            let begins = (0..n_folds).step_by(FOLDS_AT_ONCE);
            begins.map(|begin| whole(begin, (begin + FOLDS_AT_ONCE).min(n_folds))).collect()
        }
        Pruner::SuccessiveHalving(halving) | Pruner::Hyperband(halving) => {
            let shares = shares(pruner, number);
            if halving.resource == Resource::Folds {
                let mut ends: Vec<usize> =
                    shares.iter().map(|share| (share * n_folds as f64).ceil() as usize).collect();
                ends.push(n_folds);
                ends.dedup();
                let begins = std::iter::once(0).chain(ends.iter().copied());
                return begins.zip(ends.iter().copied()).map(|(from, to)| whole(from, to)).collect();
            }
            let early = |&share: &f64| Step {
                folds: 0..n_folds,
                share: if halving.resource == Resource::Rows { Share::Rows(share) } else { Share::Rounds(share) },
                is_looked_at: true,
            };
            shares.iter().map(early).chain([whole(0, n_folds)]).collect()
        }
    }
}

/// The shares of the resource below all of it, the least first, that a trial goes through.
fn shares(pruner: Pruner, number: usize) -> Vec<f64> {
    let (Pruner::SuccessiveHalving(halving) | Pruner::Hyperband(halving)) = pruner else { return Vec::new() };
    let all = levels(halving);
    all[bracket(pruner, number)..].to_vec()
}

fn levels(halving: Halving) -> Vec<f64> {
    let factor = halving.factor as f64;
    let shares = std::iter::successors(Some(halving.minimum), |share| Some(share * factor));
    shares.take_while(|&share| share < 1.0 - 1e-9).collect()
}

/// The bracket of a trial: the levels that it leaves out. Hyperband's brackets take as many trials as give each about the same of the resource.
fn bracket(pruner: Pruner, number: usize) -> usize {
    let Pruner::Hyperband(halving) = pruner else { return 0 };
    let n_brackets = levels(halving).len() + 1;
    // A bracket that begins at level b has room for factor^(last - b) trials beside one of the last (Li et al. 2018, n of each bracket).
    let size = |bracket: usize| {
        let further = n_brackets - 1 - bracket;
        (n_brackets as f64 / (further + 1) as f64 * (halving.factor as f64).powi(further as i32)).ceil() as usize
    };
    let round: usize = (0..n_brackets).map(size).sum();
    let mut place = number % round;
    for bracket in 0..n_brackets {
        match place.checked_sub(size(bracket)) {
            Some(rest) => place = rest,
            None => return bracket,
        }
    }
    0
}

/// Whether a trial is given up after a step, by what came of the trials before it. `levels` are its scores so far, the last one just now, oriented so that more
/// is better; `scores` those of its folds.
pub fn gives_up(
    pruner: Pruner,
    number: usize,
    levels: &[f64],
    scores: &[f64],
    before: &[Trial],
    orient: impl Fn(f64) -> f64,
) -> bool {
    match pruner {
        Pruner::None => false,
        Pruner::Median => {
            let finished: Vec<&Trial> = before.iter().filter(|trial| trial.is_finished()).collect();
            if finished.len() < STARTUP {
                return false;
            }
            let mut then: Vec<f64> =
                finished.iter().map(|trial| orient(mean(&trial.scores()[..scores.len()]))).collect();
            then.sort_by(f64::total_cmp);
            let middle = then.len() / 2;
            let median = if then.len() % 2 == 1 { then[middle] } else { f64::midpoint(then[middle - 1], then[middle]) };
            orient(mean(scores)) < median
        }
        Pruner::SuccessiveHalving(halving) | Pruner::Hyperband(halving) => {
            let level = levels.len() - 1;
            let own = orient(levels[level]);
            let rivals = before.iter().filter(|trial| bracket(pruner, trial.number) == bracket(pruner, number));
            let rivals: Vec<f64> =
                rivals.filter_map(|trial| trial.levels.get(level)).map(|&score| orient(score)).collect();
            // One of `factor` goes on; while they are fewer, the best so far does (Optuna's rule, which needs no waiting).
            let n_go_on = ((rivals.len() + 1) / halving.factor).max(1);
            rivals.iter().filter(|&&rival| rival > own).count() >= n_go_on
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_rise_by_the_factor_and_hyperband_leaves_the_lowest_out() {
        let halving = Halving { resource: Resource::Rows, minimum: 0.1, factor: 3 };
        let shares_of = |pruner, number| {
            let steps = steps(pruner, number, 5);
            steps.iter().map(|step| step.share).collect::<Vec<_>>()
        };
        let all = [Share::Rows(0.1), Share::Rows(0.1 * 3.0), Share::Rows(0.1 * 3.0 * 3.0), Share::Whole];
        assert_eq!(shares_of(Pruner::SuccessiveHalving(halving), 7), all);
        // 27, 12, 6 and 4 trials of the brackets from the first.
        let brackets: Vec<usize> = (0..49).map(|number| bracket(Pruner::Hyperband(halving), number)).collect();
        let sizes: Vec<usize> = (0..4).map(|of| brackets.iter().filter(|&&other| other == of).count()).collect();
        assert_eq!(sizes, [27, 12, 6, 4]);
        assert_eq!(shares_of(Pruner::Hyperband(halving), 30), all[1..]);
        assert_eq!(shares_of(Pruner::Hyperband(halving), 48), all[3..]);
    }

    #[test]
    fn folds_are_a_resource() {
        let halving = Halving { resource: Resource::Folds, minimum: 0.2, factor: 2 };
        let steps = steps(Pruner::SuccessiveHalving(halving), 0, 5);
        let folds: Vec<Range<usize>> = steps.iter().map(|step| step.folds.clone()).collect();
        assert_eq!(folds, [0..1, 1..2, 2..4, 4..5]);
        assert_eq!(steps.iter().map(|step| step.is_looked_at).collect::<Vec<_>>(), [true, true, true, false]);
    }
}
