//! Steps for values and rows that lie far outside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AutoWord, Reach};
use crate::columns::Selector;

/// Clips numbers to a range learned from the training rows: the short word for `outliers` with `action: clip`. A column without spread, such as one whose
/// quartiles are equal, is left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipOutliers {
    /// The columns clipped.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// How the range is learned.
    #[serde(default)]
    pub method: ClipMethod,
    /// How far the range goes, in the units of the method: 3 by default, 3.5 for `modified_z_score`. Not for `percentile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub factor: Option<f64>,
    /// `percentile`: the lower and the upper percentile.
    #[serde(default = "clip_percentiles")]
    #[schemars(inner(range(min = 0.0, max = 100.0)))]
    pub percentiles: [f64; 2],
}

/// How the range beyond which a value is an outlier is learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClipMethod {
    /// The quartiles, widened by `factor` interquartile ranges.
    #[default]
    Iqr,
    /// The mean, widened by `factor` standard deviations.
    ZScore,
    /// The median, widened by `factor` standard deviations as the median absolute deviation estimates them: that divided by 0.6745 (Iglewicz and Hoaglin
    /// 1993).
    ModifiedZScore,
    /// Between two percentiles.
    Percentile,
}

impl ClipMethod {
    /// The word in the language.
    pub fn word(self) -> &'static str {
        OutlierMethod::from(self).word()
    }

    /// The factor where none is given; `None` for a method without one.
    pub fn default_factor(self) -> Option<f64> {
        match self {
            Self::Iqr | Self::ZScore => Some(3.0),
            Self::ModifiedZScore => Some(3.5),
            Self::Percentile => None,
        }
    }
}

/// Finds values or rows that lie far outside of what the training rows show, and clips, empties, drops or flags them.
///
/// `iqr`, `z_score`, `modified_z_score` and `percentile` look at each column by itself and find values; `isolation_forest` and `local_outlier_factor` look at
/// all columns together and find rows, which can be dropped or flagged only and must have no missing values. A missing value is no outlier, and neither is
/// any value of a column without spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outliers {
    /// The columns looked at.
    #[serde(default = "Selector::numeric")]
    pub columns: Selector,
    /// How outliers are found.
    #[serde(default)]
    pub method: OutlierMethod,
    /// What is done about them.
    #[serde(default)]
    pub action: OutlierAction,
    /// How far the range of usual values goes, in the units of the method: 3 by default, 3.5 for `modified_z_score`. For `iqr`, `z_score` and
    /// `modified_z_score`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub factor: Option<f64>,
    /// `percentile`: the lower and the upper percentile; 1 and 99 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(inner(inner(range(min = 0.0, max = 100.0))))]
    pub percentiles: Option<[f64; 2]>,
    /// `isolation_forest` and `local_outlier_factor`: the share of training rows that are outliers, at most 0.5, or `auto`: what the authors of the method
    /// propose (a score of the forest above 0.5, a local outlier factor above 1.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contamination: Option<Contamination>,
    /// `isolation_forest`: the number of trees, each grown on 256 training rows; 100 by default. scikit-learn's `n_estimators`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub trees: Option<usize>,
    /// `local_outlier_factor`: the number of neighbours that a row's density is compared with; 20 by default. scikit-learn's `n_neighbors`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub neighbours: Option<usize>,
}

/// How `outliers` finds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutlierMethod {
    /// Values beyond the quartiles, widened by `factor` interquartile ranges.
    #[default]
    Iqr,
    /// Values more than `factor` standard deviations from the mean.
    ZScore,
    /// Values more than `factor` standard deviations from the median, as the median absolute deviation estimates them: that divided by 0.6745 (Iglewicz and
    /// Hoaglin 1993).
    ModifiedZScore,
    /// Values beyond two percentiles.
    Percentile,
    /// Rows that random splits separate early from the others (Liu, Ting and Zhou 2008): scikit-learn's `IsolationForest`.
    IsolationForest,
    /// Rows that lie less densely than their neighbours do (Breunig et al. 2000): scikit-learn's `LocalOutlierFactor`, `fit_predict` for training rows and
    /// `novelty=True` for others.
    LocalOutlierFactor,
}

impl OutlierMethod {
    /// The word in the language.
    pub fn word(self) -> &'static str {
        match self {
            Self::Iqr => "iqr",
            Self::ZScore => "z_score",
            Self::ModifiedZScore => "modified_z_score",
            Self::Percentile => "percentile",
            Self::IsolationForest => "isolation_forest",
            Self::LocalOutlierFactor => "local_outlier_factor",
        }
    }

    /// The method, where it looks at each column by itself; `None` for one that looks at rows.
    pub fn of_values(self) -> Option<ClipMethod> {
        match self {
            Self::Iqr => Some(ClipMethod::Iqr),
            Self::ZScore => Some(ClipMethod::ZScore),
            Self::ModifiedZScore => Some(ClipMethod::ModifiedZScore),
            Self::Percentile => Some(ClipMethod::Percentile),
            Self::IsolationForest | Self::LocalOutlierFactor => None,
        }
    }
}

impl From<ClipMethod> for OutlierMethod {
    fn from(method: ClipMethod) -> Self {
        match method {
            ClipMethod::Iqr => Self::Iqr,
            ClipMethod::ZScore => Self::ZScore,
            ClipMethod::ModifiedZScore => Self::ModifiedZScore,
            ClipMethod::Percentile => Self::Percentile,
        }
    }
}

/// What `outliers` does about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutlierAction {
    /// Adds a feature of 0 and 1: `NAME_outlier` for each column that has outliers in training rows or, by a method that looks at rows, `outlier`.
    #[default]
    Flag,
    /// Replaces values by the nearer end of the range.
    Clip,
    /// Makes values missing.
    Null,
    /// Drops training rows. Rows to predict are never dropped: they are noted in the hidden column `#flags`.
    Drop,
}

impl OutlierAction {
    /// The word in the language.
    pub fn word(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Clip => "clip",
            Self::Null => "null",
            Self::Drop => "drop",
        }
    }
}

/// The share of training rows that are outliers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Contamination {
    /// `auto`.
    Auto(AutoWord),
    /// This share.
    Share(#[schemars(range(max = 0.5), extend("exclusiveMinimum" = 0.0))] f64),
}

impl Outliers {
    /// The feature that methods which look at rows add.
    pub const OUTLIER: &'static str = "outlier";

    /// How many rows the step must see at once.
    pub(super) fn reach(&self) -> Reach {
        if self.method.of_values().is_some() { Reach::Pieces } else { Reach::Table }
    }

    /// The parameter given that the method does not use, and the methods that do; and an action that the method has not.
    pub fn misfits(&self) -> Vec<(&'static str, String, String)> {
        use OutlierMethod::{Iqr, IsolationForest, LocalOutlierFactor, ModifiedZScore, Percentile, ZScore};
        let uses: [(&'static str, bool, &[OutlierMethod]); 5] = [
            ("factor", self.factor.is_some(), &[Iqr, ZScore, ModifiedZScore]),
            ("percentiles", self.percentiles.is_some(), &[Percentile]),
            ("contamination", self.contamination.is_some(), &[IsolationForest, LocalOutlierFactor]),
            ("trees", self.trees.is_some(), &[IsolationForest]),
            ("neighbours", self.neighbours.is_some(), &[LocalOutlierFactor]),
        ];
        let unused = uses.into_iter().filter(|(_, given, methods)| *given && !methods.contains(&self.method));
        let mut misfits: Vec<_> = unused
            .map(|(key, _, methods)| {
                let words: Vec<String> = methods.iter().map(|method| format!("`{}`", method.word())).collect();
                let words = words.join(", ");
                let message = format!("`{key}` is not used by `method: {}`", self.method.word());
                (key, message, format!("remove `{key}`, or choose a method that uses it: {words}"))
            })
            .collect();
        if self.method.of_values().is_none() && matches!(self.action, OutlierAction::Clip | OutlierAction::Null) {
            let message = format!(
                "`method: {}` finds rows, and `action: {}` is for values",
                self.method.word(),
                self.action.word()
            );
            misfits.push((
                "action",
                message,
                "use `action: drop` or `action: flag`, or a method for values".to_owned(),
            ));
        }
        if let Some([low, high]) = self.percentiles
            && low >= high
        {
            let message = format!("`percentiles` must be in order, found {low} and {high}");
            misfits.push(("percentiles", message, "write the lower one first".to_owned()));
        }
        misfits
    }
}

fn clip_percentiles() -> [f64; 2] {
    [1.0, 99.0]
}
