//! What a user sees for every kind of mistake: `messages.txt` holds pieces of YAML and the exact text for each.
//! `RETUNE_UPDATE=1 cargo test --release -p retune-spec --test messages` writes the file anew; read the difference before keeping it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write;

use retune_spec::{Source, check_columns, load, render};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages.txt");

struct Case {
    /// The part of a pipeline that the text is: `file`, `data`, `stages`, `steps`, `model`, `tuning`; `columns` is a file held against a header.
    part: String,
    title: String,
    text: String,
    expected: String,
}

fn cases() -> Vec<Case> {
    let file = std::fs::read_to_string(FILE).unwrap();
    file.split("\n=== ")
        .skip(1)
        .map(|case| {
            let (head, rest) = case.split_once('\n').unwrap();
            let (part, title) = head.split_once(": ").unwrap();
            let (text, expected) = rest.split_once("\n>>>\n").unwrap();
            Case { part: part.into(), title: title.into(), text: unescape(text), expected: expected.trim_end().into() }
        })
        .collect()
}

/// Characters that do not show are written as words.
fn unescape(text: &str) -> String {
    text.replace("<TAB>", "\t").replace("<NUL>", "\0").replace("<NOTHING>", "")
}

fn escape(text: &str) -> String {
    text.replace('\t', "<TAB>").replace('\0', "<NUL>")
}

fn whole(case: &Case) -> String {
    let indented = |by: usize| case.text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect::<String>();
    let head = "version: 1\nname: test\n";
    let data = "data: { path: people.csv, target: income }\n";
    let model = "stages:\n  - id: model\n    uses: model-selection\n    with:\n";
    match case.part.as_str() {
        "file" | "columns" => case.text.clone(),
        "data" => format!(
            "{head}data:\n{}stages:\n  - {{ id: clean, uses: preprocessing, with: {{ steps: [impute: {{}}] }} }}\n",
            indented(2)
        ),
        "stages" => format!("{head}{data}stages:\n{}", indented(2)),
        "steps" => format!(
            "{head}{data}stages:\n  - id: clean\n    uses: preprocessing\n    with:\n      steps:\n{}",
            indented(8)
        ),
        "model" => format!("{head}{data}{model}{}", indented(6)),
        "tuning" => format!(
            "{head}{data}{model}      candidates: [ridge: {{}}]\n  - id: tuned\n    uses: fine-tuning\n    with:\n{}",
            indented(6)
        ),
        other => panic!("no part {other}"),
    }
}

fn shown(case: &Case) -> String {
    let text = whole(case);
    let source = Source::new("p.yaml", text);
    let overrides: Vec<(String, String)> = case
        .title
        .split(" --set ")
        .skip(1)
        .map(|set| set.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
        .collect();
    let diagnostics = match load(&source, &overrides) {
        Err(diagnostics) => diagnostics,
        Ok(document) if case.part == "columns" => {
            let columns = ["name", "age", "city", "income", "weight"].map(str::to_owned);
            check_columns(&document, &columns)
        }
        Ok(_) => Vec::new(),
    };
    escape(render(&diagnostics, &source, false).trim_end())
}

#[test]
fn each_mistake_has_its_message() {
    let cases = cases();
    assert!(cases.len() > 50);
    if std::env::var_os("RETUNE_UPDATE").is_some() {
        let file = std::fs::read_to_string(FILE).unwrap();
        let mut out = file.split("\n=== ").next().unwrap().to_owned();
        for case in &cases {
            let text = if case.text.is_empty() { "<NOTHING>".to_owned() } else { escape(&case.text) };
            write!(out, "\n=== {}: {}\n{text}\n>>>\n{}\n", case.part, case.title, shown(case)).unwrap();
        }
        std::fs::write(FILE, out).unwrap();
        return;
    }
    for case in &cases {
        let shown = shown(case);
        assert!(
            shown == case.expected,
            "{}: {}\n--- expected\n{}\n--- shown\n{shown}\n",
            case.part,
            case.title,
            case.expected
        );
    }
}
