//! The account of every column: what each method said of it, which decided, and why.

use polars::prelude::{Column, DataFrame};
use retune_stage::{Result, Schema, StageReport};
use serde::Serialize;

use crate::features::Feature;
use crate::judge::{Verdict, ranks, shown};

/// The methods' verdicts; of each column the last one counts.
pub(crate) struct Account {
    /// For each column the last word on it.
    entries: Vec<Entry>,
    /// Everything that was said, in the order of the methods.
    said: Vec<Entry>,
    /// Each method's word and how many columns it dropped.
    dropped: Vec<(String, usize)>,
    report: StageReport,
}

/// What is said of a column.
#[derive(Clone, Debug, Serialize)]
struct Entry {
    name: String,
    /// The column of the data that it was made from.
    source: String,
    /// The place of the method in the stage, from 1; 0 before the first.
    step: usize,
    /// In the last word: the method that dropped the column or, where it stays, the last one that looked at it.
    method: String,
    score: Option<f64>,
    /// By that method's score, from 1.
    rank: Option<usize>,
    p_value: Option<f64>,
    /// Where the score lies with 95 % probability.
    interval: Option<[f64; 2]>,
    /// In what share of samples the column was chosen.
    frequency: Option<f64>,
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
            step: 0,
            method: String::new(),
            score: None,
            rank: None,
            p_value: None,
            interval: None,
            frequency: None,
            decision: Decision::Kept,
            reason: "no method looked at it".to_owned(),
        };
        let entries = schema.features().map(entry).collect();
        Self { entries, said: Vec::new(), dropped: Vec::new(), report: StageReport::default() }
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
            self.said.push(entry.clone());
        }
        self.dropped.push(("never_keep".to_owned(), names.len()));
    }

    /// What a method says of the features it was given; `note` is what it has to say beside.
    pub(crate) fn enter(
        &mut self,
        step: usize,
        method: &str,
        features: &[Feature],
        verdicts: &[Verdict],
        note: Option<String>,
    ) {
        let scores: Vec<f64> = verdicts.iter().map(|verdict| verdict.score).collect();
        for ((feature, verdict), rank) in features.iter().zip(verdicts).zip(ranks(&scores)) {
            let entry = &mut self.entries[feature.at];
            entry.step = step;
            entry.method = method.to_owned();
            entry.score = Some(verdict.score);
            entry.rank = Some(rank);
            entry.p_value = verdict.p_value;
            entry.interval = verdict.interval;
            entry.frequency = verdict.frequency;
            entry.decision = if verdict.kept { Decision::Kept } else { Decision::Dropped };
            entry.reason = verdict.reason.clone();
            self.said.push(entry.clone());
        }
        let dropped = verdicts.iter().filter(|verdict| !verdict.kept).count();
        let (least, best) = scores
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, best), &score| (least.min(score), best.max(score)));
        let note = note.map_or_else(String::new, |note| format!("; {note}"));
        let text = format!(
            "{dropped} of {} columns dropped; scores from {} to {}{note}",
            features.len(),
            shown(least),
            shown(best)
        );
        self.report.learned(method, text);
        self.dropped.push((method.to_owned(), dropped));
    }

    /// For the user: `details.features` holds every column, those that stay first, the best of them foremost; `details.methods` and the table `features`
    /// hold what every method said of every column.
    pub(crate) fn report(mut self) -> Result<StageReport> {
        // Sorting keeps the order of the input where nothing else decides.
        self.entries.sort_by_key(|entry| (entry.decision == Decision::Dropped, entry.rank.unwrap_or(usize::MAX)));
        let n_kept = self.entries.iter().filter(|entry| entry.decision == Decision::Kept).count();
        let counts: Vec<String> = self.dropped.iter().map(|(method, dropped)| format!("{method} -{dropped}")).collect();
        let summary = format!("{} -> {n_kept} features ({})", self.entries.len(), counts.join(", "));
        self.report.columns = [self.entries.len(), n_kept];
        self.report.tables.push(("features".to_owned(), self.table()?));
        self.report.details = serde_json::json!({ "summary": summary, "features": self.entries, "methods": self.said });
        Ok(self.report)
    }

    fn table(&self) -> Result<DataFrame> {
        let said = || self.said.iter();
        let text = |name: &str, of: fn(&Entry) -> &str| Column::new(name.into(), said().map(of).collect::<Vec<&str>>());
        let number = |name: &str, of: fn(&Entry) -> Option<f64>| {
            Column::new(name.into(), said().map(of).collect::<Vec<Option<f64>>>())
        };
        let kept: std::collections::HashSet<&str> = self
            .entries
            .iter()
            .filter(|entry| entry.decision == Decision::Kept)
            .map(|entry| entry.name.as_str())
            .collect();
        let ranks: Vec<Option<u32>> = said().map(|entry| entry.rank.map(|rank| rank as u32)).collect();
        let columns = vec![
            text("column", |entry| &entry.name),
            text("source", |entry| &entry.source),
            Column::new("step".into(), said().map(|entry| entry.step as u32).collect::<Vec<_>>()),
            text("method", |entry| &entry.method),
            number("score", |entry| entry.score),
            Column::new("rank".into(), ranks),
            number("p_value", |entry| entry.p_value),
            number("low", |entry| entry.interval.map(|[low, _]| low)),
            number("high", |entry| entry.interval.map(|[_, high]| high)),
            number("frequency", |entry| entry.frequency),
            text("decision", |entry| if entry.decision == Decision::Kept { "kept" } else { "dropped" }),
            text("reason", |entry| &entry.reason),
            Column::new("kept".into(), said().map(|entry| kept.contains(entry.name.as_str())).collect::<Vec<_>>()),
        ];
        Ok(DataFrame::new(self.said.len(), columns)?)
    }
}
