//! A trained model with everything that it needs to predict rows it has never seen.

mod calibration;
mod combination;
mod decision;
mod encoder;

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use polars::prelude::{Column, DataFrame};
use retune_metrics::Prediction;
use retune_spec::Estimator;
use retune_stage::{
    Design, Field, Fitted, Kind, Levels, LoadDir, Result, Role, Rows, SaveDir, Schema, StageError, Table, Task,
};
use serde::{Deserialize, Serialize};

pub use self::calibration::{Calibrator, Knots, Sigmoid, logits};
pub use self::combination::Combination;
pub use self::decision::Decision;
pub use self::encoder::Encoder;
use crate::{FitInfo, FitOptions, FittedModel};

/// A trained model; cheap to clone. What it was asked to be, what it learned, the columns that it needs and the labels that it knows.
///
/// It has one member or more. What these predict is combined, then calibrated, then decided.
#[derive(Clone)]
pub struct Model {
    /// What is predicted.
    pub task: Task,
    /// The features in the order of training, the target where its column is known, and the task.
    pub input: Schema,
    members: Vec<Member>,
    combination: Combination,
    calibration: Option<Calibrator>,
    decision: Option<Decision>,
    /// The levels of the categorical features, as [`Design::levels`] has them.
    levels: Vec<Option<Levels>>,
    output: Schema,
}

/// One of the models that predict together.
#[derive(Clone)]
pub struct Member {
    /// The family and its hyperparameters.
    pub estimator: Estimator,
    /// What was learned.
    pub fitted: Arc<FittedModel>,
    /// What rows go through before it sees them.
    pub encoder: Option<Encoder>,
}

/// What `model.json` says. Models that were stored before there were several members have the first three only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    estimator: Estimator,
    task: Task,
    features: Vec<Field>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<Estimator>,
    #[serde(default, skip_serializing_if = "CombinationCard::is_single")]
    combination: CombinationCard,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    calibration: Option<Calibrator>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    levels: Vec<Option<Vec<String>>>,
    /// By member; empty where none has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    encoders: Vec<Option<Encoder>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CombinationCard {
    #[default]
    Single,
    Weighted(Vec<f64>),
    Stacked(Box<Estimator>),
}

impl CombinationCard {
    fn is_single(&self) -> bool {
        matches!(self, Self::Single)
    }
}

/// The columns that a model is about: features, and the target, by which rows to score are found.
pub fn learned_fields(schema: &Schema) -> Vec<Field> {
    schema.fields.iter().filter(|field| matches!(field.role, Role::Feature | Role::Target)).cloned().collect()
}

impl Model {
    /// Trains on rows that have a target.
    pub fn fit(estimator: &Estimator, train: &Rows, options: &FitOptions) -> Result<(Self, FitInfo)> {
        let schema = train.schema();
        let task = schema.task.clone().ok_or_else(|| StageError::data("the rows have no target column"))?;
        let train = train.design()?;
        let (fitted, info) = crate::fit(estimator, &train, &task, options)?;
        let model = Self::new(estimator.clone(), task, learned_fields(schema), fitted);
        Ok((model.with_levels(train.levels), info))
    }

    /// A model of one member; `features` are the columns in the order of training.
    pub fn new(estimator: Estimator, task: Task, features: Vec<Field>, fitted: FittedModel) -> Self {
        Self::of(vec![Member::new(estimator, fitted)], Combination::Single, task, features)
    }

    /// A model of several members, which were all trained on the same columns. Fails where the combination does not fit them.
    pub fn together(members: Vec<Member>, combination: Combination, task: Task, features: Vec<Field>) -> Result<Self> {
        combination.check(members.len())?;
        Ok(Self::of(members, combination, task, features))
    }

    fn of(members: Vec<Member>, combination: Combination, task: Task, features: Vec<Field>) -> Self {
        let input = Schema { fields: features, task: Some(task.clone()) };
        let (calibration, decision, output) = (None, None, Schema { fields: Vec::new(), task: None });
        let levels = Vec::new();
        Self { task, input, members, combination, calibration, decision, levels, output }.named()
    }

    /// The same, trained on categorical features with these levels.
    #[must_use]
    pub fn with_levels(self, levels: Vec<Option<Levels>>) -> Self {
        Self { levels, ..self }
    }

    /// Corrects what was combined. Fails for a calibration of other labels.
    pub fn with_calibration(self, calibration: Calibrator) -> Result<Self> {
        calibration.check(self.n_labels())?;
        Ok(Self { calibration: Some(calibration), ..self }.named())
    }

    /// Decides by something other than the greatest probability. Fails for a decision between other labels.
    pub fn with_decision(self, decision: Decision) -> Result<Self> {
        decision.check(self.n_labels())?;
        Ok(Self { decision: Some(decision), ..self })
    }

    /// The same, where the first member learned something else.
    #[must_use]
    pub fn with_fitted(&self, fitted: FittedModel, estimator: Estimator) -> Self {
        let mut members = self.members.clone();
        members[0] = members[0].with_fitted(estimator, fitted);
        self.with_members(members)
    }

    /// The same with other members in place of as many.
    #[must_use]
    pub fn with_members(&self, members: Vec<Member>) -> Self {
        debug_assert_eq!(members.len(), self.members.len());
        Self { members, ..self.clone() }.named()
    }

    /// The members, in the order in which the combination counts them.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How their predictions become one.
    pub fn combination(&self) -> &Combination {
        &self.combination
    }

    /// What corrects the probabilities, if anything does.
    pub fn calibration(&self) -> Option<&Calibrator> {
        self.calibration.as_ref()
    }

    /// What decides besides the greatest probability, if anything does.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    /// The first member's family and hyperparameters.
    pub fn estimator(&self) -> &Estimator {
        &self.members[0].estimator
    }

    /// What the first member learned.
    pub fn fitted(&self) -> &FittedModel {
        &self.members[0].fitted
    }

    /// The words of the families, each once.
    pub fn family(&self) -> String {
        let mut words: Vec<&str> = self.members.iter().map(|member| member.estimator.word()).collect();
        let mut known = std::collections::HashSet::new();
        words.retain(|word| known.insert(*word));
        words.join(" + ")
    }

    /// What was learned, in words.
    pub fn describe(&self) -> String {
        let labels = match &self.task {
            Task::Classification { labels } => labels.as_slice(),
            Task::Regression => &[],
        };
        let calibration = self.calibration.iter().map(Calibrator::describe);
        let decision = self.decision.iter().map(|decision| decision.describe(labels));
        let parts: Vec<String> =
            [self.combination.describe(&self.members)].into_iter().chain(calibration).chain(decision).collect();
        parts.join("; ")
    }

    fn n_labels(&self) -> usize {
        self.task.n_classes().unwrap_or(0)
    }

    /// Whether labels have scores, which are no probabilities.
    fn gives_scores(&self) -> bool {
        let single = matches!(self.combination, Combination::Single);
        single && self.calibration.is_none() && !self.estimator().gives_probabilities()
    }

    /// The same with the columns that it puts out.
    fn named(mut self) -> Self {
        let number = |name: String| Field::feature(name, Kind::Numeric);
        self.output.fields = match &self.task {
            Task::Regression => vec![number(PREDICTION.to_owned())],
            Task::Classification { labels } => {
                let what = if self.gives_scores() { SCORE } else { PROBABILITY };
                let by_label = labels.iter().map(|label| number(format!("{what}_{label}")));
                [Field::feature(PREDICTION, Kind::Categorical)].into_iter().chain(by_label).collect()
            }
        };
        self
    }

    /// Predicts rows. Features are found by name; those that the model does not know are left out.
    pub fn predict(&self, rows: &Design) -> Result<Prediction> {
        let bound = self.bind(rows)?;
        if self.members.iter().all(Member::takes_missing) {
            crate::rows::check_not_infinite(&bound)?;
        } else {
            crate::rows::check_finite(&bound)?;
        }
        let said = |member: &Member| member.predict(&bound);
        let combined = match (&self.combination, self.members.as_slice()) {
            (Combination::Single, [only]) => said(only)?,
            (several, members) => several.apply(&members.iter().map(said).collect::<Result<Vec<_>>>()?)?,
        };
        let calibrated = match &self.calibration {
            Some(calibration) => calibration.apply(&combined)?,
            None => combined,
        };
        match &self.decision {
            Some(decision) => decision.apply(calibrated),
            None => Ok(calibrated),
        }
    }

    /// The rows with the model's features in the order of its training.
    pub fn bind<'a>(&self, rows: &'a Design) -> Result<Cow<'a, Design>> {
        self.check_images(rows)?;
        let numbers = || self.input.features().filter(|field| field.kind != Kind::Image);
        let same = rows.names.len() == numbers().count()
            && numbers().zip(&rows.names).all(|(field, name)| field.name == *name);
        if same && self.levels.is_empty() && rows.levels.is_empty() {
            return Ok(Cow::Borrowed(rows));
        }
        let position = |field: &Field| rows.names.iter().position(|name| *name == field.name);
        let positions: Vec<Option<usize>> = numbers().map(position).collect();
        let missing: Vec<String> = numbers()
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
        let mut bound = Design {
            features: rows.features.select(ndarray::Axis(1), &positions),
            names: numbers().map(|field| field.name.clone()).collect(),
            images: rows.images.clone(),
            levels: positions.iter().map(|&at| rows.levels_of(at).cloned()).collect(),
            row_numbers: rows.row_numbers.clone(),
            target: rows.target.clone(),
            weights: rows.weights.clone(),
            ties: rows.ties.clone(),
        };
        for (feature, name) in bound.names.iter().enumerate() {
            let trained = self.levels.get(feature).is_some_and(Option::is_some);
            if trained != bound.levels_of(feature).is_some() {
                let (was, is) = if trained { ("categorical", "numbers") } else { ("numbers", "categorical") };
                return Err(StageError::data(format!(
                    "the model was trained on `{name}` as {was}, and it is {is} here"
                )));
            }
        }
        bound.recode(&self.levels);
        Ok(Cow::Owned(bound))
    }

    /// Fails where the model sees a column of images that the rows do not have.
    fn check_images(&self, rows: &Design) -> Result<()> {
        let Some(field) = self.input.fields.iter().find(|field| field.kind == Kind::Image) else { return Ok(()) };
        if rows.images.as_ref().is_some_and(|images| images.name() == field.name) {
            return Ok(());
        }
        Err(StageError::data(format!(
            "the model needs the column of images `{}`, which the rows do not have",
            field.name
        ))
        .help(format!("say where the images are, `columns: {{ {}: image }}` under `data`", field.name)))
    }

    /// The predictions as a table: row numbers, ids and flags where the rows have them, `prediction`, and for labels `probability_LABEL`
    /// or, where the model gives scores, `score_LABEL`.
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
        let by_label = match (prediction, &self.task) {
            (Prediction::Values(values), _) => return vec![Column::new(PREDICTION.into(), values)],
            (_, Task::Classification { labels }) => prediction.by_label().map(|by_label| (labels, by_label)),
            (_, Task::Regression) => None,
        };
        let Some((labels, by_label)) = by_label else { return Vec::new() };
        let names: Vec<&str> = prediction.labels().iter().map(|&code| labels[code as usize].as_str()).collect();
        let what = if prediction.probabilities().is_some() { PROBABILITY } else { SCORE };
        let column = |(label, column): (&String, ndarray::ArrayView1<f64>)| {
            Column::new(format!("{what}_{label}").into(), column.to_vec())
        };
        [Column::new(PREDICTION.into(), names)]
            .into_iter()
            .chain(labels.iter().zip(by_label.columns()).map(column))
            .collect()
    }

    /// Reads what [`Fitted::save`] wrote.
    pub fn load(dir: &LoadDir) -> Result<Self> {
        let card: Card = dir.json("model.json")?;
        let load = |(number, estimator): (usize, Estimator)| {
            let fitted = FittedModel::load(&estimator, &dir.child(&folder(number)))?;
            Ok(Member { encoder: card.encoders.get(number).cloned().flatten(), ..Member::new(estimator, fitted) })
        };
        let members = [card.estimator].into_iter().chain(card.others).enumerate().map(load).collect::<Result<_>>()?;
        let combination = match card.combination {
            CombinationCard::Single => Combination::Single,
            CombinationCard::Weighted(weights) => Combination::Weighted(weights),
            CombinationCard::Stacked(estimator) => {
                let fitted = FittedModel::load(&estimator, &dir.child(STACK))?;
                Combination::Stacked(Box::new(Member::new(*estimator, fitted)))
            }
        };
        let levels = card.levels.into_iter().map(|levels| levels.map(Levels::from)).collect();
        let mut model = Self::together(members, combination, card.task, card.features)?.with_levels(levels);
        if let Some(calibration) = card.calibration {
            model = model.with_calibration(calibration)?;
        }
        match card.decision {
            Some(decision) => model.with_decision(decision),
            None => Ok(model),
        }
    }
}

/// The folder of a member.
fn folder(number: usize) -> String {
    if number == 0 { "fitted".to_owned() } else { format!("fitted_{}", number + 1) }
}

/// The folder of the model of predictions.
const STACK: &str = "stack";

/// The column that holds what is predicted.
const PREDICTION: &str = "prediction";

/// How the columns of labels begin.
const PROBABILITY: &str = "probability";
const SCORE: &str = "score";

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
        let card = Card {
            estimator: self.estimator().clone(),
            task: self.task.clone(),
            features: self.input.fields.clone(),
            others: self.members.iter().skip(1).map(|member| member.estimator.clone()).collect(),
            combination: match &self.combination {
                Combination::Single => CombinationCard::Single,
                Combination::Weighted(weights) => CombinationCard::Weighted(weights.clone()),
                Combination::Stacked(model) => CombinationCard::Stacked(Box::new(model.estimator.clone())),
            },
            calibration: self.calibration.clone(),
            decision: self.decision.clone(),
            levels: self.levels.iter().map(|levels| levels.as_ref().map(|levels| levels.to_vec())).collect(),
            encoders: if self.members.iter().any(|member| member.encoder.is_some()) {
                self.members.iter().map(|member| member.encoder.clone()).collect()
            } else {
                Vec::new()
            },
        };
        dir.json("model.json", &card)?;
        for (number, member) in self.members.iter().enumerate() {
            member.fitted.save(&dir.child(&folder(number)))?;
        }
        match &self.combination {
            Combination::Stacked(model) => model.fitted.save(&dir.child(STACK)),
            _ => Ok(()),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
