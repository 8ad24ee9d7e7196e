//! `retune init`.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use retune_pipeline::{Error, Project};
use retune_protocol::{Failure, Job, ProfileJob};
use retune_spec::schema::{Kind, Role, Schema, Task};
use serde_json::Value;

use crate::Outcome;
use crate::arguments::Init;
use crate::commands::predict::host;
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
    let stem = stem_of(&arguments.data);
    let target = arguments.output.clone().unwrap_or_else(|| PathBuf::from(format!("{stem}.yaml")));
    let to_stdout = target.as_os_str() == "-";
    if !to_stdout && !arguments.force && target.exists() {
        return Err(Failure::data(format!("{} already exists", target.display()))
            .help("`--force` replaces it; `--output FILE` writes another one")
            .into());
    }
    let input = files_of(&arguments.data)?;
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

/// What the pipeline is named after: the data file, or the folder before a pattern.
fn stem_of(data: &Path) -> String {
    let parts = data.components().rev().filter(|part| matches!(part, Component::Normal(_)));
    let part = parts.map(|part| part.as_os_str().to_string_lossy()).find(|part| !retune_spec::columns::is_glob(part));
    let stem =
        part.as_deref().and_then(|part| Path::new(part).file_stem()).map(|stem| stem.to_string_lossy().into_owned());
    stem.unwrap_or_else(|| "pipeline".to_owned())
}

/// The files that the user names; a pattern, which `path` in a pipeline may be, names many.
fn files_of(data: &Path) -> Result<Vec<PathBuf>, Error> {
    let project = Project::here(None)?;
    Ok(retune_pipeline::expand(&project.folder, &data.display().to_string()).map_err(Failure::data)?)
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
    let named = |chosen: &dyn Fn(&Look) -> bool| -> Vec<&str> {
        looks.iter().filter(|look| chosen(look)).map(|look| look.name.as_str()).collect()
    };
    let image = looks.iter().find(|look| look.kind == Kind::Image);
    let is_classification = matches!(schema.task, Some(Task::Classification { .. }));

    let mut text = String::new();
    let mut say = |line: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    let data = arguments.data.display();
    say(&format!(
        "# Written by `retune init` from a look at {data}: {rows} rows, {} columns to learn from.",
        looks.len()
    ));
    say(
        "# Every choice is yours to change. `retune stage describe NAME` explains a step or a model and lists its settings,",
    );
    say("# `retune validate FILE` checks the file, `retune plan FILE` shows what would run.");
    say("version: 1");
    say(&format!("name: {}  # runs lie in runs/NAME", name_of(stem)));
    say("seed: 0  # all randomness comes from it: the same seed, data and versions give the same bits");
    say("");
    say("data:");
    say(&format!("  path: {}", quoted(&data.to_string())));
    say(&format!("  target: {}  # {}", quoted(&arguments.target), task_in_words(&schema)));
    if let Some(image) = image {
        say(&format!("  columns: {{ {}: image }}  # encoded images: PNG, JPEG ...", quoted(&image.name)));
    }
    let ids = named(&is_id);
    if !ids.is_empty() {
        say(&format!(
            "  id: [{}]  # nearly every row has a value of its own: carried along, not learned from",
            list(&ids)
        ));
    }
    let ignored = match image {
        Some(image) => named(&|look| look.name != image.name && !is_id(look)),
        None => named(&|look| look.kind == Kind::Audio),
    };
    if !ignored.is_empty() {
        let why = if image.is_some() {
            "a network for images sees one column of them alone"
        } else {
            "no step works on sounds yet"
        };
        say(&format!("  ignore: [{}]  # {why}", list(&ignored)));
    }
    say(
        "  # Validation rows stop trainings and guard the tuning; test rows are looked at once, at the end. All others are learned from.",
    );
    say(&format!(
        "  split: {{ validation: 0.15, test: 0.15{} }}",
        if is_classification { ", stratify: true" } else { "" }
    ));
    say(
        "  # Where rows belong together, as visits of one patient, add `group: COLUMN`; where the future is predicted, `time: COLUMN`.",
    );
    say("");
    say("stages:");
    if image.is_none() {
        let kept: Vec<&Look> = looks.iter().filter(|look| !is_id(look) && look.kind != Kind::Audio).collect();
        say_preparation(&mut say, &kept, &profile["training"]);
    }
    say("  # Every trial is judged on folds of the training rows, with the stages above learned anew in each.");
    say("  - id: model");
    say("    uses: model-selection");
    say("    with:");
    say(if is_classification {
        "      metric: f1_macro  # every label counts the same, however rare it is"
    } else {
        "      metric: rmse  # large errors weigh more; `mae` is milder"
    });
    let folds = folds(&profile["training"]);
    let reason = if folds.contains('#') { "" } else { "  # more give a surer choice and take longer" };
    say(&format!("      folds: {folds}{reason}"));
    let trials = if image.is_some() { 2 } else { 12 };
    say(&format!(
        "      search: {{ sampler: tpe, trials: {trials} }}  # a longer search, later, goes on where this one ended"
    ));
    say("      candidates:");
    if image.is_some() {
        say(
            "        # Larger images show more and take longer. With little data, start `tuned` from weights of yours: `base: { network: resnet18, weights: FILE }`.",
        );
        say(
            "        - image_network: { input: { size: [64, 64] }, epochs: 20, batch_size: 32, learning_rate: { log_uniform: [3e-4, 3e-3] } }",
        );
    } else {
        say(if is_classification {
            "        - logistic_regression: { l2: { log_uniform: [1e-3, 100] } }  # a line: hard to beat where rows are few"
        } else {
            "        - ridge: { l2: { log_uniform: [1e-3, 1000] } }  # a line: hard to beat where rows are few"
        });
        say(
            "        # Trees see bends and combinations. They stop growing where rows that were set aside get no better.",
        );
        say(
            "        - gradient_boosting: { trees: 300, early_stopping: 20, learning_rate: { log_uniform: [0.03, 0.2] }, leaves: { int: [4, 31] } }",
        );
    }
    say("  # The model that won, trained further: kept only where it holds up against the base on validation rows.");
    say("  - id: tuned");
    say("    uses: fine-tuning");
    say("    with:");
    say("      base: model");
    Ok(text)
}

/// The stages that make numbers of the columns, and drop those that tell nothing.
fn say_preparation(say: &mut dyn FnMut(&str), kept: &[&Look], training: &Value) {
    let of_kind = |kind: Kind| kept.iter().filter(move |look| look.kind == kind);
    let names = |looks: &[&Look]| list(&looks.iter().map(|look| exact(&look.name)).collect::<Vec<_>>());
    say("  # Columns become numbers. What a step learns, it learns from training rows alone.");
    say("  - id: prepare");
    say("    uses: preprocessing");
    say("    with:");
    say("      steps:");
    say("        - drop_duplicates: {}  # of training rows that are equal, one is learned from");
    let mut others: Vec<(String, String)> = kept.iter().map(|look| (look.name.clone(), exact(&look.name))).collect();
    let dates: Vec<&Look> = of_kind(Kind::Datetime).copied().collect();
    if !dates.is_empty() {
        say(&format!(
            "        - datetime_parts: {{ columns: [{}] }}  # year, month, day, weekday and hour, each a number",
            names(&dates)
        ));
        for look in dates {
            others.retain(|(other, _)| *other != look.name);
            others.push((format!("{}_", look.name), format!("{}_*", pattern(&look.name))));
        }
    }
    // Before any other step that makes columns, so that what is not a term is known by name. A missing text has no terms.
    for look in of_kind(Kind::Text) {
        others.retain(|(other, _)| *other != look.name);
        say(&format!(
            "        - tf_idf: {{ columns: [{}], max_features: 2000, ngrams: [1, 2] }}  # words and pairs of words, rare ones weighing more",
            quoted(&exact(&look.name))
        ));
        let prefix = format!("{}_svd", look.name);
        say(&format!(
            "        - truncated_svd: {{ columns: {}, components: {}, prefix: {} }}  # a few numbers that stand for all of them",
            terms_of(&look.name, &others),
            components(training),
            quoted(&prefix)
        ));
        let made = format!("{}_*", pattern(&prefix));
        others.push((prefix, made));
    }
    if kept.iter().any(|look| look.nulls > 0) {
        say(
            "        # Medians of numbers, the most frequent level of the rest; `indicator` adds a column that says where a value was missing.",
        );
        say("        - impute: { indicator: true }");
    } else {
        say("        - impute: {}  # nothing is missing here, but rows to predict may differ");
    }
    let (few, many): (Vec<&Look>, Vec<&Look>) =
        of_kind(Kind::Categorical).copied().partition(|look| look.distinct <= FEW_LEVELS);
    if !few.is_empty() {
        say(&format!("        - one_hot: {{ columns: [{}] }}  # a column of 0 and 1 for each level", names(&few)));
    }
    if !many.is_empty() {
        say(&format!(
            "        - target_encode: {{ columns: [{}] }}  # too many levels for a column each: the mean of the target, cross-fitted",
            names(&many)
        ));
    }
    say("        - standard_scale: {}  # mean 0 and deviation 1, so that one penalty fits all columns");
    say("  - id: features");
    say("    uses: feature-selection");
    say("    with:");
    say("      steps:");
    say("        - variance_threshold: {}  # a column of one value tells nothing");
    say("        - correlation: { max: 0.98 }  # of two columns that say the same, one is enough");
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
    fn pipelines_are_named_after_files_and_folders() {
        for (data, expected) in [
            ("data/wine.csv", "wine"),
            ("photos/*/*.jpg", "photos"),
            ("/new/part-*.parquet", "new"),
            ("*.csv", "pipeline"),
            ("..", "pipeline"),
        ] {
            assert_eq!(stem_of(Path::new(data)), expected);
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
