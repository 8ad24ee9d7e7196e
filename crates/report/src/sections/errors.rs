//! The rows on which the model was wrong most surely.

use maud::{Markup, html};
use serde_json::Value;

use super::headed;
use crate::numbers::{digits, percent, plus};
use crate::page::{Section, Table, text};
use crate::run::{Look, Run};

/// Rows that are shown at once; the others are folded.
const OPEN: usize = 10;

pub fn section(run: &Run) -> Option<Section> {
    let several = run.results().len() > 1;
    let mut parts = Vec::new();
    for (result, evaluation) in run.results().iter().zip(&run.evaluations) {
        let Some(worst) = evaluation.get("worst") else { continue };
        let rows = worst.items("rows");
        if rows.is_empty() {
            continue;
        }
        let pictures = rows.iter().any(|row| !row.text("image").is_empty());
        let labels = result.text("task") == "classification";
        let mut head = vec!["row"];
        head.extend(pictures.then_some("image"));
        head.extend(if labels {
            ["truth", "predicted", "said with", "gave the truth"]
        } else {
            ["truth", "predicted", "off by", ""]
        });
        head.retain(|name| !name.is_empty());
        head.extend(worst.items("columns").iter().filter_map(Value::as_str));
        let left = head.len();
        let mut table = Table::new("Worst errors", head, left);
        rows.iter().for_each(|row| table.cells(cells(row, pictures, labels)));
        let wrong = worst.whole("wrong");
        let are_ordered = !evaluation.get("importance").unwrap_or(&Value::Null).items("features").is_empty();
        let with_columns = if are_ordered { "; with the columns that the model depends on most" } else { "" };
        let body = html! {
            div.card {
                @if labels { p.note { (rows.len()) " of " (wrong) " wrong predictions, the surest first" (with_columns) "." } }
                @else { p.note { "The " (rows.len()) " predictions that are farthest off" (with_columns) "." } }
                (table.opening(OPEN))
            }
        };
        parts.push(headed(several, result.text("stage"), &body));
    }
    let lead = "Mislabelled rows and cases that the columns cannot tell apart tend to be found here. Row numbers are those of the data, counted from 1.";
    (!parts.is_empty())
        .then(|| Section::new("errors", "Worst errors", html! { @for part in parts { (part) } }).lead(lead))
}

fn cells(row: &Value, pictures: bool, labels: bool) -> Vec<Markup> {
    let mut cells = vec![html! { (row.whole("row")) }];
    if pictures {
        let source = row.text("image");
        cells.push(html! { @if source.starts_with("data:image/png;base64,") { img src=(source) width="48" height="48" alt=(format!("Row {}", row.whole("row"))); } });
    }
    let share = |key: &str| row.number(key).map_or_else(|| "-".to_owned(), percent);
    let number = |key: &str| row.number(key).map_or_else(|| "-".to_owned(), digits);
    if labels {
        cells.extend([
            html! { (row.text("truth")) },
            html! { (row.text("predicted")) },
            html! { (share("probability")) },
            html! { (share("of_truth")) },
        ]);
    } else {
        cells.extend([
            html! { (number("truth")) },
            html! { (number("predicted")) },
            html! { (row.number("error").map_or_else(|| "-".to_owned(), plus)) },
        ]);
    }
    cells.extend(row.items("cells").iter().map(|cell| text(cell.as_str().unwrap_or("-"))));
    cells
}
