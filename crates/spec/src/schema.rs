//! What is known of a table's columns: name, role and kind of each, and the task its target sets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::TaskKind;

/// What a column is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Seen by the steps and the models.
    Feature,
    /// What is predicted.
    Target,
    /// Identifies a row; carried along, never learned from.
    Id,
    /// A sample weight.
    Weight,
    /// Rows of one group stay on one side of every split.
    Group,
    /// Orders the rows for splits by time.
    Time,
    /// Read, but used by nothing.
    Ignore,
    /// The number of the row in its source, counted from 1; named [`Schema::ROW`].
    RowNumber,
    /// Which steps would have dropped the row, had it been a training row; named [`Schema::FLAGS`].
    Flags,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Numbers.
    Numeric,
    /// One of a set of levels, stored as text.
    Categorical,
    /// True or false.
    Boolean,
    /// A date or a point in time.
    Datetime,
    /// Free text.
    Text,
    /// An encoded image.
    Image,
    /// An encoded sound.
    Audio,
}

impl Kind {
    /// Every kind, in the order in which they are documented.
    pub const ALL: [Self; 7] =
        [Self::Numeric, Self::Categorical, Self::Boolean, Self::Datetime, Self::Text, Self::Image, Self::Audio];

    /// The word for this kind in the language.
    pub fn word(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Categorical => "categorical",
            Self::Boolean => "boolean",
            Self::Datetime => "datetime",
            Self::Text => "text",
            Self::Image => "image",
            Self::Audio => "audio",
        }
    }

    /// The kind that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The column's name, unique in its table.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// What its values are.
    pub kind: Kind,
    /// The column of the source that it was made from, where a step made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Field {
    /// A feature that is a column of the source itself.
    pub fn feature(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), role: Role::Feature, kind, source: None }
    }

    /// A feature that a step made from a column of the source.
    pub fn derived(name: impl Into<String>, kind: Kind, source: impl Into<String>) -> Self {
        Self { name: name.into(), role: Role::Feature, kind, source: Some(source.into()) }
    }

    /// The source column: what the field was made from, or itself.
    pub fn origin(&self) -> &str {
        self.source.as_deref().unwrap_or(&self.name)
    }
}

/// What a model learns to predict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Task {
    /// One of several labels; their order is the order of every vector of probabilities.
    Classification {
        /// The distinct labels as text: numbers in their order, text by code point.
        labels: Vec<String>,
    },
    /// A number.
    Regression,
}

impl Task {
    /// The task as the language names it.
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::Classification { .. } => TaskKind::Classification,
            Self::Regression => TaskKind::Regression,
        }
    }

    /// How many labels there are; `None` for a regression.
    pub fn n_classes(&self) -> Option<usize> {
        match self {
            Self::Classification { labels } => Some(labels.len()),
            Self::Regression => None,
        }
    }
}

/// The columns of a table in their order, and the task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// The columns in their order.
    pub fields: Vec<Field>,
    /// The task that the target sets; `None` where there is no target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
}

impl Schema {
    /// The name of the column that holds each row's number in its source.
    pub const ROW: &'static str = "#row";

    /// The name of the column that says which steps would have dropped a row, had it been a training row; missing where none would.
    pub const FLAGS: &'static str = "#flags";

    /// The column of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The feature columns in their order.
    pub fn features(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.role == Role::Feature)
    }

    /// The first column of a role.
    pub fn of_role(&self, role: Role) -> Option<&Field> {
        self.fields.iter().find(|field| field.role == role)
    }
}
