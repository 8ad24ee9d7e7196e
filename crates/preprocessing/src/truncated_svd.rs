//! `truncated_svd`.

use std::collections::HashMap;

use ndarray::Array2;
use retune_spec::preprocessing::TruncatedSvd;
use retune_stage::{FitContext, Kind, LoadDir, Result, SaveDir, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, SparseBlock, common_origin};
use crate::outline::Outline;
use crate::projection::{
    Dense, by_columns, component_columns, component_names, flip_signs, leading, matrix, project, read_matrix,
    share_text, too_large, too_many, variance,
};
use crate::range_finder::{SparseOperator, decompose};
use crate::scatter::Products;
use crate::source::Source;
use crate::sparse::Csr;
use crate::step::{ApplyStep, FitStep, Learnt, Train};

/// Up to so many columns the products of all of them are decomposed, which is exact and takes no longer than the random directions.
const EXACT_COLUMNS: usize = 1024;

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

    fn fit(&self, source: &Source, columns: &[String], context: &FitContext) -> Result<Learnt<FittedTruncatedSvd>> {
        let frame = source.frame()?;
        if self.components > frame.n_rows() {
            return Err(too_many(self.components, frame.n_rows(), "training rows"));
        }
        let Parts { directions, singular_values, total } = if all_dense(frame, columns) {
            from_dense(self, source, columns, context)
        } else {
            from_sparse(self, frame, columns, context)
        }?;
        let names = component_names(&self.prefix, self.components);
        let origin = common_origin(&frame.schema(), columns);
        let fitted = FittedTruncatedSvd { columns: columns.to_vec(), names, origin, singular_values, directions };
        let scores = fitted.scores(frame)?;
        let kept: f64 = scores.iter().map(|scores| variance(scores)).sum();
        let text = share_text(self.components, columns.len(), kept, total);
        let columns = component_columns(&fitted.names, fitted.origin.as_deref(), scores);
        let train = frame.remove(&fitted.columns)?.append(columns)?;
        Ok(Learnt::new(fitted, Train::Frame(train), text))
    }
}

/// The leading singular vectors and values, and the variance of all columns.
struct Parts {
    directions: Array2<f64>,
    singular_values: Vec<f64>,
    total: f64,
}

fn from_dense(step: &TruncatedSvd, source: &Source, columns: &[String], context: &FitContext) -> Result<Parts> {
    let n_rows = source.n_rows();
    if columns.len() > EXACT_COLUMNS || columns.len() > n_rows {
        let matrix = matrix(source, columns)?;
        let (vectors, singular_values) = decompose(&matrix.as_ref(), step.components, step.iterations, context.seed.0)?;
        let total = matrix.col_iter().map(|column| variance(&column.iter().copied().collect::<Vec<_>>())).sum();
        return Ok(Parts { directions: leading(&vectors, &vec![1.0; step.components]), singular_values, total });
    }
    let values = Dense::of(source.frame()?, columns)?;
    let mut products = Products::none(columns.len());
    products.add_rows(&values, |_, _| 0.0);
    if !products.all_finite() {
        return Err(too_large("a decomposition"));
    }
    let (squares, mut vectors) = products.eigen()?;
    flip_signs(&mut vectors);
    let total = (0..columns.len()).map(|column| variance(values.column(column))).sum();
    let singular_values = squares.iter().take(step.components).map(|square| square.sqrt()).collect();
    Ok(Parts { directions: leading(&vectors, &vec![1.0; step.components]), singular_values, total })
}

fn from_sparse(step: &TruncatedSvd, frame: &Frame, columns: &[String], context: &FitContext) -> Result<Parts> {
    let operator = SparseOperator::new(gather(frame, columns)?);
    let (vectors, singular_values) = decompose(&operator, step.components, step.iterations, context.seed.0)?;
    let directions = leading(&vectors, &vec![1.0; step.components]);
    Ok(Parts { directions, singular_values, total: operator.matrix().total_variance() })
}

impl FittedTruncatedSvd {
    /// The products of the rows with each direction.
    fn scores(&self, frame: &Frame) -> Result<Vec<Vec<f64>>> {
        if all_dense(frame, &self.columns) {
            return project(frame, &self.columns, None, &self.directions);
        }
        let directions = self.directions.as_slice().unwrap_or_default();
        let scores = gather(frame, &self.columns)?.multiply(directions, self.names.len());
        Ok(by_columns(&scores, self.names.len()))
    }
}

impl ApplyStep for FittedTruncatedSvd {
    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let scores = self.scores(frame)?;
        frame.remove(&self.columns)?.append(component_columns(&self.names, self.origin.as_deref(), scores))
    }

    fn save(&self, dir: &SaveDir, file: &str) -> Result<()> {
        dir.matrices(file, &[("directions", self.directions.view())])
    }

    fn load(&mut self, dir: &LoadDir, file: &str) -> Result<()> {
        self.directions = read_matrix(dir, file, "directions", [self.columns.len(), self.names.len()])?;
        Ok(())
    }
}

/// Whether none of the columns is sparse.
pub(crate) fn all_dense(frame: &Frame, columns: &[String]) -> bool {
    frame.sparse.is_empty() || columns.iter().all(|name| frame.table.schema().field(name).is_some())
}

/// The columns as one sparse matrix, whether they are sparse or not.
pub(crate) fn gather(frame: &Frame, columns: &[String]) -> Result<Csr> {
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
