//! `retune stage`.

use std::path::Path;

use retune_pipeline::{Choice, Error, Inputs, Options, Project, write_fitted};
use retune_protocol::Failure;
use retune_spec::{Document, Source};
use serde_json::json;

use crate::Outcome;
use crate::arguments::{ProgressStyle, Stage, StageFit};
use crate::commands::device_of;
use crate::commands::predict::{absolute, apply};
use crate::commands::run::{exit_of_run, interrupt};
use crate::exit::Exit;
use crate::output::{self, STRONG};
use crate::progress::listener;

/// Lists, describes, fits and applies single stages.
pub fn stage(command: Stage) -> Outcome {
    match command {
        Stage::List => {
            for section in retune_spec::catalogue() {
                output::line(&format!("{STRONG}{}{STRONG:#}", section.title));
                for entry in section.entries {
                    output::line(&format!("  {:22} {}", entry.name, entry.summary));
                }
            }
            Ok(Exit::Done)
        }
        Stage::Describe { name } => match retune_spec::describe(&name) {
            Some(text) => {
                output::print(&text);
                Ok(Exit::Done)
            }
            None => {
                let known: Vec<String> = retune_spec::catalogue()
                    .into_iter()
                    .flat_map(|section| section.entries)
                    .map(|entry| entry.name)
                    .collect();
                let failure = Failure::data(format!("nothing is called `{name}`"));
                let close = retune_spec::did_you_mean(&name, known.iter().map(String::as_str));
                let failure = failure.help(close.map_or_else(
                    || "`retune stage list` lists all names".to_owned(),
                    |close| format!("did you mean `{close}`?"),
                ));
                output::error(&failure.message, failure.help.as_deref());
                Ok(Exit::Usage)
            }
        },
        Stage::Fit(fit) => fit_stage(&fit),
        Stage::Apply(arguments) => {
            let artifact = absolute(std::slice::from_ref(&arguments.stage))?.remove(0);
            apply(artifact, &arguments.input, &arguments.output)
        }
    }
}

fn fit_stage(arguments: &StageFit) -> Outcome {
    if arguments.output.exists() {
        return Err(Failure::data(format!("{} already exists", arguments.output.display()))
            .help("name a folder that does not exist")
            .into());
    }
    let project = Project::here(None)?;
    let (id, (document, inputs)) = match arguments.name.split_once('#') {
        Some((pipeline, id)) => (id.to_owned(), project.load(Path::new(pipeline), &arguments.set)?),
        None => ("stage".to_owned(), one_stage(&project, arguments)?),
    };
    let options = Options {
        choice: Choice::Only(id.clone()),
        force: false,
        jobs: 1,
        device: device_of(&arguments.device)?,
        interrupt: interrupt()?,
    };
    let mut listener = listener(ProgressStyle::Auto);
    let result = retune_pipeline::run(&project, &document, &inputs, &options, listener.as_mut())?;
    let exit = exit_of_run(&result, ProgressStyle::Auto);
    // A tuned model that was refused leaves the base, which is something fitted.
    if !matches!(exit, Exit::Done | Exit::GoalMissed) {
        return Ok(exit);
    }
    let fitted =
        result.summary.stages.iter().find(|stage| stage.name == id).and_then(|stage| stage.outcome.object("fitted"));
    let fitted = fitted.ok_or_else(|| Failure::failed(format!("stage `{id}` left nothing fitted")))?;
    write_fitted(&project.open_store()?, fitted, &arguments.output)?;
    output::line(&arguments.output.display().to_string());
    Ok(exit)
}

/// A pipeline of the one stage in the user's `--with` file.
fn one_stage(project: &Project, arguments: &StageFit) -> Result<(Document, Inputs), Error> {
    let missing = |what: &str| {
        Failure::usage(format!("`stage fit {}` needs {what}", arguments.name)).help(
            "one stage on one table: `retune stage fit preprocessing --with FILE --input DATA --target COLUMN --output DIR`\none stage of a pipeline: `retune stage fit PIPELINE#ID --output DIR`",
        )
    };
    let with = arguments.with.as_ref().ok_or_else(|| missing("--with FILE"))?;
    let input = arguments.input.as_ref().ok_or_else(|| missing("--input DATA"))?;
    let target = arguments.target.as_ref().ok_or_else(|| missing("--target COLUMN"))?;
    let source = Source::read(with).map_err(|diagnostic| Error::Invalid {
        source_text: Box::new(Source::new(with.display().to_string(), "")),
        diagnostics: vec![diagnostic],
    })?;
    let around = json!({
        "version": 1,
        "name": "stage",
        "seed": arguments.seed,
        "data": { "path": input, "target": target, "split": { "validation": 0.0, "test": 0.0 } },
    });
    let document = retune_spec::load_stage(&source, &arguments.name, &around);
    project.check(source, document)
}
