//! What a run left as one HTML page, and two runs side by side.
//!
//! The page is made of JSON and text that lie in the run's folder, so that the light program can write it in a few milliseconds. It is one file: no script, no network,
//! plots as SVG in the page's own colours. Whatever comes from data or a pipeline is text: [`maud`] escapes it.

mod compare;
mod error;
pub mod graph;
pub mod numbers;
mod page;
mod plot;
mod run;
mod sections;

use std::path::Path;

use maud::{Markup, html};

pub use compare::{Comparison, Difference, Pair, Score};
pub use error::ReportError;
use page::{Section, badge, page};
pub use run::{Look, Run};

/// The file in a run's folder.
pub const FILE: &str = "report.html";

/// The page of the run in a folder.
pub fn render(folder: &Path) -> Result<String, ReportError> {
    Ok(render_run(&Run::read(folder)?))
}

/// The page of a run.
pub fn render_run(run: &Run) -> String {
    let sections: Vec<Section> = sections::all(run);
    page(&format!("{} - {}", run.summary.text("pipeline"), run.name()), &header(run), &sections)
}

/// The page of two runs side by side.
pub fn render_comparison(comparison: &Comparison) -> String {
    let names = comparison.names();
    let header = html! {
        p.kicker { "retune compare" }
        h1 { (comparison.pipelines()) }
        ul.facts { li { b { (names[0]) } } li { b { (names[1]) } } }
    };
    page(&format!("{} and {}", names[0], names[1]), &header, &comparison.sections())
}

fn header(run: &Run) -> Markup {
    let summary = &run.summary;
    let stages = summary.items("stages");
    let cached =
        stages.iter().filter(|stage| stage.get("cached").and_then(serde_json::Value::as_bool) == Some(true)).count();
    let status = summary.text("status");
    let tone = match status {
        "done" => "good",
        "failed" => "bad",
        _ => "warn",
    };
    html! {
        p.kicker { "retune run" }
        h1 { (summary.text("pipeline")) }
        ul.facts {
            li { (badge(tone, status)) }
            li { (run.name()) }
            li { "took " b { (numbers::seconds(summary.number("seconds").unwrap_or_default())) } }
            li { b { (cached) " of " (stages.len()) } " stages from the store" }
        }
    }
}
