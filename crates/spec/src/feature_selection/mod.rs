//! Feature selection methods.

mod embedded;
mod filters;
mod wrappers;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::Selector;

pub use embedded::*;
pub use filters::*;
pub use wrappers::*;

/// `uses: feature-selection`: methods applied in their order, each fitted on training rows only. Features must be numeric or boolean by then.
///
/// Each method says what it is suited to. On 20 informative and 20 redundant columns among 460 of noise, those that let a logistic regression predict
/// as well, to one standard error, as the best choice of scikit-learn's methods did were `tree_importance`, `shap_importance`, `f_test` with `alpha`,
/// `information_value`, `relief_f`, `boruta`, `permutation_importance` and `stability` of `f_test`.
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
    /// Columns that are kept or dropped together: a group has the score of its best column, `keep` counts groups, and a method that does not score keeps a
    /// group where it keeps one of its columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
}

/// Which columns belong together. A column of no group is one by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Groups {
    /// `source`: the columns that were made from one column of the data - one-hot, text, parts of a date.
    By(GroupBy),
    /// The groups by name, and the columns of each; a column belongs to one group at most.
    Named(IndexMap<String, Selector>),
}

/// What columns are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// The column of the data that they were made from.
    Source,
}

/// The list of methods: variant and struct, and the word in the language.
macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident = $word:literal;)*) => {
        /// One method.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub enum Method {
            $($(#[$doc])* #[serde(rename = $word)] $variant($variant),)*
        }

        impl Method {
            /// The words of all methods, in the order in which they are documented.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word in the language.
            pub fn word(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $word,)*
                }
            }
        }
    };
}

methods! {
    /// Drops columns with too many missing values.
    MissingShare = "missing_share";
    /// Drops columns that hardly vary.
    VarianceThreshold = "variance_threshold";
    /// Drops columns that repeat another one.
    Correlation = "correlation";
    /// Keeps the columns that tell most about the target.
    MutualInformation = "mutual_information";
    /// Keeps the columns whose means differ between labels, or that go along with the target.
    FTest = "f_test";
    /// Keeps the counts that depend on the label.
    Chi2 = "chi2";
    /// Keeps the columns whose ranks differ between labels.
    KruskalWallis = "kruskal_wallis";
    /// Keeps the columns whose bins tell one label from another.
    InformationValue = "information_value";
    /// Keeps the columns that differ between near rows of different labels.
    ReliefF = "relief_f";
    /// Keeps columns that tell of the target and do not repeat each other.
    Mrmr = "mrmr";
    /// Keeps the columns to which an L1 penalty leaves a coefficient.
    L1 = "l1";
    /// Keeps the columns with the greatest coefficients of a linear model.
    LinearCoefficients = "linear_coefficients";
    /// Keeps the columns that boosted trees use most.
    TreeImportance = "tree_importance";
    /// Keeps the columns that move the predictions of boosted trees most (exact TreeSHAP).
    ShapImportance = "shap_importance";
    /// Keeps the columns without which a model does worse on rows that it has not seen.
    PermutationImportance = "permutation_importance";
    /// Drops the weakest column again and again, with or without folds.
    RecursiveElimination = "recursive_elimination";
    /// Adds or drops, one by one, the column that helps a model most.
    Sequential = "sequential";
    /// Keeps every column that tells more than shuffled copies of columns do.
    Boruta = "boruta";
    /// Repeats a method on samples of the rows, and keeps the columns that it chooses often.
    Stability = "stability";
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

/// How a method that scores columns chooses among them: a column must pass every limit that is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// At most so many, the best ones.
    pub keep: Option<Keep>,
    /// None of a lower score.
    pub min_score: Option<f64>,
    /// None whose p-value is not significant at this level, with this control of false discoveries.
    pub significance: Option<(f64, Control)>,
}

/// What a level of significance bounds where many columns are tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// The share of false ones among the columns that are kept, where their tests are independent or go along (Benjamini and Hochberg 1995;
    /// scikit-learn's `SelectFdr`).
    #[default]
    Fdr,
    /// The same however tests depend on each other (Benjamini and Yekutieli 2001).
    FdrDependent,
    /// The chance of keeping a single false one (Bonferroni; scikit-learn's `SelectFwe`).
    Fwe,
    /// The chance for each column by itself (scikit-learn's `SelectFpr`).
    None,
}

/// A method that gives each column a score: a struct with the fields by which it chooses, and those of its own.
macro_rules! scored {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// How many columns to keep, or a share of them such as `40 %`: those with the greatest scores.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub keep: Option<$crate::feature_selection::Keep>,
            /// The least score of a column that is kept.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub min_score: Option<f64>,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// How it chooses.
            pub fn choice(&self) -> $crate::feature_selection::Choice {
                $crate::feature_selection::Choice { keep: self.keep.clone(), min_score: self.min_score, significance: None }
            }
        }
    };
}
use scored;

/// The same for a method whose scores have p-values: without any of the fields by which it chooses, those significant at 0.05 are kept.
macro_rules! tested {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// How many columns to keep, or a share of them such as `40 %`: those with the greatest scores.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub keep: Option<$crate::feature_selection::Keep>,
            /// The least score of a column that is kept.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub min_score: Option<f64>,
            /// The level at which a kept column is significant; 0.05 where neither `keep` nor `min_score` is given.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 0.0, max = 1.0))]
            pub alpha: Option<f64>,
            /// What `alpha` bounds.
            #[serde(default)]
            pub control: $crate::feature_selection::Control,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// How it chooses.
            pub fn choice(&self) -> $crate::feature_selection::Choice {
                let nothing = self.keep.is_none() && self.min_score.is_none();
                let alpha = self.alpha.or(nothing.then_some(0.05));
                $crate::feature_selection::Choice {
                    keep: self.keep.clone(),
                    min_score: self.min_score,
                    significance: alpha.map(|alpha| (alpha, self.control)),
                }
            }
        }
    };
}
use tested;
