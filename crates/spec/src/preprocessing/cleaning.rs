//! Steps that repair or drop rows, columns and values.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Constant, yes};
use crate::columns::{OneOrMany, Selector};

/// Drops training rows that repeat an earlier one in the given columns. Rows to predict are never dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropDuplicates {
    /// The columns compared; by default every feature and the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Selector>,
}

/// Drops columns, then training rows, of which too many values are missing. Rows to predict are flagged instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropMissing {
    /// Training rows with a greater share of missing values are dropped; 0 drops every row that lacks one (pandas' `dropna`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rows: Option<f64>,
    /// Columns with a greater share of missing training values are dropped; 0 drops every column that lacks one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub columns: Option<f64>,
    /// The columns that are looked at, and that may be dropped.
    #[serde(default = "Selector::all")]
    pub among: Selector,
}

/// What becomes of a value that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unparsed {
    /// It is an error that names column, rows and values.
    #[default]
    Error,
    /// It becomes a missing value; the report counts such values and shows the first.
    Null,
}

/// Turns columns into another kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cast {
    /// The columns turned.
    pub columns: Selector,
    /// What they become.
    pub to: CastTo,
    /// What becomes of a value that cannot be turned.
    #[serde(default)]
    pub unparsed: Unparsed,
}

/// What `cast` turns columns into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CastTo {
    /// Numbers: text such as `12`, `-1.5` or `1e3`; 1 and 0 of true and false.
    Numeric,
    /// Whole numbers; a number with a fraction cannot be turned.
    Integer,
    /// True and false: `true`, `yes`, `y`, `t`, `on`, `1` and their opposites, in any case.
    Boolean,
    /// Dates and points in time: ISO 8601 such as `2024-02-29` or `2024-02-29T12:30:00+01:00`, which becomes UTC. For other forms there is `parse_dates`.
    Datetime,
    /// Levels: numbers as short as they can be written.
    Categorical,
    /// Free text.
    Text,
}

/// Reads numbers out of text such as `1.234,50 EUR`, `$1,200`, `12 %`, `(35)`, `1e3` or `−5 °C`. Words and signs beside the number are left out, and the
/// report lists them; a value with no number, or with several, cannot be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParseNumbers {
    /// The columns read.
    pub columns: Selector,
    /// The decimal mark. The other one of point and comma, spaces, `'` and `_` may stand between groups of three digits.
    #[serde(default)]
    pub decimal: DecimalMark,
    /// What `12 %` is.
    #[serde(default)]
    pub percent: Percent,
    /// What the number is multiplied by where a word follows it, capitals as written: `{ k: 1000, Mio: 1e6 }`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub multipliers: IndexMap<String, f64>,
    /// What becomes of a value that cannot be read.
    #[serde(default)]
    pub unparsed: Unparsed,
}

/// The decimal mark of `parse_numbers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecimalMark {
    /// The one that the training values of the column tell; a point where they tell nothing. Values that tell both are an error.
    #[default]
    Auto,
    /// `1,234.50`.
    Point,
    /// `1.234,50`.
    Comma,
}

/// What `parse_numbers` makes of `12 %`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Percent {
    /// 0.12.
    #[default]
    Share,
    /// 12.
    Number,
}

/// Reads dates and points in time out of text. Offsets from UTC are taken off, so that all values are in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParseDates {
    /// The columns read.
    pub columns: Selector,
    /// Formats in the words of `strftime`, tried in order: `"%d/%m/%Y %H:%M"`. Without any: ISO 8601, `2024/02/29`, `29.02.2024`, `29 February 2024`,
    /// `Feb 29, 2024`, `Thu, 29 Feb 2024 12:30:00 +0100`, each with a time or without. Forms such as `03/04/2024`, which may be March or April, need a format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub formats: Vec<String>,
    /// What becomes of a value that cannot be read.
    #[serde(default)]
    pub unparsed: Unparsed,
}

/// Makes text uniform. A value of which nothing is left is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CleanText {
    /// The columns changed.
    #[serde(default = "words")]
    pub columns: Selector,
    /// Take spaces off both ends.
    #[serde(default = "yes")]
    pub trim: bool,
    /// Turn runs of spaces, tabs and line ends into one space.
    #[serde(default = "yes")]
    pub collapse_spaces: bool,
    /// Turn letters into small or capital ones.
    #[serde(default)]
    pub case: LetterCase,
    /// The normal form of Unicode.
    #[serde(default)]
    pub unicode: UnicodeForm,
}

/// What `clean_text` turns letters into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LetterCase {
    /// Letters stay as they are.
    #[default]
    None,
    /// Small letters.
    Lower,
    /// Capital letters.
    Upper,
}

/// The normal form of Unicode that `clean_text` gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnicodeForm {
    /// Characters stay as they are.
    None,
    /// Composed: a letter and its accent become one character.
    #[default]
    Nfc,
    /// Composed, and characters that look alike become the plain one: full-width letters, ligatures, superscripts.
    Nfkc,
}

/// Replaces whole values by others, or by a missing value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceValues {
    /// The columns changed.
    pub columns: Selector,
    /// What is replaced and what by: `{ "-999": null, "St.": Street }`. In a numeric column both must be numbers, in a boolean one `true` and `false`.
    #[schemars(length(min = 1))]
    pub values: IndexMap<String, Option<Constant>>,
}

/// Turns words that stand for a missing value into one. A column that had such words may hold numbers only afterwards; it stays text unless `parse: true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NullTokens {
    /// The columns changed.
    #[serde(default = "words")]
    pub columns: Selector,
    /// The words, compared without spaces around them and whatever their case.
    #[serde(default = "null_tokens")]
    #[schemars(length(min = 1))]
    pub tokens: Vec<String>,
    /// Turn a column into numbers where a word was replaced in training rows and every other value is a number. Off, because codes such as `00501` are
    /// no numbers; the report names the columns that it would turn.
    #[serde(default)]
    pub parse: bool,
}

fn null_tokens() -> Vec<String> {
    ["na", "n/a", "#n/a", "<na>", "nan", "null", "?", "-", "--", ""].map(str::to_owned).to_vec()
}

/// Merges levels that are spelled differently into the most frequent spelling. Levels are the same that differ in capitals, spaces and look-alike characters
/// only, and those that are nearly the same; never levels whose digits differ. Levels never seen in training become the known one that they match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeCategories {
    /// The columns changed.
    #[serde(default = "Selector::categorical")]
    pub columns: Selector,
    /// From which similarity on two levels are the same; 1 merges none but those that differ in capitals and spaces.
    #[serde(default = "similarity")]
    #[schemars(range(min = 0.5, max = 1.0))]
    pub similarity: f64,
    /// How similarity is measured.
    #[serde(default)]
    pub measure: SimilarityMeasure,
}

/// How `merge_categories` measures similarity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SimilarityMeasure {
    /// The share of characters that need no edit: 1 - (insertions, deletions, changes and swaps) / length of the longer one.
    #[default]
    DamerauLevenshtein,
    /// Jaro and Winkler's: high where the beginnings agree; made for names of people.
    JaroWinkler,
}

fn similarity() -> f64 {
    0.9
}

/// Drops columns that have one value in all training rows, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropConstant {
    /// The columns that are looked at.
    #[serde(default = "Selector::all")]
    pub columns: Selector,
    /// Leave missing values out, so that a column of one value and missing ones is dropped too (pandas' `nunique`). Otherwise that a value is missing counts
    /// as a second value: where it is missing may tell something.
    #[serde(default)]
    pub ignore_missing: bool,
}

/// Drops columns that tell rows apart and nothing else: levels, or whole numbers that count up or fill their range, of which nearly every training row has its
/// own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropIdentifiers {
    /// The columns that are looked at. Free text, where every row differs as well, only if it is named.
    #[serde(default = "levels_and_numbers")]
    pub columns: Selector,
    /// From which share of distinct training values on a column is dropped.
    #[serde(default = "nearly_all")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub share: f64,
    /// Columns with fewer training values stay: a few values differ by chance.
    #[serde(default = "enough_values")]
    #[schemars(range(min = 2))]
    pub min_rows: usize,
}

fn levels_and_numbers() -> Selector {
    Selector::Words(OneOrMany::Many(vec!["categorical".to_owned(), "numeric".to_owned()]))
}

fn nearly_all() -> f64 {
    0.95
}

fn enough_values() -> usize {
    20
}

/// Drops training rows for which a condition is not true. Rows to predict are flagged instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterRows {
    /// The condition in SQL, over the features of the row: `"age BETWEEN 18 AND 99 AND city IS NOT NULL"`. A condition that is unknown because a value is missing
    /// is not true. What can be written is said at `derive`.
    #[serde(rename = "where")]
    pub condition: String,
}

/// Every categorical and text feature.
fn words() -> Selector {
    Selector::Words(OneOrMany::Many(vec!["categorical".to_owned(), "text".to_owned()]))
}
