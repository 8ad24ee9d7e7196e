//! The parts of the page, one file for each; a part without anything to show is left out.

mod data;
mod errors;
mod evaluation;
mod features;
mod pipeline;
mod repeat;
mod result;
mod search;
mod steps;
mod tuning;

use maud::Markup;

use crate::page::Section;
use crate::run::Run;

/// Every part that has something to show, what matters most first.
pub fn all(run: &Run) -> Vec<Section> {
    let sections = [
        result::section(run),
        evaluation::section(run),
        errors::section(run),
        evaluation::importance(run),
        tuning::section(run),
        search::section(run),
        features::section(run),
        steps::section(run),
        data::section(run),
        pipeline::section(run),
        repeat::section(run),
    ];
    sections.into_iter().flatten().collect()
}

/// What is said of each of several models at the end: its heading is left out where there is one.
fn headed(several: bool, name: &str, body: &Markup) -> Markup {
    maud::html! { @if several { h3 { (name) } } (body) }
}
