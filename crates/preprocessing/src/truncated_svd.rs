//! `truncated_svd`.

use std::collections::HashMap;

use faer::{Mat, MatRef};
use ndarray::Array2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use retune_spec::preprocessing::TruncatedSvd;
use retune_stage::{FitContext, Kind, LoadDir, Result, SaveDir, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, SparseBlock, common_origin, score_columns};
use crate::outline::Outline;
use crate::projection::{component_names, flip_signs, read_matrix, share_text, variance};
use crate::sparse::Csr;
use crate::step::{ApplyStep, FitStep, Learnt};

/// Random directions beyond those asked for, which make the leading ones exact (as in scikit-learn).
const OVERSAMPLES: usize = 10;

/// The leading right singular vectors.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedTruncatedSvd {
    columns: Vec<String>,
    names: Vec<String>,
    origin: Option<String>,
    singular_values: Vec<f64>,
    /// [columns, components]
    #[serde(skip)]
    directions: Array2<f64>,
}

impl FitStep for TruncatedSvd {
    type Fitted = FittedTruncatedSvd;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];
    const SPARSE: bool = true;

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if Outline::is_closed(columns) && self.components > columns.len() {
            return Err(too_many(self.components, columns.len(), "columns"));
        }
        outline.remove(columns);
        component_names(&self.prefix, self.components).into_iter().try_for_each(|name| outline.add(name, Kind::Numeric))
    }

    fn fit(&self, frame: &Frame, columns: &[String], context: &FitContext) -> Result<Learnt<FittedTruncatedSvd>> {
        let matrix = gather(frame, columns)?;
        if self.components > matrix.n_rows() {
            return Err(too_many(self.components, matrix.n_rows(), "training rows"));
        }
        let (directions, singular_values) = decompose(&matrix, self.components, self.iterations, context.seed.0)?;
        let origin = common_origin(&frame.schema(), columns);
        let names = component_names(&self.prefix, self.components);
        let scores = matrix.multiply(&directions, self.components);
        let kept: f64 = variance(&scores, self.components).iter().sum();
        let text = share_text(self.components, columns.len(), kept, matrix.total_variance());
        let train = frame.remove(columns)?.append(score_columns(&names, origin.as_deref(), &scores))?;
        let directions = Array2::from_shape_vec((columns.len(), self.components), directions);
        let directions = directions.map_err(|error| StageError::failed(error.to_string()))?;
        let fitted = FittedTruncatedSvd { columns: columns.to_vec(), names, origin, singular_values, directions };
        Ok(Learnt { fitted, train, text })
    }
}

impl ApplyStep for FittedTruncatedSvd {
    fn dense_columns(&self) -> &[String] {
        &[]
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let directions = self.directions.as_slice().unwrap_or_default();
        let scores = gather(frame, &self.columns)?.multiply(directions, self.names.len());
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

/// The columns as one sparse matrix, whether they are sparse or not.
fn gather(frame: &Frame, columns: &[String]) -> Result<Csr> {
    let place: HashMap<&str, u32> =
        columns.iter().enumerate().map(|(index, name)| (name.as_str(), index as u32)).collect();
    let in_table = columns.iter().filter(|name| frame.table.schema().field(name).is_some());
    let dense: Vec<(u32, Vec<f64>)> =
        in_table.map(|name| Ok((place[name.as_str()], frame.complete(name)?))).collect::<Result<_>>()?;
    let places = |block: &SparseBlock| -> Vec<Option<u32>> {
        block.fields.iter().map(|field| place.get(field.name.as_str()).copied()).collect()
    };
    let sparse: Vec<(&Csr, Vec<Option<u32>>)> =
        frame.sparse.iter().map(|block| (&block.matrix, places(block))).collect();
    let n_found = dense.len() + sparse.iter().flat_map(|(_, places)| places).flatten().count();
    if n_found < columns.len() {
        return Err(StageError::failed("columns that the step was fitted on are not there"));
    }
    let mut matrix = Csr::empty(columns.len());
    for row in 0..frame.n_rows() {
        let dense = dense.iter().map(|(place, values)| (*place, values[row])).filter(|(_, value)| *value != 0.0);
        let sparse = sparse.iter().flat_map(|(matrix, places)| {
            matrix.row(row).filter_map(|(column, value)| Some((places[column as usize]?, value)))
        });
        matrix.push_row(dense.chain(sparse));
    }
    Ok(matrix)
}

/// The leading right singular vectors [columns, components] in row order, and their singular values: the randomised range finder of Halko,
/// Martinsson and Tropp (2011), each product made orthonormal so that small singular values are not lost.
fn decompose(matrix: &Csr, n_components: usize, n_iterations: usize, seed: u64) -> Result<(Vec<f64>, Vec<f64>)> {
    let transposed = matrix.transpose();
    let width = (n_components + OVERSAMPLES).min(matrix.n_rows()).min(matrix.n_columns);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut directions: Vec<f64> = StandardNormal.sample_iter(&mut random).take(matrix.n_columns * width).collect();
    for _ in 0..n_iterations {
        let range = orthonormal(&matrix.multiply(&directions, width), width);
        directions = orthonormal(&transposed.multiply(&range, width), width);
    }
    let range = orthonormal(&matrix.multiply(&directions, width), width);
    let small = transposed.multiply(&range, width); // [columns, width]: the matrix seen from its range
    let small = MatRef::from_row_major_slice(&small, matrix.n_columns, width);
    if !small.is_all_finite() {
        return Err(StageError::data("the numbers are too large to decompose").help("scale the columns before"));
    }
    let svd = small
        .thin_svd()
        .map_err(|error| StageError::failed(format!("the singular value decomposition failed: {error:?}")))?;
    let mut vectors = svd.U().subcols(0, n_components).to_owned();
    flip_signs(&mut vectors);
    let values = svd.S().column_vector().iter().take(n_components).copied().collect();
    let in_rows = (0..vectors.nrows()).flat_map(|row| (0..n_components).map(move |column| (row, column)));
    Ok((in_rows.map(|(row, column)| vectors[(row, column)]).collect(), values))
}

/// An orthonormal basis of the range of a matrix, both in row order.
fn orthonormal(matrix: &[f64], width: usize) -> Vec<f64> {
    let n_rows = matrix.len() / width;
    let basis: Mat<f64> = MatRef::from_row_major_slice(matrix, n_rows, width).qr().compute_thin_Q();
    let mut in_rows = vec![0.0; matrix.len()];
    for column in 0..width {
        in_rows
            .iter_mut()
            .skip(column)
            .step_by(width)
            .zip(basis.col_as_slice(column))
            .for_each(|(cell, value)| *cell = *value);
    }
    in_rows
}

fn too_many(n_components: usize, available: usize, of_what: &str) -> StageError {
    StageError::data(format!("`components: {n_components}` is more than the {available} {of_what}"))
        .help("lower `components`")
}
