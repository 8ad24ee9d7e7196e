//! Which rows are held out.

use std::collections::HashSet;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use retune_stage::{Fold, Result, StageError, Target, Task};

use crate::judge::Question;

/// Shares of whole groups are put together from at most so many folds.
const MOST_FOLDS: usize = 20;

/// About a share of the rows: the latest where there are times, else whole groups, else at random of each label alike.
pub(crate) fn held_out(question: &Question, share: f64) -> Result<Fold> {
    let fold = match (&question.ties.times, &question.ties.groups) {
        (Some(times), _) => latest(times, share),
        (None, Some(groups)) => whole_groups(question, groups, share)?,
        (None, None) => of_each_label(question.target, share, question.context.seed.derive("held out").0),
    };
    let constant = match question.target.take(&fold.train) {
        Target::Classes { codes, .. } => codes.windows(2).all(|pair| pair[0] == pair[1]),
        Target::Values(_) => false,
    };
    if fold.train.is_empty() || fold.validation.is_empty() || constant {
        let message = format!(
            "{} of {} rows can be held out with those left having more than one label",
            fold.validation.len(),
            question.target.len()
        );
        return Err(StageError::data(message).help("give more rows (groups, times), or another share as `holdout`"));
    }
    Ok(fold)
}

fn latest(times: &[u32], share: f64) -> Fold {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let wanted = (sorted.len() as f64 * (1.0 - share)).round() as usize;
    let cuts = (1..sorted.len()).filter(|&at| sorted[at - 1] < sorted[at]);
    let cut = cuts.min_by_key(|at| at.abs_diff(wanted)).map_or(u32::MAX, |at| sorted[at]);
    let (validation, train) = (0..times.len()).partition(|&row| times[row] >= cut);
    Fold { train, validation }
}

fn whole_groups(question: &Question, groups: &[u32], share: f64) -> Result<Fold> {
    let n_groups = groups.iter().collect::<HashSet<_>>().len();
    let sizes = (2..=n_groups.clamp(2, MOST_FOLDS)).flat_map(|folds| (1..folds).map(move |taken| (taken, folds)));
    let miss = |(taken, folds): &(usize, usize)| (*taken as f64 / *folds as f64 - share).abs();
    let (taken, folds) = sizes.min_by(|a, b| miss(a).total_cmp(&miss(b))).unwrap_or((1, 2));
    let labels = match question.task {
        Task::Classification { labels } => labels.as_slice(),
        Task::Regression => &[],
    };
    let seed = question.context.seed.derive("held out").0;
    let folds = question.ties.folds(question.target, labels, folds, seed)?;
    let mut is_held_out = vec![false; question.target.len()];
    folds.iter().take(taken).flat_map(|fold| &fold.validation).for_each(|&row| is_held_out[row] = true);
    let (validation, train) = (0..is_held_out.len()).partition(|&row| is_held_out[row]);
    Ok(Fold { train, validation })
}

fn of_each_label(target: &Target, share: f64, seed: u64) -> Fold {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for mut rows in target.rows_by_label() {
        rows.shuffle(&mut rng);
        // A label keeps a row to learn from.
        let n = ((rows.len() as f64 * share).round() as usize).min(rows.len().saturating_sub(1));
        validation.extend_from_slice(&rows[..n]);
        train.extend_from_slice(&rows[n..]);
    }
    train.sort_unstable();
    validation.sort_unstable();
    Fold { train, validation }
}
