//! `linear_coefficients`: keeps the columns with the greatest coefficients of a linear model.

use ndarray::{Array2, Axis};
use rayon::prelude::*;
use retune_estimators::boosting::Columns;
use retune_estimators::{FitOptions, linear, logistic};
use retune_spec::estimators::LogisticRegression;
use retune_spec::feature_selection::{Choice, LinearCoefficients};
use retune_stage::{Design, Result, StageError, Target};
use serde_json::{from_value, json};

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};
use crate::moments::Moments;
use crate::trees::Numbers;

/// A constant column has coefficient 0.
impl Judge for LinearCoefficients {
    fn score_word(&self) -> &'static str {
        "coefficient"
    }

    fn choice(&self) -> Option<Choice> {
        Some(LinearCoefficients::choice(self))
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let model = Linear::fit(&Numbers::of(features, None)?, question.target, self.l2, question)?;
        let verdict = |column: usize| {
            let coefficients = model.coefficients.column(column);
            if let Some(&coefficient) = coefficients.iter().next().filter(|_| coefficients.len() == 1) {
                return Verdict::scored(coefficient.abs(), format!("has the coefficient {}", shown(coefficient)));
            }
            let norm = coefficients.dot(&coefficients).sqrt();
            Verdict::scored(norm, format!("has coefficients of norm {}", shown(norm)))
        };
        Ok(Judgement { verdicts: (0..features.len()).map(verdict).collect(), note: model.note })
    }
}

/// A logistic (labels) or ridge regression (values) on standardised columns.
pub(crate) struct Linear {
    /// Of the standardised columns [outputs, columns].
    pub(crate) coefficients: Array2<f64>,
    pub(crate) intercepts: Vec<f64>,
    pub(crate) scales: Vec<Scale>,
    /// What the user should know.
    pub(crate) note: Option<String>,
}

/// What makes a column's mean 0 and its variance 1; a constant column becomes 0.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    mean: f64,
    /// 0 for a constant column.
    factor: f64,
}

impl Scale {
    pub(crate) fn of(values: &[f64]) -> Self {
        let moments = Moments::of(values);
        let deviation = moments.variance(values.len()).sqrt();
        // What rounding the mean leaves of a constant column is no deviation.
        let factor = if deviation > 1e-12 * moments.mean.abs() { deviation.recip() } else { 0.0 };
        Self { mean: moments.mean, factor }
    }

    pub(crate) fn turn(self, value: f64) -> f64 {
        (value - self.mean) * self.factor
    }
}

impl Linear {
    pub(crate) fn fit(columns: &Numbers, target: &Target, l2: f64, question: &Question) -> Result<Self> {
        let (n_rows, n_columns) = (columns.n_rows(), columns.n_columns());
        let rows: Vec<usize> = (0..n_rows).collect();
        let scale = |column| Scale::of(&columns.at(column, &rows));
        let scales: Vec<Scale> = (0..n_columns).into_par_iter().map(scale).collect();
        let mut cells = columns.block(0..n_rows);
        let turn = |row: &mut [f64]| row.iter_mut().zip(&scales).for_each(|(cell, scale)| *cell = scale.turn(*cell));
        cells.par_chunks_mut(n_columns).for_each(turn);
        let features = Array2::from_shape_vec((n_rows, n_columns), cells);
        let features = features.map_err(|error| StageError::failed(error.to_string()))?;
        let names = (0..n_columns).map(|column| column.to_string()).collect();
        let design = Design { features, names, target: Some(target.clone()), ..Design::default() };
        if let Target::Values(_) = target {
            let model = linear::LeastSquares::new(&design)?.solve(l2);
            let coefficients = ndarray::Array1::from(model.coefficients).insert_axis(Axis(0));
            return Ok(Self { coefficients, intercepts: vec![model.intercept], scales, note: None });
        }
        let spec: LogisticRegression =
            from_value(json!({ "l2": l2, "tolerance": 1e-8, "max_iterations": MAX_ITERATIONS }))?;
        let (model, _) = logistic::fit(&spec, &design, &FitOptions::of(&question.context))?;
        let (_, converged) = model.search();
        let note = || format!("the logistic regression did not converge in {MAX_ITERATIONS} iterations; raise `l2`");
        let note = (!converged).then(note);
        Ok(Self { coefficients: model.coefficients, intercepts: model.intercepts.to_vec(), scales, note })
    }
}

const MAX_ITERATIONS: usize = 1000;
