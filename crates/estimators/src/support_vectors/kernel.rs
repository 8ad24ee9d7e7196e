//! Kernels of rows, and a cache of them.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;
use retune_spec::estimators::{Gamma, GammaRule, Kernel, Svm};
use serde::{Deserialize, Serialize};

/// Rows of a block of products.
const BLOCK: usize = 256;

/// A kernel with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KernelFunction {
    pub(super) kind: Kernel,
    pub(super) gamma: f64,
    pub(super) coef0: f64,
    pub(super) degree: usize,
}

impl KernelFunction {
    /// That of training rows.
    pub(super) fn of(spec: &Svm, features: ArrayView2<f64>) -> Self {
        let n_features = features.ncols() as f64;
        let gamma = match spec.gamma {
            Gamma::Value(gamma) => gamma,
            Gamma::Rule(GammaRule::Auto) => 1.0 / n_features,
            Gamma::Rule(GammaRule::Scale) => match variance(features) {
                // As scikit-learn has it where all values are the same.
                variance if variance <= 0.0 => 1.0,
                variance => 1.0 / (n_features * variance),
            },
        };
        Self { kind: spec.kernel, gamma, coef0: spec.coef0, degree: spec.degree }
    }

    /// Makes kernels of the products of a row with others, from their squared norms.
    fn turn(&self, products: &mut [f64], norms: &[f64], own: f64) {
        let cells = products.iter_mut();
        match self.kind {
            Kernel::Linear => {}
            Kernel::Rbf => {
                let distances = cells.zip(norms);
                distances.for_each(|(cell, norm)| *cell = exp(-self.gamma * (own + norm - 2.0 * *cell).max(0.0)));
            }
            Kernel::Polynomial => {
                cells.for_each(|cell| *cell = (self.gamma * *cell + self.coef0).powi(self.degree as i32));
            }
            Kernel::Sigmoid => cells.for_each(|cell| *cell = (self.gamma * *cell + self.coef0).tanh()),
        }
    }
}

/// The variance of all values around their one mean.
fn variance(features: ArrayView2<f64>) -> f64 {
    let sum_of = |term: &(dyn Fn(f64) -> f64 + Sync)| {
        let sums: Vec<f64> = features
            .axis_chunks_iter(Axis(0), BLOCK)
            .into_par_iter()
            .map(|rows| rows.iter().map(|&value| term(value)).sum::<f64>())
            .collect();
        sums.iter().sum::<f64>() / features.len() as f64
    };
    let mean = sum_of(&|value| value);
    sum_of(&|value| (value - mean).powi(2))
}

/// Rows whose kernels with others are asked for.
pub(super) struct Rows {
    function: KernelFunction,
    /// What is taken off every row, so that squared distances keep their digits; nothing for kernels of products.
    origin: Array1<f64>,
    cells: Array2<f64>,
    norms: Vec<f64>,
}

impl Rows {
    pub(super) fn new(function: KernelFunction, mut cells: Array2<f64>) -> Self {
        let zero = || Array1::zeros(cells.ncols());
        let origin = match function.kind {
            Kernel::Rbf => cells.mean_axis(Axis(0)).unwrap_or_else(zero),
            _ => zero(),
        };
        cells -= &origin;
        let norms = norms(cells.view());
        Self { function, origin, cells, norms }
    }

    pub(super) fn len(&self) -> usize {
        self.cells.nrows()
    }

    /// Each row's kernel with itself.
    pub(super) fn own(&self) -> Vec<f64> {
        let own = |&norm: &f64| {
            let mut cell = [norm];
            self.function.turn(&mut cell, &[norm], norm);
            cell[0]
        };
        self.norms.iter().map(own).collect()
    }

    /// The kernels of a few other rows with all of these [others, rows].
    pub(super) fn with(&self, others: ArrayView2<f64>) -> Array2<f64> {
        let others = &others - &self.origin;
        self.with_centred(self.cells.view(), &self.norms, others.view(), &norms(others.view()))
    }

    fn with_centred(
        &self,
        cells: ArrayView2<f64>,
        norms: &[f64],
        others: ArrayView2<f64>,
        of_others: &[f64],
    ) -> Array2<f64> {
        // A product that allocates would lay out single columns the other way.
        let mut kernels = Array2::zeros((others.nrows(), cells.nrows()));
        general_mat_mul(1.0, &others, &cells.t(), 0.0, &mut kernels);
        for (row, &own) in kernels.rows_mut().into_iter().zip(of_others) {
            self.function.turn(row.into_slice().unwrap_or_default(), norms, own);
        }
        kernels
    }

    /// The kernels of some of these rows with all, blocks of which are computed side by side.
    fn among(&self, rows: &[usize]) -> Vec<Box<[f32]>> {
        let others = self.cells.select(Axis(0), rows);
        let of_others: Vec<f64> = rows.iter().map(|&row| self.norms[row]).collect();
        let blocks: Vec<Array2<f64>> = self
            .cells
            .axis_chunks_iter(Axis(0), BLOCK)
            .into_par_iter()
            .zip(self.norms.par_chunks(BLOCK))
            .map(|(cells, norms)| self.with_centred(cells, norms, others.view(), &of_others))
            .collect();
        let row = |at: usize| {
            blocks
                .iter()
                .flat_map(|block| block.row(at).to_slice().unwrap_or_default())
                .map(|&cell| cell as f32)
                .collect()
        };
        (0..rows.len()).map(row).collect()
    }
}

/// The exponential of a number that is not above 0, to the last digit or two: what the compiler can compute for several numbers at once, as it cannot the library's.
fn exp(number: f64) -> f64 {
    // Adding this leaves the nearest integer in the last bits.
    const TO_INTEGER: f64 = 6_755_399_441_055_744.0;
    const LN_2: (f64, f64) = (6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10);
    // One over the factorials from 13 to 2.
    const TERMS: [f64; 12] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ];
    let number = number.max(-700.0);
    let shifted = number * std::f64::consts::LOG2_E + TO_INTEGER;
    let integer = shifted - TO_INTEGER;
    let rest = number - integer * LN_2.0 - integer * LN_2.1;
    let series = TERMS.iter().fold(0.0, |sum, term| sum * rest + term);
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    power * ((series * rest + 1.0) * rest + 1.0)
}

fn norms(cells: ArrayView2<f64>) -> Vec<f64> {
    cells.rows().into_iter().map(|row| row.dot(&row)).collect()
}

/// Kernels of rows with all rows as 32-bit numbers, of which the last used are kept.
pub(super) struct Cache<'a> {
    rows: &'a Rows,
    kept: Vec<Option<Box<[f32]>>>,
    /// When each was last asked for.
    used: Vec<u64>,
    time: u64,
    n_kept: usize,
    capacity: usize,
}

impl<'a> Cache<'a> {
    /// Keeps at most so many bytes, and two rows at least.
    pub(super) fn new(rows: &'a Rows, bytes: usize) -> Self {
        let capacity = (bytes / (4 * rows.len()).max(1)).max(16);
        let kept = (0..rows.len()).map(|_| None).collect();
        Self { rows, kept, used: vec![0; rows.len()], time: 0, n_kept: 0, capacity }
    }

    pub(super) fn has(&self, row: usize) -> bool {
        self.kept[row].is_some()
    }

    /// Makes the kernels of a row known, and while it is at it of others.
    pub(super) fn load(&mut self, row: usize, mut others: Vec<usize>) {
        self.time += 1;
        self.used[row] = self.time;
        if self.has(row) {
            return;
        }
        others.retain(|&other| other != row && !self.has(other));
        others.push(row);
        let wanted = others;
        wanted.iter().for_each(|&row| self.used[row] = self.time);
        self.forget((self.n_kept + wanted.len()).saturating_sub(self.capacity));
        self.n_kept += wanted.len();
        let kernels = self.rows.among(&wanted);
        wanted.iter().zip(kernels).for_each(|(&row, kernels)| self.kept[row] = Some(kernels));
    }

    /// The kernels of a row that was loaded.
    pub(super) fn get(&self, row: usize) -> &[f32] {
        self.kept[row].as_deref().unwrap_or_default()
    }

    /// Drops the rows that were not used for the longest time: a few more than must be, but never those of the last two steps.
    fn forget(&mut self, n: usize) {
        if n == 0 {
            return;
        }
        let mut kept: Vec<usize> = (0..self.kept.len()).filter(|&row| self.has(row)).collect();
        kept.sort_by_key(|&row| self.used[row]);
        let n = n.max(self.capacity / 8);
        for &row in kept.iter().take(n).filter(|&&row| self.used[row] + 2 <= self.time) {
            self.kept[row] = None;
            self.n_kept -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_library() {
        for number in (0..700_000).map(|step| f64::from(step) * -1e-3 - 1e-7).chain([0.0, -1e-300]) {
            let (ours, theirs) = (exp(number), number.exp());
            assert!((ours - theirs).abs() <= 4.0 * f64::EPSILON * theirs, "{number}: {ours:e} against {theirs:e}");
        }
        assert!(exp(-1e5) < 1e-300);
    }
}
