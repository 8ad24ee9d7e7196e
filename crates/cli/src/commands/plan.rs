//! `retune plan` and `retune why`.

use retune_pipeline::{Error, Graph, Planner, Project, Reason, Status, Work, chosen_nodes, in_words, threads_of};
use retune_protocol::Failure;
use retune_spec::StageKind;
use retune_spec::preprocessing::{Preprocessing, Reach};
use serde_json::Value;

use crate::Outcome;
use crate::arguments::{Plan, Why};
use crate::commands::{device_of, run::choice_of};
use crate::exit::Exit;
use crate::output::{self, QUIET, STRONG};
use crate::progress::duration;

/// Shows what would run and why.
pub fn plan(arguments: &Plan) -> Outcome {
    let project = Project::here(None)?;
    let (document, inputs) = project.load(&arguments.pipeline.pipeline, &arguments.pipeline.set)?;
    let store = project.look_at_store()?;
    let graph = Graph::of(&document.pipeline);
    let device = device_of(&arguments.choice.device)?;
    let mut planner = Planner::new(&document, &graph, &store, &inputs, device, threads_of(&document))?;
    let (nodes, forced) = chosen_nodes(&graph, &choice_of(arguments.choice.clone()), arguments.choice.force)?;
    planner.force(forced);
    let mut rows = Vec::new();
    let (mut would_run, mut reaches) = (0, Vec::new());
    for node in nodes {
        if let Work::Fit(stage) = graph.nodes[node].work
            && let StageKind::Preprocessing(declared) = &document.pipeline.stages[stage].kind
        {
            reaches.push(format!("{}: {}", graph.nodes[node].name, reach_of(declared)));
        }
        let (what, why) = match planner.status(node)? {
            Status::Cached(_, outcome) => ("cached".to_owned(), format!("took {}", duration(outcome.seconds))),
            Status::Run(_, reason) => {
                would_run += 1;
                ("run".to_owned(), in_words(&reason))
            }
        };
        rows.push(vec![graph.nodes[node].name.clone(), what, why]);
    }
    let total = rows.len();
    output::print(&output::table(&["stage", "would", "why"], rows, 3));
    output::line(&format!("{would_run} of {total} would run"));
    reaches.iter().for_each(|reach| output::line(reach));
    Ok(Exit::Done)
}

/// Which steps need all rows in memory; all others are given a table that is large piece by piece.
fn reach_of(declared: &Preprocessing) -> String {
    let of = |reach: Reach| {
        let steps = declared.steps.iter().enumerate().filter(move |(_, step)| step.reach() == reach);
        steps.map(|(index, step)| format!("step {} ({})", index + 1, step.word())).collect::<Vec<_>>()
    };
    let exception = |steps: Vec<String>, what: &str| {
        let verb = if steps.len() == 1 { "needs" } else { "need" };
        steps.split_last().map(|(last, first)| {
            let listed = if first.is_empty() { last.clone() } else { format!("{} and {last}", first.join(", ")) };
            format!("{listed}, which {verb} all {what}")
        })
    };
    let exceptions = [
        exception(of(Reach::Table), "training rows in memory while learning"),
        exception(of(Reach::Order), "rows in memory, also when applied"),
    ];
    let exceptions: Vec<String> = exceptions.into_iter().flatten().collect();
    if exceptions.is_empty() {
        return "read by pieces".to_owned();
    }
    format!("read by pieces, except {}", exceptions.join("; and except "))
}

/// Shows which part of a stage's key changed since it last ran.
pub fn why(arguments: &Why) -> Outcome {
    let project = Project::here(None)?;
    let (document, inputs) = project.load(&arguments.pipeline.pipeline, &arguments.pipeline.set)?;
    let store = project.look_at_store()?;
    let graph = Graph::of(&document.pipeline);
    let device = device_of(&arguments.device)?;
    let mut planner = Planner::new(&document, &graph, &store, &inputs, device, threads_of(&document))?;
    let (nodes, _) = chosen_nodes(&graph, &retune_pipeline::Choice::Only(arguments.stage.clone()), false)?;
    let mut statuses = Vec::new();
    for node in nodes {
        statuses.push((node, planner.status(node)?));
    }
    let Some((_, status)) = statuses.iter().find(|(node, _)| graph.nodes[*node].name == arguments.stage) else {
        return Err(Error::Failure(Failure::usage(format!("no stage `{}`", arguments.stage))));
    };
    let stage = &arguments.stage;
    match status {
        Status::Cached(key, outcome) => output::line(&format!(
            "{STRONG}{stage}{STRONG:#} would not run: its result is in the store {QUIET}(key {key}, took {}){QUIET:#}",
            duration(outcome.seconds)
        )),
        Status::Run(_, Reason::Changed(changes)) => {
            output::line(&format!("{STRONG}{stage}{STRONG:#} would run, because its key changed:"));
            for change in changes {
                output::line(&format!(
                    "  {}: {} -> {}",
                    change.path,
                    shown(change.old.as_ref()),
                    shown(change.new.as_ref())
                ));
            }
        }
        Status::Run(_, Reason::Upstream(names)) => {
            output::line(&format!(
                "{STRONG}{stage}{STRONG:#} would run if what it needs comes out differently; that would run first:"
            ));
            for (node, status) in &statuses {
                if let (name, Status::Run(_, reason)) = (&graph.nodes[*node].name, status)
                    && name != stage
                    && !matches!(reason, Reason::Upstream(_))
                {
                    output::line(&format!("  {name}: {}", in_words(reason)));
                }
            }
            debug_assert!(!names.is_empty());
        }
        Status::Run(_, reason) => output::line(&format!("{STRONG}{stage}{STRONG:#} would run: {}", in_words(reason))),
    }
    Ok(Exit::Done)
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "(nothing)".to_owned(), Value::to_string)
}
