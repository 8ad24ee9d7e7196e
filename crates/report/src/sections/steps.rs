//! What each step did to rows and columns, and what it learned.

use maud::{Markup, html};
use serde_json::Value;

use crate::numbers::count;
use crate::page::{Section, Table};
use crate::run::{Look, Run, Stage};

pub fn section(run: &Run) -> Option<Section> {
    let stages: Vec<&Stage> = run
        .stages
        .iter()
        .filter(|stage| !stage.report.items("rows").is_empty() || !stage.report.items("learned").is_empty())
        .collect();
    let body = html! { @for stage in &stages { (one(stage)) } };
    let lead =
        "Every training row is accounted for: rows in and added are rows out, dropped and set aside (quarantined).";
    (!stages.is_empty()).then(|| Section::new("steps", "What each step did", body).lead(lead))
}

fn one(stage: &Stage) -> Markup {
    let report = &stage.report;
    let columns = report.items("columns").iter().filter_map(Value::as_u64).collect::<Vec<_>>();
    let mut table = Table::new(
        format!("Training rows in {}", stage.name),
        ["step", "rows in", "dropped", "quarantined", "added", "rows out", "changed", "flagged"],
        1,
    );
    for change in report.items("rows") {
        let of = |key: &str| change.whole(key);
        let out = (of("rows_in") + of("added")).saturating_sub(of("dropped") + of("quarantined"));
        let cells = [of("rows_in"), of("dropped"), of("quarantined"), of("added"), out, of("changed"), of("flagged")];
        let mut row = vec![change.text("step").to_owned()];
        row.extend(cells.iter().map(|&n| if n == 0 { "·".to_owned() } else { count(n) }));
        table.row(row);
    }
    let learned = report.items("learned");
    html! {
        div.card {
            h3 { (stage.name) }
            @if let [from, to] = columns[..] { @if from + to > 0 { p.note { (from) " features in, " (to) " out." } } }
            @if !table.is_empty() { (table.draw()) }
            @if !learned.is_empty() {
                h4 { "What was learned" }
                ul.lines { @for learned in learned { li { span.step { (learned.text("step")) } ": " (learned.text("text")) } } }
            }
        }
    }
}
