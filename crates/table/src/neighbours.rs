//! The nearest training rows, exactly: what `knn_impute`, `outliers`, `smote` and the family `k_nearest_neighbors` share.
//!
//! Nearly all of the work is blocked products of 32-bit matrices, which give every pair of rows a distance that is off by no more than a known margin. Only
//! where that is not enough to say that a row is too far is its distance computed as such, so that what is found depends on no block and no rounding.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Rows whose neighbours are looked for in one matrix product.
const QUERIES: usize = 64;

/// Rows among which they are looked for in one matrix product.
const PANEL: usize = 1024;

/// Pairs that are ruled out together.
const LANES: usize = 32;

/// Numbers up to this have squares and sums of squares.
pub const GREATEST: f64 = 1e150;

/// Rows among which neighbours are looked for.
pub struct Neighbours {
    /// [rows, columns] in row order; a missing value is NaN.
    rows: Vec<f64>,
    n_columns: usize,
    /// Whether pairs are compared in the columns that both have, or none has a missing value.
    gaps: bool,
    /// What is subtracted from each column, and what all are then multiplied by, so that 32-bit floats hold them well.
    centres: Vec<f64>,
    shrink: f64,
    /// What the products are taken with: one row after the other.
    factors: Vec<f32>,
    /// By how much each row may make a product too great.
    margins: Vec<f32>,
}

impl Neighbours {
    /// Rows without missing values.
    pub fn complete(rows: Vec<f64>, n_columns: usize) -> Self {
        Self::new(rows, n_columns, false)
    }

    /// Rows of which some values are missing. The distance of two is taken over the columns that both have, and scaled up to all of them.
    pub fn with_gaps(rows: Vec<f64>, n_columns: usize) -> Self {
        Self::new(rows, n_columns, true)
    }

    fn new(rows: Vec<f64>, n_columns: usize, gaps: bool) -> Self {
        let column = |index: usize| rows.iter().skip(index).step_by(n_columns).filter(|value| !value.is_nan());
        let centre = |index: usize| {
            let (sum, n) = column(index).fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
            if n > 0 { sum / f64::from(n) } else { 0.0 }
        };
        let centres: Vec<f64> = (0..n_columns).map(centre).collect();
        let farthest =
            |index: usize| column(index).fold(0.0, |far: f64, value| far.max((value - centres[index]).abs()));
        let farthest = (0..n_columns).map(farthest).fold(0.0, f64::max);
        let shrink = if farthest > 0.0 { 1.0 / farthest } else { 1.0 };
        let mut neighbours = Self { rows, n_columns, gaps, centres, shrink, factors: Vec::new(), margins: Vec::new() };
        let width = neighbours.width();
        let n_rows = neighbours.n_rows();
        let (mut factors, mut margins) = (vec![0.0; n_rows * width], vec![0.0; n_rows]);
        factors
            .par_chunks_mut(width.max(1))
            .zip(&mut margins)
            .zip(neighbours.rows.par_chunks(n_columns.max(1)))
            .for_each(|((factors, margin), row)| *margin = neighbours.right(row, factors));
        (neighbours.factors, neighbours.margins) = (factors, margins);
        neighbours
    }

    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len() / self.n_columns.max(1)
    }

    /// The values of a row; a missing one is NaN.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.rows[row * self.n_columns..(row + 1) * self.n_columns]
    }

    /// All values, row by row.
    pub fn rows(&self) -> &[f64] {
        &self.rows
    }

    /// Looks for the neighbours of each query ([queries, columns] in row order), with a state of its own. `offer` is given, in the order of the rows, every
    /// row whose squared distance may be below what it returned last: the greatest squared distance that is still of interest.
    pub fn search<S: Send>(
        &self,
        queries: &[f64],
        start: impl Fn(usize) -> S + Sync,
        offer: impl Fn(&mut S, usize, f64) -> f64 + Sync,
    ) -> Vec<S> {
        let block = |(block, queries): (usize, &[f64])| {
            let first = block * QUERIES;
            let n_queries = queries.len() / self.n_columns;
            let states = (0..n_queries).map(|query| start(first + query)).collect();
            self.search_block(queries, states, &offer)
        };
        if self.n_columns == 0 {
            return Vec::new();
        }
        let found: Vec<Vec<S>> = queries.par_chunks(QUERIES * self.n_columns).enumerate().map(block).collect();
        found.into_iter().flatten().collect()
    }

    fn search_block<S>(
        &self,
        queries: &[f64],
        mut states: Vec<S>,
        offer: &impl Fn(&mut S, usize, f64) -> f64,
    ) -> Vec<S> {
        let (width, n_queries) = (self.width(), states.len());
        let mut left = vec![0.0; n_queries * width];
        let rows = queries.chunks_exact(self.n_columns);
        let margins: Vec<f32> =
            left.chunks_exact_mut(width).zip(rows).map(|(left, query)| self.left(query, left)).collect();
        let left = MatRef::from_row_major_slice(&left, n_queries, width);
        let mut far = vec![f64::INFINITY; n_queries];
        let (mut products, mut counts) = (vec![0.0; n_queries * PANEL], vec![0.0; n_queries * PANEL]);
        for first in (0..self.n_rows()).step_by(PANEL) {
            let n = PANEL.min(self.n_rows() - first);
            let right = &self.factors[first * width..(first + n) * width];
            let right = MatRef::from_column_major_slice(right, width, n);
            let (products, counts) = (&mut products[..n_queries * n], &mut counts[..n_queries * n]);
            let target = MatMut::from_row_major_slice_mut(products, n_queries, n);
            matmul(target, Accum::Replace, left, right, 1.0, Par::Seq);
            if self.gaps {
                // What a query has is the last third of its factors; what a row has is the first third of the row's.
                let (has, have) = (left.subcols(2 * self.n_columns, self.n_columns), right.subrows(0, self.n_columns));
                let target = MatMut::from_row_major_slice_mut(counts, n_queries, n);
                matmul(target, Accum::Replace, has, have, 1.0, Par::Seq);
            } else {
                counts.fill(self.n_columns as f32);
            }
            let pairs = products.chunks_exact(n).zip(counts.chunks_exact(n));
            for (query, (products, counts)) in pairs.enumerate() {
                let values = &queries[query * self.n_columns..(query + 1) * self.n_columns];
                let look = |row: usize, far: &mut f64| {
                    if let Some(distance) = self.squared_distance(values, first + row)
                        && distance < *far
                    {
                        *far = offer(&mut states[query], first + row, distance);
                    }
                };
                let margins = (margins[query], &self.margins[first..first + n]);
                self.near(products, counts, margins, &mut far[query], look);
            }
        }
        states
    }

    /// Calls `look` for every pair that may be nearer than `far`, which it may lower.
    fn near(
        &self,
        products: &[f32],
        counts: &[f32],
        (margin, margins): (f32, &[f32]),
        far: &mut f64,
        mut look: impl FnMut(usize, &mut f64),
    ) {
        let n_columns = self.n_columns as f32;
        let mut bound = self.bound(*far);
        let lanes = products.chunks(LANES).zip(counts.chunks(LANES)).zip(margins.chunks(LANES));
        for (chunk, ((products, counts), margins)) in lanes.enumerate() {
            let mut least = [f32::INFINITY; LANES];
            for (((least, product), count), other) in least.iter_mut().zip(products).zip(counts).zip(margins) {
                // NaN where the rows have no column in common, which no comparison lets pass; where infinities meet, `max` gives 0, which always passes.
                *least = (product - (margin + other)).max(0.0) * n_columns / count;
            }
            if !least.iter().fold(false, |any, least| any | (*least < bound)) {
                continue;
            }
            for (lane, _) in products.iter().enumerate() {
                if least[lane] < bound {
                    look(chunk * LANES + lane, far);
                    bound = self.bound(*far);
                }
            }
        }
    }

    /// The squared distance over the columns that both have, scaled up to all; `None` where there is none.
    fn squared_distance(&self, query: &[f64], row: usize) -> Option<f64> {
        let (mut sum, mut n) = (0.0, 0_u32);
        for (one, other) in query.iter().zip(self.row(row)) {
            let apart = one - other;
            let both = !apart.is_nan();
            sum += if both { apart * apart } else { 0.0 };
            n += u32::from(both);
        }
        (n > 0).then(|| sum / f64::from(n) * self.n_columns as f64)
    }

    /// A squared distance among the shrunk numbers, rounded up.
    fn bound(&self, squared: f64) -> f32 {
        (squared * self.shrink * self.shrink * (1.0 + 1e-6)) as f32 + f32::MIN_POSITIVE
    }

    /// Numbers of one row's factors.
    fn width(&self) -> usize {
        if self.gaps { 3 * self.n_columns } else { self.n_columns + 2 }
    }

    /// The value as the products see it.
    fn shrunk(&self, column: usize, value: f64) -> f64 {
        (value - self.centres[column]) * self.shrink
    }

    /// The factors of a query, whose products with [`Neighbours::right`] are squared distances, and its margin.
    fn left(&self, query: &[f64], factors: &mut [f32]) -> f32 {
        let mut norm = 0.0;
        for (column, value) in query.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            let shrunk = self.shrunk(column, *value);
            norm += shrunk * shrunk;
            if self.gaps {
                factors[column] = (shrunk * shrunk) as f32;
                factors[self.n_columns + column] = (-2.0 * shrunk) as f32;
                factors[2 * self.n_columns + column] = 1.0;
            } else {
                factors[column] = (-2.0 * shrunk) as f32;
            }
        }
        if !self.gaps {
            factors[self.n_columns] = norm as f32;
            factors[self.n_columns + 1] = 1.0;
        }
        self.margin(norm)
    }

    fn right(&self, row: &[f64], factors: &mut [f32]) -> f32 {
        let mut norm = 0.0;
        for (column, value) in row.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            let shrunk = self.shrunk(column, *value);
            norm += shrunk * shrunk;
            if self.gaps {
                factors[column] = 1.0;
                factors[self.n_columns + column] = shrunk as f32;
                factors[2 * self.n_columns + column] = (shrunk * shrunk) as f32;
            } else {
                factors[column] = shrunk as f32;
            }
        }
        if !self.gaps {
            factors[self.n_columns] = 1.0;
            factors[self.n_columns + 1] = norm as f32;
        }
        self.margin(norm)
    }

    /// A sum of n products is off by no more than n roundings of the sum of their magnitudes (Higham 2002, section 3.1), and that is at most twice the sum of
    /// both rows' squares. Some more roundings are those of the factors and of what is done with the sum.
    fn margin(&self, norm: f64) -> f32 {
        let roundings = (self.width() + 16) as f64;
        // Where the factors overflow nothing is known.
        if norm < 1e37 { (2.0 * roundings * f64::from(f32::EPSILON) * norm) as f32 + 1e-30 } else { f32::INFINITY }
    }
}

/// The nearest rows found so far.
pub struct Nearest {
    wanted: usize,
    /// Squared distance and row, the nearest first, of equally near rows the first.
    found: Vec<(f64, usize)>,
}

impl Nearest {
    /// None yet of so many.
    pub fn new(wanted: usize) -> Self {
        Self { wanted, found: Vec::with_capacity(wanted + 1) }
    }

    /// Takes in a row, if it is among the nearest.
    pub fn offer(&mut self, row: usize, squared_distance: f64) {
        let new = (squared_distance, row);
        let full = self.found.len() == self.wanted;
        if squared_distance < f64::INFINITY && !(full && self.found.last().is_none_or(|last| *last <= new)) {
            let place = self.found.partition_point(|old| *old <= new);
            self.found.truncate(self.wanted - usize::from(full));
            self.found.insert(place, new);
        }
    }

    /// The squared distance below which a row is taken in; one at that very distance is, where it comes before the last.
    pub fn far(&self) -> f64 {
        match self.found.last() {
            Some((distance, _)) if self.found.len() == self.wanted => *distance,
            _ => f64::INFINITY,
        }
    }

    /// Squared distances and rows.
    pub fn found(&self) -> &[(f64, usize)] {
        &self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const NAN: f64 = f64::NAN;

    /// What is found without products: every pair.
    fn by_hand(rows: &[f64], query: &[f64], wanted: usize) -> Vec<(f64, usize)> {
        let d = query.len();
        let distance = |row: &[f64]| {
            let apart: Vec<f64> = row.iter().zip(query).map(|(a, b)| (a - b).powi(2)).filter(|x| !x.is_nan()).collect();
            (!apart.is_empty()).then(|| apart.iter().sum::<f64>() / apart.len() as f64 * d as f64)
        };
        let mut all: Vec<(f64, usize)> =
            rows.chunks(d).enumerate().filter_map(|(at, row)| Some((distance(row)?, at))).collect();
        all.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
        all.truncate(wanted);
        all
    }

    #[test]
    fn neighbours_are_those_of_all_pairs() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        // Even columns, columns of very different sizes, ties, a column far from zero, a row far from all others.
        type Make = fn(&mut ChaCha8Rng, usize) -> f64;
        let makes: [Make; 5] = [
            |rng, _| rng.random::<f64>(),
            |rng, at| rng.random::<f64>() * 10_f64.powi(at as i32 % 7 * 3 - 9),
            |rng, _| f64::from(rng.random_range(0..3)),
            |rng, _| 1e9 + rng.random::<f64>(),
            |rng, at| if at == 77 { 1e30 } else { rng.random::<f64>() },
        ];
        for (case, make) in makes.iter().enumerate() {
            for (missing, d) in [(0.0, 7), (0.3, 7), (0.9, 3), (0.0, 1)] {
                let n = 2 * PANEL + 333;
                let mut cells: Vec<f64> = (0..n * d).map(|at| make(&mut rng, at)).collect();
                for cell in &mut cells {
                    *cell = if rng.random::<f64>() < missing { NAN } else { *cell };
                }
                let queries = cells[..(QUERIES + 5) * d].to_vec();
                let neighbours =
                    if missing > 0.0 { Neighbours::with_gaps(cells, d) } else { Neighbours::complete(cells, d) };
                let offer = |nearest: &mut Nearest, row: usize, distance: f64| {
                    nearest.offer(row, distance);
                    nearest.far()
                };
                let found = neighbours.search(&queries, |_| Nearest::new(5), offer);
                for (query, nearest) in queries.chunks(d).zip(&found) {
                    assert_eq!(nearest.found(), by_hand(neighbours.rows(), query, 5), "case {case}, {missing}, {d}");
                }
            }
        }
    }

    #[test]
    fn rows_without_a_common_column_are_no_neighbours() {
        let neighbours = Neighbours::with_gaps(vec![1.0, NAN, NAN, 2.0, NAN, NAN], 2);
        let offer = |nearest: &mut Nearest, row: usize, distance: f64| {
            nearest.offer(row, distance);
            nearest.far()
        };
        let found = neighbours.search(&[5.0, NAN, 1e300, NAN], |_| Nearest::new(2), offer);
        assert_eq!(found[0].found(), [(32.0, 0)]);
        assert_eq!(found[1].found().len(), 0);
    }
}
