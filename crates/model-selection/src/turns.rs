//! Which candidate proposes the next trial.

use retune_spec::model_selection::{Sampler, Search};

use crate::samplers::{Proposal, Proposer};
use crate::trial::Trial;

/// Trials of each candidate before those that do well get more than their turn.
const TURNS: usize = 5;

/// Whose turn it is to propose. Candidates take turns; of those that learn, once each has had some, half of the budget is that of the best candidate. Where
/// trials are counted, that is the one which has most of the best trials, for how many it has had. Where a clock decides, it is the one that has the best
/// trial, once each of the others has had at least a tenth or so of its seconds, and what a candidate had is the seconds of its trials: a family that takes long
/// leaves the others their share, and cheap trials do not win by number.
pub struct Turns {
    open: Vec<usize>,
    /// Trials that each candidate has proposed.
    proposed: Vec<usize>,
    /// For each trial whether its candidate got more than its turn.
    favoured: Vec<bool>,
    learns: bool,
    by_clock: bool,
}

impl Turns {
    /// Of so many candidates.
    pub fn new(n_candidates: usize, search: &Search) -> Self {
        let learns = matches!(search.sampler, Sampler::Tpe | Sampler::MultivariateTpe | Sampler::CmaEs);
        Self {
            open: (0..n_candidates).collect(),
            proposed: vec![0; n_candidates],
            favoured: Vec::new(),
            learns,
            by_clock: search.seconds.is_some(),
        }
    }

    /// The next proposal; `None` where every candidate has tried every combination.
    pub fn propose(
        &mut self,
        proposers: &mut [Proposer],
        trials: &[Trial],
        orient: impl Fn(f64) -> f64,
    ) -> Option<(usize, Proposal)> {
        while !self.open.is_empty() {
            let (candidate, is_favoured) = self.next(trials, &orient);
            if let Some(proposal) = proposers[candidate].propose() {
                self.favoured.push(is_favoured);
                self.proposed[candidate] += 1;
                return Some((candidate, proposal));
            }
            self.open.retain(|other| *other != candidate);
        }
        None
    }

    /// The candidate, and whether it gets more than its turn.
    fn next(&self, trials: &[Trial], orient: impl Fn(f64) -> f64) -> (usize, bool) {
        let is_early = self.open.iter().any(|&candidate| self.proposed[candidate] < self.first_turns());
        let [in_turn, favoured] = [false, true].map(|favoured| self.had(trials, |at, _| self.favoured[at] == favoured));
        if !self.learns || is_early || in_turn <= favoured {
            return (self.least_served(trials), false);
        }
        let mut finished: Vec<&Trial> = trials.iter().filter(|trial| trial.is_finished()).collect();
        finished.sort_by(|a, b| orient(b.mean()).total_cmp(&orient(a.mean())).then(a.number.cmp(&b.number)));
        finished.truncate(if self.by_clock { 1 } else { (finished.len() / 10).max(3) });
        let share = |&candidate: &usize| {
            let good = finished.iter().filter(|trial| trial.candidate == candidate).count() as f64;
            // One more trial, of the usual cost.
            let had = self.had_by(trials, candidate);
            (good + 0.1) / (had + had / (self.proposed[candidate] as f64).max(1.0)).max(f64::MIN_POSITIVE)
        };
        let most = self.open.iter().copied().max_by(|a, b| share(a).total_cmp(&share(b)).then(b.cmp(a)));
        (most.unwrap_or(0), true)
    }

    fn first_turns(&self) -> usize {
        // A clock may leave no time for five trials of a family that takes long.
        if self.by_clock { 1 } else { TURNS }
    }

    /// The candidate that had least, the first of several.
    fn least_served(&self, trials: &[Trial]) -> usize {
        let had = |&candidate: &usize| (self.had_by(trials, candidate), self.proposed[candidate]);
        let least = self.open.iter().copied().min_by(|a, b| {
            let ((a_had, a_proposed), (b_had, b_proposed)) = (had(a), had(b));
            // Trials that are under way have taken no time yet.
            a_had.total_cmp(&b_had).then(a_proposed.cmp(&b_proposed))
        });
        least.unwrap_or(0)
    }

    /// What a candidate's trials took of the budget.
    fn had_by(&self, trials: &[Trial], candidate: usize) -> f64 {
        if self.by_clock {
            self.had(trials, |_, trial| trial.candidate == candidate)
        } else {
            self.proposed[candidate] as f64
        }
    }

    fn had(&self, trials: &[Trial], is_counted: impl Fn(usize, &Trial) -> bool) -> f64 {
        let counted = trials.iter().enumerate().filter(|(at, trial)| is_counted(*at, trial));
        counted.map(|(_, trial)| if self.by_clock { trial.cost.seconds } else { 1.0 }).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use retune_spec::model_selection::Space;
    use retune_stage::Seed;

    use super::*;
    use crate::trial::{Cost, Outcome};

    /// The trials of each of three candidates, whose trials take so many seconds and score so much.
    fn trials_of(search: &Search, seconds: [f64; 3], scores: [f64; 3], until: impl Fn(&[Trial]) -> bool) -> [usize; 3] {
        let space = || vec![("x".to_owned(), Space::Uniform([0.0, 1.0]))];
        let mut proposers = [0, 1, 2].map(|seed| Proposer::new(space(), search.sampler, Seed(seed)));
        let mut turns = Turns::new(3, search);
        let mut trials: Vec<Trial> = Vec::new();
        while !until(&trials) {
            let (candidate, proposal) = turns.propose(&mut proposers, &trials, |score| score).unwrap();
            let mut trial = Trial::new(trials.len(), candidate, "family", &proposal);
            trial.cost = Cost { seconds: seconds[candidate], ..Cost::default() };
            trial.outcome = Outcome::Finished { scores: vec![scores[candidate]], rounds: Vec::new() };
            trials.push(trial);
        }
        [0, 1, 2].map(|candidate| trials.iter().filter(|trial| trial.candidate == candidate).count())
    }

    #[test]
    fn of_trials_the_best_candidate_gets_half() {
        let counted = |sampler| Search { sampler, ..Search::default() };
        let until = |trials: &[Trial]| trials.len() == 60;
        assert_eq!(trials_of(&counted(Sampler::Random), [1.0; 3], [0.5, 0.9, 0.4], until), [20, 20, 20]);
        let [worse, best, worst] = trials_of(&counted(Sampler::Tpe), [9.0, 1.0, 1.0], [0.5, 0.9, 0.4], until);
        assert!(best > 30 && worse >= 10 && worst >= 10, "{worse} {best} {worst}");
    }

    #[test]
    fn of_seconds_each_candidate_gets_its_share() {
        let search = Search { sampler: Sampler::Tpe, seconds: Some(120.0), ..Search::default() };
        let until = |trials: &[Trial]| trials.iter().map(|trial| trial.cost.seconds).sum::<f64>() >= 120.0;
        // The slow one is never the best: it shares half of the time with the other.
        let [slow, best, worst] = trials_of(&search, [8.0, 1.0, 1.0], [0.5, 0.9, 0.4], until);
        assert!((3..=5).contains(&slow) && best > 55 && (20..=35).contains(&worst), "{slow} {best} {worst}");
        // And where it is the best, half of it besides.
        let [slow, better, worst] = trials_of(&search, [8.0, 1.0, 1.0], [0.9, 0.5, 0.4], until);
        assert!((7..=10).contains(&slow) && better >= 20 && worst >= 20, "{slow} {better} {worst}");
        // Cheap ones do not win by the number of their trials.
        let [slow, better, worst] = trials_of(&search, [8.0, 0.05, 0.05], [0.9, 0.5, 0.4], until);
        assert!(slow >= 8 && better >= 200 && worst >= 200, "{slow} {better} {worst}");
    }
}
