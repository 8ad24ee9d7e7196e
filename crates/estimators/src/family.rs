//! What every family can do.

use ndarray::ArrayView2;
use retune_metrics::Prediction;
use retune_stage::{Design, LoadDir, Result, SaveDir, Task};

use crate::{FitInfo, FitOptions};

/// A family: its hyperparameters, and how they turn rows into a model.
pub trait Family {
    /// What it learns.
    type Learned: Learned;

    /// Learns from rows that have a target. [`crate::fit`] has looked at them before: there is a row and a feature, the family can do the task, and features
    /// are finite or of a kind that the family takes.
    fn learn(&self, rows: &Design, task: &Task, options: &FitOptions) -> Result<(Self::Learned, FitInfo)>;
}

/// What a family learned.
pub trait Learned: Sized {
    /// The labels' probabilities or scores, or the values, of rows [rows, features]. Fails where there are more or fewer features than in training.
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction>;

    /// What was learned, in words.
    fn describe(&self) -> String;

    /// About how many numbers it is made of: what makes one model simpler than another.
    fn size(&self) -> usize;

    /// Writes all of it.
    fn save(&self, dir: &SaveDir) -> Result<()>;

    /// Reads what [`Learned::save`] wrote.
    fn load(dir: &LoadDir) -> Result<Self>;
}
