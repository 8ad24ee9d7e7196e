//! `quantile_transform`.

use retune_spec::preprocessing::{Distribution, QuantileTransform};
use retune_stage::{FitContext, Kind, Result};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::stats::{by_column, linspace, quantiles_of};
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// Values so close to the ends of the training range count as being there (scikit-learn's bound), where the normal distribution has no end.
const NEAR: f64 = 1e-7;

/// The quantiles of each column.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedQuantileTransform {
    columns: Vec<String>,
    /// None for a column without values.
    quantiles: Vec<Vec<f64>>,
    /// How many shares between 0 and 1 they are of.
    n_quantiles: usize,
    output: Distribution,
}

impl FitStep for QuantileTransform {
    type Fitted = FittedQuantileTransform;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        outline.set_kind(columns, Kind::Numeric);
        Ok(())
    }

    fn fit(
        &self,
        source: &Source,
        columns: &[String],
        _context: &FitContext,
    ) -> Result<Learnt<FittedQuantileTransform>> {
        let n_quantiles = self.n_quantiles.min(source.n_rows());
        // By way of per cents, as scikit-learn: how a share is rounded can decide between the ranks on both sides of it.
        let shares: Vec<f64> = linspace(0.0, 1.0, n_quantiles).map(|share| share * 100.0 / 100.0).collect();
        let quantiles = by_column(source, columns, |_, mut values| {
            values.retain(|value| !value.is_nan());
            Ok(quantiles_of(&mut values, &shares).unwrap_or_default())
        })?;
        let text = format!("took {} of {}", counted(n_quantiles, "quantile"), counted(columns.len(), "column"));
        let fitted = FittedQuantileTransform { columns: columns.to_vec(), quantiles, n_quantiles, output: self.output };
        Ok(Learnt::applied(fitted, text))
    }
}

impl ApplyStep for FittedQuantileTransform {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let shares: Vec<f64> = linspace(0.0, 1.0, self.n_quantiles).collect();
        let normal = Normal::standard();
        // So far out that the way back finds the ends of the range again, as scikit-learn.
        let ends = [NEAR - f64::EPSILON, 1.0 - (NEAR - f64::EPSILON)].map(|share| normal.inverse_cdf(share));
        frame.map(&self.columns, |index, values| {
            let quantiles = &self.quantiles[index];
            // A column without values stays as it is.
            let (Some(&least), Some(&greatest)) = (quantiles.first(), quantiles.last()) else { return Ok(()) };
            for value in values.iter_mut().filter(|value| !value.is_nan()) {
                *value = match self.output {
                    Distribution::Uniform if *value == least => 0.0,
                    Distribution::Uniform if *value == greatest => 1.0,
                    Distribution::Uniform => share_below(*value, quantiles, &shares),
                    Distribution::Normal if *value - NEAR < least => ends[0],
                    Distribution::Normal if *value + NEAR > greatest => ends[1],
                    Distribution::Normal => {
                        normal.inverse_cdf(share_below(*value, quantiles, &shares)).clamp(ends[0], ends[1])
                    }
                };
            }
            Ok(())
        })
    }
}

/// The share of a value, interpolated between quantiles; the middle of the shares of equal quantiles.
fn share_below(value: f64, quantiles: &[f64], shares: &[f64]) -> f64 {
    let last = quantiles.len() - 1;
    let (n_below, n_not_above) =
        (quantiles.partition_point(|&at| at < value), quantiles.partition_point(|&at| at <= value));
    if n_not_above == 0 {
        return shares[0];
    }
    if n_below > last {
        return shares[last];
    }
    if n_below < n_not_above {
        return 0.5 * (shares[n_below] + shares[n_not_above - 1]);
    }
    // Between two quantiles.
    let (low, high) = (n_below - 1, n_below);
    let step = (shares[high] - shares[low]) / (quantiles[high] - quantiles[low]);
    (shares[low] + step * (value - quantiles[low])).clamp(shares[low], shares[high])
}
