//! The whole file.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::BatchStep;
use crate::columns::OneOrMany;
use crate::data::Data;
use crate::feature_selection::FeatureSelection;
use crate::fine_tuning::FineTuning;
use crate::model_selection::ModelSelection;
use crate::preprocessing::Preprocessing;
use crate::tracking::Tracking;

/// A pipeline: data, and the stages that it goes through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The version of the language; 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// The pipeline's name: its runs lie in `runs/NAME`.
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"),
        extend("patternErrorMessage" = "must be of at most 100 ASCII letters, digits, `.`, `_` and `-`, a letter or digit first")
    )]
    pub name: String,
    /// What all randomness is derived from.
    #[serde(default)]
    pub seed: u64,
    /// Threads that one stage may use; by default every core. Part of the cache key of stages whose bits depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// Values that `${{ params.NAME }}` stands for; `--set NAME=VALUE` overrides them.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub params: IndexMap<String, Value>,
    /// Servers and folders that runs are logged to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<Tracking>,
    /// The data.
    pub data: Data,
    /// The stages, each following the one before it unless `inputs` says otherwise.
    #[schemars(length(min = 1, max = MAX_STAGES))]
    pub stages: Vec<StageSpec>,
    /// Jobs over many files that follow a run that ended well, with what it fitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batch: Vec<BatchStep>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = close_variants)]
pub struct StageSpec {
    /// The stage's name, unique in the pipeline.
    #[schemars(
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$"),
        extend("patternErrorMessage" = "must be of at most 100 ASCII letters, digits, `.`, `_` and `-`, a letter or `_` first")
    )]
    pub id: String,
    /// The stage it takes its rows from; by default the one before it. `data` is the source itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<OneOrMany<String>>,
    /// Seconds after which the stage is stopped and counted as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub timeout: Option<u64>,
    /// Runs the stage, and those that follow it, once for every combination of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// What the stage does.
    #[serde(flatten)]
    pub kind: StageKind,
}

/// Writes the keys that all variants share into each variant and closes it, so that a key that belongs to none is an error.
fn close_variants(schema: &mut schemars::Schema) {
    let shared = schema.get("properties").cloned().unwrap_or_default();
    let required = schema.get("required").cloned().unwrap_or_default();
    let Some(variants) = schema.get_mut("oneOf").and_then(Value::as_array_mut) else {
        return;
    };
    for variant in variants.iter_mut().filter_map(Value::as_object_mut) {
        let own = variant.get("properties").cloned().unwrap_or_default();
        let merge = |first: &Value, then: &Value| -> Value {
            let objects = [first, then].into_iter().filter_map(Value::as_object);
            objects.flatten().map(|(key, value)| (key.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
        };
        let lists = [Some(&required), variant.get("required")].into_iter().flatten().filter_map(Value::as_array);
        let all_required: Vec<Value> = lists.flatten().cloned().collect();
        variant.insert("properties".to_owned(), merge(&shared, &own));
        variant.insert("required".to_owned(), all_required.into());
        variant.insert("additionalProperties".to_owned(), false.into());
    }
    for key in ["type", "properties", "required"] {
        schema.remove(key);
    }
}

/// How a stage is repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// Lists of values; `${{ matrix.NAME }}` stands for one of each.
    #[schemars(length(min = 1))]
    pub matrix: IndexMap<String, Vec<Value>>,
}

/// The four steps of the craft.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "uses", content = "with", rename_all = "kebab-case")]
pub enum StageKind {
    /// Cleaning, normalisation, encoding, reduction.
    Preprocessing(Preprocessing),
    /// Which columns to keep.
    FeatureSelection(FeatureSelection),
    /// Which model, with which hyperparameters.
    ModelSelection(ModelSelection),
    /// Further training of a chosen or given model, under a guard.
    FineTuning(Box<FineTuning>),
}

impl StageKind {
    /// The word after `uses:`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Preprocessing(_) => "preprocessing",
            Self::FeatureSelection(_) => "feature-selection",
            Self::ModelSelection(_) => "model-selection",
            Self::FineTuning(_) => "fine-tuning",
        }
    }

    /// Counts the changes of what a kind computes from the same parameters; part of the cache key.
    pub fn semantic_version(&self) -> u32 {
        match self {
            // 2: groups and times are respected wherever rows are set aside, halved or cross-fitted.
            Self::Preprocessing(_) => 2,
            // 3: `l1` has another solver; images are convolved with their channels last.
            Self::FeatureSelection(_) | Self::FineTuning(_) => 3,
            // 4: searches by the clock have other turns; images as above.
            Self::ModelSelection(_) => 4,
        }
    }

    /// Whether the stage ends in a model. The rows that follow such a stage are the rows that it was given.
    pub fn is_model(&self) -> bool {
        matches!(self, Self::ModelSelection(_) | Self::FineTuning(_))
    }
}

impl Pipeline {
    /// The stage that a stage takes its rows from, or [`DATA`]: what `inputs` says, else the base of a fine-tuning stage, else the stage before it.
    pub fn input_of(&self, index: usize) -> &str {
        let Some(stage) = self.stages.get(index) else {
            return DATA;
        };
        if let Some(input) = stage.inputs.as_ref().and_then(|inputs| inputs.as_slice().first()) {
            return input;
        }
        let base = if let StageKind::FineTuning(tuning) = &stage.kind { tuning.base.stage() } else { None };
        match base {
            Some(base) => base,
            None => index.checked_sub(1).map_or(DATA, |before| &self.stages[before].id),
        }
    }

    /// The stage of that name and its place in the file.
    pub fn stage(&self, id: &str) -> Option<(usize, &StageSpec)> {
        self.stages.iter().enumerate().find(|(_, stage)| stage.id == id)
    }
}

/// The most stages that a file may hold, before matrices are expanded.
pub const MAX_STAGES: usize = 1000;

/// Where a stage's rows come from when it names `data`.
pub const DATA: &str = "data";
