//! Normal distributions with a covariance each.

use faer::Mat;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};
use retune_metrics::Prediction;
use retune_spec::estimators::QuadraticDiscriminant;
use retune_stage::{Design, LoadDir, Result, SaveDir, StageError, Task};

use super::{array, singular};
use crate::family::{Family, Learned};
use crate::labels::{Labelled, Seen, label, stored};
use crate::linear::triangle;
use crate::rows::check_width;
use crate::{FitInfo, FitOptions};

/// Normal distributions with a covariance each.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedQuadraticDiscriminant {
    seen: Seen,
    /// [labels seen, features].
    means: Array2<f64>,
    /// What makes a label's covariance the identity, one after the other [labels seen * features, features].
    whitenings: Array2<f64>,
    /// The score at the mean [labels seen, 1].
    starts: Array2<f64>,
}

impl Family for QuadraticDiscriminant {
    type Learned = FittedQuadraticDiscriminant;

    fn learn(
        &self,
        rows: &Design,
        task: &Task,
        _options: &FitOptions,
    ) -> Result<(FittedQuadraticDiscriminant, FitInfo)> {
        let labelled = Labelled::new(rows)?;
        let means = labelled.means();
        let (mut whitenings, mut starts) = (Vec::new(), Vec::new());
        for (place, members) in labelled.members().iter().enumerate() {
            let (variances, directions) = principal(rows, &labelled, place, members, means.row(place))?;
            let regularized: Vec<f64> =
                variances.iter().map(|variance| (1.0 - self.regularization) * variance + self.regularization).collect();
            let greatest = regularized.iter().fold(0.0, |greatest: f64, &variance| greatest.max(variance));
            let negligible = greatest * f64::EPSILON * members.len().max(variances.len()) as f64;
            let rank = regularized.iter().filter(|&&variance| variance > negligible).count();
            if rank < variances.len() {
                return Err(singular_covariance(labelled.seen.code(place), task, rank, variances.len()));
            }
            let scales: Array1<f64> = regularized.iter().map(|variance| variance.sqrt().recip()).collect();
            whitenings.push(directions * scales);
            let logarithm: f64 = regularized.iter().map(|variance| variance.ln()).sum();
            starts.push(labelled.seen.shares[place].ln() - 0.5 * logarithm);
        }
        let views: Vec<ArrayView2<f64>> = whitenings.iter().map(Array2::view).collect();
        let whitenings = concatenate(Axis(0), &views).map_err(|error| StageError::failed(error.to_string()))?;
        let starts = Array1::from(starts).insert_axis(Axis(1));
        Ok((FittedQuadraticDiscriminant { seen: labelled.seen, means, whitenings, starts }, FitInfo::default()))
    }
}

/// The variances of a label's rows along their principal directions, and these [features, features].
fn principal(
    rows: &Design,
    labelled: &Labelled,
    place: usize,
    members: &[usize],
    mean: ArrayView1<f64>,
) -> Result<(Vec<f64>, Array2<f64>)> {
    let n_features = mean.len();
    let cell = |member: usize, column: usize| {
        let row = members[member];
        (labelled.weight(row) / labelled.totals[place]).sqrt() * (rows.features[[row, column]] - mean[column])
    };
    let triangle = triangle(members.len(), n_features, &cell);
    // Rows of zeros change no singular value, and with them there is a direction for every column.
    let square =
        Mat::from_fn(
            n_features,
            n_features,
            |row, column| {
                if row < triangle.nrows() { triangle[(row, column)] } else { 0.0 }
            },
        );
    let (deviations, directions) = singular(square.as_ref())?;
    let negligible = deviations[0] * f64::EPSILON * members.len().max(n_features) as f64;
    let variance = |&deviation: &f64| if deviation > negligible { deviation * deviation } else { 0.0 };
    Ok((deviations.iter().map(variance).collect(), array(directions.as_ref())))
}

fn singular_covariance(code: usize, task: &Task, rank: usize, n_features: usize) -> StageError {
    let label = label(task, code);
    StageError::data(format!(
        "the rows labelled `{label}` vary in {rank} of {n_features} directions only, and quadratic_discriminant needs all"
    ))
    .help("raise `regularization`, leave out columns that follow from others, or use linear_discriminant")
}

impl Learned for FittedQuadraticDiscriminant {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        let n_features = self.means.ncols();
        check_width(features, n_features)?;
        Ok(self.seen.predict(features, |features, mut scores| {
            let mut white = Array2::zeros(features.dim());
            for (place, mut scores) in scores.columns_mut().into_iter().enumerate() {
                let whitening = self.whitenings.slice(s![place * n_features..(place + 1) * n_features, ..]);
                let centred = &features - &self.means.row(place);
                general_mat_mul(1.0, &centred, &whitening, 0.0, &mut white);
                for (score, row) in scores.iter_mut().zip(white.rows()) {
                    *score = self.starts[[place, 0]] - 0.5 * row.dot(&row);
                }
            }
        }))
    }

    fn describe(&self) -> String {
        let (n_features, labels) = (self.means.ncols(), self.seen.len());
        format!("a quadratic discriminant of {n_features} features and {labels} labels")
    }

    fn size(&self) -> usize {
        self.means.len() + self.whitenings.len() + self.starts.len()
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("model.json", &self.seen)?;
        dir.matrices(
            "covariances.safetensors",
            &[("means", self.means.view()), ("whitenings", self.whitenings.view()), ("starts", self.starts.view())],
        )
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        let seen: Seen = dir.json("model.json")?;
        seen.check()?;
        let mut matrices = dir.matrices("covariances.safetensors")?;
        let means = stored(&mut matrices, "means", (seen.len(), None))?;
        let n_features = means.ncols();
        let whitenings = stored(&mut matrices, "whitenings", (seen.len() * n_features, Some(n_features)))?;
        let starts = stored(&mut matrices, "starts", (seen.len(), Some(1)))?;
        Ok(Self { seen, means, whitenings, starts })
    }
}
