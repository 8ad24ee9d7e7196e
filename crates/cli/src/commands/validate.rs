//! `retune validate`.

use retune_pipeline::Project;

use crate::Outcome;
use crate::arguments::Validate;
use crate::exit::Exit;
use crate::output;

/// Checks the language, then the columns against the headers; no row is read.
pub fn validate(arguments: &Validate) -> Outcome {
    let project = Project::here(None)?;
    let (document, inputs) = project.load(&arguments.pipeline.pipeline, &arguments.pipeline.set)?;
    let stages = document.pipeline.stages.len();
    let files: usize = inputs.files.values().map(Vec::len).sum();
    output::line(&format!(
        "{} is valid: {stages} stages, {files} data file{}",
        arguments.pipeline.pipeline.display(),
        if files == 1 { "" } else { "s" }
    ));
    Ok(Exit::Done)
}
