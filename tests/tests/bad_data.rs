//! Data that cannot be learned from, with the words that a user sees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use retune_tests::{Workplace, assert_has};

const PIPELINE: &str = "version: 1
name: people
threads: 1
data: { path: people.csv, target: likes, split: { validation: 0.2, test: 0.2 } }
stages:
  - id: prepare
    uses: preprocessing
    with: { steps: [ impute: {}, one_hot: {} ] }
  - id: model
    uses: model-selection
    with: { folds: 3, search: { trials: 1 }, candidates: [ gradient_boosting: { trees: 2, min_rows: 2 } ] }
";

const HEADER: &str = "age,city,likes\n";

/// So many sound rows, a third of them `no`.
fn rows(count: usize) -> String {
    (0..count)
        .map(|row| format!("{},{},{}\n", 20 + row, ["Oslo", "Lyon"][row % 2], ["yes", "yes", "no"][row % 3]))
        .collect()
}

/// The error of a run: the lines from `error:` or from the stage that failed.
fn error_of(place: &Workplace, code: i32) -> String {
    let run = place.run(&["run", "p.yaml"]);
    assert_eq!(run.code, code, "{}", run.stderr);
    let all = ["error:", "failed"].map(|start| run.lines_from(start)).concat();
    let error: Vec<&str> = all.lines().filter(|line| !line.starts_with(" skipped")).collect();
    error.join("\n").trim().to_owned()
}

#[test]
fn the_words_for_each_bad_file() {
    let sound = format!("{HEADER}{}", rows(30));
    let after = |rows: &str| format!("{sound}{rows}").into_bytes();
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("empty", vec![], "error: people.csv is empty", ""),
        ("blank lines", b"\n\n".to_vec(), "error: people.csv is empty", ""),
        ("header only", HEADER.into(), "failed  data: people.csv has a header and no rows", ""),
        (
            "duplicate header",
            sound.replace("city", "age").into(),
            "error: people.csv, line 1: columns 1 and 2 are both called `age`",
            "rename one of them in the header",
        ),
        (
            "ragged row",
            after("50,Oslo\n"),
            "failed  data: people.csv, line 32: 2 fields where the header has 3",
            "a field that holds the separator must be quoted",
        ),
        (
            "unclosed quote",
            after("50,\"Oslo,yes\n51,Oslo,no\n"),
            "failed  data: people.csv, line 32: the quote that opens in column `city` is never closed",
            "close it; inside a quoted field a quote is written twice: \"\"",
        ),
        (
            "semicolons",
            sound.replace(',', ";").into(),
            "error: people.csv has a single column, `age;city;likes`",
            "did you mean separator: ';'",
        ),
        (
            "tabs",
            sound.replace(',', "\t").into(),
            "error: people.csv has a single column, `age\\tcity\\tlikes`",
            "did you mean separator: \"\\t\"",
        ),
        (
            "Latin-1",
            [sound.as_bytes(), b"50,Orl\xe9ans,yes\n"].concat(),
            "failed  data: people.csv, line 32: byte 0xe9 is not UTF-8",
            "convert the file, if it is Latin-1 so: iconv -f LATIN1 -t UTF-8 IN > OUT",
        ),
        (
            "gzip",
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03KL\xd7I".to_vec(),
            "error: people.csv is gzip-compressed, not CSV",
            "decompress it first: `gunzip`",
        ),
        (
            "constant target",
            sound.replace(",no\n", ",yes\n").into(),
            "failed  data: target `likes` is `yes` in all 30 rows: there is nothing to learn",
            "choose another `target`, or more varied rows",
        ),
        (
            "target with gaps",
            after("50,Oslo,\n51,Oslo,\n"),
            "failed  data: target `likes` is missing in 2 rows (rows 31, 32)",
            "to leave such rows out: `missing_target: drop`",
        ),
        (
            "infinite feature",
            after("inf,Oslo,yes\n-inf,Oslo,yes\n"),
            "failed  data: column `age` is infinite in row 31 (2 rows in all)",
            "replace infinite values by a number or leave them empty, before retune reads them",
        ),
        (
            "one row",
            format!("{HEADER}{}", rows(1)).into(),
            "failed  data: 1 row to learn from; at least 2 are needed",
            "",
        ),
        (
            "two rows",
            format!("{HEADER}1,Oslo,yes\n2,Oslo,no\n").into(),
            "failed  data: the split of 2 rows into 1 validation and 1 test rows leaves no training rows",
            "lower `split.validation` and `split.test`, or give more rows",
        ),
        (
            "a rare label",
            after("50,Oslo,maybe\n51,Oslo,maybe\n52,Oslo,maybe\n53,Oslo,maybe\n"),
            "failed  model: 3 folds need at least 3 rows of every label; `maybe` has 2",
            "use 2 folds, give that label more rows, or leave its rows out",
        ),
    ];
    for (case, bytes, words, help) in cases {
        let place = Workplace::with(PIPELINE);
        place.write("people.csv", bytes);
        let error = error_of(&place, 4);
        let help = if help.is_empty() { String::new() } else { format!("help: {help}") };
        let lines: Vec<&str> = error.lines().map(str::trim).collect();
        assert_eq!(lines.join("\n"), [words, &help].join("\n").trim(), "{case}");
        // Whatever the header alone tells is told without a run.
        if words.starts_with("error") {
            place.fails(4, &["validate", "p.yaml"]);
            assert!(!place.path("runs").exists(), "{case}");
        }
    }
}

#[test]
fn the_words_for_what_does_not_fit_the_pipeline() {
    let sound = format!("{HEADER}{}", rows(30));
    let cases = [
        (
            "missing file",
            ("people.csv", "nobody.csv"),
            4,
            "error: no file `nobody.csv`; relative paths start at HERE\n --> p.yaml:4:15\n  |\n4 | data: { path: nobody.csv, target: likes, split: { validation: 0.2, test: 0.2 } }\n  |               ^^^^^^^^^^\n\n1 error",
        ),
        (
            "directory",
            ("people.csv", "folder"),
            4,
            "error: `folder` is a folder; name a file, or a pattern such as `folder/*.csv`\n --> p.yaml:4:15\n  |\n4 | data: { path: folder, target: likes, split: { validation: 0.2, test: 0.2 } }\n  |               ^^^^^^\n\n1 error",
        ),
        (
            "no match",
            ("people.csv", "\"nobody*.csv\""),
            4,
            "error: no file matches `nobody*.csv`\n --> p.yaml:4:15\n  |\n4 | data: { path: \"nobody*.csv\", target: likes, split: { validation: 0.2, test: 0.2 } }\n  |               ^^^^^^^^^^^^^\n\n1 error",
        ),
        (
            "no pattern",
            ("people.csv", "\"nobody***.csv\""),
            3,
            "error: `nobody***.csv` is not a pattern: Pattern syntax error near position 8: wildcards are either regular `*` or recursive `**`\n --> p.yaml:4:15\n  |\n4 | data: { path: \"nobody***.csv\", target: likes, split: { validation: 0.2, test: 0.2 } }\n  |               ^^^^^^^^^^^^^^^\n\n1 error",
        ),
        (
            "missing target",
            ("target: likes", "target: lukes"),
            3,
            "error: no column `lukes` in people.csv\n --> p.yaml:4:35\n  |\n4 | data: { path: people.csv, target: lukes, split: { validation: 0.2, test: 0.2 } }\n  |                                   ^^^^^\n  |\n  = help: did you mean `likes`?\n\n1 error",
        ),
        (
            "column of a step",
            ("one_hot: {}", "one_hot: { columns: [citty] }"),
            3,
            "error: no column `citty` in people.csv, and no earlier step makes it\n --> p.yaml:8:55\n  |\n8 |     with: { steps: [ impute: {}, one_hot: { columns: [citty] } ] }\n  |                                                       ^^^^^\n  |\n  = help: did you mean `city`?\n\n1 error",
        ),
        (
            "continuous labels",
            ("target: likes", "target: weight, task: classification"),
            4,
            "failed  data: target `weight` is continuous (0.5 in row 1), where a classification was declared\n          help: say `task: regression`, or give labels",
        ),
        (
            "labels where numbers were declared",
            ("target: likes", "target: likes, task: regression"),
            4,
            "failed  data: column `likes` must be numeric, but holds `yes` in row 1, `yes` in row 2, `no` in row 3 and 27 values more\n          help: correct them, or say `task: classification`",
        ),
    ];
    for (case, (from, to), code, words) in cases {
        let place = Workplace::with(&PIPELINE.replacen(from, to, 1));
        std::fs::create_dir(place.path("folder")).unwrap();
        let weighed: String = sound
            .lines()
            .skip(1)
            .enumerate()
            .map(|(row, line)| format!("{line},{}\n", 0.5 + row as f64 / 4.0))
            .collect();
        place.write("people.csv", format!("age,city,likes,weight\n{weighed}"));
        let here = place.path("").display().to_string();
        assert_eq!(error_of(&place, code), words.replace("HERE", here.trim_end_matches('/')), "{case}");
    }
}

#[test]
fn missing_numbers_may_be_written_as_nan() {
    let place = Workplace::with(PIPELINE);
    place.write("people.csv", format!("{HEADER}{}nan,Oslo,yes\n,Lyon,no\n", rows(30)));
    assert_has(&place.ok(&["run", "p.yaml"]), &["model on 7 test rows"]);
}

#[test]
fn rows_without_a_target_are_dropped_where_one_says_so() {
    let place = Workplace::with(&PIPELINE.replace("target: likes", "target: likes, missing_target: drop"));
    place.write("people.csv", format!("{HEADER}{}50,Oslo,\n", rows(30)));
    place.ok(&["run", "p.yaml"]);
    let run = place.json("runs/people/latest/run.json");
    let read = &run["stages"][0]["outcome"]["result"];
    assert_eq!((&read["rows_read"], &read["rows_dropped"]), (&31.into(), &1.into()));
}

#[test]
fn a_category_never_seen_in_training() {
    // Trained without Rome; the rows to predict have it.
    for (unseen, code) in [("ignore", 0), ("other", 0), ("error", 4)] {
        let place = Workplace::with(&PIPELINE.replace("one_hot: {}", &format!("one_hot: {{ unseen: {unseen} }}")));
        place.write("people.csv", format!("{HEADER}{}", rows(30)));
        place.ok(&["run", "p.yaml"]);
        place.write("new.csv", "age,city\n20,Oslo\n30,Rome\n");
        let predict = place.run(&["predict", "runs/people/latest", "--input", "new.csv", "--output", "out.csv"]);
        assert_eq!(predict.code, code, "{unseen}: {}", predict.stderr);
        if code == 4 {
            let words = "error: step 2 (one_hot): column `city` has `Rome` in row 2, which no training row has\n  help: set `unseen: ignore` or `unseen: other` to take such rows\n";
            assert_eq!(predict.stderr, words);
        } else {
            assert_eq!(place.text("out.csv").lines().count(), 3, "{unseen}");
        }
    }
}

#[test]
fn bad_files_to_predict() {
    let place = Workplace::with(PIPELINE);
    place.write("people.csv", format!("{HEADER}{}", rows(30)));
    place.ok(&["run", "p.yaml"]);
    place.write("ragged.csv", "age,city\n1,Oslo\n2\n");
    place.write("packed.csv.gz", b"\x1f\x8b\x08\0");
    std::fs::create_dir(place.path("folder.csv")).unwrap();
    let cases = [
        ("nobody.csv", "error: no file nobody.csv\n"),
        ("folder.csv", "error: folder.csv is a directory, not a file\n  help: to read its files: folder.csv/*\n"),
        (
            "ragged.csv",
            "error: ragged.csv, line 3: 1 field where the header has 2\n  help: a field that holds the separator must be quoted\n",
        ),
        (
            "packed.csv.gz",
            "error: packed.csv.gz is compressed\n  help: decompress it first (Parquet is compressed inside)\n",
        ),
    ];
    for (file, words) in cases {
        let error = place.fails(4, &["predict", "runs/people/latest", "--input", file, "--output", "out.csv"]);
        assert!(error.starts_with(words), "{file}: {error}");
        assert!(!place.path("out.csv").exists(), "{file}");
    }
}

#[test]
fn a_bundle_reads_rows_as_the_training_rows_were_read() {
    let declared = "target: likes, separator: \";\", null_values: [\"?\"]";
    let place = Workplace::with(&PIPELINE.replace("target: likes", declared));
    place.write("people.csv", format!("{HEADER}{}", rows(30)).replace(',', ";"));
    place.ok(&["run", "p.yaml"]);
    place.write("marked.csv", "age;city\n?;Oslo\n30;?\n");
    place.write("empty.csv", "age;city\n;Oslo\n30;\n");
    for name in ["marked", "empty"] {
        let (input, output) = (format!("{name}.csv"), format!("{name}.out.csv"));
        place.ok(&["predict", "runs/people/latest", "--input", &input, "--output", &output]);
    }
    assert_eq!(place.text("marked.out.csv"), place.text("empty.out.csv"));
}

#[test]
fn predictions_never_replace_their_input() {
    let place = Workplace::with(PIPELINE);
    place.write("people.csv", format!("{HEADER}{}", rows(30)));
    place.ok(&["run", "p.yaml"]);
    let same = "age,city\n20,Oslo\n";
    place.write("same.csv", same);
    let error = place.fails(4, &["predict", "runs/people/latest", "--input", "same.csv", "--output", "./same.csv"]);
    assert!(error.contains("would replace its own input"), "{error}");
    assert_eq!(place.text("same.csv"), same);
}

#[test]
fn a_file_is_read_once_and_belongs_to_one_set() {
    let rows_read = |paths: &str| {
        let place = Workplace::with(&PIPELINE.replace("path: people.csv", &format!("path: {paths}")));
        place.write("people.csv", format!("{HEADER}{}", rows(30)));
        place.ok(&["run", "p.yaml"]);
        place.json("runs/people/latest/run.json")["stages"][0]["outcome"]["result"]["rows_read"].clone()
    };
    assert_eq!(rows_read("[people.csv, \"peo*.csv\", people.csv]"), 30);

    let sets = "train: people.csv, validation: ./people.csv";
    let text = PIPELINE.replace("path: people.csv", sets).replace(", split: { validation: 0.2, test: 0.2 }", "");
    let place = Workplace::with(&text);
    place.write("people.csv", format!("{HEADER}{}", rows(30)));
    let error = place.fails(3, &["validate", "p.yaml"]);
    assert!(error.contains("is named both for `train` and for `validation`"), "{error}");
}
