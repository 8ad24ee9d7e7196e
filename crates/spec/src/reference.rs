//! The language reference, made from the schema and so from the doc comments of the types.

use serde_json::Value;

use crate::validate::language;

const INTRO: &str = include_str!("language_intro.md");

const SCORE_SETTINGS: &str = "\nSome scores have settings, written as in `metric: { pinball: { alpha: 0.9 } }`; the word alone takes the defaults.";

/// The pipeline of the introduction.
pub(crate) const EXAMPLE: &str = include_str!("example.yaml");

/// The reference of the language in Markdown: every key with its type, range, default and meaning.
pub fn language_reference() -> String {
    let mut page = Page { definitions: &language()["definitions"], out: INTRO.replace("@EXAMPLE@", EXAMPLE) };
    page.heading(2, "The file");
    page.keys(language());
    page.definition(2, "`tracking`", "Tracking");
    page.definition(2, "`data`", "Data");
    page.definition(3, "`data: split`", "Split");
    page.heading(2, "`stages`");
    page.stage_keys();
    page.definition(2, "`uses: preprocessing`", "Preprocessing");
    page.variants("Step");
    page.definition(2, "`uses: feature-selection`", "FeatureSelection");
    page.variants("Method");
    page.definition(2, "`uses: model-selection`", "ModelSelection");
    page.choices("`folds`", "FoldPlan");
    page.definition(3, "`search`", "Search");
    page.choices("`search: pruner`", "Pruner");
    page.choices("`ensemble`", "Ensemble");
    page.variants("Candidate");
    page.choices("Optimisers", "Optimizer");
    page.choices("Schedules", "LearningRateSchedule");
    page.choices("Networks for images", "Architecture");
    page.definition(3, "How a network sees images", "ImageInput");
    page.heading(3, "Augmentations");
    page.variants("Augmentation");
    page.definition(2, "`uses: fine-tuning`", "FineTuning");
    page.definition(3, "`base`", "BaseNetwork");
    page.definition(3, "`network`", "NetworkTuning");
    page.choices("`network: strategy`", "TuningStrategy");
    page.choices("`network: average`", "Averaging");
    page.definition(4, "`network: rehearsal`", "Rehearsal");
    page.definition(4, "`network: early_stopping`", "EarlyStopping");
    page.heading(3, "`network: surgery`");
    page.variants("Surgery");
    page.choices("Layers", "LayerSpec");
    page.definition(3, "`boosting`", "BoostingTuning");
    page.definition(3, "`linear`", "LinearTuning");
    page.definition(3, "`goal`", "Goal");
    page.definition(3, "`guard`", "Guard");
    page.definition(4, "`guard: also`", "GuardedSet");
    page.definition(2, "`batch`", "BatchStep");
    page.definition(3, "`uses: apply`", "Apply");
    page.heading(2, "Scores");
    page.words_of("MetricWord");
    page.paragraph(SCORE_SETTINGS);
    page.variants("Metric");
    page.out.truncate(page.out.trim_end().len());
    page.out.push('\n');
    page.out
}

struct Page {
    definitions: &'static Value,
    out: String,
}

impl Page {
    fn heading(&mut self, level: usize, text: &str) {
        self.out.push_str(&format!("{} {text}\n\n", "#".repeat(level)));
    }

    fn paragraph(&mut self, text: &str) {
        if !text.is_empty() {
            self.out.push_str(&format!("{text}\n\n"));
        }
    }

    fn definition(&mut self, level: usize, heading: &str, name: &str) {
        self.heading(level, heading);
        let definition = &self.definitions[name];
        self.paragraph(description(definition));
        self.keys(definition);
    }

    /// Every step, method, family, or score with settings.
    fn variants(&mut self, name: &str) {
        let definition = &self.definitions[name];
        let variants = definition["oneOf"].as_array().or(definition["anyOf"].as_array());
        for variant in variants.into_iter().flatten() {
            let Some((word, content)) =
                variant["properties"].as_object().and_then(|properties| properties.iter().next())
            else {
                continue;
            };
            let target = resolve(content, self.definitions);
            self.heading(3, &format!("`{word}`"));
            self.paragraph(description(target));
            self.keys(target);
        }
    }

    /// What may be chosen: words, and words with settings.
    fn choices(&mut self, heading: &str, name: &str) {
        self.definition_only(heading, name);
        let definition = &self.definitions[name];
        let variants =
            |schema: &'static Value| schema["oneOf"].as_array().or(schema["anyOf"].as_array()).into_iter().flatten();
        let mut settings = Vec::new();
        for variant in variants(definition).flat_map(|variant| std::iter::once(variant).chain(variants(variant))) {
            if let Some(word) = variant["const"].as_str() {
                self.out.push_str(&format!("- `{word}`: {}\n", description(variant)));
            }
            let content = variant["properties"].as_object().and_then(|properties| properties.iter().next());
            let Some((word, content)) = content else { continue };
            let target = resolve(content, self.definitions);
            if target["properties"].is_object() {
                settings.push((word, variant, target));
            } else {
                let of = kind(content, self.definitions);
                self.out.push_str(&format!("- `{word}`, {of}: {}\n", description(variant)));
            }
        }
        self.out.push('\n');
        for (word, variant, target) in settings {
            self.heading(4, &format!("`{word}`"));
            let own = description(variant);
            self.paragraph(if own.is_empty() { description(target) } else { own });
            self.keys(target);
        }
    }

    fn definition_only(&mut self, heading: &str, name: &str) {
        self.heading(3, heading);
        self.paragraph(description(&self.definitions[name]));
    }

    /// The keys that every stage has.
    fn stage_keys(&mut self) {
        let mut shared = self.definitions["StageSpec"]["oneOf"][0].clone();
        let kinds = self.definitions["StageSpec"]["oneOf"].as_array().into_iter().flatten();
        let kinds: Vec<String> = kinds
            .map(|kind| {
                let word = kind["properties"]["uses"]["const"].as_str().unwrap_or("");
                format!("- `{word}`: {}\n", description(kind))
            })
            .collect();
        shared["properties"]["uses"] =
            serde_json::json!({ "type": "string", "description": "What the stage does; one of the words below." });
        shared["properties"]["with"] = serde_json::json!({ "type": "object", "description": "The settings of what the stage does; see its chapter." });
        self.keys(&shared);
        self.out.push_str(&kinds.concat());
        self.out.push('\n');
    }

    /// The table of a mapping's keys, and the words that they may take.
    fn keys(&mut self, schema: &Value) {
        let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty()) else {
            self.paragraph("No settings.");
            return;
        };
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.out.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
        for (key, property) in properties {
            let default = match &property["default"] {
                _ if required.contains(&key.as_str()) => "required".to_owned(),
                Value::Null => String::new(),
                Value::Object(_) => "its defaults".to_owned(),
                value => format!("`{}`", flow(value)),
            };
            let meaning = description(property).replace('\n', " ");
            let row = [format!("`{key}`"), kind(property, self.definitions), default, meaning];
            self.out.push_str(&format!("| {} |\n", row.map(|cell| cell.replace('|', "\\|")).join(" | ")));
        }
        self.out.push('\n');
        for (key, property) in properties {
            let target = resolve(concrete(property), self.definitions);
            let words = words(target);
            // The scores have a chapter of their own.
            if words.len() > 1 && words.len() < 10 {
                let listed: Vec<String> = words
                    .iter()
                    .map(|(word, meaning)| format!("`{word}` ({})", meaning.trim_end_matches('.')))
                    .collect();
                self.out.push_str(&format!("- `{key}`: {}.\n", listed.join("; ")));
            }
        }
        self.out.truncate(self.out.trim_end().len());
        self.out.push_str("\n\n");
    }

    fn words_of(&mut self, name: &str) {
        for (word, meaning) in words(&self.definitions[name]) {
            self.out.push_str(&format!("- `{word}`: {meaning}\n"));
        }
    }
}

fn description(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or("")
}

/// A hyperparameter's own schema, beside which a space may stand.
fn concrete(property: &Value) -> &Value {
    property["anyOf"].get(0).filter(|_| property["anyOf"][1]["type"] != "array").unwrap_or(property)
}

fn resolve<'a>(schema: &'a Value, definitions: &'a Value) -> &'a Value {
    let reference = schema["$ref"].as_str().or(schema["allOf"][0]["$ref"].as_str());
    match reference.and_then(|reference| reference.rsplit('/').next()) {
        Some(name) => resolve(&definitions[name], definitions),
        None => schema,
    }
}

fn words(schema: &Value) -> Vec<(&str, &str)> {
    let variants = schema["oneOf"].as_array().into_iter().flatten();
    variants.filter_map(|variant| Some((variant["const"].as_str()?, description(variant)))).collect()
}

/// What a value is, in a few words.
fn kind(schema: &Value, definitions: &Value) -> String {
    let reference = schema["$ref"].as_str().or(schema["allOf"][0]["$ref"].as_str());
    match reference.and_then(|reference| reference.rsplit('/').next()) {
        Some("Selector") => return "selector".to_owned(),
        Some("Metric") => return "a [score](#scores)".to_owned(),
        Some("Step") => return "step".to_owned(),
        Some("Augmentation") => return "augmentation".to_owned(),
        Some("Method") => return "method".to_owned(),
        Some("Candidate") => return "family".to_owned(),
        Some("StageSpec") => return "stage".to_owned(),
        Some("FoldPlan" | "Pruner" | "Ensemble" | "TuningStrategy" | "Averaging") => {
            return "one of those below".to_owned();
        }
        Some("Optimizer") => return "an [optimiser](#optimisers)".to_owned(),
        Some("LearningRateSchedule") => return "a [schedule](#schedules)".to_owned(),
        Some("Architecture") => return "a [network](#networks-for-images)".to_owned(),
        Some("ImageInput") => return "[settings](#how-a-network-sees-images)".to_owned(),
        Some("TableNetwork") => return "`mlp`, `tabular_resnet` or `tab_transformer`".to_owned(),
        Some("Surgery") => return "change of layers".to_owned(),
        Some("LayerSpec") => return "[layer](#layers)".to_owned(),
        Some("Keep") => return "whole number, at least 1, or a share such as `40 %`".to_owned(),
        Some(name) => return kind(&definitions[name], definitions),
        None => {}
    }
    if let Some(forms) = schema["anyOf"].as_array() {
        let is_space = |form: &&Value| form["oneOf"][0]["properties"].is_object() && form["$ref"].is_null();
        let forms = forms.iter().filter(|form| form["type"] != "null" && !is_space(form));
        return forms.map(|form| kind(form, definitions)).collect::<Vec<_>>().join(" or ");
    }
    let words = words(schema);
    if !words.is_empty() {
        return words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or(""),
        kind => kind.as_str().unwrap_or(""),
    };
    match kinds {
        "integer" => format!("whole number{}", range(schema)),
        "number" => format!("number{}", range(schema)),
        "boolean" => "`true` or `false`".to_owned(),
        "string" => "text".to_owned(),
        "array" => {
            let item = kind(&schema["items"], definitions);
            match (schema["minItems"].as_u64(), schema["maxItems"].as_u64()) {
                (Some(2), Some(2)) => format!("two values: {item}"),
                _ if schema["items"].is_object() => format!("list of: {item}"),
                _ => "list".to_owned(),
            }
        }
        "object" => "mapping".to_owned(),
        _ => "anything".to_owned(),
    }
}

fn range(schema: &Value) -> String {
    let bound = |name: &str| schema[name].as_f64();
    match (bound("minimum"), bound("exclusiveMinimum"), bound("maximum")) {
        (Some(least), _, Some(most)) if least == most => format!(", {least}"),
        (Some(least), _, Some(most)) => format!(", {least} to {most}"),
        (_, Some(above), Some(most)) => format!(", above {above}, at most {most}"),
        (Some(least), _, None) => format!(", at least {least}"),
        (_, Some(above), None) => format!(", above {above}"),
        (None, None, Some(most)) => format!(", at most {most}"),
        (None, None, None) => String::new(),
    }
}

/// A value as it is written in a pipeline.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::{Source, load};

    #[test]
    fn the_example_is_a_pipeline() {
        let document = load(&Source::new("example.yaml", EXAMPLE), &[]).unwrap();
        assert_eq!(document.pipeline.stages.len(), 4);
    }

    #[test]
    fn every_word_of_the_language_is_described() {
        let page = language_reference();
        for definition in ["Step", "Method", "Candidate", "Augmentation", "Surgery"] {
            for word in crate::validate::tag_words(definition) {
                assert!(page.contains(&format!("\n### `{word}`\n")), "{word}");
            }
        }
        for (name, definition) in language()["definitions"].as_object().unwrap() {
            for key in definition["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
                // These two are described in the introduction.
                assert!(page.contains(&format!("| `{key}` |")) || name == "Strategy", "{name}: {key}");
            }
        }
        assert!(page.contains("| `folds` | whole number, 2 to 1000 | `5` |"), "{page}");
        assert!(page.contains("| `learning_rate` | number, above 0, at most 1 | `0.1` |"), "{page}");
        assert!(page.contains("| `hidden` | list of: whole number, 1 to 65536 | `[128]` |"), "{page}");
        assert!(!page.contains("anything") || page.matches("anything").count() <= 1, "{page}");
    }
}
