//! What a tuning starts from.

use std::path::Path;

use retune_estimators::{FittedModel, FittedNetwork, Model, learned_fields};
use retune_spec::fine_tuning::{self, BaseNetwork};
use retune_stage::{FitContext, Level, Result, Rows, StageError};
use retune_tensor::load_weights;

/// The model that is tuned.
pub struct Base {
    /// The model.
    pub model: Model,
    /// Whether it knows nothing yet.
    pub is_fresh: bool,
    /// Whether it comes from this stage and not from one before.
    pub is_own: bool,
}

impl Base {
    /// The model of the stage that `base` names, or a network as declared for rows like these.
    pub fn of(spec: &fine_tuning::Base, train: &Rows, context: &FitContext) -> Result<Self> {
        match spec {
            fine_tuning::Base::Stage(_) => {
                let model = context.base.and_then(|base| base.as_any().downcast_ref::<Model>());
                let model = model
                    .ok_or_else(|| StageError::failed("fine-tuning needs the model of the stage that `base` names"))?;
                Ok(Self { model: model.clone(), is_fresh: false, is_own: false })
            }
            fine_tuning::Base::Network(network) => Self::network(network, train, context),
        }
    }

    fn network(spec: &BaseNetwork, train: &Rows, context: &FitContext) -> Result<Self> {
        let schema = train.schema();
        let task = schema.task.clone().ok_or_else(|| StageError::data("the rows have no target column"))?;
        let design = train.design()?;
        let estimator = spec.estimator();
        let network = FittedNetwork::untrained(&estimator, &design, &task, context.seed.derive("base"))
            .ok_or_else(|| StageError::failed(format!("`{}` is no network", estimator.word())))??;
        let network = match &spec.weights {
            Some(file) => network.with_tensors(|network| {
                for note in load_weights(network, spec, Path::new(file))? {
                    context.progress.message(Level::Info, &note);
                }
                Ok(())
            })?,
            None => network,
        };
        let features = learned_fields(schema);
        let model = Model::new(estimator, task, features, FittedModel::Network(network)).with_levels(design.levels);
        Ok(Self { model, is_fresh: spec.weights.is_none(), is_own: true })
    }
}
