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
    if kept.iter().any(|look| look.nulls > 0) {
        say("        - impute: { indicator: true }  # medians of numbers, the most frequent level of the rest");
    } else {
        say("        - impute: {}  # nothing is missing here, but rows to predict may differ");
    }
    let few: Vec<&str> =
        of_kind(Kind::Categorical).filter(|look| look.distinct <= FEW_LEVELS).map(|look| look.name.as_str()).collect();
    let many: Vec<&str> =
        of_kind(Kind::Categorical).filter(|look| look.distinct > FEW_LEVELS).map(|look| look.name.as_str()).collect();
    if !few.is_empty() {
        say(&format!("        - one_hot: {{ columns: [{}] }}", list(&few)));
    }
    if !many.is_empty() {
        say(&format!("        - target_encode: {{ columns: [{}] }}  # too many levels for a column each", list(&many)));
    }
    for look in of_kind(Kind::Text) {
        let name = quoted(&look.name);
        say(&format!("        - tf_idf: {{ columns: [{name}], max_features: 2000, ngrams: [1, 2] }}"));
        say(&format!(
            "        - truncated_svd: {{ columns: {}, components: 64, prefix: {} }}",
            quoted(&format!("{}_*", look.name)),
            quoted(&format!("{}_svd", look.name))
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
    say("      folds: 5");
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

fn list(names: &[&str]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// A YAML scalar: as it is where it is a plain word, else as a JSON string, which is YAML too.
fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let is_word =
        ["true", "false", "null", "yes", "no", "on", "off", "nan", "inf"].contains(&text.to_ascii_lowercase().as_str());
    if is_plain && !is_word { text.to_owned() } else { Value::from(text).to_string() }
}
