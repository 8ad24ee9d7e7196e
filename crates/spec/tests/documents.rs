//! Good pipelines: what parameters, overrides and matrices make of them, where things are, and that no text makes the reader panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use retune_spec::{Document, Source, StageKind, check_columns, load, load_stage, render};

const EXAMPLE: &str = include_str!("../src/example.yaml");

fn document(text: &str) -> Document {
    document_with(text, &[])
}

fn document_with(text: &str, overrides: &[(&str, &str)]) -> Document {
    let source = Source::new("p.yaml", text);
    let overrides: Vec<_> = overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(&source, &overrides).unwrap_or_else(|diagnostics| panic!("{}", render(&diagnostics, &source, false)))
}

fn with_stages(stages: &str) -> String {
    format!("version: 1\nname: test\ndata: {{ path: p.csv, target: y }}\nstages:\n{stages}")
}

#[test]
fn defaults_are_filled_in() {
    let document = document(EXAMPLE);
    for (pointer, expected) in [
        ("/seed", "7"),
        ("/data/missing_target", "\"error\""),
        ("/stages/0/with/steps/1/impute/strategy", "\"median\""),
        ("/stages/0/with/steps/6/tf_idf/analyzer", "\"word\""),
        ("/stages/1/with/steps/0/variance_threshold/threshold", "0.0"),
        ("/stages/2/with/search/trials", "30"),
        ("/stages/3/with/guard/confidence", "0.95"),
        ("/stages/3/with/network/epochs", "30"),
    ] {
        assert_eq!(document.resolved.pointer(pointer).map(ToString::to_string).as_deref(), Some(expected), "{pointer}");
    }
}

#[test]
fn the_word_null_needs_no_quotes() {
    for word in ["null", "\"null\"", "~"] {
        let text =
            format!("  - {{ id: a, uses: preprocessing, with: {{ steps: [outliers: {{ action: {word} }}] }} }}\n");
        let document = document(&with_stages(&text));
        let action = document.resolved.pointer("/stages/0/with/steps/0/outliers/action");
        assert_eq!(action.and_then(|action| action.as_str()), Some("null"), "{word}");
    }
}

#[test]
fn what_is_resolved_reads_back_to_the_same() {
    let matrix = with_stages(
        "  - { id: a, strategy: { matrix: { n: [1, 2] } }, uses: preprocessing, with: { steps: [pca: { components: \"${{ matrix.n }}\" }] } }\n",
    );
    let odd = with_stages(
        "  - { id: a, uses: preprocessing, with: { steps: [impute: { columns: [\"a: b\", \"\\\"#é\\u0085\\n\", \"1\", yes, ''] }] } }\n",
    );
    for text in [EXAMPLE, &matrix, &odd] {
        let first = document(text);
        let second = document(&first.resolved_yaml());
        assert_eq!(first.pipeline, second.pipeline);
        assert_eq!(first.resolved_yaml(), second.resolved_yaml());
    }
}

#[test]
fn parameters_keep_their_types() {
    let text = "version: 1
name: ${{ params.name }}-${{ params.trials }}
params: { name: a, trials: 5, scale: false, columns: [x, z], l2: 1e-3 }
data: { path: \"${{ params.name }}.csv\", target: y }
stages:
  - id: clean
    uses: preprocessing
    with: { steps: [standard_scale: { columns: \"${{ params.columns }}\", center: \"${{params.scale}}\" }] }
  - id: model
    uses: model-selection
    with: { search: { trials: \"${{ params.trials }}\" }, candidates: [ridge: { l2: \"${{ params.l2 }}\" }] }
";
    let look = |document: &Document| {
        [
            "/name",
            "/data/path",
            "/stages/0/with/steps/0/standard_scale/columns",
            "/stages/0/with/steps/0/standard_scale/center",
            "/stages/1/with/search/trials",
            "/stages/1/with/candidates/0/ridge/l2",
        ]
        .map(|pointer| document.resolved.pointer(pointer).unwrap().to_string())
    };
    assert_eq!(look(&document(text)), ["\"a-5\"", "\"a.csv\"", "[\"x\",\"z\"]", "false", "5", "0.001"]);
    let overrides =
        [("trials", "7"), ("scale", "true"), ("columns", "[q]"), ("name", "first"), ("name", "b"), ("l2", "2")];
    let changed = document_with(text, &overrides);
    assert_eq!(look(&changed), ["\"b-7\"", "\"b.csv\"", "[\"q\"]", "true", "7", "2"]);
    assert_eq!(changed.resolved["params"]["trials"], 7);
}

#[test]
fn matrices_expand_with_everything_that_follows() {
    let text = with_stages(
        "  - { id: clean, uses: preprocessing, with: { steps: [impute: {}] } }
  - id: reduce
    strategy: { matrix: { n: [2, 3], w: [true, \"a b\"] } }
    uses: preprocessing
    with: { steps: [pca: { components: \"${{ matrix.n }}\", prefix: \"p${{ matrix.w }}\" }] }
  - id: model
    strategy: { matrix: { folds: [3, 4] } }
    uses: model-selection
    with: { folds: \"${{ matrix.folds }}\", candidates: [ridge: {}] }
  - { id: tuned, uses: fine-tuning, with: { base: model } }
  - { id: plain, inputs: clean, uses: model-selection, with: { candidates: [ridge: {}] } }
",
    );
    let document = document(&text);
    let shown: Vec<String> = (0..document.pipeline.stages.len())
        .map(|index| format!("{} <- {}", document.pipeline.stages[index].id, document.pipeline.input_of(index)))
        .collect();
    let mut expected = vec!["clean <- data".to_owned()];
    let reduced = ["reduce.n-2.w-true", "reduce.n-2.w-a_b", "reduce.n-3.w-true", "reduce.n-3.w-a_b"];
    expected.extend(reduced.iter().map(|id| format!("{id} <- clean")));
    let pairs: Vec<(&str, u8)> = reduced.iter().flat_map(|id| [(*id, 3), (*id, 4)]).collect();
    let name =
        |stage: &str, (id, folds): &(&str, u8)| format!("{stage}{}.folds-{folds}", id.strip_prefix("reduce").unwrap());
    expected.extend(pairs.iter().map(|pair| format!("{} <- {}", name("model", pair), pair.0)));
    expected.extend(pairs.iter().map(|pair| format!("{} <- {}", name("tuned", pair), name("model", pair))));
    expected.push("plain <- clean".to_owned());
    assert_eq!(shown, expected);
    let StageKind::FineTuning(tuning) = &document.pipeline.stage("tuned.n-3.w-a_b.folds-4").unwrap().1.kind else {
        panic!()
    };
    assert_eq!(tuning.base.stage(), Some("model.n-3.w-a_b.folds-4"));
    assert_eq!(document.resolved.pointer("/stages/4/with/steps/0/pca/prefix").unwrap(), "pa b");
    assert!(document.pipeline.stages.iter().all(|stage| stage.strategy.is_none()));
}

#[test]
fn values_that_look_alike_keep_their_stages_apart() {
    let text = with_stages(
        "  - { id: a, strategy: { matrix: { p: [\"x y\", x_y, 1, \"1\"] } }, uses: preprocessing, with: { steps: [pca: { components: 2, prefix: \"q${{ matrix.p }}\" }] } }\n",
    );
    let ids: Vec<String> = document(&text).pipeline.stages.into_iter().map(|stage| stage.id).collect();
    assert_eq!(ids, ["a.p-x_y", "a.p-x_y-2", "a.p-1", "a.p-1-2"]);
}

#[test]
fn places_of_values() {
    let document = document(EXAMPLE);
    for (pointer, expected) in [
        ("/data/target", "section"),
        ("/data/id", "id"),
        ("/data/id/1", "version"),
        ("/stages/0", "id"),
        ("/stages/0/with/steps/1/impute/columns", "numeric"),
        ("/stages/0/with/steps/8/truncated_svd/columns", "\"summary_*\""),
        ("/stages/0/with/steps/8/truncated_svd/iterations", "truncated_svd"),
        ("/stages/2/with/search/trials", "\"${{ params.trials }}\""),
        ("/stages/3/with/guard/max_drop", "0.0"),
        ("/stages/3/inputs", "id"),
    ] {
        assert_eq!(&EXAMPLE[document.span_of(pointer).unwrap()], expected, "{pointer}");
    }
}

#[test]
fn a_word_may_stand_for_its_default_settings() {
    for with in [
        "{ folds: leave_one_out, search: { pruner: hyperband }, ensemble: stacking, candidates: [svm: {}] }",
        "{ folds: { hold_out: 0.2 }, search: { pruner: { hyperband: { factor: 4 } } }, ensemble: { greedy: { top: 9 } }, candidates: [svm: {}] }",
        "{ candidates: [linear_discriminant: { shrinkage: { uniform: [0, 1] } }, svm: { gamma: { log_uniform: [0.01, 1] } }] }",
        "{ candidates: [linear_discriminant: { shrinkage: auto }, random_forest: { max_features: { choice: [sqrt, 0.5] } }] }",
    ] {
        document(&format!(
            "version: 1\nname: words\ndata: {{ path: a.csv, target: y }}\nstages:\n  - {{ id: m, uses: model-selection, with: {with} }}\n"
        ));
    }
}

#[test]
fn anchors_and_empty_blocks_work() {
    let text = with_stages(
        "  - id: a
    uses: preprocessing
    with:
      steps:
        - drop_duplicates:
        - impute: &numbers { columns: numeric }
        - clip_outliers: *numbers
        - to_tensor:
  - { id: m, uses: model-selection, with: { search: , candidates: [linear_regression: ] } }
",
    );
    let document = document(&text);
    assert_eq!(document.resolved.pointer("/stages/0/with/steps/2/clip_outliers/columns").unwrap(), "numeric");
    assert_eq!(document.resolved.pointer("/stages/1/with/search/sampler").unwrap(), "tpe");
}

#[test]
fn columns_that_exist_or_may_be_made_pass() {
    let columns = [
        "package",
        "version",
        "section",
        "installed_size_kib",
        "download_bytes",
        "maintainer_domain",
        "homepage_host",
        "summary",
    ];
    let columns = columns.map(str::to_owned);
    assert_eq!(check_columns(&document(EXAMPLE), &columns), []);
}

#[test]
fn stages_by_themselves() {
    let around = serde_json::json!({ "version": 1, "name": "stage", "data": { "path": "d.csv", "target": "y" } });
    let load_it = |text: &str, uses: &str| {
        load_stage(&Source::new("s.yaml", text), uses, &around).map(|document| document.pipeline.stages[0].kind.clone())
    };
    let kind = load_it("steps: [impute: { strategy: mean }]", "preprocessing").unwrap();
    assert_eq!(kind.word(), "preprocessing");
    assert_eq!(
        load_it("strategy: mean", "impute").unwrap(),
        load_it("steps: [impute: { strategy: mean }]", "preprocessing").unwrap()
    );
    assert_eq!(load_it("max: 0.9", "correlation").unwrap().word(), "feature-selection");
    assert_eq!(load_it("base: model", "fine-tuning").unwrap().word(), "fine-tuning");
    for (text, uses, expected) in [
        ("strategy: mean", "imputer", "no stage `imputer` (did you mean `impute`?)"),
        ("strategy: constant", "impute", "`strategy: constant` needs a `value` (add `value: 0`, or another value)"),
        ("stategy: mean", "impute", "unknown key `stategy` (did you mean `strategy`?)"),
        ("folds: 1\ncandidates: [ridge: {}]", "model-selection", "`folds` must be from 2 to 1000, found 1"),
        (
            "candidates: [tab_transformer: { heads: 7, width: 64 }]",
            "model-selection",
            "`width` 64 is no multiple of `heads` 7 (use `width: 70`, or another number of heads)",
        ),
        ("columns: \"${{ params.x }}\"", "impute", "a stage file has no `params`; write the value"),
        (
            "neighbors: 3",
            "mutual_information",
            "`mutual_information` does not say how many columns stay (add `keep: 20`, `keep: 40 %`, or `min_score`)",
        ),
        (
            "step: 1.5",
            "recursive_elimination",
            "`step` must be a whole number or below 1, found 1.5 (1 or more is a number of columns; a number below 1 is a share of them)",
        ),
        ("keep: 3\nalpha: 0.1", "l1", "`keep` and `alpha` both say how strong the penalty is (remove one of them)"),
        (
            "method: { stability: { method: { f_test: {} } } }",
            "stability",
            "`stability` cannot repeat itself (name another method)",
        ),
        (
            "method: { relief_f: {} }",
            "stability",
            "`relief_f` does not say how many columns stay (add `keep: 20`, `keep: 40 %`, or `min_score`)",
        ),
        (
            "components: 2.5",
            "pca",
            "`components` must be a whole number or below 1, found 2.5 (1 or more is a number of components; a number below 1 is the share of variance to keep)",
        ),
    ] {
        let messages: Vec<String> = load_it(text, uses).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(messages, [expected]);
    }
    // Places are those of the file; what stands around it has none.
    let source = Source::new("s.yaml", "columns: [ago, b]\n");
    let document = load_stage(&source, "impute", &around).unwrap();
    let shown = render(&check_columns(&document, &["age", "b"].map(str::to_owned)), &source, false);
    assert!(shown.contains("no column `y` in d.csv"), "{shown}");
    assert!(shown.contains(" --> s.yaml:1:11\n  |\n1 | columns: [ago, b]"), "{shown}");
}

/// Every mutation of a good file is read or refused, and shown, without a panic; and a refusal always says something.
#[test]
fn no_text_makes_the_reader_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let pieces = [
        "\t",
        ":",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a",
        "!x ",
        "\"",
        "'",
        "${{",
        "}}",
        "\n",
        "é",
        "\0",
        "|",
        ">",
        "#",
        "? ",
        "<<: ",
        "---",
        "%",
        "1e999",
        "~",
        ",",
        "\u{feff}",
        "\r",
        "matrix: {x: [1]}",
    ];
    let header = ["section".to_owned(), "summary".to_owned()];
    for _ in 0..3000 {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for _ in 0..1 + random(6) {
            let at = random(text.len());
            match random(4) {
                0 => drop(text.drain(at..(at + 1 + random(40)).min(text.len()))),
                1 => drop(text.splice(at..at, pieces[random(pieces.len())].chars())),
                2 => text[at] = char::from_u32(random(0x1_0000) as u32).unwrap_or('x'),
                _ => {
                    let from = random(text.len());
                    let copy: Vec<char> = text[from..(from + random(60)).min(text.len())].to_vec();
                    drop(text.splice(at..at, copy));
                }
            }
        }
        let source = Source::new("p.yaml", text.into_iter().collect::<String>());
        match load(&source, &[("trials".to_owned(), "3".to_owned())]) {
            Ok(document) => {
                let yaml = document.resolved_yaml();
                assert_eq!(
                    load(&Source::new("r.yaml", yaml), &[]).map(|again| again.pipeline),
                    Ok(document.pipeline.clone())
                );
                check_columns(&document, &header);
            }
            Err(diagnostics) => {
                assert!(!diagnostics.is_empty());
                assert!(
                    diagnostics.iter().all(|diagnostic| !diagnostic.message.contains("data did not match")),
                    "{diagnostics:?}"
                );
                assert!(render(&diagnostics, &source, true).contains("error"));
            }
        }
    }
}
