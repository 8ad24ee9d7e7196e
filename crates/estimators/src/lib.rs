//! Model families behind one function: [`fit`] trains the family that an [`Estimator`] names, and what it gives predicts, is saved and is loaded.
//!
//! [`Model`] binds it to the columns it was trained on. Each family is a file; fine-tuning takes their `fit_from`, `fit_more` and `fine_tune`.

mod baseline;
pub mod boosting;
mod discriminant;
mod family;
pub mod forest;
pub mod labels;
pub mod lasso;
mod lbfgs;
mod lightgbm;
pub mod linear;
pub mod logistic;
mod model;
mod naive_bayes;
mod neighbors;
pub mod networks;
mod products;
mod rows;
mod support_vectors;

pub use crate::family::{Family, Learned};
use ndarray::ArrayView2;
use retune_metrics::{Prediction, Truth};
use retune_spec::Estimator;
use retune_stage::{
    Design, Device, FitContext, Kind, LoadDir, Progress, Result, SaveDir, Seed, StageError, Target, Task, encoder_hint,
};

pub use baseline::FittedBaseline;
pub use boosting::FittedBoosting;
pub use discriminant::{FittedLinearDiscriminant, FittedQuadraticDiscriminant};
pub use forest::FittedForest;
pub use linear::FittedLinear;
pub use logistic::FittedLogistic;
pub use model::{Calibrator, Combination, Decision, Encoder, Knots, Member, Model, Sigmoid, learned_fields, logits};
pub use naive_bayes::{FittedBernoulliBayes, FittedGaussianBayes, FittedMultinomialBayes};
pub use neighbors::FittedNeighbors;
pub use networks::FittedNetwork;
pub use support_vectors::{FittedLinearSvm, FittedSvm};

/// The release of LightGBM whose C API this crate calls.
pub const LIGHTGBM: &str = env!("RETUNE_LIGHTGBM_VERSION");

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

/// The list of families: what is learned, and the hyperparameters that lead to it.
macro_rules! families {
    ($($(#[$doc:meta])* $model:ident($learned:ty) from $($estimator:ident),+;)*) => {
        /// What a family learned.
        pub enum FittedModel {
            $($(#[$doc])* $model($learned),)*
        }

        fn learn(estimator: &Estimator, rows: &Design, task: &Task, options: &FitOptions) -> Result<(FittedModel, FitInfo)> {
            match estimator {
                $($(Estimator::$estimator(spec) => {
                    let (model, info) = spec.learn(rows, task, options)?;
                    Ok((FittedModel::$model(model), info))
                })+)*
            }
        }

        impl FittedModel {
            /// The labels' probabilities or scores, or the values, of rows [rows, features].
            pub fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
                match self {
                    $(Self::$model(model) => Learned::predict(model, features),)*
                }
            }

            /// The same of rows that may hold images.
            pub fn predict_rows(&self, rows: &Design) -> Result<Prediction> {
                match (self, &rows.images) {
                    (Self::Network(network), Some(images)) => network.predict_images(images, &rows.row_numbers),
                    _ => self.predict(rows.features.view()),
                }
            }

            /// What was learned, in words.
            pub fn describe(&self) -> String {
                match self {
                    $(Self::$model(model) => Learned::describe(model),)*
                }
            }

            /// About how many numbers it is made of: what makes one model simpler than another.
            pub fn size(&self) -> usize {
                match self {
                    $(Self::$model(model) => Learned::size(model),)*
                }
            }

            /// Writes all of it.
            pub fn save(&self, dir: &SaveDir) -> Result<()> {
                match self {
                    $(Self::$model(model) => Learned::save(model, dir),)*
                }
            }

            /// Reads what [`FittedModel::save`] wrote for a model of this family.
            pub fn load(estimator: &Estimator, dir: &LoadDir) -> Result<Self> {
                Ok(match estimator {
                    $($(Estimator::$estimator(_))|+ => Self::$model(Learned::load(dir)?),)*
                })
            }
        }
    };
}

families! {
    /// Nothing of the features.
    Baseline(FittedBaseline) from Baseline;
    /// Coefficients of a linear model.
    Linear(FittedLinear) from LinearRegression, Ridge, Lasso, ElasticNet;
    /// Logistic regression.
    Logistic(FittedLogistic) from LogisticRegression;
    /// A linear support vector machine.
    LinearSvm(FittedLinearSvm) from LinearSvm;
    /// A support vector machine with a kernel.
    Svm(FittedSvm) from Svm;
    /// The training rows.
    Neighbors(FittedNeighbors) from KNearestNeighbors;
    /// Normal distributions of columns.
    GaussianBayes(FittedGaussianBayes) from GaussianNaiveBayes;
    /// Shares of counts.
    MultinomialBayes(FittedMultinomialBayes) from MultinomialNaiveBayes;
    /// Shares of what is true.
    BernoulliBayes(FittedBernoulliBayes) from BernoulliNaiveBayes;
    /// Normal distributions with one covariance.
    LinearDiscriminant(FittedLinearDiscriminant) from LinearDiscriminant;
    /// Normal distributions with a covariance each.
    QuadraticDiscriminant(FittedQuadraticDiscriminant) from QuadraticDiscriminant;
    /// One or more decision trees.
    Forest(FittedForest) from DecisionTree, RandomForest, ExtraTrees;
    /// Boosted trees.
    Boosting(FittedBoosting) from GradientBoosting;
    /// A network in libtorch.
    Network(FittedNetwork) from Mlp, TabularResnet, TabTransformer, ImageNetwork;
}

/// Trains the family that `estimator` names. Fails where a feature is not finite, where the family cannot do the task and where training diverges.
pub fn fit(estimator: &Estimator, train: &Design, task: &Task, options: &FitOptions) -> Result<(FittedModel, FitInfo)> {
    refuse_unfit(estimator, train, task)?;
    learn(estimator, train, task, options)
}

fn refuse_unfit(estimator: &Estimator, train: &Design, task: &Task) -> Result<()> {
    let word = estimator.word();
    if train.n_rows() == 0 {
        return Err(StageError::data(format!("{word} was given no training row")));
    }
    match (&train.images, estimator.takes_images()) {
        (Some(images), false) => {
            let message = format!("column `{}` is image, where numbers are needed", images.name());
            return Err(StageError::data(message).help(encoder_hint(Kind::Image)));
        }
        (None, true) => {
            return Err(StageError::data(format!("{word} sees images, and the rows have no column of them"))
                .help("say which column holds images, `columns: { NAME: image }` under `data`"));
        }
        (None, false) if train.features.ncols() == 0 => {
            return Err(StageError::data(format!("{word} was given no feature column")));
        }
        (Some(_), true) if train.features.ncols() > 0 => {
            return Err(StageError::data(format!("{word} sees images alone, and column `{}` is none", train.names[0]))
                .help("list other columns under `data.ignore` or `data.id`"));
        }
        _ => {}
    }
    let (holds, predicts) = match task {
        Task::Classification { .. } => ("labels", "values"),
        Task::Regression => ("values", "labels"),
    };
    if !estimator.supports(task.kind()) {
        let others = Estimator::all().filter(|other| other.supports(task.kind())).map(|other| other.word());
        return Err(StageError::data(format!("{word} predicts {predicts}, and the target holds {holds}"))
            .help(format!("use one of {}", others.collect::<Vec<_>>().join(", "))));
    }
    if let Some(misfit) = estimator.misfits(Some(task.kind())).into_iter().next() {
        return Err(StageError::data(misfit.message).help(misfit.help));
    }
    if !estimator.takes_categories() {
        rows::check_numbers(train)?;
    }
    if estimator.takes_missing() { rows::check_not_infinite(train) } else { rows::check_finite(train) }
}
