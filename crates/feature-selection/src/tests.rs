#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod embedded;
mod filters;
mod scikit_learn;
mod stage;
mod wrappers;

use retune_stage::{FitContext, Result, Table, Ties};

use crate::choose::Grouped;
use crate::decided;
use crate::features::{features, target};
use crate::judge::{Judge, Judgement, Question};

/// What a method says of a table's features, without a stage around it: no column is pinned, none belongs to a group.
pub(crate) fn judged(judge: &dyn Judge, table: &Table) -> Result<Judgement> {
    let features = features(table, &[], &[])?;
    let groups = Grouped::new(&features, |_| None);
    let question = Question {
        target: &target(table)?,
        task: &table.schema().task.clone().unwrap(),
        ties: &Ties::of(table)?,
        groups: &groups,
        context: FitContext::plain(7),
    };
    decided(judge, "method", &features, &question)
}
