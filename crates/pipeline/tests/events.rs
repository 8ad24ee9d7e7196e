//! `docs/events.md` and the events are in step.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use retune_pipeline::{Event, RunStatus};
use retune_protocol::{Failure, Level};
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/events.md");

/// One of each. A new event is missing here until the `match` in [`word`] does not compile.
fn every_event() -> Vec<Event> {
    let stage = String::new;
    vec![
        Event::RunStarted { pipeline: stage(), folder: PathBuf::new(), stages: Vec::new() },
        Event::StageCached { stage: stage(), key: stage() },
        Event::StageStarted { stage: stage(), key: stage(), reason: stage() },
        Event::Progress { stage: stage(), phase: stage(), done: 0, total: None },
        Event::Message { stage: stage(), level: Level::Info, text: stage() },
        Event::StageFinished { stage: stage(), seconds: 0.0, summary: stage() },
        Event::StageFailed { stage: stage(), failure: Failure::data("") },
        Event::StageSkipped { stage: stage(), because: stage() },
        Event::RunFinished { status: RunStatus::Done, seconds: 0.0 },
    ]
}

fn word(event: &Event) -> &'static str {
    match event {
        Event::RunStarted { .. } => "run_started",
        Event::StageCached { .. } => "stage_cached",
        Event::StageStarted { .. } => "stage_started",
        Event::Progress { .. } => "progress",
        Event::Message { .. } => "message",
        Event::StageFinished { .. } => "stage_finished",
        Event::StageFailed { .. } => "stage_failed",
        Event::StageSkipped { .. } => "stage_skipped",
        Event::RunFinished { .. } => "run_finished",
    }
}

#[test]
fn every_event_is_documented_with_all_its_keys_and_an_example_that_is_one() {
    let chapters: Vec<(&str, &str)> =
        PAGE.split("\n## `").skip(1).map(|chapter| chapter.split_once("`\n").unwrap()).collect();
    let documented: Vec<&str> = chapters.iter().map(|(name, _)| *name).collect();
    assert_eq!(documented, every_event().iter().map(word).collect::<Vec<_>>());
    for (event, (name, chapter)) in every_event().iter().zip(chapters) {
        let written = serde_json::to_value(event).unwrap();
        assert_eq!(written["event"], name);
        let keys: Vec<&str> = written.as_object().unwrap().keys().map(String::as_str).skip(1).collect();
        let rows: Vec<&str> = chapter.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(rows, keys, "the keys of {name}");
        let example = chapter.split("```json\n").nth(1).and_then(|rest| rest.split("\n```").next()).unwrap();
        let parsed: Event = serde_json::from_str(example).unwrap_or_else(|error| panic!("{name}: {error}\n{example}"));
        assert_eq!(word(&parsed), name);
        // Nothing is in the example that is not in the event, and in the same order.
        assert_eq!(serde_json::to_string(&parsed).unwrap(), example, "{name}");
    }
    for status in [RunStatus::Done, RunStatus::Failed, RunStatus::Interrupted] {
        assert_eq!(serde_json::to_value(status).unwrap(), Value::from(status.word()));
        assert!(PAGE.contains(&format!("`{}`", status.word())));
    }
}
