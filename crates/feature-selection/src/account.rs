//! The account of every column: which method decided on it, and why.

use polars::prelude::{Column, DataFrame};
use retune_stage::{Result, Schema, StageReport};
use serde::Serialize;

use crate::features::Feature;
use crate::judge::{Verdict, ranks, shown};

/// The methods' verdicts; of each column the last one counts.
pub(crate) struct Account {
    entries: Vec<Entry>,
    /// Each method's word and how many columns it dropped.
    dropped: Vec<(String, usize)>,
    report: StageReport,
}

#[derive(Clone, Debug, Serialize)]
struct Entry {
    name: String,
    source: String,
    /// The method that dropped the column or, where it stays, the last one that looked at it.
    method: String,
    score: Option<f64>,
    /// By that method's score, from 1.
    rank: Option<usize>,
    decision: Decision,
    reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Kept,
    Dropped,
}

impl Account {
    pub(crate) fn new(schema: &Schema) -> Self {
        let entry = |field: &retune_stage::Field| Entry {
            name: field.name.clone(),
            source: field.origin().to_owned(),
            method: String::new(),
            score: None,
            rank: None,
            decision: Decision::Kept,
            reason: "no method looked at it".to_owned(),
        };
        Self { entries: schema.features().map(entry).collect(), dropped: Vec::new(), report: StageReport::default() }
    }

    /// The columns that are dropped before the first method.
    pub(crate) fn never_keep(&mut self, names: &[String]) {
        if names.is_empty() {
            return;
        }
        let names: std::collections::HashSet<&str> = names.iter().map(String::as_str).collect();
        for entry in self.entries.iter_mut().filter(|entry| names.contains(entry.name.as_str())) {
            entry.method = "never_keep".to_owned();
            entry.decision = Decision::Dropped;
            entry.reason = "listed under `never_keep`".to_owned();
        }
        self.dropped.push(("never_keep".to_owned(), names.len()));
    }

    /// What a method says of the features it was given.
    pub(crate) fn enter(&mut self, method: &str, features: &[Feature], verdicts: &[Verdict]) {
        let scores: Vec<f64> = verdicts.iter().map(|verdict| verdict.score).collect();
        for ((feature, verdict), rank) in features.iter().zip(verdicts).zip(ranks(&scores)) {
            let entry = &mut self.entries[feature.at];
            entry.method = method.to_owned();
            entry.score = Some(verdict.score);
            entry.rank = Some(rank);
            entry.decision = if verdict.kept { Decision::Kept } else { Decision::Dropped };
            entry.reason = verdict.reason.clone();
        }
        let dropped = verdicts.iter().filter(|verdict| !verdict.kept).count();
        let (least, best) = scores
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, best), &score| (least.min(score), best.max(score)));
        let text =
            format!("{dropped} of {} columns dropped; scores from {} to {}", features.len(), shown(least), shown(best));
        self.report.learned(method, text);
        self.dropped.push((method.to_owned(), dropped));
    }

    /// For the user: `details.features` and the table `features` hold every column, those that stay first, the best of them foremost.
    pub(crate) fn report(mut self) -> Result<StageReport> {
        // Sorting keeps the order of the input where nothing else decides.
        self.entries.sort_by_key(|entry| (entry.decision == Decision::Dropped, entry.rank.unwrap_or(usize::MAX)));
        let n_kept = self.entries.iter().filter(|entry| entry.decision == Decision::Kept).count();
        let counts: Vec<String> = self.dropped.iter().map(|(method, dropped)| format!("{method} -{dropped}")).collect();
        let summary = format!("{} -> {n_kept} features ({})", self.entries.len(), counts.join(", "));
        self.report.columns = [self.entries.len(), n_kept];
        self.report.tables.push(("features".to_owned(), self.table()?));
        self.report.details = serde_json::json!({ "summary": summary, "features": self.entries });
        Ok(self.report)
    }

    fn table(&self) -> Result<DataFrame> {
        let text = |name: &str, of: fn(&Entry) -> &str| {
            Column::new(name.into(), self.entries.iter().map(of).collect::<Vec<&str>>())
        };
        let ranks: Vec<Option<u32>> = self.entries.iter().map(|entry| entry.rank.map(|rank| rank as u32)).collect();
        let columns = vec![
            text("column", |entry| &entry.name),
            text("source", |entry| &entry.source),
            text("method", |entry| &entry.method),
            Column::new("score".into(), self.entries.iter().map(|entry| entry.score).collect::<Vec<_>>()),
            Column::new("rank".into(), ranks),
            Column::new(
                "kept".into(),
                self.entries.iter().map(|entry| entry.decision == Decision::Kept).collect::<Vec<_>>(),
            ),
            text("reason", |entry| &entry.reason),
        ];
        Ok(DataFrame::new(self.entries.len(), columns)?)
    }
}
