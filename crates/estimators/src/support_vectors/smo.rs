//! Sequential minimal optimisation as libsvm does it: pairs by second-order information (Fan, Chen and Lin 2005) and shrinking.

use retune_stage::{Progress, Result};

use super::kernel::{Cache, Rows};

/// Takes the place of a curvature that is not above zero.
const LEAST_BEND: f64 = 1e-12;
/// Steps between two looks at which variables can be set aside.
const BETWEEN_LOOKS: usize = 1000;
/// Kernels of so many rows are computed together.
const TOGETHER: usize = 8;

/// A variable: the share of a training row in the decision.
#[derive(Clone, Copy)]
pub(super) struct Variable {
    pub(super) row: usize,
    pub(super) bounds: (f64, f64),
    /// What the decision of the row should be for the variable to be free, less the intercept.
    pub(super) aim: f64,
}

/// How a search ended.
pub(super) struct Solution {
    /// The share of each row.
    pub(super) shares: Vec<f64>,
    pub(super) intercept: f64,
    /// The dual objective, which is minimised.
    pub(super) objective: f64,
    pub(super) steps: usize,
    pub(super) converged: bool,
}

/// When to stop.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) tolerance: f64,
    /// 0 is unlimited.
    pub(super) max_steps: usize,
    pub(super) cache_bytes: usize,
}

/// Minimises half the shares' kernel form less the sum of shares times aims, where shares keep to their bounds and add up to zero.
pub(super) fn solve(variables: &[Variable], rows: &Rows, limits: Limits, progress: &dyn Progress) -> Result<Solution> {
    let mut search = Search::of(variables, rows, limits);
    let (mut steps, mut converged, mut has_unshrunk) = (0, false, false);
    let between = BETWEEN_LOOKS.min(variables.len().max(1));
    let mut look = between;
    loop {
        look -= 1;
        if look == 0 {
            look = between;
            progress.check_cancelled()?;
            let violation = search.shrink();
            if !has_unshrunk && violation <= 10.0 * limits.tolerance {
                has_unshrunk = true;
                search.unshrink();
                search.shrink();
            }
        }
        let pair = match search.pair(limits.tolerance) {
            None if search.n_active < search.shares.len() => {
                search.unshrink();
                look = 1;
                search.pair(limits.tolerance)
            }
            pair => pair,
        };
        let Some((one, other)) = pair else {
            converged = true;
            break;
        };
        if limits.max_steps > 0 && steps == limits.max_steps {
            break;
        }
        steps += 1;
        search.step(one, other);
    }
    search.unshrink();
    Ok(search.solution(steps, converged))
}

/// The variables, the active ones first, side by side.
struct Search<'a> {
    cache: Cache<'a>,
    rows: &'a Rows,
    n_active: usize,
    row: Vec<usize>,
    bounds: Vec<(f64, f64)>,
    aim: Vec<f64>,
    shares: Vec<f64>,
    /// The aims less the sum of kernels times shares: those that may grow and those that may shrink agree in the end.
    left: Vec<f64>,
    /// Each variable's kernel with itself.
    own: Vec<f64>,
}

impl<'a> Search<'a> {
    fn of(variables: &[Variable], rows: &'a Rows, limits: Limits) -> Self {
        let own = rows.own();
        let aim: Vec<f64> = variables.iter().map(|variable| variable.aim).collect();
        Self {
            cache: Cache::new(rows, limits.cache_bytes),
            rows,
            n_active: variables.len(),
            row: variables.iter().map(|variable| variable.row).collect(),
            bounds: variables.iter().map(|variable| variable.bounds).collect(),
            left: aim.clone(),
            aim,
            shares: vec![0.0; variables.len()],
            own: variables.iter().map(|variable| own[variable.row]).collect(),
        }
    }

    fn may_grow(&self, at: usize) -> bool {
        self.shares[at] < self.bounds[at].1
    }

    fn may_shrink(&self, at: usize) -> bool {
        self.shares[at] > self.bounds[at].0
    }

    /// The greatest of what is left to variables that may grow, and where; the least to those that may shrink.
    fn ends(&self) -> (f64, usize, f64) {
        let (mut greatest, mut place, mut least) = (f64::NEG_INFINITY, 0, f64::INFINITY);
        for at in 0..self.n_active {
            let left = self.left[at];
            if left > greatest && self.may_grow(at) {
                (greatest, place) = (left, at);
            }
            if left < least && self.may_shrink(at) {
                least = left;
            }
        }
        (greatest, place, least)
    }

    /// The pair that promises the greatest decrease; `None` where no pair violates the conditions of optimality by more than `tolerance`.
    fn pair(&mut self, tolerance: f64) -> Option<(usize, usize)> {
        let (greatest, one, least) = self.ends();
        if greatest - least < tolerance || greatest == f64::NEG_INFINITY || least == f64::INFINITY {
            return None;
        }
        self.load(one, greatest, least);
        let (kernels, own) = (self.cache.get(self.row[one]), self.own[one]);
        let (mut best, mut other) = (0.0, None);
        for at in 0..self.n_active {
            let gain = greatest - self.left[at];
            if gain > 0.0 && self.may_shrink(at) {
                let bend = own + self.own[at] - 2.0 * f64::from(kernels[self.row[at]]);
                let decrease = gain * gain / if bend > 0.0 { bend } else { LEAST_BEND };
                if decrease > best {
                    (best, other) = (decrease, Some(at));
                }
            }
        }
        let other = other?;
        self.load(other, greatest, least);
        Some((one, other))
    }

    /// Makes the kernels of a variable known, and of those that violate most and will be asked for soon.
    fn load(&mut self, at: usize, greatest: f64, least: f64) {
        let row = self.row[at];
        let soon = if self.cache.has(row) { Vec::new() } else { self.asked_soon(0.5 * (greatest + least)) };
        self.cache.load(row, soon);
    }

    fn asked_soon(&self, middle: f64) -> Vec<usize> {
        let violation = |at: usize| {
            let above = self.left[at] - middle;
            match (self.may_grow(at), self.may_shrink(at)) {
                (true, true) => above.abs(),
                (true, false) => above,
                _ => -above,
            }
        };
        let unknown = (0..self.n_active).filter(|&at| !self.cache.has(self.row[at]));
        let mut soon: Vec<(f64, usize)> = unknown.map(|at| (violation(at), self.row[at])).collect();
        if soon.len() > TOGETHER {
            soon.select_nth_unstable_by(TOGETHER - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            soon.truncate(TOGETHER - 1);
        }
        let mut rows: Vec<usize> = soon.into_iter().map(|(_, row)| row).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// Moves a pair to where the objective is least.
    fn step(&mut self, one: usize, other: usize) {
        let (kernels, others) = (self.cache.get(self.row[one]), self.cache.get(self.row[other]));
        let bend = self.own[one] + self.own[other] - 2.0 * f64::from(kernels[self.row[other]]);
        let wanted = (self.left[one] - self.left[other]) / if bend > 0.0 { bend } else { LEAST_BEND };
        let (up, down) = (self.bounds[one].1 - self.shares[one], self.shares[other] - self.bounds[other].0);
        let step = wanted.min(up).min(down);
        // What reaches a bound lies on it exactly, whatever adding would have rounded to.
        self.shares[one] = if step == up { self.bounds[one].1 } else { self.shares[one] + step };
        self.shares[other] = if step == down { self.bounds[other].0 } else { self.shares[other] - step };
        for (left, &row) in self.left[..self.n_active].iter_mut().zip(&self.row) {
            *left -= step * (f64::from(kernels[row]) - f64::from(others[row]));
        }
    }

    /// Sets variables aside that are at a bound and far from leaving it. Returns the greatest violation.
    fn shrink(&mut self) -> f64 {
        let (greatest, _, least) = self.ends();
        let mut at = 0;
        while at < self.n_active {
            let stays_up = !self.may_grow(at) && self.left[at] > greatest;
            let stays_down = !self.may_shrink(at) && self.left[at] < least;
            if stays_up || stays_down {
                self.n_active -= 1;
                self.swap(at, self.n_active);
            } else {
                at += 1;
            }
        }
        greatest - least
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.row.swap(a, b);
        self.bounds.swap(a, b);
        self.aim.swap(a, b);
        self.shares.swap(a, b);
        self.left.swap(a, b);
        self.own.swap(a, b);
    }

    /// Takes all variables back.
    fn unshrink(&mut self) {
        let aside = self.n_active..self.shares.len();
        if aside.is_empty() {
            return;
        }
        let shares = self.by_row();
        let used: Vec<usize> = (0..shares.len()).filter(|&row| shares[row] != 0.0).collect();
        let mut sums = vec![0.0; shares.len()];
        for (at, &row) in used.iter().enumerate() {
            if !self.cache.has(row) {
                let next = used[at..].iter().copied().filter(|&row| !self.cache.has(row)).take(TOGETHER).collect();
                self.cache.load(row, next);
            }
            let kernels = self.cache.get(row);
            sums.iter_mut().zip(kernels).for_each(|(sum, &kernel)| *sum += shares[row] * f64::from(kernel));
        }
        for at in aside {
            self.left[at] = self.aim[at] - sums[self.row[at]];
        }
        self.n_active = self.shares.len();
    }

    fn by_row(&self) -> Vec<f64> {
        let mut shares = vec![0.0; self.rows.len()];
        self.row.iter().zip(&self.shares).for_each(|(&row, share)| shares[row] += share);
        shares
    }

    fn solution(self, steps: usize, converged: bool) -> Solution {
        let free: Vec<f64> = (0..self.shares.len())
            .filter(|&at| self.may_grow(at) && self.may_shrink(at))
            .map(|at| self.left[at])
            .collect();
        let intercept = if free.is_empty() {
            let (greatest, _, least) = self.ends();
            [greatest, least].iter().filter(|end| end.is_finite()).sum::<f64>()
                / [greatest, least].iter().filter(|end| end.is_finite()).count().max(1) as f64
        } else {
            free.iter().sum::<f64>() / free.len() as f64
        };
        let terms = self.shares.iter().zip(self.left.iter().zip(&self.aim));
        let objective = -0.5 * terms.map(|(share, (left, aim))| share * (left + aim)).sum::<f64>();
        Solution { shares: self.by_row(), intercept, objective, steps, converged }
    }
}
