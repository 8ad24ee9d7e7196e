//! How each model family is trained further.

use polars::prelude::*;
use retune_estimators::linear::LeastSquares;
use retune_estimators::{FitOptions, FittedModel, Member, Model, boosting, logistic, networks, truth_of};
use retune_metrics::score;
use retune_spec::fine_tuning::{FineTuning, LinearTuning};
use retune_spec::{Estimator, Metric};
use retune_stage::{Design, FitContext, Result, StageError};

/// A tuned model, and how its losses went.
pub struct Tuned {
    /// The model.
    pub model: Model,
    /// Of each member that was tuned: one row for each epoch, round or penalty.
    pub curves: Vec<DataFrame>,
}

/// A member that was trained further, and how its loss went.
type Further = (Member, DataFrame);

/// Trains every member of the base further by the block of its family, and leaves those as they are that have nothing to refine; so it does with how they are
/// combined, calibrated and decided. Fails where no member has anything to refine.
pub fn tune(
    spec: &FineTuning,
    base: &Model,
    train: &Design,
    stop_rows: &Design,
    context: &FitContext,
) -> Result<Tuned> {
    let train = &base.bind(train)?;
    let stop_rows = &base.bind(stop_rows)?;
    let seed = context.seed.derive("tune");
    let several = base.members().len() > 1;
    let (mut members, mut curves) = (Vec::new(), Vec::new());
    for (number, member) in base.members().iter().enumerate() {
        let seed = if several { seed.derive(&number.to_string()) } else { seed };
        let options = FitOptions { seed, ..FitOptions::of(context) };
        match tune_member(spec, member, train, stop_rows, &options)? {
            Some((tuned, curve)) => {
                members.push(tuned);
                curves.push(curve);
            }
            None => members.push(member.clone()),
        }
    }
    if curves.is_empty() {
        return Err(StageError::failed(format!("`{}` has nothing to refine", base.family())));
    }
    Ok(Tuned { model: base.with_members(members), curves })
}

/// `None` for a family that has nothing to refine.
fn tune_member(
    spec: &FineTuning,
    member: &Member,
    train: &Design,
    stop_rows: &Design,
    options: &FitOptions,
) -> Result<Option<Further>> {
    let same = |fitted| Member::new(member.estimator.clone(), fitted);
    match (member.fitted.as_ref(), &member.estimator) {
        (FittedModel::Network(network), _) => {
            let (tuned, history) = networks::fine_tune(network, &spec.network, train, stop_rows, options)?;
            let epochs = (1..=history.train.len() as u32).collect::<Vec<_>>();
            let curve = df!("epoch" => epochs, "train_loss" => history.train, "validation_loss" => history.validation)?;
            Ok(Some((same(FittedModel::Network(tuned)), curve)))
        }
        (FittedModel::Boosting(trees), _) => {
            let (tuned, history) = boosting::fit_more(trees, &spec.boosting, train, stop_rows, options)?;
            let rounds = (1..=history.validation.len() as u32).collect::<Vec<_>>();
            let curve = df!("round" => rounds, "validation_loss" => history.validation)?;
            Ok(Some((same(FittedModel::Boosting(tuned)), curve)))
        }
        (FittedModel::Logistic(start), Estimator::LogisticRegression(parameters)) if parameters.l2 > 0.0 => {
            refine(&spec.linear, parameters.l2, |l2| {
                let parameters = retune_spec::estimators::LogisticRegression { l2, ..parameters.clone() };
                let (fitted, _) = logistic::fit_from(&parameters, train, options, Some(start))?;
                let fitted = FittedModel::Logistic(fitted);
                let loss = loss(Metric::LogLoss, &fitted, stop_rows)?;
                Ok((Member::new(Estimator::LogisticRegression(parameters), fitted), loss))
            })
            .map(Some)
        }
        (FittedModel::Linear(_), Estimator::Ridge(parameters)) if parameters.l2 > 0.0 => {
            let rows = LeastSquares::new(train)?;
            refine(&spec.linear, parameters.l2, |l2| {
                let fitted = FittedModel::Linear(rows.solve(l2));
                let loss = loss(Metric::Rmse, &fitted, stop_rows)?;
                Ok((Member::new(Estimator::Ridge(retune_spec::estimators::Ridge { l2 }), fitted), loss))
            })
            .map(Some)
        }
        _ => Ok(None),
    }
}

/// Tries penalties around the base's own, which is one of them, and takes the one of the least loss.
fn refine(spec: &LinearTuning, l2: f64, mut fit: impl FnMut(f64) -> Result<(Member, f64)>) -> Result<Further> {
    let half = spec.steps / 2;
    // An odd number of steps, so that the base's own penalty is the middle one.
    let penalties: Vec<f64> =
        (0..=2 * half).map(|step| l2 * spec.factor.powf(step as f64 / half.max(1) as f64 - 1.0)).collect();
    let (mut losses, mut best): (Vec<f64>, Option<(Member, f64)>) = (Vec::new(), None);
    for &penalty in &penalties {
        let (member, loss) = fit(penalty)?;
        losses.push(loss);
        if best.as_ref().is_none_or(|(_, least)| loss < *least) {
            best = Some((member, loss));
        }
    }
    let (member, _) = best.ok_or_else(|| StageError::failed("no penalty was tried"))?;
    Ok((member, df!("l2" => penalties, "validation_loss" => losses)?))
}

fn loss(metric: Metric, fitted: &FittedModel, rows: &Design) -> Result<f64> {
    let truth = truth_of(rows.target()?);
    let prediction = fitted.predict(rows.features.view())?;
    score(metric, &truth, &prediction).map_err(|error| StageError::data(error.to_string()))
}
