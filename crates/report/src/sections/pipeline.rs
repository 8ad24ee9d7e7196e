//! What was asked: the graph with times and cache hits, and the pipeline with every default.

use maud::{Markup, html};
use serde_json::Value;

use crate::graph::{Node, draw};
use crate::numbers::seconds;
use crate::page::{Section, Table, badge, text};
use crate::run::{Look, Run};

pub fn section(run: &Run) -> Option<Section> {
    let nodes = nodes(run);
    let mut table = Table::new("Stages", ["stage", "uses", "result", "took", "from the store"], 3);
    for stage in run.summary.items("stages") {
        let cached = is_cached(stage);
        table.cells(vec![
            html! { (stage.text("name")) },
            html! { (stage.text("kind")) },
            text(stage.pointer("/outcome/result/summary").and_then(Value::as_str).unwrap_or_default()),
            html! { (seconds(took(stage))) },
            html! { (if cached { "yes" } else { "no" }) },
        ]);
    }
    let title = format!("Graph of {}", run.summary.text("pipeline"));
    let body = html! {
        div.grid {
            @if !nodes.is_empty() {
                figure.card {
                    figcaption {
                        h3 { "Graph" }
                        p.note { "Times are those of the computation, whenever that was. " (badge("good", "computed")) " " (badge("", "from the store")) " " (badge("bad", "failed")) }
                    }
                    div.scroll role="region" tabindex="0" aria-label=(title) { (draw(&title, &nodes)) }
                }
            }
            @if !run.yaml.is_empty() { div.card { h3 { "As it was asked" } p.note { "With every default; pipeline.resolved.yaml in the run's folder." } (yaml(&run.yaml)) } }
        }
        @if !table.is_empty() { div.card { h3 { "Stages" } (table.draw()) } }
    };
    (!nodes.is_empty() || !run.yaml.is_empty()).then(|| Section::new("pipeline", "Pipeline", body))
}

fn is_cached(stage: &Value) -> bool {
    stage.get("cached").and_then(Value::as_bool) == Some(true)
}

fn took(stage: &Value) -> f64 {
    stage.pointer("/outcome/seconds").and_then(Value::as_f64).unwrap_or_default()
}

/// What the graph holds; runs of earlier versions say nothing of it.
fn nodes(run: &Run) -> Vec<Node> {
    let graph = run.summary.items("graph");
    let place = |name: &str| graph.iter().position(|node| node.text("name") == name);
    let failed = |name: &str| run.summary.items("failures").iter().any(|failure| failure.text("stage") == name);
    graph
        .iter()
        .map(|node| {
            let name = node.text("name");
            let stage = run.summary.items("stages").iter().find(|stage| stage.text("name") == name);
            let (state, note) = match stage {
                Some(stage) if is_cached(stage) => ("cached", format!("{}, cached", seconds(took(stage)))),
                Some(stage) => ("done", seconds(took(stage))),
                None if failed(name) => ("failed", "failed".to_owned()),
                None => ("", "did not run".to_owned()),
            };
            let kind = node.text("kind");
            let note = if name.starts_with(kind) { note } else { format!("{kind} · {note}") };
            let needs = node.items("needs").iter().filter_map(|need| place(need.as_str()?)).collect();
            Node { name: name.to_owned(), note, state: state.to_owned(), needs }
        })
        .collect()
}

/// YAML with its keys and comments set apart.
fn yaml(text: &str) -> Markup {
    let key = |line: &str| {
        let start = line.len() - line.trim_start_matches([' ', '-']).len();
        let end =
            line.find(':').filter(|&end| end > start && !line[start..end].contains([' ', '"', '\'', '{', '[']))?;
        Some((start, end))
    };
    html! {
        pre tabindex="0" role="region" aria-label="The pipeline as YAML" {
            @for line in text.lines() {
                @if line.trim_start().starts_with('#') { span.c { (line) } }
                @else if let Some((start, end)) = key(line) { (line[..start]) span.k { (line[start..end]) } (line[end..]) }
                @else { (line) }
                "\n"
            }
        }
    }
}
