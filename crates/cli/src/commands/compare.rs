//! `retune compare`.

use retune_report::numbers::plus;
use retune_report::{Comparison, Difference, Score, render_comparison};
use retune_spec::Metric;

use crate::Outcome;
use crate::arguments::Compare;
use crate::commands::report::{read, write};
use crate::exit::Exit;
use crate::output::{self, ERROR, GOOD, QUIET, STRONG};

/// Shows how two runs differ.
pub fn compare(arguments: &Compare) -> Outcome {
    let comparison = Comparison::new(read(&arguments.first)?, read(&arguments.second)?);
    if let Some(path) = &arguments.html {
        write(path, &render_comparison(&comparison))?;
    }
    if arguments.json {
        output::print(&format!("{:#}\n", comparison.json()));
        return Ok(Exit::Done);
    }
    print_runs(&comparison);
    print_yaml(&comparison);
    print_best(&comparison);
    print_scores(&comparison);
    if let Some(path) = &arguments.html {
        output::line(&path.display().to_string());
    }
    Ok(Exit::Done)
}

fn print_runs(comparison: &Comparison) {
    let facts = comparison.names().into_iter().zip(comparison.facts());
    let rows = facts.map(|(name, [status, took])| vec![name, status, took]);
    output::print(&output::table(&["run", "status", "took"], rows.collect(), 2));
}

fn print_yaml(comparison: &Comparison) {
    let lines = comparison.yaml();
    if lines.is_empty() {
        output::line(&format!("{STRONG}pipeline{STRONG:#}: the same, defaults included"));
        return;
    }
    let [first, second] = comparison.names();
    output::line(&format!("{STRONG}pipeline{STRONG:#} {QUIET}- {first}, + {second}{QUIET:#}"));
    for line in lines {
        output::line(&match line {
            Difference::Same(text) => format!("  {text}"),
            Difference::First(text) => format!("{ERROR}- {text}{ERROR:#}"),
            Difference::Second(text) => format!("{GOOD}+ {text}{GOOD:#}"),
            Difference::Gap => format!("{QUIET}  ...{QUIET:#}"),
        });
    }
}

fn print_best(comparison: &Comparison) {
    let best = comparison.names().into_iter().zip(comparison.best());
    let rows =
        best.flat_map(|(name, best)| best.into_iter().map(move |cells| [vec![name.clone()], cells.to_vec()].concat()));
    let rows: Vec<Vec<String>> = rows.collect();
    if !rows.is_empty() {
        output::line(&format!("{STRONG}best of the leaderboard{STRONG:#}"));
        output::print(&output::table(&["run", "stage", "family", "values", "score"], rows, 4));
    }
}

fn print_scores(comparison: &Comparison) {
    let [first, second] = comparison.names();
    let pairs = comparison.scores();
    let is_shown = |word: &str| Metric::from_word(word).is_none_or(Metric::is_headline);
    let hidden = pairs.iter().filter(|pair| !is_shown(&pair.metric)).count();
    let text = |score: Option<Score>| score.map_or_else(|| "-".to_owned(), Score::in_words);
    let rows: Vec<Vec<String>> = pairs
        .iter()
        .filter(|pair| is_shown(&pair.metric))
        .map(|pair| {
            let difference = pair.difference().map_or_else(|| "-".to_owned(), plus);
            let apart = if pair.lies_apart() == Some(true) { "intervals apart" } else { "" };
            let [a, b] = pair.scores.map(text);
            vec![pair.metric.clone(), pair.stage.clone(), a, b, difference, apart.to_owned()]
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    output::line(&format!("{STRONG}scores{STRONG:#} {QUIET}of the models that were kept, with intervals{QUIET:#}"));
    output::print(&output::table(&["metric", "stage", &first, &second, "difference", ""], rows, 2));
    if hidden > 0 {
        output::line(&format!("{QUIET}and {hidden} more scores with `--json`{QUIET:#}"));
    }
}
