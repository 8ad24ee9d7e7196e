//! The table of kinds: from what is declared to stages, from artifacts to what they hold.

use retune_estimators::Model;
use retune_feature_selection::{FeatureSelectionStage, FittedFeatureSelection};
use retune_fine_tuning::FineTuningStage;
use retune_model_selection::ModelSelectionStage;
use retune_preprocessing::PreprocessingStage;
use retune_spec::StageKind;
use retune_stage::{Fitted, LoadDir, Result, Stage, StageError};
use retune_store::Artifact;

/// Counts changes of what fitted stages are saved as; older ones keep loading.
pub const FITTED_VERSION: u32 = 1;

/// The stage that a declaration names.
pub fn stage_of(kind: &StageKind) -> Box<dyn Stage> {
    match kind.clone() {
        StageKind::Preprocessing(spec) => Box::new(PreprocessingStage(spec)),
        StageKind::FeatureSelection(spec) => Box::new(FeatureSelectionStage(spec)),
        StageKind::ModelSelection(spec) => Box::new(ModelSelectionStage(spec)),
        StageKind::FineTuning(spec) => Box::new(FineTuningStage(spec)),
    }
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
