//! Mistakes in a pipeline file, as the command line shows them. Every message of the language is tested in `retune-spec`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use retune_tests::{Workplace, assert_has};

const SOUND: &str = "version: 1
name: people
data: { path: people.csv, target: likes, id: id }
stages:
  - id: prepare
    uses: preprocessing
    with: { steps: [ impute: {} ] }
  - id: model
    uses: model-selection
    with: { folds: 5, candidates: [ logistic_regression: { l2: 1.0 } ] }
";

#[test]
fn each_mistake_has_its_place() {
    let place = Workplace::with(SOUND);
    place.ok(&["validate", "p.yaml"]);
    let cases = [
        (
            "unknown key",
            "folds: 5",
            "fold: 5",
            "error: unknown key `fold`\n  --> p.yaml:10:13\n",
            "did you mean `folds`?",
        ),
        (
            "duplicate key",
            "name: people",
            "name: people\nname: more",
            "error: the key `name` is given twice\n --> p.yaml:3:1\n",
            "",
        ),
        (
            "wrong type",
            "l2: 1.0",
            "l2: much",
            "error: `l2`: expected a number or a space such as `{ log_uniform: [...] }`, found text `much`\n  --> p.yaml:10:64\n",
            "",
        ),
        (
            "out of range",
            "folds: 5",
            "folds: 1",
            "error: `folds` must be from 2 to 1000, found 1\n  --> p.yaml:10:20\n",
            "",
        ),
        ("not a number", "l2: 1.0", "l2: .nan", "error: `.nan` is not a number\n  --> p.yaml:10:64\n", ""),
        (
            "too large a number",
            "l2: 1.0",
            "l2: 1e400",
            "error: the number `1e400` is too large\n  --> p.yaml:10:64\n",
            "",
        ),
        (
            "alias bomb",
            "version: 1",
            "version: 1\na: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n\
             d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]",
            "error: the aliases of this file expand to more than 100,000 values\n --> p.yaml:6:36\n",
            "a pipeline is small; data belong into data files",
        ),
        (
            "cyclic alias",
            "version: 1",
            "version: 1\nparams: &all { x: *all }",
            "error: `*all` stands for a value that it is part of\n --> p.yaml:2:19\n",
            "",
        ),
        (
            "unknown tag",
            "name: people",
            "name: !!python/object:os.system people",
            "error: unknown tag `!!python/object:os.system`\n --> p.yaml:2:7\n",
            "",
        ),
        (
            "second document",
            "stages:",
            "---\nstages:",
            "error: a second document starts here; a file holds one\n --> p.yaml:4:1\n",
            "",
        ),
        (
            "tabs",
            "  - id: model",
            "\t- id: model",
            "error: a tab cannot indent YAML\n --> p.yaml:8:1\n",
            "indent with spaces",
        ),
        (
            "cyclic inputs",
            "  - id: prepare",
            "  - id: prepare\n    inputs: prepare",
            "error: the stages take their rows from each other: prepare -> prepare\n --> p.yaml:6:13\n",
            "",
        ),
        (
            "unknown stage",
            "  - id: model",
            "  - id: model\n    inputs: prepair",
            "error: no stage `prepair`\n --> p.yaml:9:13\n",
            "did you mean `prepare`?",
        ),
        ("a stage twice", "id: model", "id: prepare", "error: two stages are called `prepare`\n", ""),
        (
            "unknown column",
            "target: likes",
            "target: like",
            "error: no column `like` in people.csv\n --> p.yaml:3:35\n",
            "did you mean `likes`?",
        ),
    ];
    for (case, from, to, words, help) in cases {
        let text = SOUND.replacen(from, to, 1);
        assert_ne!(text, SOUND, "{case}");
        place.write("p.yaml", text);
        // Every command that reads a pipeline says the same.
        let error = place.fails(3, &["validate", "p.yaml"]);
        assert_has(&error, &[words, help, "\n1 error\n"]);
        assert_eq!(place.fails(3, &["run", "p.yaml"]), error, "{case}");
    }
    assert!(!place.path("runs").exists());
}

#[test]
fn five_mistakes_are_shown_at_once() {
    let text = SOUND
        .replace("version: 1", "version: 2")
        .replace("impute", "imput")
        .replace("folds: 5", "folds: many")
        .replace("l2: 1.0", "l3: 1.0")
        .replace("  - id: model\n", "  - id: model\n    input: prepare\n");
    let place = Workplace::with(&text);
    let error = place.fails(3, &["validate", "p.yaml"]);
    let places = ["p.yaml:1:10", "p.yaml:7:22", "p.yaml:9:5", "p.yaml:11:20", "p.yaml:11:63"];
    let words = [
        "`version` must be 1, found 2",
        "unknown preprocessing step `imput`",
        "unknown key `input`",
        "unknown way to divide rows `many`",
        "unknown key `l3`",
    ];
    assert_has(&error, &places);
    assert_has(&error, &words);
    assert_has(&error, &["\n5 errors\n"]);
    // In the order of the file.
    let found: Vec<usize> = places.iter().map(|place| error.find(place).unwrap()).collect();
    assert!(found.is_sorted(), "{error}");
}

#[test]
fn what_is_no_pipeline_file_is_refused() {
    let place = Workplace::with("");
    place.write("latin1.yaml", b"version: 1\nname: caf\xe9\n");
    place.write("packed.yaml", b"\x1f\x8b\x08\0\0");
    std::fs::create_dir(place.path("folder.yaml")).unwrap();
    let cases = [
        ("none.yaml", "error: no file `none.yaml`", "`retune init DATA --target COLUMN` writes a pipeline"),
        ("folder.yaml", "error: `folder.yaml` is a folder, not a pipeline file", ""),
        ("p.yaml", "error: the file is empty", "`retune init DATA --target COLUMN` writes a pipeline"),
        ("latin1.yaml", "error: `latin1.yaml` is not UTF-8 text: byte 0xe9 in line 2", "save the file as UTF-8"),
        (
            "packed.yaml",
            "error: `packed.yaml` is not UTF-8 text: byte 0x8b in line 1",
            "the file is compressed with gzip; unpack it first",
        ),
    ];
    for (file, words, help) in cases {
        for command in ["validate", "run", "plan"] {
            assert_has(&place.fails(3, &[command, file]), &[words, help, "\n1 error\n"]);
        }
    }
}

#[test]
fn a_huge_file_is_refused_before_it_is_read() {
    let place = Workplace::with("");
    let file = std::fs::File::create(place.path("huge.yaml")).unwrap();
    file.set_len(100 << 20).unwrap();
    let begun = Instant::now();
    assert_has(
        &place.fails(3, &["validate", "huge.yaml"]),
        &["error: `huge.yaml` has 100.0 MiB; a pipeline file has at most 1 MiB", "is it a data file?"],
    );
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}
