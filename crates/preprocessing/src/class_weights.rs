//! `class_weights`.

use retune_spec::preprocessing::{ClassWeights, LabelWeights};
use retune_stage::{Field, FitContext, Kind, Result, Role, StageError, Task};
use serde::{Deserialize, Serialize};

use crate::balance::{self, Labels};
use crate::frame::{Frame, numeric_column};
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, Train, counted};

/// The column of weights, where rows have none yet.
const WEIGHT: &str = "#weight";

/// Nothing is learned: only training rows are learned from.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedClassWeights {}

impl FitStep for ClassWeights {
    type Fitted = FittedClassWeights;
    const KINDS: &'static [Kind] = &Kind::ALL;
    const SPARSE: bool = true;

    fn check(&self, _columns: &[String], outline: &mut Outline) -> Result<()> {
        balance::check(outline, None)?;
        let LabelWeights::Each(weights) = &self.weights else { return Ok(()) };
        if let Some((label, weight)) = weights.iter().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0)) {
            return Err(StageError::data(format!("`weights` gives `{label}` the weight {weight}"))
                .help("a weight is 0 or more"));
        }
        match &outline.schema().task {
            Some(Task::Classification { labels }) => check_labels(weights.keys(), labels),
            _ => Ok(()),
        }
    }

    fn fit(&self, source: &Source, _columns: &[String], _context: &FitContext) -> Result<Learnt<FittedClassWeights>> {
        let frame = source.frame()?;
        let labels = Labels::of(source)?;
        let before = frame.table.weights()?;
        let by_label = match &self.weights {
            LabelWeights::Balanced(_) => balanced(&labels, before.as_deref()),
            LabelWeights::Each(weights) => {
                check_labels(weights.keys(), labels.names())?;
                labels.names().iter().map(|name| weights.get(name).copied().unwrap_or(1.0)).collect()
            }
        };
        let weight =
            |(row, &code): (usize, &u32)| by_label[code as usize] * before.as_ref().map_or(1.0, |before| before[row]);
        let weights = labels.codes.iter().enumerate().map(weight).collect();
        let train = match frame.table.schema().of_role(Role::Weight).cloned() {
            Some(field) => {
                let column = numeric_column(&field.name, weights);
                frame.replace(vec![(field.name.clone(), vec![(field, column)])])?
            }
            None => {
                let field = Field { name: WEIGHT.to_owned(), role: Role::Weight, kind: Kind::Numeric, source: None };
                frame.append(vec![(field, numeric_column(WEIGHT, weights))])?
            }
        };
        let present = by_label.iter().zip(&labels.counts).filter(|(_, count)| **count > 0).map(|(weight, _)| *weight);
        let (least, most) =
            present.fold((f64::INFINITY, 0.0_f64), |(low, high), weight| (low.min(weight), high.max(weight)));
        let text = format!("weighed {} from {least:.3} to {most:.3}", counted(labels.names().len(), "label"));
        Ok(Learnt::new(FittedClassWeights {}, Train::Frame(train), text))
    }
}

impl ApplyStep for FittedClassWeights {
    fn apply(&self, frame: &Frame) -> Result<Frame> {
        Ok(frame.clone())
    }
}

/// All rows / (labels * rows of the label), over the labels that occur; by the sums of weights, where rows have some.
fn balanced(labels: &Labels, weights: Option<&[f64]>) -> Vec<f64> {
    let mut sums = vec![0.0; labels.counts.len()];
    for (row, &code) in labels.codes.iter().enumerate() {
        sums[code as usize] += weights.map_or(1.0, |weights| weights[row]);
    }
    let total: f64 = sums.iter().sum();
    let n_present = sums.iter().filter(|sum| **sum > 0.0).count() as f64;
    sums.iter().map(|sum| if *sum > 0.0 { total / (n_present * sum) } else { 1.0 }).collect()
}

fn check_labels<'a>(mut given: impl Iterator<Item = &'a String>, labels: &[String]) -> Result<()> {
    match given.find(|label| !labels.contains(label)) {
        None => Ok(()),
        Some(label) => {
            let known: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            Err(StageError::data(format!("`weights` has the label `{label}`, which no training row has"))
                .help(format!("the labels are {}", known.join(", "))))
        }
    }
}
