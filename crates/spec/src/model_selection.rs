//! Search over candidates.

use std::borrow::Cow;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::brief::brief;
use crate::estimators::Estimator;
use crate::metric::Metric;

/// `uses: model-selection`: the best of the candidates by cross-validation, in which every stage before this one is fitted anew on each fold's training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSelection {
    /// The score that decides; by default `f1_macro` for labels and `rmse` for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// What a trial learns from and is scored on.
    #[serde(default)]
    pub folds: Folds,
    /// How trials are chosen.
    #[serde(default)]
    pub search: Search,
    /// The families and their spaces.
    #[schemars(length(min = 1))]
    pub candidates: Vec<Candidate>,
    /// Hyperparameters of the stages before this one that are searched too, as `STAGE.STEP.PARAMETER`: `{ prepare.pca.components: { int: [8, 64] } }`. A step that
    /// the stage has more than once is named by its number, counted from 1: `prepare.9.components`. What the winner chose stands in the model; the stage
    /// itself is fitted as it is declared.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub upstream: IndexMap<String, Space>,
    /// Lets families that take neither missing values nor words learn beside those that do: what one cannot take is turned for it alone, by what its training
    /// rows say. A missing number becomes the median, words become columns of 0 and 1, and where training rows had gaps a further column says which rows have one (a word
    /// that no training row has counts as a gap). Boosted trees see both as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encode: Option<Encode>,
    /// Which of the finished trials wins.
    #[serde(default)]
    pub choose: Choose,
    /// Several trials together in place of the best one, where that scores better on rows that neither they nor their weights have seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<Ensemble>,
    /// Labels: turns scores into probabilities, or corrects them, by the predictions of the folds' validation rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrate: Option<Calibration>,
    /// Labels: chooses the probability from which a label is predicted so that this score of the folds' validation rows is best. Of more than two labels each
    /// has a weight of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Metric>,
    /// Repeats the whole search on the training rows of so many outer folds and scores its winner on their validation rows: an honest estimate of what the
    /// search achieves, at so many times its cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 100))]
    pub nested: Option<usize>,
}

/// How words become numbers for families that take numbers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Encode {
    /// So many of a column's commonest levels have a column each; the others have none.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_levels: usize,
}

/// What a trial learns from and is scored on. Wherever rows have a group or a time (`data.split`), whole groups stay together and the past judges nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Folds {
    /// So many folds: stratified for labels; by groups or forward in time where rows have such.
    Count(#[schemars(range(min = 2, max = 1000))] usize),
    /// Another way.
    Plan(FoldPlan),
}

impl Default for Folds {
    fn default() -> Self {
        Self::Count(5)
    }
}

/// Ways to divide rows for scoring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FoldPlan {
    /// So many folds of rows at random, whatever their labels.
    KFold(#[schemars(range(min = 2, max = 1000))] usize),
    /// So many folds with each label's share in every one.
    Stratified(#[schemars(range(min = 2, max = 1000))] usize),
    /// So many folds of whole groups, each label spread evenly over them. Needs `data.split.group`.
    Group(#[schemars(range(min = 2, max = 1000))] usize),
    /// Several times so many folds, divided anew each time.
    Repeated(Repeated),
    /// So many folds, each learning from what came before it. Needs `data.split.time`.
    TimeSeries(TimeSeries),
    /// Every row is a fold of its own. The score is that of all predictions together.
    LeaveOneOut,
    /// One fold: this share of the rows is scored on, and the others are learned from.
    HoldOut(#[schemars(range(max = 0.9), extend("exclusiveMinimum" = 0.0))] f64),
    /// A column whose values say which fold a row is scored in; rows without a value are always learned from. Name it in `data.id`, so that nothing learns from
    /// it.
    Column(String),
}

/// Folds that are divided anew several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repeated {
    /// How many folds each time.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 1000))]
    pub folds: usize,
    /// How many times.
    #[serde(default = "two")]
    #[schemars(range(min = 2, max = 1000))]
    pub times: usize,
}

/// Folds forward in time (scikit-learn's `TimeSeriesSplit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeSeries {
    /// How many folds.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 1000))]
    pub folds: usize,
    /// So many rows before those that are scored are left out, as what they tell would not be known yet.
    #[serde(default)]
    pub gap: usize,
    /// At most so many rows, the latest, are learned from; 0 is all.
    #[serde(default)]
    pub window: usize,
}

fn five() -> usize {
    5
}

fn two() -> usize {
    2
}

/// How trials are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// What proposes the values of a trial.
    #[serde(default)]
    pub sampler: Sampler,
    /// How many trials; `grid` stops earlier when every combination was tried. Every candidate gets its first trial before any gets a second one. By default 20,
    /// or no limit where `seconds` or `goal` is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub trials: Option<usize>,
    /// Begins no trial after so many seconds, and gives up those that are under way. How far a search gets then depends on the machine: the result is marked as
    /// not reproducible. Candidates share the time, not the trials: the first one declared begins, so declare what takes little first; no trial after the first
    /// may take more of it than one candidate's share, nor more than a third, and boosted trees end with the rounds that fit into that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub seconds: Option<f64>,
    /// Ends the search when a trial's mean score is as good as this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<f64>,
    /// A trial that takes longer than so many seconds has failed; by default what each candidate gets of `seconds` where several share them, at most a third.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub trial_seconds: Option<f64>,
    /// When a trial is given up early.
    #[serde(default)]
    pub pruner: Pruner,
    /// So many trials are proposed together and run beside each other, so that more processors than folds are of use. What samplers learn from comes in as many
    /// pieces; the result depends on this number, never on the processors.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 1000))]
    pub at_once: usize,
}

fn one() -> usize {
    1
}

fn is_one(at_once: &usize) -> bool {
    *at_once == 1
}

impl Default for Search {
    fn default() -> Self {
        Self {
            sampler: Sampler::default(),
            trials: None,
            seconds: None,
            goal: None,
            trial_seconds: None,
            pruner: Pruner::default(),
            at_once: one(),
        }
    }
}

impl Search {
    /// The number of trials that a search without a limit makes.
    pub const TRIALS: usize = 20;

    /// More trials than any search makes.
    pub const UNLIMITED: usize = usize::MAX;

    /// At most so many trials.
    pub fn trials(&self) -> usize {
        let unlimited = self.seconds.is_some() || self.goal.is_some();
        self.trials.unwrap_or(if unlimited { Self::UNLIMITED } else { Self::TRIALS })
    }
}

/// What proposes the values of a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Tree-structured Parzen estimator (Bergstra et al. 2011): looks where good trials were, in each hyperparameter by itself.
    #[default]
    Tpe,
    /// The same with one density over all hyperparameters (Falkner et al. 2018), which sees those that go together.
    MultivariateTpe,
    /// Evolution of a normal distribution (Hansen 2016); for ranges of numbers. A `choice` is drawn by itself.
    CmaEs,
    /// A sequence that fills the space evenly (Sobol 1967, scrambled as by Owen).
    Sobol,
    /// Independent draws.
    Random,
    /// Every combination; ranges are cut into 5 values.
    Grid,
}

brief! {
    /// When a trial is given up early.
    #[derive(Clone, Copy, Debug, PartialEq)]
    Pruner {
        /// Never.
        None = "none",
        /// After every second fold, once three trials are finished: when the mean of its folds is worse than the median of theirs after as many folds.
        Median = "median",
        /// Goes on with the best trials only, at each of several levels of a resource (Li et al. 2020, the asynchronous kind).
        SuccessiveHalving (Halving) = "successive_halving",
        /// Successive halving with several brackets that begin at different levels (Li et al. 2018), so that trials which show late what they are worth have a chance.
        Hyperband (Halving) = "hyperband",
    }
}

#[expect(clippy::derivable_impls, reason = "`brief!` writes the attributes of a variant twice")]
impl Default for Pruner {
    fn default() -> Self {
        Self::None
    }
}

/// The levels of a resource that trials go through.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Halving {
    /// What there is little of at first.
    #[serde(default)]
    pub resource: Resource,
    /// The share of the resource at the lowest level.
    #[serde(default = "tenth")]
    #[schemars(range(max = 0.5), extend("exclusiveMinimum" = 0.0))]
    pub minimum: f64,
    /// From one level to the next there is so many times as much of it, and one of so many trials goes on.
    #[serde(default = "three")]
    #[schemars(range(min = 2, max = 10))]
    pub factor: usize,
}

impl Default for Halving {
    fn default() -> Self {
        Self { resource: Resource::default(), minimum: tenth(), factor: three() }
    }
}

fn tenth() -> f64 {
    0.1
}

fn three() -> usize {
    3
}

/// What a trial may have little of at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Training rows of each fold.
    #[default]
    Rows,
    /// Folds.
    Folds,
    /// Trees or epochs, of families that have such; training rows for the others.
    Rounds,
}

/// Which of the finished trials wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Choose {
    /// The one with the best mean score.
    #[default]
    Best,
    /// The smallest model among those whose mean is within one standard error of the best (Breiman et al. 1984).
    Simplest,
}

brief! {
    /// How several trials predict together. Their predictions for the folds' validation rows decide who takes part and how much each counts.
    #[derive(Clone, Copy, Debug, PartialEq)]
    Ensemble {
        /// The mean of the best trials.
        Voting (Voting) = "voting",
        /// A model of their predictions: logistic regression for labels, ridge regression for values.
        Stacking (Stacking) = "stacking",
        /// A weighted mean: again and again the trial joins, or counts more, that helps most (Caruana et al. 2004).
        Greedy (Greedy) = "greedy",
    }
}

/// The mean of the best trials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Voting {
    /// So many trials take part.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 100))]
    pub top: usize,
    /// The best trial of each candidate before the second of any.
    #[serde(default = "yes")]
    pub diverse: bool,
}

impl Default for Voting {
    fn default() -> Self {
        Self { top: five(), diverse: true }
    }
}

/// A model of predictions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stacking {
    /// So many trials take part, the best of each candidate before the second of any.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 100))]
    pub top: usize,
    /// The strength of the model's L2 penalty.
    #[serde(default = "one_f64")]
    #[schemars(range(min = 0.0))]
    pub l2: f64,
}

impl Default for Stacking {
    fn default() -> Self {
        Self { top: five(), l2: 1.0 }
    }
}

/// A weighted mean that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Greedy {
    /// So many of the best trials may join.
    #[serde(default = "twenty_five")]
    #[schemars(range(min = 2, max = 1000))]
    pub top: usize,
    /// So many times one joins.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 10_000))]
    pub rounds: usize,
}

impl Default for Greedy {
    fn default() -> Self {
        Self { top: twenty_five(), rounds: fifty() }
    }
}

fn yes() -> bool {
    true
}

fn one_f64() -> f64 {
    1.0
}

fn twenty() -> usize {
    20
}

fn twenty_five() -> usize {
    25
}

fn fifty() -> usize {
    50
}

/// How probabilities are corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Calibration {
    /// A logistic curve for each label (Platt 1999), as scikit-learn's `sigmoid`.
    Platt,
    /// A rising step function for each label (Zadrozny and Elkan 2002); needs some thousand rows.
    Isotonic,
    /// One temperature for all labels (Guo et al. 2017).
    Temperature,
}

/// A model family with values and spaces: `{ logistic_regression: { l2: { log_uniform: [1e-4, 10] } } }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Candidate(pub Map<String, Value>);

/// The values that a search may choose from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// One of a list.
    Choice(Vec<Value>),
    /// A whole number between two, both included.
    Int([i64; 2]),
    /// A number between two.
    Uniform([f64; 2]),
    /// A number between two whose logarithm is uniform.
    LogUniform([f64; 2]),
}

impl Space {
    /// The words that make a mapping a space.
    pub const WORDS: [&'static str; 4] = ["choice", "int", "uniform", "log_uniform"];

    /// Some value of it: the first, or the lowest.
    pub fn first(&self) -> Option<Value> {
        match self {
            Self::Choice(values) => values.first().cloned(),
            Self::Int([low, _]) => Some((*low).into()),
            Self::Uniform([low, _]) | Self::LogUniform([low, _]) => Some((*low).into()),
        }
    }

    /// Another value of it: the last, or the highest.
    pub fn last(&self) -> Option<Value> {
        match self {
            Self::Choice(values) => values.last().cloned(),
            Self::Int([_, high]) => Some((*high).into()),
            Self::Uniform([_, high]) | Self::LogUniform([_, high]) => Some((*high).into()),
        }
    }

    /// The space that a value is, if it is one.
    pub fn of(value: &Value) -> Option<Self> {
        let map = value.as_object()?;
        let (word, _) = map.iter().next().filter(|_| map.len() == 1)?;
        if !Self::WORDS.contains(&word.as_str()) {
            return None;
        }
        serde_json::from_value(value.clone()).ok()
    }
}

impl Candidate {
    /// The family's word.
    pub fn family(&self) -> &str {
        self.0.keys().next().map_or("", String::as_str)
    }

    /// The hyperparameters that are searched, in their order.
    pub fn spaces(&self) -> Vec<(String, Space)> {
        let Some(parameters) = self.0.values().next().and_then(Value::as_object) else {
            return Vec::new();
        };
        parameters.iter().filter_map(|(name, value)| Some((name.clone(), Space::of(value)?))).collect()
    }

    /// The estimator with `values` in place of the spaces. Fails where a value does not fit the family.
    pub fn with_values(&self, values: &Map<String, Value>) -> Result<Estimator, serde_json::Error> {
        let mut filled = self.0.clone();
        if let Some(parameters) = filled.values_mut().next().and_then(Value::as_object_mut) {
            for (name, value) in values {
                parameters.insert(name.clone(), value.clone());
            }
        }
        serde_json::from_value(Value::Object(filled))
    }
}

impl JsonSchema for Candidate {
    fn schema_name() -> Cow<'static, str> {
        "Candidate".into()
    }

    /// The schema of [`Estimator`] in which every hyperparameter may be a space as well.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let families = Estimator::json_schema(generator);
        let spaces = Space::json_schema(generator);
        let names = references(families.as_value());
        for name in names {
            let Some(family) = generator.definitions_mut().get(&name).cloned() else {
                continue;
            };
            let with_spaces = allow_spaces(family, spaces.as_value(), generator.definitions());
            generator.definitions_mut().insert(name, with_spaces);
        }
        families
    }
}

/// The definitions that the variants of an enum refer to.
fn references(schema: &Value) -> Vec<String> {
    let variants = schema["oneOf"].as_array().into_iter().flatten();
    let contents = variants.filter_map(|variant| variant["properties"].as_object()?.values().next()?["$ref"].as_str());
    contents.filter_map(|reference| reference.rsplit('/').next()).map(str::to_owned).collect()
}

fn allow_spaces(mut family: Value, spaces: &Value, definitions: &Map<String, Value>) -> Value {
    let Some(parameters) = family.get_mut("properties").and_then(Value::as_object_mut) else {
        return family;
    };
    for parameter in parameters.values_mut() {
        let mut concrete = parameter.take();
        let mut outer = Map::new();
        for key in ["description", "default"] {
            if let Some(value) = concrete.as_object_mut().and_then(|concrete| concrete.remove(key)) {
                outer.insert(key.to_owned(), value);
            }
        }
        let space = space_of(&concrete, spaces, definitions);
        outer.insert("anyOf".to_owned(), Value::Array(vec![concrete, space]));
        *parameter = outer.into();
    }
    family
}

/// The spaces that a hyperparameter can be drawn from: their bounds and choices keep its own range. Of one that is a number or a word, the number can be drawn.
fn space_of(concrete: &Value, spaces: &Value, definitions: &Map<String, Value>) -> Value {
    let forms = forms(concrete, definitions);
    let number = forms.iter().find(|form| matches!(form["type"].as_str(), Some("integer" | "number")));
    let words: &[&str] = match number.and_then(|form| form["type"].as_str()) {
        Some("integer") => &["choice", "int"],
        Some(_) => &["choice", "uniform", "log_uniform", "int"],
        None => &["choice"],
    };
    let variants = spaces["oneOf"].as_array().into_iter().flatten();
    let allowed = variants.filter_map(|variant| {
        let word = variant["properties"].as_object()?.keys().next()?.clone();
        words.contains(&word.as_str()).then_some(())?;
        let mut variant = variant.clone();
        if word == "choice" {
            variant["properties"][&word] = serde_json::json!({ "type": "array", "items": concrete, "minItems": 1 });
            return Some(variant);
        }
        let mut item = number?.clone();
        if word == "log_uniform" && item["exclusiveMinimum"].is_null() {
            let item = item.as_object_mut()?;
            item.remove("minimum");
            item.insert("exclusiveMinimum".to_owned(), 0.0.into());
        }
        if word == "int" {
            item["type"] = "integer".into();
        }
        variant["properties"][&word] =
            serde_json::json!({ "type": "array", "items": item, "minItems": 2, "maxItems": 2 });
        Some(variant)
    });
    serde_json::json!({ "oneOf": allowed.collect::<Vec<_>>() })
}

/// What a value may be, with references and alternatives followed.
fn forms(schema: &Value, definitions: &Map<String, Value>) -> Vec<Value> {
    let target = schema.pointer("/allOf/0/$ref").or(schema.get("$ref")).and_then(Value::as_str);
    let resolved = target.and_then(|target| definitions.get(target.rsplit('/').next()?)).unwrap_or(schema);
    match resolved["anyOf"].as_array() {
        Some(alternatives) => alternatives.iter().flat_map(|form| forms(form, definitions)).collect(),
        None => vec![resolved.clone()],
    }
}
