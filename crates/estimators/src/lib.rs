//! Model families behind one function: [`fit`] trains the family that an [`Estimator`] names, and what it gives predicts, is saved and is loaded.
//!
//! [`Model`] binds it to the columns it was trained on. Each family is a file; fine-tuning takes their `fit_from`, `fit_more` and `fine_tune`.

pub mod boosting;
mod lbfgs;
mod lightgbm;
pub mod linear;
pub mod logistic;
pub mod mlp;
mod model;
mod rows;

use ndarray::ArrayView2;
use retune_metrics::{Prediction, Truth};
use retune_spec::Estimator;
use retune_stage::{Design, Device, FitContext, LoadDir, Progress, Result, SaveDir, Seed, StageError, Target, Task};

pub use boosting::FittedBoosting;
pub use linear::FittedLinear;
pub use logistic::FittedLogistic;
pub use mlp::FittedMlp;
pub use model::Model;

/// What training is told besides the rows.
#[derive(Clone, Copy)]
pub struct FitOptions<'a> {
    /// What all randomness is derived from.
    pub seed: Seed,
    /// Threads of LightGBM and libtorch; our own loops use the current rayon pool.
    pub threads: usize,
    /// Where networks are trained.
    pub device: Device,
    /// Where to say how far it is.
    pub progress: &'a dyn Progress,
}

impl<'a> FitOptions<'a> {
    /// Those of a stage.
    pub fn of(context: &FitContext<'a>) -> Self {
        Self { seed: context.seed, threads: context.threads, device: context.device, progress: context.progress }
    }
}

/// A target as scores want to see it.
pub fn truth_of(target: &Target) -> Truth<'_> {
    match target {
        Target::Classes { codes, n_classes } => Truth::Classes { codes, n_classes: *n_classes },
        Target::Values(values) => Truth::Values(values),
    }
}

/// How training went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FitInfo {
    /// The rounds of boosting, or the epochs of a network, that were kept.
    pub rounds: Option<usize>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// What a family learned.
pub enum FittedModel {
    /// Linear or ridge regression.
    Linear(FittedLinear),
    /// Logistic regression.
    Logistic(FittedLogistic),
    /// Boosted trees.
    Boosting(FittedBoosting),
    /// A multi-layer perceptron.
    Mlp(FittedMlp),
}

/// Trains the family that `estimator` names. Fails where a feature is not finite, where the family cannot do the task and where training diverges.
pub fn fit(estimator: &Estimator, train: &Design, task: &Task, options: &FitOptions) -> Result<(FittedModel, FitInfo)> {
    refuse_unfit(estimator, train, task)?;
    match estimator {
        Estimator::LogisticRegression(spec) => {
            let (model, info) = logistic::fit(spec, train, options)?;
            Ok((FittedModel::Logistic(model), info))
        }
        Estimator::LinearRegression(_) => {
            let squares = linear::LeastSquares::new(train)?;
            let mut info = FitInfo::default();
            let (rank, n_features) = (squares.rank(), train.features.ncols());
            if rank < n_features {
                info.notes.push(format!("of {n_features} columns only {rank} are independent of each other; the coefficients are those of the least norm"));
            }
            Ok((FittedModel::Linear(squares.solve(0.0)), info))
        }
        Estimator::Ridge(spec) => {
            Ok((FittedModel::Linear(linear::LeastSquares::new(train)?.solve(spec.l2)), FitInfo::default()))
        }
        Estimator::GradientBoosting(spec) => {
            let (model, info) = boosting::fit(spec, train, options)?;
            Ok((FittedModel::Boosting(model), info))
        }
        Estimator::Mlp(spec) => {
            let model = mlp::fit(spec, train, task, options)?;
            let info = FitInfo { rounds: Some(model.n_epochs()), notes: Vec::new() };
            Ok((FittedModel::Mlp(model), info))
        }
    }
}

fn refuse_unfit(estimator: &Estimator, train: &Design, task: &Task) -> Result<()> {
    let word = estimator.word();
    if train.n_rows() == 0 {
        return Err(StageError::data(format!("{word} was given no training row")));
    }
    if train.features.ncols() == 0 {
        return Err(StageError::data(format!("{word} was given no feature column")));
    }
    match task {
        Task::Classification { .. } if !estimator.supports(retune_spec::data::TaskKind::Classification) => {
            Err(StageError::data(format!("{word} predicts values, and the target holds labels"))
                .help("use logistic_regression, gradient_boosting or mlp"))
        }
        Task::Regression if !estimator.supports(retune_spec::data::TaskKind::Regression) => {
            Err(StageError::data(format!("{word} predicts labels, and the target holds values"))
                .help("use ridge, linear_regression, gradient_boosting or mlp"))
        }
        _ => Ok(()),
    }
}

impl FittedModel {
    /// The labels' probabilities, or the values, of rows [rows, features].
    pub fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        match self {
            Self::Linear(model) => model.predict(features),
            Self::Logistic(model) => model.predict(features),
            Self::Boosting(model) => model.predict(features),
            Self::Mlp(model) => model.predict(features),
        }
    }

    /// What was learned, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Linear(model) => format!("a linear model of {} features", model.coefficients.len()),
            Self::Logistic(model) => {
                let (iterations, converged) = model.search();
                let end = if converged { "converged after" } else { "not converged after" };
                format!(
                    "a logistic regression of {} features, {end} {iterations} iterations",
                    model.coefficients.ncols()
                )
            }
            Self::Boosting(model) => format!("{} rounds of boosted trees", model.rounds()),
            Self::Mlp(model) => format!("a network trained for {} epochs", model.n_epochs()),
        }
    }

    /// Writes all of it.
    pub fn save(&self, dir: &SaveDir) -> Result<()> {
        match self {
            Self::Linear(model) => model.save(dir),
            Self::Logistic(model) => model.save(dir),
            Self::Boosting(model) => model.save(dir),
            Self::Mlp(model) => model.save(dir),
        }
    }

    /// Reads what [`FittedModel::save`] wrote for a model of this family.
    pub fn load(estimator: &Estimator, dir: &LoadDir) -> Result<Self> {
        Ok(match estimator {
            Estimator::LinearRegression(_) | Estimator::Ridge(_) => Self::Linear(FittedLinear::load(dir)?),
            Estimator::LogisticRegression(_) => Self::Logistic(FittedLogistic::load(dir)?),
            Estimator::GradientBoosting(_) => Self::Boosting(FittedBoosting::load(dir)?),
            Estimator::Mlp(_) => Self::Mlp(FittedMlp::load(dir)?),
        })
    }
}
