//! Holds a tree against the JSON Schema made from the types: every mistake at once, each at its place.

use std::ops::Range;
use std::sync::OnceLock;

use regex_lite::Regex;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::diagnostic::{Diagnostic, did_you_mean, one_of};
use crate::pipeline::Pipeline;
use crate::yaml::{Entry, Node, Yaml, shorten};

/// The schema of the language, as the types have it.
pub(crate) fn language() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| SchemaSettings::draft07().into_generator().into_root_schema_for::<Pipeline>().to_value())
}

/// Holds a whole pipeline against the language. Blocks that were left empty become empty mappings where that is allowed.
pub(crate) fn validate(root: &mut Node) -> Vec<Diagnostic> {
    validate_as(root, language(), "the pipeline")
}

/// Holds a part of a pipeline against its definition.
pub(crate) fn validate_definition(node: &mut Node, definition: &str) -> Vec<Diagnostic> {
    validate_as(node, &language()["definitions"][definition], "this file")
}

fn validate_as(node: &mut Node, schema: &Value, what: &str) -> Vec<Diagnostic> {
    let mut walker = Walker { definitions: &language()["definitions"], diagnostics: Vec::new() };
    let place = display_span(node, &node.span);
    walker.check(node, schema, &Place { what: what.to_owned(), key: place });
    walker.diagnostics
}

/// What is underlined for a node: itself where it stands on one line, else the key (or the item's first key) that leads to it.
pub(crate) fn display_span(node: &Node, key: &Range<usize>) -> Range<usize> {
    match &node.value {
        Yaml::Map(entries) => entries.first().map_or(node.span.clone(), |entry| entry.key_span.clone()),
        Yaml::Seq(_) | Yaml::Null => key.clone(),
        _ => node.span.clone(),
    }
}

/// How a node is spoken of, and the key that leads to it.
struct Place {
    what: String,
    key: Range<usize>,
}

/// One of the forms that a value may take, with the name of its definition.
#[derive(Clone, Copy)]
struct Form<'s> {
    schema: &'s Value,
    name: &'s str,
}

struct Walker<'s> {
    definitions: &'s Value,
    diagnostics: Vec<Diagnostic>,
}

impl<'s> Walker<'s> {
    fn check(&mut self, node: &mut Node, schema: &'s Value, place: &Place) {
        if matches!(node.value, Yaml::Invalid) || node.as_str().is_some_and(|text| text.contains("${{")) {
            return;
        }
        let forms = self.forms(schema);
        // Where `null` is one of the words, as in `action: null`, it needs no quotes.
        if matches!(node.value, Yaml::Null) && forms.iter().any(|form| form.words().contains(&"null")) {
            node.value = Yaml::String("null".to_owned());
        }
        if forms.iter().any(|form| form.accepts(node)) && matches!(node.value, Yaml::Null) {
            return;
        }
        if matches!(node.value, Yaml::Null) && forms.iter().any(Form::may_be_empty) {
            node.value = Yaml::Map(Vec::new());
        }
        let fitting: Vec<Form> = forms.iter().filter(|form| form.accepts(node)).copied().collect();
        match fitting.as_slice() {
            [form] => self.check_form(node, *form, place),
            [] => self.wrong_kind(node, &forms, place),
            _ => match fitting.iter().find(|form| form.shares_key(node)) {
                Some(form) => self.check_form(node, *form, place),
                None => self.no_known_key(node, &fitting, place),
            },
        }
    }

    /// The forms that a schema allows, references followed and unions flattened.
    fn forms(&self, schema: &'s Value) -> Vec<Form<'s>> {
        let mut forms = Vec::new();
        self.collect_forms(Form { schema, name: "" }, &mut forms);
        forms
    }

    fn collect_forms(&self, form: Form<'s>, forms: &mut Vec<Form<'s>>) {
        let schema = form.schema;
        if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
            self.collect_forms(Form { schema: &self.definitions[name], name }, forms);
        } else if let Some(parts) = schema["allOf"].as_array().or(schema["anyOf"].as_array()) {
            for part in parts {
                self.collect_forms(Form { schema: part, ..form }, forms);
            }
        } else {
            forms.push(form);
        }
    }

    fn check_form(&mut self, node: &mut Node, form: Form<'s>, place: &Place) {
        match &node.value {
            Yaml::Map(_) if form.discriminated() => self.check_discriminated(node, form, place),
            Yaml::Map(_) | Yaml::String(_) if form.tagged() => self.check_tagged(node, form, place),
            Yaml::Map(_) => self.check_object(node, form.schema, place, &[]),
            Yaml::Seq(_) => self.check_list(node, form.schema, place),
            Yaml::Int(_) | Yaml::Float(_) => self.check_number(node, form.schema, place),
            Yaml::String(_) => self.check_text(node, form, place),
            Yaml::Null | Yaml::Bool(_) | Yaml::Invalid => {}
        }
    }

    fn check_object(&mut self, node: &mut Node, schema: &'s Value, place: &Place, elsewhere: &[(&str, &str)]) {
        let properties = schema["properties"].as_object();
        let known: Vec<&str> = properties.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let mut meant = Vec::new();
        let mut present = Vec::new();
        let key = place_of_map(node, place);
        let Yaml::Map(entries) = &mut node.value else {
            return;
        };
        for entry in entries.iter_mut() {
            present.push(entry.key.clone());
            let child = Place { what: format!("`{}`", entry.key), key: entry.key_span.clone() };
            if let Some(property) = properties.and_then(|properties| properties.get(&entry.key)) {
                self.check(&mut entry.node, property, &child);
            } else if schema["additionalProperties"].is_object() {
                self.check(&mut entry.node, &schema["additionalProperties"], &child);
            } else if schema["additionalProperties"] != Value::Bool(true) {
                meant.extend(self.unknown_key(entry, &known, elsewhere));
            }
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !present.iter().any(|key| key == required) && !meant.contains(&required) {
                let help = properties.and_then(|properties| self.summary(required, &properties[required]));
                self.diagnostics.push(
                    Diagnostic::error(format!("the key `{required}` is missing in {}", place.what))
                        .at(key.clone())
                        .with_help_if(help),
                );
            }
        }
    }

    /// Reports a key that is not known and returns the one that was probably meant.
    fn unknown_key<'k>(&mut self, entry: &Entry, known: &[&'k str], elsewhere: &[(&str, &str)]) -> Option<&'k str> {
        let meant = did_you_mean(&entry.key, known.iter().copied());
        let message = format!("unknown key `{}`", shorten(&entry.key));
        let all = || known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let help = match (meant, elsewhere.iter().find(|(key, _)| *key == entry.key)) {
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, Some((key, home))) => format!("`{key}` belongs {home}"),
            (None, None) if known.is_empty() => "no key is known here".to_owned(),
            (None, None) => format!("the keys here are {}", all()),
        };
        self.diagnostics.push(Diagnostic::error(message).at(entry.key_span.clone()).with_help(help));
        meant
    }

    /// A mapping of which one key says what the others are: `uses`.
    fn check_discriminated(&mut self, node: &mut Node, form: Form<'s>, place: &Place) {
        let variants = form.variants();
        let word = |variant: &'s Value| variant["properties"]["uses"]["const"].as_str();
        let words: Vec<&str> = variants.iter().filter_map(&word).collect();
        let key = place_of_map(node, place);
        let Some(uses) = node.get("uses") else {
            let help = format!("say what the stage does: {}", one_of(words.iter().copied()));
            self.diagnostics.push(
                Diagnostic::error(format!("the key `uses` is missing in {}", place.what)).at(key).with_help(help),
            );
            return;
        };
        let chosen = variants.iter().find(|variant| uses.as_str().is_some() && word(variant) == uses.as_str());
        let Some(variant) = chosen else {
            if !matches!(uses.value, Yaml::Invalid) {
                let found = if uses.as_str().is_some() {
                    "unknown kind of stage"
                } else {
                    "`uses` must be a kind of stage, found"
                };
                let shown = uses.as_str().map_or_else(|| uses.describe(), |text| format!("`{}`", shorten(text)));
                let span = node.entry("uses").map(|entry| display_span(&entry.node, &entry.key_span));
                let diagnostic = Diagnostic::error(format!("{found} {shown}")).at(span);
                let meant = uses.as_str().and_then(|text| did_you_mean(text, words.iter().copied()));
                self.diagnostics.push(diagnostic.with_help(choice_help(meant, &words)));
            }
            return;
        };
        let inner = self.forms(&variant["properties"]["with"]);
        let inner_keys = inner.iter().filter_map(|form| form.schema["properties"].as_object()).flatten();
        let elsewhere: Vec<(&str, &str)> = inner_keys.map(|(key, _)| (key.as_str(), "under `with:`")).collect();
        self.check_object(node, variant, place, &elsewhere);
    }

    /// A mapping of one key, whose word says what its value is: `- impute: { ... }`.
    fn check_tagged(&mut self, node: &mut Node, form: Form<'s>, place: &Place) {
        let variants: Vec<(&str, &'s Value)> = form
            .variants()
            .iter()
            .filter_map(|variant| variant["properties"].as_object()?.iter().next())
            .map(|(word, schema)| (word.as_str(), schema))
            .collect();
        let plain = form.words();
        let words: Vec<&str> = variants.iter().map(|(word, _)| *word).chain(plain.iter().copied()).collect();
        let noun = form.noun();
        let key = place_of_map(node, place);
        let entries = match &mut node.value {
            Yaml::Map(entries) => entries,
            Yaml::String(text) if plain.contains(&text.as_str()) => return,
            Yaml::String(text) => {
                let diagnostic = match variants.iter().find(|(word, _)| *word == text) {
                    Some((_, settings)) => {
                        let required: Vec<String> =
                            self.required(settings).iter().map(|key| format!("{key}: ...")).collect();
                        let settings = if required.is_empty() {
                            "{}".to_owned()
                        } else {
                            format!("{{ {} }}", required.join(", "))
                        };
                        Diagnostic::error(format!("`{text}` must be followed by a colon and its settings"))
                            .with_help(format!("write `{text}: {settings}`"))
                    }
                    None => self.unknown_word(text, &words, noun),
                }
                .at(node.span.clone());
                self.diagnostics.push(with_origin(diagnostic, node));
                return;
            }
            _ => return,
        };
        match entries.as_mut_slice() {
            [] => {
                let message = format!("{} is empty; it must name a {noun}", place.what);
                self.diagnostics.push(Diagnostic::error(message).at(key).with_help(choice_help(None, &words)));
            }
            [entry] => match variants.iter().find(|(word, _)| *word == entry.key) {
                Some((word, schema)) => {
                    let inner = Place { what: format!("`{word}`"), key: entry.key_span.clone() };
                    self.check(&mut entry.node, schema, &inner);
                }
                None => {
                    let diagnostic = self.unknown_word(&entry.key, &words, noun).at(entry.key_span.clone());
                    self.diagnostics.push(diagnostic);
                }
            },
            [first, second, ..] => {
                let message = format!(
                    "{} must name one {noun}, but has the keys `{}` and `{}`",
                    place.what,
                    shorten(&first.key),
                    shorten(&second.key)
                );
                let help = match words.contains(&second.key.as_str()) {
                    true if form.name.is_empty() => "keep one of them".to_owned(),
                    true => format!("start each {noun} with its own `- `"),
                    false => {
                        format!("if `{}` belongs to `{}`, indent it further", shorten(&second.key), shorten(&first.key))
                    }
                };
                self.diagnostics.push(Diagnostic::error(message).at(second.key_span.clone()).with_help(help));
            }
        }
    }

    fn unknown_word(&self, word: &str, words: &[&str], noun: &str) -> Diagnostic {
        let diagnostic = Diagnostic::error(format!("unknown {noun} `{}`", shorten(word)));
        let home = ["Step", "Method", "Candidate"].into_iter().find_map(|definition| {
            let form = Form { schema: &self.definitions[definition], name: definition };
            form.tag_words().contains(&word).then(|| form.noun())
        });
        match home {
            Some(home) => diagnostic.with_help(format!("`{word}` is a {home}, not a {noun}")),
            None => diagnostic.with_help(choice_help(did_you_mean(word, words.iter().copied()), words)),
        }
    }

    fn check_list(&mut self, node: &mut Node, schema: &'s Value, place: &Place) {
        let key = place.key.clone();
        let Yaml::Seq(items) = &mut node.value else {
            return;
        };
        let bound = |name: &str| schema[name].as_u64().and_then(|bound| usize::try_from(bound).ok());
        let wrong = match (bound("minItems"), bound("maxItems")) {
            (Some(least), Some(most)) if least == most && items.len() != least => {
                Some(format!("must have {least} items"))
            }
            (Some(least), _) if items.len() < least => {
                Some(format!("must have at least {least} item{}", if least == 1 { "" } else { "s" }))
            }
            (_, Some(most)) if items.len() > most => Some(format!("must have at most {most} items")),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let diagnostic =
                Diagnostic::error(format!("{} {wrong}, found {}", place.what, items.len())).at(key.clone());
            self.diagnostics.push(diagnostic);
        }
        if schema["items"].is_object() {
            for (index, item) in items.iter_mut().enumerate() {
                let key = if item.span.is_empty() { key.clone() } else { display_span(item, &item.span) };
                let place = Place { what: format!("item {} of {}", index + 1, place.what), key };
                self.check(item, &schema["items"], &place);
            }
        }
    }

    fn check_number(&mut self, node: &Node, schema: &Value, place: &Place) {
        if schema_types(schema).contains(&"integer")
            && let Yaml::Float(value) = node.value
        {
            let help = (value.fract() == 0.0 && value.abs() < 1e15).then(|| format!("write {value:.0}"));
            let message = format!("{} must be a whole number, found {value:?}", place.what);
            self.report(node, place, Diagnostic::error(message).with_help_if(help));
            return;
        }
        let value = match node.value {
            Yaml::Int(value) => value as f64,
            Yaml::Float(value) => value,
            _ => return,
        };
        let least = schema["minimum"].as_f64();
        let above = schema["exclusiveMinimum"].as_f64();
        let most = schema["maximum"].as_f64();
        let too_wide =
            schema["format"] == "int64" && matches!(node.value, Yaml::Int(value) if i64::try_from(value).is_err());
        let outside = least.is_some_and(|least| value < least)
            || above.is_some_and(|above| value <= above)
            || most.is_some_and(|most| value > most)
            || too_wide;
        if !outside {
            return;
        }
        let range = match (least, above, most) {
            _ if too_wide => "less than 2^63".to_owned(),
            (Some(least), None, Some(most)) if least == most => format!("{least}"),
            (Some(least), None, Some(most)) => format!("from {least} to {most}"),
            (_, Some(above), Some(most)) => format!("greater than {above} and at most {most}"),
            (_, Some(above), None) => format!("greater than {above}"),
            (Some(least), None, None) => format!("at least {least}"),
            (None, None, Some(most)) => format!("at most {most}"),
            (None, None, None) => return,
        };
        let found = node.describe().replace("the number ", "");
        self.report(node, place, Diagnostic::error(format!("{} must be {range}, found {found}", place.what)));
    }

    fn check_text(&mut self, node: &Node, form: Form<'s>, place: &Place) {
        let Some(text) = node.as_str() else { return };
        let words = form.words();
        if !words.is_empty() {
            if !words.contains(&text) {
                let message = format!("{} cannot be `{}`", place.what, shorten(text));
                let help = choice_help(did_you_mean(text, words.iter().copied()), &words);
                self.report(node, place, Diagnostic::error(message).with_help(help));
            }
            return;
        }
        let schema = form.schema;
        let length = text.chars().count() as u64;
        if schema["minLength"].as_u64().is_some_and(|least| length < least)
            || schema["maxLength"].as_u64().is_some_and(|most| length > most)
        {
            let wanted = match (schema["minLength"].as_u64(), schema["maxLength"].as_u64()) {
                (Some(1), Some(1)) => "one character".to_owned(),
                (least, Some(most)) => format!("{} to {most} characters", least.unwrap_or(0)),
                (least, None) => format!("at least {} characters", least.unwrap_or(0)),
            };
            self.report(
                node,
                place,
                Diagnostic::error(format!("{} must be {wanted}, found `{}`", place.what, shorten(text))),
            );
        } else if let Some(pattern) = schema["pattern"].as_str()
            && !Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
        {
            let rule =
                schema["patternErrorMessage"].as_str().map_or_else(|| format!("must match `{pattern}`"), str::to_owned);
            self.report(node, place, Diagnostic::error(format!("{} {rule}, found `{}`", place.what, shorten(text))));
        }
    }

    fn wrong_kind(&mut self, node: &Node, forms: &[Form], place: &Place) {
        let mut expected: Vec<String> = Vec::new();
        for name in forms.iter().filter_map(Form::expectation) {
            if !expected.contains(&name) {
                expected.push(name);
            }
        }
        let expected = match expected.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => "something else".to_owned(),
        };
        let message = format!("{}: expected {expected}, found {}", place.what, node.describe());
        let help = kind_help(node, forms);
        self.report(node, place, Diagnostic::error(message).with_help_if(help));
    }

    /// A mapping that none of several forms of mappings fits.
    fn no_known_key(&mut self, node: &Node, forms: &[Form], place: &Place) {
        let known: Vec<&str> = forms
            .iter()
            .filter_map(|form| form.schema["properties"].as_object())
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect();
        match node.entries().first() {
            Some(entry) => {
                self.unknown_key(entry, &known, &[]);
            }
            None => {
                let message = format!("{} is empty; expected the key {}", place.what, one_of(known));
                self.report(node, place, Diagnostic::error(message));
            }
        }
    }

    fn report(&mut self, node: &Node, place: &Place, diagnostic: Diagnostic) {
        let on_one_line = !matches!(node.value, Yaml::Map(_) | Yaml::Seq(_) | Yaml::Null) && !node.span.is_empty();
        let span = if on_one_line { node.span.clone() } else { place.key.clone() };
        self.diagnostics.push(with_origin(diagnostic.at(span), node));
    }

    /// What a missing key is for: the keys that it needs itself, or its description.
    fn summary(&self, key: &str, schema: &'s Value) -> Option<String> {
        let needed = self.required(schema);
        if !needed.is_empty() {
            let needed: Vec<String> = needed.iter().map(|key| format!("`{key}`")).collect();
            return Some(format!("`{key}` is a mapping with at least {}", needed.join(", ")));
        }
        let text = schema["description"].as_str()?;
        Some(format!("`{key}`: {}", text.split("\n\n").next().unwrap_or(text).replace('\n', " ")))
    }

    /// The keys that a mapping must have.
    fn required(&self, schema: &'s Value) -> Vec<&'s str> {
        let forms = self.forms(schema);
        let lists = forms.iter().filter_map(|form| form.schema["required"].as_array());
        lists.flatten().filter_map(Value::as_str).collect()
    }
}

/// The first key of a block, else the key that leads to the mapping.
fn place_of_map(node: &Node, place: &Place) -> Range<usize> {
    node.entries().first().map_or(place.key.clone(), |entry| entry.key_span.clone())
}

/// Says where a substituted value comes from.
pub(crate) fn with_origin(diagnostic: Diagnostic, node: &Node) -> Diagnostic {
    match node.origin.as_deref() {
        Some(origin) => match &origin.span {
            Some(span) => diagnostic.with_related(span.clone(), origin.note.clone()),
            None => diagnostic.with_label(origin.note.clone()),
        },
        None => diagnostic,
    }
}

fn choice_help(meant: Option<&str>, words: &[&str]) -> String {
    match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("use {}", one_of(words.iter().copied())),
    }
}

fn kind_help(node: &Node, forms: &[Form]) -> Option<String> {
    let takes = |kind: &str| forms.iter().any(|form| schema_types(form.schema).contains(&kind));
    let Some(text) = node.as_str() else {
        let scalar = matches!(node.value, Yaml::Int(_) | Yaml::Float(_) | Yaml::Bool(_));
        return (scalar && forms.iter().any(Form::is_text)).then(|| {
            let shown = node.describe();
            format!("quote it if text is meant: \"{}\"", shown.trim_start_matches("the number ").trim_matches('`'))
        });
    };
    match text.to_lowercase().as_str() {
        "yes" | "on" | "y" if takes("boolean") => {
            return Some("write `true`; YAML 1.2 knows no other word for it".to_owned());
        }
        "no" | "off" | "n" if takes("boolean") => {
            return Some("write `false`; YAML 1.2 knows no other word for it".to_owned());
        }
        "true" | "false" if takes("boolean") => return Some("remove the quotes".to_owned()),
        _ => {}
    }
    if takes("integer") || takes("number") {
        let plain = text.replace(['_', ' '], "");
        if text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Some("remove the quotes".to_owned());
        }
        if plain.parse::<f64>().is_ok_and(f64::is_finite) {
            return Some(format!("write {plain}"));
        }
    }
    if forms.iter().any(|form| schema_types(form.schema).contains(&"array")) {
        return Some(format!("write a list: [{}]", shorten(text)));
    }
    None
}

fn schema_types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

impl<'s> Form<'s> {
    fn variants(&self) -> &'s [Value] {
        self.schema["oneOf"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The words of an enum of plain words.
    fn words(&self) -> Vec<&'s str> {
        self.variants().iter().filter_map(|variant| variant["const"].as_str()).collect()
    }

    fn discriminated(&self) -> bool {
        self.variants().iter().any(|variant| variant["properties"]["uses"]["const"].is_string())
    }

    fn tagged(&self) -> bool {
        !self.tag_words().is_empty() && !self.discriminated()
    }

    fn tag_words(&self) -> Vec<&'s str> {
        let properties = self.variants().iter().filter_map(|variant| variant["properties"].as_object());
        properties.filter_map(|properties| properties.keys().next().map(String::as_str)).collect()
    }

    fn noun(&self) -> &'static str {
        match self.name {
            "Step" => "preprocessing step",
            "Augmentation" => "augmentation",
            "Surgery" => "change of layers",
            "Method" => "feature-selection method",
            "Candidate" => "model family",
            "FoldPlan" | "Folds" => "way to divide rows",
            "Pruner" => "pruner",
            "Ensemble" => "ensemble",
            "Metric" => "score",
            _ => "space",
        }
    }

    fn is_text(&self) -> bool {
        schema_types(self.schema).contains(&"string")
    }

    fn accepts(&self, node: &Node) -> bool {
        let types = schema_types(self.schema);
        if types.is_empty() && self.variants().is_empty() {
            return true;
        }
        match &node.value {
            Yaml::Null => types.contains(&"null"),
            Yaml::Bool(_) => types.contains(&"boolean"),
            Yaml::Int(_) | Yaml::Float(_) => types.contains(&"integer") || types.contains(&"number"),
            // A step given as a plain word is told how to be written.
            Yaml::String(_) => {
                types.contains(&"string") || !self.words().is_empty() || (self.tagged() && !self.name.is_empty())
            }
            Yaml::Seq(_) => types.contains(&"array"),
            Yaml::Map(_) => types.contains(&"object") || self.tagged() || self.discriminated(),
            Yaml::Invalid => true,
        }
    }

    /// Whether nothing at all stands for an empty mapping.
    fn may_be_empty(&self) -> bool {
        schema_types(self.schema).contains(&"object") && self.schema["required"].as_array().is_none_or(Vec::is_empty)
    }

    fn shares_key(&self, node: &Node) -> bool {
        let tags = self.tag_words();
        let knows = |key: &str| self.schema["properties"].get(key).is_some() || tags.contains(&key);
        node.entries().iter().any(|entry| knows(&entry.key))
    }

    /// What the form is called in "expected ..."; `None` for null.
    fn expectation(&self) -> Option<String> {
        let words = self.words();
        if !words.is_empty() {
            return Some(if words.len() <= 7 { one_of(words) } else { "a word".to_owned() });
        }
        if self.discriminated() {
            return Some("a mapping with `id`, `uses` and `with`".to_owned());
        }
        if self.tagged() {
            return Some(match self.name {
                "" => {
                    format!("a space such as `{{ {}: [...] }}`", self.tag_words().last().copied().unwrap_or("choice"))
                }
                _ => format!(
                    "a {} such as `{}: {{...}}`",
                    self.noun(),
                    self.tag_words().first().copied().unwrap_or("name")
                ),
            });
        }
        schema_types(self.schema).into_iter().find(|name| *name != "null").map(|name| {
            match name {
                "integer" => "a whole number",
                "number" => "a number",
                "string" => "text",
                "boolean" => "`true` or `false`",
                "array" => "a list",
                _ => "a mapping",
            }
            .to_owned()
        })
    }
}

/// The words of a definition whose values are mappings of one key: the steps, the methods, the families.
pub(crate) fn tag_words(definition: &'static str) -> Vec<&'static str> {
    Form { schema: &language()["definitions"][definition], name: definition }.tag_words()
}
