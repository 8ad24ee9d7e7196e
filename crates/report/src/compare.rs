//! Two runs side by side.

use maud::{Markup, html};
use retune_spec::Metric;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use crate::numbers::{digits, plus, seconds};
use crate::page::{Section, Table};
use crate::plot::whisker;
use crate::run::{Look, Run};

/// Lines around a difference.
const CONTEXT: usize = 2;

/// Two runs.
pub struct Comparison {
    runs: [Run; 2],
}

/// A line of the pipelines, as `diff` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// In both.
    Same(String),
    /// In the first alone.
    First(String),
    /// In the second alone.
    Second(String),
    /// Lines that are the same are left out here.
    Gap,
}

/// A score of both.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The stage whose model is scored: in both, or `first / second`.
    pub stage: String,
    /// The score's word.
    pub metric: String,
    /// Value and interval of each.
    pub scores: [Option<Score>; 2],
}

/// A score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The score.
    pub value: f64,
    /// Where it lies with the confidence of its run.
    pub interval: Option<(f64, f64)>,
}

impl Score {
    /// As text: `0.8812 [0.87, 0.89]`.
    pub fn in_words(self) -> String {
        match self.interval {
            Some((low, high)) => format!("{} [{}, {}]", digits(self.value), digits(low), digits(high)),
            None => digits(self.value),
        }
    }

    fn json(self) -> Value {
        json!({ "value": self.value, "low": self.interval.map(|interval| interval.0), "high": self.interval.map(|interval| interval.1) })
    }
}

impl Pair {
    /// The second minus the first.
    pub fn difference(&self) -> Option<f64> {
        Some(self.scores[1]?.value - self.scores[0]?.value)
    }

    /// Whether the intervals lie apart, which chance hardly explains. That they overlap says little: the rows may be the same.
    pub fn lies_apart(&self) -> Option<bool> {
        let [(a_low, a_high), (b_low, b_high)] = [self.scores[0]?.interval?, self.scores[1]?.interval?];
        Some(a_high < b_low || b_high < a_low)
    }
}

impl Comparison {
    /// Of two runs.
    pub fn new(first: Run, second: Run) -> Self {
        Self { runs: [first, second] }
    }

    /// What the runs are called: by their times, and by their pipelines where these differ.
    pub fn names(&self) -> [String; 2] {
        let [a, b] = self.runs.each_ref().map(|run| run.summary.text("pipeline"));
        self.runs
            .each_ref()
            .map(|run| if a == b { run.name() } else { format!("{} {}", run.summary.text("pipeline"), run.name()) })
    }

    /// The names of the pipelines, or of the one that both are of.
    pub(crate) fn pipelines(&self) -> String {
        let [a, b] = self.runs.each_ref().map(|run| run.summary.text("pipeline"));
        if a == b { a.to_owned() } else { format!("{a} and {b}") }
    }

    /// How the pipelines differ, with every default written out.
    pub fn yaml(&self) -> Vec<Difference> {
        let diff = TextDiff::from_lines(self.runs[0].yaml.as_str(), self.runs[1].yaml.as_str());
        let mut lines = Vec::new();
        for (number, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
            if number > 0 {
                lines.push(Difference::Gap);
            }
            for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                let text = change.value().trim_end_matches('\n').to_owned();
                lines.push(match change.tag() {
                    ChangeTag::Equal => Difference::Same(text),
                    ChangeTag::Delete => Difference::First(text),
                    ChangeTag::Insert => Difference::Second(text),
                });
            }
        }
        lines
    }

    /// Every score of the kept models, of those stages that both runs score; where no name is in both, those at the same place.
    pub fn scores(&self) -> Vec<Pair> {
        let [a, b] = self.runs.each_ref().map(Run::results);
        let same = |result: &Value| b.iter().find(|other| other.text("stage") == result.text("stage"));
        let mut partners: Vec<(&Value, &Value)> = a.iter().filter_map(|result| Some((result, same(result)?))).collect();
        if partners.is_empty() {
            partners = a.iter().zip(b).collect();
        }
        let mut pairs = Vec::new();
        for (a, b) in partners {
            let stage = if a.text("stage") == b.text("stage") {
                a.text("stage").to_owned()
            } else {
                format!("{} / {}", a.text("stage"), b.text("stage"))
            };
            let scores = |result: &Value| {
                result
                    .items("models")
                    .last()
                    .and_then(|model| model.get("scores")?.as_object().cloned())
                    .unwrap_or_default()
            };
            let both = [scores(a), scores(b)];
            let further = both[1].keys().filter(|metric| !both[0].contains_key(*metric));
            for metric in both[0].keys().chain(further) {
                let score = |of: &serde_json::Map<String, Value>| {
                    let score = of.get(metric)?;
                    Some(Score {
                        value: score.number("value")?,
                        interval: score.number("low").zip(score.number("high")),
                    })
                };
                pairs.push(Pair { stage: stage.clone(), metric: metric.clone(), scores: both.each_ref().map(score) });
            }
        }
        pairs
    }

    /// For each run the best trial of each of its searches: stage, family, values and score.
    pub fn best(&self) -> [Vec<[String; 4]>; 2] {
        self.runs.each_ref().map(|run| {
            let best = |stage: &crate::run::Stage| {
                let details = stage.report.get("details")?;
                let first = details.items("leaderboard").first()?;
                let mean = first.number("mean").map_or_else(|| "-".to_owned(), digits);
                Some([
                    stage.name.clone(),
                    first.text("family").to_owned(),
                    first.text("values").to_owned(),
                    format!("{} {mean}", details.text("metric")),
                ])
            };
            run.stages.iter().filter_map(best).collect()
        })
    }

    /// For each run its status and how long it took.
    pub fn facts(&self) -> [[String; 2]; 2] {
        self.runs.each_ref().map(|run| {
            [run.summary.text("status").to_owned(), seconds(run.summary.number("seconds").unwrap_or_default())]
        })
    }

    /// All of it as JSON.
    pub fn json(&self) -> Value {
        let yaml = self.yaml().into_iter().filter_map(|line| match line {
            Difference::First(text) => Some(json!({ "in": "first", "line": text })),
            Difference::Second(text) => Some(json!({ "in": "second", "line": text })),
            Difference::Same(_) | Difference::Gap => None,
        });
        let scores = self.scores().into_iter().map(|pair| {
            let [a, b] = pair.scores.map(|score| score.map(Score::json));
            json!({ "stage": pair.stage, "metric": pair.metric, "first": a, "second": b, "difference": pair.difference(), "intervals_apart": pair.lies_apart() })
        });
        let best = self.best().map(|best| {
            best.into_iter()
                .map(|[stage, family, values, score]| json!({ "stage": stage, "family": family, "values": values, "score": score }))
                .collect::<Vec<_>>()
        });
        let names = self.names();
        json!({
            "runs": self.runs.each_ref().map(|run| json!({
                "folder": run.folder, "pipeline": run.summary.text("pipeline"), "status": run.summary.text("status"), "seconds": run.summary.number("seconds"),
            })),
            "names": names,
            "yaml": yaml.collect::<Vec<_>>(),
            "scores": scores.collect::<Vec<_>>(),
            "best": best,
        })
    }

    pub(crate) fn sections(&self) -> Vec<Section> {
        let mut sections = vec![Section::new("runs", "Runs", self.overview())];
        let pairs = self.scores();
        if !pairs.is_empty() {
            let lead = "Of the model that each run kept, on its own test rows; lines share a scale within a row.";
            sections.push(Section::new("scores", "Scores", self.score_tables(&pairs)).lead(lead));
        }
        if self.best().iter().any(|best| !best.is_empty()) {
            sections.push(Section::new("search", "Best of the leaderboard", self.best_table()));
        }
        sections.push(Section::new("yaml", "What was asked", differences(&self.yaml())));
        sections
    }

    fn overview(&self) -> Markup {
        let mut table = Table::new("Runs", ["run", "pipeline", "status", "took"], 3);
        for ((run, name), [status, took]) in self.runs.iter().zip(self.names()).zip(self.facts()) {
            table.row([name, run.summary.text("pipeline").to_owned(), status, took]);
        }
        html! { div.card { (table.draw()) } }
    }

    fn score_tables(&self, pairs: &[Pair]) -> Markup {
        let is_headline = |pair: &&Pair| Metric::from_word(&pair.metric).is_none_or(Metric::is_headline);
        let (shown, further): (Vec<&Pair>, Vec<&Pair>) = pairs.iter().partition(is_headline);
        html! {
            div.card {
                (self.score_table("Scores", &shown).draw())
                (self.score_table("Further scores", &further).folded(&format!("{} more scores", further.len())))
            }
        }
    }

    fn score_table(&self, caption: &str, pairs: &[&Pair]) -> Table {
        let [a, b] = self.names();
        let mut table = Table::new(caption, ["score", "stage", &a, &b, "intervals", "difference"], 2);
        for pair in pairs {
            let ends = pair.scores.iter().flatten().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), score| {
                let (low, high) = score.interval.unwrap_or((score.value, score.value));
                (least.min(low), most.max(high))
            });
            let written = |score: Option<Score>| score.map_or_else(|| "-".to_owned(), Score::in_words);
            let drawn = |(series, score): (usize, &Score)| {
                let title = format!("{} {}", pair.metric, score.in_words());
                whisker(&title, score.value, score.interval, ends, series, false)
            };
            let lines = pair.scores.iter().enumerate().filter_map(|(series, score)| Some((series, score.as_ref()?)));
            table.cells(vec![
                html! { (pair.metric) },
                html! { (pair.stage) },
                html! { (written(pair.scores[0])) },
                html! { (written(pair.scores[1])) },
                html! { @for line in lines { (drawn(line)) } },
                html! {
                    (pair.difference().map_or_else(|| "-".to_owned(), plus))
                    @if pair.lies_apart() == Some(true) { " " span.range { "intervals apart" } }
                },
            ]);
        }
        table
    }

    fn best_table(&self) -> Markup {
        let mut table = Table::new("Best trials", ["run", "stage", "family", "values", "score"], 4);
        for (name, best) in self.names().iter().zip(self.best()) {
            for [stage, family, values, score] in best {
                table.row([name.clone(), stage, family, values, score]);
            }
        }
        html! { div.card { (table.draw()) } }
    }
}

fn differences(lines: &[Difference]) -> Markup {
    html! {
        @if lines.is_empty() { p { "The pipelines are the same, defaults included." } }
        @else {
            pre tabindex="0" role="region" aria-label="Differences of the pipelines" {
                @for line in lines {
                    @match line {
                        Difference::Same(text) => { "  " (text) "\n" },
                        Difference::First(text) => { span.del { "- " (text) } },
                        Difference::Second(text) => { span.add { "+ " (text) } },
                        Difference::Gap => { span.c { "  ...\n" } },
                    }
                }
            }
        }
    }
}
