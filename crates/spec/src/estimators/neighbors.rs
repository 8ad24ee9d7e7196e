//! Nearest neighbours.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The labels, or the mean, of the nearest training rows, as scikit-learn's `KNeighborsClassifier` and `KNeighborsRegressor`; exact. Scale the columns first. Of
/// rows equally near, the earlier ones count. Sample weights multiply the votes; rows without weight are not asked. Where there are fewer training rows than
/// `neighbors`, all are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KNearestNeighbors {
    /// How many training rows are asked.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 100_000))]
    pub neighbors: usize,
    /// How much each of them counts.
    #[serde(default)]
    pub weights: NeighborWeight,
    /// How far two rows are from each other.
    #[serde(default)]
    pub distance: Distance,
}

/// How much a neighbour counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NeighborWeight {
    /// All the same.
    #[default]
    Uniform,
    /// The inverse of its distance; neighbours at distance zero alone, where there are such.
    Distance,
}

/// Distances of two rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// The root of the sum of squared differences.
    #[default]
    Euclidean,
    /// The sum of the differences' sizes.
    Manhattan,
    /// One minus the cosine of the angle between them.
    Cosine,
}

fn five() -> usize {
    5
}
