//! Search over candidates.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::estimators::Estimator;
use crate::metric::Metric;

/// `uses: model-selection`: the best of the candidates by cross-validation, in which every stage before this one is fitted anew on each fold's training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSelection {
    /// The score that decides; by default `f1_macro` for labels and `rmse` for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// Folds of the cross-validation; stratified for labels.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 1000))]
    pub folds: usize,
    /// How trials are chosen.
    #[serde(default)]
    pub search: Search,
    /// The families and their spaces.
    #[schemars(length(min = 1))]
    pub candidates: Vec<Candidate>,
}

fn five() -> usize {
    5
}

/// How trials are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// What proposes the values of a trial.
    #[serde(default)]
    pub sampler: Sampler,
    /// How many trials; `grid` stops earlier when every combination was tried. Every candidate gets its first trial before any gets a second one.
    #[serde(default = "trials")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub trials: usize,
    /// When a trial is given up early.
    #[serde(default)]
    pub pruner: Pruner,
}

impl Default for Search {
    fn default() -> Self {
        Self { sampler: Sampler::default(), trials: trials(), pruner: Pruner::default() }
    }
}

fn trials() -> usize {
    20
}

/// What proposes the values of a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Tree-structured Parzen estimator (Bergstra et al. 2011).
    #[default]
    Tpe,
    /// Independent draws.
    Random,
    /// Every combination; ranges are cut into 5 values.
    Grid,
}

/// When a trial is given up before its last fold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pruner {
    /// Never.
    #[default]
    None,
    /// After every second fold, once three trials are finished: when the mean of its folds is worse than the median of theirs after as many folds.
    Median,
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

/// The spaces that a hyperparameter can be drawn from: their bounds and choices keep its own range.
fn space_of(concrete: &Value, spaces: &Value, definitions: &Map<String, Value>) -> Value {
    let target = concrete.pointer("/allOf/0/$ref").or(concrete.get("$ref")).and_then(Value::as_str);
    let resolved = target.and_then(|target| definitions.get(target.rsplit('/').next()?)).unwrap_or(concrete);
    let words: &[&str] = match resolved["type"].as_str() {
        Some("integer") => &["choice", "int"],
        Some("number") => &["choice", "uniform", "log_uniform", "int"],
        _ => &["choice"],
    };
    let variants = spaces["oneOf"].as_array().into_iter().flatten();
    let allowed = variants.filter_map(|variant| {
        let word = variant["properties"].as_object()?.keys().next()?.clone();
        words.contains(&word.as_str()).then_some(())?;
        let mut variant = variant.clone();
        let mut item = concrete.clone();
        if word == "log_uniform" && item["exclusiveMinimum"].is_null() {
            let item = item.as_object_mut()?;
            item.remove("minimum");
            item.insert("exclusiveMinimum".to_owned(), 0.0.into());
        }
        if word == "int" {
            item["type"] = "integer".into();
        }
        variant["properties"][&word] = if word == "choice" {
            serde_json::json!({ "type": "array", "items": item, "minItems": 1 })
        } else {
            serde_json::json!({ "type": "array", "items": item, "minItems": 2, "maxItems": 2 })
        };
        Some(variant)
    });
    serde_json::json!({ "oneOf": allowed.collect::<Vec<_>>() })
}
