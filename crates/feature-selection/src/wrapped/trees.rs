//! Boosted trees on choices of columns.

use ndarray::{Array2, Axis};
use retune_estimators::FitOptions;
use retune_estimators::boosting::{Columns, Grown, Use, grow};
use retune_metrics::Prediction;
use retune_spec::estimators::GradientBoosting;
use retune_stage::{Quiet, Result, StageError, Target};
use serde_json::{from_value, json};

use super::{Judges, Learner, Matrix, Trained};
use crate::judge::Question;
use crate::trees::Numbers;

/// Rounds of boosting.
const ROUNDS: usize = 100;

pub(super) struct Trees<'a> {
    matrix: &'a Matrix,
    question: Question<'a>,
    rows: &'a [usize],
    /// Of the rows that are learned from.
    target: Target,
    judges: Judges<'a>,
    threads: usize,
}

impl<'a> Trees<'a> {
    pub(super) fn new(
        matrix: &'a Matrix,
        question: Question<'a>,
        rows: &'a [usize],
        judges: Judges<'a>,
        threads: usize,
    ) -> Self {
        Self { matrix, question, rows, target: question.target.take(rows), judges, threads }
    }

    fn said(&self, trees: &Grown, columns: &[usize]) -> Result<Prediction> {
        let judging = self.chosen(columns, self.judges.rows);
        let cells = judging.block(0..judging.n_rows());
        let cells = Array2::from_shape_vec((judging.n_rows(), judging.n_columns()), cells);
        let cells = cells.map_err(|error| StageError::failed(error.to_string()))?;
        Ok(self.linked(trees.raw(cells.view())?))
    }

    fn chosen<'b>(&'b self, columns: &[usize], rows: &'b [usize]) -> Numbers<'b> {
        Numbers::of_slices(columns.iter().map(|&at| self.matrix.column(at)), rows)
    }

    /// What sums of leaves [rows, outputs] say.
    fn linked(&self, mut sums: Array2<f64>) -> Prediction {
        let Target::Classes { n_classes, .. } = self.target else {
            return Prediction::Values(sums.into_iter().collect());
        };
        if sums.ncols() == 1 {
            let probability = |(row, class): (usize, usize)| {
                let sign = if class == 0 { 1.0 } else { -1.0 };
                1.0 / (1.0 + (sign * sums[[row, 0]]).exp())
            };
            return Prediction::Probabilities(Array2::from_shape_fn((sums.nrows(), n_classes), probability));
        }
        for mut row in sums.axis_iter_mut(Axis(0)) {
            let greatest = row.fold(f64::NEG_INFINITY, |greatest, &sum| greatest.max(sum));
            row.mapv_inplace(|sum| (sum - greatest).exp());
            let total = row.sum();
            row /= total;
        }
        Prediction::Probabilities(sums)
    }

    /// What is said without any column.
    fn constant(&self) -> Prediction {
        let n = self.judges.rows.len();
        match &self.target {
            Target::Values(values) => Prediction::Values(vec![values.iter().sum::<f64>() / values.len() as f64; n]),
            Target::Classes { codes, n_classes } => {
                let mut shares = vec![0.0; *n_classes];
                codes.iter().for_each(|&code| shares[code as usize] += 1.0 / codes.len() as f64);
                Prediction::Probabilities(Array2::from_shape_fn((n, *n_classes), |(_, class)| shares[class]))
            }
        }
    }
}

impl Learner for Trees<'_> {
    fn fit(&self, columns: &[usize], _start: Option<&Trained>) -> Result<Trained> {
        let columns = columns.to_vec();
        if columns.is_empty() {
            return Ok(Trained::default());
        }
        let spec: GradientBoosting = from_value(json!({ "trees": ROUNDS }))?;
        let quiet = Quiet(self.question.context.progress);
        let options = FitOptions { threads: self.threads, progress: &quiet, ..FitOptions::of(&self.question.context) };
        let chosen = self.chosen(&columns, self.rows);
        let trees = grow(&spec, &chosen, &self.target, &options)?;
        let said = if self.judges.rows.is_empty() { None } else { Some(self.said(&trees, &columns)?) };
        Ok(Trained { columns, importances: trees.importance(Use::Gain)?, said, ..Trained::default() })
    }

    fn score(&self, trained: &Trained) -> Result<f64> {
        match &trained.said {
            Some(said) => self.judges.score(said),
            None => self.judges.score(&self.constant()),
        }
    }
}
