//! Which stage follows which: the checks of `id`, `inputs` and `base`, and the expansion of `strategy.matrix`.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use crate::diagnostic::{Diagnostic, did_you_mean, one_of};
use crate::params::{Binding, Scope, Substitution, is_name, refuse_expressions};
use crate::pipeline::{DATA, MAX_STAGES};
use crate::yaml::{MAX_NODES, Node, Origin, Yaml};

/// The most combinations of a matrix.
pub const MAX_COMBINATIONS: usize = 256;

/// Where a stage takes its rows from.
#[derive(Clone, Debug, PartialEq)]
struct Input {
    id: String,
    span: Range<usize>,
    explicit: bool,
}

/// A stage as far as the graph is concerned.
struct Vertex<'a> {
    node: &'a Node,
    id: Option<&'a str>,
    uses: &'a str,
    input: Option<Input>,
}

impl Vertex<'_> {
    fn id_span(&self) -> Range<usize> {
        self.node.get("id").map_or(self.node.span.clone(), |id| id.span.clone())
    }

    fn is_model(&self) -> bool {
        is_model(self.uses)
    }

    /// What the stage is called in a sentence.
    fn name(&self) -> String {
        self.id.map_or_else(|| "this stage".to_owned(), |id| format!("`{id}`"))
    }
}

fn is_model(uses: &str) -> bool {
    matches!(uses, "model-selection" | "fine-tuning")
}

/// The stages and where each id is; of stages with the same id the first.
struct Graph<'a> {
    stages: Vec<Vertex<'a>>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Graph<'a> {
    fn of(nodes: &'a [Node]) -> Self {
        let stages = vertices(nodes);
        let mut places = HashMap::new();
        for (index, stage) in stages.iter().enumerate() {
            if let Some(id) = stage.id.filter(|id| *id != DATA) {
                places.entry(id).or_insert(index);
            }
        }
        Self { stages, places }
    }

    fn find(&self, id: &str) -> Option<(usize, &Vertex<'a>)> {
        let index = *self.places.get(id)?;
        Some((index, &self.stages[index]))
    }

    /// The stage that a stage follows.
    fn before(&self, index: usize) -> Option<usize> {
        let input = self.stages[index].input.as_ref()?;
        self.places.get(input.id.as_str()).copied()
    }
}

fn vertices(stages: &[Node]) -> Vec<Vertex<'_>> {
    let id_of = |stage: &'_ Node| stage.get("id").and_then(Node::as_str).map(str::to_owned);
    stages
        .iter()
        .enumerate()
        .map(|(index, node)| {
            let uses = node.get("uses").and_then(Node::as_str).unwrap_or("");
            let named = |input: &Node, explicit| {
                input.as_str().map(|id| Input { id: id.to_owned(), span: input.span.clone(), explicit })
            };
            let before = || {
                let id = match index.checked_sub(1) {
                    Some(before) => id_of(&stages[before])?,
                    None => DATA.to_owned(),
                };
                Some(Input {
                    id,
                    span: node.entry("uses").map_or(node.span.clone(), |uses| uses.node.span.clone()),
                    explicit: false,
                })
            };
            // A base that is no name is a network of its own.
            let base = || {
                let base = node.get("with").and_then(|with| with.get("base")).filter(|_| uses == "fine-tuning");
                base.filter(|base| !matches!(base.value, Yaml::Map(_)))
            };
            let input = match node.get("inputs").filter(|inputs| inputs.value != Yaml::Null) {
                Some(inputs) => named(inputs.items().first().unwrap_or(inputs), true),
                None => match base() {
                    Some(base) => named(base, true),
                    None => before(),
                },
            };
            Vertex { node, id: node.get("id").and_then(Node::as_str), uses, input }
        })
        .collect()
}

/// Everything that is wrong with how the stages follow each other.
pub(crate) fn check(root: &Node) -> Vec<Diagnostic> {
    let graph = Graph::of(root.get("stages").map(Node::items).unwrap_or_default());
    let mut diagnostics = Vec::new();
    check_ids(&graph, &mut diagnostics);
    check_inputs(&graph, &mut diagnostics);
    check_cycles(&graph, &mut diagnostics);
    check_order(&graph, &mut diagnostics);
    check_bases(&graph, &mut diagnostics);
    diagnostics
}

fn check_ids(graph: &Graph, diagnostics: &mut Vec<Diagnostic>) {
    for (index, stage) in graph.stages.iter().enumerate() {
        let Some(id) = stage.id else { continue };
        if id == DATA {
            let diagnostic = Diagnostic::error("a stage cannot be called `data`").at(stage.id_span());
            diagnostics.push(diagnostic.with_help("`data` stands for the data themselves in `inputs`"));
        }
        if let Some((_, first)) = graph.find(id).filter(|(first, _)| *first != index) {
            let diagnostic = Diagnostic::error(format!("two stages are called `{id}`")).at(stage.id_span());
            diagnostics.push(diagnostic.with_related(first.id_span(), "first given here"));
        }
    }
}

fn unknown_stage(id: &str, graph: &Graph, with_data: bool) -> Diagnostic {
    let ids = graph.stages.iter().filter_map(|stage| stage.id);
    let names: Vec<&str> = ids.chain(with_data.then_some(DATA)).collect();
    let help = match did_you_mean(id, names.iter().copied()) {
        Some(meant) => Some(format!("did you mean `{meant}`?")),
        None => (names.len() <= 20).then(|| format!("use {}", one_of(names))),
    };
    Diagnostic::error(format!("no stage `{id}`")).with_help_if(help)
}

fn check_inputs(graph: &Graph, diagnostics: &mut Vec<Diagnostic>) {
    for vertex in &graph.stages {
        if let Some(inputs) = vertex.node.get("inputs")
            && matches!(inputs.value, Yaml::Seq(_))
            && inputs.items().len() != 1
        {
            let message =
                format!("{} must take its rows from one stage, found {}", vertex.name(), inputs.items().len());
            diagnostics.push(
                Diagnostic::error(message)
                    .at(inputs.span.clone())
                    .with_help("leave `inputs` out to follow the stage before"),
            );
        }
        let Some(inputs) = vertex.node.get("inputs") else {
            continue;
        };
        let named: Vec<&Node> = if inputs.items().is_empty() { vec![inputs] } else { inputs.items().iter().collect() };
        for input in named {
            if let Some(id) = input.as_str().filter(|id| *id != DATA && !id.contains("${{") && graph.find(id).is_none())
            {
                diagnostics.push(unknown_stage(id, graph, true).at(input.span.clone()));
            }
        }
    }
}

fn check_cycles(graph: &Graph, diagnostics: &mut Vec<Diagnostic>) {
    // The walk in which each stage was seen first.
    let mut seen: Vec<Option<usize>> = vec![None; graph.stages.len()];
    for start in 0..graph.stages.len() {
        let mut at = Some(start);
        while let Some(stage) = at.filter(|stage| seen[*stage].is_none()) {
            seen[stage] = Some(start);
            at = graph.before(stage);
        }
        let Some(first) = at.filter(|stage| seen[*stage] == Some(start)) else {
            continue;
        };
        let circle: Vec<usize> =
            std::iter::successors(Some(first), |stage| graph.before(*stage).filter(|next| *next != first)).collect();
        let names = circle.iter().chain(&circle[..1]).filter_map(|stage| graph.stages[*stage].id);
        let message = format!("the stages take their rows from each other: {}", names.collect::<Vec<_>>().join(" -> "));
        let span = graph.stages[first].input.as_ref().map(|input| input.span.clone());
        diagnostics
            .push(Diagnostic::error(message).at(span).with_help("one of them must follow another stage, or `data`"));
    }
}

fn check_order(graph: &Graph, diagnostics: &mut Vec<Diagnostic>) {
    for vertex in &graph.stages {
        let Some(input) = &vertex.input else { continue };
        let Some((_, before)) = graph.find(&input.id) else {
            continue;
        };
        if vertex.uses.is_empty() || vertex.uses == "fine-tuning" {
            continue;
        }
        let way_out = if input.explicit { "name an earlier stage" } else { "name an earlier stage in `inputs:`" };
        if before.is_model() {
            let message = format!(
                "{} cannot follow {}: a {} stage ends in a model, and only fine-tuning goes on from there",
                vertex.name(),
                before.name(),
                before.uses
            );
            diagnostics
                .push(Diagnostic::error(message).at(input.span.clone()).with_help(format!("{way_out}, or `data`")));
        } else if !vertex.is_model()
            && let Some(to_tensor) = to_tensor(before.node)
        {
            let message = format!(
                "{} cannot follow {}: it works on tables, and `to_tensor` hands tensors on",
                vertex.name(),
                before.name()
            );
            let diagnostic = Diagnostic::error(message)
                .at(input.span.clone())
                .with_help("move `to_tensor` to the last stage before the model");
            diagnostics.push(diagnostic.with_related(to_tensor, "handed on as tensors here"));
        }
    }
}

/// The place of a stage's `to_tensor` step.
fn to_tensor(stage: &Node) -> Option<Range<usize>> {
    let steps = stage.get("with")?.get("steps")?;
    steps.items().iter().find_map(|step| step.entry("to_tensor").map(|entry| entry.key_span.clone()))
}

fn check_bases(graph: &Graph, diagnostics: &mut Vec<Diagnostic>) {
    for (index, vertex) in graph.stages.iter().enumerate().filter(|(_, vertex)| vertex.uses == "fine-tuning") {
        let Some(base) = vertex.node.get("with").and_then(|with| with.get("base")) else {
            continue;
        };
        let Some(id) = base.as_str().filter(|id| !id.contains("${{")) else {
            continue;
        };
        let Some((place, stage)) = graph.find(id) else {
            diagnostics.push(unknown_stage(id, graph, false).at(base.span.clone()));
            continue;
        };
        if !stage.is_model() && !stage.uses.is_empty() {
            let message =
                format!("the base of {} must be a model, but `{id}` is a {} stage", vertex.name(), stage.uses);
            diagnostics.push(
                Diagnostic::error(message)
                    .at(base.span.clone())
                    .with_help("name a model-selection or fine-tuning stage"),
            );
        } else if place != index && vertex.node.get("inputs").is_some() && !follows(graph, index, place) {
            let message = format!("{} does not follow its base `{id}`", vertex.name());
            diagnostics.push(
                Diagnostic::error(message)
                    .at(base.span.clone())
                    .with_help("leave `inputs` out, so that it follows its base"),
            );
        }
    }
}

/// What is wrong with the jobs that follow a run: each applies the bundle of a stage that nothing follows.
pub(crate) fn check_batch(root: &Node) -> Vec<Diagnostic> {
    let graph = Graph::of(root.get("stages").map(Node::items).unwrap_or_default());
    let befores: Vec<usize> = (0..graph.stages.len()).filter_map(|index| graph.before(index)).collect();
    let is_leaf = |index: usize| !befores.contains(&index);
    let leaves = graph.stages.iter().enumerate().filter(|(index, _)| is_leaf(*index));
    let leaves: Vec<&str> = leaves.filter_map(|(_, stage)| stage.id).collect();
    let mut diagnostics = Vec::new();
    let jobs = root.get("batch").map(Node::items).unwrap_or_default();
    for (number, job) in jobs.iter().enumerate() {
        let id = job.get("id").filter(|id| id.as_str().is_some());
        let is_same = |other: &&Node| other.get("id").and_then(Node::as_str) == id.and_then(Node::as_str);
        if let (Some(id), Some(first)) = (id, jobs[..number].iter().find(is_same).and_then(|other| other.get("id"))) {
            let message = format!("two jobs are called `{}`", id.as_str().unwrap_or_default());
            let diagnostic = Diagnostic::error(message).at(id.span.clone());
            diagnostics.push(diagnostic.with_related(first.span.clone(), "first given here"));
        }
        let Some(with) = job.get("with") else { continue };
        match with.get("model").and_then(|model| Some((model, model.as_str()?))) {
            Some((model, id)) => match graph.find(id) {
                None => diagnostics.push(unknown_stage(id, &graph, false).at(model.span.clone())),
                Some((index, _)) if !is_leaf(index) => diagnostics.push(
                    Diagnostic::error(format!("other stages follow `{id}`: it has no bundle of its own"))
                        .at(model.span.clone())
                        .with_help(format!("name one that nothing follows: {}", one_of(leaves.iter().copied()))),
                ),
                Some(_) => {}
            },
            None if leaves.len() > 1 => {
                let place = job.entry("with").map_or(job.span.clone(), |with| with.key_span.clone());
                diagnostics.push(
                    Diagnostic::error(format!("the run leaves {} bundles, and this job names none", leaves.len()))
                        .at(place)
                        .with_help(format!("add `model:` with one of {}", one_of(leaves.iter().copied()))),
                );
            }
            None => {}
        }
    }
    diagnostics
}

fn follows(graph: &Graph, index: usize, wanted: usize) -> bool {
    // No path without a cycle is longer than there are stages.
    let path = std::iter::successors(graph.before(index), |stage| graph.before(*stage));
    path.take(graph.stages.len()).any(|stage| stage == wanted)
}

/// Stages that are called the same; to be asked again after the expansion, whose ids are made up.
pub(crate) fn check_unique_ids(root: &Node) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let stages = root.get("stages").map(Node::items).unwrap_or_default();
    check_ids(&Graph::of(stages), &mut diagnostics);
    diagnostics
}

/// One combination of a matrix: a value for each name.
type Combination = Vec<Rc<Binding>>;

/// Repeats every stage that has a matrix, and every stage that follows one, once for each combination. The graph must be sound.
pub(crate) fn expand(root: &mut Node, text: &str) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let stages = root.get("stages").map(Node::items).unwrap_or_default().to_vec();
    let graph = Graph::of(&stages);
    let own: Vec<Vec<Combination>> = stages.iter().map(|stage| own_combinations(stage, &mut diagnostics)).collect();
    let all = combinations(&graph, &own, &mut diagnostics);
    if !diagnostics.is_empty() {
        return diagnostics;
    }
    let count: usize = all.iter().map(Vec::len).sum();
    if count > MAX_STAGES {
        let message = format!("the matrices of this file make {count} stages; at most {MAX_STAGES} can run");
        let place = root.entry("stages").map(|entry| entry.key_span.clone());
        return vec![Diagnostic::error(message).at(place)];
    }
    let ids: Vec<Vec<String>> =
        graph.stages.iter().zip(&all).map(|(vertex, all)| expanded_ids(vertex.id.unwrap_or(""), all)).collect();
    let any = all.iter().any(|combinations| combinations.iter().any(|combination| !combination.is_empty()));
    let mut budget = MAX_NODES;
    let mut expanded = Vec::new();
    for (index, vertex) in graph.stages.iter().enumerate() {
        for (combination, id) in all[index].iter().zip(&ids[index]) {
            let mut stage = vertex.node.clone();
            if any {
                follow_combination(&mut stage, &graph, index, combination, &all, &ids);
            }
            let Some(left) = budget.checked_sub(stage.weight()) else {
                let place = vertex.id_span();
                return vec![
                    Diagnostic::error("the matrices of this file expand to more than 100,000 values").at(place),
                ];
            };
            budget = left;
            let scope = Scope { params: None, matrix: Some(combination) };
            let mut substitution = Substitution { text, scope, budget, diagnostics: Vec::new() };
            for key in ["with", "timeout", "inputs"] {
                if let Some(part) = stage.get_mut(key) {
                    substitution.apply(part);
                }
            }
            budget = substitution.budget;
            diagnostics.append(&mut substitution.diagnostics);
            if !combination.is_empty()
                && let Some(node) = stage.get_mut("id")
            {
                node.value = Yaml::String(id.clone());
            }
            expanded.push(stage);
        }
    }
    if let Some(Yaml::Seq(items)) = root.get_mut("stages").map(|stages| &mut stages.value) {
        *items = expanded;
    }
    diagnostics
}

/// The combinations of a stage's own matrix: a single empty one where it has none.
fn own_combinations(stage: &Node, diagnostics: &mut Vec<Diagnostic>) -> Vec<Combination> {
    let Some(matrix) = stage.get("strategy").and_then(|strategy| strategy.get("matrix")) else {
        return vec![Vec::new()];
    };
    let key = stage.entry("strategy").and_then(|entry| entry.node.entry("matrix")).map(|entry| entry.key_span.clone());
    if matches!(matrix.value, Yaml::Map(_) | Yaml::Null) && matrix.entries().is_empty() {
        diagnostics.push(
            Diagnostic::error("the matrix is empty").at(key).with_help("give it lists of values: { NAME: [1, 2] }"),
        );
        return vec![Vec::new()];
    }
    let mut combinations = vec![Vec::new()];
    for entry in matrix.entries() {
        if !is_name(&entry.key) {
            let help = "a name has ASCII letters, digits, `_` and `-`, a letter or `_` first";
            diagnostics.push(
                Diagnostic::error(format!("`{}` is no name in a matrix", entry.key))
                    .at(entry.key_span.clone())
                    .with_help(help),
            );
        }
        refuse_expressions(&entry.node, "a matrix cannot refer to itself", diagnostics);
        let values = entry.node.items();
        if values.is_empty() && matches!(entry.node.value, Yaml::Seq(_)) {
            diagnostics.push(Diagnostic::error(format!("`{}` has no values", entry.key)).at(entry.key_span.clone()));
        }
        if combinations.len().saturating_mul(values.len()) > MAX_COMBINATIONS {
            let message = format!("the matrix has more than {MAX_COMBINATIONS} combinations");
            diagnostics.push(Diagnostic::error(message).at(key));
            return vec![Vec::new()];
        }
        combinations =
            product(&combinations, &values.iter().map(|value| vec![bound(&entry.key, value)]).collect::<Vec<_>>());
    }
    if combinations.is_empty() { vec![Vec::new()] } else { combinations }
}

fn bound(name: &str, value: &Node) -> Rc<Binding> {
    let origin = Origin { note: "the value is given here".to_owned(), span: Some(value.span.clone()) };
    Rc::new(Binding { name: name.to_owned(), node: value.clone(), origin, in_file: true })
}

fn product(first: &[Combination], second: &[Combination]) -> Vec<Combination> {
    first.iter().flat_map(|a| second.iter().map(move |b| a.iter().chain(b).cloned().collect())).collect()
}

/// The combinations of each stage: those of the stage that it follows, times its own.
fn combinations(graph: &Graph, own: &[Vec<Combination>], diagnostics: &mut Vec<Diagnostic>) -> Vec<Vec<Combination>> {
    let mut all: Vec<Option<Vec<Combination>>> = vec![None; own.len()];
    for start in 0..own.len() {
        let unknown = std::iter::successors(Some(start), |stage| graph.before(*stage))
            .take_while(|stage| all[*stage].is_none())
            .collect::<Vec<_>>();
        for stage in unknown.into_iter().rev() {
            let inherited = match graph.before(stage).and_then(|before| all[before].as_ref()) {
                Some(inherited) => inherited.as_slice(),
                None => &[Vec::new()],
            };
            let combined = times(inherited, &own[stage], &graph.stages[stage], diagnostics);
            all[stage] = Some(combined);
        }
    }
    all.into_iter().map(Option::unwrap_or_default).collect()
}

fn times(
    inherited: &[Combination],
    own: &[Combination],
    stage: &Vertex,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Combination> {
    if inherited.len().saturating_mul(own.len()) > MAX_COMBINATIONS {
        let message = format!("{} would run in more than {MAX_COMBINATIONS} combinations", stage.name());
        diagnostics.push(Diagnostic::error(message).at(stage.id_span()));
        return vec![Vec::new()];
    }
    let names = inherited.first().into_iter().flatten().map(|binding| &binding.name);
    let mut own_names = own.first().into_iter().flatten();
    let names: Vec<&String> = names.collect();
    if let Some(twice) = own_names.find(|binding| names.contains(&&binding.name)) {
        let message = format!("`{}` is in the matrix of a stage before {} already", twice.name, stage.name());
        diagnostics.push(Diagnostic::error(message).at(twice.origin.span.clone()).with_help("use another name"));
    }
    product(inherited, own)
}

/// Points `inputs` and `base` to the stages of the same combination, and removes the matrix.
fn follow_combination(
    stage: &mut Node,
    graph: &Graph,
    index: usize,
    combination: &Combination,
    all: &[Vec<Combination>],
    ids: &[Vec<String>],
) {
    let same = |id: &str| -> Option<String> {
        let (before, _) = graph.find(id)?;
        // What a stage inherits comes first in its combinations, in the same order.
        let place = all[before].iter().position(|other| {
            other.len() <= combination.len()
                && other.iter().zip(combination).all(|(a, b)| a.name == b.name && a.node == b.node)
        })?;
        Some(ids[before][place].clone())
    };
    if let Some(input) = &graph.stages[index].input {
        let id = same(&input.id).unwrap_or_else(|| input.id.clone());
        stage.set("inputs", Node::new(input.span.clone(), Yaml::String(id)));
    }
    if let Some(base) = stage.get_mut("with").and_then(|with| with.get_mut("base"))
        && let Some(id) = base.as_str().and_then(same)
    {
        base.value = Yaml::String(id);
    }
    // An unknown key in `strategy` is still to be reported.
    let only_matrix = stage.get("strategy").is_some_and(|strategy| strategy.entries().len() == 1);
    if let Yaml::Map(entries) = &mut stage.value {
        entries.retain(|entry| entry.key != "strategy" || !only_matrix);
    }
}

/// `ID.k-v.k2-v2` for each combination, in the alphabet of ids and unique.
fn expanded_ids(id: &str, combinations: &[Combination]) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for combination in combinations {
        let suffix: String =
            combination.iter().map(|binding| format!(".{}-{}", binding.name, value_word(&binding.node))).collect();
        let mut unique: String = format!("{id}{suffix}").chars().take(96).collect();
        let stem = unique.clone();
        let mut count = 2;
        while ids.contains(&unique) {
            unique = format!("{stem}-{count}");
            count += 1;
        }
        ids.push(if combination.is_empty() { id.to_owned() } else { unique });
    }
    ids
}

fn value_word(node: &Node) -> String {
    let json = node.to_json();
    let text = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    let word: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' }).collect();
    word.trim_matches('_').to_owned()
}
