//! Feature selection methods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::Selector;

/// `uses: feature-selection`: methods applied in their order, each fitted on training rows only. Features must be numeric or boolean by then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeatureSelection {
    /// The methods in their order.
    #[schemars(length(min = 1))]
    pub steps: Vec<Method>,
    /// Columns that no method may drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub always_keep: Option<Selector>,
    /// Columns that are dropped before the first method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub never_keep: Option<Selector>,
}

/// One method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Drops columns that hardly vary.
    VarianceThreshold(VarianceThreshold),
    /// Drops columns that repeat another one.
    Correlation(Correlation),
    /// Keeps the columns that tell most about the target.
    MutualInformation(MutualInformation),
}

impl Method {
    /// The word in the language.
    pub fn word(&self) -> &'static str {
        match self {
            Self::VarianceThreshold(_) => "variance_threshold",
            Self::Correlation(_) => "correlation",
            Self::MutualInformation(_) => "mutual_information",
        }
    }
}

/// Drops columns whose variance (of the population) is not above the threshold, as scikit-learn's `VarianceThreshold`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VarianceThreshold {
    /// The threshold; by default only constant columns are dropped.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub threshold: f64,
}

/// Of every two columns that correlate above `max` in absolute value, drops the one that tells less of the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Correlation {
    /// The greatest correlation that is left.
    #[serde(default = "max_correlation")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max: f64,
    /// Which correlation.
    #[serde(default)]
    pub method: CorrelationMethod,
}

/// Which correlation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CorrelationMethod {
    /// Of values.
    #[default]
    Pearson,
    /// Of ranks.
    Spearman,
}

fn max_correlation() -> f64 {
    0.98
}

/// Keeps the columns with the greatest mutual information with the target (Kraskov et al. 2004, Ross 2014; scikit-learn's `mutual_info_classif` and
/// `mutual_info_regression`; columns of few distinct values are counted exactly).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MutualInformation {
    /// How many columns to keep, or a share of them such as `40 %`.
    pub keep: Keep,
    /// Nearest neighbours of the estimator.
    #[serde(default = "neighbors")]
    #[schemars(range(min = 1, max = 100))]
    pub neighbors: usize,
    /// At most so many rows are looked at, drawn at random.
    #[serde(default = "max_rows")]
    #[schemars(range(min = 10))]
    pub max_rows: usize,
}

fn neighbors() -> usize {
    3
}

fn max_rows() -> usize {
    100_000
}

/// How many columns are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Keep {
    /// So many.
    Count(#[schemars(range(min = 1))] usize),
    /// A share, as `40 %`.
    Share(
        #[schemars(
            regex(pattern = r"^(100|[0-9]{1,2}(\.[0-9]+)?) ?%$"),
            extend("patternErrorMessage" = "must be a number of columns, or a share such as `40 %`")
        )]
        String,
    ),
}

impl Keep {
    /// How many of `n` columns are kept: at least one, at most all.
    pub fn count(&self, n: usize) -> usize {
        let wanted = match self {
            Self::Count(count) => *count,
            Self::Share(share) => {
                let percent: f64 = share.trim_end_matches('%').trim().parse().unwrap_or(100.0);
                (percent / 100.0 * n as f64).round() as usize
            }
        };
        wanted.clamp(1.min(n), n)
    }
}
