//! Sums over rows of the products of each two columns, by matrix products.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Cells of columns that are worked on together: 8 MiB.
const CELLS: usize = 1 << 20;
/// The least and the greatest number of columns of a panel.
const PANEL: (usize, usize) = (16, 64);

/// How many rows of so many columns are worked on together.
pub(crate) fn rows_at_once(n_columns: usize) -> usize {
    (CELLS / n_columns.max(1)).clamp(256, 1 << 14)
}

/// Adds the sums of products of the columns of `cells` with those of them from `first` on, times `factor`, to `sums` [columns, columns - first], column after column; of
/// each only what is on and above the diagonal counts. Panels of columns have a width that does not depend on the number of threads, so that no bit does.
pub(crate) fn add_products(sums: &mut [f64], cells: MatRef<f64>, first: usize, factor: f64) {
    let width = cells.ncols();
    let panel = (width / 8).next_multiple_of(8).clamp(PANEL.0, PANEL.1);
    sums.par_chunks_mut((panel * width).max(1)).enumerate().for_each(|(at, sums)| {
        let n_columns = sums.len() / width;
        let (begin, end) = (first + at * panel, first + at * panel + n_columns);
        let sums = MatMut::from_column_major_slice_mut(sums, width, n_columns).subrows_mut(0, end);
        let right = cells.subcols(begin, n_columns);
        matmul(sums, Accum::Add, cells.subcols(0, end).transpose(), right, factor, Par::Seq);
    });
}

/// Makes a square of sums whole whose cells on and above the diagonal are known.
pub(crate) fn mirror(sums: &mut [f64], width: usize) {
    for column in 0..width {
        for row in 0..column {
            sums[row * width + column] = sums[column * width + row];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_loops() {
        for (n_rows, width, first) in [(7, 3, 0), (300, 70, 0), (300, 70, 41), (5, 200, 199)] {
            let value = |row: usize, column: usize| ((row * 31 + column * 17) % 13) as f64 - 6.0;
            let cells: Vec<f64> =
                (0..width).flat_map(|column| (0..n_rows).map(move |row| value(row, column))).collect();
            let mut sums = vec![1.0; width * (width - first)];
            add_products(&mut sums, MatRef::from_column_major_slice(&cells, n_rows, width), first, -2.0);
            for column in first..width {
                for row in 0..=column {
                    let sum: f64 = (0..n_rows).map(|at| value(at, row) * value(at, column)).sum();
                    assert_eq!(sums[(column - first) * width + row], 1.0 - 2.0 * sum, "{row} {column}");
                }
            }
        }
    }
}
