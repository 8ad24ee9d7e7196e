//! `retune report`.

use std::path::Path;

use retune_protocol::Failure;
use retune_report::{FILE, ReportError, Run, render};

use crate::Outcome;
use crate::arguments::Report;
use crate::commands::show::folder_of;
use crate::exit::Exit;
use crate::output;

/// Writes the page of a run again, from what lies in its folder.
pub fn report(arguments: &Report) -> Outcome {
    let folder = folder_of(&arguments.run)?;
    let page = render(&folder).map_err(failure)?;
    let path = arguments.output.clone().unwrap_or_else(|| folder.join(FILE));
    if path.as_os_str() == "-" {
        output::print(&page);
    } else {
        write(&path, &page)?;
        output::line(&path.display().to_string());
    }
    Ok(Exit::Done)
}

/// A run as the report reads it.
pub fn read(run: &Path) -> Result<Run, retune_pipeline::Error> {
    Ok(Run::read(&folder_of(run)?).map_err(failure)?)
}

/// Writes a page.
pub fn write(path: &Path, page: &str) -> Result<(), Failure> {
    std::fs::write(path, page).map_err(|error| Failure::data(format!("cannot write {}: {error}", path.display())))
}

fn failure(error: ReportError) -> Failure {
    Failure::data(error.to_string())
}
