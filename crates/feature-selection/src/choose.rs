//! How scores and decisions on single columns become decisions on groups of columns.

use std::collections::HashMap;

use retune_spec::feature_selection::{Choice, Control};

use crate::features::Feature;
use crate::judge::{Verdict, best_first, shown};

/// Which columns belong together: the name of the group of each feature; a column of no group has its own name.
pub(crate) struct Grouped {
    /// The group's number of each feature.
    of: Vec<usize>,
    names: Vec<String>,
    /// The features of each group.
    members: Vec<Vec<usize>>,
}

impl Grouped {
    /// Groups by name; `None` stands for a column by itself.
    pub(crate) fn new(features: &[Feature], group: impl Fn(&Feature) -> Option<String>) -> Self {
        let mut numbers = HashMap::new();
        let (mut of, mut names, mut members) = (Vec::new(), Vec::new(), Vec::<Vec<usize>>::new());
        for (at, feature) in features.iter().enumerate() {
            let named = group(feature);
            let key = (named.is_some(), named.unwrap_or_else(|| feature.name.to_owned()));
            let number = *numbers.entry(key.clone()).or_insert_with(|| {
                names.push(key.1);
                members.push(Vec::new());
                names.len() - 1
            });
            of.push(number);
            members[number].push(at);
        }
        Self { of, names, members }
    }

    /// Whether no two columns belong together.
    fn is_plain(&self) -> bool {
        self.members.len() == self.of.len()
    }

    /// `1 column`, `3 groups`.
    pub(crate) fn counted(&self) -> String {
        format!("{} {}{}", self.len(), self.noun(), if self.len() == 1 { "" } else { "s" })
    }

    fn noun(&self) -> &'static str {
        if self.is_plain() { "column" } else { "group" }
    }

    /// The number of the group that a feature belongs to.
    pub(crate) fn group_of(&self, feature: usize) -> usize {
        self.of[feature]
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }
}

/// Decides by scores.
pub(crate) fn choose(choice: &Choice, features: &[Feature], groups: &Grouped, verdicts: &mut [Verdict]) {
    let significant = significant(choice, verdicts);
    let passes = |at: usize| significant[at] && choice.min_score.is_none_or(|least| verdicts[at].score >= least);
    let passed: Vec<bool> = groups.members.iter().map(|members| members.iter().any(|&at| passes(at))).collect();
    let pinned: Vec<bool> =
        groups.members.iter().map(|members| members.iter().any(|&at| features[at].pinned)).collect();
    let best = |members: &Vec<usize>| members.iter().map(|&at| verdicts[at].score).fold(f64::NEG_INFINITY, f64::max);
    let scores: Vec<f64> = groups.members.iter().map(best).collect();
    let mut order = best_first(&scores);
    order.sort_by_key(|&group| !pinned[group]);
    let keep = choice.keep.as_ref().map(|keep| keep.count(groups.len()));
    let mut kept = vec![false; groups.len()];
    let candidates = order.into_iter().filter(|&group| passed[group] || pinned[group]);
    candidates.take(keep.unwrap_or(usize::MAX)).for_each(|group| kept[group] = true);
    for (at, verdict) in verdicts.iter_mut().enumerate() {
        let group = groups.of[at];
        verdict.kept = kept[group];
        let why = because(choice, verdict, significant[at], keep.map(|keep| (keep, groups.len())), groups.noun());
        verdict.reason = format!("{}, {why}", verdict.reason);
    }
    hold_together(features, groups, verdicts);
}

fn because(
    choice: &Choice,
    verdict: &Verdict,
    significant: bool,
    keep: Option<(usize, usize)>,
    noun: &'static str,
) -> String {
    if let (Some((alpha, control)), false) = (choice.significance, significant) {
        return format!("not significant at {alpha}{}", controlled(control));
    }
    if let Some(least) = choice.min_score.filter(|&least| verdict.score < least) {
        return format!("below {}", shown(least));
    }
    match (keep, choice.significance, choice.min_score) {
        (Some((keep, n)), _, _) => {
            let which = if verdict.kept { "among" } else { "not among" };
            format!("{which} the {keep} best of {n} {noun}s")
        }
        (None, Some((alpha, control)), _) => format!("significant at {alpha}{}", controlled(control)),
        (None, None, least) => format!("not below {}", shown(least.unwrap_or(f64::NEG_INFINITY))),
    }
}

fn controlled(control: Control) -> &'static str {
    match control {
        Control::Fdr | Control::FdrDependent => " with the false discovery rate controlled",
        Control::Fwe => " divided by the number of columns",
        Control::None => "",
    }
}

/// Keeps the whole of every group of which a column is kept, and says so.
pub(crate) fn hold_together(features: &[Feature], groups: &Grouped, verdicts: &mut [Verdict]) {
    for (members, name) in groups.members.iter().zip(&groups.names).filter(|(members, _)| members.len() > 1) {
        let Some(&first) = members.iter().find(|&&at| verdicts[at].kept) else { continue };
        // Where scores choose, the best column is what keeps the group.
        let best = members
            .iter()
            .copied()
            .filter(|&at| verdicts[at].kept)
            .max_by(|&a, &b| verdicts[a].score.total_cmp(&verdicts[b].score).then(b.cmp(&a)));
        let for_the_sake_of = features[best.unwrap_or(first)].name;
        for &at in members {
            if features[at].name != for_the_sake_of {
                verdicts[at].reason =
                    format!("{}; belongs to `{name}`, kept for `{for_the_sake_of}`", verdicts[at].reason);
            }
            verdicts[at].kept = true;
        }
    }
}

/// Which columns have a p-value that is significant; all of them where none is asked for.
fn significant(choice: &Choice, verdicts: &[Verdict]) -> Vec<bool> {
    let Some((alpha, control)) = choice.significance else { return vec![true; verdicts.len()] };
    let p_values: Vec<f64> = verdicts.iter().map(|verdict| verdict.p_value.unwrap_or(1.0)).collect();
    let n = p_values.len() as f64;
    // As scikit-learn: `SelectFdr` takes p-values at the limit in, `SelectFwe` and `SelectFpr` do not.
    let stepped = |level: f64| {
        let mut sorted = p_values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let limits = (1..=sorted.len()).map(|rank| level * rank as f64 / n);
        let last = sorted.iter().zip(limits).filter(|(p, limit)| *p <= limit).map(|(p, _)| *p).last();
        p_values.iter().map(|p| last.is_some_and(|last| *p <= last)).collect()
    };
    match control {
        Control::Fdr => stepped(alpha),
        Control::FdrDependent => stepped(alpha / (1..=verdicts.len()).map(|rank| 1.0 / rank as f64).sum::<f64>()),
        Control::Fwe => p_values.iter().map(|p| *p < alpha / n).collect(),
        Control::None => p_values.iter().map(|p| *p < alpha).collect(),
    }
}
