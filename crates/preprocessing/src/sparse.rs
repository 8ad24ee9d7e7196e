//! Compressed sparse rows.

use rayon::prelude::*;

/// Rows per unit of parallel work; fixed, so that results do not depend on the number of threads.
const BLOCK: usize = 1024;

/// A matrix of which only the cells that are not zero are stored, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Csr {
    /// Where each row starts in `columns` and `values`, and the end of the last.
    pub(crate) starts: Vec<usize>,
    /// The column of each stored cell.
    pub(crate) columns: Vec<u32>,
    pub(crate) values: Vec<f64>,
    pub(crate) n_columns: usize,
}

impl Csr {
    pub(crate) fn empty(n_columns: usize) -> Self {
        Self { starts: vec![0], columns: Vec::new(), values: Vec::new(), n_columns }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// The stored cells of a row.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = (u32, f64)> + '_ {
        let cells = self.starts[row]..self.starts[row + 1];
        self.columns[cells.clone()].iter().copied().zip(self.values[cells].iter().copied())
    }

    pub(crate) fn push_row(&mut self, cells: impl IntoIterator<Item = (u32, f64)>) {
        for (column, value) in cells {
            self.columns.push(column);
            self.values.push(value);
        }
        self.starts.push(self.columns.len());
    }

    /// Matrices one below the other.
    pub(crate) fn stacked(n_columns: usize, blocks: Vec<Self>) -> Self {
        let mut stacked = Self::empty(n_columns);
        for block in blocks {
            let before = stacked.columns.len();
            stacked.starts.extend(block.starts[1..].iter().map(|start| before + start));
            stacked.columns.extend(block.columns);
            stacked.values.extend(block.values);
        }
        stacked
    }

    pub(crate) fn take(&self, rows: &[usize]) -> Self {
        let mut taken = Self::empty(self.n_columns);
        for &row in rows {
            taken.push_row(self.row(row));
        }
        taken
    }

    /// The columns at `indices`, in that order.
    pub(crate) fn select_columns(&self, indices: &[usize]) -> Self {
        let mut place = vec![u32::MAX; self.n_columns];
        for (new, &old) in indices.iter().enumerate() {
            place[old] = new as u32;
        }
        let mut selected = Self::empty(indices.len());
        for row in 0..self.n_rows() {
            let cells = self.row(row).map(|(column, value)| (place[column as usize], value));
            selected.push_row(cells.filter(|(column, _)| *column != u32::MAX));
        }
        selected
    }

    /// The columns at `indices` with their zeros.
    pub(crate) fn dense_columns(&self, indices: &[usize]) -> Vec<Vec<f64>> {
        let selected =
            if indices.len() == self.n_columns { self.transpose() } else { self.select_columns(indices).transpose() };
        let dense = |column: usize| {
            let mut values = vec![0.0; self.n_rows()];
            selected.row(column).for_each(|(row, value)| values[row as usize] = value);
            values
        };
        (0..indices.len()).into_par_iter().map(dense).collect()
    }

    pub(crate) fn transpose(&self) -> Self {
        let mut starts = vec![0; self.n_columns + 1];
        self.columns.iter().for_each(|&column| starts[column as usize + 1] += 1);
        for column in 0..self.n_columns {
            starts[column + 1] += starts[column];
        }
        let mut next = starts.clone();
        let (mut rows, mut values) = (vec![0; self.columns.len()], vec![0.0; self.values.len()]);
        for row in 0..self.n_rows() {
            for (column, value) in self.row(row) {
                let place = &mut next[column as usize];
                (rows[*place], values[*place]) = (row as u32, value);
                *place += 1;
            }
        }
        Self { starts, columns: rows, values, n_columns: self.n_rows() }
    }

    /// The product with a dense matrix [n_columns, width], both dense matrices in row order. Each row is summed by itself, in the order of its cells.
    pub(crate) fn multiply(&self, dense: &[f64], width: usize) -> Vec<f64> {
        let mut product = vec![0.0; self.n_rows() * width];
        product.par_chunks_mut(BLOCK * width.max(1)).enumerate().for_each(|(block, rows)| {
            for (offset, sums) in rows.chunks_exact_mut(width).enumerate() {
                for (column, value) in self.row(block * BLOCK + offset) {
                    let factors = &dense[column as usize * width..][..width];
                    sums.iter_mut().zip(factors).for_each(|(sum, factor)| *sum += value * factor);
                }
            }
        });
        product
    }

    /// The sum over columns of each column's variance (of the population).
    pub(crate) fn total_variance(&self) -> f64 {
        let (mut sums, mut squares) = (vec![0.0; self.n_columns], vec![0.0; self.n_columns]);
        for (&column, &value) in self.columns.iter().zip(&self.values) {
            sums[column as usize] += value;
            squares[column as usize] += value * value;
        }
        let n = self.n_rows() as f64;
        sums.iter().zip(&squares).map(|(sum, square)| (square / n - (sum / n) * (sum / n)).max(0.0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Csr {
        let mut matrix = Csr::empty(3);
        matrix.push_row([(0, 1.0), (2, 2.0)]);
        matrix.push_row([]);
        matrix.push_row([(1, 3.0)]);
        matrix
    }

    #[test]
    fn rows_and_columns() {
        let matrix = matrix();
        assert_eq!(matrix.dense_columns(&[0, 1, 2]), [[1.0, 0.0, 0.0], [0.0, 0.0, 3.0], [2.0, 0.0, 0.0]]);
        assert_eq!(matrix.dense_columns(&[2]), [[2.0, 0.0, 0.0]]);
        assert_eq!(matrix.transpose().transpose(), matrix);
        let blocks = vec![matrix.take(&[0]), matrix.take(&[]), matrix.take(&[1, 2])];
        assert_eq!(Csr::stacked(3, blocks), matrix);
        assert_eq!(matrix.take(&[2, 0, 2]).dense_columns(&[1]), [[3.0, 0.0, 3.0]]);
        assert_eq!(matrix.select_columns(&[2, 0]).dense_columns(&[0, 1]), [[2.0, 0.0, 0.0], [1.0, 0.0, 0.0]]);
    }

    #[test]
    fn product_and_variance() {
        assert_eq!(matrix().multiply(&[1.0, 10.0, 2.0, 20.0, 3.0, 30.0], 2), [7.0, 70.0, 0.0, 0.0, 6.0, 60.0]);
        let variance = 2.0 / 9.0 + 2.0 + 8.0 / 9.0;
        assert!((matrix().total_variance() - variance).abs() < 1e-12);
    }
}
