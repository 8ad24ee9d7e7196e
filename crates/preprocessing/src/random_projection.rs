//! `random_projection`.
//!
//! linfa-reduction has both kinds, but what it fits cannot be saved, and its numbers come from releases of `rand` that are not ours to keep; the number of
//! components is checked against it in the tests.

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use retune_spec::preprocessing::{Components, ProjectionMethod, RandomProjection};
use retune_stage::{FitContext, Kind, LoadDir, Result, SaveDir, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, common_origin};
use crate::outline::Outline;
use crate::projection::{Dense, by_columns, component_columns, component_names, project, read_matrix, too_many};
use crate::source::Source;
use crate::sparse::Csr;
use crate::step::{ApplyStep, FitStep, Learnt, counted};
use crate::truncated_svd::{all_dense, gather};

/// Directions of more numbers are refused: 4 GB.
const MOST_CELLS: usize = 500_000_000;

/// Rows per unit of parallel work.
const BLOCK: usize = 256;

/// The random directions.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedRandomProjection {
    columns: Vec<String>,
    names: Vec<String>,
    origin: Option<String>,
    method: ProjectionMethod,
    #[serde(skip)]
    directions: Directions,
}

enum Directions {
    /// [columns, components]
    Dense(Array2<f64>),
    /// [columns, components]
    Sparse(Csr),
}

impl Default for Directions {
    fn default() -> Self {
        Self::Dense(Array2::default((0, 0)))
    }
}

impl FitStep for RandomProjection {
    type Fitted = FittedRandomProjection;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];
    const SPARSE: bool = true;

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if columns.is_empty() {
            return Err(StageError::data("there is no column to project").help("choose other `columns`"));
        }
        if self.density.is_some() && self.method == ProjectionMethod::Gaussian {
            return Err(StageError::data("`density` is that of `method: sparse`")
                .help("leave `density` out, or add `method: sparse`"));
        }
        let Components::Number(n_components) = self.components else {
            outline.remove(columns);
            outline.add_open(&format!("{}_", self.prefix), Kind::Numeric);
            return Ok(());
        };
        if Outline::is_closed(columns) && n_components > columns.len() {
            return Err(too_many(n_components, columns.len(), "columns"));
        }
        outline.remove(columns);
        component_names(&self.prefix, n_components).into_iter().try_for_each(|name| outline.add(name, Kind::Numeric))
    }

    fn fit(&self, source: &Source, columns: &[String], context: &FitContext) -> Result<Learnt<FittedRandomProjection>> {
        let (n_rows, n_columns) = (source.n_rows(), columns.len());
        let n_components = match self.components {
            Components::Number(n_components) => n_components,
            Components::Auto(_) => enough_components(n_rows, self.eps),
        };
        if n_components > n_columns {
            let needed = match self.components {
                Components::Number(_) => return Err(too_many(n_components, n_columns, "columns")),
                Components::Auto(_) => format!("keeping the distances between {n_rows} rows within {}", self.eps),
            };
            return Err(StageError::data(format!(
                "{needed} takes {n_components} components, more than the {n_columns} columns"
            ))
            .help("raise `eps`, give a number of `components`, or leave the step out"));
        }
        let density = self.density.unwrap_or(1.0 / (n_columns as f64).sqrt());
        let n_cells = match self.method {
            ProjectionMethod::Gaussian => n_columns * n_components,
            ProjectionMethod::Sparse => ((n_columns * n_components) as f64 * density) as usize,
        };
        if n_cells > MOST_CELLS {
            return Err(StageError::data(format!(
                "{n_components} directions of {n_columns} columns are {n_cells} numbers, more than {MOST_CELLS}"
            ))
            .help("lower `components`, raise `eps`, or take `method: sparse`"));
        }
        let mut random = ChaCha8Rng::seed_from_u64(context.seed.0);
        let directions = match self.method {
            ProjectionMethod::Gaussian => gaussian(n_columns, n_components, &mut random)?,
            ProjectionMethod::Sparse => sparse(n_columns, n_components, density, &mut random),
        };
        let text =
            format!("projected {} on {}", counted(n_columns, "column"), counted(n_components, "random direction"));
        let fitted = FittedRandomProjection {
            columns: columns.to_vec(),
            names: component_names(&self.prefix, n_components),
            origin: common_origin(&source.schema(), columns),
            method: self.method,
            directions,
        };
        Ok(Learnt::applied(fitted, text))
    }
}

/// How many components keep all distances between rows within a share of them, but for bad luck (Johnson and Lindenstrauss; the bound is that of Dasgupta
/// and Gupta 2003, as in scikit-learn's `johnson_lindenstrauss_min_dim`).
fn enough_components(n_rows: usize, eps: f64) -> usize {
    let n = 4.0 * (n_rows as f64).ln() / (eps * eps / 2.0 - eps * eps * eps / 3.0);
    (n as usize).max(1)
}

/// Normal numbers whose squares sum to 1 over a column's components, on average.
fn gaussian(n_columns: usize, n_components: usize, random: &mut ChaCha8Rng) -> Result<Directions> {
    let scale = 1.0 / (n_components as f64).sqrt();
    let normal = StandardNormal.sample_iter(random).map(|value: f64| value * scale);
    let matrix = Array2::from_shape_vec((n_columns, n_components), normal.take(n_columns * n_components).collect());
    Ok(Directions::Dense(matrix.map_err(|error| StageError::failed(error.to_string()))?))
}

/// Entries that are equal but for their signs where they are not zero. Only the distances between entries are drawn, as most are zero.
fn sparse(n_columns: usize, n_components: usize, density: f64, random: &mut ChaCha8Rng) -> Directions {
    let value = 1.0 / (density * n_components as f64).sqrt();
    let mut matrix = Csr::empty(n_components);
    // The number of zeros before the next entry is geometric.
    let zeros = |random: &mut ChaCha8Rng| match density {
        1.0.. => 0,
        _ => ((1.0 - random.random::<f64>()).ln() / (1.0 - density).ln()) as usize,
    };
    let mut next = zeros(random);
    for _ in 0..n_columns {
        let mut cells = Vec::new();
        while next < n_components {
            cells.push((next as u32, if random.random::<bool>() { value } else { -value }));
            next += 1 + zeros(random);
        }
        matrix.push_row(cells);
        next -= n_components;
    }
    Directions::Sparse(matrix)
}

impl FittedRandomProjection {
    /// The products of the rows with each direction.
    fn scores(&self, frame: &Frame) -> Result<Vec<Vec<f64>>> {
        let width = self.names.len();
        let scores = match (&self.directions, all_dense(frame, &self.columns)) {
            (Directions::Dense(directions), true) => return project(frame, &self.columns, None, directions),
            (Directions::Dense(directions), false) => {
                gather(frame, &self.columns)?.multiply(directions.as_slice().unwrap_or_default(), width)
            }
            (Directions::Sparse(directions), true) => {
                let values = Dense::of(frame, &self.columns)?;
                let values = &values;
                let of = |row: usize| (0..self.columns.len()).map(move |column| (column, values.column(column)[row]));
                sums(frame.n_rows(), directions, of)
            }
            (Directions::Sparse(directions), false) => {
                let matrix = gather(frame, &self.columns)?;
                let of = |row: usize| matrix.row(row).map(|(column, value)| (column as usize, value));
                sums(frame.n_rows(), directions, of)
            }
        };
        Ok(by_columns(&scores, width))
    }
}

/// The products of rows, given as their cells, with sparse directions; each row is summed by itself.
fn sums<I: Iterator<Item = (usize, f64)>>(
    n_rows: usize,
    directions: &Csr,
    cells: impl Fn(usize) -> I + Sync,
) -> Vec<f64> {
    let width = directions.n_columns;
    let mut sums = vec![0.0; n_rows * width];
    sums.par_chunks_mut(BLOCK * width).enumerate().for_each(|(block, rows)| {
        for (offset, sums) in rows.chunks_exact_mut(width).enumerate() {
            for (column, value) in cells(block * BLOCK + offset) {
                directions.row(column).for_each(|(component, factor)| sums[component as usize] += value * factor);
            }
        }
    });
    sums
}

impl ApplyStep for FittedRandomProjection {
    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let scores = self.scores(frame)?;
        frame.remove(&self.columns)?.append(component_columns(&self.names, self.origin.as_deref(), scores))
    }

    fn save(&self, dir: &SaveDir, file: &str) -> Result<()> {
        match &self.directions {
            Directions::Dense(directions) => dir.matrices(file, &[("directions", directions.view())]),
            Directions::Sparse(directions) => {
                // One row for each entry: column, component, value.
                let entry = |column: usize| {
                    directions.row(column).map(move |(at, value)| [column as f64, f64::from(at), value])
                };
                let entries: Vec<f64> = (0..self.columns.len()).flat_map(entry).flatten().collect();
                let entries = Array2::from_shape_vec((entries.len() / 3, 3), entries);
                let entries = entries.map_err(|error| StageError::failed(error.to_string()))?;
                dir.matrices(file, &[("entries", entries.view())])
            }
        }
    }

    fn load(&mut self, dir: &LoadDir, file: &str) -> Result<()> {
        let (n_columns, n_components) = (self.columns.len(), self.names.len());
        self.directions = match self.method {
            ProjectionMethod::Gaussian => {
                Directions::Dense(read_matrix(dir, file, "directions", [n_columns, n_components])?)
            }
            ProjectionMethod::Sparse => {
                let broken = || StageError::failed(format!("{file}: the entries are no directions of the columns"));
                let entries = dir.matrices(file)?.remove("entries").ok_or_else(broken)?;
                let mut matrix = Csr::empty(n_components);
                let mut rows = entries.rows().into_iter().peekable();
                for column in 0..n_columns {
                    let mut cells = Vec::new();
                    while let Some(row) = rows.next_if(|row| row[0] == column as f64) {
                        if row.len() != 3 || !(0.0..n_components as f64).contains(&row[1]) {
                            return Err(broken());
                        }
                        cells.push((row[1] as u32, row[2]));
                    }
                    matrix.push_row(cells);
                }
                if rows.next().is_some() {
                    return Err(broken());
                }
                Directions::Sparse(matrix)
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_those_of_scikit_learn() {
        // sklearn.random_projection.johnson_lindenstrauss_min_dim
        for (n_rows, eps, expected) in
            [(100, 0.05, 15244), (100, 0.5, 221), (1000, 0.1, 5920), (10_000, 0.2, 2125), (1, 0.5, 1)]
        {
            assert_eq!(enough_components(n_rows, eps), expected, "{n_rows} {eps}");
        }
    }

    #[test]
    fn sparse_directions_have_their_density_and_length() {
        for density in [0.01, 0.1, 0.5, 1.0] {
            let Directions::Sparse(matrix) = sparse(2000, 300, density, &mut ChaCha8Rng::seed_from_u64(1)) else {
                return;
            };
            let n = 2000.0 * 300.0 * density;
            // Five standard deviations of a binomial count.
            let bound = 5.0 * (n * (1.0 - density)).sqrt();
            assert!((matrix.values.len() as f64 - n).abs() <= bound, "{density}: {}", matrix.values.len());
            let n_positive = matrix.values.iter().filter(|value| **value > 0.0).count() as f64;
            assert!((n_positive - n / 2.0).abs() < 5.0 * n.sqrt(), "{density}: {n_positive}");
            assert!(matrix.values.iter().all(|value| (value.abs() - 1.0 / (density * 300.0).sqrt()).abs() < 1e-15));
        }
    }
}
