//! What is in the columns of the data.

use maud::{Markup, html};
use serde_json::Value;

use crate::numbers::{count, percent, short};
use crate::page::{Section, Table, badge, text};
use crate::plot::{Axis, clipped, histogram, sparkline};
use crate::run::{Look, Run};

/// Columns shown.
const MOST_COLUMNS: usize = 200;

/// Columns that are shown at once; the others are folded.
const OPEN: usize = 24;

pub fn section(run: &Run) -> Option<Section> {
    let columns = run.profile.items("columns");
    if columns.is_empty() {
        return None;
    }
    let (looked_at, rows) = (run.profile.whole("looked_at"), run.profile.whole("rows"));
    let of = if looked_at < rows {
        format!("{} of {} training rows were looked at, evenly spread.", count(looked_at), count(rows))
    } else {
        format!("All {} training rows were looked at.", count(rows))
    };
    let mut table = Table::new(
        "Columns",
        ["column", "role", "kind", "values", "missing", "distinct", "least", "median", "mean", "greatest"],
        4,
    );
    for column in columns {
        let number = |key: &str| column.number(key).map_or_else(String::new, short);
        let range = column.numbers("range");
        let end = |place: usize| range.get(place).copied().map_or_else(String::new, short);
        let missing = column.whole("missing") as f64 / column.whole("rows").max(1) as f64;
        table.cells(vec![
            html! { (column.text("name")) },
            html! { (column.text("role")) },
            html! { (column.text("kind")) },
            values(column),
            html! { @if missing > 0.2 { (badge("warn", &percent(missing))) } @else { (percent(missing)) } },
            html! { (count(column.whole("distinct"))) },
            html! { (end(0)) },
            html! { (number("median")) },
            html! { (end(1)) },
            html! { (end(2)) },
        ]);
    }
    let target = columns.iter().find(|column| column.text("role") == "target");
    let body = html! {
        @if let Some(target) = target { (of_target(target)) }
        div.card { h3 { "Columns" } (table.limited(MOST_COLUMNS).opening(OPEN)) }
    };
    Some(Section::new("data", "Data", body).lead(of))
}

fn values(column: &Value) -> Markup {
    let name = column.text("name");
    if let Some(histogram) = column.get("histogram").filter(|histogram| !histogram.is_null()) {
        let scale = if is_log(histogram) { ", logarithmic" } else { "" };
        return sparkline(&format!("Distribution of {name}{scale}"), &histogram.numbers("counts"));
    }
    let frequent = column.items("most_frequent");
    if !frequent.is_empty() && column.whole("distinct") <= 1 {
        return html! { "always " (clipped(frequent[0].get(0).and_then(Value::as_str).unwrap_or_default(), 24)) };
    }
    let words: Vec<String> = frequent
        .iter()
        .take(3)
        .map(|pair| {
            let share = pair.get(1).and_then(Value::as_f64).unwrap_or_default() / column.whole("rows").max(1) as f64;
            format!("{} {}", clipped(pair.get(0).and_then(Value::as_str).unwrap_or_default(), 22), percent(share))
        })
        .collect();
    text(&words.join(", "))
}

/// Whether the bars are of equal ratios.
fn is_log(histogram: &Value) -> bool {
    histogram.get("is_log").and_then(Value::as_bool) == Some(true)
}

fn of_target(target: &Value) -> Markup {
    let name = target.text("name");
    let frequent = target.items("most_frequent");
    if let Some(spread) = target.get("histogram").filter(|histogram| !histogram.is_null()) {
        let (edges, counts) = (spread.numbers("edges"), spread.numbers("counts"));
        let mut table = Table::new(format!("Distribution of {name}"), ["from", "to", "rows"], 0);
        for (edge, n) in edges.windows(2).zip(&counts) {
            table.row([short(edge[0]), short(edge[1]), short(*n)]);
        }
        return crate::page::figure(
            &format!("The target: {name}"),
            "",
            histogram(&format!("Distribution of {name}"), Axis::of(name).log_if(is_log(spread)), &edges, &counts),
            &html! {},
            &table,
        );
    }
    let most = frequent.iter().filter_map(|pair| pair.get(1)?.as_f64()).fold(0.0_f64, f64::max);
    let mut table = Table::new(format!("Labels of {name}"), ["label", "", "rows", "share"], 2);
    for pair in frequent {
        let n = pair.get(1).and_then(Value::as_f64).unwrap_or_default();
        table.cells(vec![
            html! { (pair.get(0).and_then(Value::as_str).unwrap_or_default()) },
            html! { span.bar aria-hidden="true" { span style=(format!("--v:{:.3}", if most > 0.0 { n / most } else { 0.0 })) {} } },
            html! { (count(n as u64)) },
            html! { (percent(n / target.whole("rows").max(1) as f64)) },
        ]);
    }
    let distinct = target.whole("distinct") as usize;
    html! { div.card { h3 { "The target: " (name) } (table.of(distinct).draw()) } }
}
