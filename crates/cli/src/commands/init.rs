//! `retune init`.

use std::fmt::Write as _;
use std::path::PathBuf;

use retune_protocol::{Failure, Job, ProfileJob};
use retune_spec::schema::{Kind, Role, Schema, Task};
use serde_json::Value;

use crate::Outcome;
use crate::arguments::Init;
use crate::commands::predict::{absolute, host};
use crate::exit::Exit;
use crate::output;

/// Levels up to which a category gets a column each.
const FEW_LEVELS: u64 = 20;

/// Components that stand for the terms of a text, where there are rows enough.
const COMPONENTS: u64 = 64;

/// Folds of the cross-validation, where there are rows enough.
const FOLDS: u64 = 5;

/// Writes a pipeline from a look at the data.
pub fn init(arguments: &Init) -> Outcome {
    let stem =
        arguments.data.file_stem().map_or_else(|| "pipeline".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let target = arguments.output.clone().unwrap_or_else(|| PathBuf::from(format!("{stem}.yaml")));
    let to_stdout = target.as_os_str() == "-";
    if !to_stdout && !arguments.force && target.exists() {
        return Err(Failure::data(format!("{} already exists", target.display()))
            .help("`--force` replaces it; `--output FILE` writes another one")
            .into());
    }
    let input = absolute(std::slice::from_ref(&arguments.data))?;
    let profile = host(Job::Profile(ProfileJob { input, target: arguments.target.clone() }))?;
    let text = pipeline_of(&stem, arguments, &profile)?;
    if to_stdout {
        output::print(&text);
    } else {
        std::fs::write(&target, text)
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", target.display())))?;
        output::line(&format!("{}\nnext: retune run {}", target.display(), target.display()));
    }
    Ok(Exit::Done)
}

/// What `init` has to know of a column.
struct Look {
    name: String,
    kind: Kind,
    nulls: u64,
    distinct: u64,
}

fn pipeline_of(stem: &str, arguments: &Init, profile: &Value) -> Result<String, Failure> {
    let schema: Schema =
        serde_json::from_value(profile["schema"].clone()).map_err(|error| Failure::failed(error.to_string()))?;
    let rows = profile["rows"].as_u64().unwrap_or(0);
    let number = |name: &str, key: &str| {
        let columns = profile["columns"].as_array().into_iter().flatten();
        columns.filter(|column| column["name"] == name).find_map(|column| column[key].as_u64()).unwrap_or(0)
    };
    let features = schema.fields.iter().filter(|field| field.role == Role::Feature);
    let looks: Vec<Look> = features
        .map(|field| Look {
            name: field.name.clone(),
            kind: field.kind,
            nulls: number(&field.name, "missing"),
            distinct: number(&field.name, "distinct"),
        })
        .collect();
    let is_id = |look: &Look| look.kind == Kind::Categorical && rows > 50 && look.distinct * 10 >= rows * 9;
    let ids: Vec<&str> = looks.iter().filter(|look| is_id(look)).map(|look| look.name.as_str()).collect();
    let dates: Vec<&str> = looks
        .iter()
        .filter(|look| matches!(look.kind, Kind::Datetime | Kind::Image | Kind::Audio))
        .map(|look| look.name.as_str())
        .collect();
    let kept: Vec<&Look> = looks.iter().filter(|look| !is_id(look) && !dates.contains(&look.name.as_str())).collect();
    let of_kind = |kind: Kind| kept.iter().filter(move |look| look.kind == kind);
    let is_classification = matches!(schema.task, Some(Task::Classification { .. }));

    let mut text = String::new();
    let mut say = |line: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    say("# Written by `retune init` from a look at the data; every choice is yours to change.");
    say("# `retune stage describe NAME` explains a step or a model, `retune validate FILE` checks the file.");
    say("version: 1");
    say(&format!("name: {}", name_of(stem)));
    say("seed: 0");
    say("");
    say("data:");
    say(&format!("  path: {}", quoted(&arguments.data.display().to_string())));
    say(&format!("  target: {}  # {}", quoted(&arguments.target), task_in_words(&schema)));
    if !ids.is_empty() {
        say(&format!("  id: [{}]  # nearly every row has a value of its own", list(&ids)));
    }
    if !dates.is_empty() {
        say(&format!("  ignore: [{}]  # no step works on these yet", list(&dates)));
    }
    say(&format!(
        "  split: {{ validation: 0.15, test: 0.15{} }}",
        if is_classification { ", stratify: true" } else { "" }
    ));
    say("");
    say("stages:");
    say("  - id: prepare");
    say("    uses: preprocessing");
    say("    with:");
    say("      steps:");
    say("        - drop_duplicates: {}");
    // Before any other step that makes columns, so that what is not a term is known by name. A missing text has no terms.
    let mut others: Vec<(String, String)> = kept.iter().map(|look| (look.name.clone(), exact(&look.name))).collect();
    for look in of_kind(Kind::Text) {
        others.retain(|(other, _)| *other != look.name);
        say(&format!(
            "        - tf_idf: {{ columns: [{}], max_features: 2000, ngrams: [1, 2] }}",
            quoted(&exact(&look.name))
        ));
        let prefix = format!("{}_svd", look.name);
        say(&format!(
            "        - truncated_svd: {{ columns: {}, components: {}, prefix: {} }}",
            terms_of(&look.name, &others),
            components(&profile["training"]),
            quoted(&prefix)
        ));
        let made = format!("{}_*", pattern(&prefix));
        others.push((prefix, made));
    }
    if kept.iter().any(|look| look.nulls > 0) {
        say("        - impute: { indicator: true }  # medians of numbers, the most frequent level of the rest");
    } else {
        say("        - impute: {}  # nothing is missing here, but rows to predict may differ");
    }
    let (few, many): (Vec<&Look>, Vec<&Look>) =
        of_kind(Kind::Categorical).copied().partition(|look| look.distinct <= FEW_LEVELS);
    let names = |looks: &[&Look]| list(&looks.iter().map(|look| exact(&look.name)).collect::<Vec<_>>());
    if !few.is_empty() {
        say(&format!("        - one_hot: {{ columns: [{}] }}", names(&few)));
    }
    if !many.is_empty() {
        say(&format!(
            "        - target_encode: {{ columns: [{}] }}  # too many levels for a column each",
            names(&many)
        ));
    }
    say("        - standard_scale: {}");
    say("  - id: features");
    say("    uses: feature-selection");
    say("    with:");
    say("      steps:");
    say("        - variance_threshold: {}");
    say("        - correlation: { max: 0.98 }");
    say("  - id: model");
    say("    uses: model-selection");
    say("    with:");
    say(&format!("      metric: {}", if is_classification { "f1_macro" } else { "rmse" }));
    say(&format!("      folds: {}", folds(&profile["training"])));
    say("      search: { sampler: tpe, trials: 12 }");
    say("      candidates:");
    say(if is_classification {
        "        - logistic_regression: { l2: { log_uniform: [1e-3, 100] } }"
    } else {
        "        - ridge: { l2: { log_uniform: [1e-3, 1000] } }"
    });
    say(
        "        - gradient_boosting: { trees: 300, early_stopping: 20, learning_rate: { log_uniform: [0.03, 0.2] }, leaves: { int: [4, 31] } }",
    );
    say("  - id: tuned");
    say("    uses: fine-tuning");
    say("    with:");
    say("      base: model  # kept, where tuning does not hold up");
    Ok(text)
}

/// The rows of the rarest label, of those to learn from, and what they are rows of.
fn scarcest(training: &Value) -> (u64, String) {
    let rarest = &training["rarest"];
    match (rarest["rows"].as_u64(), rarest["label"].as_str()) {
        (Some(rows), Some(label)) => (rows, format!("label {}", Value::from(label))),
        _ => (training["rows"].as_u64().unwrap_or(0), "the source".to_owned()),
    }
}

/// A number of components that runs in every fold, even where half of the rows are twice there.
fn components(training: &Value) -> u64 {
    let folds = scarcest(training).0.clamp(2, FOLDS);
    let rows = training["rows"].as_u64().unwrap_or(0) * (folds - 1) / folds;
    (rows / 2).clamp(1, COMPONENTS)
}

/// A number of folds that runs: no greater than the rows of any label, of those to learn from. With the reason, where it is not the usual one.
fn folds(training: &Value) -> String {
    let (rows, what) = scarcest(training);
    match rows {
        FOLDS.. => FOLDS.to_string(),
        2.. => format!("{rows}  # {what} has {rows} training rows; each fold needs one"),
        _ => format!("2  # {what} has too few training rows for that: give it more, or leave its rows out"),
    }
}

/// Selects the columns that `tf_idf` makes of a text column and none of the `others`, which are given by name and selector.
fn terms_of(name: &str, others: &[(String, String)]) -> String {
    let prefix = format!("{name}_");
    if others.iter().any(|(other, _)| other.starts_with(&prefix)) {
        let selectors: Vec<&String> = others.iter().map(|(_, selector)| selector).collect();
        format!("{{ not: [{}] }}", list(&selectors))
    } else {
        quoted(&format!("{}*", pattern(&prefix)))
    }
}

/// The selector of the column of that name and of no other: neither the word of a kind nor, by chance, a pattern.
fn exact(name: &str) -> String {
    let is_word = name == "all" || Kind::from_word(name).is_some();
    match name.chars().next() {
        Some(first) if is_word => format!("[{first}]{}", &name[first.len_utf8()..]),
        _ if retune_spec::columns::is_glob(name) => pattern(name),
        _ => name.to_owned(),
    }
}

/// A pattern that matches the name alone.
fn pattern(name: &str) -> String {
    let letter = |letter: char| if "*?[{}\\".contains(letter) { format!("[{letter}]") } else { letter.to_string() };
    name.chars().map(letter).collect()
}

fn task_in_words(schema: &Schema) -> String {
    match &schema.task {
        Some(Task::Classification { labels }) => format!("classification, {} labels", labels.len()),
        Some(Task::Regression) => "regression".to_owned(),
        None => "the task could not be told".to_owned(),
    }
}

/// A pipeline's name made of a file's.
fn name_of(stem: &str) -> String {
    let name: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).take(100).collect();
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) { name } else { format!("p{name}") }
}

fn list<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| quoted(name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// A YAML scalar: as it is where it is a plain word, else as a JSON string, which is YAML too.
fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let is_word =
        ["true", "false", "null", "yes", "no", "on", "off", "nan", "inf"].contains(&text.to_ascii_lowercase().as_str());
    if is_plain && !is_word { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn folds_are_no_more_than_the_rows_of_any_label() {
        let of_label = |rows: u64| json!({ "rows": 100, "rarest": { "label": "maybe", "rows": rows } });
        for (training, expected) in [
            (of_label(5), "5"),
            (of_label(60), "5"),
            (of_label(4), "4  # label \"maybe\" has 4 training rows; each fold needs one"),
            (of_label(2), "2  # label \"maybe\" has 2 training rows; each fold needs one"),
            (
                of_label(1),
                "2  # label \"maybe\" has too few training rows for that: give it more, or leave its rows out",
            ),
            (json!({ "rows": 70, "rarest": null }), "5"),
            (json!({ "rows": 3, "rarest": null }), "3  # the source has 3 training rows; each fold needs one"),
            (Value::Null, "2  # the source has too few training rows for that: give it more, or leave its rows out"),
        ] {
            assert_eq!(folds(&training), expected, "{training}");
        }
    }

    #[test]
    fn components_are_no_more_than_the_rows_of_any_fold() {
        let of = |rows: u64, rarest: u64| json!({ "rows": rows, "rarest": { "label": "maybe", "rows": rarest } });
        for (training, expected) in [(of(1000, 9), 64), (of(84, 4), 31), (of(100, 1), 25), (Value::Null, 1)] {
            assert_eq!(components(&training), expected, "{training}");
        }
    }

    #[test]
    fn terms_are_selected_and_nothing_else() {
        let others = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), exact(name))).collect::<Vec<_>>();
        for (name, names, expected) in [
            ("note", vec!["notes", "age"], "\"note_*\""),
            ("a[b]", vec!["age"], "\"a[[]b]_*\""),
            ("note", vec!["age", "note_length", "text", "x*"], "{ not: [age, note_length, \"[t]ext\", \"x[*]\"] }"),
        ] {
            assert_eq!(terms_of(name, &others(&names)), expected);
        }
    }
}
