//! What the steps that balance labels share: the labels of the training rows, and how many of each there should be.

use retune_spec::preprocessing::Sampling;
use retune_stage::{Result, Role, StageError, Target, Task};

use crate::outline::Outline;
use crate::source::Source;
use crate::step::counted;

/// The labels of training rows.
pub(crate) struct Labels {
    names: Vec<String>,
    pub(crate) codes: Vec<u32>,
    /// How many rows have each label: 0 where none of these rows has.
    pub(crate) counts: Vec<usize>,
}

/// Which way labels are balanced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// Rarer labels get more rows.
    Over,
    /// More frequent labels get fewer.
    Under,
}

impl Labels {
    pub(crate) fn of(source: &Source) -> Result<Self> {
        let schema = source.schema();
        let target = schema.of_role(Role::Target).ok_or_else(no_labels)?.name.clone();
        let Some(Task::Classification { labels }) = schema.task else { return Err(no_labels()) };
        let mut codes = Vec::with_capacity(source.n_rows());
        source.fold(
            &[target],
            |frame| Ok(frame.table.target()?),
            |piece| {
                if let Target::Classes { codes: piece, .. } = piece {
                    codes.extend(piece);
                }
                Ok(())
            },
        )?;
        let mut counts = vec![0; labels.len()];
        codes.iter().for_each(|&code| counts[code as usize] += 1);
        Ok(Self { names: labels, codes, counts })
    }

    /// A label's name.
    pub(crate) fn name(&self, label: usize) -> &str {
        &self.names[label]
    }

    /// Every label's name.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The rows of a label.
    pub(crate) fn rows_of(&self, label: usize) -> Vec<usize> {
        (0..self.codes.len()).filter(|&row| self.codes[row] as usize == label).collect()
    }

    /// How many rows each label should have, as imbalanced-learn's `sampling_strategy` says. A label without rows stays without.
    pub(crate) fn wanted(&self, sampling: Sampling, way: Way) -> Result<Vec<usize>> {
        let present = || self.counts.iter().copied().filter(|&count| count > 0);
        let most = present().max().unwrap_or_default();
        let least = present().min().unwrap_or_default();
        let ratio = match sampling {
            Sampling::Auto(_) => {
                let all = if way == Way::Over { most } else { least };
                return Ok(self.counts.iter().map(|&count| if count > 0 { all } else { 0 }).collect());
            }
            Sampling::Ratio(ratio) => ratio,
        };
        if present().count() != 2 {
            return Err(ratio_of_two(present().count()));
        }
        let reached = match way {
            Way::Over => (most as f64 * ratio) as usize >= least,
            Way::Under => (least as f64 / ratio) as usize <= most,
        };
        if !reached {
            let (have, share) = (least as f64 / most as f64, self.two(least, most));
            return Err(StageError::data(format!(
                "`sampling: {ratio}` is below the {have:.3} that there are: {share}"
            ))
            .help("give a higher `sampling`, or leave the step out"));
        }
        let wanted = |&count: &usize| match way {
            Way::Over if count > 0 && count < most => (most as f64 * ratio) as usize,
            Way::Under if count > least => (least as f64 / ratio) as usize,
            _ => count,
        };
        Ok(self.counts.iter().map(wanted).collect())
    }

    /// ``10 rows of `b` for 40 of `a` ``.
    fn two(&self, least: usize, most: usize) -> String {
        let named = |count: usize| self.counts.iter().position(|&other| other == count).map_or("", |at| self.name(at));
        format!("{} of `{}` for {most} of `{}`", counted(least, "row"), named(least), named(most))
    }

    /// `2 labels`: how many get another number of rows.
    pub(crate) fn n_changed(&self, wanted: &[usize]) -> usize {
        self.counts.iter().zip(wanted).filter(|(count, wanted)| count != wanted).count()
    }
}

/// Fails where the target is known not to be what can be balanced.
pub(crate) fn check(outline: &Outline, sampling: Option<Sampling>) -> Result<()> {
    let schema = outline.schema();
    if schema.of_role(Role::Target).is_none() {
        return Err(no_labels());
    }
    match &schema.task {
        Some(Task::Regression) => Err(no_labels()),
        Some(Task::Classification { labels }) if labels.len() != 2 && matches!(sampling, Some(Sampling::Ratio(_))) => {
            Err(ratio_of_two(labels.len()))
        }
        _ => Ok(()),
    }
}

fn no_labels() -> StageError {
    StageError::data("the rows have no labels to balance")
        .help("leave the step out, or set `data.task: classification`")
}

fn ratio_of_two(n_labels: usize) -> StageError {
    StageError::data(format!("a ratio in `sampling` is for two labels, and there are {n_labels}"))
        .help("write `sampling: auto`")
}
