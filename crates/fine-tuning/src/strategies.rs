//! How each model family is trained further.

use polars::prelude::*;
use retune_estimators::linear::LeastSquares;
use retune_estimators::{FitOptions, FittedModel, Model, boosting, logistic, mlp, truth_of};
use retune_metrics::score;
use retune_spec::fine_tuning::{FineTuning, LinearTuning};
use retune_spec::{Estimator, Metric};
use retune_stage::{Design, FitContext, Result, StageError};

/// A tuned model, and how its loss went.
pub struct Tuned {
    /// The model.
    pub model: Model,
    /// One row for each epoch, round or penalty.
    pub curve: Option<DataFrame>,
}

/// Trains the base further by the block of its family.
pub fn tune(
    spec: &FineTuning,
    base: &Model,
    train: &Design,
    stop_rows: &Design,
    context: &FitContext,
) -> Result<Tuned> {
    let options = FitOptions { seed: context.seed.derive("tune"), ..FitOptions::of(context) };
    let train = &base.bind(train)?;
    let stop_rows = &base.bind(stop_rows)?;
    match (base.fitted.as_ref(), &base.estimator) {
        (FittedModel::Mlp(network), _) => {
            let (tuned, history) = mlp::fine_tune(network, &spec.network, train, stop_rows, &options)?;
            let epochs = (1..=history.train.len() as u32).collect::<Vec<_>>();
            let curve = df!("epoch" => epochs, "train_loss" => history.train, "validation_loss" => history.validation)?;
            Ok(Tuned { model: base.with_fitted(FittedModel::Mlp(tuned), base.estimator.clone()), curve: Some(curve) })
        }
        (FittedModel::Boosting(trees), _) => {
            let (tuned, history) = boosting::fit_more(trees, &spec.boosting, train, stop_rows, &options)?;
            let rounds = (1..=history.validation.len() as u32).collect::<Vec<_>>();
            let curve = df!("round" => rounds, "validation_loss" => history.validation)?;
            Ok(Tuned {
                model: base.with_fitted(FittedModel::Boosting(tuned), base.estimator.clone()),
                curve: Some(curve),
            })
        }
        (FittedModel::Logistic(start), Estimator::LogisticRegression(parameters)) => {
            refine(&spec.linear, parameters.l2, |l2| {
                let parameters = retune_spec::estimators::LogisticRegression { l2, ..parameters.clone() };
                let (fitted, _) = logistic::fit_from(&parameters, train, &options, Some(start))?;
                let model = base.with_fitted(FittedModel::Logistic(fitted), Estimator::LogisticRegression(parameters));
                let loss = loss(Metric::LogLoss, &model, stop_rows)?;
                Ok((model, loss))
            })
        }
        (FittedModel::Linear(_), Estimator::Ridge(parameters)) => {
            let rows = LeastSquares::new(train)?;
            refine(&spec.linear, parameters.l2, |l2| {
                let estimator = Estimator::Ridge(retune_spec::estimators::Ridge { l2 });
                let model = base.with_fitted(FittedModel::Linear(rows.solve(l2)), estimator);
                let loss = loss(Metric::Rmse, &model, stop_rows)?;
                Ok((model, loss))
            })
        }
        _ => Err(StageError::failed(format!("`{}` has nothing to refine", base.estimator.word()))),
    }
}

/// Tries penalties around the base's own, which is one of them, and takes the one of the least loss.
fn refine(spec: &LinearTuning, l2: f64, mut fit: impl FnMut(f64) -> Result<(Model, f64)>) -> Result<Tuned> {
    if l2 == 0.0 {
        return Err(StageError::failed("a model without a penalty has nothing to refine"));
    }
    let half = spec.steps / 2;
    // An odd number of steps, so that the base's own penalty is the middle one.
    let penalties: Vec<f64> =
        (0..=2 * half).map(|step| l2 * spec.factor.powf(step as f64 / half.max(1) as f64 - 1.0)).collect();
    let (mut losses, mut best): (Vec<f64>, Option<(Model, f64)>) = (Vec::new(), None);
    for &penalty in &penalties {
        let (model, loss) = fit(penalty)?;
        losses.push(loss);
        if best.as_ref().is_none_or(|(_, least)| loss < *least) {
            best = Some((model, loss));
        }
    }
    let (model, _) = best.ok_or_else(|| StageError::failed("no penalty was tried"))?;
    Ok(Tuned { model, curve: Some(df!("l2" => penalties, "validation_loss" => losses)?) })
}

fn loss(metric: Metric, model: &Model, rows: &Design) -> Result<f64> {
    let truth = truth_of(rows.target()?);
    score(metric, &truth, &model.predict(rows)?).map_err(|error| StageError::data(error.to_string()))
}
