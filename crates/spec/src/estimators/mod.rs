//! Model families and their hyperparameters.
//!
//! The types here are concrete. In `candidates` of a search any number, word or list among them may be a space (see
//! [`crate::model_selection::Space`]) instead; a trial puts a value in its place and reads the result as one of these types.

mod bayes;
mod images;
mod linear;
mod neighbors;
mod networks;
mod support_vectors;
mod trees;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::TaskKind;

pub use bayes::*;
pub use images::*;
pub use linear::*;
pub use neighbors::*;
pub use networks::*;
pub use support_vectors::*;
pub use trees::*;

/// What families can do.
#[derive(Clone, Copy)]
enum Does {
    Labels,
    Values,
    Both,
}

/// The list of families: variant and struct, the word in the language, and what it predicts.
macro_rules! families {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $does:ident;)*) => {
        /// A model family with its hyperparameters.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub enum Estimator {
            $($(#[$doc])* #[serde(rename = $word)] $variant($variant),)*
        }

        impl Estimator {
            /// The words of all families, in the order in which they are documented.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word in the language.
            pub fn word(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $word,)*
                }
            }

            fn does(&self) -> Does {
                match self {
                    $(Self::$variant(_) => Does::$does,)*
                }
            }
        }
    };
}

families! {
    /// Looks at the target only. Both tasks.
    Baseline = "baseline", Both;
    /// Least squares without a penalty. Regression.
    LinearRegression = "linear_regression", Values;
    /// Least squares with an L2 penalty. Regression.
    Ridge = "ridge", Values;
    /// Least squares with an L1 penalty. Regression.
    Lasso = "lasso", Values;
    /// Least squares with both penalties. Regression.
    ElasticNet = "elastic_net", Values;
    /// Multinomial logistic regression. Classification.
    LogisticRegression = "logistic_regression", Labels;
    /// A linear support vector machine. Both tasks.
    LinearSvm = "linear_svm", Both;
    /// A support vector machine with a kernel. Both tasks.
    Svm = "svm", Both;
    /// The nearest training rows. Both tasks.
    KNearestNeighbors = "k_nearest_neighbors", Both;
    /// Naive Bayes for numbers. Classification.
    GaussianNaiveBayes = "gaussian_naive_bayes", Labels;
    /// Naive Bayes for counts. Classification.
    MultinomialNaiveBayes = "multinomial_naive_bayes", Labels;
    /// Naive Bayes for what is true or false. Classification.
    BernoulliNaiveBayes = "bernoulli_naive_bayes", Labels;
    /// Linear discriminant analysis. Classification.
    LinearDiscriminant = "linear_discriminant", Labels;
    /// Quadratic discriminant analysis. Classification.
    QuadraticDiscriminant = "quadratic_discriminant", Labels;
    /// A decision tree. Both tasks.
    DecisionTree = "decision_tree", Both;
    /// Many trees on drawn rows and columns. Both tasks.
    RandomForest = "random_forest", Both;
    /// Many trees with splits drawn at random. Both tasks.
    ExtraTrees = "extra_trees", Both;
    /// Gradient-boosted trees (LightGBM). Both tasks.
    GradientBoosting = "gradient_boosting", Both;
    /// A multi-layer perceptron (libtorch). Both tasks.
    Mlp = "mlp", Both;
    /// A residual network for tables (libtorch). Both tasks.
    TabularResnet = "tabular_resnet", Both;
    /// A transformer over the columns (libtorch). Both tasks.
    TabTransformer = "tab_transformer", Both;
    /// A convolutional network on a column of images (libtorch). Both tasks.
    ImageNetwork = "image_network", Both;
}

impl Estimator {
    /// The family of a word with its defaults.
    pub fn of(word: &str) -> Option<Self> {
        serde_json::from_value(serde_json::json!({ word: {} })).ok()
    }

    /// Every family with its defaults.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::WORDS.iter().filter_map(|word| Self::of(word))
    }

    /// Whether the family can do a task.
    pub fn supports(&self, task: TaskKind) -> bool {
        match self.does() {
            Does::Labels => task == TaskKind::Classification,
            Does::Values => task == TaskKind::Regression,
            Does::Both => true,
        }
    }

    /// Whether it says how probable each label is; the others give scores, which `calibrate` can turn into probabilities.
    pub fn gives_probabilities(&self) -> bool {
        !matches!(self, Self::LinearSvm(_) | Self::Svm(_))
    }

    /// Its trees or epochs, where it has such.
    pub fn rounds(&self) -> Option<usize> {
        match self {
            Self::RandomForest(forest) => Some(forest.trees),
            Self::ExtraTrees(forest) => Some(forest.trees),
            Self::GradientBoosting(boosting) => Some(boosting.trees),
            Self::Mlp(network) => Some(network.epochs),
            Self::TabularResnet(network) => Some(network.epochs),
            Self::TabTransformer(network) => Some(network.epochs),
            Self::ImageNetwork(network) => Some(network.epochs),
            _ => None,
        }
    }

    /// The same with other trees or epochs.
    #[must_use]
    pub fn with_rounds(&self, rounds: usize) -> Self {
        let mut other = self.clone();
        match &mut other {
            Self::RandomForest(forest) => forest.trees = rounds,
            Self::ExtraTrees(forest) => forest.trees = rounds,
            Self::GradientBoosting(boosting) => boosting.trees = rounds,
            Self::Mlp(network) => network.epochs = rounds,
            Self::TabularResnet(network) => network.epochs = rounds,
            Self::TabTransformer(network) => network.epochs = rounds,
            Self::ImageNetwork(network) => network.epochs = rounds,
            _ => {}
        }
        other
    }

    /// Whether it takes missing values as they are.
    pub fn takes_missing(&self) -> bool {
        matches!(
            self,
            Self::Baseline(_)
                | Self::DecisionTree(_)
                | Self::RandomForest(_)
                | Self::ExtraTrees(_)
                | Self::GradientBoosting(_)
        )
    }

    /// Whether it takes columns of words as they are.
    pub fn takes_categories(&self) -> bool {
        matches!(self, Self::Baseline(_) | Self::GradientBoosting(_) | Self::TabTransformer(_))
    }

    /// Whether it learns from a column of images, and from nothing else.
    pub fn takes_images(&self) -> bool {
        matches!(self, Self::ImageNetwork(_))
    }

    /// The hyperparameters that do not fit the task, where it is known, or each other.
    pub fn misfits(&self, task: Option<TaskKind>) -> Vec<Misfit> {
        match self {
            Self::Mlp(network) => network.misfits(task),
            Self::TabularResnet(network) => network.misfits(task),
            Self::TabTransformer(network) => network.misfits(task),
            Self::ImageNetwork(network) => network.misfits(task),
            _ => Vec::new(),
        }
    }
}

/// Hyperparameters that do not fit the task or each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The keys that it depends on, the one to change first.
    pub keys: &'static [&'static str],
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: String,
}

/// Weights of the labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeight {
    /// All rows weigh the same.
    #[default]
    None,
    /// Every label weighs the same: rows / (labels * rows of the label).
    Balanced,
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}
