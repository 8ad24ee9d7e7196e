//! What no schema can say: keys that depend on each other.
//!
//! Each block is read on its own, so that a mistake in one does not hide those in another.

use std::ops::Range;

use serde::de::DeserializeOwned;

use crate::data::{Data, TaskKind};
use crate::date_format::DateFormat;
use crate::diagnostic::{Diagnostic, did_you_mean, one_of};
use crate::estimators::Estimator;
use crate::expression::Expression;
use crate::feature_selection::{Choice, Method};
use crate::fine_tuning::Goal;
use crate::graph;
use crate::images::{Augmentation, ImageInput};
use crate::metric::Metric;
use crate::model_selection::{Candidate, Space};
use crate::preprocessing::{ClassWeights, ImputeStrategy, LabelWeights, Step};
use crate::upstream::{NoPlace, Place, Searchable};
use crate::validate::{display_span, with_origin};
use crate::yaml::{Entry, Node, Yaml};

/// Everything that is wrong in a tree whose kinds and ranges have been checked.
pub(crate) fn check(root: &Node) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let data = root.get("data");
    if let Some(node) = data {
        check_data(node, root, &mut diagnostics);
    }
    let task = data.and_then(|data| typed::<TaskKind>(data.get("task")?));
    let stages = root.get("stages").map(Node::items).unwrap_or_default();
    for (position, stage) in stages.iter().enumerate() {
        if let (Some(uses), Some(with)) = (stage.get("uses").and_then(Node::as_str), stage.get("with")) {
            check_stage(uses, with, task, &mut diagnostics);
            if uses == "fine-tuning" {
                check_sets(with, data.and_then(|data| data.get("sets")), &mut diagnostics);
            }
            for entry in with.get("upstream").map(Node::entries).unwrap_or_default() {
                check_upstream(entry, &stages[..position], &mut diagnostics);
            }
        }
    }
    diagnostics.extend(graph::check_batch(root));
    for job in root.get("batch").map(Node::items).unwrap_or_default() {
        let format = job.get("with").and_then(|with| with.get("format"));
        if let Some(format) = format.filter(|format| format.as_str() == Some("images")) {
            let diagnostic = Diagnostic::error("results are tables, not images").at(format.span.clone());
            diagnostics.push(diagnostic.with_help("use `parquet`, `csv`, `arrow` or `json_lines`"));
        }
    }
    diagnostics
}

/// What a model selection searches of the stages before it: `prepare.pca.components`.
fn check_upstream(entry: &Entry, before: &[Node], diagnostics: &mut Vec<Diagnostic>) {
    check_space(entry, diagnostics);
    let mut wrong = |message: String, help: String| {
        diagnostics.push(Diagnostic::error(message).at(entry.key_span.clone()).with_help(help));
    };
    let searchable = before.iter().map(|stage| Searchable {
        id: stage.get("id").and_then(Node::as_str).unwrap_or_default(),
        steps: steps(stage).iter().map(word_of).collect(),
    });
    let place = match Place::find(&entry.key, &searchable.collect::<Vec<_>>()) {
        Ok(place) => place,
        Err(NoPlace { message, help }) => return wrong(message, help),
    };
    let (stage, step) = (&before[place.stage], &steps(&before[place.stage])[place.step]);
    let Some(value) = Space::of(&entry.node.to_json()).and_then(|space| space.first()) else { return };
    let mut declared = step.to_json();
    let settings = declared.as_object_mut().and_then(|step| step.values_mut().next());
    if let Some(settings) = settings.and_then(|settings| settings.as_object_mut()) {
        settings.insert(place.parameter.clone(), value);
    }
    let mistake = match stage.get("uses").and_then(Node::as_str) {
        Some("preprocessing") => serde_json::from_value::<Step>(declared).err().map(|error| error.to_string()),
        Some("feature-selection") => serde_json::from_value::<Method>(declared).err().map(|error| error.to_string()),
        _ => Some("only steps of preprocessing and feature selection can be searched".to_owned()),
    };
    if let Some(mistake) = mistake {
        let word = word_of(step);
        wrong(
            format!("`{}` of step `{word}`: {mistake}", place.parameter),
            format!("see `retune stage describe {word}`"),
        );
    }
}

/// The steps of a stage.
fn steps(stage: &Node) -> &[Node] {
    stage.get("with").and_then(|with| with.get("steps")).map(Node::items).unwrap_or_default()
}

/// The word of a step: itself, or its only key.
fn word_of(step: &Node) -> &str {
    step.entries().first().map_or(step.as_str().unwrap_or_default(), |entry| &entry.key)
}

/// Everything that is wrong in one stage's `with`.
pub(crate) fn check_stage(uses: &str, with: &Node, task: Option<TaskKind>, diagnostics: &mut Vec<Diagnostic>) {
    match uses {
        "preprocessing" => check_preprocessing(with, diagnostics),
        "feature-selection" => {
            for node in with.get("steps").map(Node::items).unwrap_or_default() {
                check_method(node, task, diagnostics);
            }
        }
        "model-selection" => check_model_selection(with, task, diagnostics),
        "fine-tuning" => check_fine_tuning(with, task, diagnostics),
        _ => {}
    }
}

/// A part of the tree as its type; `None` where a mistake in it has been reported.
fn typed<T: DeserializeOwned>(node: &Node) -> Option<T> {
    serde_json::from_value(node.to_json()).ok()
}

/// The place of a key's value.
fn place(node: &Node, key: &str) -> Option<Range<usize>> {
    node.entry(key).map(value_place)
}

fn value_place(entry: &Entry) -> Range<usize> {
    match entry.node.value {
        Yaml::Seq(_) if !entry.node.span.is_empty() => entry.node.span.clone(),
        _ => display_span(&entry.node, &entry.key_span),
    }
}

fn key_place(node: &Node, key: &str) -> Option<Range<usize>> {
    node.entry(key).map(|entry| entry.key_span.clone())
}

fn given(node: &Node, key: &str) -> bool {
    node.get(key).is_some_and(|value| value.value != Yaml::Null)
}

fn check_data(node: &Node, root: &Node, diagnostics: &mut Vec<Diagnostic>) {
    check_sources(node, root, diagnostics);
    if let Some(split) = node.get("split") {
        check_split(split, diagnostics);
    }
    let Some(data) = typed::<Data>(node) else {
        return;
    };
    if !data.separator.is_ascii() {
        let message = format!("the separator must be an ASCII character, found `{}`", data.separator);
        diagnostics.push(Diagnostic::error(message).at(place(node, "separator")));
    }
    let target = data.target.as_str();
    let lists = [("id", data.id.as_ref()), ("ignore", data.ignore.as_ref())];
    let weight = data.weight.as_deref();
    for (key, names) in lists {
        if names.is_some_and(|names| names.as_slice().iter().any(|name| name == target)) {
            diagnostics.push(role_twice(node, key, target, "the target"));
        }
        if let Some(weight) = weight.filter(|weight| {
            *weight != target && names.is_some_and(|names| names.as_slice().iter().any(|name| name == weight))
        }) {
            diagnostics.push(role_twice(node, key, weight, "the weight"));
        }
    }
    if weight == Some(target) {
        diagnostics.push(role_twice(node, "weight", target, "the target"));
    }
}

fn role_twice(node: &Node, key: &str, name: &str, role: &str) -> Diagnostic {
    let place = node.entry(key).map(|entry| {
        entry
            .node
            .items()
            .iter()
            .find(|item| item.as_str() == Some(name))
            .map_or(value_place(entry), |item| item.span.clone())
    });
    Diagnostic::error(format!("`{name}` is {role} and cannot be under `{key}` as well")).at(place)
}

fn check_sources(node: &Node, root: &Node, diagnostics: &mut Vec<Diagnostic>) {
    let uses_tuning = || {
        let stages = root.get("stages").map(Node::items).unwrap_or_default();
        stages.iter().find_map(|stage| stage.get("uses").filter(|uses| uses.as_str() == Some("fine-tuning")))
    };
    match (given(node, "path"), given(node, "train")) {
        (true, true) => diagnostics.push(
            Diagnostic::error("`path` and `train` exclude each other").at(key_place(node, "train")).with_help(
                "`path` is one source that `split` divides; `train`, `validation` and `test` are separate files",
            ),
        ),
        (false, false) => {
            let first = node.entries().first().map(|entry| entry.key_span.clone());
            let help = "name the file: `path: data/FILE.csv`, or separate files under `train`, `validation` and `test`";
            // An invalid path has been reported.
            if node.entry("path").is_none() && node.entry("train").is_none() {
                diagnostics.push(Diagnostic::error("the data name no file").at(first).with_help(help));
            }
        }
        (true, false) => {
            for key in ["validation", "test"].into_iter().filter(|key| given(node, key)) {
                let message = format!("`{key}` goes with `train`; the rows of `path` are divided by `split`");
                let help = format!("write `train:` in place of `path:`, or a share: split: {{ {key}: 0.15 }}");
                diagnostics.push(Diagnostic::error(message).at(key_place(node, key)).with_help(help));
            }
            let share = node.get("split").and_then(|split| split.get("validation"));
            if let (Some(share), Some(tuning)) = (share.filter(|share| number(share) == Some(0.0)), uses_tuning()) {
                let message = "fine-tuning needs validation rows, for early stopping and for its guard";
                let diagnostic =
                    Diagnostic::error(message).at(share.span.clone()).with_related(tuning.span.clone(), "needs them");
                diagnostics.push(diagnostic.with_help("give validation rows a share such as 0.15"));
            }
        }
        (false, true) => {
            if given(node, "split") {
                diagnostics.push(
                    Diagnostic::error("`split` divides the rows of `path`; separate files are divided already")
                        .at(key_place(node, "split"))
                        .with_help("remove `split`, or write `path:` in place of `train:`"),
                );
            }
            if let (false, Some(tuning)) = (node.entry("validation").is_some(), uses_tuning()) {
                let message = "fine-tuning needs validation rows, for early stopping and for its guard";
                let diagnostic = Diagnostic::error(message)
                    .at(key_place(node, "train"))
                    .with_related(tuning.span.clone(), "needs them");
                diagnostics.push(diagnostic.with_help("name a file of validation rows: `validation: FILE`"));
            }
        }
    }
}

fn number(node: &Node) -> Option<f64> {
    match node.value {
        Yaml::Int(value) => Some(value as f64),
        Yaml::Float(value) => Some(value),
        _ => None,
    }
}

fn check_split(split: &Node, diagnostics: &mut Vec<Diagnostic>) {
    let share = |key: &str| split.get(key).map_or(Some(0.15), number);
    if let (Some(validation), Some(test)) = (share("validation"), share("test")) {
        let together = validation + test;
        let in_range = [validation, test].iter().all(|share| (0.0..=0.9).contains(share));
        if in_range && together >= 0.95 {
            let at = place(split, "test").or(place(split, "validation"));
            let together = (together * 1000.0).round() / 1000.0;
            let message = format!("`validation` and `test` must be below 0.95 together, found {together}");
            diagnostics.push(Diagnostic::error(message).at(at));
        }
    }
    let ways: Vec<&str> = ["group", "time", "column"].into_iter().filter(|key| given(split, key)).collect();
    if let [first, second, ..] = ways[..] {
        let message = format!("a split is by `{first}` or by `{second}`, not both");
        diagnostics.push(Diagnostic::error(message).at(key_place(split, second)));
    } else if let [way @ ("time" | "column")] = ways[..]
        && split.get("stratify").is_some_and(|stratify| stratify.value == Yaml::Bool(true))
    {
        let message = format!("a split by `{way}` cannot be stratified: `{way}` alone says where each row goes");
        diagnostics.push(
            Diagnostic::error(message).at(place(split, "stratify")).with_help(format!("remove `stratify` or `{way}`")),
        );
    }
    if ways == ["column"] {
        for key in ["validation", "test"].into_iter().filter(|key| given(split, key)) {
            let message = format!("`{key}` is unused: the rows are divided by the column that `column` names");
            diagnostics.push(Diagnostic::error(message).at(key_place(split, key)).with_help(format!("remove `{key}`")));
        }
    }
}

fn check_preprocessing(with: &Node, diagnostics: &mut Vec<Diagnostic>) {
    let steps = with.get("steps").map(Node::items).unwrap_or_default();
    for (index, node) in steps.iter().enumerate() {
        let Some(entry) = node.entries().first() else {
            continue;
        };
        if entry.key == "to_tensor" && index + 1 < steps.len() {
            let diagnostic = Diagnostic::error("`to_tensor` must be the last step").at(entry.key_span.clone());
            diagnostics.push(diagnostic.with_help("the steps after it work on tables; move it to the end"));
        }
        if let Some(step) = typed::<Step>(node) {
            check_step(&step, entry, diagnostics);
            check_expressions(&step, entry, diagnostics);
        }
    }
}

fn check_step(step: &Step, entry: &Entry, diagnostics: &mut Vec<Diagnostic>) {
    let node = &entry.node;
    let mut wrong = |key: &str, message: String, help: Option<&str>| {
        let value = node.get(key).unwrap_or(node);
        let at = place(node, key).unwrap_or(entry.key_span.clone());
        diagnostics.push(with_origin(Diagnostic::error(message).at(at).with_help_if(help), value));
    };
    match step {
        Step::Impute(impute) => match (impute.strategy, &impute.value) {
            (ImputeStrategy::Constant, None) => {
                wrong(
                    "strategy",
                    "`strategy: constant` needs a `value`".to_owned(),
                    Some("add `value: 0`, or another value"),
                );
            }
            (ImputeStrategy::Constant, Some(_)) | (_, None) => {}
            (_, Some(_)) => {
                wrong(
                    "value",
                    "`value` is used by `strategy: constant` only".to_owned(),
                    Some("write `strategy: constant`, or remove `value`"),
                );
            }
        },
        Step::DropMissing(drop) if drop.rows.is_none() && drop.columns.is_none() => {
            let help = "give a share of missing values: `rows: 0.5`, `columns: 0.9`, or both";
            wrong("rows", "`drop_missing` says neither which rows nor which columns go".to_owned(), Some(help));
        }
        Step::ParseDates(dates) => {
            for (message, help) in dates.formats.iter().filter_map(|format| DateFormat::parse(format).err()) {
                wrong("formats", message, Some(&help));
            }
        }
        Step::Outliers(outliers) => {
            outliers.misfits().into_iter().for_each(|(key, message, help)| wrong(key, message, Some(&help)));
        }
        Step::ClassWeights(ClassWeights { weights: LabelWeights::Each(weights) }) => {
            for (label, weight) in weights.iter().filter(|(_, weight)| !(weight.is_finite() && **weight >= 0.0)) {
                let message = format!("`weights` gives `{label}` the weight {weight}");
                wrong("weights", message, Some("a weight is 0 or more"));
            }
        }
        Step::ClipOutliers(clip) => {
            let [low, high] = clip.percentiles;
            if low >= high {
                wrong(
                    "percentiles",
                    format!("`percentiles` must be in order, found {low} and {high}"),
                    Some("write the lower one first"),
                );
            }
        }
        Step::TfIdf(tf_idf) => {
            let [short, long] = tf_idf.ngrams;
            if short > long {
                wrong(
                    "ngrams",
                    format!("`ngrams` must be in order, found {short} and {long}"),
                    Some("write the shorter one first"),
                );
            }
        }
        Step::MinMaxScale(scale) => {
            let [low, high] = scale.range;
            if low >= high {
                wrong(
                    "range",
                    format!("`range` must be in order, found {low} and {high}"),
                    Some("write the lower one first"),
                );
            }
        }
        Step::Pca(pca) => {
            if pca.components >= 1.0 && pca.components.fract() != 0.0 {
                let help = "1 or more is a number of components; a number below 1 is the share of variance to keep";
                wrong(
                    "components",
                    format!("`components` must be a whole number or below 1, found {}", pca.components),
                    Some(help),
                );
            } else if pca.components > 100_000.0 {
                wrong("components", format!("`components` must be at most 100000, found {}", pca.components), None);
            }
            check_prefix(&pca.prefix, &mut wrong);
        }
        Step::TruncatedSvd(svd) => check_prefix(&svd.prefix, &mut wrong),
        // Nothing beyond what the schema checks.
        _ => {}
    }
}

/// Mistakes of one feature selection method.
fn check_method(node: &Node, task: Option<TaskKind>, diagnostics: &mut Vec<Diagnostic>) {
    let (Some(entry), Some(method)) = (node.entries().first(), typed::<Method>(node)) else {
        return;
    };
    let (node, word) = (&entry.node, method.word());
    check_metric(node.get("metric"), task, diagnostics);
    let mut wrong = |key: &str, message: String, help: &str| {
        let at = place(node, key).unwrap_or(entry.key_span.clone());
        let value = node.get(key).unwrap_or(node);
        diagnostics.push(with_origin(Diagnostic::error(message).at(at).with_help(help), value));
    };
    let choice = match &method {
        Method::MutualInformation(method) => Some(method.choice()),
        Method::ReliefF(method) => Some(method.choice()),
        Method::LinearCoefficients(method) => Some(method.choice()),
        Method::TreeImportance(method) => Some(method.choice()),
        Method::ShapImportance(method) => Some(method.choice()),
        _ => None,
    };
    if choice == Some(Choice::default()) {
        let help = "add `keep: 20`, `keep: 40 %`, or `min_score`";
        wrong("keep", format!("`{word}` does not say how many columns stay"), help);
    }
    match &method {
        Method::RecursiveElimination(method) if method.step >= 1.0 && method.step.fract() != 0.0 => {
            let message = format!("`step` must be a whole number or below 1, found {}", method.step);
            wrong("step", message, "1 or more is a number of columns; a number below 1 is a share of them");
        }
        Method::L1(method) if method.keep.is_some() && method.alpha.is_some() => {
            wrong("alpha", "`keep` and `alpha` both say how strong the penalty is".to_owned(), "remove one of them");
        }
        Method::Stability(method) if matches!(*method.method, Method::Stability(_)) => {
            wrong("method", "`stability` cannot repeat itself".to_owned(), "name another method");
        }
        Method::Chi2(_) | Method::KruskalWallis(_) | Method::InformationValue(_)
            if task == Some(TaskKind::Regression) =>
        {
            let help = "use `f_test` or `mutual_information`";
            wrong("", format!("`{word}` compares labels, and the task is regression"), help);
        }
        _ => {}
    }
    if let Some(inner) = node.get("method").filter(|_| matches!(method, Method::Stability(_))) {
        check_method(inner, task, diagnostics);
    }
}

/// Mistakes in expressions of SQL, underlined where they are.
fn check_expressions(step: &Step, entry: &Entry, diagnostics: &mut Vec<Diagnostic>) {
    let entries: Vec<&Entry> = match step {
        Step::FilterRows(_) => entry.node.entry("where").into_iter().collect(),
        Step::Derive(_) => entry.node.get("columns").map(Node::entries).unwrap_or_default().iter().collect(),
        _ => return,
    };
    for entry in entries {
        let Some(text) = entry.node.as_str().filter(|text| !text.contains("${{")) else {
            continue;
        };
        if let Err(mistake) = Expression::parse(text) {
            let at = part_of(&entry.node, text, &mistake.place).unwrap_or_else(|| value_place(entry));
            let diagnostic = Diagnostic::error(mistake.message).at(at).with_help_if(mistake.help);
            diagnostics.push(with_origin(diagnostic, &entry.node));
        }
    }
}

/// Where a part of a text stands, if the text is written in the file as it is, in quotes or without.
pub(crate) fn part_of(node: &Node, text: &str, part: &Range<usize>) -> Option<Range<usize>> {
    let quote = match node.span.len().checked_sub(text.len()) {
        Some(0) => 0,
        // An escape would make the written text longer than by the quotes.
        Some(2) => 1,
        _ => return None,
    };
    let start = node.span.start + quote;
    let multiline = text.contains('\n');
    (node.origin.is_none() && !multiline && !part.is_empty()).then(|| start + part.start..start + part.end)
}

fn check_prefix(prefix: &str, wrong: &mut impl FnMut(&str, String, Option<&str>)) {
    if prefix.trim().is_empty() {
        wrong("prefix", "`prefix` is empty".to_owned(), Some("the new columns are called PREFIX_1, PREFIX_2, ..."));
    }
}

fn task_word(task: TaskKind) -> &'static str {
    match task {
        TaskKind::Classification => "classification",
        TaskKind::Regression => "regression",
    }
}

fn check_metric(node: Option<&Node>, task: Option<TaskKind>, diagnostics: &mut Vec<Diagnostic>) -> Option<Metric> {
    let node = node?;
    let metric = typed::<Metric>(node)?;
    if let Some(task) = task.filter(|task| *task != metric.task()) {
        let fitting = Metric::of(task).map(Metric::word);
        let message =
            format!("`{}` scores {}, but the task is {}", metric.word(), task_word(metric.task()), task_word(task));
        let diagnostic = Diagnostic::error(message).at(node.span.clone()).with_help(format!("use {}", one_of(fitting)));
        diagnostics.push(with_origin(diagnostic, node));
        return None;
    }
    Some(metric)
}

fn check_model_selection(with: &Node, task: Option<TaskKind>, diagnostics: &mut Vec<Diagnostic>) {
    let metric = check_metric(with.get("metric"), task, diagnostics);
    let threshold = check_metric(with.get("threshold"), task, diagnostics);
    if let Some((metric, node)) = threshold.filter(|metric| metric.needs_probabilities()).zip(with.get("threshold")) {
        let message = format!("`{}` is computed from probabilities, which no threshold changes", metric.word());
        let help = "name a score of labels, such as `f1` or `balanced_accuracy`";
        diagnostics.push(with_origin(Diagnostic::error(message).at(node.span.clone()).with_help(help), node));
    }
    // Where the data do not say, the metric does.
    let declared = task;
    let task = task.or(metric.map(Metric::task));
    for candidate in with.get("candidates").map(Node::items).unwrap_or_default() {
        let Some(entry) = candidate.entries().first() else {
            continue;
        };
        for parameter in entry.node.entries() {
            check_space(parameter, diagnostics);
        }
        check_misfits(entry, task, diagnostics);
        let Some(family) = Estimator::of(&entry.key) else {
            continue;
        };
        let needs = metric.filter(|metric| metric.needs_probabilities() && !metric.takes_scores());
        if let Some(metric) = needs.filter(|_| !family.gives_probabilities()) {
            let message = format!("`{}` gives scores, and `{}` needs probabilities", entry.key, metric.word());
            diagnostics.push(Diagnostic::error(message).at(entry.key_span.clone()).with_help(
                "choose a `metric` of labels or of ranks, such as `f1_macro` or `roc_auc`, or leave that candidate out",
            ));
        }
        if let Some(task) = task.filter(|task| !family.supports(*task)) {
            let why = match (declared, metric) {
                (None, Some(metric)) => format!("which `{}` scores", metric.word()),
                _ => "the task of this pipeline".to_owned(),
            };
            let message = format!("`{}` cannot do {}, {why}", entry.key, task_word(task));
            let fitting =
                Estimator::all().filter(|other| other.supports(task)).map(|other| other.word()).collect::<Vec<_>>();
            diagnostics.push(
                Diagnostic::error(message).at(entry.key_span.clone()).with_help(format!("use {}", one_of(fitting))),
            );
        }
    }
    if let Some(candidates) = with.get("candidates").and_then(typed::<Vec<Candidate>>)
        && with.get("search").and_then(|search| search.get("trials")).is_some()
    {
        check_trials(with, &candidates, diagnostics);
    }
}

/// Hyperparameters of a candidate that do not fit the task or each other, but for those that a search draws.
fn check_misfits(candidate: &Entry, task: Option<TaskKind>, diagnostics: &mut Vec<Diagnostic>) {
    let parameters = candidate.node.entries().iter().map(|parameter| (&parameter.key, parameter.node.to_json()));
    let (drawn, fixed): (Vec<_>, Vec<_>) = parameters.partition(|(_, value)| Space::of(value).is_some());
    let fixed: serde_json::Map<_, _> = fixed.into_iter().map(|(key, value)| (key.clone(), value)).collect();
    let Ok(estimator) = serde_json::from_value::<Estimator>(serde_json::json!({ &candidate.key: fixed })) else {
        return;
    };
    let is_drawn = |key: &&str| drawn.iter().any(|(drawn, _)| drawn == key);
    for misfit in estimator.misfits(task).into_iter().filter(|misfit| !misfit.keys.iter().any(is_drawn)) {
        let entry = misfit.keys.iter().find_map(|key| candidate.node.entry(key)).unwrap_or(candidate);
        diagnostics.push(Diagnostic::error(misfit.message).at(value_place(entry)).with_help(misfit.help));
    }
}

/// Fewer trials than candidates would leave some untried.
fn check_trials(with: &Node, candidates: &[Candidate], diagnostics: &mut Vec<Diagnostic>) {
    let Some(node) = with.get("search").and_then(|search| search.get("trials")) else {
        return;
    };
    if let Some(trials) = number(node).filter(|trials| *trials >= 1.0 && *trials < candidates.len() as f64) {
        let n = candidates.len();
        let message = format!("`trials` must be at least {n}, found {trials}: each of the {n} candidates needs one");
        diagnostics.push(with_origin(Diagnostic::error(message).at(node.span.clone()), node));
    }
}

fn check_space(parameter: &Entry, diagnostics: &mut Vec<Diagnostic>) {
    let Some(space) = Space::of(&parameter.node.to_json()) else {
        return;
    };
    let Some(entry) = parameter.node.entries().first() else {
        return;
    };
    let (low, high) = match space {
        Space::Choice(_) => return,
        Space::Int([low, high]) => (low as f64, high as f64),
        Space::Uniform([low, high]) | Space::LogUniform([low, high]) => (low, high),
    };
    if low >= high {
        let message = format!("the space of `{}` must go from low to high, found {low} and {high}", parameter.key);
        let help = if low == high {
            format!("write `{}: {low}` for a fixed value", parameter.key)
        } else {
            "write the lower one first".to_owned()
        };
        diagnostics.push(Diagnostic::error(message).at(value_place(entry)).with_help(help));
    }
}

/// The sets that a fine-tuning names must be in `data.sets`.
fn check_sets(with: &Node, sets: Option<&Node>, diagnostics: &mut Vec<Diagnostic>) {
    let known: Vec<&str> = sets.map(Node::entries).unwrap_or_default().iter().map(|entry| entry.key.as_str()).collect();
    let network = with.get("network");
    let also = with.get("guard").and_then(|guard| guard.get("also")).map(Node::items).unwrap_or_default();
    let of_training = [with.entry("rows"), network.and_then(|network| network.get("rehearsal")?.entry("set"))];
    let of_guard = also.iter().map(|also| also.entry("set"));
    let entries = of_training.into_iter().map(|entry| (entry, true)).chain(of_guard.map(|entry| (entry, false)));
    for (entry, may_be_train) in entries {
        let Some((entry, set)) = entry.and_then(|entry| Some((entry, entry.node.as_str()?))) else { continue };
        if known.contains(&set) || may_be_train && set == "train" || set.contains("${{") {
            continue;
        }
        let help = match did_you_mean(set, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("name its file under `data`: `sets: {{ {set}: FILE }}`"),
        };
        diagnostics.push(
            Diagnostic::error(format!("there is no set `{set}` in `data.sets`")).at(value_place(entry)).with_help(help),
        );
    }
}

/// What is wrong in the network that a fine-tuning starts from.
fn check_base(base: &Node, diagnostics: &mut Vec<Diagnostic>) {
    if !matches!(base.value, Yaml::Map(_)) {
        return;
    }
    let place_of_base = || base.entries().first().map(|entry| entry.key_span.clone());
    match (given(base, "network"), given(base, "table")) {
        (true, false) | (false, true) => {}
        (true, true) => diagnostics.push(
            Diagnostic::error("`network` and `table` exclude each other")
                .at(key_place(base, "table"))
                .with_help("`network` is for images, `table` for columns of numbers: keep one"),
        ),
        (false, false) => diagnostics.push(
            Diagnostic::error("the base names no network")
                .at(place_of_base())
                .with_help("add `network: resnet18` for images, or `table: { mlp: {} }` for columns of numbers"),
        ),
    }
    if !given(base, "weights") {
        for key in ["sha256", "key", "map", "fresh", "trust"].into_iter().filter(|key| given(base, key)) {
            diagnostics.push(
                Diagnostic::error(format!("`{key}` says how a file of weights is read, and `weights` names none"))
                    .at(key_place(base, key))
                    .with_help(format!("add `weights: FILE`, or remove `{key}`")),
            );
        }
    }
    if let Some(input) = base.get("input") {
        let misfits = typed::<ImageInput>(input).map(|input| input.misfits()).unwrap_or_default();
        for misfit in misfits {
            let key = misfit.keys.iter().find(|key| given(input, key)).copied().unwrap_or_default();
            diagnostics.push(Diagnostic::error(misfit.message).at(place(input, key)).with_help(misfit.help));
        }
    }
}

fn check_augmentations(list: &Node, diagnostics: &mut Vec<Diagnostic>) {
    let Some(augmentations) = typed::<Vec<Augmentation>>(list) else { return };
    for (number, misfit) in Augmentation::misfits(&augmentations) {
        let Some(node) = list.items().get(number) else { continue };
        let settings = node.entries().first().map_or(node, |entry| &entry.node);
        let key = misfit.keys.iter().find_map(|key| place(settings, key));
        let place = key.unwrap_or_else(|| display_span(node, &node.span));
        diagnostics.push(Diagnostic::error(misfit.message).at(place).with_help(misfit.help));
    }
}

fn check_fine_tuning(with: &Node, task: Option<TaskKind>, diagnostics: &mut Vec<Diagnostic>) {
    if let Some(base) = with.get("base") {
        check_base(base, diagnostics);
    }
    if let Some(list) = with.get("network").and_then(|network| network.get("augment")) {
        check_augmentations(list, diagnostics);
    }
    check_metric(with.get("guard").and_then(|guard| guard.get("metric")), task, diagnostics);
    let Some(goal_node) = with.get("goal").filter(|goal| goal.value != Yaml::Null) else {
        return;
    };
    check_metric(goal_node.get("metric"), task, diagnostics);
    let Some(goal) = typed::<Goal>(goal_node) else {
        return;
    };
    let key = key_place(with, "goal");
    let word = goal.metric.word();
    let (right, wrong, better) =
        if goal.metric.greater_is_better() { ("at_least", "at_most", "more") } else { ("at_most", "at_least", "less") };
    let diagnostic = match (goal.at_least, goal.at_most) {
        (None, None) => {
            Diagnostic::error("the goal names no value to reach").at(key).with_help(format!("add `{right}: VALUE`"))
        }
        (Some(_), Some(_)) => Diagnostic::error("`at_least` and `at_most` exclude each other")
            .at(key_place(goal_node, wrong))
            .with_help(format!("remove `{wrong}`: of `{word}`, {better} is better")),
        _ if given(goal_node, wrong) => Diagnostic::error(format!("of `{word}`, {better} is better"))
            .at(key_place(goal_node, wrong))
            .with_help(format!("write `{right}`")),
        _ => return,
    };
    diagnostics.push(diagnostic);
}
