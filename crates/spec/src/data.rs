//! Where rows come from and how they are divided.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::OneOrMany;
use crate::schema::Kind;

/// The data of a pipeline: one source with a `split`, or separate files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// One file or glob (csv, parquet, arrow, json lines, or images in folders) that `split` divides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<OneOrMany<String>>,
    /// A separate file or glob of training rows, in place of `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<OneOrMany<String>>,
    /// A separate file or glob of validation rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<OneOrMany<String>>,
    /// A separate file or glob of test rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<OneOrMany<String>>,
    /// Further named sets of rows for later stages: `{ source: old.csv, shift: new.csv }`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub sets: IndexMap<String, OneOrMany<String>>,
    /// The format of the files; by default told from their ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// How the fields of a CSV file are divided; one ASCII character, by default a comma.
    #[serde(default = "comma", skip_serializing_if = "is_comma")]
    #[schemars(length(min = 1, max = 1))]
    pub separator: String,
    /// Words that stand for a missing value in CSV files, besides the empty field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub null_values: Vec<String>,
    /// The column to predict.
    pub target: String,
    /// What is learned; by default told from the target: text, booleans and integers of few values are labels, other numbers are values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskKind>,
    /// Rows whose target is missing: an error, or dropped (and counted).
    #[serde(default)]
    pub missing_target: MissingTarget,
    /// Columns that identify a row: carried along, never learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<OneOrMany<String>>,
    /// A column of sample weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Columns that are read by nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<OneOrMany<String>>,
    /// The kinds of columns for which inference would be wrong: `{ summary: text, zip: categorical }`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub columns: IndexMap<String, Kind>,
    /// How the rows of `path` are divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
}

fn comma() -> String {
    ",".to_owned()
}

fn is_comma(separator: &str) -> bool {
    separator == ","
}

/// File formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated values with a header, UTF-8.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC file (Feather 2).
    Arrow,
    /// One JSON object a line.
    JsonLines,
    /// Image files, each a row: `image` has its bytes, `label` the name of the folder that it lies in. `path: "photos/*/*.jpg"` with `target: label`.
    Images,
}

/// What is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// One of several labels.
    Classification,
    /// A number.
    Regression,
}

/// What happens to rows without a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingTarget {
    /// They are an error.
    #[default]
    Error,
    /// They are dropped and counted.
    Drop,
}

/// How rows are divided into training, validation and test rows.
///
/// Random unless `group`, `time` or `column` says otherwise; the pipeline's seed decides which rows go where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The share of validation rows.
    #[serde(default = "default_share")]
    #[schemars(range(min = 0.0, max = 0.9))]
    pub validation: f64,
    /// The share of test rows.
    #[serde(default = "default_share")]
    #[schemars(range(min = 0.0, max = 0.9))]
    pub test: f64,
    /// Keep each label's share in every part (classification).
    #[serde(default)]
    pub stratify: bool,
    /// A column whose equal values stay on one side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A column that orders the rows: the latest are test rows, those before them validation rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// A column that says `train`, `validation` or `test` for each row; the shares are then unused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// A seed of its own, in place of one derived from the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Data {
    /// The split of `path`: the one that is written, or 15 % validation and 15 % test rows, stratified where labels are learned.
    pub fn split_for(&self, task: TaskKind) -> Split {
        let default = || Split { stratify: task == TaskKind::Classification, ..Split::default() };
        self.split.clone().unwrap_or_else(default)
    }
}

impl Default for Split {
    /// 15 % validation and 15 % test rows, drawn at random.
    fn default() -> Self {
        Self {
            validation: default_share(),
            test: default_share(),
            stratify: false,
            group: None,
            time: None,
            column: None,
            seed: None,
        }
    }
}

fn default_share() -> f64 {
    0.15
}
