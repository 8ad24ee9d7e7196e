//! What methods share that train models on choices of columns: the standardised matrix, folds, models of a fold, and their scores.
//!
//! Models take column numbers and rows, so that no choice of columns is ever copied. Rows are summed in blocks of a fixed size and in their order, so that
//! nothing depends on the number of threads.

mod logistic;
mod losses;
mod ridge;
mod trees;

use std::sync::atomic::{AtomicU64, Ordering};

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;
use retune_estimators::truth_of;
use retune_metrics::Prediction;
use retune_spec::Metric;
use retune_spec::feature_selection::{AskedModel, Keep};
use retune_stage::{Fold, Level, Result, StageError, Target, Task};

use crate::choose::Grouped;
use crate::features::Feature;
use crate::judge::Question;
use crate::moments::Moments;

pub(crate) use self::losses::losses;

/// Rows whose products are summed at once.
const BLOCK: usize = 512;
/// At most so many sums of products beside each other.
const SUMS: usize = 8;

/// The features with mean 0 and variance 1, column by column. A constant column is 0.
pub(crate) struct Matrix {
    n_rows: usize,
    cells: Vec<f64>,
    /// What an intercept is multiplied by.
    ones: Vec<f64>,
}

impl Matrix {
    pub(crate) fn standardised(features: &[Feature], n_rows: usize) -> Result<Self> {
        let mut cells = vec![0.0; n_rows * features.len()];
        let columns = cells.par_chunks_mut(n_rows.max(1)).zip(features);
        columns.try_for_each(|(cells, feature)| -> Result<()> {
            let values = feature.numbers()?;
            let moments = Moments::of(&values);
            let deviation = moments.variance(n_rows).sqrt();
            // What rounding the mean leaves of a constant column is no deviation.
            if deviation > 1e-12 * moments.mean.abs() {
                let standard = |value: &f64| (value - moments.mean) / deviation;
                cells.iter_mut().zip(values.iter()).for_each(|(cell, value)| *cell = standard(value));
            }
            Ok(())
        })?;
        Ok(Self { n_rows, cells, ones: vec![1.0; n_rows] })
    }

    pub(crate) fn n_columns(&self) -> usize {
        self.cells.len() / self.n_rows.max(1)
    }

    fn column(&self, at: usize) -> &[f64] {
        &self.cells[at * self.n_rows..(at + 1) * self.n_rows]
    }

    /// Columns, and that of ones.
    fn with_ones(&self, columns: &[usize]) -> Vec<&[f64]> {
        columns.iter().map(|&at| self.column(at)).chain([self.ones.as_slice()]).collect()
    }
}

/// For each two columns the weighted sum of their products over rows: the lower triangle.
pub(crate) fn products(columns: &[&[f64]], rows: &[usize], weight: impl Fn(usize) -> f64 + Sync) -> Mat<f64> {
    let width = columns.len();
    let sum = |rows: &[usize]| {
        let mut sums = Mat::zeros(width, width);
        let (mut block, mut roots) = (Vec::new(), Vec::new());
        for rows in rows.chunks(BLOCK) {
            block.clear();
            roots.clear();
            roots.extend(rows.iter().map(|&row| weight(row).sqrt()));
            for column in columns {
                block.extend(rows.iter().zip(&roots).map(|(&row, root)| column[row] * root));
            }
            let block = MatRef::from_column_major_slice(&block, rows.len(), width);
            let (whole, lower) = (BlockStructure::Rectangular, BlockStructure::TriangularLower);
            matmul(sums.as_mut(), lower, Accum::Add, block.transpose(), whole, block, whole, 1.0, Par::Seq);
        }
        sums
    };
    let share = rows.len().div_ceil(SUMS).max(BLOCK);
    let sums: Vec<Mat<f64>> = rows.par_chunks(share).map(sum).collect();
    sums.into_iter().fold(Mat::zeros(width, width), |total, sum| total + sum)
}

/// The model that is asked, and what it is scored by.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) model: AskedModel,
    /// The linear model's penalty.
    pub(crate) l2: f64,
    pub(crate) metric: Metric,
}

impl Asked {
    pub(crate) fn new(model: AskedModel, l2: f64, metric: Option<Metric>, task: &Task) -> Self {
        Self { model, l2, metric: metric.unwrap_or(Metric::plain_for(task.kind())) }
    }

    /// What learns from the rows of a fold and is judged by its other rows; `threads` are those of LightGBM.
    pub(crate) fn learner<'a>(
        &self,
        matrix: &'a Matrix,
        fold: &'a Fold,
        question: &Question<'a>,
        threads: usize,
    ) -> Result<Box<dyn Learner + 'a>> {
        let judges =
            Judges { rows: &fold.validation, target: question.target.take(&fold.validation), metric: self.metric };
        Ok(match (self.model, question.target) {
            (AskedModel::Trees, _) => Box::new(trees::Trees::new(matrix, *question, &fold.train, judges, threads)),
            (AskedModel::Linear, Target::Classes { codes, n_classes }) => {
                Box::new(logistic::Logistic::new(matrix, codes, *n_classes, self.l2, &fold.train, judges)?)
            }
            (AskedModel::Linear, Target::Values(values)) => {
                Box::new(ridge::Ridge::new(matrix, values, self.l2, &fold.train, judges))
            }
        })
    }
}

/// Columns that are kept or dropped together: groups, and columns of none.
pub(crate) struct Units {
    pub(crate) members: Vec<Vec<usize>>,
    /// Whether `always_keep` chooses one of its columns.
    pub(crate) pinned: Vec<bool>,
}

impl Units {
    pub(crate) fn new(features: &[Feature], groups: &Grouped) -> Self {
        let (mut members, mut pinned) = (vec![Vec::new(); groups.len()], vec![false; groups.len()]);
        for (at, feature) in features.iter().enumerate() {
            members[groups.group_of(at)].push(at);
            pinned[groups.group_of(at)] |= feature.pinned;
        }
        Self { members, pinned }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The columns of some units.
    pub(crate) fn columns(&self, units: &[usize]) -> Vec<usize> {
        units.iter().flat_map(|&unit| &self.members[unit]).copied().collect()
    }

    /// How many are kept, of which there must be at least one and all that are pinned.
    pub(crate) fn wanted(&self, keep: &Keep, word: &str, question: &Question) -> usize {
        if let Keep::Count(count) = keep
            && *count > self.len()
        {
            let text =
                format!("{word}: `keep` is {count}, but only {} are left; all are kept", question.groups.counted());
            question.context.progress.message(Level::Warning, &text);
        }
        keep.count(self.len()).max(self.n_pinned()).max(1)
    }

    pub(crate) fn n_pinned(&self) -> usize {
        self.pinned.iter().filter(|&&pinned| pinned).count()
    }
}

/// The folds that choices are scored by. They respect groups and times.
pub(crate) fn folds(question: &Question, n_folds: usize) -> Result<Vec<Fold>> {
    let labels = match question.task {
        Task::Classification { labels } => labels.as_slice(),
        Task::Regression => &[],
    };
    let seed = question.context.seed.derive("folds").0;
    Ok(question.ties.folds(question.target, labels, n_folds, seed)?)
}

/// A model of some columns.
#[derive(Default)]
pub(crate) struct Trained {
    pub(crate) columns: Vec<usize>,
    /// How much the model makes of each of its columns: squared coefficients, or gain.
    pub(crate) importances: Vec<f64>,
    /// Of a linear model: for each output the coefficients and the intercept.
    parameters: Vec<f64>,
    /// Of a logistic regression: each row's scores.
    scores: Vec<f64>,
    iterations: usize,
    /// Of trees: what they say of the rows that judge.
    said: Option<Prediction>,
}

/// Trains models on the same rows and different columns.
pub(crate) trait Learner: Send + Sync {
    /// Trains on columns; `start` is a model of other ones, to begin at.
    fn fit(&self, columns: &[usize], start: Option<&Trained>) -> Result<Trained>;

    /// How a model does on the rows that judge: the greater the better.
    fn score(&self, trained: &Trained) -> Result<f64>;

    /// Whether models near this one would be found faster after [`Learner::settle`].
    fn is_far(&self, _trained: &Trained) -> bool {
        false
    }

    /// Makes ready for models near this one of these columns.
    fn settle(&mut self, _trained: &Trained, _columns: &[usize]) {}
}

/// The rows that judge models.
struct Judges<'a> {
    rows: &'a [usize],
    target: Target,
    metric: Metric,
}

impl Judges<'_> {
    fn score(&self, prediction: &Prediction) -> Result<f64> {
        let score = retune_metrics::score(self.metric, &truth_of(&self.target), prediction);
        let score = score.map_err(|error| {
            StageError::data(format!("a fold cannot be scored: {error}")).help("use fewer folds or another metric")
        })?;
        Ok(self.oriented(score))
    }

    fn oriented(&self, score: f64) -> f64 {
        oriented(self.metric, score)
    }
}

/// With the other sign where less is better; the same turns it back.
pub(crate) fn oriented(metric: Metric, score: f64) -> f64 {
    if metric.greater_is_better() { score } else { -score }
}

/// Counts models for whoever watches.
pub(crate) struct Count<'a> {
    question: &'a Question<'a>,
    done: AtomicU64,
    total: Option<u64>,
}

impl<'a> Count<'a> {
    pub(crate) fn new(question: &'a Question<'a>, total: Option<usize>) -> Self {
        Self { question, done: AtomicU64::new(0), total: total.map(|total| total as u64) }
    }

    /// One more. Fails if somebody asked to stop.
    pub(crate) fn one(&self) -> Result<()> {
        self.question.context.progress.check_cancelled()?;
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.question.context.progress.update("models", done, self.total);
        Ok(())
    }
}
