//! What came out: base against tuned, the guard and the goal, and what failed.

use maud::{Markup, html};
use serde_json::Value;

use super::headed;
use crate::numbers::{count, digits, plus};
use crate::page::{Section, Table, callout};
use crate::plot::whisker;
use crate::run::{Look, Run};

pub fn section(run: &Run) -> Option<Section> {
    let several = run.results().len() > 1;
    let failures = run.summary.items("failures");
    let body = html! {
        @for failure in failures {
            div.callout.bad {
                strong { "`" (failure.text("stage")) "` failed" } " " (failure.text("message"))
                @if !failure.text("help").is_empty() { br; span.range { "Help: " (failure.text("help")) } }
            }
        }
        @if run.summary.text("status") == "interrupted" {
            (callout("warn", "Interrupted.", "What was done is in the store: the same command goes on from there."))
        }
        @for result in run.results() { (headed(several, result.text("stage"), &one(run, result))) }
        @if run.results().is_empty() && failures.is_empty() && run.summary.text("status") == "done" {
            (callout("info", "Nothing was scored.", "The part of the pipeline that ran ends in no model."))
        }
    };
    let worth = !run.results().is_empty() || !failures.is_empty() || run.summary.text("status") != "failed";
    worth.then(|| Section::new("result", "Result", body))
}

fn one(run: &Run, result: &Value) -> Markup {
    let models = result.items("models");
    let stage = run.stages.iter().find(|stage| stage.name == result.text("stage"));
    let goal = stage.and_then(|stage| stage.report.pointer("/details/goal"));
    let guard = result.get("guard").filter(|guard| !guard.text("reason").is_empty());
    html! {
        (hero(result, models))
        @if let Some(guard) = guard {
            @let kept = guard.text("decision") == "kept_tuned";
            (callout(if kept { "good" } else { "warn" }, if kept { "Guard: tuned model kept." } else { "Guard: base kept." }, guard.text("reason")))
        }
        @if let Some(goal) = goal.filter(|goal| !goal.text("reason").is_empty()) {
            @let reached = goal.get("reached").and_then(Value::as_bool) == Some(true);
            (callout(if reached { "good" } else { "warn" }, if reached { "Goal reached." } else { "Goal missed." }, goal.text("reason")))
        }
        div.card { (scores(result)) }
    }
}

/// The metric that the pipeline optimised: the evaluation's own, else the guard's, else the first.
fn main_metric<'a>(result: &'a Value, models: &'a [Value]) -> Option<&'a str> {
    let of = |value: Option<&'a Value>| value.map(|value| value.text("metric")).filter(|metric| !metric.is_empty());
    let scores = models.first()?.get("scores")?.as_object()?;
    let named = of(Some(result)).or_else(|| of(result.get("guard")));
    named.filter(|metric| scores.contains_key(*metric)).or_else(|| scores.keys().next().map(String::as_str))
}

fn hero(result: &Value, models: &[Value]) -> Markup {
    let Some(metric) = main_metric(result, models) else { return html! {} };
    let score = |model: &Value| model.pointer(&format!("/scores/{metric}")).cloned().unwrap_or_default();
    let difference = result.pointer(&format!("/difference/{metric}"));
    let rows = format!("{} {} rows", count(result.whole("n_rows")), result.text("set"));
    html! {
        div.hero {
            @for (place, model) in models.iter().enumerate() {
                @let score = score(model);
                @if place == 0 || place + 1 == models.len() {
                    div {
                        p.label { (role(place, models.len())) ": " (model.text("family")) }
                        p.big { (score.number("value").map_or_else(|| "-".to_owned(), digits)) }
                        p.small { (metric) " " (bounds(&score)) ", " (rows) }
                    }
                }
            }
            @if let Some(difference) = difference {
                div {
                    p.label { "Tuned minus base" }
                    p.big { (difference.number("value").map_or_else(|| "-".to_owned(), plus)) }
                    p.small { (metric) " " (signed_bounds(difference)) }
                }
            }
        }
    }
}

fn role(place: usize, n_models: usize) -> &'static str {
    match (place, n_models) {
        (_, 1) => "Model",
        (0, _) => "Base",
        _ => "Tuned",
    }
}

fn bounds(score: &Value) -> String {
    match (score.number("low"), score.number("high")) {
        (Some(low), Some(high)) => format!("[{}, {}]", digits(low), digits(high)),
        _ => String::new(),
    }
}

fn signed_bounds(score: &Value) -> String {
    match (score.number("low"), score.number("high")) {
        (Some(low), Some(high)) => format!("[{}, {}]", plus(low), plus(high)),
        _ => String::new(),
    }
}

/// Every score of every model with its interval, and what lies between base and tuned model.
fn scores(result: &Value) -> Markup {
    let models = result.items("models");
    let confidence = result.number("confidence").unwrap_or(0.95) * 100.0;
    let note = format!(
        "On {} {} rows, with {confidence:.0} % bootstrap intervals; lines share a scale within a row.",
        count(result.whole("n_rows")),
        result.text("set")
    );
    let mut head = vec!["score".to_owned()];
    for (place, model) in models.iter().enumerate() {
        head.push(format!("{}: {}", role(place, models.len()).to_lowercase(), model.text("id")));
        head.push(String::new());
    }
    let compared = result.get("difference").and_then(Value::as_object).is_some_and(|difference| !difference.is_empty());
    if compared {
        head.extend(["difference".to_owned(), String::new()]);
    }
    for name in head.iter_mut().filter(|name| name.is_empty()) {
        *name = "interval".to_owned();
    }
    let mut table = Table::new("Scores", head, 1);
    let metrics = models.first().and_then(|model| model.get("scores")).and_then(Value::as_object);
    for metric in metrics.into_iter().flat_map(|scores| scores.keys()) {
        let of = |model: &Value| model.pointer(&format!("/scores/{metric}")).cloned().unwrap_or_default();
        let all: Vec<Value> = models.iter().map(of).collect();
        let ends = all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), score| {
            let number = |key: &str, or: f64| score.number(key).or(score.number("value")).unwrap_or(or);
            (least.min(number("low", f64::INFINITY)), most.max(number("high", f64::NEG_INFINITY)))
        });
        let mut row = vec![html! { (metric) }];
        for (place, score) in all.iter().enumerate() {
            row.extend(cells(metric, score, ends, usize::from(place + 1 == all.len()), false));
        }
        if compared {
            let difference = result.pointer(&format!("/difference/{metric}")).cloned().unwrap_or_default();
            let reach = ["low", "high"]
                .iter()
                .filter_map(|key| difference.number(key))
                .fold(0.0_f64, |most, value| most.max(value.abs()));
            row.extend(cells(metric, &difference, (-reach, reach), 2, true));
        }
        table.cells(row);
    }
    html! { p.note { (note) } (table.draw()) }
}

fn cells(metric: &str, score: &Value, ends: (f64, f64), series: usize, signed: bool) -> [Markup; 2] {
    let Some(value) = score.number("value") else { return [html! { "-" }, html! {}] };
    let interval = score.number("low").zip(score.number("high"));
    let (text, between) = if signed { (plus(value), signed_bounds(score)) } else { (digits(value), bounds(score)) };
    [
        html! { (text) " " span.range { (between) } },
        whisker(&format!("{metric} {text} {between}"), value, interval, ends, series, signed),
    ]
}
