//! Naive Bayes with normal distributions.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use retune_metrics::Prediction;
use retune_spec::estimators::GaussianNaiveBayes;
use retune_stage::{Design, LoadDir, Result, SaveDir, StageError, Task};

use crate::family::{Family, Learned};
use crate::labels::{Labelled, Seen, label, stored};
use crate::rows::{check_width, moments};
use crate::{FitInfo, FitOptions};

/// Numbers that are summed on their own.
const LANES: usize = 8;

/// Normal distributions of columns within labels.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedGaussianBayes {
    seen: Seen,
    /// [labels seen, features].
    means: Array2<f64>,
    /// [labels seen, features].
    variances: Array2<f64>,
}

impl Family for GaussianNaiveBayes {
    type Learned = FittedGaussianBayes;

    fn learn(&self, rows: &Design, task: &Task, _options: &FitOptions) -> Result<(FittedGaussianBayes, FitInfo)> {
        let labelled = Labelled::new(rows)?;
        let means = labelled.means();
        let (_, of_columns) = moments(rows.features.view(), None);
        let added = self.variance_smoothing * of_columns.fold(0.0, |greatest: f64, &variance| greatest.max(variance));
        let variances = labelled.variances(&means) + added;
        match variances.indexed_iter().find(|(_, variance)| **variance <= 0.0) {
            Some(((place, column), _)) => Err(constant(&rows.names[column], labelled.seen.code(place), task)),
            None => Ok((FittedGaussianBayes { seen: labelled.seen, means, variances }, FitInfo::default())),
        }
    }
}

fn constant(column: &str, code: usize, task: &Task) -> StageError {
    let label = label(task, code);
    StageError::data(format!(
        "column `{column}` has one value only in the rows labelled `{label}`, so that no other is possible there"
    ))
    .help("raise `variance_smoothing`, or leave out columns that are constant: `constant` in feature selection")
}

/// The sum of squared differences, each times its precision; in lanes, so that the processor need not wait for each addition.
fn distance(row: ArrayView1<f64>, means: ArrayView1<f64>, precisions: ArrayView1<f64>) -> f64 {
    let term = |((value, mean), precision): ((&f64, &f64), &f64)| (value - mean) * (value - mean) * precision;
    let mut lanes = [0.0; LANES];
    let terms = row.iter().zip(means).zip(precisions).map(term);
    terms.enumerate().for_each(|(column, term)| lanes[column % LANES] += term);
    lanes.iter().sum()
}

impl Learned for FittedGaussianBayes {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        check_width(features, self.means.ncols())?;
        let precisions = self.variances.mapv(f64::recip);
        let logarithms = self.variances.mapv(|variance| (std::f64::consts::TAU * variance).ln()).sum_axis(Axis(1));
        let priors = self.seen.log_priors(true);
        Ok(self.seen.predict(features, |features, mut scores| {
            for (place, mut scores) in scores.columns_mut().into_iter().enumerate() {
                let (means, precisions) = (self.means.row(place), precisions.row(place));
                let start = priors[place] - 0.5 * logarithms[place];
                for (score, row) in scores.iter_mut().zip(features.rows()) {
                    *score = start - 0.5 * distance(row, means, precisions);
                }
            }
        }))
    }

    fn describe(&self) -> String {
        format!("normal distributions of {} features within {} labels", self.means.ncols(), self.seen.len())
    }

    fn size(&self) -> usize {
        self.means.len() + self.variances.len()
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("model.json", &self.seen)?;
        dir.matrices("moments.safetensors", &[("means", self.means.view()), ("variances", self.variances.view())])
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        let seen: Seen = dir.json("model.json")?;
        seen.check()?;
        let mut matrices = dir.matrices("moments.safetensors")?;
        let means = stored(&mut matrices, "means", (seen.len(), None))?;
        let variances = stored(&mut matrices, "variances", (seen.len(), Some(means.ncols())))?;
        Ok(Self { seen, means, variances })
    }
}
