//! How each model family is trained further.

use std::path::Path;

use polars::prelude::{Column, DataFrame, df};
use retune_estimators::linear::LeastSquares;
use retune_estimators::networks::{History, Phase, RateCurve, TuningRows};
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
    /// Searches for a learning rate.
    pub rates: Vec<RateCurve>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// How the losses of networks went, for whoever looks for reasons.
    pub phases: Vec<Phase>,
}

/// The rows that a tuning sees.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// What is learned from.
    pub train: &'a Design,
    /// What decides when to stop.
    pub stop: &'a Design,
    /// What is learned from again.
    pub rehearsal: Option<&'a Design>,
    /// Whether the base knows nothing yet.
    pub is_fresh: bool,
    /// Where trainings are kept while they run.
    pub work: Option<&'a Path>,
}

/// A member that was trained further, and how its loss went.
struct Further {
    member: Member,
    curve: DataFrame,
    rates: Option<RateCurve>,
    notes: Vec<String>,
    phases: Vec<Phase>,
}

impl Further {
    fn plain(member: Member, curve: DataFrame) -> Self {
        Self { member, curve, rates: None, notes: Vec::new(), phases: Vec::new() }
    }
}

/// Trains every member of the base further by the block of its family, and leaves those as they are that have nothing to refine; so it does with how they are
/// combined, calibrated and decided. Fails where no member has anything to refine.
pub fn tune(spec: &FineTuning, base: &Model, seen: Seen, context: &FitContext) -> Result<Tuned> {
    let (train, stop) = (base.bind(seen.train)?, base.bind(seen.stop)?);
    let rehearsal = seen.rehearsal.map(|rows| base.bind(rows)).transpose()?;
    let seen = Seen { train: &train, stop: &stop, rehearsal: rehearsal.as_deref(), ..seen };
    let seed = context.seed.derive("tune");
    let several = base.members().len() > 1;
    let mut members = Vec::new();
    let (mut curves, mut rates, mut notes, mut phases) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, member) in base.members().iter().enumerate() {
        let seed = if several { seed.derive(&number.to_string()) } else { seed };
        let options = FitOptions { seed, ..FitOptions::of(context) };
        let work =
            seen.work.map(|work| if several { work.join(format!("member-{}", number + 1)) } else { work.to_owned() });
        if let Some(work) = &work {
            std::fs::create_dir_all(work)?;
        }
        match tune_member(spec, member, Seen { work: work.as_deref(), ..seen }, &options)? {
            Some(tuned) => {
                members.push(tuned.member);
                curves.push(tuned.curve);
                rates.extend(tuned.rates);
                notes.extend(tuned.notes);
                phases.extend(tuned.phases);
            }
            None => members.push(member.clone()),
        }
    }
    if curves.is_empty() {
        return Err(StageError::failed(format!("`{}` has nothing to refine", base.family())));
    }
    Ok(Tuned { model: base.with_members(members), curves, rates, notes, phases })
}

/// `None` for a family that has nothing to refine.
fn tune_member(spec: &FineTuning, member: &Member, seen: Seen, options: &FitOptions) -> Result<Option<Further>> {
    let (train, stop_rows) = (&*member.seen(seen.train), &*member.seen(seen.stop));
    let rehearsal = seen.rehearsal.map(|rows| member.seen(rows));
    let same = |fitted| member.with_fitted(member.estimator.clone(), fitted);
    match (member.fitted.as_ref(), &member.estimator) {
        (FittedModel::Network(network), _) => {
            let rows = TuningRows { train, stop: stop_rows, rehearsal: rehearsal.as_deref() };
            let tuned = networks::fine_tune(network, &spec.network, rows, seen.is_fresh, seen.work, options)?;
            Ok(Some(Further {
                member: same(FittedModel::Network(tuned.network)),
                curve: learning_curve(&tuned.phases)?,
                rates: tuned.rates,
                notes: tuned.notes,
                phases: tuned.phases,
            }))
        }
        (FittedModel::Boosting(trees), _) => {
            let (tuned, history) = boosting::fit_more(trees, &spec.boosting, train, stop_rows, options)?;
            let rounds = (1..=history.validation.len() as u32).collect::<Vec<_>>();
            let curve = df!("round" => rounds, "validation_loss" => history.validation)?;
            Ok(Some(Further::plain(same(FittedModel::Boosting(tuned)), curve)))
        }
        (FittedModel::Logistic(start), Estimator::LogisticRegression(parameters)) if parameters.l2 > 0.0 => {
            refine(&spec.linear, parameters.l2, |l2| {
                let parameters = retune_spec::estimators::LogisticRegression { l2, ..parameters.clone() };
                let (fitted, _) = logistic::fit_from(&parameters, train, options, Some(start))?;
                let fitted = FittedModel::Logistic(fitted);
                let loss = loss(Metric::LogLoss, &fitted, stop_rows)?;
                Ok((member.with_fitted(Estimator::LogisticRegression(parameters), fitted), loss))
            })
            .map(Some)
        }
        (FittedModel::Linear(_), Estimator::Ridge(parameters)) if parameters.l2 > 0.0 => {
            let rows = LeastSquares::new(train)?;
            refine(&spec.linear, parameters.l2, |l2| {
                let fitted = FittedModel::Linear(rows.solve(l2));
                let loss = loss(Metric::Rmse, &fitted, stop_rows)?;
                Ok((member.with_fitted(Estimator::Ridge(retune_spec::estimators::Ridge { l2 }), fitted), loss))
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
    Ok(Further::plain(member, df!("l2" => penalties, "validation_loss" => losses)?))
}

/// One row for each epoch of each part.
fn learning_curve(phases: &[Phase]) -> Result<DataFrame> {
    let lengths = || phases.iter().map(|phase| phase.history.train.len());
    let epochs: Vec<u32> = (1..=lengths().sum::<usize>() as u32).collect();
    fn of<T: Copy>(phases: &[Phase], numbers: fn(&History) -> &Vec<T>) -> Vec<T> {
        phases.iter().flat_map(|phase| numbers(&phase.history).iter().copied()).collect()
    }
    let names: Vec<&str> =
        phases.iter().flat_map(|phase| std::iter::repeat_n(phase.name, phase.history.train.len())).collect();
    let mut curve = df!(
        "epoch" => epochs,
        "train_loss" => of(phases, |history| &history.train),
        "validation_loss" => of(phases, |history| &history.validation),
        "learning_rate" => of(phases, |history| &history.learning_rate),
    )?;
    if phases.len() > 1 {
        curve.insert_column(1, Column::new("phase".into(), names))?;
    }
    Ok(curve)
}

fn loss(metric: Metric, fitted: &FittedModel, rows: &Design) -> Result<f64> {
    let truth = truth_of(rows.target()?);
    let prediction = fitted.predict_rows(rows)?;
    score(metric, &truth, &prediction).map_err(|error| StageError::data(error.to_string()))
}
