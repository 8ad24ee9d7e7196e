//! Steps that multiply columns with one another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::Selector;

/// Adds the products of columns up to a degree, `a^2`, `a*b`, `b^2`, behind the columns, as scikit-learn's `PolynomialFeatures` without bias and in
/// its order. A product with a missing factor is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Polynomial {
    /// The columns multiplied; they stay as they are.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// The most factors of a product.
    #[serde(default = "two")]
    #[schemars(range(min = 2, max = 10))]
    pub degree: usize,
    /// Only products of different columns.
    #[serde(default)]
    pub interaction_only: bool,
    /// More products than this are refused, with what they would cost.
    #[serde(default = "ten_thousand")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_columns: usize,
}

fn two() -> usize {
    2
}

fn ten_thousand() -> usize {
    10_000
}
