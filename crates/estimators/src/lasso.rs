//! Least squares with an L1 penalty: the lasso and the elastic net.
//!
//! Coordinate descent (Friedman, Hastie and Tibshirani 2010) until the duality gap is small, as scikit-learn stops. It runs on a working set of columns that grows by
//! those which violate the optimality conditions most, and there on sums of products, so that a step costs as many operations as there are columns in the set, with
//! extrapolation (Bertrand and Massias 2021) where columns are alike; where they are many more than rows, on residuals. Columns outside are looked at once for each set, in
//! parallel.

use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, MatRef, Side};
use ndarray::Array1;
use rayon::prelude::*;
use retune_spec::estimators::{ElasticNet, Lasso};
use retune_stage::{Design, Progress, Result, Task};
use retune_table::numbers::dot;

use crate::family::Family;
use crate::linear::LeastSquares;
use crate::products::{add_products, rows_at_once};
use crate::rows::{check_finite, row_weights, values};
use crate::{FitInfo, FitOptions, FittedLinear};

/// The first working set has at most so many columns; each next one at most twice as many as the one before.
const FIRST_SET: usize = 128;
/// Sums of products are kept for at most so many columns - 128 MiB - and for so many times the rows.
const MAX_PRODUCTS: usize = 4096;
const PER_ROW: usize = 4;
/// Passes that an extrapolation looks at.
const LOOKED_AT: usize = 5;
/// Passes over residuals between two looks at the duality gap, which costs as much as a pass.
const BETWEEN_LOOKS: usize = 5;
/// The working set is solved to this share of the gap that is asked for, or to this share of the gap that there is where the set will not be the last.
const WITHIN: f64 = 0.3;
const MEANWHILE: f64 = 0.1;
/// Columns that are taken out of rows together: what lies in one line of the processor's cache.
const LINE: usize = 8;
/// Rows of residuals that one thread computes.
const BLOCK: usize = 4096;

/// The strength of the penalties: `l1` times the sum of the coefficients' sizes plus `l2 / 2` times their squared norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalty {
    /// That of sizes.
    pub l1: f64,
    /// That of squares.
    pub l2: f64,
}

/// How a search for coefficients ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Solved {
    /// The duality gap as a share of the target's mean square.
    pub gap: f64,
    /// Passes over the working set.
    pub passes: usize,
    /// Whether the gap is as small as asked for.
    pub converged: bool,
}

/// Half the mean squared error plus penalties, for one penalty after the other: each search begins where the one before ended.
pub struct PenalisedSquares {
    n_rows: usize,
    /// Centred columns one after the other, each row times the root of its share in the weight of all.
    cells: Vec<f64>,
    target: Vec<f64>,
    center: Array1<f64>,
    target_center: f64,
    /// Of the target and of each column, the sum of squares; of each column the sum of products with the target.
    target_square: f64,
    squares: Vec<f64>,
    products: Vec<f64>,
    coefficients: Vec<f64>,
    residuals: Vec<f64>,
    /// Of each column, the sum of products with the residuals.
    slopes: Vec<f64>,
    working: Working,
}

/// Coefficients and their slopes after a pass.
type Pass = (Vec<f64>, Vec<f64>);

/// The columns that coefficients are searched for.
#[derive(Default)]
struct Working {
    columns: Vec<usize>,
    is_in: Vec<bool>,
    /// Of each of the first of them, the sums of products with each of those.
    sums: Vec<Vec<f64>>,
}

impl PenalisedSquares {
    /// Of rows, weighted by their sample weights. Fails where a feature is not finite.
    pub fn new(rows: &Design) -> Result<Self> {
        let values = values(rows)?;
        let weights = row_weights(rows, None)?;
        let total: f64 = weights.as_ref().map_or(values.len() as f64, |weights| weights.iter().sum());
        let root = |row: usize| (weights.as_ref().map_or(1.0, |weights| weights[row]) / total).sqrt();
        let roots: Vec<f64> = (0..values.len()).map(root).collect();
        let mut target = values.to_vec();
        let target_center = centre(&mut target, &roots);
        let mut cells = vec![0.0; rows.features.len()];
        let of_line = |(line, cells): (usize, &mut [f64])| {
            for (row, features) in rows.features.rows().into_iter().enumerate() {
                let columns = cells.chunks_exact_mut(values.len()).enumerate();
                columns.for_each(|(at, cells)| cells[row] = features[line * LINE + at]);
            }
            cells.chunks_exact_mut(values.len()).map(|cells| centre(cells, &roots)).collect::<Vec<f64>>()
        };
        let lines = cells.par_chunks_mut((LINE * values.len()).max(1)).enumerate();
        let center: Array1<f64> = lines.flat_map_iter(of_line).collect::<Vec<f64>>().into();
        // A mean is finite where all values are, and looking at it is quicker.
        if center.iter().any(|center| !center.is_finite()) {
            check_finite(rows)?;
        }
        Ok(Self { center, target_center, ..Self::of_columns(cells, target) })
    }

    /// Of centred columns `cells`, one after the other, and a centred target, one value for each row, all divided by the root of the number of rows.
    pub fn of_columns(cells: Vec<f64>, target: Vec<f64>) -> Self {
        let n_rows = target.len();
        let n_columns = cells.len() / n_rows.max(1);
        let column = |column: usize| &cells[column * n_rows..][..n_rows];
        let square = |at: usize| dot(column(at), column(at));
        let squares = (0..n_columns).into_par_iter().map(square).collect();
        let products: Vec<f64> = (0..n_columns).into_par_iter().map(|at| dot(column(at), &target)).collect();
        Self {
            n_rows,
            center: Array1::zeros(n_columns),
            target_center: 0.0,
            target_square: dot(&target, &target),
            squares,
            coefficients: vec![0.0; n_columns],
            residuals: target.clone(),
            slopes: products.clone(),
            products,
            working: Working { is_in: vec![false; n_columns], ..Working::default() },
            cells,
            target,
        }
    }

    /// The least `l1` that leaves no coefficient.
    pub fn strongest(&self) -> f64 {
        self.products.iter().fold(0.0, |greatest, product| greatest.max(product.abs()))
    }

    /// The coefficients of the last penalty, of the columns as they are.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// The mean squared error of the last penalty.
    pub fn error(&self) -> f64 {
        dot(&self.residuals, &self.residuals)
    }

    /// The model of the last penalty.
    pub fn model(&self) -> FittedLinear {
        let offset: f64 = self.coefficients.iter().zip(&self.center).map(|(value, center)| value * center).sum();
        FittedLinear { coefficients: self.coefficients.clone(), intercept: self.target_center - offset }
    }

    /// Searches until the duality gap is at most `tolerance` times the target's mean square, or for `max_passes`. Fails where somebody asked to stop.
    pub fn solve(
        &mut self,
        penalty: Penalty,
        tolerance: f64,
        max_passes: usize,
        progress: &dyn Progress,
    ) -> Result<Solved> {
        let limit = tolerance * self.target_square;
        let (mut passes, mut last) = (0, f64::INFINITY);
        loop {
            progress.check_cancelled()?;
            let gap = self.gap(penalty);
            let has_grown = gap > limit && self.grow(penalty);
            // A set that is solved and still leaves the gap where it was is at the end of what the arithmetic resolves.
            if gap <= limit || passes >= max_passes || (!has_grown && gap >= last) {
                let share = if self.target_square > 0.0 { gap / self.target_square } else { 0.0 };
                return Ok(Solved { gap: share, passes, converged: gap <= limit });
            }
            last = gap;
            let within = (WITHIN * limit).max(if has_grown { MEANWHILE * gap } else { 0.0 });
            passes += if self.multiply() {
                self.descend_products(penalty, within, max_passes - passes)
            } else {
                self.descend_residuals(penalty, within, max_passes - passes)
            };
            self.refresh();
        }
    }

    fn column(&self, at: usize) -> &[f64] {
        &self.cells[at * self.n_rows..][..self.n_rows]
    }

    fn gap(&self, penalty: Penalty) -> f64 {
        let terms = self.coefficients.iter().copied().zip(self.slopes.iter().copied());
        gap(penalty, self.error(), dot(&self.residuals, &self.target), terms)
    }

    /// Takes the columns that violate the optimality conditions most into the working set. Returns whether there are any.
    fn grow(&mut self, penalty: Penalty) -> bool {
        let violates = |&at: &usize| !self.working.is_in[at] && self.slopes[at].abs() > penalty.l1;
        let mut columns: Vec<usize> = (0..self.slopes.len()).filter(violates).collect();
        columns.sort_by(|&a, &b| self.slopes[b].abs().total_cmp(&self.slopes[a].abs()));
        columns.truncate(self.working.columns.len().max(FIRST_SET));
        columns.iter().for_each(|&column| self.working.is_in[column] = true);
        self.working.columns.extend(&columns);
        !columns.is_empty()
    }

    /// Makes the sums of products of the working set known; returns false where there are too many columns for that to be worth while.
    fn multiply(&mut self) -> bool {
        let (n_rows, n_columns) = (self.n_rows, self.working.columns.len());
        if n_columns > MAX_PRODUCTS.min(PER_ROW * n_rows) {
            return false;
        }
        let known = self.working.sums.len();
        if known == n_columns {
            return true;
        }
        let mut sums = vec![0.0; n_columns * (n_columns - known)];
        let at_once = rows_at_once(n_columns);
        let mut cells = Vec::new();
        for first in (0..n_rows).step_by(at_once) {
            let rows = first..n_rows.min(first + at_once);
            cells.clear();
            self.working.columns.iter().for_each(|&column| cells.extend(&self.column(column)[rows.clone()]));
            add_products(&mut sums, MatRef::from_column_major_slice(&cells, rows.len(), n_columns), known, 1.0);
        }
        self.working.sums.extend(sums.chunks_exact(n_columns).map(<[f64]>::to_vec));
        for column in known..n_columns {
            let (before, rest) = self.working.sums.split_at_mut(column);
            before.iter_mut().zip(&rest[0]).for_each(|(sums, &sum)| match sums.get_mut(column) {
                Some(place) => *place = sum,
                None => sums.push(sum),
            });
        }
        true
    }

    /// Passes over the working set on sums of products.
    fn descend_products(&mut self, penalty: Penalty, limit: f64, max_passes: usize) -> usize {
        let at = |values: &[f64]| self.working.columns.iter().map(|&column| values[column]).collect::<Vec<f64>>();
        let (products, mut slopes, mut coefficients) = (at(&self.products), at(&self.slopes), at(&self.coefficients));
        let objective = |(coefficients, slopes): (&[f64], &[f64])| {
            let sizes: f64 = coefficients.iter().map(|value| value.abs()).sum();
            0.5 * (penalty.l2 * dot(coefficients, coefficients)
                - dot(coefficients, &products)
                - dot(coefficients, slopes))
                + penalty.l1 * sizes
        };
        let (mut passes, mut last) = (0, Vec::new());
        while passes < max_passes {
            passes += 1;
            for (at, sums) in self.working.sums.iter().enumerate() {
                let before = coefficients[at];
                let after = best(slopes[at] + sums[at] * before, sums[at], penalty);
                if after != before {
                    coefficients[at] = after;
                    slopes.iter_mut().zip(sums).for_each(|(slope, sum)| *slope -= (after - before) * sum);
                }
            }
            last.push((coefficients.clone(), slopes.clone()));
            if last.len() > LOOKED_AT {
                let farther = extrapolate(&last)
                    .filter(|farther| objective((&farther.0, &farther.1)) < objective((&coefficients, &slopes)));
                (coefficients, slopes) = farther.unwrap_or((coefficients, slopes));
                last.clear();
            }
            let explained = dot(&coefficients, &products);
            let error = self.target_square - explained - dot(&coefficients, &slopes);
            let terms = coefficients.iter().copied().zip(slopes.iter().copied());
            if gap(penalty, error.max(0.0), self.target_square - explained, terms) <= limit {
                break;
            }
        }
        let columns = self.working.columns.iter();
        columns.zip(coefficients).for_each(|(&column, coefficient)| self.coefficients[column] = coefficient);
        passes
    }

    /// Passes over the working set on residuals.
    fn descend_residuals(&mut self, penalty: Penalty, limit: f64, max_passes: usize) -> usize {
        let mut residuals = std::mem::take(&mut self.residuals);
        let mut passes = 0;
        while passes < max_passes {
            for at in 0..self.working.columns.len() {
                let column = self.working.columns[at];
                let (before, square) = (self.coefficients[column], self.squares[column]);
                let values = &self.cells[column * self.n_rows..][..self.n_rows];
                let after = best(dot(values, &residuals) + square * before, square, penalty);
                if after != before {
                    self.coefficients[column] = after;
                    residuals.iter_mut().zip(values).for_each(|(left, value)| *left -= (after - before) * value);
                }
            }
            passes += 1;
            if passes.is_multiple_of(BETWEEN_LOOKS) {
                let slope = |&column: &usize| (self.coefficients[column], dot(self.column(column), &residuals));
                let terms: Vec<(f64, f64)> = self.working.columns.par_iter().map(slope).collect();
                let (error, left) = (dot(&residuals, &residuals), dot(&residuals, &self.target));
                if gap(penalty, error, left, terms.into_iter()) <= limit {
                    break;
                }
            }
        }
        passes
    }

    /// Residuals and slopes become those of the coefficients.
    fn refresh(&mut self) {
        let used: Vec<(usize, f64)> =
            self.coefficients.iter().copied().enumerate().filter(|(_, coefficient)| *coefficient != 0.0).collect();
        let mut residuals = self.target.clone();
        residuals.par_chunks_mut(BLOCK).enumerate().for_each(|(block, residuals)| {
            for &(column, coefficient) in &used {
                let values = &self.column(column)[block * BLOCK..];
                residuals.iter_mut().zip(values).for_each(|(left, value)| *left -= coefficient * value);
            }
        });
        let columns = (0..self.slopes.len()).into_par_iter();
        self.slopes = columns.map(|column| dot(self.column(column), &residuals)).collect();
        self.residuals = residuals;
    }
}

/// Takes the mean off values and multiplies them by the roots of the weights, whose squares add up to 1; returns the mean.
fn centre(values: &mut [f64], roots: &[f64]) -> f64 {
    let mean: f64 = values.iter().zip(roots).map(|(value, root)| value * root * root).sum();
    values.iter_mut().zip(roots).for_each(|(value, root)| *value = (*value - mean) * root);
    // What rounding the mean leaves of a constant column is nothing.
    if dot(values, values).sqrt() <= 1e-12 * mean.abs() {
        values.fill(0.0);
    }
    mean
}

/// The best coefficient of a column where all others stay, by its product with what they leave of the target.
fn best(product: f64, square: f64, penalty: Penalty) -> f64 {
    let curvature = square + penalty.l2;
    // A constant column explains nothing.
    if square > 0.0 { product.signum() * (product.abs() - penalty.l1).max(0.0) / curvature } else { 0.0 }
}

/// Where coefficients and their slopes, of pass after pass, are heading: Anderson's extrapolation, the mean of them whose change is least.
fn extrapolate(last: &[Pass]) -> Option<Pass> {
    let change = |pair: &[Pass]| pair[1].0.iter().zip(&pair[0].0).map(|(b, a)| b - a).collect::<Vec<f64>>();
    let changes: Vec<Vec<f64>> = last.windows(2).map(change).collect();
    let n = changes.len();
    let scale: f64 = changes.iter().map(|change| dot(change, change)).sum();
    // Changes that all but repeat each other have no inverse.
    let among = |a: usize, b: usize| dot(&changes[a], &changes[b]) + if a == b { 1e-12 * scale } else { 0.0 };
    let solved = Llt::new(Mat::from_fn(n, n, among).as_ref(), Side::Lower).ok()?.solve(Mat::full(n, 1, 1.0));
    let total: f64 = (0..n).map(|at| solved[(at, 0)]).sum();
    let mean = |of: fn(&Pass) -> &Vec<f64>| {
        let mut mean = vec![0.0; of(&last[0]).len()];
        for (at, pass) in last[1..].iter().enumerate() {
            let share = solved[(at, 0)] / total;
            mean.iter_mut().zip(of(pass)).for_each(|(mean, value)| *mean += share * value);
        }
        mean
    };
    (scale > 0.0 && total.is_finite() && total != 0.0).then(|| (mean(|pass| &pass.0), mean(|pass| &pass.1)))
}

/// The duality gap as in scikit-learn's `enet_coordinate_descent`, from the residuals' sum of squares and of products with the target, and from each coefficient with the product of its
/// column and the residuals.
fn gap(penalty: Penalty, error: f64, left: f64, terms: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut greatest, mut sizes, mut squares) = (0.0_f64, 0.0, 0.0);
    for (coefficient, slope) in terms {
        greatest = greatest.max((slope - penalty.l2 * coefficient).abs());
        sizes += coefficient.abs();
        squares += coefficient * coefficient;
    }
    let share = if greatest > penalty.l1 { penalty.l1 / greatest } else { 1.0 };
    let both = 1.0 + share * share;
    0.5 * both * error - share * left + penalty.l1 * sizes + 0.5 * penalty.l2 * both * squares
}

impl Family for Lasso {
    type Learned = FittedLinear;

    fn learn(&self, rows: &Design, _task: &Task, options: &FitOptions) -> Result<(FittedLinear, FitInfo)> {
        let penalty = Penalty { l1: self.l1, l2: 0.0 };
        learn("lasso", penalty, (self.tolerance, self.max_iterations), rows, options)
    }
}

impl Family for ElasticNet {
    type Learned = FittedLinear;

    fn learn(&self, rows: &Design, _task: &Task, options: &FitOptions) -> Result<(FittedLinear, FitInfo)> {
        let penalty = Penalty { l1: self.alpha * self.l1_ratio, l2: self.alpha * (1.0 - self.l1_ratio) };
        learn("elastic_net", penalty, (self.tolerance, self.max_iterations), rows, options)
    }
}

fn learn(
    word: &str,
    penalty: Penalty,
    (tolerance, max_passes): (f64, usize),
    rows: &Design,
    options: &FitOptions,
) -> Result<(FittedLinear, FitInfo)> {
    let mut info = FitInfo::default();
    if penalty.l1 == 0.0 {
        if penalty.l2 == 0.0 {
            info.notes.push(format!("{word} without a penalty is least squares: `linear_regression` says so"));
        }
        let total = row_weights(rows, None)?.map_or(rows.n_rows() as f64, |weights| weights.iter().sum());
        return Ok((LeastSquares::of_finite(rows)?.solve(penalty.l2 * total), info));
    }
    let mut squares = PenalisedSquares::new(rows)?;
    let solved = squares.solve(penalty, tolerance, max_passes, options.progress)?;
    if !solved.converged {
        info.notes.push(format!(
            "{word} did not converge: the duality gap is {:.1e} of the target's mean square after {} of {max_passes} passes; raise `max_iterations` or `tolerance`, or scale the columns",
            solved.gap, solved.passes
        ));
    }
    Ok((squares.model(), info))
}
