//! The table of kinds: from what is declared to stages, from artifacts to what they hold.

use retune_estimators::Model;
use retune_feature_selection::{FeatureSelectionStage, FittedFeatureSelection};
use retune_fine_tuning::FineTuningStage;
use retune_model_selection::ModelSelectionStage;
use retune_preprocessing::{LaterSteps, PreprocessingStage};
use retune_spec::StageKind;
use retune_stage::{Fitted, LoadDir, Result, Stage, StageError};
use retune_store::Artifact;
use serde_json::{Value, json};

/// Counts changes of what fitted stages are saved as; older ones keep loading.
pub const FITTED_VERSION: u32 = 1;

/// The stage that a declaration names.
pub fn stage_of(kind: &StageKind) -> Box<dyn Stage> {
    match kind.clone() {
        StageKind::Preprocessing(spec) => Box::new(PreprocessingStage(spec)),
        StageKind::FeatureSelection(spec) => Box::new(FeatureSelectionStage(spec)),
        StageKind::ModelSelection(spec) => Box::new(ModelSelectionStage(spec)),
        StageKind::FineTuning(spec) => Box::new(FineTuningStage(*spec)),
    }
}

/// What is declared after `with:`.
pub fn declared(kind: &StageKind) -> Result<Value> {
    let mut whole = serde_json::to_value(kind).map_err(|error| StageError::failed(error.to_string()))?;
    Ok(whole["with"].take())
}

/// The stage of a word with other settings; the first of its steps has so many before it.
pub fn rebuild(word: &str, with: &Value, first: usize) -> Result<Box<dyn Stage>> {
    let kind = serde_json::from_value(json!({ "uses": word, "with": with }));
    let kind: StageKind = kind.map_err(|error| StageError::data(error.to_string()))?;
    Ok(match kind {
        StageKind::Preprocessing(steps) if first > 0 => Box::new(LaterSteps { steps, first }),
        kind => stage_of(&kind),
    })
}

/// The fitted stage that an artifact holds.
pub fn load_fitted(artifact: &Artifact) -> Result<Box<dyn Fitted>> {
    let dir = LoadDir::new(artifact);
    artifact.require_kind(&artifact.manifest().kind, FITTED_VERSION)?;
    match artifact.manifest().kind.as_str() {
        "preprocessing" => Ok(Box::new(retune_preprocessing::load(&dir)?)),
        "feature-selection" => Ok(Box::new(FittedFeatureSelection::load(&dir)?)),
        "model" => Ok(Box::new(Model::load(&dir)?)),
        other => {
            Err(StageError::failed(format!("{} holds `{other}`, which is no fitted stage", artifact.dir().display())))
        }
    }
}
