//! How the model errs: confusion, curves, calibration, residuals; and what it depends on.

use maud::{Markup, html};
use serde_json::Value;

use super::headed;
use crate::numbers::{count, digits, percent, plus, short};
use crate::page::{Section, Table, figure, grid, text};
use crate::plot::{Axis, Lines, N_COLOURS, Series, Style, histogram};
use crate::run::{Look, Run};

/// Labels of a matrix that is still read as one.
const MOST_LABELS: usize = 24;

/// Rows of a table under a plot.
const MOST_ROWS: usize = 60;

pub fn section(run: &Run) -> Option<Section> {
    let several = run.results().len() > 1;
    let mut parts = Vec::new();
    for (result, evaluation) in run.results().iter().zip(&run.evaluations) {
        let mut figures = vec![];
        figures.extend(curves(evaluation));
        figures.extend(calibration(evaluation));
        figures.extend(residuals(evaluation));
        let confusion = confusion(result);
        if confusion.is_some() || !figures.is_empty() {
            let body = html! { @if let Some(confusion) = confusion { (confusion) } @if !figures.is_empty() { (grid(&figures)) } };
            parts.push(headed(several, result.text("stage"), &body));
        }
    }
    let lead = "On the rows that were set aside for the test, by the model that was kept.";
    (!parts.is_empty())
        .then(|| Section::new("evaluation", "How it errs", html! { @for part in parts { (part) } }).lead(lead))
}

fn confusion(result: &Value) -> Option<Markup> {
    let labels: Vec<&str> = result.items("labels").iter().filter_map(Value::as_str).collect();
    let counts: Vec<Vec<u64>> = result
        .items("confusion")
        .iter()
        .map(|row| row.as_array().into_iter().flatten().map(|cell| cell.as_u64().unwrap_or_default()).collect())
        .collect();
    if labels.is_empty() || counts.len() != labels.len() || counts.iter().any(|row| row.len() != labels.len()) {
        return None;
    }
    let mut mistakes: Vec<(u64, usize, usize)> = Vec::new();
    for (truth, row) in counts.iter().enumerate() {
        mistakes.extend(
            row.iter().enumerate().filter(|&(label, &n)| label != truth && n > 0).map(|(label, &n)| (n, truth, label)),
        );
    }
    mistakes.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let mut table = Table::new("Most frequent confusions", ["truth", "taken for", "rows", "of the truth's rows"], 2);
    for &(n, truth, label) in mistakes.iter().take(20) {
        let of: u64 = counts[truth].iter().sum();
        table.row([labels[truth], labels[label], &count(n), &percent(n as f64 / of.max(1) as f64)]);
    }
    let table = table.of(mistakes.len());
    Some(html! {
        div.card {
            h3 { "Confusion matrix" }
            @if labels.len() <= MOST_LABELS {
                p.note { "Rows are the truth, columns what was predicted; the deeper the colour, the larger the share of the truth's rows." }
                (matrix(&labels, &counts))
                (table.folded("Most frequent confusions"))
            } @else {
                p.note { (labels.len()) " labels are too many for a matrix; these are the most frequent confusions." }
                (table.draw())
            }
        }
    })
}

fn matrix(labels: &[&str], counts: &[Vec<u64>]) -> Markup {
    html! {
        div.scroll role="region" tabindex="0" aria-label="Confusion matrix" {
            table.confusion {
                caption.hidden { "Rows by true label and predicted label" }
                thead {
                    tr { th scope="col" { "truth ↓ predicted →" } @for label in labels { th scope="col" { (label) } } th scope="col" { "found" } }
                }
                tbody {
                    @for (truth, row) in counts.iter().enumerate() {
                        @let all: u64 = row.iter().sum();
                        tr {
                            th scope="row" { (labels[truth]) }
                            @for (label, &n) in row.iter().enumerate() {
                                @let share = if all > 0 { n as f64 / all as f64 } else { 0.0 };
                                td class=[(n == 0).then_some("zero")] style=(format!("--v:{share:.3};--c:var(--s{})", usize::from(label != truth))) { (count(n)) }
                            }
                            td style="--v:0" { (if all > 0 { percent(row[truth] as f64 / all as f64) } else { "-".to_owned() }) }
                        }
                    }
                }
            }
        }
    }
}

fn pairs(value: &Value, key: &str) -> Vec<(f64, f64)> {
    let number = |pair: &Value, at: usize| pair.get(at).and_then(Value::as_f64).unwrap_or(f64::NAN);
    value.items(key).iter().map(|pair| (number(pair, 0), number(pair, 1))).collect()
}

/// What a curve is of: of the one positive label its model, else its label.
fn name_of(curve: &Value, by_model: bool) -> String {
    if by_model { curve.text("model").to_owned() } else { curve.text("label").to_owned() }
}

fn curves(evaluation: &Value) -> Vec<Markup> {
    let curves = evaluation.items("curves");
    if curves.is_empty() {
        return Vec::new();
    }
    let by_model = curves.iter().all(|curve| curve.text("label") == curves[0].text("label"));
    let positive = if by_model {
        format!(" for `{}`", curves[0].text("label"))
    } else {
        ", one label against the others".to_owned()
    };
    // Of the base the line is dashed; of many labels those that would have the colour of another one.
    let is_dashed = |place: usize| if by_model { place == 0 && curves.len() > 1 } else { place >= N_COLOURS };
    let style = |place: usize| if is_dashed(place) { Style::Dashed } else { Style::Line };
    let left_out = evaluation.whole("labels_left_out");
    let more = if left_out > 0 { format!(" {left_out} rarer labels are left out.") } else { String::new() };
    let plot = |key: &str, title: &str, x: Axis, y: Axis, diagonal: bool| {
        let series = curves.iter().enumerate().map(|(place, curve)| {
            Series::line(name_of(curve, by_model), pairs(curve, key), place).styled(style(place))
        });
        Lines { title: title.to_owned(), x, y, series: series.collect(), diagonal }
    };
    let table = |key: &str, axes: [&str; 2], score: &str, word: &str| {
        let mut summary = Table::new(format!("{word} by label"), ["label", "model", "positive rows", word], 2);
        for curve in curves {
            let area = curve.number(score).map_or_else(|| "-".to_owned(), digits);
            summary.row([curve.text("label"), curve.text("model"), &count(curve.whole("positive")), &area]);
        }
        let mut points = Table::new(format!("Points of the {word} curves"), ["of", axes[0], axes[1]], 1);
        for curve in curves {
            let all = pairs(curve, key);
            for (x, y) in all.iter().step_by(all.len().div_ceil(12).max(1)) {
                points.row([name_of(curve, by_model), digits(*x), digits(*y)]);
            }
        }
        (summary, points)
    };
    let mut figures = Vec::new();
    for (key, heading, axes, score, word, diagonal) in [
        ("roc", "ROC curve", ["false positive rate", "true positive rate"], "auc", "area under ROC", true),
        (
            "precision_recall",
            "Precision and recall",
            ["recall", "precision"],
            "average_precision",
            "average precision",
            false,
        ),
    ] {
        let lines = plot(key, heading, Axis::share(axes[0]), Axis::share(axes[1]), diagonal);
        let (summary, points) = table(key, axes, score, word);
        let Some(drawn) = lines.draw() else { continue };
        figures.push(html! {
            figure.card {
                figcaption { h3 { (heading) } p.note { (heading) (positive) "." (more) } }
                (drawn)
                (lines.legend())
                (summary.folded("Areas"))
                (points.limited(160).folded("Points"))
            }
        });
    }
    figures
}

fn calibration(evaluation: &Value) -> Option<Markup> {
    let models = evaluation.items("calibration");
    let mut table = Table::new("Calibration", ["model", "said", "was right", "rows"], 1);
    let mut series = Vec::new();
    for (place, model) in models.iter().enumerate() {
        let [predicted, observed, rows] = ["predicted", "observed", "rows"].map(|key| model.numbers(key));
        for ((predicted, observed), rows) in predicted.iter().zip(&observed).zip(&rows) {
            table.row([model.text("model").to_owned(), digits(*predicted), digits(*observed), short(*rows)]);
        }
        let name = match model.number("error") {
            Some(error) => format!("{}, expected error {}", model.text("model"), digits(error)),
            None => model.text("model").to_owned(),
        };
        series.push(Series::line(name, predicted.into_iter().zip(observed).collect(), place).styled(Style::DottedLine));
    }
    let said = models.first().map_or("", |model| model.text("of"));
    let lines = Lines {
        title: "Calibration".to_owned(),
        x: Axis::share("probability"),
        y: Axis::share("share that was so"),
        series,
        diagonal: true,
    };
    let note = format!(
        "How often it was so, where the model said it with a probability ({said}). On the dashed line, probabilities mean what they say."
    );
    let drawn = lines.draw()?;
    Some(html! {
        figure.card {
            figcaption { h3 { "Calibration" } p.note { (note) } }
            (drawn)
            // A single model's error is worth saying, too.
            @if lines.series.len() == 1 { p.note { (lines.series[0].name) } } @else { (lines.legend()) }
            (table.folded("Table"))
        }
    })
}

fn residuals(evaluation: &Value) -> Vec<Markup> {
    let Some(residuals) = evaluation.get("residuals").filter(|residuals| !residuals.is_null()) else {
        return Vec::new();
    };
    let (edges, counts) = (residuals.numbers("edges"), residuals.numbers("counts"));
    let mut table = Table::new("Residuals", ["from", "to", "rows"], 0);
    for (edge, n) in edges.windows(2).zip(&counts) {
        table.row([digits(edge[0]), digits(edge[1]), short(*n)]);
    }
    let title = "Residuals: truth minus prediction";
    let spread = figure(
        "Residuals",
        "Truth minus prediction.",
        histogram(title, Axis::of("truth minus prediction"), &edges, &counts),
        &html! {},
        &table,
    );
    let points = pairs(residuals, "points");
    let mut table = Table::new("Truth and prediction", ["truth", "prediction"], 0);
    points.iter().for_each(|(truth, predicted)| table.row([digits(*truth), digits(*predicted)]));
    let shown = points.len();
    let lines = Lines {
        title: "Prediction against truth".to_owned(),
        x: Axis::of("truth"),
        y: Axis::of("prediction"),
        series: vec![Series::line("", points, 0).styled(Style::Dots)],
        diagonal: true,
    };
    let note =
        format!("{shown} of {} rows. On the dashed line, the prediction is right.", count(residuals.whole("rows")));
    vec![spread, figure("Prediction against truth", &note, lines.draw(), &html! {}, &table.limited(MOST_ROWS))]
}

/// What the score loses when a column is shuffled.
pub fn importance(run: &Run) -> Option<Section> {
    let several = run.results().len() > 1;
    let mut parts = Vec::new();
    for (result, evaluation) in run.results().iter().zip(&run.evaluations) {
        let Some(importance) = evaluation.get("importance") else { continue };
        let features = importance.items("features");
        let left_out = importance.text("left_out");
        if features.is_empty() && left_out.is_empty() {
            continue;
        }
        let most = features
            .iter()
            .filter_map(|feature| feature.number("importance"))
            .fold(0.0_f64, |most, value| most.max(value.abs()));
        let mut table = Table::new("Importance of the columns", ["column", "in words", "loss", ""], 2);
        for feature in features {
            let value = feature.number("importance").unwrap_or_default();
            let share = if most > 0.0 { value.abs() / most } else { 0.0 };
            let between = match (feature.number("low"), feature.number("high")) {
                (Some(low), Some(high)) => format!("[{}, {}]", plus(low), plus(high)),
                _ => String::new(),
            };
            table.cells(vec![
                html! { (feature.text("name")) },
                text(feature.text("reason")),
                html! { (plus(value)) " " span.range { (between) } },
                html! { span.bar.minus[value < 0.0] aria-hidden="true" { span style=(format!("--v:{share:.3}")) {} } },
            ]);
        }
        let body = html! {
            div.card {
                @if left_out.is_empty() {
                    p.note {
                        "What " (importance.text("metric")) " (" (importance.number("score").map_or_else(String::new, digits)) ") loses where a column is shuffled: the mean of "
                        (importance.whole("repeats")) " shuffles of " (count(importance.whole("n_rows"))) " rows, with 95 % intervals."
                    }
                    (table.limited(40).draw())
                } @else { p.note { (left_out) } }
            }
        };
        parts.push(headed(several, result.text("stage"), &body));
    }
    let lead = "Permutation importance of the columns of the data, before any step. Columns that say the same share what both would lose.";
    (!parts.is_empty())
        .then(|| Section::new("importance", "What it depends on", html! { @for part in parts { (part) } }).lead(lead))
}
