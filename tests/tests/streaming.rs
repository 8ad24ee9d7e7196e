//! Tables larger than memory: they are read, learned from, turned and written by pieces, with the bits and the words of those that are not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use retune_tests::{FOUR_STEPS, Output, Random, Workplace, assert_has, people};

/// So many bytes are large: a table of 50 rows.
const SMALL: &str = "2000";

/// The same command, with tables of more than `above` bytes read by pieces.
fn run(place: &Workplace, above: &str, arguments: &[&str]) -> Output {
    let mut command = place.command(arguments);
    command.env("RETUNE_PIECES_ABOVE", above);
    let output = place.finish(command);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    output
}

/// A table of more than one piece: numbers with gaps, levels, a label.
fn rows(n: usize) -> String {
    let mut random = Random(11);
    let mut text = "id,a,b,level,label\n".to_owned();
    for row in 0..n {
        let (a, b, at) = (random.next_unit(), random.next_unit(), random.next_unit());
        let a_text = if row.is_multiple_of(13) { String::new() } else { format!("{a:.5}") };
        let level = ["red", "green", "blue", ""][(at * 4.0) as usize];
        writeln!(text, "p{row},{a_text},{b:.5},{level},{}", if a + b > 1.0 { "yes" } else { "no" }).unwrap();
    }
    text
}

const PREPARE: &str = "
steps:
  - drop_duplicates: { columns: [a, b, level] }
  - impute: { columns: numeric, strategy: median }
  - impute: { columns: categorical, strategy: most_frequent }
  - standard_scale: { columns: numeric }
  - one_hot: { columns: categorical }
";

/// The files of a fitted stage and of what it gives, in each format.
fn fitted_and_applied(above: &str) -> BTreeMap<String, Vec<u8>> {
    let place = Workplace::new();
    place.write("rows.csv", rows(70_000));
    place.write("prepare.yaml", PREPARE);
    let fit = ["stage", "fit", "preprocessing", "--with", "prepare.yaml", "--input", "rows.csv", "--target", "label"];
    run(&place, above, &[&fit[..], &["--output", "fitted"]].concat());
    let mut files = place.files("fitted");
    for name in ["out.parquet", "out.arrow", "out.csv", "out.jsonl"] {
        let apply = ["stage", "apply", "fitted", "--input", "rows.csv", "--output", name];
        assert_has(&run(&place, above, &apply).stdout, &["70000 rows"]);
        files.insert(name.to_owned(), place.read(name));
    }
    files
}

#[test]
fn a_stage_learns_and_turns_by_pieces_what_it_does_in_memory() {
    let (memory, pieces) = (fitted_and_applied("1000000000"), fitted_and_applied(SMALL));
    assert!(memory.keys().eq(pieces.keys()));
    for (name, bytes) in &memory {
        assert!(*bytes == pieces[name], "{name} differs");
    }
}

/// Models need their rows in memory; what is before them does not, and nobody notices.
#[test]
fn a_whole_pipeline_gives_the_same_by_pieces() {
    let results = |above: &str| {
        let place = Workplace::with(FOUR_STEPS);
        run(&place, above, &["run", "p.yaml"]);
        place.write("more.csv", people(60));
        run(&place, above, &["predict", "runs/people/latest", "--input", "more.csv", "--output", "predictions.csv"]);
        let score = run(&place, above, &["evaluate", "runs/people/latest", "--input", "more.csv", "--json"]).stdout;
        (place.results("people"), place.text("predictions.csv"), score)
    };
    let (memory, pieces) = (results("1000000000"), results(SMALL));
    assert_eq!(memory.0.keys().collect::<Vec<_>>(), pieces.0.keys().collect::<Vec<_>>());
    for (name, bytes) in &memory.0 {
        assert!(*bytes == pieces.0[name], "{name} differs");
    }
    assert_eq!((memory.1, memory.2), (pieces.1, pieces.2));
}

#[test]
fn mistakes_in_large_files_are_told_with_their_rows_and_leave_no_output() {
    let place = Workplace::new();
    place.write("rows.csv", rows(2000));
    place.write("prepare.yaml", PREPARE);
    let fit = ["stage", "fit", "preprocessing", "--with", "prepare.yaml", "--input", "rows.csv", "--target", "label"];
    run(&place, SMALL, &[&fit[..], &["--output", "fitted"]].concat());
    place.write("bad.csv", rows(2000).replace("\np1500,", "\np1500,inf").replace("\np1700,", "\np1700,inf"));
    let mut command = place.command(&["stage", "apply", "fitted", "--input", "bad.csv", "--output", "out.parquet"]);
    command.env("RETUNE_PIECES_ABOVE", SMALL);
    let output = place.finish(command);
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert_has(&output.stderr, &["column `a` must be numeric, but holds"]);
    assert!(!place.path("out.parquet").exists());
}

#[test]
fn plan_says_which_steps_need_all_rows() {
    let place = Workplace::with(FOUR_STEPS);
    assert_has(&place.ok(&["plan", "p.yaml"]), &["prepare: read by pieces\n"]);
    let steps = FOUR_STEPS.replace("- one_hot: {}", "- target_encode: {}");
    let place = Workplace::with(&steps.replace("- standard_scale: {}", "- pca: { components: 2 }"));
    let text = "prepare: read by pieces, except step 4 (target_encode)";
    assert_has(&place.ok(&["plan", "p.yaml"]), &[text, "in memory while learning"]);
}
