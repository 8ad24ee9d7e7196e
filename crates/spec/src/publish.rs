//! The JSON Schema for editors.

use serde_json::{Map, Value, json};

use crate::validate::language;

/// The JSON Schema (draft 7) of a pipeline file, for completion and checks in editors. Wherever a value is expected it allows `${{ ... }}` too.
pub fn json_schema() -> Value {
    let mut schema = language().clone();
    schema["title"] = "retune pipeline".into();
    let Some(definitions) = schema["definitions"].as_object().cloned() else {
        return schema;
    };
    relax(&mut schema, &definitions);
    schema["definitions"]["Expression"] = json!({
        "description": "A parameter or a value of the matrix: `${{ params.NAME }}`, `${{ matrix.NAME }}`.",
        "type": "string",
        "pattern": "\\$\\{\\{.*\\}\\}",
    });
    schema
}

/// Lets expressions stand for values, and nothing stand for a block whose keys all have defaults.
fn relax(schema: &mut Value, definitions: &Map<String, Value>) {
    match schema {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                match key.as_str() {
                    "properties" => {
                        for (name, property) in inner.as_object_mut().into_iter().flatten() {
                            relax(property, definitions);
                            // The words that choose a variant, and what is needed before parameters are known.
                            if !matches!(name.as_str(), "uses" | "version" | "stages") {
                                allow_expression(property, definitions);
                            }
                        }
                    }
                    "items" | "additionalProperties" => {
                        relax(inner, definitions);
                        allow_expression(inner, definitions);
                    }
                    "default" | "const" | "required" => {}
                    "oneOf" => {
                        relax(inner, definitions);
                        allow_null_for_its_word(inner);
                    }
                    _ => relax(inner, definitions),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| relax(item, definitions)),
        _ => {}
    }
}

/// Where `null` is one of the words, as in `action: null`, it needs no quotes.
fn allow_null_for_its_word(words: &mut Value) {
    let Some(words) = words.as_array_mut() else { return };
    if let Some(word) = words.iter().find(|word| word["const"] == "null") {
        let unquoted = json!({ "type": "null", "description": word["description"].clone() });
        words.push(unquoted);
    }
}

fn allow_expression(schema: &mut Value, definitions: &Map<String, Value>) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    let mut alternatives = vec![];
    let empty_block = is_empty_block(map, definitions);
    if !empty_block && takes_any_text(&Value::Object(map.clone()), definitions) {
        return;
    }
    let outer: Map<String, Value> =
        ["description", "default"].into_iter().filter_map(|key| Some((key.to_owned(), map.remove(key)?))).collect();
    match map.remove("anyOf") {
        Some(Value::Array(forms)) => alternatives.extend(forms),
        _ => alternatives.push(Value::Object(std::mem::take(map))),
    }
    alternatives.push(if empty_block {
        json!({ "type": "null" })
    } else {
        json!({ "$ref": "#/definitions/Expression" })
    });
    *map = outer;
    map.insert("anyOf".to_owned(), alternatives.into());
}

fn resolve<'a>(schema: &'a Map<String, Value>, definitions: &'a Map<String, Value>) -> &'a Map<String, Value> {
    let reference = schema.get("$ref").or_else(|| schema.get("allOf")?.get(0)?.get("$ref")).and_then(Value::as_str);
    let target = reference.and_then(|reference| definitions.get(reference.rsplit('/').next()?)?.as_object());
    target.map_or(schema, |target| resolve(target, definitions))
}

fn is_empty_block(schema: &Map<String, Value>, definitions: &Map<String, Value>) -> bool {
    let schema = resolve(schema, definitions);
    let has_keys = schema.contains_key("properties") || schema.get("additionalProperties") == Some(&false.into());
    schema.get("type").is_some_and(|kind| kind == "object") && has_keys && !schema.contains_key("required")
}

/// Whether any text at all is allowed already, or no text is sensible: lists and mappings of whole blocks. Where words may stand in place of a block, an
/// expression may.
fn takes_any_text(schema: &Value, definitions: &Map<String, Value>) -> bool {
    let forms = forms_of(schema, definitions);
    let is_block = |form: &&Map<String, Value>| types_of(form).contains(&"object");
    forms.iter().any(|form| is_free_text(form)) || forms.iter().all(is_block)
}

fn is_free_text(form: &Map<String, Value>) -> bool {
    let kinds = types_of(form);
    let is_bound = ["pattern", "const", "maxLength"].iter().any(|key| form.contains_key(*key));
    kinds.contains(&"string") && !is_bound || kinds.is_empty() && !form.contains_key("oneOf")
}

/// What a value may be, references followed and unions flattened; nothing at all is no form.
fn forms_of<'a>(schema: &'a Value, definitions: &'a Map<String, Value>) -> Vec<&'a Map<String, Value>> {
    let Some(map) = schema.as_object() else { return Vec::new() };
    let map = resolve(map, definitions);
    match map.get("anyOf").and_then(Value::as_array) {
        Some(forms) => forms.iter().flat_map(|form| forms_of(form, definitions)).collect(),
        None if types_of(map) == ["null"] => Vec::new(),
        None => vec![map],
    }
}

fn types_of(schema: &Map<String, Value>) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_definition_is_used() {
        let schema = json_schema();
        let mut references = Vec::new();
        collect(&schema, &mut references);
        let definitions = schema["definitions"].as_object().unwrap();
        for reference in &references {
            let name = reference.strip_prefix("#/definitions/").unwrap();
            assert!(definitions.contains_key(name), "{reference} leads nowhere");
        }
        for name in definitions.keys() {
            assert!(references.iter().any(|reference| reference.ends_with(&format!("/{name}"))), "{name} is unused");
        }
    }

    fn collect(schema: &Value, references: &mut Vec<String>) {
        match schema {
            Value::Object(map) => {
                references.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|inner| collect(inner, references));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
            _ => {}
        }
    }

    /// An index into a JSON value that is not there leaves null behind, which no schema may hold but as a default.
    #[test]
    fn no_schema_is_null() {
        fn nulls(schema: &Value) -> bool {
            match schema {
                Value::Null => true,
                Value::Object(map) => map.values().any(nulls),
                Value::Array(items) => items.iter().any(nulls),
                _ => false,
            }
        }
        assert!(!nulls(&json_schema()));
    }

    #[test]
    fn numbers_words_and_spaces_may_be_expressions() {
        let schema = json_schema();
        let definitions = &schema["definitions"];
        let expression = json!({ "$ref": "#/definitions/Expression" });
        for pointer in [
            "/Search/properties/trials",
            "/Search/properties/sampler",
            "/Ridge/properties/l2",
            "/StandardScale/properties/center",
            "/Mlp/properties/hidden",
            "/Split/properties/seed",
            "/Impute/properties/strategy",
            "/NetworkTuning/properties/strategy",
            "/ModelSelection/properties/folds",
        ] {
            let forms = definitions.pointer(pointer).unwrap()["anyOf"].as_array().unwrap();
            assert!(forms.contains(&expression), "{pointer}: {forms:?}");
        }
        assert_eq!(definitions["Data"]["properties"]["target"]["type"], "string");
        let bounds = definitions.pointer("/GradientBoosting/properties/learning_rate/anyOf/1/oneOf").unwrap();
        assert_eq!(bounds.as_array().unwrap().len(), 4, "{bounds}");
    }
}
