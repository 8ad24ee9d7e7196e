//! The contract of the steps within a stage, and the one list of them.

use retune_spec::Selector;
use retune_spec::preprocessing::Step;
use retune_stage::{FitContext, Kind, LoadDir, Result, SaveDir, StageError};
use serde::{Deserialize, Serialize};

use crate::clip_outliers::FittedClipOutliers;
use crate::drop_duplicates::FittedDropDuplicates;
use crate::frame::Frame;
use crate::impute::FittedImpute;
use crate::log1p::FittedLog1p;
use crate::min_max_scale::FittedMinMaxScale;
use crate::one_hot::FittedOneHot;
use crate::outline::Outline;
use crate::pca::FittedPca;
use crate::standard_scale::FittedStandardScale;
use crate::target_encode::FittedTargetEncode;
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

    /// Learns from training rows. `columns` are those chosen (every feature where there is no selector), of the right kinds; in the table, unless the
    /// step works on sparse ones.
    fn fit(&self, frame: &Frame, columns: &[String], context: &FitContext) -> Result<Learnt<Self::Fitted>>;
}

/// What fitting a step gives.
pub(crate) struct Learnt<F> {
    pub(crate) fitted: F,
    /// The training rows as the next step must see them.
    pub(crate) train: Frame,
    /// What it learned or did, in words.
    pub(crate) text: String,
}

impl<F: ApplyStep> Learnt<F> {
    /// For steps to which training rows are like any others.
    pub(crate) fn applied(fitted: F, frame: &Frame, text: String) -> Result<Self> {
        let train = fitted.apply(frame)?;
        Ok(Self { fitted, train, text })
    }
}

/// What a step learned. It turns each row by itself, whatever rows come with it.
pub(crate) trait ApplyStep {
    /// The columns that must be in the table, not among the sparse ones.
    fn dense_columns(&self) -> &[String];

    /// Turns rows.
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
        pub(crate) fn fit(step: &Step, frame: &Frame, context: &FitContext) -> Result<Learnt<FittedStep>> {
            match step {
                $(Step::$variant(declared) => fit_one(declared, step, frame, context),)*
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
    Impute(FittedImpute) = "impute",
    ClipOutliers(FittedClipOutliers) = "clip_outliers",
    Log1p(FittedLog1p) = "log1p",
    OneHot(FittedOneHot) = "one_hot",
    TargetEncode(FittedTargetEncode) = "target_encode",
    TfIdf(FittedTfIdf) = "tf_idf",
    TruncatedSvd(FittedTruncatedSvd) = "truncated_svd",
    StandardScale(FittedStandardScale) = "standard_scale",
    MinMaxScale(FittedMinMaxScale) = "min_max_scale",
    Pca(FittedPca) = "pca",
    ToTensor(FittedToTensor) = "to_tensor",
}

impl FittedStep {
    pub(crate) fn apply(&self, frame: &Frame) -> Result<Frame> {
        let step = self.step();
        step.apply(&frame.densify(step.dense_columns())?)
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

fn fit_one<S: FitStep>(declared: &S, step: &Step, frame: &Frame, context: &FitContext) -> Result<Learnt<FittedStep>> {
    let mut outline = Outline::new(&frame.schema());
    let columns = choose::<S>(step, &outline).map_err(first)?;
    declared.check(&columns, &mut outline)?;
    let frame = if S::SPARSE { frame.clone() } else { frame.densify(&columns)? };
    let Learnt { fitted, train, text } = declared.fit(&frame, &columns, context)?;
    Ok(Learnt { fitted: fitted.into(), train, text })
}

fn choose<S: FitStep>(step: &Step, outline: &Outline) -> Result<Vec<String>, Vec<StageError>> {
    let columns = outline.select(step.columns().unwrap_or(&Selector::all()))?;
    outline.require(step.word(), S::KINDS, &columns)?;
    Ok(columns)
}

fn first(errors: Vec<StageError>) -> StageError {
    errors.into_iter().next().unwrap_or_else(|| StageError::failed("no reason given"))
}

/// `1 column`, `2 columns`.
pub(crate) fn counted(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}
