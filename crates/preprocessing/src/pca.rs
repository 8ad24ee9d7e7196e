//! `pca`.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use ndarray::Array2;
use rayon::prelude::*;
use retune_spec::preprocessing::Pca;
use retune_stage::{FitContext, Kind, LoadDir, Result, SaveDir, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, common_origin, score_columns};
use crate::outline::Outline;
use crate::projection::{component_names, flip_signs, read_matrix, share_text};
use crate::step::{ApplyStep, FitStep, Learnt};

/// Columns of the covariance per unit of parallel work: each is summed over all rows in one piece, whatever the number of threads.
const PANEL: usize = 64;

/// Rows per unit of parallel work when projecting. A block is always filled up, so that a row's bits do not depend on the rows beside it.
const BLOCK: usize = 64;

/// The means and the leading directions.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedPca {
    columns: Vec<String>,
    names: Vec<String>,
    origin: Option<String>,
    means: Vec<f64>,
    explained_variance: Vec<f64>,
    explained_variance_ratio: Vec<f64>,
    /// [columns, components]; divided by the components' standard deviations where they are whitened.
    #[serde(skip)]
    directions: Array2<f64>,
}

impl FitStep for Pca {
    type Fitted = FittedPca;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if self.components <= 0.0 || (self.components > 1.0 && self.components.fract() != 0.0) {
            return Err(StageError::data(format!(
                "`components: {}` is neither a number of components nor a share of variance",
                self.components
            ))
            .help("give a whole number, 1 or more, or a share below 1"));
        }
        let known = Outline::is_closed(columns);
        if known && columns.is_empty() {
            return Err(StageError::data("there is no column to take components of").help("choose other `columns`"));
        }
        if known && self.components > columns.len() as f64 {
            return Err(too_many(self.components, columns.len(), "columns"));
        }
        outline.remove(columns);
        if self.components < 1.0 {
            outline.add_open(&format!("{}_", self.prefix), Kind::Numeric);
            return Ok(());
        }
        component_names(&self.prefix, self.components as usize)
            .into_iter()
            .try_for_each(|name| outline.add(name, Kind::Numeric))
    }

    fn fit(&self, frame: &Frame, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedPca>> {
        let n_rows = frame.n_rows();
        if n_rows < 2 {
            return Err(StageError::data("components need at least 2 training rows"));
        }
        if self.components > n_rows as f64 {
            return Err(too_many(self.components, n_rows, "training rows"));
        }
        let (centred, means) = centre(frame, columns)?;
        let (variances, mut directions) = decompose(&centred, n_rows, columns.len())?;
        flip_signs(&mut directions);
        let total: f64 = variances.iter().sum();
        let ratio = |variance: &f64| if total > 0.0 { variance / total } else { 0.0 };
        let ratios: Vec<f64> = variances.iter().map(ratio).collect();
        let n_components = n_components(self.components, &ratios);
        let variances = &variances[..n_components];
        let factors: Vec<f64> =
            variances.iter().map(|variance| if self.whiten { whitening(*variance, variances) } else { 1.0 }).collect();
        let directions = Array2::from_shape_fn((columns.len(), n_components), |(row, column)| {
            directions[(row, column)] * factors[column]
        });
        let fitted = FittedPca {
            names: component_names(&self.prefix, n_components),
            origin: common_origin(frame.table.schema(), columns),
            columns: columns.to_vec(),
            means,
            explained_variance: variances.to_vec(),
            explained_variance_ratio: ratios[..n_components].to_vec(),
            directions,
        };
        let text = share_text(n_components, columns.len(), variances.iter().sum(), total);
        Learnt::applied(fitted, frame, text)
    }
}

/// The number asked for, or as many as it takes to hold more than the share asked for.
fn n_components(asked: f64, ratios: &[f64]) -> usize {
    if asked >= 1.0 {
        return asked as usize;
    }
    let mut held = 0.0;
    let enough = ratios.iter().position(|ratio| {
        held += ratio;
        held > asked
    });
    // Constant columns have no variance to hold a share of.
    enough.map_or(1, |last| last + 1)
}

impl ApplyStep for FittedPca {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let columns: Vec<Vec<f64>> = self.columns.par_iter().map(|name| frame.complete(name)).collect::<Result<_>>()?;
        let scores = self.project(&columns, frame.n_rows());
        frame.remove(&self.columns)?.append(score_columns(&self.names, self.origin.as_deref(), &scores))
    }

    fn save(&self, dir: &SaveDir, file: &str) -> Result<()> {
        dir.matrices(file, &[("directions", self.directions.view())])
    }

    fn load(&mut self, dir: &LoadDir, file: &str) -> Result<()> {
        self.directions = read_matrix(dir, file, "directions", [self.columns.len(), self.names.len()])?;
        Ok(())
    }
}

impl FittedPca {
    /// The scores [rows, components] in row order.
    fn project(&self, columns: &[Vec<f64>], n_rows: usize) -> Vec<f64> {
        let (n_columns, width) = (columns.len(), self.names.len());
        let directions = self.directions.as_slice().unwrap_or_default();
        let directions = MatRef::from_row_major_slice(directions, n_columns, width);
        let mut scores = vec![0.0; n_rows * width];
        scores.par_chunks_mut(BLOCK * width).enumerate().for_each(|(block, scores)| {
            let rows = block * BLOCK..(block * BLOCK + scores.len() / width);
            let mut centred = vec![0.0; BLOCK * n_columns];
            for ((cells, column), mean) in centred.chunks_exact_mut(BLOCK).zip(columns).zip(&self.means) {
                cells.iter_mut().zip(&column[rows.clone()]).for_each(|(cell, value)| *cell = value - mean);
            }
            let mut product = vec![0.0; BLOCK * width];
            let centred = MatRef::from_column_major_slice(&centred, BLOCK, n_columns);
            matmul(
                MatMut::from_row_major_slice_mut(&mut product, BLOCK, width),
                Accum::Replace,
                centred,
                directions,
                1.0,
                Par::Seq,
            );
            scores.copy_from_slice(&product[..scores.len()]);
        });
        scores
    }
}

/// The columns with their means subtracted, one after the other, and the means.
fn centre(frame: &Frame, columns: &[String]) -> Result<(Vec<f64>, Vec<f64>)> {
    let n_rows = frame.n_rows();
    let mut centred = vec![0.0; n_rows * columns.len()];
    let centre = |(cells, name): (&mut [f64], &String)| {
        let values = frame.complete(name)?;
        let mean = values.iter().sum::<f64>() / n_rows as f64;
        cells.iter_mut().zip(values).for_each(|(cell, value)| *cell = value - mean);
        Ok(mean)
    };
    let means: Vec<f64> = centred.par_chunks_mut(n_rows).zip(columns).map(centre).collect::<Result<_>>()?;
    Ok((centred, means))
}

/// The variance along each principal direction (divided by the number of rows less one), in descending order, and the directions as columns.
fn decompose(centred: &[f64], n_rows: usize, n_columns: usize) -> Result<(Vec<f64>, Mat<f64>)> {
    let matrix = MatRef::from_column_major_slice(centred, n_rows, n_columns);
    let degrees = (n_rows - 1) as f64;
    let too_large = || {
        StageError::data("the numbers are too large for principal components")
            .help("scale the columns before: `standard_scale`")
    };
    if n_rows < n_columns {
        // Fewer rows than columns: the covariance would be the larger matrix.
        if !matrix.is_all_finite() {
            return Err(too_large());
        }
        let svd = matrix
            .thin_svd()
            .map_err(|error| StageError::failed(format!("the singular value decomposition failed: {error:?}")))?;
        let variances = svd.S().column_vector().iter().map(|value| value * value / degrees).collect();
        return Ok((variances, svd.V().to_owned()));
    }
    let mut covariance = vec![0.0; n_columns * n_columns];
    covariance.par_chunks_mut(PANEL * n_columns).enumerate().for_each(|(panel, cells)| {
        let (first, width) = (panel * PANEL, cells.len() / n_columns);
        // The lower triangle is enough.
        let cells = MatMut::from_column_major_slice_mut(cells, n_columns, width).subrows_mut(first, n_columns - first);
        let below = matrix.subcols(first, n_columns - first).transpose();
        matmul(cells, Accum::Replace, below, matrix.subcols(first, width), 1.0 / degrees, Par::Seq);
    });
    if !covariance.iter().all(|value| value.is_finite()) {
        return Err(too_large());
    }
    let covariance = MatRef::from_column_major_slice(&covariance, n_columns, n_columns);
    let eigen = covariance
        .self_adjoint_eigen(Side::Lower)
        .map_err(|error| StageError::failed(format!("the eigenvalue decomposition failed: {error:?}")))?;
    // Ascending, and slightly negative where the true value is zero.
    let variances = eigen.S().column_vector().iter().rev().map(|value| value.max(0.0)).collect();
    Ok((variances, eigen.U().reverse_cols().to_owned()))
}

/// What makes a component's standard deviation 1. A component that is rounding error only becomes 0 instead of noise.
fn whitening(variance: f64, variances: &[f64]) -> f64 {
    let greatest = variances.first().copied().unwrap_or(0.0);
    if variance > greatest * f64::EPSILON * variances.len() as f64 { 1.0 / variance.sqrt() } else { 0.0 }
}

fn too_many(n_components: f64, available: usize, of_what: &str) -> StageError {
    StageError::data(format!("`components: {n_components}` is more than the {available} {of_what}"))
        .help("lower `components`")
}
