//! Naive Bayes, as scikit-learn's `naive_bayes`: columns are independent of each other within a label.

mod counts;
mod gaussian;

pub use counts::{FittedBernoulliBayes, FittedMultinomialBayes};
pub use gaussian::FittedGaussianBayes;
