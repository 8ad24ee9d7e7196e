//! What the families share about training rows: weights, and rows set aside for early stopping.

use ndarray::{Array1, ArrayView2, Axis};
use rayon::prelude::*;
use retune_spec::estimators::ClassWeight;
use retune_stage::{Design, Result, StageError, Target};

/// Rows that are summed by one thread.
const MOMENT_ROWS: usize = 4096;

/// Fails where a number is NaN or infinite, naming its column. A missing level is a level of its own to families that take such columns.
pub(crate) fn check_finite(rows: &Design) -> Result<()> {
    refuse(rows, |value| !value.is_finite())
}

/// Fails where a feature is infinite, naming it, for families that take missing values.
pub(crate) fn check_not_infinite(rows: &Design) -> Result<()> {
    refuse(rows, f64::is_infinite)
}

fn refuse(rows: &Design, is_refused: impl Fn(f64) -> bool) -> Result<()> {
    let n_features = rows.features.ncols();
    let is_missing_level = |place: usize, value: f64| value.is_nan() && rows.levels_of(place % n_features).is_some();
    let mut values = rows.features.iter().enumerate();
    let Some(place) = values.position(|(place, &value)| is_refused(value) && !is_missing_level(place, value)) else {
        return Ok(());
    };
    let (row, column) = (place / n_features, place % n_features);
    let (name, value, row) = (&rows.names[column], rows.features[[row, column]], rows.row_number(row));
    Err(if value.is_nan() {
        StageError::data(format!("column `{name}` has a missing value in row {row}"))
            .help("add the step `impute` before this stage, or declare `encode: {}` in the model selection")
    } else {
        StageError::data(format!("column `{name}` holds {value} in row {row}"))
            .help("add the step `clip_outliers` before this stage")
    })
}

/// Fails where a feature is categorical, for families that need numbers.
pub(crate) fn check_numbers(rows: &Design) -> Result<()> {
    match (0..rows.names.len()).find(|&feature| rows.levels_of(feature).is_some()) {
        None => Ok(()),
        Some(feature) => {
            let name = &rows.names[feature];
            Err(StageError::data(format!("column `{name}` is categorical, where numbers are needed"))
                .help(retune_stage::encoder_hint(retune_stage::Kind::Categorical)))
        }
    }
}

/// Fails where rows to predict have more or fewer features than the training rows.
pub(crate) fn check_width(features: ArrayView2<f64>, expected: usize) -> Result<()> {
    match features.ncols() {
        width if width == expected => Ok(()),
        width => {
            Err(StageError::data(format!("the rows have {width} features, but the model was trained on {expected}")))
        }
    }
}

/// The label codes and how many labels there are. Fails for values.
pub(crate) fn codes(rows: &Design) -> Result<(&[u32], usize)> {
    match rows.target()? {
        Target::Classes { codes, n_classes } => Ok((codes, *n_classes)),
        Target::Values(_) => Err(StageError::failed("the target holds values, and the model predicts labels")),
    }
}

/// The values to predict. Fails for labels.
pub(crate) fn values(rows: &Design) -> Result<&[f64]> {
    match rows.target()? {
        Target::Values(values) => Ok(values),
        Target::Classes { .. } => Err(StageError::failed("the target holds labels, and the model predicts values")),
    }
}

/// The weight of each label where labels are balanced: the weight of all rows / (labels * weight of the label's rows), over the labels that occur.
pub(crate) fn class_weights(weighting: ClassWeight, rows: &Design) -> Result<Option<Vec<f64>>> {
    let (ClassWeight::Balanced, Target::Classes { codes, n_classes }) = (weighting, rows.target()?) else {
        return Ok(None);
    };
    let mut sums = vec![0.0; *n_classes];
    for (row, &code) in codes.iter().enumerate() {
        sums[code as usize] += rows.weights.as_ref().map_or(1.0, |weights| weights[row]);
    }
    let total: f64 = sums.iter().sum();
    let n_present = sums.iter().filter(|&&sum| sum > 0.0).count() as f64;
    let weight = |&sum: &f64| if sum > 0.0 { total / (n_present * sum) } else { 0.0 };
    Ok(Some(sums.iter().map(weight).collect()))
}

/// Sample weights times the weights of the labels; `None` where all rows weigh the same.
pub(crate) fn row_weights(rows: &Design, class_weights: Option<&[f64]>) -> Result<Option<Vec<f64>>> {
    let mut weights = match (&rows.weights, class_weights) {
        (None, None) => return Ok(None),
        (Some(weights), _) => weights.clone(),
        (None, Some(_)) => vec![1.0; rows.n_rows()],
    };
    if let (Some(class_weights), Target::Classes { codes, .. }) = (class_weights, rows.target()?) {
        weights.iter_mut().zip(codes).for_each(|(weight, &code)| *weight *= class_weights[code as usize]);
    }
    let usable = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0) && weights.iter().sum::<f64>() > 0.0;
    if usable {
        Ok(Some(weights))
    } else {
        Err(StageError::data("the sample weights are not all finite and at least zero, with one above zero"))
    }
}

/// The weighted mean and variance of every column. Rows are summed in blocks of a fixed size and in their order.
pub(crate) fn moments(features: ArrayView2<f64>, weights: Option<&[f64]>) -> (Array1<f64>, Array1<f64>) {
    let total: f64 = weights.map_or(features.nrows() as f64, |weights| weights.iter().sum());
    let center = sum_of_rows(features, weights, |_, value| value) / total;
    let mut variance = sum_of_rows(features, weights, |column, value| (value - center[column]).powi(2)) / total;
    // What rounding the mean leaves of a constant column is no variance.
    variance.zip_mut_with(&center, |variance, center| {
        if variance.sqrt() <= 1e-12 * center.abs() {
            *variance = 0.0;
        }
    });
    (center, variance)
}

fn sum_of_rows(
    features: ArrayView2<f64>,
    weights: Option<&[f64]>,
    term: impl Fn(usize, f64) -> f64 + Sync,
) -> Array1<f64> {
    let block_sum = |(block, rows): (usize, ArrayView2<f64>)| {
        let mut sum = Array1::zeros(features.ncols());
        for (row, values) in rows.rows().into_iter().enumerate() {
            let weight = weights.map_or(1.0, |weights| weights[block * MOMENT_ROWS + row]);
            sum.iter_mut()
                .zip(values)
                .enumerate()
                .for_each(|(column, (sum, &value))| *sum += weight * term(column, value));
        }
        sum
    };
    let blocks = features.axis_chunks_iter(Axis(0), MOMENT_ROWS).into_par_iter().enumerate();
    let sums: Vec<Array1<f64>> = blocks.map(block_sum).collect();
    sums.into_iter().fold(Array1::zeros(features.ncols()), |total, sum| total + sum)
}
