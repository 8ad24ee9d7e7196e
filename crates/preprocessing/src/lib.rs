//! Preprocessing: steps that clean, encode, scale and reduce columns. One file each.
//!
//! A step is declared in `retune_spec::preprocessing`, learns from training rows (`FitStep`) and then turns any rows, each by
//! itself (`ApplyStep`). Between two steps rows are a frame: a table, and beside it the columns that `tf_idf` keeps sparse until a step or the end of
//! the stage needs them dense. To add a step, add a variant in `spec`, a file here, and a line to the list in `step.rs`.

mod clip_outliers;
mod drop_duplicates;
mod frame;
mod impute;
mod levels;
mod log1p;
mod min_max_scale;
mod one_hot;
mod outline;
mod pca;
mod projection;
mod sparse;
mod standard_scale;
mod stats;
mod step;
mod target_encode;
mod tf_idf;
mod to_tensor;
mod truncated_svd;

use std::any::Any;
use std::sync::Arc;

use retune_spec::preprocessing::{Preprocessing, Step};
use retune_stage::{
    Fit, FitContext, Fitted, LoadDir, Result, RowChange, Rows, SaveDir, Schema, Stage, StageError, StageReport,
};
use retune_table::{TargetPolicy, conform};
use retune_tensor::Tensors;
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::step::{FittedStep, Learnt};

/// The version of what [`FittedPreprocessing`] writes.
const FORMAT_VERSION: u32 = 1;

/// `uses: preprocessing`, as declared.
#[derive(Clone, Debug)]
pub struct PreprocessingStage(pub Preprocessing);

/// What the steps learned, in their order.
pub struct FittedPreprocessing {
    input: Schema,
    output: Schema,
    steps: Vec<FittedStep>,
}

#[derive(Serialize, Deserialize)]
struct Saved<S> {
    version: u32,
    input: Schema,
    output: Schema,
    steps: S,
}

impl Stage for PreprocessingStage {
    fn check(&self, input: &Schema) -> Result<(), Vec<StageError>> {
        let mut outline = Outline::new(input);
        let mut errors = Vec::new();
        for (index, step) in self.0.steps.iter().enumerate() {
            let mut found = step::check(step, &mut outline).err().unwrap_or_default();
            found.extend(self.misplaced(index));
            errors.extend(found.into_iter().map(|error| error.within(place(index, step.word()))));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn fit(&self, train: Rows, context: &FitContext) -> Result<Fit> {
        let mut frame = Frame::new(train.table()?.clone());
        if frame.n_rows() == 0 {
            return Err(StageError::data("there are no training rows"));
        }
        let input = frame.schema();
        let n_features_in = frame.n_features();
        let (mut steps, mut report) = (Vec::new(), StageReport::default());
        for (index, step) in self.0.steps.iter().enumerate() {
            context.progress.check_cancelled()?;
            let place = place(index, step.word());
            self.misplaced(index).map_or(Ok(()), |error| Err(error.within(&place)))?;
            let rows_in = frame.n_rows();
            let Learnt { fitted, train, text } =
                step::fit(step, &frame, &context.at(&place)).map_err(|error| error.within(&place))?;
            if train.n_rows() != rows_in {
                let dropped = rows_in - train.n_rows();
                report.rows.push(RowChange { step: step.word().to_owned(), rows_in, dropped, added: 0 });
            }
            report.learned(step.word(), text);
            steps.push(fitted);
            frame = train;
        }
        report.columns = [n_features_in, frame.n_features()];
        let output = frame.schema();
        let fitted = FittedPreprocessing { input, output, steps };
        let train = fitted.finish(frame)?;
        Ok(Fit { fitted: Box::new(fitted), train, report })
    }
}

impl PreprocessingStage {
    /// The mistake of a step that must be the last and is not.
    fn misplaced(&self, index: usize) -> Option<StageError> {
        let misplaced = matches!(self.0.steps[index], Step::ToTensor(_)) && index + 1 < self.0.steps.len();
        misplaced.then(|| {
            StageError::data("tensors have no columns for the steps that follow").help("make `to_tensor` the last step")
        })
    }
}

impl Fitted for FittedPreprocessing {
    fn kind(&self) -> &'static str {
        "preprocessing"
    }

    fn input(&self) -> &Schema {
        &self.input
    }

    fn output(&self) -> &Schema {
        &self.output
    }

    fn apply(&self, rows: Rows) -> Result<Rows> {
        let mut frame = Frame::new(conform(rows.table()?.frame(), &self.input, TargetPolicy::Optional)?.table);
        for (index, step) in self.steps.iter().enumerate() {
            frame = step.apply(&frame).map_err(|error| error.within(place(index, step.word())))?;
        }
        self.finish(frame)
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        let saved = Saved {
            version: FORMAT_VERSION,
            input: self.input.clone(),
            output: self.output.clone(),
            steps: &self.steps,
        };
        dir.json("stage.json", &saved)?;
        self.steps.iter().enumerate().try_for_each(|(index, step)| step.save(dir, &matrix_file(index)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl FittedPreprocessing {
    /// What the rows become after the last step.
    fn finish(&self, frame: Frame) -> Result<Rows> {
        let table = frame.finish()?;
        match self.steps.last() {
            Some(FittedStep::ToTensor(_)) => Ok(Rows::Tensors(Arc::new(Tensors::from_table(&table)?))),
            _ => Ok(Rows::Table(table)),
        }
    }
}

/// Reads what [`FittedPreprocessing`] wrote.
pub fn load(dir: &LoadDir) -> Result<FittedPreprocessing> {
    let Saved { version, input, output, mut steps } = dir.json::<Saved<Vec<FittedStep>>>("stage.json")?;
    if version > FORMAT_VERSION {
        return Err(StageError::failed(format!(
            "the stage has version {version}; this program reads up to {FORMAT_VERSION}"
        ))
        .help("use the program that wrote it, or a newer one"));
    }
    steps.iter_mut().enumerate().try_for_each(|(index, step)| step.load(dir, &matrix_file(index)))?;
    Ok(FittedPreprocessing { input, output, steps })
}

fn matrix_file(index: usize) -> String {
    format!("step-{}.safetensors", index + 1)
}

fn place(index: usize, word: &str) -> String {
    format!("step {} ({word})", index + 1)
}
