//! `lda`.

use faer::Mat;
use faer::linalg::matmul::matmul;
use faer::{Accum, Par};
use ndarray::Array2;
use rayon::prelude::*;
use retune_spec::preprocessing::Lda;
use retune_stage::{FitContext, Kind, Result, Role, StageError, Task};
use retune_table::Target;
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::pca::right_singular;
use crate::projection::{Dense, Projection, applied_as, flip_signs, leading, too_large, too_many};
use crate::scatter::Products;
use crate::source::Source;
use crate::step::{FitStep, Learnt, counted};

/// The overall means and the directions.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedLda {
    #[serde(flatten)]
    projection: Projection,
    explained_variance_ratio: Vec<f64>,
}

impl FitStep for Lda {
    type Fitted = FittedLda;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if columns.is_empty() {
            return Err(StageError::data("there is no column to discriminate by").help("choose other `columns`"));
        }
        let most = match &outline.schema().task {
            Some(Task::Regression) => {
                return Err(StageError::data("lda needs a target of labels, and this one is of numbers")
                    .help("take `pca`, or say `task: classification` under `data` where the numbers are labels"));
            }
            Some(Task::Classification { labels }) => labels.len().saturating_sub(1),
            // What the target is may not be known before the data are read.
            None => usize::MAX,
        };
        if let Some(components) = self.components {
            if components > most {
                return Err(too_many(components, most, "labels less one"));
            }
            if Outline::is_closed(columns) && components > columns.len() {
                return Err(too_many(components, columns.len(), "columns"));
            }
        }
        outline.remove(columns);
        // Equal means or dependent columns leave fewer directions than were asked for.
        outline.add_open(&format!("{}_", self.prefix), Kind::Numeric);
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedLda>> {
        let classes = Classes::of(source, columns)?;
        let present: Vec<usize> = (0..classes.counts.len()).filter(|&class| classes.counts[class] > 0).collect();
        let n_rows: usize = classes.counts.iter().sum();
        if present.len() < 2 {
            return Err(StageError::data("all training rows have the same label; lda needs two to tell apart"));
        }
        if n_rows <= present.len() {
            return Err(StageError::data(format!(
                "{n_rows} training rows of {} labels leave no spread within a label to measure by",
                present.len()
            ))
            .help("take more rows"));
        }
        let (directions, ratios, means) = directions(self, columns.len(), n_rows, &present, classes)?;
        let n_components = directions.ncols();
        let text = format!(
            "{} separate {} by {}",
            counted(n_components, "direction"),
            counted(present.len(), "label"),
            counted(columns.len(), "column")
        );
        let fitted = FittedLda {
            projection: Projection::new(source, columns, &self.prefix, means, directions),
            explained_variance_ratio: ratios,
        };
        Ok(Learnt::applied(fitted, text))
    }
}

/// Directions [columns, components], the share of the variance between labels along each, and the overall means. As scikit-learn's `solver="svd"`, but
/// from sums of products in place of the rows.
fn directions(
    step: &Lda,
    n_columns: usize,
    n_rows: usize,
    present: &[usize],
    classes: Classes,
) -> Result<(Array2<f64>, Vec<f64>, Vec<f64>)> {
    let Classes { counts, means, mut within } = classes;
    if !within.all_finite() {
        return Err(too_large("discriminant analysis"));
    }
    // Columns are brought to one scale first; those that are constant within every label are let alone.
    let deviation = |column: usize| (within.of_itself(column) / n_rows as f64).sqrt();
    let scales: Vec<f64> = (0..n_columns).map(deviation).map(|scale| if scale > 0.0 { scale } else { 1.0 }).collect();
    within.scale(&scales);
    let (squares, vectors) = within.eigen()?;
    // Divided by the number of rows, as scikit-learn does from 1.9 on.
    let spreads: Vec<f64> = squares
        .iter()
        .map(|square| (square / n_rows as f64).sqrt())
        .take_while(|&spread| spread > step.tolerance)
        .collect();
    if spreads.is_empty() {
        return Err(StageError::data("no column varies within a label").help("choose other `columns`"));
    }
    // In these directions the rows of a label deviate by 1.
    let spherical =
        Mat::from_fn(n_columns, spreads.len(), |column, at| vectors[(column, at)] / scales[column] / spreads[at]);
    let overall: Vec<f64> = (0..n_columns)
        .map(|column| present.iter().map(|&class| counts[class] as f64 / n_rows as f64 * means[class][column]).sum())
        .collect();
    let degrees = (present.len() - 1) as f64;
    let between = Mat::from_fn(present.len(), n_columns, |row, column| {
        let class = present[row];
        (counts[class] as f64 / degrees).sqrt() * (means[class][column] - overall[column])
    });
    let mut turned = Mat::zeros(present.len(), spreads.len());
    matmul(turned.as_mut(), Accum::Replace, between.as_ref(), spherical.as_ref(), 1.0, Par::Seq);
    let (values, vectors) = right_singular(turned.as_ref())?;
    let bound = step.tolerance * values.first().copied().unwrap_or(0.0);
    let most = step.components.unwrap_or(usize::MAX).min(present.len() - 1).min(n_columns);
    let n_components = values.iter().take_while(|&&value| value > bound).count().min(most);
    if n_components == 0 {
        return Err(StageError::data("the labels have equal means in every column, which leaves lda no direction")
            .help("choose other `columns`"));
    }
    let mut directions = Mat::zeros(n_columns, n_components);
    let vectors = vectors.subcols(0, n_components);
    matmul(directions.as_mut(), Accum::Replace, spherical.as_ref(), vectors, 1.0, Par::Seq);
    flip_signs(&mut directions);
    let total: f64 = values.iter().map(|value| value * value).sum();
    let ratios = values.iter().take(n_components).map(|value| value * value / total).collect();
    Ok((leading(&directions, &vec![1.0; n_components]), ratios, overall))
}

/// What the rows of each label are like.
struct Classes {
    counts: Vec<usize>,
    /// Of each label, one for each column.
    means: Vec<Vec<f64>>,
    /// Products of the distances of rows from the means of their labels.
    within: Products,
}

impl Classes {
    fn of(source: &Source, columns: &[String]) -> Result<Self> {
        let schema = source.schema();
        let target = schema.of_role(Role::Target).ok_or_else(|| {
            StageError::data("lda needs a target of labels, and there is none").help("take `pca` instead")
        })?;
        let mut needed = columns.to_vec();
        needed.push(target.name.clone());
        let mut sum: Option<Self> = None;
        source.fold(
            &needed,
            |frame| Self::of_frame(frame, columns),
            |piece| {
                match &mut sum {
                    Some(sum) => sum.add(&piece),
                    None => sum = Some(piece),
                }
                Ok(())
            },
        )?;
        sum.ok_or_else(|| StageError::data("there are no training rows"))
    }

    fn of_frame(frame: &Frame, columns: &[String]) -> Result<Self> {
        let Target::Classes { codes, n_classes } = frame.table.target()? else {
            return Err(StageError::data("lda needs a target of labels, and this one is of numbers").help("take `pca`"));
        };
        let values = Dense::of(frame, columns)?;
        let mut counts = vec![0; n_classes];
        codes.iter().for_each(|&code| counts[code as usize] += 1);
        let of_column = |column: usize| {
            let mut means = vec![0.0; n_classes];
            let values = values.column(column).iter();
            values.zip(&codes).for_each(|(value, &code)| means[code as usize] += value);
            means.iter_mut().zip(&counts).for_each(|(mean, &n)| *mean /= f64::max(n as f64, 1.0));
            means
        };
        let of_columns: Vec<Vec<f64>> = (0..columns.len()).into_par_iter().map(of_column).collect();
        let mut within = Products::none(columns.len());
        within.add_rows(&values, |row, column| of_columns[column][codes[row] as usize]);
        let means = (0..n_classes).map(|class| of_columns.iter().map(|means| means[class]).collect()).collect();
        Ok(Self { counts, means, within })
    }

    fn add(&mut self, other: &Self) {
        let mut parts = Vec::new();
        for (class, mean) in self.means.iter_mut().enumerate() {
            let (ours, theirs) = (self.counts[class] as f64, other.counts[class] as f64);
            if theirs == 0.0 {
                continue;
            }
            let apart: Vec<f64> =
                other.means[class].iter().zip(mean.iter()).map(|(theirs, ours)| theirs - ours).collect();
            let share = theirs / (ours + theirs);
            mean.iter_mut().zip(&apart).for_each(|(mean, apart)| *mean += apart * share);
            self.counts[class] += other.counts[class];
            parts.push((ours * share, apart));
        }
        self.within.add(&other.within, &parts);
    }
}

applied_as!(FittedLda, projection);
