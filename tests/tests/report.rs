//! The page that a run leaves, and the commands around it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use retune_tests::{FOUR_STEPS, Random, Workplace, assert_has, people, signal, wait_for};

/// A name that ends a script, opens an element and closes an attribute.
const HOSTILE: &str = "</script><img src=x onerror='alert(1)'>";

/// What a page shows of it.
const ESCAPED: &str = "&lt;/script&gt;&lt;img src=x";

/// Nothing of the page comes from elsewhere, runs, or is markup that somebody else wrote.
fn check(page: &str) {
    let addresses = page.replace("http://www.w3.org/2000/svg", "");
    for forbidden in ["http://", "https://", "<script", "<img src=x", "<link", "@import", "url("] {
        assert!(!addresses.contains(forbidden), "the page holds `{forbidden}`");
    }
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("default-src 'none'") && page.ends_with("</html>"));
}

fn sections(page: &str) -> Vec<&str> {
    let starts = page.match_indices("<section id=\"");
    starts.map(|(at, start)| page[at + start.len()..].split('"').next().unwrap()).collect()
}

/// The newest run's page.
fn newest(place: &Workplace, pipeline: &str) -> (PathBuf, String) {
    let path = place.newest(pipeline).unwrap().join("report.html");
    let page = place.text(&path);
    check(&page);
    (path, page)
}

#[test]
fn a_run_leaves_a_page_that_can_be_written_again() {
    let place = Workplace::with(FOUR_STEPS);
    place.ok(&["run", "p.yaml"]);
    let (path, page) = newest(&place, "people");
    let all = [
        "result",
        "evaluation",
        "errors",
        "importance",
        "tuning",
        "search",
        "features",
        "steps",
        "data",
        "pipeline",
        "repeat",
    ];
    assert_eq!(sections(&page), all);
    for text in [
        "Confusion matrix",
        "ROC curve",
        "Calibration",
        "Leaderboard",
        "retune run p.yaml",
        "people.csv",
        "BLAKE3",
        "f1_macro",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // Every plot has a name and every region that scrolls can be reached.
    assert_eq!(page.matches("role=\"img\"").count(), page.matches("role=\"img\" aria-label=\"").count());
    assert_eq!(
        page.matches("<div class=\"scroll\"").count(),
        page.matches("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"").count()
    );

    std::fs::remove_file(place.path(&path)).unwrap();
    let said = place.ok(&["report", "people"]);
    assert_has(&said, &["report.html"]);
    assert_eq!(place.text(&path), page);
    place.ok(&["report", "runs/people/latest", "-o", "page.html"]);
    assert_eq!(place.text("page.html"), page);
    assert_eq!(place.ok(&["report", "people", "-o", "-"]), page);
    assert_has(&place.fails(4, &["report", "nobody"]), &["no run at nobody", "help"]);

    // What is cached is shown, too, and computed alike.
    place.ok(&["run", "p.yaml"]);
    let (_, again) = newest(&place, "people");
    assert_eq!(sections(&again), all);
    assert_has(&again, &["6 of 6", "cached"]);
    let seen =
        |page: &str| page.split("id=\"evaluation\"").nth(1).unwrap().split("id=\"tuning\"").next().unwrap().to_owned();
    assert_eq!(seen(&page), seen(&again));
}

#[test]
fn names_and_values_of_the_data_are_text() {
    let place = Workplace::new();
    let mut random = Random(3);
    let mut table = format!("\"{HOSTILE}\",size,label\n");
    for row in 0..160 {
        let size = random.next_unit();
        let label = if size + 0.3 * random.next_unit() > 0.6 { format!("\"{HOSTILE} yes\"") } else { "no".to_owned() };
        writeln!(table, "\"{HOSTILE} {}\",{size:.3},{label}", row % 3).unwrap();
    }
    place.write("hostile.csv", table);
    place.write(
        "p.yaml",
        format!(
            "version: 1
name: hostile
data: {{ path: hostile.csv, target: label, columns: {{ \"{HOSTILE}\": categorical }}, split: {{ validation: 0.2, test: 0.3 }} }}
stages:
  - id: prepare
    uses: preprocessing
    with: {{ steps: [ one_hot: {{}} ] }}
  - id: features
    uses: feature-selection
    with: {{ steps: [ variance_threshold: {{}} ] }}
  - id: model
    uses: model-selection
    with: {{ folds: 2, search: {{ trials: 1 }}, candidates: [ logistic_regression: {{}} ] }}
"
        ),
    );
    place.ok(&["run", "p.yaml"]);
    let (_, page) = newest(&place, "hostile");
    assert!(page.matches(ESCAPED).count() > 10, "{}", page.matches(ESCAPED).count());
    let svg = place.ok(&["graph", "p.yaml", "--format", "svg"]);
    assert_has(&svg, &["<svg", "prepare", "evaluate model", "</svg>"]);
}

#[test]
fn runs_that_fail_or_are_stopped_have_a_page() {
    let place = Workplace::with(&FOUR_STEPS.replace("people.csv", "cut.csv"));
    // One label only: the search fails, what is before it does not.
    let text = people(150).replace(",no\n", ",yes\n");
    place.write("cut.csv", text);
    let output = place.run(&["run", "p.yaml"]);
    assert_ne!(output.code, 0);
    let (_, page) = newest(&place, "people");
    assert_has(&page, &["failed", "id=\"result\"", "id=\"pipeline\"", "did not run"]);

    place.write("slow.yaml", FOUR_STEPS.replace("trials: ", "trials: 30").replace("name: people", "name: slow"));
    let mut run = place.command(&["run", "slow.yaml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let searches = || {
        let journal = place.newest("slow").map(|run| place.path(run).join("journal.jsonl"));
        journal
            .and_then(|path| std::fs::read_to_string(path).ok())
            .is_some_and(|text| text.contains("\"stage_started\",\"stage\":\"model\""))
    };
    assert!(wait_for(Duration::from_secs(60), searches));
    signal(run.id(), "TERM");
    run.wait().unwrap();
    let (_, page) = newest(&place, "slow");
    assert_has(&page, &["interrupted", "goes on from there", "id=\"steps\"", "id=\"data\"", "did not run"]);
}

#[test]
fn two_runs_are_compared() {
    let place = Workplace::with(FOUR_STEPS);
    place.ok(&["run", "p.yaml"]);
    place.write("q.yaml", FOUR_STEPS.replace("name: people", "name: others").replace("seed: ", "seed: 1"));
    place.ok(&["run", "q.yaml"]);
    let said = place.ok(&["compare", "people", "others", "--html", "compared.html"]);
    assert_has(
        &said,
        &["- name: people", "+ name: others", "best of the leaderboard", "f1_macro", "difference", "compared.html"],
    );
    let page = place.text("compared.html");
    check(&page);
    assert_eq!(sections(&page), ["runs", "scores", "search", "yaml"]);
    let json: serde_json::Value = serde_json::from_str(&place.ok(&["compare", "people", "people", "--json"])).unwrap();
    assert_eq!(json["yaml"].as_array().unwrap().len(), 0);
    assert!(json["scores"].as_array().unwrap().iter().all(|score| score["difference"] == 0.0));
    assert_has(&place.ok(&["compare", "people", "people"]), &["the same, defaults included"]);
    assert_has(&place.fails(4, &["compare", "people", "nobody"]), &["no run at nobody"]);
}
