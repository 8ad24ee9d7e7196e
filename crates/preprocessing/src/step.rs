//! The contract of the steps within a stage, and the one list of them.

use std::collections::HashSet;
use std::sync::Arc;

use retune_spec::Selector;
use retune_spec::preprocessing::{Reach, Step};
use retune_stage::{FitContext, Kind, Level, LoadDir, Result, RowChange, SaveDir, StageError};
use serde::{Deserialize, Serialize};

use crate::bin::FittedBin;
use crate::binary_encode::FittedBinaryEncode;
use crate::cast::FittedCast;
use crate::class_weights::FittedClassWeights;
use crate::clean_text::FittedCleanText;
use crate::clip_outliers::FittedClipOutliers;
use crate::datetime_parts::FittedDatetimeParts;
use crate::decode_image::FittedDecodeImage;
use crate::derive::FittedDerive;
use crate::diffusion_map::FittedDiffusionMap;
use crate::drop_constant::FittedDropConstant;
use crate::drop_duplicates::FittedDropDuplicates;
use crate::drop_identifiers::FittedDropIdentifiers;
use crate::drop_missing::FittedDropMissing;
use crate::fill_missing::FittedFillMissing;
use crate::filter_rows::FittedFilterRows;
use crate::frame::Frame;
use crate::frequency_encode::FittedFrequencyEncode;
use crate::hash_encode::FittedHashEncode;
use crate::hash_text::FittedHashText;
use crate::impute::FittedImpute;
use crate::incremental_pca::FittedIncrementalPca;
use crate::iterative_impute::FittedIterativeImpute;
use crate::knn_impute::FittedKnnImpute;
use crate::lda::FittedLda;
use crate::log1p::FittedLog1p;
use crate::max_abs_scale::FittedMaxAbsScale;
use crate::merge_categories::FittedMergeCategories;
use crate::min_max_scale::FittedMinMaxScale;
use crate::missing_indicator::FittedMissingIndicator;
use crate::normalize::FittedNormalize;
use crate::normalize_channels::FittedNormalizeChannels;
use crate::null_tokens::FittedNullTokens;
use crate::one_hot::FittedOneHot;
use crate::ordinal_encode::FittedOrdinalEncode;
use crate::outliers::FittedOutliers;
use crate::outline::Outline;
use crate::parse_dates::FittedParseDates;
use crate::parse_numbers::FittedParseNumbers;
use crate::pca::FittedPca;
use crate::polynomial::FittedPolynomial;
use crate::power_transform::FittedPowerTransform;
use crate::quantile_transform::FittedQuantileTransform;
use crate::random_over_sample::FittedRandomOverSample;
use crate::random_projection::FittedRandomProjection;
use crate::random_under_sample::FittedRandomUnderSample;
use crate::replace_values::FittedReplaceValues;
use crate::robust_scale::FittedRobustScale;
use crate::scale_pixels::FittedScalePixels;
use crate::smote::FittedSmote;
use crate::source::{Source, n_changed};
use crate::standard_scale::FittedStandardScale;
use crate::target_encode::FittedTargetEncode;
use crate::text_statistics::FittedTextStatistics;
use crate::tf_idf::FittedTfIdf;
use crate::to_tensor::FittedToTensor;
use crate::truncated_svd::FittedTruncatedSvd;

/// A step as declared.
pub(crate) trait FitStep {
    /// What it learns.
    type Fitted: ApplyStep + Into<FittedStep>;

    /// The kinds of columns that it works on.
    const KINDS: &'static [Kind];

    /// Whether it works on sparse columns as they are.
    const SPARSE: bool = false;

    /// Mistakes in the parameters, or of parameters and columns together; leaves the outline with the columns that the step gives.
    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()>;

    /// Whether it only repairs values in place, so that the rows in which it changes something are counted for the report.
    const REPAIRS: bool = false;

    /// The same of the step as declared, where that is up to its parameters.
    fn repairs(&self) -> bool {
        Self::REPAIRS
    }

    /// Learns from training rows. `columns` are those chosen (every feature where there is no selector), of the right kinds; in the table where the
    /// rows are in memory, unless the step works on sparse ones. A step whose `Step::reach` is not `Pieces` may use [`Source::frame`].
    fn fit(&self, source: &Source, columns: &[String], context: &FitContext) -> Result<Learnt<Self::Fitted>>;
}

/// What fitting a step gives.
pub(crate) struct Learnt<F> {
    pub(crate) fitted: F,
    pub(crate) train: Train,
    /// What it learned or did, in words.
    pub(crate) text: String,
    /// Training rows that stay and that the step flagged.
    pub(crate) flagged: usize,
    /// Training rows in which it changes a value, where it counted them itself; else they are counted in another pass.
    pub(crate) changed: Option<usize>,
    /// The cells because of which it set training rows aside; not those of rows that it merely drops.
    pub(crate) quarantined: Vec<BadCell>,
}

/// Why a row cannot be used.
pub(crate) struct BadCell {
    /// The row's number in its source.
    pub(crate) row: u64,
    pub(crate) column: String,
    pub(crate) reason: String,
}

/// The training rows as the next step must see them.
pub(crate) enum Train {
    /// To the step, training rows are like any others: what applying it gives.
    Applied,
    /// The same of the rows for which this says so; one entry a row.
    Kept(Vec<bool>),
    /// These: rows that were added, or turned in a way of their own.
    Frame(Frame),
}

impl<F> Learnt<F> {
    pub(crate) fn new(fitted: F, train: Train, text: String) -> Self {
        Self { fitted, train, text, flagged: 0, changed: None, quarantined: Vec::new() }
    }

    /// For steps to which training rows are like any others.
    pub(crate) fn applied(fitted: F, text: String) -> Self {
        Self::new(fitted, Train::Applied, text)
    }
}

/// What a step learned. It turns each row by itself, whatever rows come with it, unless its `Step::reach` is `Order`.
pub(crate) trait ApplyStep {
    /// The columns that must be in the table, not among the sparse ones; by default none.
    fn dense_columns(&self) -> &[String] {
        &[]
    }

    /// The columns that it turns, where it does nothing but turn values in place and looks at no other column: a pass that needs none of them does
    /// without the step.
    fn in_place(&self) -> Option<&[String]> {
        None
    }

    /// Whether what becomes of a row depends on those beside it (`Reach::Order`).
    fn needs_all_rows(&self) -> bool {
        false
    }

    /// Turns rows. Neither adds nor drops one.
    fn apply(&self, frame: &Frame) -> Result<Frame>;

    /// Writes what does not belong into JSON.
    fn save(&self, _dir: &SaveDir, _file: &str) -> Result<()> {
        Ok(())
    }

    /// Reads what [`ApplyStep::save`] wrote.
    fn load(&mut self, _dir: &LoadDir, _file: &str) -> Result<()> {
        Ok(())
    }
}

macro_rules! steps {
    ($($variant:ident($fitted:ident) = $word:literal),* $(,)?) => {
        /// What any step learned.
        #[derive(Serialize, Deserialize)]
        pub(crate) enum FittedStep {
            $(#[serde(rename = $word)] $variant($fitted),)*
        }

        $(impl From<$fitted> for FittedStep {
            fn from(fitted: $fitted) -> Self {
                Self::$variant(fitted)
            }
        })*

        /// Checks one step against the columns that it will see.
        pub(crate) fn check(step: &Step, outline: &mut Outline) -> Result<(), Vec<StageError>> {
            match step {
                $(Step::$variant(declared) => check_one(declared, step, outline),)*
            }
        }

        /// Fits one step.
        pub(crate) fn fit(step: &Step, source: Source, context: &FitContext) -> Result<Stepped> {
            match step {
                $(Step::$variant(declared) => fit_one(declared, step, source, context),)*
            }
        }

        impl FittedStep {
            /// The word in the language.
            pub(crate) fn word(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $word,)*
                }
            }

            fn step(&self) -> &dyn ApplyStep {
                match self {
                    $(Self::$variant(step) => step,)*
                }
            }

            fn step_mut(&mut self) -> &mut dyn ApplyStep {
                match self {
                    $(Self::$variant(step) => step,)*
                }
            }
        }
    };
}

steps! {
    DropDuplicates(FittedDropDuplicates) = "drop_duplicates",
    DropMissing(FittedDropMissing) = "drop_missing",
    DropConstant(FittedDropConstant) = "drop_constant",
    DropIdentifiers(FittedDropIdentifiers) = "drop_identifiers",
    FilterRows(FittedFilterRows) = "filter_rows",
    CleanText(FittedCleanText) = "clean_text",
    NullTokens(FittedNullTokens) = "null_tokens",
    ReplaceValues(FittedReplaceValues) = "replace_values",
    MergeCategories(FittedMergeCategories) = "merge_categories",
    Cast(FittedCast) = "cast",
    ParseNumbers(FittedParseNumbers) = "parse_numbers",
    ParseDates(FittedParseDates) = "parse_dates",
    DatetimeParts(FittedDatetimeParts) = "datetime_parts",
    TextStatistics(FittedTextStatistics) = "text_statistics",
    Derive(FittedDerive) = "derive",
    Impute(FittedImpute) = "impute",
    FillMissing(FittedFillMissing) = "fill_missing",
    KnnImpute(FittedKnnImpute) = "knn_impute",
    IterativeImpute(FittedIterativeImpute) = "iterative_impute",
    MissingIndicator(FittedMissingIndicator) = "missing_indicator",
    Outliers(FittedOutliers) = "outliers",
    ClipOutliers(FittedClipOutliers) = "clip_outliers",
    Log1p(FittedLog1p) = "log1p",
    OneHot(FittedOneHot) = "one_hot",
    TargetEncode(FittedTargetEncode) = "target_encode",
    OrdinalEncode(FittedOrdinalEncode) = "ordinal_encode",
    FrequencyEncode(FittedFrequencyEncode) = "frequency_encode",
    HashEncode(FittedHashEncode) = "hash_encode",
    BinaryEncode(FittedBinaryEncode) = "binary_encode",
    TfIdf(FittedTfIdf) = "tf_idf",
    HashText(FittedHashText) = "hash_text",
    TruncatedSvd(FittedTruncatedSvd) = "truncated_svd",
    StandardScale(FittedStandardScale) = "standard_scale",
    MinMaxScale(FittedMinMaxScale) = "min_max_scale",
    MaxAbsScale(FittedMaxAbsScale) = "max_abs_scale",
    RobustScale(FittedRobustScale) = "robust_scale",
    QuantileTransform(FittedQuantileTransform) = "quantile_transform",
    PowerTransform(FittedPowerTransform) = "power_transform",
    Normalize(FittedNormalize) = "normalize",
    Bin(FittedBin) = "bin",
    Polynomial(FittedPolynomial) = "polynomial",
    Pca(FittedPca) = "pca",
    IncrementalPca(FittedIncrementalPca) = "incremental_pca",
    RandomProjection(FittedRandomProjection) = "random_projection",
    DiffusionMap(FittedDiffusionMap) = "diffusion_map",
    Lda(FittedLda) = "lda",
    DecodeImage(FittedDecodeImage) = "decode_image",
    ScalePixels(FittedScalePixels) = "scale_pixels",
    NormalizeChannels(FittedNormalizeChannels) = "normalize_channels",
    RandomOverSample(FittedRandomOverSample) = "random_over_sample",
    RandomUnderSample(FittedRandomUnderSample) = "random_under_sample",
    Smote(FittedSmote) = "smote",
    ClassWeights(FittedClassWeights) = "class_weights",
    ToTensor(FittedToTensor) = "to_tensor",
}

impl FittedStep {
    pub(crate) fn apply(&self, frame: &Frame) -> Result<Frame> {
        let step = self.step();
        step.apply(&frame.densify(step.dense_columns())?)
    }

    pub(crate) fn in_place(&self) -> Option<&[String]> {
        self.step().in_place()
    }

    pub(crate) fn needs_all_rows(&self) -> bool {
        self.step().needs_all_rows()
    }

    pub(crate) fn save(&self, dir: &SaveDir, file: &str) -> Result<()> {
        self.step().save(dir, file)
    }

    pub(crate) fn load(&mut self, dir: &LoadDir, file: &str) -> Result<()> {
        self.step_mut().load(dir, file)
    }
}

fn check_one<S: FitStep>(declared: &S, step: &Step, outline: &mut Outline) -> Result<(), Vec<StageError>> {
    let columns = choose::<S>(step, outline)?;
    declared.check(&columns, outline).map_err(|error| vec![error])
}

/// What a fitted step made of the training rows.
pub(crate) struct Stepped {
    pub(crate) fitted: Arc<FittedStep>,
    pub(crate) source: Source,
    pub(crate) text: String,
    pub(crate) rows: RowChange,
    pub(crate) quarantined: Vec<BadCell>,
}

fn fit_one<S: FitStep>(declared: &S, step: &Step, source: Source, context: &FitContext) -> Result<Stepped> {
    let mut outline = Outline::of(&source)?;
    let columns = choose::<S>(step, &outline).map_err(first)?;
    declared.check(&columns, &mut outline)?;
    if let Some(selector) = step.columns().filter(|_| columns.is_empty()) {
        let nothing =
            format!("{}: no column is chosen by `columns: {selector}`, so the step does nothing", step.word());
        context.progress.message(Level::Warning, &nothing);
    }
    let source = if step.reach() == Reach::Pieces { source } else { source.gathered()? };
    let source = match source {
        Source::Frame(frame) if !S::SPARSE => Source::Frame(frame.densify(&columns)?),
        source => source,
    };
    let rows_in = source.n_rows();
    let Learnt { fitted, train, text, flagged, changed: counted, quarantined } =
        declared.fit(&source, &columns, context)?;
    let fitted = Arc::new(fitted.into());
    let repairs = declared.repairs() && counted.is_none();
    let (source, changed) = match train {
        Train::Applied => after(source, &fitted, &columns, repairs)?,
        Train::Kept(kept) => after(source.filter(&kept)?, &fitted, &columns, repairs)?,
        Train::Frame(frame) => (Source::Frame(frame), 0),
    };
    let rows_out = source.n_rows();
    let n_quarantined = quarantined.iter().map(|cell| cell.row).collect::<HashSet<u64>>().len();
    let rows = RowChange {
        step: step.word().to_owned(),
        rows_in,
        dropped: rows_in.saturating_sub(rows_out + n_quarantined),
        quarantined: n_quarantined,
        added: rows_out.saturating_sub(rows_in),
        changed: counted.unwrap_or(changed),
        flagged,
    };
    Ok(Stepped { fitted, source, text, rows, quarantined })
}

/// The rows taken through a fitted step and, where it repairs values, how many of them it changes a value of.
fn after(source: Source, fitted: &Arc<FittedStep>, columns: &[String], repairs: bool) -> Result<(Source, usize)> {
    if !repairs {
        return Ok((source.after(fitted)?, 0));
    }
    if let Source::Frame(before) = &source {
        let after = fitted.apply(before)?;
        let changed = n_changed(before, &after, columns)?;
        return Ok((Source::Frame(after), changed));
    }
    let mut sum = 0;
    let merge = |n: usize| {
        sum += n;
        Ok(())
    };
    source.fold(&[], |frame| n_changed(frame, &fitted.apply(frame)?, columns), merge)?;
    Ok((source.after(fitted)?, sum))
}

fn choose<S: FitStep>(step: &Step, outline: &Outline) -> Result<Vec<String>, Vec<StageError>> {
    let columns = outline.select(step.columns().unwrap_or(&Selector::all()))?;
    outline.require(step.word(), S::KINDS, &columns, step.columns().is_some())?;
    Ok(columns)
}

fn first(errors: Vec<StageError>) -> StageError {
    errors.into_iter().next().unwrap_or_else(|| StageError::failed("no reason given"))
}

/// `1 column`, `2 columns`.
pub(crate) fn counted(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}
