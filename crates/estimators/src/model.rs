//! A trained model with everything that it needs to predict rows it has never seen.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use polars::prelude::{Column, DataFrame};
use retune_metrics::Prediction;
use retune_spec::Estimator;
use retune_stage::{
    Design, Field, Fitted, Kind, LoadDir, Result, Role, Rows, SaveDir, Schema, StageError, Table, Task,
};
use serde::{Deserialize, Serialize};

use crate::{FitInfo, FitOptions, FittedModel};

/// A trained model; cheap to clone. What it was asked to be, what it learned, the columns that it needs and the labels that it knows.
#[derive(Clone)]
pub struct Model {
    /// What is predicted.
    pub task: Task,
    /// The features in the order of training, and the task.
    pub input: Schema,
    /// The family and its hyperparameters.
    pub estimator: Estimator,
    /// What was learned.
    pub fitted: Arc<FittedModel>,
    output: Schema,
}

/// What `model.json` says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    estimator: Estimator,
    task: Task,
    features: Vec<Field>,
}

impl Model {
    /// Trains on rows that have a target.
    pub fn fit(estimator: &Estimator, train: &Rows, options: &FitOptions) -> Result<(Self, FitInfo)> {
        let schema = train.schema();
        let task = schema.task.clone().ok_or_else(|| StageError::data("the rows have no target column"))?;
        let (fitted, info) = crate::fit(estimator, &train.design()?, &task, options)?;
        Ok((Self::new(estimator.clone(), task, schema.features().cloned().collect(), fitted), info))
    }

    /// A model of its parts; `features` are the columns in the order of training.
    pub fn new(estimator: Estimator, task: Task, features: Vec<Field>, fitted: FittedModel) -> Self {
        let number = |name: String| Field::feature(name, Kind::Numeric);
        let fields = match &task {
            Task::Regression => vec![number(PREDICTION.to_owned())],
            Task::Classification { labels } => {
                let probabilities = labels.iter().map(|label| number(format!("probability_{label}")));
                [Field::feature(PREDICTION, Kind::Categorical)].into_iter().chain(probabilities).collect()
            }
        };
        let input = Schema { fields: features, task: Some(task.clone()) };
        Self { task, input, estimator, fitted: Arc::new(fitted), output: Schema { fields, task: None } }
    }

    /// The same columns, with another family or other hyperparameters.
    #[must_use]
    pub fn with_fitted(&self, fitted: FittedModel, estimator: Estimator) -> Self {
        Self { fitted: Arc::new(fitted), estimator, ..self.clone() }
    }

    /// Predicts rows. Features are found by name; those that the model does not know are left out.
    pub fn predict(&self, rows: &Design) -> Result<Prediction> {
        let bound = self.bind(rows)?;
        crate::rows::check_finite(&bound)?;
        self.fitted.predict(bound.features.view())
    }

    /// The rows with the model's features in the order of its training.
    pub fn bind<'a>(&self, rows: &'a Design) -> Result<Cow<'a, Design>> {
        let same = rows.names.len() == self.input.fields.len()
            && self.input.fields.iter().zip(&rows.names).all(|(field, name)| field.name == *name);
        if same {
            return Ok(Cow::Borrowed(rows));
        }
        let position = |field: &Field| rows.names.iter().position(|name| *name == field.name);
        let positions: Vec<Option<usize>> = self.input.fields.iter().map(position).collect();
        let missing: Vec<String> = self
            .input
            .fields
            .iter()
            .zip(&positions)
            .filter(|(_, position)| position.is_none())
            .map(|(field, _)| format!("`{}`", field.name))
            .collect();
        if !missing.is_empty() {
            let word = if missing.len() == 1 { "feature" } else { "features" };
            return Err(StageError::data(format!(
                "the model needs {} {word} that the rows do not have: {}",
                missing.len(),
                missing.join(", ")
            ))
            .help("take the rows through the same stages as the training rows"));
        }
        let positions: Vec<usize> = positions.into_iter().flatten().collect();
        Ok(Cow::Owned(Design {
            features: rows.features.select(ndarray::Axis(1), &positions),
            names: self.input.fields.iter().map(|field| field.name.clone()).collect(),
            target: rows.target.clone(),
            weights: rows.weights.clone(),
            ties: rows.ties.clone(),
        }))
    }

    /// The predictions as a table: row numbers, ids and flags where the rows have them, `prediction`, and for labels `probability_LABEL`.
    pub fn predictions(&self, rows: &Rows) -> Result<Table> {
        let prediction = self.predict(&rows.design()?)?;
        let carried = |field: &&Field| matches!(field.role, Role::RowNumber | Role::Id | Role::Flags);
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        if let Rows::Table(table) = rows {
            for field in table.schema().fields.iter().filter(carried) {
                if self.output.field(&field.name).is_some() {
                    return Err(StageError::data(format!(
                        "the id column `{}` is named as a column of the predictions",
                        field.name
                    ))
                    .help("rename it"));
                }
                fields.push(field.clone());
                columns.push(table.column(&field.name)?.clone());
            }
        }
        fields.extend(self.output.fields.iter().cloned());
        columns.extend(self.columns(&prediction));
        let frame = DataFrame::new(prediction.len(), columns).map_err(|error| StageError::failed(error.to_string()))?;
        Ok(Table::new(frame, Schema { fields, task: None })?)
    }

    fn columns(&self, prediction: &Prediction) -> Vec<Column> {
        match (prediction, &self.task) {
            (Prediction::Probabilities(probabilities), Task::Classification { labels }) => {
                let names: Vec<&str> = prediction.labels().iter().map(|&code| labels[code as usize].as_str()).collect();
                let probability = |(label, column): (&String, ndarray::ArrayView1<f64>)| {
                    Column::new(format!("probability_{label}").into(), column.to_vec())
                };
                [Column::new(PREDICTION.into(), names)]
                    .into_iter()
                    .chain(labels.iter().zip(probabilities.columns()).map(probability))
                    .collect()
            }
            (Prediction::Values(values), _) => vec![Column::new(PREDICTION.into(), values)],
            (Prediction::Probabilities(_), Task::Regression) => Vec::new(),
        }
    }

    /// Reads what [`Fitted::save`] wrote.
    pub fn load(dir: &LoadDir) -> Result<Self> {
        let Card { estimator, task, features } = dir.json("model.json")?;
        let fitted = FittedModel::load(&estimator, &dir.child("fitted"))?;
        Ok(Self::new(estimator, task, features, fitted))
    }
}

/// The column that holds what is predicted.
const PREDICTION: &str = "prediction";

impl Fitted for Model {
    fn kind(&self) -> &'static str {
        "model"
    }

    fn input(&self) -> &Schema {
        &self.input
    }

    /// Row numbers and ids are carried besides.
    fn output(&self) -> &Schema {
        &self.output
    }

    fn apply(&self, rows: Rows) -> Result<Rows> {
        Ok(Rows::Table(self.predictions(&rows)?))
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        let card =
            Card { estimator: self.estimator.clone(), task: self.task.clone(), features: self.input.fields.clone() };
        dir.json("model.json", &card)?;
        self.fitted.save(&dir.child("fitted"))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
