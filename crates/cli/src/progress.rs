//! How a run looks while it runs: bars on a terminal, lines or JSON lines elsewhere.

use std::time::Duration;

use indexmap::IndexMap;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle as Style};
use retune_pipeline::{Event, Listener};
use retune_protocol::Level;

use crate::arguments::ProgressStyle;
use crate::output::{self, ERROR, GOOD, QUIET, STRONG, WARNING};

/// Whoever shows progress in a style.
pub fn listener(style: ProgressStyle) -> Box<dyn Listener> {
    match style {
        ProgressStyle::Bars => Box::new(Bars::default()),
        ProgressStyle::Auto if output::is_interactive() => Box::new(Bars::default()),
        ProgressStyle::Auto | ProgressStyle::Lines => Box::new(|event: &Event| {
            if let Some(text) = in_words(event) {
                output::note(&text);
            }
        }),
        ProgressStyle::Json => Box::new(|event: &Event| {
            if let Ok(json) = serde_json::to_string(event) {
                output::note(&json);
            }
        }),
        // What failed is no progress: without it only the exit code would tell.
        ProgressStyle::None => Box::new(|event: &Event| {
            if let (Event::StageFailed { .. }, Some(text)) = (event, in_words(event)) {
                output::note(&text);
            }
        }),
    }
}

/// A line for everything but progress within a stage.
fn in_words(event: &Event) -> Option<String> {
    Some(match event {
        Event::RunStarted { .. } | Event::Progress { .. } | Event::RunFinished { .. } => return None,
        Event::StageCached { stage, .. } => format!("{QUIET}  cached{QUIET:#}  {stage}"),
        Event::StageStarted { stage, reason, .. } => {
            format!("{STRONG} running{STRONG:#}  {stage} {QUIET}({reason}){QUIET:#}")
        }
        Event::StageFinished { stage, seconds, summary } => {
            format!("{GOOD}    done{GOOD:#}  {stage} {QUIET}in {}{QUIET:#}  {summary}", duration(*seconds))
        }
        Event::StageFailed { stage, failure } => {
            let help = failure
                .help
                .as_deref()
                .map(|help| format!("\n          {STRONG}help{STRONG:#}: {help}"))
                .unwrap_or_default();
            format!("{ERROR}  failed{ERROR:#}  {stage}: {}{help}", failure.message)
        }
        Event::StageSkipped { stage, because } => {
            format!("{WARNING} skipped{WARNING:#}  {stage} {QUIET}(`{because}` failed){QUIET:#}")
        }
        Event::Message { stage, level: Level::Warning, text } => {
            format!("{WARNING} warning{WARNING:#}  {stage}: {text}")
        }
        Event::Message { stage, level: Level::Info, text } => format!("{QUIET}    note{QUIET:#}  {stage}: {text}"),
    })
}

/// Seconds for people: `0.8 s`, `72 s`, `3 min 5 s`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.1 => format!("{:.0} ms", seconds * 1000.0),
        seconds if seconds < 10.0 => format!("{seconds:.1} s"),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds => format!("{} min {:.0} s", (seconds / 60.0).floor(), seconds % 60.0),
    }
}

/// A spinner or a bar for each stage that runs; lines above for what is over.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    bars: IndexMap<String, ProgressBar>,
}

impl Listener for Bars {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::StageStarted { stage, .. } => {
                let bar = self.all.add(ProgressBar::new_spinner()).with_message(stage.clone());
                bar.set_style(style(" {spinner} {msg}  {elapsed}"));
                bar.enable_steady_tick(Duration::from_millis(100));
                self.bars.insert(stage.clone(), bar);
            }
            Event::Progress { stage, phase, done, total } => self.show_progress(stage, phase, *done, *total),
            Event::StageFinished { stage, .. } | Event::StageFailed { stage, .. } => {
                if let Some(bar) = self.bars.shift_remove(stage) {
                    bar.finish_and_clear();
                }
                self.say(event);
            }
            Event::RunFinished { .. } => self.bars.drain(..).for_each(|(_, bar)| bar.finish_and_clear()),
            _ => self.say(event),
        }
    }
}

impl Bars {
    fn say(&self, event: &Event) {
        if let Some(text) = in_words(event) {
            // Above the bars, so that they stay in one piece.
            self.all.suspend(|| output::note(&text));
        }
    }

    fn show_progress(&self, stage: &str, phase: &str, done: u64, total: Option<u64>) {
        let Some(bar) = self.bars.get(stage) else { return };
        bar.set_message(format!("{stage}: {phase}"));
        if let Some(total) = total {
            bar.set_style(style(" {spinner} {msg}  {bar:30} {pos}/{len}  {elapsed}"));
            bar.set_length(total);
            bar.set_position(done);
        } else {
            bar.set_style(style(" {spinner} {msg}  {elapsed}"));
        }
    }
}

fn style(template: &str) -> Style {
    Style::with_template(template).unwrap_or_else(|_| Style::default_spinner())
}
