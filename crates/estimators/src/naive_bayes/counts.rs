//! Naive Bayes for counts and for what is true or false: both weigh columns by the logarithms of their shares within labels.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis};
use retune_metrics::Prediction;
use retune_spec::estimators::{BernoulliNaiveBayes, MultinomialNaiveBayes};
use retune_stage::{Design, LoadDir, Result, SaveDir, StageError, Task};
use serde::{Deserialize, Serialize};

use crate::family::{Family, Learned};
use crate::labels::{Labelled, Seen, stored};
use crate::rows::check_width;
use crate::{FitInfo, FitOptions};

/// The least that is added to a count, below which a share might be zero and its logarithm no number; scikit-learn's bound.
const LEAST_ALPHA: f64 = 1e-10;

/// Shares of counts within labels.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedMultinomialBayes(LogShares);

/// Shares of what is true within labels.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedBernoulliBayes {
    shares: LogShares,
    threshold: f64,
}

/// What both learn: a score of each label that is linear in the features.
#[derive(Clone, Debug, PartialEq)]
struct LogShares {
    seen: Seen,
    /// [labels seen, features].
    slopes: Array2<f64>,
    /// [labels seen, 1].
    starts: Array2<f64>,
}

impl Family for MultinomialNaiveBayes {
    type Learned = FittedMultinomialBayes;

    fn learn(&self, rows: &Design, _task: &Task, _options: &FitOptions) -> Result<(FittedMultinomialBayes, FitInfo)> {
        refuse_negative(rows)?;
        let labelled = Labelled::new(rows)?;
        let counts = labelled.sums(|_, _, value| value) + self.alpha.max(LEAST_ALPHA);
        let totals = counts.sum_axis(Axis(1)).insert_axis(Axis(1));
        let slopes = (counts / totals).mapv(f64::ln);
        let starts = column(labelled.seen.log_priors(self.fit_prior));
        Ok((FittedMultinomialBayes(LogShares { seen: labelled.seen, slopes, starts }), FitInfo::default()))
    }
}

fn refuse_negative(rows: &Design) -> Result<()> {
    let Some(((row, column), value)) = rows.features.indexed_iter().find(|(_, value)| **value < 0.0) else {
        return Ok(());
    };
    let (name, n_rows) = (&rows.names[column], rows.n_rows());
    Err(StageError::data(format!(
        "column `{name}` holds {value} in row {} of {n_rows}, and multinomial_naive_bayes counts",
        row + 1
    ))
    .help("put `min_max_scale` before this stage, or use gaussian_naive_bayes"))
}

impl Family for BernoulliNaiveBayes {
    type Learned = FittedBernoulliBayes;

    fn learn(&self, rows: &Design, _task: &Task, _options: &FitOptions) -> Result<(FittedBernoulliBayes, FitInfo)> {
        let labelled = Labelled::new(rows)?;
        let alpha = self.alpha.max(LEAST_ALPHA);
        let truths = labelled.sums(|_, _, value| truth(value, self.threshold));
        let totals = Array2::from_shape_fn((truths.nrows(), 1), |(place, _)| labelled.totals[place]);
        let of = &totals + 2.0 * alpha;
        let falsehoods = ((&totals - &truths + alpha) / &of).mapv(f64::ln);
        let slopes = ((truths + alpha) / &of).mapv(f64::ln) - &falsehoods;
        let starts =
            column(labelled.seen.log_priors(self.fit_prior)) + falsehoods.sum_axis(Axis(1)).insert_axis(Axis(1));
        let shares = LogShares { seen: labelled.seen, slopes, starts };
        Ok((FittedBernoulliBayes { shares, threshold: self.threshold }, FitInfo::default()))
    }
}

fn truth(value: f64, threshold: f64) -> f64 {
    f64::from(u8::from(value > threshold))
}

fn column(values: Vec<f64>) -> Array2<f64> {
    ArrayView1::from(&values).insert_axis(Axis(1)).to_owned()
}

impl LogShares {
    fn score(&self, features: ArrayView2<f64>, mut scores: ArrayViewMut2<f64>) {
        scores.assign(&self.starts.t());
        general_mat_mul(1.0, &features, &self.slopes.t(), 1.0, &mut scores);
    }

    fn describe(&self, what: &str) -> String {
        format!("shares of {what} in {} features within {} labels", self.slopes.ncols(), self.seen.len())
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.matrices("shares.safetensors", &[("slopes", self.slopes.view()), ("starts", self.starts.view())])
    }

    fn load(seen: Seen, dir: &LoadDir) -> Result<Self> {
        seen.check()?;
        let mut matrices = dir.matrices("shares.safetensors")?;
        let slopes = stored(&mut matrices, "slopes", (seen.len(), None))?;
        let starts = stored(&mut matrices, "starts", (seen.len(), Some(1)))?;
        Ok(Self { seen, slopes, starts })
    }
}

impl Learned for FittedMultinomialBayes {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        let Self(shares) = self;
        check_width(features, shares.slopes.ncols())?;
        Ok(shares.seen.predict(features, |features, scores| shares.score(features, scores)))
    }

    fn describe(&self) -> String {
        self.0.describe("counts")
    }

    fn size(&self) -> usize {
        self.0.slopes.len() + self.0.starts.len()
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("model.json", &self.0.seen)?;
        self.0.save(dir)
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        LogShares::load(dir.json("model.json")?, dir).map(Self)
    }
}

/// What `model.json` says of a [`FittedBernoulliBayes`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    seen: Seen,
    threshold: f64,
}

impl Learned for FittedBernoulliBayes {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        check_width(features, self.shares.slopes.ncols())?;
        Ok(self.shares.seen.predict(features, |features, scores| {
            self.shares.score(features.mapv(|value| truth(value, self.threshold)).view(), scores);
        }))
    }

    fn describe(&self) -> String {
        self.shares.describe("what is true")
    }

    fn size(&self) -> usize {
        self.shares.slopes.len() + self.shares.starts.len()
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("model.json", &Card { seen: self.shares.seen.clone(), threshold: self.threshold })?;
        self.shares.save(dir)
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        let Card { seen, threshold } = dir.json("model.json")?;
        Ok(Self { shares: LogShares::load(seen, dir)?, threshold })
    }
}
