//! What came out: base against tuned, the guard and the goal, and what failed.

use maud::{Markup, html};
use retune_spec::Metric;
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
        @if let Some(guard) = guard { (callout(if guard.text("decision") == "kept_tuned" { "good" } else { "warn" }, "Guard:", guard.text("reason"))) }
        @if let Some(goal) = goal.filter(|goal| !goal.text("reason").is_empty()) {
            @let reached = goal.get("reached").and_then(Value::as_bool) == Some(true);
            @let reason = goal.text("reason");
            (callout(if reached { "good" } else { "warn" }, "Goal:", reason.strip_prefix("goal ").unwrap_or(reason)))
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

/// Scores of every model with their intervals, and what lies between base and tuned model; those that are seldom asked for are folded.
fn scores(result: &Value) -> Markup {
    let confidence = result.number("confidence").unwrap_or(0.95) * 100.0;
    let note = format!(
        "On {} {} rows, with {confidence:.0} % bootstrap intervals. Lines within a row share a scale.",
        count(result.whole("n_rows")),
        result.text("set")
    );
    let metrics = result.items("models").first().and_then(|model| model.get("scores")).and_then(Value::as_object);
    let is_headline = |metric: &str| Metric::from_word(metric).is_none_or(Metric::is_headline);
    let (shown, further): (Vec<&str>, Vec<&str>) = metrics
        .into_iter()
        .flat_map(|scores| scores.keys())
        .map(String::as_str)
        .partition(|metric| is_headline(metric));
    html! {
        p.note { (note) }
        (table("Scores", result, &shown).draw())
        (table("Further scores", result, &further).folded(&format!("{} more scores", further.len())))
    }
}

fn table(caption: &str, result: &Value, metrics: &[&str]) -> Table {
    let models = result.items("models");
    let compared = result.get("difference").and_then(Value::as_object).is_some_and(|difference| !difference.is_empty());
    let mut head = vec!["score".to_owned()];
    for (place, model) in models.iter().enumerate() {
        head.push(format!("{}: {}", role(place, models.len()).to_lowercase(), model.text("id")));
    }
    head.push("intervals".to_owned());
    head.extend(compared.then(|| "difference".to_owned()));
    head.extend(compared.then(|| "its interval".to_owned()));
    let mut table = Table::new(caption, head, 1);
    for metric in metrics {
        let all: Vec<Value> = models
            .iter()
            .map(|model| model.pointer(&format!("/scores/{metric}")).cloned().unwrap_or_default())
            .collect();
        let ends = all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), score| {
            let number = |key: &str, or: f64| score.number(key).or(score.number("value")).unwrap_or(or);
            (least.min(number("low", f64::INFINITY)), most.max(number("high", f64::NEG_INFINITY)))
        });
        let mut row = vec![html! { (metric) }];
        row.extend(all.iter().map(|score| written(score, false)));
        row.push(html! { @for (place, score) in all.iter().enumerate() { (drawn(metric, score, ends, usize::from(place + 1 == all.len() && place > 0), false)) } });
        if compared {
            let difference = result.pointer(&format!("/difference/{metric}")).cloned().unwrap_or_default();
            let reach = ["low", "high"]
                .iter()
                .filter_map(|key| difference.number(key))
                .fold(0.0_f64, |most, value| most.max(value.abs()));
            row.push(written(&difference, true));
            row.push(drawn(metric, &difference, (-reach, reach), 2, true));
        }
        table.cells(row);
    }
    table
}

fn written(score: &Value, signed: bool) -> Markup {
    let Some(value) = score.number("value") else { return html! { "-" } };
    let (text, between) = if signed { (plus(value), signed_bounds(score)) } else { (digits(value), bounds(score)) };
    html! { (text) " " span.range { (between) } }
}

fn drawn(metric: &str, score: &Value, ends: (f64, f64), series: usize, signed: bool) -> Markup {
    let Some(value) = score.number("value") else { return html! {} };
    let interval = score.number("low").zip(score.number("high"));
    let title = format!("{metric} {} {}", digits(value), if signed { signed_bounds(score) } else { bounds(score) });
    whisker(&title, value, interval, ends, series, signed)
}
