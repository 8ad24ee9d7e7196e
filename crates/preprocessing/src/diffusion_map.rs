//! `diffusion_map`.
//!
//! linfa-reduction has diffusion maps of the rows that they were learned from only; here new rows are placed, too.

use faer::{Mat, MatRef};
use ndarray::Array2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_spec::preprocessing::DiffusionMap;
use retune_stage::{FitContext, Kind, LoadDir, Result, SaveDir, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, common_origin};
use crate::outline::Outline;
use crate::projection::{
    by_columns, component_columns, component_names, dense, flip_signs, read_matrix, too_large, too_many,
};
use crate::scatter::symmetric_eigen;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The rows that the map was learned from, and where they are on it.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedDiffusionMap {
    columns: Vec<String>,
    names: Vec<String>,
    origin: Option<String>,
    width: f64,
    /// Those of the random walk, without the first, which is 1.
    eigenvalues: Vec<f64>,
    /// What a step to each row is weighted by: its density's share that is divided out.
    weights: Vec<f64>,
    /// [rows learned from, columns]
    #[serde(skip)]
    rows: Array2<f64>,
    /// [rows learned from, components]: coordinates after the walk, divided by their eigenvalues, whose average over the steps from a row is its place.
    #[serde(skip)]
    coordinates: Array2<f64>,
}

impl FitStep for DiffusionMap {
    type Fitted = FittedDiffusionMap;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if columns.is_empty() {
            return Err(StageError::data("there is no column to measure distances by").help("choose other `columns`"));
        }
        if self.components >= self.max_rows {
            return Err(too_many(self.components, self.max_rows - 1, "rows of `max_rows` less one"));
        }
        outline.remove(columns);
        component_names(&self.prefix, self.components).into_iter().try_for_each(|name| outline.add(name, Kind::Numeric))
    }

    fn fit(&self, source: &Source, columns: &[String], context: &FitContext) -> Result<Learnt<FittedDiffusionMap>> {
        let n_all = source.n_rows();
        if self.components >= n_all {
            return Err(too_many(self.components, n_all - 1, "training rows less one"));
        }
        let rows = sample(self, source, columns, context)?;
        let n_rows = rows.nrows();
        let squares = squared_distances(&rows);
        if squares.iter().any(|square| !square.is_finite()) {
            return Err(too_large("distances"));
        }
        let width = self.width.unwrap_or_else(|| typical(&squares));
        let mut kernel = squares;
        kernel.par_iter_mut().for_each(|cell| *cell = (-*cell / width).exp());
        // The density around each row, of which a share is divided out.
        let sums = |kernel: &[f64]| -> Vec<f64> { kernel.par_chunks(n_rows).map(|row| row.iter().sum()).collect() };
        let weights: Vec<f64> = sums(&kernel).iter().map(|density| density.powf(-self.alpha)).collect();
        let scale = |kernel: &mut [f64], factors: &[f64]| {
            kernel.par_chunks_mut(n_rows).zip(factors).for_each(|(row, factor)| {
                row.iter_mut().zip(factors).for_each(|(cell, other)| *cell *= factor * other);
            });
        };
        scale(&mut kernel, &weights);
        let degrees = sums(&kernel);
        // The random walk's matrix is not symmetric; this one is, and has the same eigenvalues.
        let roots: Vec<f64> = degrees.iter().map(|degree| 1.0 / degree.sqrt()).collect();
        scale(&mut kernel, &roots);
        let (eigenvalues, vectors) = symmetric_eigen(MatRef::from_row_major_slice(&kernel, n_rows, n_rows))?;
        let total: f64 = degrees.iter().sum();
        let mut walk =
            Mat::from_fn(n_rows, self.components, |row, at| vectors[(row, at + 1)] * roots[row] * total.sqrt());
        flip_signs(&mut walk);
        let eigenvalues = eigenvalues[1..=self.components].to_vec();
        // A direction that is rounding error only becomes 0 instead of noise.
        let noise = n_rows as f64 * f64::EPSILON;
        let power = |value: f64| if value > noise { value.powi(self.steps as i32 - 1) } else { 0.0 };
        let coordinates =
            Array2::from_shape_fn((n_rows, self.components), |(row, at)| walk[(row, at)] * power(eigenvalues[at]));
        let text = format!(
            "{} of {}, learned from {}",
            counted(self.components, "coordinate"),
            counted(columns.len(), "column"),
            counted(n_rows, "row")
        );
        let fitted = FittedDiffusionMap {
            columns: columns.to_vec(),
            names: component_names(&self.prefix, self.components),
            origin: common_origin(&source.schema(), columns),
            width,
            eigenvalues,
            weights,
            rows,
            coordinates,
        };
        Ok(Learnt::applied(fitted, text))
    }
}

/// The rows that the map is learned from, in the order of the rows.
fn sample(step: &DiffusionMap, source: &Source, columns: &[String], context: &FitContext) -> Result<Array2<f64>> {
    let n_all = source.n_rows();
    let mut chosen: Vec<usize> = match n_all > step.max_rows {
        true => {
            let mut random = ChaCha8Rng::seed_from_u64(context.seed.0);
            rand::seq::index::sample(&mut random, n_all, step.max_rows).into_vec()
        }
        false => (0..n_all).collect(),
    };
    chosen.sort_unstable();
    let mut cells = Vec::with_capacity(chosen.len() * columns.len());
    let (mut first, mut next) = (0, chosen.iter().copied().peekable());
    let map = |frame: &Frame| Ok((frame.n_rows(), dense(frame, columns)?));
    source.fold(columns, map, |(n_rows, piece)| {
        while let Some(row) = next.next_if(|&row| row < first + n_rows) {
            cells.extend((0..columns.len()).map(|column| piece[column * n_rows + row - first]));
        }
        first += n_rows;
        Ok(())
    })?;
    Array2::from_shape_vec((chosen.len(), columns.len()), cells).map_err(|error| StageError::failed(error.to_string()))
}

/// Between each two rows, in row order.
fn squared_distances(rows: &Array2<f64>) -> Vec<f64> {
    let n_rows = rows.nrows();
    let mut squares = vec![0.0; n_rows * n_rows];
    squares.par_chunks_mut(n_rows.max(1)).enumerate().for_each(|(row, cells)| {
        let row = rows.row(row);
        let row = row.as_slice().unwrap_or_default();
        let of = |other: ndarray::ArrayView1<f64>| squared_distance(row, other.to_slice().unwrap_or_default());
        cells.iter_mut().zip(rows.rows()).for_each(|(cell, other)| *cell = of(other));
    });
    squares
}

fn squared_distance(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| (one - other) * (one - other)).sum()
}

/// The median of the squared distances between different rows; their mean where most rows are equal, and 1 where all are.
fn typical(squares: &[f64]) -> f64 {
    let n_rows = squares.len().isqrt();
    let mut between: Vec<f64> = (0..n_rows).flat_map(|row| squares[row * n_rows..][..row].iter().copied()).collect();
    let middle = between.len() / 2;
    if between.is_empty() {
        return 1.0;
    }
    let median = *between.select_nth_unstable_by(middle, f64::total_cmp).1;
    let mean = between.iter().sum::<f64>() / between.len() as f64;
    [median, mean].into_iter().find(|&width| width > 0.0).unwrap_or(1.0)
}

impl FittedDiffusionMap {
    /// Where a row is on the map: the average of the coordinates over the steps that the walk may take from it (the Nystrom extension), which for a row
    /// that the map was learned from is its own place.
    fn place(&self, row: &[f64], place: &mut [f64]) {
        let mut squares: Vec<f64> = self
            .rows
            .rows()
            .into_iter()
            .map(|other| squared_distance(row, other.to_slice().unwrap_or_default()))
            .collect();
        // A row far from all others still has a nearest one: distances count from there, which the division by the sum takes out again.
        let nearest = squares.iter().copied().fold(f64::INFINITY, f64::min);
        let mut sum = 0.0;
        for (square, weight) in squares.iter_mut().zip(&self.weights) {
            *square = ((nearest - *square) / self.width).exp() * weight;
            sum += *square;
        }
        for (step, coordinates) in squares.iter().zip(self.coordinates.rows()) {
            place.iter_mut().zip(coordinates).for_each(|(place, coordinate)| *place += step / sum * coordinate);
        }
    }
}

impl ApplyStep for FittedDiffusionMap {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let (n_rows, width) = (frame.n_rows(), self.names.len());
        let values = dense(frame, &self.columns)?;
        let mut places = vec![0.0; n_rows * width];
        places.par_chunks_mut(width).enumerate().for_each(|(at, place)| {
            let row: Vec<f64> = (0..self.columns.len()).map(|column| values[column * n_rows + at]).collect();
            self.place(&row, place);
        });
        frame.remove(&self.columns)?.append(component_columns(
            &self.names,
            self.origin.as_deref(),
            by_columns(&places, width),
        ))
    }

    fn save(&self, dir: &SaveDir, file: &str) -> Result<()> {
        dir.matrices(file, &[("rows", self.rows.view()), ("coordinates", self.coordinates.view())])
    }

    fn load(&mut self, dir: &LoadDir, file: &str) -> Result<()> {
        let n_rows = self.weights.len();
        self.rows = read_matrix(dir, file, "rows", [n_rows, self.columns.len()])?;
        self.coordinates = read_matrix(dir, file, "coordinates", [n_rows, self.names.len()])?;
        Ok(())
    }
}
