//! Whether probabilities are as often right as they say.

use ndarray::Array2;

use crate::MetricError;
use crate::bootstrap::quantile;
use crate::curves::check_rows;
use crate::scorer::Counted;

/// How probabilities are put into bins. A probability on an edge belongs to the bin below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bins {
    /// Bins of equal width from 0 to 1.
    Uniform,
    /// Bins of about equally many rows.
    Quantile,
}

/// The bins that have rows, from the least probability.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationCurve {
    /// The mean probability of each bin.
    pub predicted: Vec<f64>,
    /// The share of positive rows in each bin.
    pub observed: Vec<f64>,
    /// The rows of each bin.
    pub n_rows: Vec<usize>,
}

/// How often rows are positive that are said to be so with some probability: scikit-learn's `calibration_curve` (there 5 uniform bins by default).
/// Fails for no rows, for lengths that differ, and for probabilities outside 0 to 1.
pub fn calibration_curve(
    positive: &[bool],
    probabilities: &[f64],
    n_bins: usize,
    bins: Bins,
) -> Result<CalibrationCurve, MetricError> {
    check_rows(positive, probabilities)?;
    if n_bins == 0 {
        return Err(MetricError::Setting { what: "the number of bins", value: 0.0, range: "at least 1" });
    }
    if let Some(&value) = probabilities.iter().find(|value| !(0.0..=1.0).contains(*value)) {
        return Err(MetricError::Setting { what: "a probability", value, range: "from 0 to 1" });
    }
    let edges = match bins {
        Bins::Uniform => uniform_edges(n_bins),
        Bins::Quantile => {
            let mut sorted = probabilities.to_vec();
            sorted.sort_by(f64::total_cmp);
            (1..n_bins).map(|edge| quantile(&sorted, edge as f64 / n_bins as f64)).collect()
        }
    };
    let mut sums = vec![(0, 0.0, 0.0); n_bins];
    for (&positive, &probability) in positive.iter().zip(probabilities) {
        let (n_rows, predicted, observed) = &mut sums[bin(&edges, probability)];
        *n_rows += 1;
        *predicted += probability;
        *observed += f64::from(u8::from(positive));
    }
    sums.retain(|(n_rows, ..)| *n_rows > 0);
    Ok(CalibrationCurve {
        predicted: sums.iter().map(|(n_rows, predicted, _)| predicted / *n_rows as f64).collect(),
        observed: sums.iter().map(|(n_rows, _, observed)| observed / *n_rows as f64).collect(),
        n_rows: sums.iter().map(|(n_rows, ..)| *n_rows).collect(),
    })
}

/// Those between the bins, as NumPy's `linspace` rounds them.
fn uniform_edges(n_bins: usize) -> Vec<f64> {
    let width = 1.0 / n_bins as f64;
    (1..n_bins).map(|edge| edge as f64 * width).collect()
}

fn bin(edges: &[f64], probability: f64) -> usize {
    edges.partition_point(|edge| *edge < probability)
}

/// The expected calibration error of the predicted label (Guo et al. 2017, equation 3).
pub(crate) struct CalibrationError {
    n_bins: usize,
    /// Each row's bin, and 1 where its label is right minus the probability of the predicted one.
    rows: Vec<(usize, f64)>,
}

impl CalibrationError {
    pub(crate) fn new(codes: &[u32], labels: &[u32], probabilities: &Array2<f64>, n_bins: usize) -> Self {
        let edges = uniform_edges(n_bins);
        let row = |(row, (code, &label)): (usize, (&u32, &u32))| {
            let probability = probabilities[[row, label as usize]];
            (bin(&edges, probability), f64::from(u8::from(*code == label)) - probability)
        };
        Self { n_bins, rows: codes.iter().zip(labels).enumerate().map(row).collect() }
    }
}

impl Counted for CalibrationError {
    fn score(&self, counts: &[u32]) -> Result<f64, &'static str> {
        let mut gaps = vec![0.0; self.n_bins];
        let mut n_rows = 0.0;
        for (&(bin, gap), &count) in self.rows.iter().zip(counts) {
            gaps[bin] += gap * f64::from(count);
            n_rows += f64::from(count);
        }
        Ok(gaps.into_iter().map(f64::abs).sum::<f64>() / n_rows)
    }
}
