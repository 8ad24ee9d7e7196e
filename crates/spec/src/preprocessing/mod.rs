//! Preprocessing steps. Each is a struct with scikit-learn's name and defaults where it has them.

mod balance;
mod cleaning;
mod encoding;
mod features;
mod images;
mod missing;
mod outliers;
mod polynomial;
mod reduction;
mod scaling;
mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::Selector;

pub use balance::*;
pub use cleaning::*;
pub use encoding::*;
pub use features::*;
pub use images::*;
pub use missing::*;
pub use outliers::*;
pub use polynomial::*;
pub use reduction::*;
pub use scaling::*;
pub use text::*;

/// `uses: preprocessing`: steps applied in their order, each fitted on training rows only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// The steps in their order.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
}

/// How many rows a step must see at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It learns in passes over pieces of the rows, and is applied to each row by itself: rows may be more than memory holds.
    Pieces,
    /// It needs all training rows in memory to learn, and is applied to each row by itself.
    Table,
    /// It needs all rows, also when it is applied: what becomes of a row depends on those beside it.
    Order,
}

/// The list of steps: variant and struct, the word in the language, how many rows it must see at once, and the columns that it works on, where it
/// takes a selector.
macro_rules! steps {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, |$step:ident| $reach:expr, $columns:expr;)*) => {
        /// One preprocessing step.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub enum Step {
            $($(#[$doc])* #[serde(rename = $word)] $variant($variant),)*
        }

        impl Step {
            /// The words of all steps, in the order in which they are documented.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word in the language.
            pub fn word(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $word,)*
                }
            }

            /// How many rows the step must see at once.
            pub fn reach(&self) -> Reach {
                match self {
                    $(Self::$variant($step) => { let _ = $step; $reach })*
                }
            }

            /// The columns that the step works on, where it takes a selector.
            pub fn columns(&self) -> Option<&Selector> {
                match self {
                    $(Self::$variant($step) => { let _ = $step; $columns })*
                }
            }
        }
    };
}

steps! {
    /// Drops training rows that repeat an earlier one.
    DropDuplicates = "drop_duplicates", |step| Reach::Pieces, step.columns.as_ref();
    /// Drops columns and training rows with too many missing values.
    DropMissing = "drop_missing", |step| Reach::Pieces, Some(&step.among);
    /// Drops columns of one value.
    DropConstant = "drop_constant", |step| Reach::Pieces, Some(&step.columns);
    /// Drops columns that only tell rows apart.
    DropIdentifiers = "drop_identifiers", |step| Reach::Pieces, Some(&step.columns);
    /// Drops training rows for which a condition is not true.
    FilterRows = "filter_rows", |step| Reach::Pieces, None;
    /// Makes text uniform.
    CleanText = "clean_text", |step| Reach::Pieces, Some(&step.columns);
    /// Turns words such as `NA` into missing values.
    NullTokens = "null_tokens", |step| Reach::Pieces, Some(&step.columns);
    /// Replaces whole values by others.
    ReplaceValues = "replace_values", |step| Reach::Pieces, Some(&step.columns);
    /// Merges levels that are spelled differently.
    MergeCategories = "merge_categories", |step| Reach::Pieces, Some(&step.columns);
    /// Turns columns into another kind.
    Cast = "cast", |step| Reach::Pieces, Some(&step.columns);
    /// Reads numbers out of text.
    ParseNumbers = "parse_numbers", |step| Reach::Pieces, Some(&step.columns);
    /// Reads dates out of text.
    ParseDates = "parse_dates", |step| Reach::Pieces, Some(&step.columns);
    /// Takes dates apart into year, month, weekday and the like.
    DatetimeParts = "datetime_parts", |step| Reach::Pieces, Some(&step.columns);
    /// Describes text by numbers: length, words, capitals.
    TextStatistics = "text_statistics", |step| Reach::Pieces, Some(&step.columns);
    /// Computes columns from others by expressions.
    Derive = "derive", |step| Reach::Pieces, None;
    /// Fills missing values.
    Impute = "impute", |step| Reach::Pieces, Some(&step.columns);
    /// Fills missing values from the rows before or after.
    FillMissing = "fill_missing", |step| Reach::Order, Some(&step.columns);
    /// Fills missing numbers from the nearest rows.
    KnnImpute = "knn_impute", |step| Reach::Table, Some(&step.columns);
    /// Fills missing numbers by regressions on the other columns.
    IterativeImpute = "iterative_impute", |step| Reach::Table, Some(&step.columns);
    /// Says where values are missing.
    MissingIndicator = "missing_indicator", |step| Reach::Pieces, Some(&step.columns);
    /// Flags, clips, empties or drops what lies far outside.
    Outliers = "outliers", |step| step.reach(), Some(&step.columns);
    /// Clips values that lie far outside.
    ClipOutliers = "clip_outliers", |step| Reach::Pieces, Some(&step.columns);
    /// Replaces x by ln(1 + x).
    Log1p = "log1p", |step| Reach::Pieces, Some(&step.columns);
    /// One column of 0 and 1 for each level.
    OneHot = "one_hot", |step| Reach::Pieces, Some(&step.columns);
    /// Replaces a level by what the target is on average where it occurs.
    TargetEncode = "target_encode", |step| Reach::Table, Some(&step.columns);
    /// One number for each level, in order.
    OrdinalEncode = "ordinal_encode", |step| Reach::Pieces, Some(&step.columns);
    /// Replaces a level by how frequent it is.
    FrequencyEncode = "frequency_encode", |step| Reach::Pieces, Some(&step.columns);
    /// Levels hashed into a fixed number of columns.
    HashEncode = "hash_encode", |step| Reach::Pieces, Some(&step.columns);
    /// The binary digits of each level's number.
    BinaryEncode = "binary_encode", |step| Reach::Pieces, Some(&step.columns);
    /// Term frequencies weighted by inverse document frequencies.
    TfIdf = "tf_idf", |step| Reach::Pieces, Some(&step.columns);
    /// Terms hashed into a fixed number of columns.
    HashText = "hash_text", |step| Reach::Pieces, Some(&step.columns);
    /// The leading singular directions of columns, without centring them.
    TruncatedSvd = "truncated_svd", |step| Reach::Table, Some(&step.columns);
    /// Subtracts the mean and divides by the standard deviation.
    StandardScale = "standard_scale", |step| Reach::Pieces, Some(&step.columns);
    /// Scales to a range.
    MinMaxScale = "min_max_scale", |step| Reach::Pieces, Some(&step.columns);
    /// Divides by the greatest absolute value.
    MaxAbsScale = "max_abs_scale", |step| Reach::Pieces, Some(&step.columns);
    /// Subtracts the median and divides by the distance between percentiles.
    RobustScale = "robust_scale", |step| Reach::Pieces, Some(&step.columns);
    /// Makes columns uniform or normal by their quantiles.
    QuantileTransform = "quantile_transform", |step| Reach::Pieces, Some(&step.columns);
    /// Makes columns more normal by a power.
    PowerTransform = "power_transform", |step| Reach::Pieces, Some(&step.columns);
    /// Scales each row to unit length.
    Normalize = "normalize", |step| Reach::Pieces, Some(&step.columns);
    /// Replaces numbers by bins.
    Bin = "bin", |step| Reach::Pieces, Some(&step.columns);
    /// Products of columns.
    Polynomial = "polynomial", |step| Reach::Pieces, Some(&step.columns);
    /// Principal components.
    Pca = "pca", |step| if step.solver == PcaSolver::Exact { Reach::Pieces } else { Reach::Table }, Some(&step.columns);
    /// Principal components learned batch by batch.
    IncrementalPca = "incremental_pca", |step| Reach::Pieces, Some(&step.columns);
    /// Products with random directions.
    RandomProjection = "random_projection", |step| Reach::Pieces, Some(&step.columns);
    /// The coordinates of a random walk between rows.
    DiffusionMap = "diffusion_map", |step| Reach::Pieces, Some(&step.columns);
    /// The directions that separate the target's labels best.
    Lda = "lda", |step| Reach::Pieces, Some(&step.columns);
    /// Turns images into columns of pixels.
    DecodeImage = "decode_image", |step| Reach::Pieces, Some(&step.columns);
    /// Divides pixels, so that they lie between 0 and 1.
    ScalePixels = "scale_pixels", |step| Reach::Pieces, Some(&step.columns);
    /// Subtracts a channel's mean and divides by its standard deviation.
    NormalizeChannels = "normalize_channels", |step| Reach::Pieces, Some(&step.columns);
    /// Repeats training rows of rarer labels.
    RandomOverSample = "random_over_sample", |step| Reach::Table, None;
    /// Drops training rows of more frequent labels.
    RandomUnderSample = "random_under_sample", |step| Reach::Pieces, None;
    /// Adds training rows between those of rarer labels.
    Smote = "smote", |step| Reach::Table, None;
    /// Weighs training rows by their label.
    ClassWeights = "class_weights", |step| Reach::Table, None;
    /// Hands the features on as a libtorch tensor, in place of a table.
    ToTensor = "to_tensor", |step| Reach::Table, None;
}

/// Hands the features on as one tensor `features` [rows, columns] of 32-bit floats, with `targets` beside it, in place of a table. Every feature must be
/// numeric or boolean by then. Must be the last step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToTensor {}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn five() -> usize {
    5
}
