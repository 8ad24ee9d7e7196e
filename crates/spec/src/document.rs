//! A pipeline file, read and checked.

use std::collections::HashSet;
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::checks;
use crate::diagnostic::{Diagnostic, Severity, Source, did_you_mean, one_of};
use crate::emit;
use crate::graph;
use crate::params::{self, Scope, Substitution, refuse_expressions};
use crate::pipeline::{MAX_STAGES, Pipeline};
use crate::validate::{self, display_span, validate_definition};
use crate::yaml::{self, Entry, Node, Yaml};

/// A pipeline without a mistake: parameters in place, matrices expanded, defaults filled in.
#[derive(Clone, Debug)]
pub struct Document {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The same as JSON, every default written out.
    pub resolved: Value,
    tree: Node,
}

impl Document {
    /// The place of a value by its JSON pointer into the resolved pipeline, such as `/stages/1/with/steps/0/impute/columns`. A value that the
    /// file leaves out has the place of the nearest key around it.
    pub fn span_of(&self, pointer: &str) -> Option<Range<usize>> {
        place_of(&self.tree, pointer)
    }

    /// The resolved pipeline as YAML; loading it gives the same pipeline.
    pub fn resolved_yaml(&self) -> String {
        emit::yaml(&self.resolved)
    }

    pub(crate) fn node(&self, pointer: &str) -> Option<&Node> {
        pointer.split('/').skip(1).try_fold(&self.tree, step_into)
    }
}

fn step_into<'a>(node: &'a Node, part: &str) -> Option<&'a Node> {
    match &node.value {
        Yaml::Map(_) => node.get(&part.replace("~1", "/").replace("~0", "~")),
        Yaml::Seq(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    }
}

fn place_of(tree: &Node, pointer: &str) -> Option<Range<usize>> {
    let mut node = tree;
    let mut place = display_span(node, &node.span);
    for part in pointer.split('/').skip(1) {
        let key = node.entry(part).map(|entry| entry.key_span.clone());
        let Some(next) = step_into(node, part) else {
            break;
        };
        // The key of a block names it better than the first key inside.
        place = match (&next.value, key) {
            (Yaml::Map(_), Some(key)) => key,
            (_, key) => display_span(next, &key.unwrap_or(next.span.clone())),
        };
        node = next;
    }
    (!place.is_empty()).then_some(place)
}

/// Reads a pipeline, with `--set` overrides of its parameters, or returns everything that is wrong with it.
pub fn load(source: &Source, overrides: &[(String, String)]) -> Result<Document, Vec<Diagnostic>> {
    let (root, mut diagnostics) = yaml::parse_all(&source.text);
    let Some(mut root) = root else {
        return Err(diagnostics);
    };
    substitute(&mut root, source, overrides, &mut diagnostics);
    // Too many stages are reported by the schema; their graph need not be looked at.
    if root.get("stages").map_or(0, |stages| stages.items().len()) <= MAX_STAGES {
        connect(&mut root, source, &mut diagnostics);
    }
    diagnostics.extend(validate::validate(&mut root));
    diagnostics.extend(checks::check(&root));
    document(root, diagnostics)
}

fn document(tree: Node, diagnostics: Vec<Diagnostic>) -> Result<Document, Vec<Diagnostic>> {
    let pipeline: Pipeline = finish(&tree, diagnostics)?;
    let resolved = serde_json::to_value(&pipeline).unwrap_or_default();
    Ok(Document { pipeline, resolved, tree })
}

/// Checks which stage follows which and, where that is sound, expands matrices.
fn connect(root: &mut Node, source: &Source, diagnostics: &mut Vec<Diagnostic>) {
    let mistakes = graph::check(root);
    if mistakes.is_empty() {
        let before = diagnostics.len();
        diagnostics.extend(graph::expand(root, &source.text));
        if diagnostics.len() == before {
            diagnostics.extend(graph::check_unique_ids(root));
        }
        refuse_leftovers(root, diagnostics);
    }
    diagnostics.extend(mistakes);
}

fn substitute(root: &mut Node, source: &Source, overrides: &[(String, String)], diagnostics: &mut Vec<Diagnostic>) {
    let bindings = params::bind(root, overrides, diagnostics);
    let mut substitution = Substitution::new(&source.text, Scope { params: Some(&bindings), matrix: None });
    if let Yaml::Map(entries) = &mut root.value {
        for Entry { node, .. } in entries.iter_mut().filter(|entry| entry.key != "params") {
            substitution.apply(node);
        }
    }
    diagnostics.append(&mut substitution.diagnostics);
}

/// What is left of expressions after the expansion stands where no matrix reaches.
fn refuse_leftovers(root: &Node, diagnostics: &mut Vec<Diagnostic>) {
    let message = "`matrix` can stand only in `with`, `inputs` and `timeout` of a stage";
    for entry in root.entries().iter().filter(|entry| entry.key != "params" && entry.key != "stages") {
        refuse_expressions(&entry.node, message, diagnostics);
    }
    for stage in root.get("stages").map(Node::items).unwrap_or_default() {
        let reached = ["with", "inputs", "timeout", "strategy"];
        for entry in stage.entries().iter().filter(|entry| !reached.contains(&entry.key.as_str())) {
            refuse_expressions(&entry.node, message, diagnostics);
        }
    }
}

/// The typed value, or every diagnostic once: a stage that a matrix repeats repeats its mistakes.
fn finish<T: DeserializeOwned>(root: &Node, mut diagnostics: Vec<Diagnostic>) -> Result<T, Vec<Diagnostic>> {
    if !diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        match serde_path_to_error::deserialize(root.to_json()) {
            Ok(value) => return Ok(value),
            Err(error) => {
                let pointer: String = error.path().iter().map(|segment| format!("/{segment}")).collect();
                let pointer = pointer.replace(['[', ']'], "");
                diagnostics.push(Diagnostic::error(format!("{}", error.inner())).at(place_of(root, &pointer)));
            }
        }
    }
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.as_ref().map_or(0, |span| span.start));
    // A stage that a matrix repeats repeats its mistakes.
    let mut seen = HashSet::new();
    diagnostics.retain(|diagnostic| seen.insert((diagnostic.span.clone(), diagnostic.message.clone())));
    Err(diagnostics)
}

/// Reads the `with` of one stage from a file of its own, and makes a pipeline of it: `around` holds all but `stages`. `uses` is a kind of stage, or the
/// word of one step or method, whose settings the file then holds. Only what the file says has places.
pub fn load_stage(source: &Source, uses: &str, around: &Value) -> Result<Document, Vec<Diagnostic>> {
    let (kind, definition, wrap) = stage_of(uses)?;
    let (root, mut diagnostics) = yaml::parse_all(&source.text);
    let Some(root) = root else {
        return Err(diagnostics);
    };
    refuse_expressions(&root, "a stage file has no `params`; write the value", &mut diagnostics);
    let mut with = if wrap { wrapped(root, uses) } else { root };
    diagnostics.extend(validate_definition(&mut with, definition));
    checks::check_stage(kind, &with, None, &mut diagnostics);
    let mut tree = without_places(around);
    let text = |text: &str| Node::new(0..0, Yaml::String(text.to_owned()));
    let stage = [("id", text("stage")), ("uses", text(kind)), ("with", with)];
    let entry = |(key, node): (&str, Node)| Entry { key: key.to_owned(), key_span: 0..0, node };
    let stage = Node::new(0..0, Yaml::Map(stage.into_iter().map(entry).collect()));
    if let Yaml::Map(entries) = &mut tree.value {
        entries.push(entry(("stages", Node::new(0..0, Yaml::Seq(vec![stage])))));
    }
    document(tree, diagnostics)
}

fn without_places(value: &Value) -> Node {
    let entry =
        |(key, value): (&String, &Value)| Entry { key: key.clone(), key_span: 0..0, node: without_places(value) };
    let yaml = match value {
        Value::Null => Yaml::Null,
        Value::Bool(value) => Yaml::Bool(*value),
        Value::Number(number) => match number.as_i128() {
            Some(number) => Yaml::Int(number),
            None => Yaml::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Yaml::String(text.clone()),
        Value::Array(items) => Yaml::Seq(items.iter().map(without_places).collect()),
        Value::Object(entries) => Yaml::Map(entries.iter().map(entry).collect()),
    };
    Node::new(0..0, yaml)
}

const KINDS: [(&str, &str); 4] = [
    ("preprocessing", "Preprocessing"),
    ("feature-selection", "FeatureSelection"),
    ("model-selection", "ModelSelection"),
    ("fine-tuning", "FineTuning"),
];

/// The kind of stage that a word stands for, its definition, and whether the word is that of a step.
fn stage_of(uses: &str) -> Result<(&'static str, &'static str, bool), Vec<Diagnostic>> {
    let steps = validate::tag_words("Step");
    let methods = validate::tag_words("Method");
    if let Some((kind, definition)) = KINDS.into_iter().find(|(kind, _)| *kind == uses) {
        return Ok((kind, definition, false));
    }
    for (words, (kind, definition)) in [(&steps, KINDS[0]), (&methods, KINDS[1])] {
        if words.contains(&uses) {
            return Ok((kind, definition, true));
        }
    }
    let kinds = KINDS.into_iter().map(|(kind, _)| kind);
    let help = match did_you_mean(uses, kinds.clone().chain(steps).chain(methods)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("use {}, or the name of a step", one_of(kinds)),
    };
    Err(vec![Diagnostic::error(format!("no stage `{uses}`")).with_help(help)])
}

/// `{ steps: [{ WORD: settings }] }`.
fn wrapped(settings: Node, word: &str) -> Node {
    let span = settings.span.clone();
    let map = |key: &str, node: Node| {
        Node::new(span.clone(), Yaml::Map(vec![Entry { key: key.to_owned(), key_span: span.clone(), node }]))
    };
    map("steps", Node::new(span.clone(), Yaml::Seq(vec![map(word, settings)])))
}
