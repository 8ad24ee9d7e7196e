//! The second pass: the names in a pipeline against the columns of its source.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::checks::part_of;
use crate::columns::Selector;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::document::Document;
use crate::expression::Expression;
use crate::pipeline::{Pipeline, StageKind};
use crate::preprocessing::{Outliers, Step};
use crate::yaml::Node;

/// Everything that names a column which the source does not have and no earlier step can have made. `columns` is the header of the source.
pub fn check_columns(document: &Document, columns: &[String]) -> Vec<Diagnostic> {
    let followed = followed(&document.pipeline);
    let mut check = Check { document, columns, followed, diagnostics: Vec::new() };
    check.data();
    for index in 0..document.pipeline.stages.len() {
        check.stage(index);
    }
    // A stage that a matrix repeats repeats its mistakes.
    let mut seen = HashSet::new();
    check.diagnostics.retain(|diagnostic| seen.insert((diagnostic.span.clone(), diagnostic.message.clone())));
    check.diagnostics
}

struct Check<'a> {
    document: &'a Document,
    columns: &'a [String],
    followed: Vec<Option<usize>>,
    diagnostics: Vec<Diagnostic>,
}

/// What the steps so far may have made.
#[derive(Clone, Default)]
struct Made {
    /// Some step makes columns that are called after a source column.
    derived: bool,
    /// Prefixes of numbered columns.
    prefixes: Vec<String>,
    /// Names that a step gives.
    names: Vec<String>,
}

impl Made {
    fn add(&mut self, step: &Step) {
        match step {
            Step::Impute(impute) => self.derived |= impute.indicator,
            Step::DropDuplicates(_)
            | Step::DropMissing(_)
            | Step::DropConstant(_)
            | Step::DropIdentifiers(_)
            | Step::FilterRows(_)
            | Step::CleanText(_)
            | Step::NullTokens(_)
            | Step::ReplaceValues(_)
            | Step::MergeCategories(_)
            | Step::Cast(_)
            | Step::ParseNumbers(_)
            | Step::ParseDates(_)
            | Step::ClipOutliers(_)
            | Step::Log1p(_)
            | Step::StandardScale(_)
            | Step::MinMaxScale(_)
            | Step::ScalePixels(_)
            | Step::NormalizeChannels(_)
            | Step::ToTensor(_) => {}
            Step::Outliers(_) => {
                self.derived = true;
                self.names.push(Outliers::OUTLIER.to_owned());
            }
            Step::Derive(derive) => self.names.extend(derive.columns.keys().cloned()),
            Step::TruncatedSvd(svd) => self.prefixes.push(svd.prefix.clone()),
            Step::Pca(pca) => self.prefixes.push(pca.prefix.clone()),
            Step::IncrementalPca(pca) => self.prefixes.push(pca.prefix.clone()),
            Step::RandomProjection(projection) => self.prefixes.push(projection.prefix.clone()),
            Step::DiffusionMap(map) => self.prefixes.push(map.prefix.clone()),
            Step::Lda(lda) => self.prefixes.push(lda.prefix.clone()),
            // Most steps that make columns call them after their source.
            _ => self.derived = true,
        }
    }

    fn may_hold(&self, name: &str, columns: &[String]) -> bool {
        let follows = |stem: &str| name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('_'));
        self.names.iter().any(|made| made == name)
            || (self.derived && columns.iter().any(|column| follows(column).is_some()))
            || self.prefixes.iter().any(|prefix| {
                follows(prefix)
                    .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
            })
    }
}

impl Check<'_> {
    fn data(&mut self) {
        let data = self.document.pipeline.data.clone();
        self.known(&data.target, "/data/target");
        for (key, names) in [("id", &data.id), ("ignore", &data.ignore)] {
            for name in names.iter().flat_map(|names| names.as_slice()) {
                self.known(name, &format!("/data/{key}"));
            }
        }
        if let Some(weight) = &data.weight {
            self.known(weight, "/data/weight");
        }
        let split = data.split.unwrap_or_default();
        for (key, name) in [("group", split.group), ("time", split.time), ("column", split.column)] {
            if let Some(name) = name {
                self.known(&name, &format!("/data/split/{key}"));
            }
        }
        let kinds = self.document.node("/data/columns").map(Node::entries).unwrap_or_default();
        for entry in kinds {
            if !self.columns.contains(&entry.key) {
                self.report_unknown(&entry.key, Some(entry.key_span.clone()), None);
            }
        }
    }

    fn known(&mut self, name: &str, pointer: &str) {
        if !self.columns.iter().any(|column| column == name) {
            let span = self.word_span(pointer, name);
            self.report_unknown(name, span, None);
        }
    }

    fn stage(&mut self, index: usize) {
        let document = self.document;
        let mut made = Made::default();
        let before = std::iter::successors(self.followed[index], |stage| self.followed[*stage]);
        for before in before {
            if let StageKind::Preprocessing(preprocessing) = &document.pipeline.stages[before].kind {
                preprocessing.steps.iter().for_each(|step| made.add(step));
            }
        }
        match &document.pipeline.stages[index].kind {
            StageKind::Preprocessing(preprocessing) => {
                for (at, step) in preprocessing.steps.iter().enumerate() {
                    let pointer = format!("/stages/{index}/with/steps/{at}/{}/columns", step.word());
                    if let Some(columns) = step.columns() {
                        self.selector(columns, &pointer, &made, step.word(), !matches!(step, Step::DropDuplicates(_)));
                    }
                    self.expressions(step, &format!("/stages/{index}/with/steps/{at}/{}", step.word()), &made);
                    made.add(step);
                }
            }
            StageKind::FeatureSelection(selection) => {
                for (key, selector) in [("always_keep", &selection.always_keep), ("never_keep", &selection.never_keep)]
                {
                    if let Some(selector) = selector {
                        self.selector(selector, &format!("/stages/{index}/with/{key}"), &made, key, true);
                    }
                }
            }
            StageKind::ModelSelection(_) | StageKind::FineTuning(_) => {}
        }
    }

    /// The columns that the expressions of a step name.
    fn expressions(&mut self, step: &Step, pointer: &str, made: &Made) {
        let document = self.document;
        let mut made = made.clone();
        let entries = match step {
            Step::FilterRows(_) => document.node(pointer).and_then(|node| node.entry("where")).into_iter().collect(),
            Step::Derive(_) => {
                document.node(&format!("{pointer}/columns")).map(Node::entries).unwrap_or_default().iter().collect()
            }
            _ => Vec::new(),
        };
        for entry in entries {
            let Some(text) = entry.node.as_str() else { continue };
            // What is no expression has been reported.
            let Ok(expression) = Expression::parse(text) else { continue };
            for name in expression.columns() {
                let place = text.find(name).and_then(|start| part_of(&entry.node, text, &(start..start + name.len())));
                self.name(name, place.or_else(|| Some(entry.node.span.clone())), &made, step.word(), true);
            }
            made.names.push(entry.key.clone());
        }
    }

    fn selector(&mut self, selector: &Selector, pointer: &str, made: &Made, word: &str, features_only: bool) {
        for name in selector.exact_names() {
            let span = self.word_span(pointer, name);
            self.name(name, span, made, word, features_only && !matches!(selector, Selector::Not { .. }));
        }
    }

    fn name(&mut self, name: &str, span: Option<Range<usize>>, made: &Made, word: &str, features_only: bool) {
        if let Some(role) = self.role(name).filter(|_| features_only) {
            let message = format!("`{word}` works on features, but `{name}` is {role}");
            self.diagnostics.push(Diagnostic::error(message).at(span));
        } else if !self.columns.iter().any(|column| column == name) && !made.may_hold(name, self.columns) {
            self.report_unknown(name, span, Some(made));
        }
    }

    /// What a column is for, if it is no feature.
    fn role(&self, name: &str) -> Option<&'static str> {
        let data = &self.document.pipeline.data;
        let listed = |names: &Option<crate::OneOrMany<String>>| {
            names.as_ref().is_some_and(|names| names.as_slice().iter().any(|other| other == name))
        };
        if data.target == name {
            Some("the target")
        } else if listed(&data.id) {
            Some("an id")
        } else if data.weight.as_deref() == Some(name) {
            Some("the weight")
        } else if listed(&data.ignore) {
            Some("ignored")
        } else {
            None
        }
    }

    fn report_unknown(&mut self, name: &str, span: Option<Range<usize>>, made: Option<&Made>) {
        let data = &self.document.pipeline.data;
        let files = data.path.as_ref().or(data.train.as_ref());
        let file = files.and_then(|files| files.as_slice().first()).map_or("the data", String::as_str);
        let by_step = made.map_or("", |_| ", and no earlier step makes it");
        let diagnostic = Diagnostic::error(format!("no column `{name}` in {file}{by_step}")).at(span);
        let help = match did_you_mean(name, self.columns.iter().map(String::as_str)) {
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None if self.columns.len() <= 30 => {
                let names: Vec<String> = self.columns.iter().map(|column| format!("`{column}`")).collect();
                Some(format!("the columns are {}", names.join(", ")))
            }
            None => None,
        };
        self.diagnostics.push(diagnostic.with_help_if(help));
    }

    /// The place of a word in the value that a pointer leads to.
    fn word_span(&self, pointer: &str, word: &str) -> Option<Range<usize>> {
        fn find<'a>(node: &'a Node, word: &str) -> Option<&'a Node> {
            if node.as_str() == Some(word) {
                return Some(node);
            }
            let inside = node.items().iter().chain(node.entries().iter().map(|entry| &entry.node));
            inside.into_iter().find_map(|inner| find(inner, word))
        }
        let written = self.document.node(pointer).and_then(|node| find(node, word)).map(|node| node.span.clone());
        written.or_else(|| self.document.span_of(pointer)).filter(|span| !span.is_empty())
    }
}

/// The stage that each stage follows.
fn followed(pipeline: &Pipeline) -> Vec<Option<usize>> {
    let ids: HashMap<&str, usize> =
        pipeline.stages.iter().enumerate().map(|(index, stage)| (stage.id.as_str(), index)).collect();
    (0..pipeline.stages.len()).map(|index| ids.get(pipeline.input_of(index)).copied()).collect()
}
