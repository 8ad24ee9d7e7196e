//! What a bundle says of itself: `retune` writes it, `retune-stage` reads it.

use retune_spec::Data;
use retune_store::{Artifact, StoreError};
use serde::{Deserialize, Serialize};

/// What `bundle.json` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BundleCard {
    /// The pipeline that it came from.
    pub pipeline: String,
    /// The folders of the fitted stages, in their order; the last is the model, where there is one.
    pub stages: Vec<String>,
    /// How the training rows were read: rows to predict are read the same way.
    #[serde(default)]
    pub reading: Reading,
}

impl BundleCard {
    /// The file in the bundle.
    pub const FILE: &'static str = "bundle.json";

    /// The kind in a bundle's manifest.
    pub const KIND: &'static str = "bundle";

    /// Counts changes of a bundle's layout.
    pub const KIND_VERSION: u32 = 1;

    /// Reads what an artifact says of itself. Fails where it is no bundle, or one of a newer layout.
    pub fn of(artifact: &Artifact) -> Result<Self, StoreError> {
        artifact.require_kind(Self::KIND, Self::KIND_VERSION)?;
        artifact.read_json(Self::FILE)
    }
}

/// How files of rows are read, as `data` of a pipeline says; kept in a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// How the fields of a CSV file are divided; `None` is by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// Words that stand for a missing value in CSV files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub null_values: Vec<String>,
}

impl Reading {
    /// What a pipeline declares.
    pub fn of(data: &Data) -> Self {
        let separator = (data.separator != ",").then(|| data.separator.clone());
        Self { separator, null_values: data.null_values.clone() }
    }
}
