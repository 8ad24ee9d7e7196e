//! Steps that turn text into numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{one, yes};
use crate::columns::Selector;

/// Replaces a text column by columns `NAME_TERM` of term frequencies weighted by smoothed inverse document frequencies, rows scaled to unit
/// length, as scikit-learn's `TfidfVectorizer`: lower case, words of two or more word characters. With another `weighting` its `CountVectorizer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TfIdf {
    /// The columns encoded.
    #[serde(default = "Selector::text")]
    pub columns: Selector,
    /// The most frequent so many terms are kept.
    #[serde(default = "max_features")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_features: usize,
    /// The shortest and the longest run of words that counts as a term.
    #[serde(default = "unigrams")]
    #[schemars(inner(range(min = 1, max = 10)))]
    pub ngrams: [usize; 2],
    /// What terms are made of.
    #[serde(default)]
    pub analyzer: Analyzer,
    /// Terms in fewer rows are left out.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub min_rows: usize,
    /// Terms in more than this share of the rows are left out (`max_df`).
    #[serde(default = "whole")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_share: f64,
    /// Words that are left out before runs are made: `english` (scikit-learn's list) or a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_words: Option<StopWords>,
    /// What a term's number is.
    #[serde(default)]
    pub weighting: Weighting,
    /// `weighting: tf_idf`: replace a count c by 1 + ln c.
    #[serde(default)]
    pub sublinear: bool,
}

/// What terms are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Analyzer {
    /// Runs of words.
    #[default]
    Word,
    /// Runs of characters within a word, padded by a space on each side (scikit-learn's `char_wb`).
    Character,
}

/// Words that are no terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum StopWords {
    /// The list of a language.
    Language(StopLanguage),
    /// These words, in upper or lower case.
    Words(Vec<String>),
}

/// A language with a list of stop words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopLanguage {
    /// The 318 words of scikit-learn's `stop_words="english"`.
    English,
}

/// What the number of a term in a row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// Its frequency times its inverse document frequency; rows have unit length.
    #[default]
    TfIdf,
    /// How often it occurs.
    Count,
    /// 1 where it occurs.
    Binary,
}

/// Replaces a text column by `NAME_1`, `NAME_2`, ...: each term adds 1 or -1 to the one that its hash chooses (signed 32-bit MurmurHash3), rows
/// are scaled then, as scikit-learn's `HashingVectorizer`. Nothing is learned and no vocabulary is kept; some terms share a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HashText {
    /// The columns encoded.
    #[serde(default = "Selector::text")]
    pub columns: Selector,
    /// How many columns come out for each text column; more of them mean fewer terms that share one. Scikit-learn's default is 1,048,576; what
    /// leaves the stage is dense, so put `truncated_svd` behind so many.
    #[serde(default = "hash_features")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub n_features: usize,
    /// The shortest and the longest run of words that counts as a term.
    #[serde(default = "unigrams")]
    #[schemars(inner(range(min = 1, max = 10)))]
    pub ngrams: [usize; 2],
    /// What terms are made of.
    #[serde(default)]
    pub analyzer: Analyzer,
    /// Words that are left out before runs are made: `english` (scikit-learn's list) or a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_words: Option<StopWords>,
    /// Let the hash choose the sign too, so that terms which share a column cancel out on average.
    #[serde(default = "yes")]
    pub alternate_sign: bool,
    /// Write 1 wherever a column is not 0.
    #[serde(default)]
    pub binary: bool,
    /// What the numbers of a row are divided by.
    #[serde(default)]
    pub norm: TextNorm,
}

/// The length that the rows of `hash_text` are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextNorm {
    /// The sum of absolute values.
    L1,
    /// The root of the sum of squares.
    #[default]
    L2,
    /// Nothing.
    None,
}

fn whole() -> f64 {
    1.0
}

fn hash_features() -> usize {
    1024
}

fn max_features() -> usize {
    2000
}

fn unigrams() -> [usize; 2] {
    [1, 1]
}
