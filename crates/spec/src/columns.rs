//! Column selectors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::Kind;

/// One item or a list of items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// A single item.
    One(T),
    /// A list of items.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The items as a slice.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }
}

/// Chooses feature columns.
///
/// A word that is a kind (`numeric`, `categorical`, `boolean`, `datetime`, `text`, `image`, `audio`) chooses by kind, `all` chooses every
/// feature, anything else is a column name or a glob (`summary_*`). A list chooses what any of its items chooses. `{ dtype: float32 }` chooses by how
/// values are stored, `{ not: ... }` what the inner one does not choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Selector {
    /// A kind, `all`, a name or a glob; or a list of those.
    Words(OneOrMany<String>),
    /// Every feature that the inner selector does not choose: `{ not: categorical }`.
    Not {
        /// What is left out.
        not: Box<Selector>,
    },
    /// Every feature whose values are stored in one of these types: `{ dtype: float32 }`, `{ dtype: [integer, boolean] }`.
    Dtype {
        /// The types.
        dtype: OneOrMany<Dtype>,
    },
    /// A column whose name is also the word of a kind: `{ name: text }`.
    Name {
        /// The exact column name.
        name: String,
    },
}

impl Selector {
    /// The selector made of one word.
    pub fn word(word: &str) -> Self {
        Self::Words(OneOrMany::One(word.to_owned()))
    }

    /// Every feature column.
    pub fn all() -> Self {
        Self::word("all")
    }

    /// Every feature column of one kind.
    pub fn kind(kind: Kind) -> Self {
        Self::word(kind.word())
    }

    /// Every numeric feature; the default of most numeric steps.
    pub fn numeric() -> Self {
        Self::kind(Kind::Numeric)
    }

    /// Every categorical feature; the default of encoders.
    pub fn categorical() -> Self {
        Self::kind(Kind::Categorical)
    }

    /// Every text feature; the default of text steps.
    pub fn text() -> Self {
        Self::kind(Kind::Text)
    }

    /// The exact names (neither kinds nor globs) that the selector mentions: they must exist.
    pub fn exact_names(&self) -> Vec<&str> {
        match self {
            Self::Words(words) => {
                words.as_slice().iter().map(String::as_str).filter(|word| is_exact_name(word)).collect()
            }
            Self::Not { not } => not.exact_names(),
            Self::Dtype { .. } => Vec::new(),
            Self::Name { name } => vec![name],
        }
    }
}

impl std::fmt::Display for Selector {
    /// As it is written in a pipeline.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Words(OneOrMany::One(word)) => f.write_str(word),
            Self::Words(OneOrMany::Many(words)) => write!(f, "[{}]", words.join(", ")),
            Self::Not { not } => write!(f, "{{ not: {not} }}"),
            Self::Dtype { dtype } => {
                let words: Vec<String> =
                    dtype.as_slice().iter().map(|dtype| format!("{dtype:?}").to_lowercase()).collect();
                match words.as_slice() {
                    [word] => write!(f, "{{ dtype: {word} }}"),
                    words => write!(f, "{{ dtype: [{}] }}", words.join(", ")),
                }
            }
            Self::Name { name } => write!(f, "{{ name: {name} }}"),
        }
    }
}

/// How the values of a column are stored, as polars and Arrow name it. `float`, `integer` and `unsigned` stand for every width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dtype {
    Float,
    Float32,
    Float64,
    Integer,
    Int8,
    Int16,
    Int32,
    Int64,
    Unsigned,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Boolean,
    String,
    Date,
    Datetime,
    Time,
    Duration,
    Binary,
}

impl Dtype {
    /// Whether a column of `other`, a type of one width, is one of this.
    pub fn covers(self, other: Self) -> bool {
        let unsigned = matches!(other, Self::Uint8 | Self::Uint16 | Self::Uint32 | Self::Uint64);
        match self {
            Self::Float => matches!(other, Self::Float32 | Self::Float64),
            Self::Unsigned => unsigned,
            Self::Integer => unsigned || matches!(other, Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64),
            one => one == other,
        }
    }

    /// Whether columns of a kind may be stored so.
    pub fn may_hold(self, kind: Kind) -> bool {
        match self {
            Self::Boolean => kind == Kind::Boolean,
            Self::String => matches!(kind, Kind::Categorical | Kind::Text | Kind::Image | Kind::Audio),
            Self::Date | Self::Datetime | Self::Time | Self::Duration => kind == Kind::Datetime,
            Self::Binary => matches!(kind, Kind::Image | Kind::Audio),
            _ => kind == Kind::Numeric,
        }
    }
}

fn is_exact_name(word: &str) -> bool {
    word != "all" && Kind::from_word(word).is_none() && !is_glob(word)
}

/// Whether a selector's word is a pattern rather than a name.
pub fn is_glob(word: &str) -> bool {
    word.contains(['*', '?', '['])
}
