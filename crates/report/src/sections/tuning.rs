//! Fine-tuning: base, tuned model and remedies side by side, and how they learned.

use maud::{Markup, html};
use serde_json::Value;

use super::headed;
use crate::numbers::{digits, plus, seconds, short};
use crate::page::{Section, Table, badge, figure, grid};
use crate::plot::{Axis, Lines, Series, Style, whisker};
use crate::run::{Look, Run, Stage};

pub fn section(run: &Run) -> Option<Section> {
    let tunings: Vec<&Stage> = run.stages.iter().filter(|stage| stage.kind == "fine-tuning").collect();
    let several = tunings.len() > 1;
    let body = html! { @for stage in &tunings { (headed(several, &stage.name, &one(stage))) } };
    let lead = "Decided on guard rows: validation rows that training was not stopped by.";
    (!tunings.is_empty()).then(|| Section::new("tuning", "Fine-tuning", body).lead(lead))
}

fn one(stage: &Stage) -> Markup {
    let details = stage.report.get("details").unwrap_or(&Value::Null);
    let mut figures = Vec::new();
    for (name, table) in stage.tables.as_object().into_iter().flatten() {
        if name.starts_with("learning_curve") {
            figures.extend(curve(&numbered("Learning curve", name), table));
        } else if name.starts_with("learning_rates") {
            figures.extend(rates(&numbered("Search for a learning rate", name), table));
        }
    }
    let tries = details.items("tries");
    html! {
        @if let Some(comparison) = stage.tables.get("comparison") { div.card { h3 { "Base, tuned and remedies" } (compared(comparison)) } }
        @if tries.len() > 1 || tries.iter().any(|tried| !tried.items("diagnosis").is_empty()) {
            div.card {
                h3 { "What was tried" }
                ul.lines {
                    @for tried in tries {
                        @let kept = tried.pointer("/verdict/decision").and_then(Value::as_str) == Some("kept_tuned");
                        li {
                            span.step { (tried.text("name")) } " " (badge(if kept { "good" } else { "warn" }, if kept { "kept" } else { "refused" })) " "
                            (tried.pointer("/verdict/reason").and_then(Value::as_str).unwrap_or_default())
                            @for diagnosis in tried.items("diagnosis") { " It looks like " (diagnosis.as_str().unwrap_or_default()) "." }
                        }
                    }
                }
            }
        }
        @if !figures.is_empty() { (grid(&figures)) }
    }
}

/// `learning_curve_2` is the second one.
fn numbered(title: &str, name: &str) -> String {
    match name.rsplit('_').next().and_then(|end| end.parse::<u32>().ok()) {
        Some(number) => format!("{title} {number}"),
        None => title.to_owned(),
    }
}

/// A stored table's cell as a record.
struct Records<'a> {
    columns: Vec<&'a str>,
    rows: &'a [Value],
}

impl<'a> Records<'a> {
    fn of(table: &'a Value) -> Self {
        Self { columns: table.items("columns").iter().filter_map(Value::as_str).collect(), rows: table.items("rows") }
    }

    fn cell(&self, row: &'a Value, column: &str) -> &'a Value {
        let at = self.columns.iter().position(|name| *name == column);
        at.and_then(|at| row.get(at)).unwrap_or(&Value::Null)
    }

    fn numbers(&self, column: &str) -> Vec<f64> {
        self.rows.iter().map(|row| self.cell(row, column).as_f64().unwrap_or(f64::NAN)).collect()
    }
}

fn compared(table: &Value) -> Markup {
    let records = Records::of(table);
    // The score is named after the metric: it stands before its interval.
    let metric =
        records.columns.iter().position(|name| *name == "low").and_then(|at| records.columns.get(at.checked_sub(1)?));
    let metric = metric.copied().unwrap_or_default();
    let mut shown = Table::new(
        "Base, tuned model and remedies on every set",
        [
            "model",
            "set",
            "rows",
            metric,
            "interval",
            "better by",
            "McNemar p",
            "calibration error",
            "numbers",
            "per 1000 rows",
        ],
        2,
    );
    for row in records.rows {
        let cell = |column: &str| records.cell(row, column);
        let number = |column: &str| cell(column).as_f64();
        let set = cell("set").as_str().unwrap_or_default();
        let of_set = || records.rows.iter().filter(|row| records.cell(row, "set").as_str() == Some(set));
        let ends = of_set().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), row| {
            let of = |column: &str, or: f64| records.cell(row, column).as_f64().unwrap_or(or);
            (least.min(of("low", least)), most.max(of("high", most)))
        });
        let interval = number("low").zip(number("high"));
        let between = interval.map_or_else(String::new, |(low, high)| format!("[{}, {}]", digits(low), digits(high)));
        let better = match (number("better_by"), number("better_by_low"), number("better_by_high")) {
            (Some(value), Some(low), Some(high)) => format!("{} [{}, {}]", plus(value), plus(low), plus(high)),
            _ => "-".to_owned(),
        };
        let model = cell("model").as_str().unwrap_or_default();
        let or_dash = |column: &str, text: fn(f64) -> String| number(column).map_or_else(|| "-".to_owned(), text);
        shown.cells(vec![
            html! { (model) },
            html! { (set) },
            html! { (or_dash("rows", short)) },
            html! { (or_dash(metric, digits)) " " span.range { (between) } },
            html! { @if let Some(value) = number(metric) { (whisker(&format!("{model} on {set}: {} {between}", digits(value)), value, interval, ends, usize::from(model != "base"), false)) } },
            html! { (better) },
            html! { (or_dash("mcnemar_p", short)) },
            html! { (or_dash("calibration_error", digits)) },
            html! { (or_dash("numbers", short)) },
            html! { (or_dash("ms_per_1000_rows", |value| seconds(value / 1000.0))) },
        ]);
    }
    shown.of(table.whole("n_rows") as usize).draw()
}

/// Losses over epochs, rounds or penalties, whichever the family goes through.
fn curve(title: &str, table: &Value) -> Option<Markup> {
    let records = Records::of(table);
    let across = ["epoch", "round", "l2"].into_iter().find(|name| records.columns.contains(name))?;
    let x = records.numbers(across);
    let losses = [("train_loss", "training rows", 0), ("validation_loss", "validation rows", 1)];
    let series: Vec<Series> = losses
        .into_iter()
        .filter(|(column, ..)| records.columns.contains(column))
        .map(|(column, name, colour)| {
            let points = x.iter().copied().zip(records.numbers(column)).collect();
            let style = if x.len() <= 40 { Style::DottedLine } else { Style::Line };
            Series::line(name, points, colour).styled(style)
        })
        .collect();
    let axis = match across {
        "l2" => Axis::of("penalty (l2)").log_if(x.iter().all(|value| *value > 0.0)),
        _ => Axis::whole(across),
    };
    let note = if series.len() == 1 {
        "The loss on validation rows that training is stopped by."
    } else {
        "The loss; what early stopping saw are the validation rows."
    };
    let lines = Lines { title: format!("{title}: loss"), x: axis, y: Axis::of("loss"), series, diagonal: false };
    Some(figure(title, note, lines.draw(), &lines.legend(), &shown(title, table)))
}

fn rates(title: &str, table: &Value) -> Option<Markup> {
    let records = Records::of(table);
    let (rates, losses) = (records.numbers("learning_rate"), records.numbers("loss"));
    let taken: Vec<(f64, f64)> = records
        .rows
        .iter()
        .zip(rates.iter().copied().zip(losses.iter().copied()))
        .filter(|(row, _)| records.cell(row, "taken").as_bool() == Some(true))
        .map(|(_, point)| point)
        .collect();
    let mut series = vec![Series::line("loss, running mean", rates.into_iter().zip(losses).collect(), 0)];
    let note = taken
        .first()
        .map_or_else(String::new, |(rate, _)| format!("Taken: {}, where the loss falls most steeply.", short(*rate)));
    if !taken.is_empty() {
        series.push(Series::line("taken", taken, 1).styled(Style::Dots));
    }
    let lines = Lines {
        title: title.to_owned(),
        x: Axis::of("learning rate").log_if(true),
        y: Axis::of("loss"),
        series,
        diagonal: false,
    };
    Some(figure(title, &note, lines.draw(), &lines.legend(), &shown(title, table)))
}

/// A stored table as it is.
fn shown(title: &str, table: &Value) -> Table {
    let records = Records::of(table);
    let mut shown = Table::new(title, records.columns.clone(), 1);
    for row in records.rows {
        let cell = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            value => value.as_f64().map_or_else(|| value.to_string(), short),
        };
        shown.row(row.as_array().into_iter().flatten().map(cell));
    }
    shown.limited(200).of(table.whole("n_rows") as usize)
}
