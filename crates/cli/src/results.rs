//! The table that a run ends with: base and tuned model side by side.

use retune_report::numbers::{digits, plus};
use retune_spec::Metric;
use serde_json::Value;

use crate::output::{self, QUIET, STRONG};

/// Prints what `metrics.json` says.
pub fn print_metrics(metrics: &Value) {
    for result in metrics.get("results").and_then(Value::as_array).into_iter().flatten() {
        print_scores(result);
        if let Some(reason) = result.pointer("/guard/reason").and_then(Value::as_str) {
            output::line(&format!("guard: {reason}"));
        }
        output::line("");
    }
}

/// Prints one evaluation: a column for each model, and their difference.
pub fn print_scores(result: &Value) {
    let text = |pointer: &str| result.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let models: Vec<&Value> = result.get("models").and_then(Value::as_array).into_iter().flatten().collect();
    let (Some(first), set, n_rows) =
        (models.first(), text("/set"), result.get("n_rows").and_then(Value::as_u64).unwrap_or(0))
    else {
        return;
    };
    let confidence = result.get("confidence").and_then(Value::as_f64).unwrap_or(0.95) * 100.0;
    output::line(&format!(
        "{STRONG}{}{STRONG:#} {QUIET}on {n_rows} {set} rows, with {confidence:.0} % intervals{QUIET:#}",
        text("/stage")
    ));
    let mut header = vec!["metric".to_owned()];
    for (position, model) in models.iter().enumerate() {
        let name = |key: &str| model.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let role = if models.len() > 1 && position == 0 {
            "base"
        } else if models.len() > 1 {
            "tuned"
        } else {
            "model"
        };
        header.push(format!("{role}: {} ({})", name("id"), name("family")));
    }
    if models.len() > 1 {
        header.push("difference".to_owned());
    }
    let metrics = first.get("scores").and_then(Value::as_object);
    let is_shown = |metric: &str| Metric::from_word(metric).is_none_or(Metric::is_headline);
    let hidden = metrics.into_iter().flatten().filter(|(metric, _)| !is_shown(metric)).count();
    let shown = metrics.into_iter().flatten().filter(|(metric, _)| is_shown(metric));
    let rows = shown.map(|(metric, _)| {
        let mut row = vec![metric.clone()];
        row.extend(models.iter().map(|model| interval(model.pointer(&format!("/scores/{metric}")), false)));
        if models.len() > 1 {
            row.push(interval(result.pointer(&format!("/difference/{metric}")), true));
        }
        row
    });
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    output::print(&output::table(&header, rows.collect(), 1));
    if hidden > 0 {
        output::line(&format!("{QUIET}and {hidden} more scores as JSON{QUIET:#}"));
    }
}

/// Prints what a model's score loses by each column.
pub fn print_importance(result: &Value) {
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_f64).unwrap_or_default();
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    output::line(&format!(
        "{STRONG}{} {}{STRONG:#} {QUIET}on {} rows; what it loses where a column is shuffled, the mean of {} shuffles with 95 % intervals{QUIET:#}",
        text(result, "metric"),
        digits(number(result, "score")),
        number(result, "n_rows"),
        number(result, "repeats"),
    ));
    let features = result.get("features").and_then(Value::as_array).into_iter().flatten();
    let rows = features.map(|feature| {
        let [value, low, high] = ["importance", "low", "high"].map(|key| plus(number(feature, key)));
        vec![text(feature, "name"), text(feature, "reason"), format!("{value} [{low}, {high}]")]
    });
    output::print(&output::table(&["column", "in words", "loss"], rows.collect(), 2));
}

fn interval(score: Option<&Value>, signed: bool) -> String {
    let number = |key: &str| score.and_then(|score| score.get(key)).and_then(Value::as_f64);
    match (number("value"), number("low"), number("high")) {
        (Some(value), Some(low), Some(high)) if signed => format!("{} [{}, {}]", plus(value), plus(low), plus(high)),
        (Some(value), Some(low), Some(high)) => format!("{} [{}, {}]", digits(value), digits(low), digits(high)),
        _ => "-".to_owned(),
    }
}
