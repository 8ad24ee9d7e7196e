//! Scoring many files with what a pipeline fitted.

use schemars::JsonSchema;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Serialize};

use crate::columns::OneOrMany;
use crate::data::Format;

/// A job over many files that follows the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchStep {
    /// The job's name, unique in the pipeline.
    #[schemars(
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$"),
        extend("patternErrorMessage" = "must be of at most 100 ASCII letters, digits, `.`, `_` and `-`, a letter or `_` first")
    )]
    pub id: String,
    /// What the job does.
    pub uses: BatchWord,
    /// Its settings.
    pub with: Apply,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchWord {
    /// Takes the rows of files through a fitted chain.
    Apply,
}

/// Files that are taken through the whole fitted chain, one by one: each gives a file of the same name in another folder. What is done is done once, however
/// often the job is stopped and begun again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The stage whose bundle is applied; by default the only one that nothing follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Files or globs, such as `new/**/*.parquet`.
    pub input: OneOrMany<String>,
    /// The folder that the results are written to.
    #[schemars(length(min = 1))]
    pub output: String,
    /// The format of the results.
    #[serde(default = "parquet")]
    pub format: Format,
    /// Files that are worked on side by side.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub jobs: usize,
    /// How often a file that cannot be read is tried again, after 1, 2, 4 ... seconds.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 20))]
    pub retries: u32,
    /// Whether results of another model are replaced; by default they are an error.
    #[serde(default)]
    pub replace: bool,
    /// A column that is missing in a file.
    #[serde(default)]
    pub missing_columns: MissingColumns,
    /// A column that nothing needs.
    #[serde(default)]
    pub extra_columns: ExtraColumns,
    /// A column of another type than it was learned from.
    #[serde(default)]
    pub retyped_columns: RetypedColumns,
    /// A row with a value that cannot be what its column needs, or that a step fails on.
    #[serde(default)]
    pub bad_rows: BadRows,
    /// A word that no training row had in its column.
    #[serde(default)]
    pub unseen_levels: UnseenLevels,
    /// In CSV results, puts an apostrophe before text that a spreadsheet would take for a formula: that begins with `=`, `+`, `-`, `@`, a tab or a carriage return.
    #[serde(default)]
    pub escape_formulas: bool,
    /// Adds a column `row`: the number of each row in its file, counted from 1.
    #[serde(default)]
    pub row_numbers: bool,
}

impl Apply {
    /// What is done about rows and columns that are not as they were in training.
    pub fn handling(&self) -> Handling {
        Handling {
            missing_columns: self.missing_columns,
            extra_columns: self.extra_columns,
            retyped_columns: self.retyped_columns,
            bad_rows: self.bad_rows,
            unseen_levels: self.unseen_levels,
            escape_formulas: self.escape_formulas,
            row_numbers: self.row_numbers,
        }
    }
}

/// What is done about rows and columns that are not as they were in training; see [`Apply`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handling {
    /// See [`Apply::missing_columns`].
    #[serde(default)]
    pub missing_columns: MissingColumns,
    /// See [`Apply::extra_columns`].
    #[serde(default)]
    pub extra_columns: ExtraColumns,
    /// See [`Apply::retyped_columns`].
    #[serde(default)]
    pub retyped_columns: RetypedColumns,
    /// See [`Apply::bad_rows`].
    #[serde(default)]
    pub bad_rows: BadRows,
    /// See [`Apply::unseen_levels`].
    #[serde(default)]
    pub unseen_levels: UnseenLevels,
    /// See [`Apply::escape_formulas`].
    #[serde(default)]
    pub escape_formulas: bool,
    /// See [`Apply::row_numbers`].
    #[serde(default)]
    pub row_numbers: bool,
}

/// What is done about a column that is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingColumns {
    /// The file fails.
    #[default]
    Fail,
    /// All its values are missing, and are imputed as others are.
    Null,
}

/// What is done about a column that nothing needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExtraColumns {
    /// It is left out.
    #[default]
    Ignore,
    /// It is carried to the result as it is.
    Keep,
    /// The file fails.
    Fail,
}

/// What is done about a column of another type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetypedColumns {
    /// Values that can be read as what is needed are: `"3.5"` as a number. Others make a bad row.
    #[default]
    Convert,
    /// The file fails.
    Fail,
}

/// What is done about a bad row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadRows {
    /// It is set aside, with its file, its number, the column and the reason, in `quarantine.parquet`.
    #[default]
    Quarantine,
    /// The file fails.
    Fail,
}

/// What is done about a word that no training row had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnseenLevels {
    /// The steps do with it what they do: `one_hot` makes only zeros of it.
    #[default]
    Accept,
    /// The row is set aside like a bad one.
    Quarantine,
    /// The file fails.
    Fail,
}

/// Reads the word of such a choice. Fails with the words that there are.
pub fn choice<T: DeserializeOwned>(word: &str) -> Result<T, String> {
    let deserializer: StrDeserializer<Error> = word.into_deserializer();
    T::deserialize(deserializer).map_err(|error| error.to_string())
}

fn parquet() -> Format {
    Format::Parquet
}

fn one() -> usize {
    1
}

fn three() -> u32 {
    3
}
