//! How to repeat it: the command, the seed, digests of the data, and what it ran on.

use maud::{Markup, html};
use serde_json::Value;

use crate::page::{Section, Table};
use crate::run::{Look, Run};

pub fn section(run: &Run) -> Option<Section> {
    let environment = run.summary.get("environment").filter(|environment| environment.is_object())?;
    let mut inputs = Table::new("Files", ["file", "set", "BLAKE3"], 3);
    for input in run.summary.items("inputs") {
        inputs.cells(vec![
            html! { (input.text("path")) },
            html! { (input.text("set")) },
            html! { code { (input.text("blake3")) } },
        ]);
    }
    let mut keys = Table::new("Cache keys", ["stage", "key"], 2);
    for stage in run.summary.items("stages") {
        keys.cells(vec![html! { (stage.text("name")) }, html! { code { (stage.text("key")) } }]);
    }
    let text = |key: &str| environment.get(key).map(word).unwrap_or_default();
    let facts = [
        ("retune", text("retune")),
        ("libtorch", text("libtorch")),
        ("LightGBM", text("lightgbm")),
        ("system", text("system")),
        ("processor", text("processor")),
        ("cores", text("cores")),
        ("threads", text("threads")),
        ("device", text("device")),
        ("begun", run.summary.text("begun").to_owned()),
        ("seed", environment.get("seed").map(word).unwrap_or_default()),
    ];
    let command = environment.text("command");
    let body = html! {
        @if !command.is_empty() {
            div.card {
                h3 { "Command" }
                p.note { "In the folder of the run, with the same files: the same seed, versions, threads and class of processor give the same bits." }
                pre tabindex="0" role="region" aria-label="Command" { (command) "\nretune report " (run.summary.text("pipeline")) "\nretune why " (pipeline(command)) " STAGE" }
            }
        }
        div.grid {
            div.card { h3 { "Environment" } dl.pairs { @for (name, value) in &facts { @if !value.is_empty() { dt { (name) } dd { (value) } } } } }
            div.card {
                h3 { "Digests" }
                @if !inputs.is_empty() { (inputs.limited(20).draw()) }
                (keys.folded("Cache keys of the stages"))
            }
        }
    };
    Some(Section::new("repeat", "How to repeat it", body))
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}

/// The pipeline's file: the word after `run`.
fn pipeline(command: &str) -> Markup {
    let mut words = command.split(' ').skip_while(|word| *word != "run").skip(1);
    html! { (words.find(|word| word.ends_with(".yaml") || word.ends_with(".yml")).unwrap_or("PIPELINE")) }
}
