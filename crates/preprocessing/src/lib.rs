//! Preprocessing: steps that clean, encode, scale and reduce columns. One file each.
//!
//! A step is declared in `retune_spec::preprocessing`, learns from training rows (`FitStep`) and then turns any rows, each by
//! itself (`ApplyStep`). Between two steps rows are a frame: a table, and beside it the columns that `tf_idf` keeps sparse until a step or the end of
//! the stage needs them dense. To add a step, add a variant in `spec`, a file here, and a line to the list in `step.rs`.

mod balance;
mod bin;
mod binary_encode;
mod cast;
mod cells;
mod class_weights;
mod clean_text;
mod clip_outliers;
mod converted;
mod dates;
mod datetime_parts;
mod decode_image;
mod derive;
mod diffusion_map;
mod drop_constant;
mod drop_duplicates;
mod drop_identifiers;
mod drop_missing;
mod evaluate;
mod fill_missing;
mod filter_rows;
mod frame;
mod frequency_encode;
mod hash_encode;
mod hash_text;
mod hashing;
mod impute;
mod incremental_pca;
mod isolation_forest;
mod iterative_impute;
mod knn_impute;
mod lda;
mod levels;
mod local_outlier_factor;
mod log1p;
mod max_abs_scale;
mod merge_categories;
mod min_max_scale;
mod minimum;
mod missing_indicator;
mod neighbours;
mod normalize;
mod normalize_channels;
mod null_tokens;
mod one_hot;
mod ordinal_encode;
mod outliers;
mod outline;
mod parse_dates;
mod parse_numbers;
mod pca;
mod polynomial;
mod power_transform;
mod projection;
mod quantile_transform;
mod random_over_sample;
mod random_projection;
mod random_under_sample;
mod range_finder;
mod ranges;
mod replace_values;
mod robust_scale;
mod scale_pixels;
mod scatter;
mod smote;
mod source;
mod sparse;
mod standard_scale;
mod stats;
mod step;
mod target_encode;
mod terms;
mod text_statistics;
mod tf_idf;
mod to_tensor;
mod truncated_svd;

use std::any::Any;
use std::sync::Arc;

use polars::prelude::{Column, DataFrame};
use retune_spec::preprocessing::{Preprocessing, Step};
use retune_stage::{
    Fit, FitContext, Fitted, LoadDir, Result, RowChange, Rows, SaveDir, Schema, Stage, StageError, StageReport,
};
use retune_table::{TargetPolicy, conform};
use retune_tensor::Tensors;
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{BadCell, FittedStep};

/// The version of what [`FittedPreprocessing`] writes.
const FORMAT_VERSION: u32 = 1;

/// `uses: preprocessing`, as declared.
#[derive(Clone, Debug)]
pub struct PreprocessingStage(pub Preprocessing);

/// What the steps learned, in their order.
pub struct FittedPreprocessing {
    input: Schema,
    output: Schema,
    steps: Vec<Arc<FittedStep>>,
}

#[derive(Serialize, Deserialize)]
struct Saved<S> {
    version: u32,
    input: Schema,
    output: Schema,
    steps: S,
}

/// The steps of a declaration from one of them on, fitted as they would be after those before them.
#[derive(Clone, Debug)]
pub struct LaterSteps {
    /// The steps.
    pub steps: Preprocessing,
    /// How many steps there are before them.
    pub first: usize,
}

impl Stage for PreprocessingStage {
    fn check(&self, input: &Schema) -> Result<(), Vec<StageError>> {
        Steps { steps: &self.0.steps, first: 0 }.check(input)
    }

    fn fit(&self, train: Rows, context: &FitContext) -> Result<Fit> {
        Steps { steps: &self.0.steps, first: 0 }.fit(train, context)
    }
}

impl Stage for LaterSteps {
    fn check(&self, input: &Schema) -> Result<(), Vec<StageError>> {
        Steps { steps: &self.steps.steps, first: self.first }.check(input)
    }

    fn fit(&self, train: Rows, context: &FitContext) -> Result<Fit> {
        Steps { steps: &self.steps.steps, first: self.first }.fit(train, context)
    }
}

/// Steps in their order, and how many there are before them.
struct Steps<'a> {
    steps: &'a [Step],
    first: usize,
}

impl Steps<'_> {
    fn check(&self, input: &Schema) -> Result<(), Vec<StageError>> {
        let mut outline = Outline::new(input);
        let mut errors = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let mut found = step::check(step, &mut outline).err().unwrap_or_default();
            found.extend(self.misplaced(index));
            errors.extend(found.into_iter().map(|error| error.within(self.place(index))));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn fit(&self, train: Rows, context: &FitContext) -> Result<Fit> {
        let mut source = Source::new(train)?;
        if source.n_rows() == 0 {
            return Err(StageError::data("there are no training rows"));
        }
        let input = source.schema();
        let n_features_in = source.n_features();
        let (mut steps, mut report, mut quarantine) = (Vec::new(), StageReport::default(), Vec::new());
        for (index, step) in self.steps.iter().enumerate() {
            context.progress.check_cancelled()?;
            let place = self.place(index);
            self.misplaced(index).map_or(Ok(()), |error| Err(error.within(&place)))?;
            let stepped = step::fit(step, source, &context.at(&place)).map_err(|error| error.within(&place))?;
            if stepped.source.n_rows() == 0 {
                return Err(StageError::data("the step leaves no training row")
                    .help("every training row is one that it drops: change its condition or limits")
                    .within(&place));
            }
            report.learned(step.word(), stepped.text);
            if stepped.rows != RowChange::none(step.word(), stepped.rows.rows_in) {
                report.rows.push(stepped.rows);
            }
            quarantine.extend(stepped.quarantined.into_iter().map(|cell| (step.word(), cell)));
            steps.push(stepped.fitted);
            source = stepped.source;
        }
        if !quarantine.is_empty() {
            report.tables.push(("quarantine".to_owned(), quarantine_table(&quarantine)?));
        }
        report.columns = [n_features_in, source.n_features()];
        let output = source.schema();
        let fitted = FittedPreprocessing { input, output, steps };
        let train = fitted.finish(source)?;
        Ok(Fit { fitted: Box::new(fitted), train, report, chain: None, base: None })
    }

    /// What errors call a step, and what its seed is derived from.
    fn place(&self, index: usize) -> String {
        place(self.first + index, self.steps[index].word())
    }

    /// The mistake of a step that must be the last and is not.
    fn misplaced(&self, index: usize) -> Option<StageError> {
        let misplaced = matches!(self.steps[index], Step::ToTensor(_)) && index + 1 < self.steps.len();
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
        let source = match rows {
            // Pieces come from a file that was conformed when it was read.
            Rows::Pieces(pieces) => Source::new(Rows::Pieces(pieces))?,
            rows => {
                let table = conform(rows.table()?.frame(), &self.input, TargetPolicy::Optional)?.table;
                Source::Frame(Frame::new(table))
            }
        };
        let mut steps = self.steps.iter().enumerate();
        self.finish(steps.try_fold(source, |source, (index, step)| {
            let source = if step.needs_all_rows() { source.gathered()? } else { source };
            source.after(step).map_err(|error| error.within(place(index, step.word())))
        })?)
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        let saved = Saved {
            version: FORMAT_VERSION,
            input: self.input.clone(),
            output: self.output.clone(),
            steps: self.steps.iter().map(Arc::as_ref).collect::<Vec<_>>(),
        };
        dir.json("stage.json", &saved)?;
        self.steps.iter().enumerate().try_for_each(|(index, step)| step.save(dir, &matrix_file(index)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl FittedPreprocessing {
    /// Whether what becomes of a row depends on those beside it, so that all must be taken through the steps at once.
    pub fn needs_all_rows(&self) -> bool {
        self.steps.iter().any(|step| step.needs_all_rows())
    }

    /// Whether rows become tensors.
    pub fn gives_tensors(&self) -> bool {
        matches!(self.steps.last().map(Arc::as_ref), Some(FittedStep::ToTensor(_)))
    }

    /// What the rows become after the last step.
    fn finish(&self, source: Source) -> Result<Rows> {
        let to_tensor = self.gives_tensors();
        match if to_tensor { source.gathered()? } else { source } {
            Source::Pieces(mapped) => Ok(Rows::Pieces(Arc::new(mapped))),
            Source::Frame(frame) if to_tensor => Ok(Rows::Tensors(Arc::new(Tensors::from_table(&frame.finish()?)?))),
            Source::Frame(frame) => Ok(Rows::Table(frame.finish()?)),
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
    let steps = steps.into_iter().map(Arc::new).collect();
    Ok(FittedPreprocessing { input, output, steps })
}

/// The training rows that steps set aside: a line for each bad cell.
fn quarantine_table(cells: &[(&str, BadCell)]) -> Result<DataFrame> {
    let texts = |name: &str, text: &dyn Fn(&(&str, BadCell)) -> String| {
        Column::new(name.into(), cells.iter().map(text).collect::<Vec<String>>())
    };
    let columns = vec![
        Column::new("row".into(), cells.iter().map(|(_, cell)| cell.row).collect::<Vec<u64>>()),
        texts("step", &|(step, _)| (*step).to_owned()),
        texts("column", &|(_, cell)| cell.column.clone()),
        texts("reason", &|(_, cell)| cell.reason.clone()),
    ];
    Ok(DataFrame::new(cells.len(), columns)?)
}

fn matrix_file(index: usize) -> String {
    format!("step-{}.safetensors", index + 1)
}

fn place(index: usize, word: &str) -> String {
    format!("step {} ({word})", index + 1)
}
