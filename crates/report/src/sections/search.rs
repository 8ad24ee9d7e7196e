//! The search for a model: leaderboard, history, and what values the trials had.

use std::collections::BTreeMap;

use maud::{Markup, html};
use retune_spec::Metric;
use serde_json::{Map, Value};

use super::headed;
use crate::numbers::{count, digits, seconds, short};
use crate::page::{Section, Table, badge, figure, grid, text};
use crate::plot::{Axis, Lines, Series, Style, parallel, whisker};
use crate::run::{Look, Run, Stage};

/// Rows of the leaderboard that are shown.
const MOST_ROWS: usize = 200;

/// Rows that are shown at once; the others are folded.
const OPEN: usize = 12;

/// Axes of a plot of values.
const MOST_AXES: usize = 9;

pub fn section(run: &Run) -> Option<Section> {
    let searches: Vec<&Stage> =
        run.stages.iter().filter(|stage| !details(stage).items("leaderboard").is_empty()).collect();
    let several = searches.len() > 1;
    let body = html! { @for stage in &searches { (headed(several, &stage.name, &one(stage))) } };
    let lead = "Each candidate was fitted with the whole chain before it on every fold. Intervals are 95 %, corrected for folds that share rows.";
    (!searches.is_empty()).then(|| Section::new("search", "Model search", body).lead(lead))
}

fn details(stage: &Stage) -> &Value {
    stage.report.get("details").unwrap_or(&Value::Null)
}

/// A trial of the leaderboard.
struct Trial<'a> {
    row: &'a Value,
    values: Map<String, Value>,
}

fn one(stage: &Stage) -> Markup {
    let details = details(stage);
    let metric = details.text("metric");
    let trials: Vec<Trial> = details
        .items("leaderboard")
        .iter()
        .map(|row| Trial { row, values: serde_json::from_str(row.text("values")).unwrap_or_default() })
        .collect();
    let families: Vec<&str> = trials.iter().fold(Vec::new(), |mut families, trial| {
        let family = trial.row.text("family");
        if !families.contains(&family) {
            families.push(family);
        }
        families
    });
    let mut figures: Vec<Markup> = history(&trials, &families, metric).into_iter().collect();
    figures.extend(families.iter().filter_map(|family| values(&trials, family, metric)));
    let nested = details.get("nested").and_then(|nested| nested.number("mean"));
    html! {
        @if let Some(mean) = nested {
            p.callout.info { strong { "Nested estimate:" } " the whole search scores " (metric) " " (digits(mean)) " on rows that it has not seen." }
        }
        div.card { h3 { "Leaderboard" } (leaderboard(&trials, metric)) }
        (grid(&figures))
    }
}

fn leaderboard(trials: &[Trial], metric: &str) -> Markup {
    let ends = trials.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), trial| {
        let of = |key: &str| trial.row.number(key).or(trial.row.number("mean"));
        (least.min(of("low").unwrap_or(least)), most.max(of("high").unwrap_or(most)))
    });
    let mut table = Table::new(
        "Leaderboard",
        ["rank", "family", "", "values", metric, "interval", "folds", "fit", "predict", "size"],
        4,
    );
    for trial in trials {
        let row = trial.row;
        let time = |key: &str| row.number(key).map_or_else(|| "-".to_owned(), seconds);
        let mean = row.number("mean");
        let interval = row.number("low").zip(row.number("high"));
        let between = interval.map_or_else(String::new, |(low, high)| format!("[{}, {}]", digits(low), digits(high)));
        let status = row.text("status");
        let is_tied = row.get("tied").and_then(Value::as_bool) == Some(true);
        table.cells(vec![
            html! { (row.whole("rank")) },
            html! { (row.text("family")) },
            html! {
                @if status != "finished" { (badge(if status.starts_with("failed") { "bad" } else { "warn" }, status)) }
                @else if row.whole("rank") == 1 { (badge("good", "best")) }
                @else if is_tied { (badge("info", "not told apart")) }
            },
            text(&in_words(&trial.values)),
            html! { (mean.map_or_else(|| "-".to_owned(), digits)) " " span.range { (between) } },
            html! { @if let Some(mean) = mean { (whisker(&format!("{metric} {} {between}", digits(mean)), mean, interval, ends, 0, false)) } },
            html! { (row.whole("folds")) },
            html! { (time("fit_seconds")) },
            html! { (time("predict_seconds")) },
            html! { (row.number("size").map_or_else(|| "-".to_owned(), short)) },
        ]);
    }
    table.limited(MOST_ROWS).opening(OPEN)
}

fn in_words(values: &Map<String, Value>) -> String {
    let word = |value: &Value| match value {
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), short),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    values.iter().map(|(name, value)| format!("{name} {}", word(value))).collect::<Vec<_>>().join(", ")
}

fn history(trials: &[Trial], families: &[&str], metric: &str) -> Option<Markup> {
    let mut order: Vec<(u64, f64, &str)> = trials
        .iter()
        .filter_map(|trial| Some((trial.row.whole("trial"), trial.row.number("mean")?, trial.row.text("family"))))
        .collect();
    order.sort_by_key(|trial| trial.0);
    if order.len() < 3 {
        return None;
    }
    let greater = is_greater_better(metric);
    let mut best: Option<f64> = None;
    let mut line = Vec::new();
    let mut table = Table::new("Search history", ["trial", "family", metric, "best until then"], 2);
    for &(trial, mean, family) in &order {
        best = Some(best.map_or(mean, |best| if greater { best.max(mean) } else { best.min(mean) }));
        let best = best.unwrap_or(mean);
        line.push(((trial + 1) as f64, best));
        table.row([count(trial + 1), family.to_owned(), digits(mean), digits(best)]);
    }
    let mut series = vec![Series::line("best until then", line, 7)];
    for (place, family) in families.iter().enumerate() {
        let points =
            order.iter().filter(|trial| trial.2 == *family).map(|trial| ((trial.0 + 1) as f64, trial.1)).collect();
        series.push(Series::line(*family, points, place).styled(Style::Dots));
    }
    let lines = Lines {
        title: format!("Search history: {metric} of every trial"),
        x: Axis::whole("trial"),
        y: Axis::of(metric),
        series,
        diagonal: false,
    };
    let note = "The mean over folds; trials that were given up early have fewer of them.";
    Some(figure("Search history", note, lines.draw(), &lines.legend(), &table.limited(MOST_ROWS)))
}

/// What an axis is: of numbers, or of words.
enum Scale {
    Numbers { least: f64, most: f64, is_log: bool },
    Words(Vec<String>),
}

impl Scale {
    fn of(values: &[&Value]) -> Option<Self> {
        let numbers: Vec<f64> = values.iter().filter_map(|value| value.as_f64()).collect();
        if numbers.len() == values.len() {
            let (least, most) =
                numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &value| (a.min(value), b.max(value)));
            return (most > least).then_some(Self::Numbers {
                least,
                most,
                is_log: least > 0.0 && most / least >= 20.0,
            });
        }
        let mut words: Vec<String> = values.iter().map(|value| word(value)).collect();
        words.sort();
        words.dedup();
        (words.len() > 1).then_some(Self::Words(words))
    }

    fn place(&self, value: &Value) -> Option<f64> {
        match self {
            Self::Numbers { least, most, is_log: true } => {
                Some((value.as_f64()?.ln() - least.ln()) / (most.ln() - least.ln()))
            }
            Self::Numbers { least, most, .. } => Some((value.as_f64()? - least) / (most - least)),
            Self::Words(words) => {
                let word = word(value);
                Some(words.iter().position(|other| *other == word)? as f64 / (words.len() - 1) as f64)
            }
        }
    }

    fn ends(&self) -> (String, String) {
        match self {
            Self::Numbers { least, most, .. } => (short(*least), short(*most)),
            Self::Words(words) => {
                (words.first().cloned().unwrap_or_default(), words.last().cloned().unwrap_or_default())
            }
        }
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Parallel coordinates of the trials of a family.
fn values(trials: &[Trial], family: &str, metric: &str) -> Option<Markup> {
    let mut trials: Vec<(&Trial, f64)> = trials
        .iter()
        .filter(|trial| trial.row.text("family") == family)
        .filter_map(|trial| Some((trial, trial.row.number("mean")?)))
        .collect();
    let sign = if is_greater_better(metric) { -1.0 } else { 1.0 };
    trials.sort_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1)));
    let mut names: Vec<&String> = Vec::new();
    for name in trials.iter().flat_map(|(trial, _)| trial.values.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let scales: BTreeMap<&String, Scale> = names
        .iter()
        .filter_map(|name| {
            let values: Vec<&Value> = trials.iter().filter_map(|(trial, _)| trial.values.get(*name)).collect();
            Some((*name, Scale::of(&values)?))
        })
        .collect();
    names.retain(|name| scales.contains_key(name));
    names.truncate(MOST_AXES - 1);
    let scores: Vec<Value> = trials.iter().map(|(_, mean)| Value::from(*mean)).collect();
    let of_scores = Scale::of(&scores.iter().collect::<Vec<_>>());
    let (Some(of_scores), 3.., false) = (of_scores, trials.len(), names.is_empty()) else { return None };
    let mut axes: Vec<(String, String, String)> = Vec::new();
    for name in &names {
        let (least, most) = scales[*name].ends();
        axes.push(((*name).clone(), least, most));
    }
    let (least, most) = of_scores.ends();
    axes.push((metric.to_owned(), least, most));
    let last = trials.len() as f64 - 1.0;
    let rows: Vec<(Vec<Option<f64>>, f64)> = trials
        .iter()
        .enumerate()
        .map(|(rank, (trial, mean))| {
            let mut row: Vec<Option<f64>> =
                names.iter().map(|name| scales[*name].place(trial.values.get(*name)?)).collect();
            row.push(of_scores.place(&Value::from(*mean)));
            (row, 1.0 - rank as f64 / last)
        })
        .collect();
    let title = format!("Values of {family} and what they gave");
    let mut head: Vec<String> = names.iter().map(|name| (*name).clone()).collect();
    head.insert(0, "trial".to_owned());
    head.push(metric.to_owned());
    let mut table = Table::new(title.clone(), head, 1);
    for (trial, mean) in &trials {
        let mut row = vec![(trial.row.whole("trial") + 1).to_string()];
        row.extend(names.iter().map(|name| {
            trial
                .values
                .get(*name)
                .map_or_else(|| "-".to_owned(), |value| value.as_f64().map_or_else(|| word(value), short))
        }));
        row.push(digits(*mean));
        table.row(row);
    }
    let table = table.limited(MOST_ROWS);
    Some(html! {
        figure.card {
            figcaption {
                h3 { "Values of " (family) }
                p.note { "A line for each trial, the best in another colour; the last axis is what it scored." }
            }
            div.scroll role="region" tabindex="0" aria-label=(title) { (parallel(&title, &axes, &rows)) }
            (table.folded("Table"))
        }
    })
}

fn is_greater_better(metric: &str) -> bool {
    Metric::from_word(metric).is_none_or(Metric::greater_is_better)
}
