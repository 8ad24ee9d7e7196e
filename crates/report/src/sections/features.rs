//! Which features stay, and why.

use maud::{Markup, html};
use serde_json::Value;

use super::headed;
use crate::numbers::short;
use crate::page::{Section, Table, badge, text};
use crate::run::{Look, Run, Stage};

/// Rows shown of each kind.
const MOST_ROWS: usize = 200;

/// Rows that are shown at once; the others are folded.
const OPEN: usize = 12;

pub fn section(run: &Run) -> Option<Section> {
    let stages: Vec<&Stage> =
        run.stages.iter().filter(|stage| stage.report.pointer("/details/features").is_some()).collect();
    let several = stages.len() > 1;
    let body = html! { @for stage in &stages { (headed(several, &stage.name, &one(stage))) } };
    let lead = "What the last method that looked at a column said of it. features.parquet in the run's folder has every method's word on every column.";
    (!stages.is_empty()).then(|| Section::new("features", "Features", body).lead(lead))
}

fn one(stage: &Stage) -> Markup {
    let details = stage.report.get("details").unwrap_or(&Value::Null);
    let features = details.items("features");
    let (kept, dropped): (Vec<&Value>, Vec<&Value>) =
        features.iter().partition(|feature| feature.text("decision") == "kept");
    html! {
        p { (details.text("summary")) }
        @if !kept.is_empty() { div.card { h3 { (kept.len()) " kept " (badge("good", "best first")) } (table("Features that stay", &kept)) } }
        @if !dropped.is_empty() {
            div.card {
                h3 { (dropped.len()) " dropped" }
                (table("Features that were dropped", &dropped))
            }
        }
    }
}

fn table(caption: &str, features: &[&Value]) -> Markup {
    let most = features
        .iter()
        .filter_map(|feature| feature.number("score"))
        .fold(0.0_f64, |most, score| most.max(score.abs()));
    let methods: Vec<&str> = features.iter().map(|feature| feature.text("method")).collect();
    // Scores of different methods have no common scale.
    let comparable = methods.iter().all(|method| *method == methods[0]) && most > 0.0;
    let mut head = vec!["feature", "from", "why", "method", "score"];
    head.extend(comparable.then_some(""));
    let mut table = Table::new(caption, head, 4);
    for feature in features {
        let score = feature.number("score");
        let mut cells = vec![
            html! { (feature.text("name")) },
            html! { @if feature.text("source") != feature.text("name") { (feature.text("source")) } },
            text(feature.text("reason")),
            html! { (feature.text("method")) },
            html! { (score.map_or_else(|| "-".to_owned(), short)) },
        ];
        if comparable {
            let share = score.unwrap_or_default().abs() / most;
            cells.push(html! { span.bar aria-hidden="true" { span style=(format!("--v:{share:.3}")) {} } });
        }
        table.cells(cells);
    }
    table.limited(MOST_ROWS).opening(OPEN)
}
