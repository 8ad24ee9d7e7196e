//! Steps that change the scale of numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{five, yes};
use crate::columns::Selector;

/// Replaces x by ln(1 + x). A value of -1 or less is an error that names column and row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log1p {
    /// The columns changed.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
}

/// Subtracts the mean and divides by the standard deviation (of the population, as scikit-learn). A constant column stays constant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StandardScale {
    /// The columns scaled.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// Subtract the mean.
    #[serde(default = "yes")]
    pub center: bool,
    /// Divide by the standard deviation.
    #[serde(default = "yes")]
    pub scale: bool,
}

/// Scales the range of the training rows to the given one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MinMaxScale {
    /// The columns scaled.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// The least and the greatest value after scaling.
    #[serde(default = "unit_range")]
    pub range: [f64; 2],
    /// Clip values outside the training range.
    #[serde(default)]
    pub clip: bool,
}

fn unit_range() -> [f64; 2] {
    [0.0, 1.0]
}

/// Divides by the greatest absolute value of the training rows, so that they lie between -1 and 1 and zeros stay zeros, as scikit-learn's
/// `MaxAbsScaler`. A column of zeros stays one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaxAbsScale {
    /// The columns scaled.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
}

/// Subtracts the median and divides by the distance between two percentiles, which values far outside do not move, as scikit-learn's
/// `RobustScaler`. A column whose percentiles are equal is divided by 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RobustScale {
    /// The columns scaled.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// The lower and the upper percentile (scikit-learn's `quantile_range`).
    #[serde(default = "quartiles")]
    #[schemars(inner(range(min = 0.0, max = 100.0)))]
    pub percentiles: [f64; 2],
    /// Subtract the median (`with_centering`).
    #[serde(default = "yes")]
    pub center: bool,
    /// Divide by the distance (`with_scaling`).
    #[serde(default = "yes")]
    pub scale: bool,
    /// Scale so that normally distributed values get a variance of 1.
    #[serde(default)]
    pub unit_variance: bool,
}

fn quartiles() -> [f64; 2] {
    [25.0, 75.0]
}

/// Replaces a value by the share of training values below it, interpolated between quantiles, as scikit-learn's `QuantileTransformer`: whatever
/// the column's distribution, the result is uniform or normal. Quantiles are exact, of all training rows (scikit-learn draws 10,000 by default).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuantileTransform {
    /// The columns changed.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// How values are distributed afterwards (`output_distribution`).
    #[serde(default)]
    pub output: Distribution,
    /// How many quantiles are learned; at most as many as there are training rows.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 100_000))]
    pub n_quantiles: usize,
}

/// A distribution to turn values into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Between 0 and 1.
    #[default]
    Uniform,
    /// Standard normal; values outside the training range become -5.2 and 5.2.
    Normal,
}

fn thousand() -> usize {
    1000
}

/// Replaces a value by a power of it that makes the column most like a normal one (maximum likelihood), as scikit-learn's `PowerTransformer`.
/// A constant column keeps its values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerTransform {
    /// The columns changed.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// The family of powers.
    #[serde(default)]
    pub method: PowerMethod,
    /// Subtract the mean and divide by the standard deviation afterwards.
    #[serde(default = "yes")]
    pub standardize: bool,
}

/// The families of `power_transform`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PowerMethod {
    /// For any number (Yeo and Johnson 2000).
    #[default]
    YeoJohnson,
    /// For numbers above 0 (Box and Cox 1964); any other is an error that names column and row.
    BoxCox,
}

/// Divides the numbers of each row by their length, as scikit-learn's `Normalizer`. A row of zeros stays one. Every value must be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// The columns that make up a row's vector.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// How length is measured.
    #[serde(default)]
    pub norm: Norm,
}

/// The length of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// The sum of absolute values.
    L1,
    /// The root of the sum of squares.
    #[default]
    L2,
    /// The greatest absolute value.
    Max,
}

/// Replaces a number by the bin that it falls into, counted from 0, as scikit-learn's `KBinsDiscretizer`. Values outside the training range
/// fall into the outer bins. Bins that would be narrower than 1e-8 are merged. A missing value stays missing, or is in none of the bins.
/// Bins are learned from all training rows, as with `subsample=None`; by default scikit-learn draws 200,000 of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bin {
    /// The columns binned.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// How many bins (`n_bins`).
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 10_000))]
    pub bins: usize,
    /// Where bins end.
    #[serde(default)]
    pub strategy: BinStrategy,
    /// What comes out.
    #[serde(default)]
    pub encode: BinEncoding,
}

/// Where the bins of `bin` end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BinStrategy {
    /// All bins are equally wide.
    Uniform,
    /// All bins hold equally many training values (numpy's `averaged_inverted_cdf`, as scikit-learn since 1.9).
    #[default]
    Quantile,
    /// Halfway between the centres of clusters of the training values.
    KMeans,
}

/// What comes out of `bin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BinEncoding {
    /// The bin's number in place of the value.
    #[default]
    Ordinal,
    /// A column `NAME_0`, `NAME_1`, ... of 0 and 1 for each bin.
    OneHot,
}
