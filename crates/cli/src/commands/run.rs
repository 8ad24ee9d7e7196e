//! `retune run`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use retune_pipeline::{Batch, Choice, Error, Interrupt, Options, Project, RunResult, threads_of};
use retune_protocol::{ErrorClass, Failure};
use retune_spec::Document;
use retune_spec::batch::BatchStep;
use retune_tracking::Tracker;
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::Outcome;
use crate::arguments::{ChoiceArguments, ProgressStyle, Run};
use crate::commands::{apply, device_of};
use crate::exit::{Exit, exit_of};
use crate::output::{self, QUIET, STRONG};
use crate::progress::{duration, listener};
use crate::results::print_metrics;

/// Runs a pipeline and prints what came out.
pub fn run(arguments: Run) -> Outcome {
    let project = Project::here(arguments.out)?;
    let (document, inputs) = project.load(&arguments.pipeline.pipeline, &arguments.pipeline.set)?;
    let options = Options {
        device: device_of(&arguments.choice.device)?,
        force: arguments.choice.force,
        choice: choice_of(arguments.choice),
        jobs: usize::from(arguments.jobs),
        interrupt: interrupt()?,
    };
    let mut listener = Tracker::new(&document, &arguments.pipeline.pipeline, listener(arguments.progress));
    let result = retune_pipeline::run(&project, &document, &inputs, &options, &mut listener)?;
    print_metrics(&result.summary.metrics);
    let cached = result.summary.stages.iter().filter(|stage| stage.cached).count();
    let folder = result.folder.strip_prefix(&project.folder).unwrap_or(&result.folder);
    output::line(&format!(
        "{} {QUIET}in {}, {cached} of {} stages cached{QUIET:#}",
        folder.display(),
        duration(result.summary.seconds),
        result.summary.stages.len()
    ));
    let exit = exit_of_run(&result, arguments.progress);
    if arguments.progress == ProgressStyle::Json {
        // Standard error is for events alone.
    } else if result.signal.is_some() {
        output::note("stopped; `retune run` goes on from here");
    } else if !result.failures.is_empty() {
        output::note(&format!(
            "next: mend what failed; `retune run {}` goes on from what is done, `retune show {}` shows that",
            arguments.pipeline.pipeline.display(),
            folder.display()
        ));
    }
    if exit == Exit::Done && options.choice == Choice::All {
        return score(&project, &document, &result.folder, &options.interrupt, arguments.progress);
    }
    Ok(exit)
}

/// The jobs that follow a run, with what it fitted; each goes on where it was stopped. The first that does not end well ends them.
fn score(
    project: &Project,
    document: &Document,
    folder: &Path,
    interrupt: &Interrupt,
    progress: ProgressStyle,
) -> Outcome {
    for BatchStep { id, with, .. } in &document.pipeline.batch {
        output::line(&format!("{STRONG}{id}{STRONG:#}"));
        let own = with.model.as_ref().map(|model| folder.join(format!("model-{model}")));
        let artifact = own.filter(|own| own.exists()).unwrap_or_else(|| folder.join("model"));
        let shown = Path::new(&with.output);
        let job = Batch {
            artifact,
            input: with.input.as_slice().to_vec(),
            output: project.folder.join(shown),
            format: with.format,
            jobs: with.jobs,
            retries: with.retries,
            replace: with.replace,
            handling: with.handling(),
            shard: None,
            watch: None,
            store: project.store.clone(),
            threads: threads_of(document),
        };
        let exit = apply::folder(&job, progress, shown, interrupt)?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

/// Which part the command line names.
pub fn choice_of(arguments: ChoiceArguments) -> Choice {
    match (arguments.only, arguments.from, arguments.until) {
        (Some(id), _, _) => Choice::Only(id),
        (_, Some(id), _) => Choice::From(id),
        (_, _, Some(id)) => Choice::Until(id),
        (None, None, None) => Choice::All,
    }
}

/// Set by Ctrl-C and SIGTERM; a second one ends the program at once.
pub fn interrupt() -> Result<Interrupt, Error> {
    let interrupt = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM] {
        let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let code = 128 + signal;
        // In this order: the first signal arms the shutdown that the second one finds armed.
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&armed))
            .and_then(|_| signal_hook::flag::register(signal, armed))
            .and_then(|_| {
                signal_hook::flag::register_usize(
                    signal,
                    Arc::clone(&interrupt),
                    usize::try_from(signal).unwrap_or_default(),
                )
            })
            .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    }
    Ok(interrupt)
}

/// How a run ends the program; says in words what it missed although the pipeline requires it.
pub fn exit_of_run(result: &RunResult, progress: ProgressStyle) -> Exit {
    if let Some(signal) = result.signal {
        return Exit::Interrupted(signal);
    }
    let worst =
        result.failures.iter().find(|(_, failure)| failure.class == ErrorClass::Failed).or(result.failures.first());
    if let Some((_, failure)) = worst {
        return exit_of(failure);
    }
    let details = result.summary.stages.iter().filter_map(|stage| stage.outcome.result.get("details"));
    let missed: Vec<&str> = details.flat_map(what_was_required).collect();
    for reason in missed.iter().filter(|_| progress != ProgressStyle::Json) {
        output::error(
            reason,
            Some("more trials or epochs may do it; without `required: true` it is a notice, and the exit code 0"),
        );
    }
    if missed.is_empty() { Exit::Done } else { Exit::GoalMissed }
}

/// What a stage did not achieve although the pipeline says `required: true`.
fn what_was_required(details: &Value) -> Vec<&str> {
    let is = |pointer: &str| details.pointer(pointer).and_then(Value::as_bool).unwrap_or(false);
    let mut missed = Vec::new();
    if is("/goal/required") && !is("/goal/reached") {
        missed.push(details.pointer("/goal/reason").and_then(Value::as_str).unwrap_or("the goal was not reached"));
    }
    if is("/guard/required") && details.pointer("/guard/decision").and_then(Value::as_str) == Some("kept_base") {
        missed.push(details.pointer("/guard/reason").and_then(Value::as_str).unwrap_or("the tuned model was refused"));
    }
    missed
}
