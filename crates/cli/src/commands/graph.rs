//! `retune graph`.

use std::fmt::Write;

use retune_pipeline::{Graph, Project, Work};
use retune_report::graph::{Node, file};

use crate::Outcome;
use crate::arguments::{Graph as Arguments, GraphFormat};
use crate::exit::Exit;
use crate::output;

/// Draws what depends on what.
pub fn graph(arguments: &Arguments) -> Outcome {
    let project = Project::here(None)?;
    let (document, _) = project.load(&arguments.pipeline.pipeline, &arguments.pipeline.set)?;
    let graph = Graph::of(&document.pipeline);
    let label = |node: usize| {
        let node = &graph.nodes[node];
        match node.work {
            Work::Fit(stage) => format!("{}<br/>{}", node.name, document.pipeline.stages[stage].kind.word()),
            Work::Read | Work::Evaluate(_) => node.name.clone(),
        }
    };
    let mut text = String::new();
    let nodes = 0..graph.nodes.len();
    // Writing to a string cannot fail.
    let _ = match arguments.format {
        GraphFormat::Mermaid => {
            let _ = writeln!(text, "flowchart LR");
            for node in nodes {
                let _ = writeln!(text, "  n{node}[\"{}\"]", label(node));
                for need in &graph.nodes[node].needs {
                    let _ = writeln!(text, "  n{need} --> n{node}");
                }
            }
            Ok(())
        }
        GraphFormat::Svg => {
            let nodes: Vec<Node> = nodes
                .map(|node| {
                    let (name, kind) = (graph.nodes[node].name.clone(), graph.kind(&document, node));
                    let note = if name.starts_with(kind) { String::new() } else { kind.to_owned() };
                    Node { name, note, needs: graph.nodes[node].needs.clone(), ..Node::default() }
                })
                .collect();
            text = file(&format!("Graph of {}", document.pipeline.name), &nodes);
            Ok(())
        }
        GraphFormat::Dot => {
            let _ = writeln!(text, "digraph {{\n  rankdir=LR;\n  node [shape=box];");
            for node in nodes {
                let _ = writeln!(text, "  n{node} [label=\"{}\"];", label(node).replace("<br/>", "\\n"));
                for need in &graph.nodes[node].needs {
                    let _ = writeln!(text, "  n{need} -> n{node};");
                }
            }
            writeln!(text, "}}")
        }
    };
    output::print(&text);
    Ok(Exit::Done)
}
