//! `pca`.

use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{ColMut, Mat, MatRef};
use retune_spec::preprocessing::{Pca, PcaSolver};
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::outline::Outline;
use crate::projection::{
    Projection, applied_as, component_names, flip_signs, leading, matrix, share_text, too_large, too_many, whitening,
};
use crate::range_finder;
use crate::scatter::Scatter;
use crate::source::Source;
use crate::step::{FitStep, Learnt};

/// The covariance of more columns is refused: it would take more than 3 GB, and days to decompose.
const MOST_COLUMNS: usize = 20_000;

/// The means and the leading directions.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedPca {
    #[serde(flatten)]
    projection: Projection,
    explained_variance: Vec<f64>,
    explained_variance_ratio: Vec<f64>,
    #[serde(default)]
    singular_values: Vec<f64>,
}

impl FitStep for Pca {
    type Fitted = FittedPca;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        let components = self.components;
        if components <= 0.0 || (components > 1.0 && components.fract() != 0.0) {
            return Err(StageError::data(format!(
                "`components: {components}` is neither a number of components nor a share of variance"
            ))
            .help("give a whole number, 1 or more, or a share below 1"));
        }
        if components < 1.0 && self.solver == PcaSolver::Randomized {
            return Err(StageError::data(format!(
                "`components: {components}` is a share of variance, which `solver: randomized` cannot keep: it does not find all components"
            ))
            .help("give a number of components, or take `solver: exact`"));
        }
        if self.iterations.is_some() && self.solver == PcaSolver::Exact {
            return Err(StageError::data("`iterations` are those of `solver: randomized`")
                .help("leave `iterations` out, or add `solver: randomized`"));
        }
        if components < 1.0 {
            refuse_no_columns(columns)?;
            outline.remove(columns);
            outline.add_open(&format!("{}_", self.prefix), Kind::Numeric);
            return Ok(());
        }
        check_columns(columns, components as usize, &self.prefix, outline)
    }

    fn fit(&self, source: &Source, columns: &[String], context: &FitContext) -> Result<Learnt<FittedPca>> {
        let n_rows = source.n_rows();
        if n_rows < 2 {
            return Err(StageError::data("components need at least 2 training rows"));
        }
        if self.components > n_rows as f64 {
            return Err(too_many(self.components, n_rows, "training rows"));
        }
        let parts = match self.solver {
            PcaSolver::Exact if n_rows < columns.len() => from_few_rows(source, columns)?,
            PcaSolver::Exact => from_covariance(source, columns)?,
            PcaSolver::Randomized => randomized(self, source, columns, context)?,
        };
        let n_components = n_components(self.components, &parts);
        let fitted = FittedPca::new(source, columns, &self.prefix, parts, n_components, self.whiten);
        Ok(Learnt::applied(fitted.0, fitted.1))
    }
}

/// The leading components only.
fn randomized(step: &Pca, source: &Source, columns: &[String], context: &FitContext) -> Result<Parts> {
    let (centred, means) = centred(source, columns)?;
    let (n_rows, n_components) = (centred.nrows(), step.components as usize);
    // scikit-learn's choice: few components of many need more iterations to be told apart.
    let few = 10 * n_components < n_rows.min(columns.len());
    let n_iterations = step.iterations.unwrap_or(if few { 7 } else { 4 });
    let (directions, singular_values) =
        range_finder::decompose(&centred.as_ref(), n_components, n_iterations, context.seed.0)?;
    let total = centred.col_iter().map(|column| column.squared_norm_l2()).sum::<f64>() / (n_rows - 1) as f64;
    let variances = singular_values.iter().map(|value| value * value / (n_rows - 1) as f64).collect();
    Ok(Parts { means, n_rows, variances, total, directions })
}

/// Components, as many as were found.
pub(crate) struct Parts {
    pub(crate) means: Vec<f64>,
    pub(crate) n_rows: usize,
    /// The variance along each (divided by the number of rows less one), in descending order.
    pub(crate) variances: Vec<f64>,
    /// The variance of all columns.
    pub(crate) total: f64,
    /// As columns.
    pub(crate) directions: Mat<f64>,
}

/// Takes columns from the outline and adds components in their place.
pub(crate) fn check_columns(
    columns: &[String],
    n_components: usize,
    prefix: &str,
    outline: &mut Outline,
) -> Result<()> {
    refuse_no_columns(columns)?;
    if Outline::is_closed(columns) && n_components > columns.len() {
        return Err(too_many(n_components, columns.len(), "columns"));
    }
    outline.remove(columns);
    component_names(prefix, n_components).into_iter().try_for_each(|name| outline.add(name, Kind::Numeric))
}

fn refuse_no_columns(columns: &[String]) -> Result<()> {
    if columns.is_empty() {
        return Err(StageError::data("there is no column to take components of").help("choose other `columns`"));
    }
    Ok(())
}

/// The number asked for, or as many as it takes to hold more than the share asked for.
fn n_components(asked: f64, parts: &Parts) -> usize {
    if asked >= 1.0 {
        return asked as usize;
    }
    let mut held = 0.0;
    let enough = parts.variances.iter().position(|variance| {
        held += variance / parts.total;
        held > asked
    });
    // Constant columns have no variance to hold a share of.
    enough.map_or(1, |last| last + 1)
}

fn from_covariance(source: &Source, columns: &[String]) -> Result<Parts> {
    if columns.len() > MOST_COLUMNS {
        return Err(StageError::data(format!(
            "the covariance of {} columns is too large ({MOST_COLUMNS} at most)",
            columns.len()
        ))
        .help("take `solver: randomized`, `incremental_pca`, or `random_projection` before"));
    }
    let Scatter { n_rows, means, products } = Scatter::of(source, columns)?;
    if !products.all_finite() {
        return Err(too_large("principal components"));
    }
    let (squares, mut directions) = products.eigen()?;
    flip_signs(&mut directions);
    let variances: Vec<f64> = squares.iter().map(|squares| squares / (n_rows - 1) as f64).collect();
    Ok(Parts { means, n_rows, total: variances.iter().sum(), variances, directions })
}

/// With fewer rows than columns the covariance would be the larger matrix.
fn from_few_rows(source: &Source, columns: &[String]) -> Result<Parts> {
    let (centred, means) = centred(source, columns)?;
    let (values, mut directions) = right_singular(centred.as_ref())?;
    flip_signs(&mut directions);
    let degrees = (centred.nrows() - 1) as f64;
    let variances: Vec<f64> = values.iter().map(|value| value * value / degrees).collect();
    Ok(Parts { means, n_rows: centred.nrows(), total: variances.iter().sum(), variances, directions })
}

/// All rows with the columns' means subtracted, and the means.
fn centred(source: &Source, columns: &[String]) -> Result<(Mat<f64>, Vec<f64>)> {
    let mut rows = matrix(source, columns)?;
    let n_rows = rows.nrows();
    let centre = |mut column: ColMut<f64>| {
        let mean = column.rb().iter().sum::<f64>() / n_rows as f64;
        column.rb_mut().iter_mut().for_each(|cell| *cell -= mean);
        mean
    };
    let means = rows.col_iter_mut().map(centre).collect();
    if !rows.is_all_finite() {
        return Err(too_large("principal components"));
    }
    Ok((rows, means))
}

/// The singular values in descending order and the right singular vectors as columns.
pub(crate) fn right_singular(matrix: MatRef<f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let svd = matrix
        .thin_svd()
        .map_err(|error| StageError::failed(format!("the singular value decomposition failed: {error:?}")))?;
    Ok((svd.S().column_vector().iter().copied().collect(), svd.V().to_owned()))
}

impl FittedPca {
    /// The leading components, and what is said of them.
    pub(crate) fn new(
        source: &Source,
        columns: &[String],
        prefix: &str,
        parts: Parts,
        n_components: usize,
        whiten: bool,
    ) -> (Self, String) {
        let Parts { means, n_rows, mut variances, total, directions } = parts;
        variances.truncate(n_components);
        let ratio = |variance: &f64| if total > 0.0 { variance / total } else { 0.0 };
        let text = share_text(n_components, columns.len(), variances.iter().sum(), total);
        // Divided by the components' standard deviations where they are whitened.
        let directions = leading(&directions, &whitening(&variances, whiten));
        let fitted = Self {
            projection: Projection::new(source, columns, prefix, means, directions),
            explained_variance_ratio: variances.iter().map(ratio).collect(),
            singular_values: variances.iter().map(|variance| (variance * (n_rows - 1) as f64).sqrt()).collect(),
            explained_variance: variances,
        };
        (fitted, text)
    }
}

applied_as!(FittedPca, projection);
