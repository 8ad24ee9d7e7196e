//! `${{ params.NAME }}`, `${{ matrix.NAME }}` and `--set NAME=VALUE`.

use std::ops::Range;
use std::rc::Rc;

use crate::diagnostic::{Diagnostic, Source, did_you_mean, one_of};
use crate::yaml::{self, MAX_NODES, Node, Origin, Yaml, shorten};

/// A named value that expressions may stand for.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) name: String,
    pub(crate) node: Node,
    pub(crate) origin: Origin,
    /// Whether the value's own places are in the file.
    pub(crate) in_file: bool,
}

/// The names that expressions of one context may use; `None` where the context is left for a later pass.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) params: Option<&'a [Rc<Binding>]>,
    pub(crate) matrix: Option<&'a [Rc<Binding>]>,
}

/// The parameters of a pipeline with the overrides of the command line in place; the tree is changed accordingly.
pub(crate) fn bind(
    root: &mut Node,
    overrides: &[(String, String)],
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Rc<Binding>> {
    let names: Vec<String> =
        root.get("params").map(Node::entries).unwrap_or_default().iter().map(|e| e.key.clone()).collect();
    let mut set: Vec<(&str, Node)> = Vec::new();
    for (name, text) in overrides {
        if !names.contains(name) {
            let help = match did_you_mean(name, names.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if names.is_empty() => "the pipeline has no `params`".to_owned(),
                None => {
                    format!("the parameters are {}", one_of(names.iter().map(String::as_str)).replace(" or ", " and "))
                }
            };
            let message = format!("`--set {name}={}`: no parameter `{name}`", shorten(text));
            diagnostics.push(Diagnostic::error(message).with_help(help));
            continue;
        }
        match override_value(name, text) {
            Ok(node) => {
                set.retain(|(other, _)| other != name);
                set.push((name, node));
            }
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    let Some(Yaml::Map(entries)) = root.get_mut("params").map(|params| &mut params.value) else {
        return Vec::new();
    };
    let mut bindings = Vec::new();
    for entry in entries {
        let mut origin = Origin { note: "the value is given here".to_owned(), span: Some(entry.node.span.clone()) };
        let mut in_file = true;
        if let Some((name, node)) = set.iter().find(|(name, _)| *name == entry.key) {
            let text = overrides.iter().rev().find(|(other, _)| other == name).map_or("", |(_, text)| text);
            origin = Origin { note: format!("the value comes from `--set {name}={}`", shorten(text)), span: None };
            in_file = false;
            entry.node = placed(node, &entry.node.span);
        }
        if !is_name(&entry.key) {
            let help = "a name has ASCII letters, digits, `_` and `-`, a letter or `_` first";
            diagnostics.push(
                Diagnostic::error(format!("`{}` is no name for a parameter", shorten(&entry.key)))
                    .at(entry.key_span.clone())
                    .with_help(help),
            );
        }
        refuse_expressions(&entry.node, "a parameter cannot refer to others", diagnostics);
        bindings.push(Rc::new(Binding { name: entry.key.clone(), node: entry.node.clone(), origin, in_file }));
    }
    bindings
}

#[allow(clippy::result_large_err)] // Called once for each override.
fn override_value(name: &str, text: &str) -> Result<Node, Diagnostic> {
    if text.trim().is_empty() {
        return Ok(Node::new(0..0, Yaml::String(text.to_owned())));
    }
    yaml::parse(&Source::new("--set", text)).map_err(|diagnostics| {
        let wrong = diagnostics.into_iter().next().unwrap_or_else(|| Diagnostic::error("not valid YAML"));
        Diagnostic {
            message: format!("`--set {name}={}`: {}", shorten(text), wrong.message),
            span: None,
            related: Vec::new(),
            ..wrong
        }
    })
}

/// The same value with every part at one place.
fn placed(node: &Node, span: &Range<usize>) -> Node {
    let value = match &node.value {
        Yaml::Seq(items) => Yaml::Seq(items.iter().map(|item| placed(item, span)).collect()),
        Yaml::Map(entries) => Yaml::Map(
            entries
                .iter()
                .map(|entry| yaml::Entry {
                    key: entry.key.clone(),
                    key_span: span.clone(),
                    node: placed(&entry.node, span),
                })
                .collect(),
        ),
        other => other.clone(),
    };
    Node { span: span.clone(), value, origin: node.origin.clone() }
}

/// Whether a word can stand after `params.` or `matrix.`.
pub(crate) fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Reports every expression in a value where none may stand.
pub(crate) fn refuse_expressions(node: &Node, message: &str, diagnostics: &mut Vec<Diagnostic>) {
    match &node.value {
        Yaml::String(text) if text.contains("${{") => {
            diagnostics.push(Diagnostic::error(message).at(node.span.clone()));
        }
        Yaml::Seq(items) => items.iter().for_each(|item| refuse_expressions(item, message, diagnostics)),
        Yaml::Map(entries) => entries.iter().for_each(|entry| refuse_expressions(&entry.node, message, diagnostics)),
        _ => {}
    }
}

/// Puts values in the place of expressions, in the whole of a node.
pub(crate) struct Substitution<'a> {
    pub(crate) text: &'a str,
    pub(crate) scope: Scope<'a>,
    /// What the tree may still grow by.
    pub(crate) budget: usize,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl<'a> Substitution<'a> {
    pub(crate) fn new(text: &'a str, scope: Scope<'a>) -> Self {
        Self { text, scope, budget: MAX_NODES, diagnostics: Vec::new() }
    }

    pub(crate) fn apply(&mut self, node: &mut Node) {
        match &mut node.value {
            Yaml::Seq(items) => items.iter_mut().for_each(|item| self.apply(item)),
            Yaml::Map(entries) => {
                for entry in entries {
                    if entry.key.contains("${{") {
                        self.diagnostics.push(
                            Diagnostic::error("`${{ ... }}` stands for values, not for keys")
                                .at(entry.key_span.clone()),
                        );
                    }
                    self.apply(&mut entry.node);
                }
            }
            Yaml::String(text) if text.contains("${{") => {
                let text = std::mem::take(text);
                match self.filled(&text, &node.span) {
                    Ok((value, origin)) => {
                        node.value = value;
                        node.origin = origin.map(Box::new).or(node.origin.take());
                    }
                    Err(diagnostic) => {
                        self.diagnostics.push(*diagnostic);
                        node.value = Yaml::Invalid;
                    }
                }
            }
            _ => {}
        }
    }

    fn filled(&mut self, text: &str, span: &Range<usize>) -> Result<(Yaml, Option<Origin>), Box<Diagnostic>> {
        let mut out = String::new();
        let mut origin = None;
        let mut rest = text;
        while let Some(start) = rest.find("${{") {
            let Some(length) = rest[start..].find("}}") else {
                let message = format!("`{}` has no `}}}}`", shorten(&rest[start..]));
                return Err(Box::new(
                    Diagnostic::error(message)
                        .at(self.place(&rest[start..], span))
                        .with_help("write ${{ params.NAME }}"),
                ));
            };
            let whole = &rest[start..start + length + 2];
            out.push_str(&rest[..start]);
            let Some(binding) = self.lookup(whole, span)? else {
                out.push_str(whole);
                rest = &rest[start + whole.len()..];
                continue;
            };
            let weight = binding.node.weight();
            self.budget = self.budget.checked_sub(weight).ok_or_else(|| {
                Box::new(
                    Diagnostic::error("the parameters of this file expand to more than 100,000 values")
                        .at(span.clone()),
                )
            })?;
            if whole.len() == text.len() {
                let node = if binding.in_file { binding.node.clone() } else { placed(&binding.node, span) };
                return Ok((node.value, Some(binding.origin.clone())));
            }
            match scalar_text(&binding.node) {
                Some(part) => out.push_str(&part),
                None => {
                    let message =
                        format!("`{whole}` is {}, which cannot stand inside a longer text", binding.node.describe());
                    return Err(Box::new(Diagnostic::error(message).at(self.place(whole, span))));
                }
            }
            origin = Some(binding.origin.clone());
            rest = &rest[start + whole.len()..];
        }
        out.push_str(rest);
        Ok((Yaml::String(out), origin))
    }

    /// What an expression stands for; `None` if a later pass will know.
    fn lookup(&self, whole: &str, span: &Range<usize>) -> Result<Option<&'a Binding>, Box<Diagnostic>> {
        let wrong = |message: String, help: String| {
            Err(Box::new(Diagnostic::error(message).at(self.place(whole, span)).with_help(help)))
        };
        let inner = whole.trim_start_matches("${{").trim_end_matches("}}").trim();
        let Some((context, name)) = inner.split_once('.').filter(|(_, name)| is_name(name)) else {
            return wrong(format!("`{}` is no expression", shorten(whole)), "write ${{ params.NAME }}".to_owned());
        };
        let bindings = match context {
            "params" => self.scope.params,
            "matrix" => self.scope.matrix,
            _ => {
                let help = "there are `params` and, where a stage has `strategy.matrix`, `matrix`";
                return wrong(format!("`{context}` is not known in `{}`", shorten(whole)), help.to_owned());
            }
        };
        let Some(bindings) = bindings else {
            return Ok(None);
        };
        if let Some(binding) = bindings.iter().find(|binding| binding.name == name) {
            return Ok(Some(binding));
        }
        let names = || bindings.iter().map(|binding| binding.name.as_str());
        let help = match (did_you_mean(name, names()), context) {
            (Some(meant), _) => format!("did you mean `{context}.{meant}`?"),
            (None, "params") if bindings.is_empty() => {
                format!("declare it: params: {{ {name}: ... }}")
            }
            (None, "params") => format!("the parameters are {}", one_of(names()).replace(" or ", " and ")),
            (None, _) if bindings.is_empty() => {
                "this stage has no `strategy.matrix`, nor has one that it follows".to_owned()
            }
            (None, _) => format!("the matrix has {}", one_of(names()).replace(" or ", " and ")),
        };
        wrong(format!("no `{context}.{name}`"), help)
    }

    /// Where a part of a text is, if it is written in the file as it is.
    fn place(&self, part: &str, span: &Range<usize>) -> Range<usize> {
        let written = self.text.get(span.clone()).unwrap_or_default();
        written.find(part).map_or(span.clone(), |at| span.start + at..span.start + at + part.len())
    }
}

fn scalar_text(node: &Node) -> Option<String> {
    match &node.value {
        Yaml::Bool(value) => Some(value.to_string()),
        Yaml::Int(value) => Some(value.to_string()),
        Yaml::Float(value) => Some(value.to_string()),
        Yaml::String(text) => Some(text.clone()),
        Yaml::Null | Yaml::Seq(_) | Yaml::Map(_) | Yaml::Invalid => None,
    }
}
