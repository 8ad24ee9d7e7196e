//! What a stage did, for the user.

use polars::frame::DataFrame;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a stage did to rows and columns, and what it learned. Stored as JSON beside the artifact; nothing is computed from it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StageReport {
    /// What each step did to the number of training rows.
    pub rows: Vec<RowChange>,
    /// How many feature columns came in and went out.
    pub columns: [usize; 2],
    /// What was learned: a line each.
    pub learned: Vec<Learned>,
    /// Anything else of this kind of stage: leaderboard, feature scores, guard's decision.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
    /// Tables that belong to the report, by name: `leaderboard`, `features`, `quarantine`. Stored as parquet beside it.
    #[serde(skip)]
    pub tables: Vec<(String, DataFrame)>,
}

/// Rows in + added = rows out + dropped + quarantined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// The step's word.
    pub step: String,
    /// Training rows that came in.
    pub rows_in: usize,
    /// Rows that the step dropped.
    pub dropped: usize,
    /// Rows that the step set aside with a reason each, in the report's table `quarantine`.
    #[serde(default)]
    pub quarantined: usize,
    /// Rows that the step added.
    pub added: usize,
    /// Rows that stayed and in which the step changed a value.
    #[serde(default)]
    pub changed: usize,
    /// Rows that stayed and that the step flagged.
    #[serde(default)]
    pub flagged: usize,
}

impl RowChange {
    /// All rows stayed as they were.
    pub fn none(step: &str, rows_in: usize) -> Self {
        Self { step: step.to_owned(), rows_in, dropped: 0, quarantined: 0, added: 0, changed: 0, flagged: 0 }
    }

    /// Training rows that went out.
    pub fn rows_out(&self) -> usize {
        self.rows_in + self.added - self.dropped - self.quarantined
    }
}

/// Something that a step learned or did, in words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Learned {
    /// The step's word.
    pub step: String,
    /// In words.
    pub text: String,
}

impl StageReport {
    /// Adds a line about a step.
    pub fn learned(&mut self, step: &str, text: impl Into<String>) {
        self.learned.push(Learned { step: step.to_owned(), text: text.into() });
    }
}
