//! Normal distributions with one covariance: scores that are linear in the features.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use retune_metrics::Prediction;
use retune_spec::estimators::{LinearDiscriminant, Shrinkage, ShrinkageRule};
use retune_stage::{Design, LoadDir, Result, SaveDir, StageError, Task};

use super::covariance::{ledoit_wolf, pooled, shrink, solve};
use super::{array, singular};
use crate::family::{Family, Learned};
use crate::labels::{Labelled, Seen, stored};
use crate::linear::triangle;
use crate::rows::check_width;
use crate::{FitInfo, FitOptions};

/// Singular values up to this, relative to the deviation of a column, are zero: scikit-learn's `tol`.
const NEGLIGIBLE: f64 = 1e-4;

/// Normal distributions with one covariance.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedLinearDiscriminant {
    seen: Seen,
    /// [labels seen, features].
    coefficients: Array2<f64>,
    /// [labels seen, 1].
    intercepts: Array2<f64>,
}

/// Coefficients, intercepts and of how many columns they are, as far as these vary independently.
type Lines = (Array2<f64>, Array1<f64>, usize);

impl Family for LinearDiscriminant {
    type Learned = FittedLinearDiscriminant;

    fn learn(&self, rows: &Design, _task: &Task, _options: &FitOptions) -> Result<(FittedLinearDiscriminant, FitInfo)> {
        let labelled = Labelled::new(rows)?;
        let means = labelled.means();
        let (coefficients, intercepts, rank) = match self.shrinkage {
            Shrinkage::Rule(ShrinkageRule::None) => by_singular_values(rows, &labelled, &means)?,
            Shrinkage::Share(share) => solved(&shrink(pooled(rows, &labelled, &means), share), &labelled, &means)?,
            Shrinkage::Rule(ShrinkageRule::Auto) => solved(&ledoit_wolf(rows, &labelled, &means), &labelled, &means)?,
        };
        let mut info = FitInfo::default();
        let n_features = means.ncols();
        if rank < n_features {
            info.notes.push(format!(
                "of {n_features} columns only {rank} vary within labels independently of each other; linear_discriminant leaves the other directions out"
            ));
        }
        let intercepts = intercepts.insert_axis(Axis(1));
        Ok((FittedLinearDiscriminant { seen: labelled.seen, coefficients, intercepts }, info))
    }
}

/// scikit-learn's solver `svd`: no covariance is computed, so that nothing is lost by squaring.
fn by_singular_values(rows: &Design, labelled: &Labelled, means: &Array2<f64>) -> Result<Lines> {
    let members = labelled.members();
    let n_rows: usize = members.iter().map(Vec::len).sum();
    let n_labels = members.len();
    if n_rows <= n_labels {
        return Err(StageError::data(format!(
            "{n_rows} rows of {n_labels} labels do not tell how rows of a label vary"
        ))
        .help("set `shrinkage: auto`, or give more rows"));
    }
    let shares = Array1::from(labelled.seen.shares.clone());
    let center = shares.dot(means);
    let within = labelled.variances(means);
    let variances = shares.dot(&within);
    let greatest = means.fold_axis(Axis(0), 0.0, |greatest: &f64, mean| greatest.max(mean.abs()));
    // What rounding the means leaves of a column that is constant within labels is no deviation.
    let deviation = |(variance, greatest): (&f64, &f64)| {
        let deviation = variance.sqrt();
        if deviation > 1e-12 * greatest { deviation } else { 1.0 }
    };
    let deviations: Array1<f64> = variances.iter().zip(&greatest).map(deviation).collect();

    let total: f64 = labelled.totals.iter().sum();
    let places: Vec<(usize, usize)> =
        members.iter().enumerate().flat_map(|(place, rows)| rows.iter().map(move |&row| (row, place))).collect();
    let cell = |at: usize, column: usize| {
        let (row, place) = places[at];
        let apart = rows.features[[row, column]] - means[[place, column]];
        (labelled.weight(row) / total).sqrt() * apart / deviations[column]
    };
    let (values, directions) = singular(triangle(n_rows, means.ncols(), &cell).as_ref())?;
    let rank = values.iter().filter(|&&value| value > NEGLIGIBLE).count();
    let scaling = |(column, vector): (usize, usize)| directions[(column, vector)] / deviations[column] / values[vector];
    let scalings = Array2::from_shape_fn((means.ncols(), rank), scaling); // [features, rank]

    let apart = means - &center;
    let weighted = &apart * &shares.mapv(f64::sqrt).insert_axis(Axis(1));
    let between = weighted.dot(&scalings); // [labels, rank]
    let between = faer::Mat::from_fn(between.nrows(), rank, |row, column| between[[row, column]]);
    let (values, directions) = singular(between.as_ref())?;
    let greatest = values.first().copied().unwrap_or(0.0);
    let kept = values.iter().filter(|&&value| value > NEGLIGIBLE * greatest).count();
    let scalings = scalings.dot(&array(directions.get(.., ..kept))); // [features, kept]

    let scores = apart.dot(&scalings);
    let coefficients = scores.dot(&scalings.t());
    let priors = Array1::from(labelled.seen.log_priors(true));
    let intercepts = priors - 0.5 * (&scores * &scores).sum_axis(Axis(1)) - coefficients.dot(&center);
    Ok((coefficients, intercepts, rank))
}

/// scikit-learn's solver `lsqr` for a covariance within labels.
fn solved(covariance: &Array2<f64>, labelled: &Labelled, means: &Array2<f64>) -> Result<Lines> {
    let (coefficients, rank) = solve(covariance, means)?;
    let priors = Array1::from(labelled.seen.log_priors(true));
    let intercepts = priors - 0.5 * (means * &coefficients).sum_axis(Axis(1));
    Ok((coefficients, intercepts, rank))
}

impl Learned for FittedLinearDiscriminant {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        check_width(features, self.coefficients.ncols())?;
        Ok(self.seen.predict(features, |features, mut scores| {
            scores.assign(&self.intercepts.t());
            general_mat_mul(1.0, &features, &self.coefficients.t(), 1.0, &mut scores);
        }))
    }

    fn describe(&self) -> String {
        let (n_features, labels) = (self.coefficients.ncols(), self.seen.len());
        format!("a linear discriminant of {n_features} features and {labels} labels")
    }

    fn size(&self) -> usize {
        self.coefficients.len() + self.intercepts.len()
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("model.json", &self.seen)?;
        let matrices = [("coefficients", self.coefficients.view()), ("intercepts", self.intercepts.view())];
        dir.matrices("coefficients.safetensors", &matrices)
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        let seen: Seen = dir.json("model.json")?;
        seen.check()?;
        let mut matrices = dir.matrices("coefficients.safetensors")?;
        let coefficients = stored(&mut matrices, "coefficients", (seen.len(), None))?;
        let intercepts = stored(&mut matrices, "intercepts", (seen.len(), Some(1)))?;
        Ok(Self { seen, coefficients, intercepts })
    }
}
