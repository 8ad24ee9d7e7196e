//! Scores that are the mean of a loss of each row, or its root.

use ndarray::Array2;

use crate::scorer::Counted;
use crate::spread::mean;

/// Each row's loss.
pub(crate) struct Losses {
    of_rows: Vec<f64>,
    of_mean: fn(f64) -> f64,
}

impl Losses {
    pub(crate) fn mean(of_rows: Vec<f64>) -> Self {
        Self { of_rows, of_mean: |mean| mean }
    }

    pub(crate) fn root(of_rows: Vec<f64>) -> Self {
        Self { of_rows, of_mean: f64::sqrt }
    }
}

impl Counted for Losses {
    fn score(&self, counts: &[u32]) -> Result<f64, &'static str> {
        Ok((self.of_mean)(mean(self.of_rows.iter().copied(), counts)))
    }
}

pub(crate) fn log_losses(codes: &[u32], probabilities: &Array2<f64>) -> Vec<f64> {
    let loss =
        |(row, &code): (usize, &u32)| -probabilities[[row, code as usize]].clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
    codes.iter().enumerate().map(loss).collect()
}

pub(crate) fn brier(codes: &[u32], probabilities: &Array2<f64>) -> Vec<f64> {
    // By custom it lies between 0 and 1 for two labels and between 0 and 2 for more.
    let scale = if probabilities.ncols() < 3 { 0.5 } else { 1.0 };
    let distance =
        |code: u32, label: usize, probability: f64| probability - f64::from(u8::from(label == code as usize));
    let loss = |(row, &code): (usize, &u32)| {
        let squares = probabilities
            .row(row)
            .into_iter()
            .enumerate()
            .map(|(label, &probability)| distance(code, label, probability).powi(2));
        squares.sum::<f64>() * scale
    };
    codes.iter().enumerate().map(loss).collect()
}

/// 1 for rows whose label is among the `k` most probable ones. Of equally probable labels the last one goes first, as in scikit-learn.
pub(crate) fn among_top(codes: &[u32], probabilities: &Array2<f64>, k: usize) -> Vec<f64> {
    let hit = |(row, &code): (usize, &u32)| {
        let (row, code) = (probabilities.row(row), code as usize);
        let goes_before = |&(label, other): &(usize, &f64)| *other > row[code] || (*other == row[code] && label > code);
        f64::from(u8::from(row.iter().enumerate().filter(goes_before).count() < k))
    };
    codes.iter().enumerate().map(hit).collect()
}

pub(crate) fn pinball(truth: &[f64], predicted: &[f64], alpha: f64) -> Vec<f64> {
    let loss = |(truth, predicted): (&f64, &f64)| {
        let missing = truth - predicted;
        if missing >= 0.0 { alpha * missing } else { (alpha - 1.0) * missing }
    };
    truth.iter().zip(predicted).map(loss).collect()
}

/// A row's Poisson deviance, where 0 log 0 is 0.
pub(crate) fn poisson(truth: f64, predicted: f64) -> f64 {
    let information = if truth == 0.0 { 0.0 } else { truth * (truth / predicted).ln() };
    2.0 * (information - truth + predicted)
}
