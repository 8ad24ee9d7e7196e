//! What `pca` and `truncated_svd` share.

use faer::Mat;
use faer::reborrow::{Reborrow, ReborrowMut};
use ndarray::Array2;
use retune_stage::{LoadDir, Result, StageError};

use crate::step::counted;

/// `PREFIX_1`, `PREFIX_2`, ...
pub(crate) fn component_names(prefix: &str, n_components: usize) -> Vec<String> {
    (1..=n_components).map(|number| format!("{prefix}_{number}")).collect()
}

/// Turns each column so that its greatest entry by magnitude is positive: scikit-learn's `svd_flip`. Without this the signs would be arbitrary.
pub(crate) fn flip_signs(directions: &mut Mat<f64>) {
    for mut column in directions.col_iter_mut() {
        let greatest = column
            .rb()
            .iter()
            .fold(0.0_f64, |greatest, &entry| if entry.abs() > greatest.abs() { entry } else { greatest });
        if greatest < 0.0 {
            column.rb_mut().iter_mut().for_each(|entry| *entry = -*entry);
        }
    }
}

/// The variance (of the population) of each column of a matrix in row order.
pub(crate) fn variance(matrix: &[f64], width: usize) -> Vec<f64> {
    let n = (matrix.len() / width.max(1)).max(1) as f64;
    let column = |index: usize| matrix.iter().skip(index).step_by(width);
    (0..width)
        .map(|index| {
            let mean = column(index).sum::<f64>() / n;
            column(index).map(|value| (value - mean).powi(2)).sum::<f64>() / n
        })
        .collect()
}

/// What a projection kept, in words.
pub(crate) fn share_text(n_components: usize, n_columns: usize, kept: f64, total: f64) -> String {
    let share = if total > 0.0 { 100.0 * kept / total } else { 100.0 };
    format!(
        "{} hold {share:.1} % of the variance of {}",
        counted(n_components, "component"),
        counted(n_columns, "column")
    )
}

/// Reads a matrix of the given shape.
pub(crate) fn read_matrix(dir: &LoadDir, file: &str, name: &str, shape: [usize; 2]) -> Result<Array2<f64>> {
    let matrix = dir.matrices(file)?.remove(name);
    matrix.filter(|matrix| matrix.shape() == shape).ok_or_else(|| {
        StageError::failed(format!("{file}: no matrix `{name}` of {} rows and {} columns", shape[0], shape[1]))
    })
}
