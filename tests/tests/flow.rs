//! Whole pipelines through the command line: what a run leaves, what is kept from one run to the next, and the commands around it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use retune_tests::{FOUR_STEPS, Random, Workplace, assert_has, bmp, people};
use serde_json::Value;

/// A finished run of the four steps. Tests read it and leave it as it is.
static FINISHED: LazyLock<Workplace> = LazyLock::new(|| {
    let place = Workplace::shared(env!("CARGO_TARGET_TMPDIR"), "flow");
    place.write("p.yaml", FOUR_STEPS);
    place.write("people.csv", people(150));
    place.ok(&["run", "p.yaml"]);
    place
});

const LATEST: &str = "runs/people/latest";

/// Two branches, one of them divided by a matrix.
const BRANCHES: &str = "version: 1
name: people
threads: 1
data: { path: people.csv, target: likes, id: id }
stages:
  - id: prepare
    uses: preprocessing
    with: { steps: [ impute: {}, one_hot: {} ] }
  - id: scaled
    uses: preprocessing
    strategy: { matrix: { center: [true, false] } }
    with: { steps: [ standard_scale: { center: \"${{ matrix.center }}\" } ] }
  - id: linear
    uses: model-selection
    with: { folds: 2, search: { trials: 2 }, candidates: [ logistic_regression: { l2: { log_uniform: [0.1, 10] } } ] }
  - id: trees
    uses: model-selection
    inputs: prepare
    with: { folds: 2, search: { trials: 1 }, candidates: [ gradient_boosting: { trees: 5 } ] }
";

/// A preprocessing that hands tensors to a network.
const TENSORS: &str = "version: 1
name: people
seed: 5
threads: 1
data: { path: people.csv, target: likes, id: id }
stages:
  - id: prepare
    uses: preprocessing
    with: { steps: [ impute: {}, one_hot: {}, standard_scale: {}, to_tensor: {} ] }
  - id: model
    uses: model-selection
    with: { folds: 2, search: { trials: 2 }, candidates: [ mlp: { hidden: { choice: [[4], [8]] }, epochs: 3, batch_size: 32 } ] }
  - id: tuned
    uses: fine-tuning
    with: { base: model, network: { epochs: 2 } }
";

#[test]
fn a_run_leaves_everything_that_it_promises() {
    let place = &*FINISHED;
    for file in [
        "metrics.json",
        "predictions.parquet",
        "leaderboard.parquet",
        "features.parquet",
        "pipeline.resolved.yaml",
        "journal.jsonl",
        "run.json",
        "model/manifest.json",
    ] {
        assert!(!place.read(Path::new(LATEST).join(file)).is_empty(), "{file}");
    }
    assert!(place.path(LATEST).is_symlink());
    let metrics = place.json("runs/people/latest/metrics.json");
    let result = &metrics["results"][0];
    assert_eq!(
        (&metrics["pipeline"], &result["stage"], &result["set"], &result["n_rows"]),
        (&"people".into(), &"tuned".into(), &"test".into(), &30.into())
    );
    for model in result["models"].as_array().unwrap() {
        let score = |key: &str| model["scores"]["accuracy"][key].as_f64().unwrap();
        assert!(score("low") <= score("value") && score("value") <= score("high") && score("value") > 0.7, "{model}");
    }
    let run = place.json("runs/people/latest/run.json");
    let names: Vec<&str> =
        run["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(
        (run["status"].as_str(), names.as_slice()),
        (Some("done"), ["data", "prepare", "features", "model", "tuned", "evaluate tuned"].as_slice())
    );
    let journal = place.text("runs/people/latest/journal.jsonl");
    let events: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let event = |event: &Value| event["what"]["event"].as_str().unwrap().to_owned();
    assert_eq!(
        (event(&events[0]), event(events.last().unwrap())),
        ("run_started".to_owned(), "run_finished".to_owned())
    );
    // What was resolved runs again as it is, and finds everything done.
    let resolved = place.text("runs/people/latest/pipeline.resolved.yaml");
    assert!(!resolved.contains("${{"), "{resolved}");
}

#[test]
fn a_second_run_finds_everything_done() {
    let place = Workplace::with(FOUR_STEPS);
    let first = place.ok(&["run", "p.yaml"]);
    assert_has(
        &first,
        &[
            "tuned on 30 test rows, with 95 % intervals",
            "base: model",
            "tuned: tuned",
            "difference",
            "guard: ",
            ", 0 of 6 stages cached",
        ],
    );
    let (ran, results) = (place.ran_and_cached("people"), place.results("people"));
    assert_eq!((ran.0.len(), ran.1.len()), (6, 0));
    assert_has(&place.ok(&["plan", "p.yaml"]), &["0 of 6 would run"]);
    assert_has(&place.ok(&["why", "p.yaml", "model"]), &["model would not run: its result is in the store"]);
    let second = place.run(&["run", "p.yaml"]);
    assert_has(&second.stdout, &[", 6 of 6 stages cached"]);
    assert_has(&second.stderr, &["cached  prepare"]);
    assert_eq!(place.results("people"), results);
    // The resolved pipeline is the same one.
    let resolved = place.read("runs/people/latest/pipeline.resolved.yaml");
    place.write("resolved.yaml", resolved);
    assert_has(&place.ok(&["plan", "resolved.yaml"]), &["0 of 6 would run"]);
    // Asked for, everything runs again and comes out the same.
    assert_has(&place.ok(&["run", "p.yaml", "--force"]), &[", 0 of 6 stages cached"]);
    assert_eq!(place.results("people"), results);
}

#[test]
fn the_same_bits_in_another_folder_in_parts_and_stage_by_stage() {
    let expected = FINISHED.results("people");
    let place = Workplace::with(FOUR_STEPS);
    // Through the store: each of these is a process of its own.
    for stage in ["prepare", "features", "model", "tuned"] {
        place.ok(&["run", "p.yaml", "--only", stage]);
        assert_eq!(place.ran_and_cached("people").0.last().unwrap(), stage);
    }
    place.ok(&["run", "p.yaml"]);
    assert_eq!(place.ran_and_cached("people").0, ["evaluate tuned"]);
    assert_eq!(place.results("people"), expected);
    place.ok(&["run", "p.yaml", "--from", "model"]);
    assert_eq!(place.ran_and_cached("people").0, ["model", "tuned", "evaluate tuned"]);
    assert_eq!(place.results("people"), expected);
    place.ok(&["run", "p.yaml", "--until", "features", "--force"]);
    assert_eq!(place.ran_and_cached("people").0, ["data", "prepare", "features"]);
    assert_has(
        &place.fails(2, &["run", "p.yaml", "--only", "feature"]),
        &["error: no stage `feature`", "help: did you mean `features`?"],
    );
}

#[test]
fn tensors_go_through_memory_and_through_the_store() {
    let memory = Workplace::with(TENSORS);
    memory.ok(&["run", "p.yaml"]);
    let store = Workplace::with(TENSORS);
    for stage in ["prepare", "model", "tuned"] {
        store.ok(&["run", "p.yaml", "--only", stage]);
    }
    store.ok(&["run", "p.yaml"]);
    assert_eq!(store.results("people"), memory.results("people"));
    let has_tensors = store.files("store/objects").keys().any(|file| file.ends_with("train.safetensors"));
    assert!(has_tensors, "{:?}", store.files("store/objects").keys());
    // Rows to predict go the same way.
    store.ok(&["predict", LATEST, "--input", "people.csv", "--output", "out.csv"]);
    assert_eq!(store.text("out.csv").lines().count(), 151);
}

#[test]
fn the_same_bits_whatever_runs_side_by_side() {
    let runs: Vec<_> = ["1", "3"]
        .into_iter()
        .map(|jobs| {
            let place = Workplace::with(BRANCHES);
            place.ok(&["run", "p.yaml", "--jobs", jobs]);
            let run = place.json("runs/people/latest/run.json");
            let names: Vec<String> = run["stages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|stage| stage["name"].as_str().unwrap().to_owned())
                .collect();
            (names, place.results("people"))
        })
        .collect();
    assert_eq!(runs[0], runs[1]);
    let (names, results) = &runs[0];
    // The matrix repeats the stage and what follows it.
    let count = |word: &str| names.iter().filter(|name| name.contains(word) && !name.starts_with("evaluate")).count();
    assert_eq!((count("scaled"), count("linear"), count("trees"), names.len()), (2, 2, 1, 10), "{names:?}");
    let predictions: Vec<&String> = results.keys().filter(|name| name.starts_with("predictions")).collect();
    assert_eq!(predictions.len(), 3, "{predictions:?}");
}

#[test]
fn a_stage_fitted_alone_is_the_stage_of_the_run() {
    let place = Workplace::with(FOUR_STEPS);
    for (position, stage) in [(0, "prepare"), (1, "features"), (2, "tuned")] {
        place.ok(&["stage", "fit", &format!("p.yaml#{stage}"), "--output", stage]);
        assert_eq!(place.files(stage), FINISHED.files(format!("{LATEST}/model/{position}-{stage}")), "{stage}");
    }
    assert_has(
        &place.fails(4, &["stage", "fit", "p.yaml#prepare", "--output", "prepare"]),
        &["error: prepare already exists"],
    );
    assert_has(
        &place.fails(2, &["stage", "fit", "p.yaml#prepair", "--output", "x"]),
        &["error: no stage `prepair`", "help: did you mean `prepare`?"],
    );
}

#[test]
fn one_stage_file_is_fitted_on_one_table_and_applied_to_another() {
    let place = Workplace::with("");
    place.write("steps.yaml", "steps: [ impute: {}, min_max_scale: { columns: income }, one_hot: {} ]");
    place.ok(&[
        "stage",
        "fit",
        "preprocessing",
        "--with",
        "steps.yaml",
        "--input",
        "people.csv",
        "--target",
        "likes",
        "--output",
        "fitted",
    ]);
    place.write("two.csv", "id,age,income,fixed,city\nx,,1e9,1,Oslo\ny,30,0,1,Rome\n");
    assert_eq!(
        place.ok(&["stage", "apply", "fitted", "--input", "two.csv", "--output", "out.jsonl"]),
        "out.jsonl 2 rows\n"
    );
    let rows: Vec<Value> = place.text("out.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows[0]["age"].as_f64().is_some_and(|age| (18.0..78.0).contains(&age)), "{}", rows[0]);
    assert!(rows[0]["income"].as_f64().unwrap() > 1.0 && rows[1]["income"].as_f64().unwrap() < 0.0, "{rows:?}");
    assert_eq!((&rows[0]["city_Oslo"], &rows[1]["city_Oslo"]), (&true.into(), &false.into()), "{rows:?}");
    place.write("steps.yaml", "steps: [ imputed: {} ]");
    let error = place.fails(
        3,
        &[
            "stage",
            "fit",
            "preprocessing",
            "--with",
            "steps.yaml",
            "--input",
            "people.csv",
            "--target",
            "likes",
            "--output",
            "other",
        ],
    );
    assert_has(
        &error,
        &["error: unknown preprocessing step `imputed`", "--> steps.yaml:1:10", "did you mean `impute`?"],
    );
}

#[test]
fn an_upstream_change_without_effect_stops_there() {
    let place = Workplace::with(FOUR_STEPS);
    place.ok(&["run", "p.yaml", "--set", "factor=1e6", "--until", "features"]);
    place.ok(&["run", "p.yaml", "--set", "factor=1e7", "--until", "features"]);
    assert_eq!(
        place.ran_and_cached("people"),
        (vec!["prepare".to_owned()], vec!["data".to_owned(), "features".to_owned()])
    );
    // One that has an effect does not.
    place.ok(&["run", "p.yaml", "--set", "factor=0.1", "--until", "features"]);
    assert_eq!(place.ran_and_cached("people").0, ["prepare", "features"]);
}

#[test]
fn why_names_the_part_of_the_key_that_changed() {
    let place = Workplace::with(FOUR_STEPS);
    assert_has(&place.ok(&["why", "p.yaml", "data"]), &["data would run: it never ran here"]);
    assert_has(&place.ok(&["plan", "p.yaml"]), &["it never ran here", "6 of 6 would run"]);
    place.ok(&["run", "p.yaml", "--until", "features"]);
    let why = place.ok(&["why", "p.yaml", "prepare", "--set", "factor=5"]);
    assert_has(&why, &["prepare would run, because its key changed:", "with.steps[2].clip_outliers.factor: 3", "-> 5"]);
    assert_has(
        &place.ok(&["why", "p.yaml", "features", "--set", "factor=5"]),
        &[
            "features would run if what it needs comes out differently",
            "prepare: with.steps[2].clip_outliers.factor changed",
        ],
    );
    assert_has(&place.ok(&["plan", "p.yaml", "--set", "keep=2"]), &["with.steps[1].mutual_information.keep changed"]);
    place.write("people.csv", people(149));
    assert_has(&place.ok(&["why", "p.yaml", "data"]), &["files.all[0]: "]);
    assert_has(
        &place.fails(2, &["why", "p.yaml", "prepair"]),
        &["error: no stage `prepair`", "help: did you mean `prepare`?"],
    );
}

#[test]
fn a_failed_stage_leaves_the_rest_done() {
    let place = Workplace::with(
        "version: 1
name: people
threads: 1
data: { path: people.csv, target: likes, id: id }
stages:
  - id: prepare
    uses: preprocessing
    with: { steps: [ impute: {}, one_hot: {}, standard_scale: {} ] }
  - id: bad
    uses: preprocessing
    with: { steps: [ log1p: { columns: income } ] }
  - id: after
    uses: feature-selection
    with: { steps: [ variance_threshold: {} ] }
  - id: good
    uses: model-selection
    inputs: prepare
    with: { folds: 2, search: { trials: 1 }, candidates: [ logistic_regression: {} ] }
",
    );
    let first = place.run(&["run", "p.yaml"]);
    assert_eq!(first.code, 4, "{}", first.stderr);
    assert_has(
        &first.stderr,
        &["  failed  bad: ", "column `income`", " skipped  after (`bad` failed)", "    done  good "],
    );
    let (ran, cached) = place.ran_and_cached("people");
    assert_eq!(
        (ran.as_slice(), cached.len()),
        (["data", "prepare", "good", "evaluate good"].map(str::to_owned).as_slice(), 0)
    );
    assert_eq!(place.newest_run("people")["status"], "failed");
    assert_has(&first.stdout, &["good on 23 test rows"]);
    place.fails(4, &["run", "p.yaml"]);
    let (ran, cached) = place.ran_and_cached("people");
    assert_eq!((ran.len(), cached), (0, ["data", "prepare", "good", "evaluate good"].map(str::to_owned).to_vec()));
}

#[test]
fn latest_names_the_last_whole_run_that_ended_well() {
    let place = Workplace::with(FOUR_STEPS);
    // What can be shown is the newest run, whatever came of it.
    let check = |arguments: &[&str], code: i32, moves: bool, status: &str| {
        let latest = || std::fs::read_link(place.path(LATEST)).ok();
        let before = latest();
        assert_eq!(place.run(&[&["run", "p.yaml"], arguments].concat()).code, code, "{arguments:?}");
        assert_eq!(latest() != before, moves, "{arguments:?}");
        assert_eq!(
            latest().is_some_and(|latest| place.newest("people").unwrap().ends_with(latest)),
            moves,
            "{arguments:?}"
        );
        assert_has(&place.ok(&["show", "people"]), &[&format!("people: {status}")]);
    };
    check(&["--until", "features"], 0, false, "done");
    assert_has(&place.fails(4, &["predict", LATEST, "--input", "people.csv", "--output", "out.csv"]), &["is no model"]);
    check(&[], 0, true, "done");
    check(&["--only", "tuned", "--force"], 0, false, "done");
    check(&["--from", "model"], 0, true, "done");
    place.write("people.csv", people(150).replace("Paris", "Oslo").replace("yes", "no"));
    check(&[], 4, false, "failed");
    place.ok(&["predict", LATEST, "--input", "people.csv", "--output", "out.csv"]);
    place.write("people.csv", people(149));
    check(&[], 0, true, "done");
}

#[test]
fn looking_writes_nothing() {
    let place = Workplace::with(FOUR_STEPS);
    let look = || {
        for arguments in [
            &["validate", "p.yaml"][..],
            &["plan", "p.yaml"],
            &["plan", "p.yaml", "--set", "keep=2", "--force"],
            &["why", "p.yaml", "model"],
            &["graph", "p.yaml"],
        ] {
            place.ok(arguments);
        }
    };
    look();
    assert_eq!(place.files("").keys().collect::<Vec<_>>(), ["p.yaml", "people.csv"]);
    assert!(!place.store().exists() && !place.path("runs").exists());
    // A file's digest is remembered once it is no longer fresh.
    std::thread::sleep(Duration::from_millis(2100));
    place.ok(&["run", "p.yaml", "--until", "prepare"]);
    place.write("people.csv", people(149));
    std::thread::sleep(Duration::from_millis(2100));
    // One that is damaged stays as it is, too.
    let manifests = place.files("store/objects").into_keys().filter(|file| file.ends_with("manifest.json"));
    let damaged: Vec<String> = manifests.collect();
    damaged.iter().for_each(|file| place.write(&format!("store/objects/{file}"), "{}"));
    let before = place.files("");
    assert!(before.contains_key("store/stat-cache.json"), "{:?}", before.keys());
    look();
    assert_eq!(place.files(""), before);
    // A run mends it.
    place.write("people.csv", people(150));
    place.ok(&["run", "p.yaml", "--until", "prepare"]);
    let mended = place.files("store/objects");
    assert!(damaged.iter().all(|file| mended[file] != b"{}"));
}

#[test]
fn a_stage_is_stopped_at_its_timeout() {
    let pipeline = FOUR_STEPS.split("  - id: model").next().unwrap().to_owned()
        + "  - id: slow
    uses: model-selection
    timeout: 1
    with: { folds: 2, search: { trials: 1 }, candidates: [ mlp: { epochs: 100000, early_stopping: 0, batch_size: 8 } ] }
";
    let place = Workplace::with(&pipeline);
    let run = place.run(&["run", "p.yaml"]);
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert_has(
        &run.stderr,
        &[
            "  failed  slow: stopped after its timeout of 1 s",
            "help: raise `timeout`, or give the stage less to do",
            " skipped  evaluate slow (`slow` failed)",
        ],
    );
    assert_eq!(place.ran_and_cached("people").0, ["data", "prepare", "features"]);
    // Who wants no progress still wants to know.
    let quiet = place.run(&["run", "p.yaml", "--progress", "none"]);
    assert_eq!(quiet.code, 5);
    assert_has(&quiet.stderr, &["  failed  slow: stopped after its timeout of 1 s"]);
}

#[test]
fn a_host_that_dies_is_a_failed_stage() {
    let place = Workplace::with(FOUR_STEPS);
    for (host, words) in
        [("/bin/false", "retune-stage ended with code 1"), ("/none", "cannot start /none: No such file or directory")]
    {
        let mut command = place.command(&["run", "p.yaml"]);
        command.env("RETUNE_STAGE", host);
        let run = place.finish(command);
        assert_eq!(run.code, 5, "{}", run.stderr);
        assert_has(&run.stderr, &[words]);
    }
}

#[test]
fn graph_show_and_schema_say_what_is_there() {
    let place = &*FINISHED;
    let mermaid = place.ok(&["graph", "p.yaml"]);
    assert_has(&mermaid, &["flowchart LR\n", "n1[\"prepare<br/>preprocessing\"]", "n0 --> n1", "[\"evaluate tuned\"]"]);
    let dot = place.ok(&["graph", "p.yaml", "--format", "dot"]);
    assert_has(&dot, &["digraph {\n", "n1 [label=\"prepare\\npreprocessing\"];", "n0 -> n1;", "}\n"]);
    let show = place.ok(&["show", "people"]);
    assert_has(
        &show,
        &[
            "people: done",
            "prepare: training rows",
            "drop_duplicates: dropped 3",
            "features: features",
            "model: leaderboard",
            "tuned on 30 test rows",
        ],
    );
    let part = place.ok(&["show", "leaderboard", LATEST]);
    assert_has(&part, &["model: leaderboard", "logistic_regression", "gradient_boosting"]);
    assert!(!part.contains("test rows"), "{part}");
    let metrics: Value = serde_json::from_str(&place.ok(&["show", "metrics", "people", "--json"])).unwrap();
    assert_eq!(metrics, place.json("runs/people/latest/metrics.json"));
    assert_has(&place.fails(4, &["show", "nobody"]), &["error: no run at nobody"]);
    let schema: Value = serde_json::from_str(&place.ok(&["schema"])).unwrap();
    assert_eq!(schema["properties"]["stages"]["minItems"], 1);
    assert_has(&place.ok(&["schema", "--reference"]), &["standard_scale", "gradient_boosting"]);
    assert_has(&place.ok(&["validate", "p.yaml"]), &["p.yaml is valid: 4 stages, 1 data file\n"]);
}

#[test]
fn stages_are_listed_and_described() {
    let place = Workplace::new();
    assert_has(&place.ok(&["stage", "list"]), &["  impute ", "  mutual_information ", "  logistic_regression "]);
    assert_has(&place.ok(&["stage", "describe", "impute"]), &["strategy", "indicator"]);
    assert_has(
        &place.fails(2, &["stage", "describe", "imputer"]),
        &["error: nothing is called `imputer`", "help: did you mean `impute`?"],
    );
}

#[test]
fn the_command_line_explains_itself() {
    let place = Workplace::with(FOUR_STEPS);
    assert_has(&place.fails(2, &[]), &["Usage: retune", "Exit codes: 0 done; 2 usage"]);
    assert_has(&place.fails(2, &["run", "p.yaml", "--job", "2"]), &["unexpected argument '--job'", "--jobs"]);
    assert_has(&place.fails(2, &["run", "p.yaml", "--only", "a", "--from", "b"]), &["cannot be used with"]);
    assert_has(&place.fails(2, &["run", "p.yaml", "--set", "x"]), &["write it as NAME=VALUE"]);
    assert_has(
        &place.fails(3, &["run", "p.yaml", "--set", "factr=2"]),
        &["error: `--set factr=2`: no parameter `factr`", "did you mean `factor`?"],
    );
    assert_has(
        &place.fails(2, &["run", "p.yaml", "--device", "gpu"]),
        &["error: `gpu` is not a device; it is `cpu` or `cuda:N`"],
    );
    assert!(!place.path("runs").exists() && !place.store().exists(), "something ran");
}

#[test]
fn progress_is_told_as_json_lines() {
    let place = Workplace::with(FOUR_STEPS);
    let run = place.run(&["run", "p.yaml", "--progress", "json"]);
    let events: Vec<Value> = run
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of = |word: &str| events.iter().filter(|event| event["event"] == word).count();
    assert_eq!((of("run_started"), of("stage_started"), of("stage_finished"), of("run_finished")), (1, 6, 6, 1));
    assert!(of("progress") > 0);
    assert_eq!(place.run(&["run", "p.yaml", "--progress", "none"]).stderr, "");
}

#[test]
fn a_pipeline_is_written_from_a_look_at_the_data() {
    let place = Workplace::new();
    for (data, target, task, score) in [
        ("wine", "cultivar", "classification, 3 labels", "f1_macro"),
        ("diabetes", "progression", "regression", "rmse"),
    ] {
        place.copy_data(&format!("{data}.csv"));
        let written = place.ok(&["init", &format!("data/{data}.csv"), "--target", target]);
        assert_eq!(written, format!("{data}.yaml\nnext: retune run {data}.yaml\n"));
        let file = format!("{data}.yaml");
        assert_has(
            &place.text(&file),
            &[&format!("path: data/{data}.csv\n"), &format!("target: {target}  # {task}"), &format!("metric: {score}")],
        );
        assert_has(&place.ok(&["validate", &file]), &["is valid: 4 stages"]);
        let run = place.ok(&["run", &file]);
        assert_has(&run, &["tuned on ", " test rows"]);
        assert_has(
            &place.fails(4, &["init", &format!("data/{data}.csv"), "--target", target]),
            &[&format!("error: {file} already exists")],
        );
    }
    assert_has(
        &place.fails(4, &["init", "data/wine.csv", "--target", "cultivars", "--force"]),
        &["error: data.target: no column `cultivars`; did you mean `cultivar`?"],
    );
}

#[test]
fn a_pipeline_is_written_for_rare_labels_and_for_names_that_begin_alike() {
    let place = Workplace::new();
    let words = ["red", "green", "blue", "warm", "cold", "soft", "loud", "fast", "slow", "tall"];
    let mut random = Random(11);
    let mut text = "note,note_length,note_kind,note_more,age,colour\n".to_owned();
    for row in 0..120 {
        let mut draw = |count: usize| {
            let drawn: Vec<&str> = (0..count).map(|_| words[(random.next_unit() * 10.0) as usize]).collect();
            drawn.join(" ")
        };
        let (note, more) = (draw(6), draw(5));
        let label = if row % 20 == 3 { "rare" } else { ["yes", "no"][row % 2] };
        writeln!(text, "{note},{},{},{more},{},{label}", row * 7 % 31, ["a", "b"][row % 3 % 2], row * 5 % 17).unwrap();
    }
    place.write("notes.csv", text);
    place.ok(&["init", "notes.csv", "--target", "colour"]);
    let written = place.text("notes.yaml");
    // 6 rows of 120, of which 15 % twice are taken away.
    assert_has(&written, &["folds: 4  # label \"rare\" has 4 training rows; each fold needs one\n"]);
    assert_has(
        &written,
        &[
            "columns: { not: [note_length, note_kind, note_more, age] }",
            "columns: \"note_more_*\", components: 31, prefix: note_more_svd",
        ],
    );
    let run = place.run(&["run", "notes.yaml"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let report = place.json("runs/notes/latest/stages/features.json");
    let features: Vec<&str> = report["details"]["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|feature| feature["name"].as_str().unwrap())
        .collect();
    for name in ["note_length", "age", "note_svd_1", "note_more_svd_1", "note_kind_a"] {
        assert!(features.contains(&name), "{name} is not among {features:?}");
    }
}

#[test]
fn a_bundle_predicts_where_there_is_nothing_else() {
    let place = Workplace::new();
    for (name, bytes) in FINISHED.files(format!("{LATEST}/model")) {
        place.write(&format!("model/{name}"), bytes);
    }
    let everyone = people(150);
    let without_target = |row: &str| row.rsplit_once(',').unwrap().0.to_owned();
    let rows: Vec<String> = everyone.lines().take(41).map(without_target).collect();
    place.write("rows.csv", rows.join("\n"));
    for file in ["out.csv", "out.parquet", "out.jsonl", "out.arrow"] {
        assert_eq!(
            place.ok(&["predict", "model", "--input", "rows.csv", "--output", file]),
            format!("{file} 40 rows\n")
        );
    }
    assert!(place.read("out.parquet").starts_with(b"PAR1") && place.read("out.arrow").starts_with(b"ARROW1"));
    let csv = place.text("out.csv");
    let (header, lines) = csv.split_once('\n').unwrap();
    assert!(header.ends_with("id,prediction,probability_no,probability_yes"), "{header}");
    let json: Vec<Value> = place.text("out.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.lines().count(), json.len()), (40, 40));
    for (line, json) in lines.lines().zip(&json) {
        let prediction = json["prediction"].as_str().unwrap();
        assert_has(line, &[&format!("{},{prediction},", json["id"].as_str().unwrap())]);
        let [no, yes] = ["probability_no", "probability_yes"].map(|name| json[name].as_f64().unwrap());
        assert!((no + yes - 1.0).abs() < 1e-6 && (prediction == "yes") == (yes > no), "{json}");
    }
    // Better than chance, so the columns were not mixed up.
    let truth = everyone.lines().skip(1).map(|row| row.rsplit_once(',').unwrap().1);
    let right = truth.zip(&json).filter(|(truth, json)| json["prediction"] == *truth).count();
    assert!(right > 30, "{right} of 40");
    // In another order, with more columns and a city that nobody came from.
    place.write("other.csv", "city,more,fixed,income,age,id\nRome,x,1,2000,40,q\n");
    place.ok(&["predict", "model", "--input", "other.csv", "--output", "other.jsonl"]);
    // Not at all where the output would not be one.
    assert_has(&place.fails(4, &["predict", "model", "--input", "rows.csv", "--output", "out.xlsx"]), &["out.xlsx"]);
    assert_has(
        &place.fails(4, &["predict", "nobody", "--input", "rows.csv", "--output", "out.csv"]),
        &["error: nobody is no model", "help: name the folder `model` of a run"],
    );
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let place = Workplace::new();
    let model = FINISHED.path(LATEST);
    let cases = [
        (
            "id,age,fixed\np1,30,1\n",
            "error: the rows lack 2 columns: `income` and `city`\n  help: they have `id`, `age` and `fixed`\n",
        ),
        (
            "id,age,incme,fixed,city\np1,30,1,1,Oslo\n",
            "error: the rows lack 1 column: `income`\n  help: `incme` may be `income`; columns are matched by their names\n",
        ),
        (
            "id,age,income,fixed,city\np1,30,much,1,Oslo\n",
            "error: column `income` must be numeric, but holds `much` in row 1\n  help: correct them, or add words that stand for a missing value: `null_values: [much]`\n",
        ),
        (
            "id,age,income,fixed,city\np1,30,inf,1,Oslo\n",
            "error: column `income` is infinite in row 1\n  help: replace infinite values by a number or leave them empty, before retune reads them\n",
        ),
    ];
    for (rows, words) in cases {
        place.write("rows.csv", rows);
        assert_eq!(
            place.fails(4, &["predict", model.to_str().unwrap(), "--input", "rows.csv", "--output", "out.csv"]),
            words
        );
        assert!(!place.path("out.csv").exists());
    }
}

#[test]
fn a_model_is_scored_on_other_rows() {
    let place = Workplace::with("");
    let model = FINISHED.path(LATEST);
    let model = model.to_str().unwrap();
    assert_has(
        &place.ok(&["evaluate", model, "--input", "people.csv"]),
        &["on 150 given rows, with 95 % intervals", "accuracy", "f1_macro"],
    );
    let scores: Value =
        serde_json::from_str(&place.ok(&["evaluate", model, "--input", "people.csv", "--json"])).unwrap();
    assert!(scores["models"][0]["scores"]["accuracy"]["value"].as_f64().unwrap() > 0.7, "{scores}");
    place.write("rows.csv", "id,age,income,fixed,city\np1,30,1000,1,Oslo\n");
    assert_has(&place.fails(4, &["evaluate", model, "--input", "rows.csv"]), &["error: ", "likes"]);
    place.write("rows.csv", "id,age,income,fixed,city,likes\np1,30,1000,1,Oslo,maybe\n");
    assert_has(
        &place.fails(4, &["evaluate", model, "--input", "rows.csv"]),
        &[
            "error: target `likes` has the label `maybe` in row 1, which no training row has",
            "help: the labels are `no` and `yes`",
        ],
    );
}

#[test]
fn a_required_goal_that_is_missed_is_an_exit_code() {
    let goal = "{ base: model, goal: { metric: log_loss, at_most: 1e-9, required: true } }";
    let place = Workplace::with(&FOUR_STEPS.replace("{ base: model }", goal));
    // The second time from the store.
    for cached in ["0 of 6", "6 of 6"] {
        let run = place.run(&["run", "p.yaml"]);
        assert_eq!(run.code, 6, "{}", run.stderr);
        assert_has(
            &run.stderr,
            &["error: goal missed: log_loss is 0.", "guard rows, at most 0.000000001 was asked for\n"],
        );
        assert_has(&run.stdout, &["tuned on 30 test rows", &format!("{cached} stages cached")]);
    }
    // The stage alone leaves what was kept, and says the same.
    let fit = place.run(&["stage", "fit", "p.yaml#tuned", "--output", "fitted"]);
    assert_eq!((fit.code, fit.stdout.as_str()), (6, "fitted\n"), "{}", fit.stderr);
    assert_has(&fit.stderr, &["error: goal missed: log_loss is 0."]);
    assert!(place.path("fitted/manifest.json").exists());
    let place =
        Workplace::with(&FOUR_STEPS.replace("{ base: model }", &goal.replace("required: true", "required: false")));
    assert_has(&place.run(&["run", "p.yaml"]).stderr, &[" warning  tuned: goal missed: "]);
}

#[test]
fn a_flipped_byte_is_noticed() {
    let place = Workplace::new();
    place.write("rows.csv", people(3));
    let model = FINISHED.files(format!("{LATEST}/model"));
    let is_checked = |name: &&String| !name.contains("manifest");
    assert!(model.keys().filter(is_checked).count() >= 4, "{:?}", model.keys());
    for (position, damaged) in model.keys().enumerate() {
        let folder = format!("model{position}");
        for (name, bytes) in &model {
            let mut bytes = bytes.clone();
            if name == damaged {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            place.write(&format!("{folder}/{name}"), bytes);
        }
        let error = place.fails(5, &["predict", &folder, "--input", "rows.csv", "--output", "out.csv"]);
        let file = Path::new(damaged).file_name().unwrap().to_str().unwrap();
        assert_has(&error, &["error: ", file, " is damaged: ", &folder]);
    }
    assert!(!place.path("out.csv").exists());
}

#[test]
fn a_damaged_store_is_noticed_and_mended() {
    let place = Workplace::with(FOUR_STEPS);
    place.ok(&["run", "p.yaml"]);
    let results = place.results("people");
    let run = place.json("runs/people/latest/run.json");
    let rows = run["stages"][1]["outcome"]["objects"]["rows"].as_str().unwrap().to_owned();
    let files = place.files("store/objects");
    let object = files.keys().find(|file| file.contains(&rows) && file.ends_with("train.arrow")).unwrap().clone();
    let mut bytes = files[&object].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    place.write(&format!("store/objects/{object}"), bytes);
    // Nothing reads it where everything is done; what needs it says so.
    assert_eq!(place.run(&["run", "p.yaml"]).code, 0);
    let error = place.fails(5, &["run", "p.yaml", "--from", "features"]);
    assert_has(&error, &["  failed  features: ", "`train.arrow` in ", " is damaged: ", "the next run makes it again"]);
    std::fs::remove_dir_all(place.path("store/objects").join(Path::new(&object).parent().unwrap())).unwrap();
    place.ok(&["run", "p.yaml", "--from", "features"]);
    assert_eq!(place.results("people"), results);
}

#[test]
fn bad_images_are_set_aside_with_a_reason_and_every_row_is_accounted_for() {
    let place = Workplace::new();
    let mut table = "picture,shade\n".to_owned();
    for row in 0..40_u8 {
        place.write(&format!("pictures/{row}.bmp"), if row == 7 { b"no picture".to_vec() } else { bmp(6 * row) });
        let _ = writeln!(table, "{row}.bmp,{}", if row < 20 { "dark" } else { "bright" });
    }
    place.write("pictures.csv", table);
    place.write(
        "p.yaml",
        "version: 1
name: pictures
data: { path: pictures.csv, target: shade, columns: { picture: image }, split: { validation: 0.0, test: 0.0 } }
stages:
  - id: prepare
    uses: preprocessing
    with: { steps: [ decode_image: { root: pictures, on_error: quarantine }, one_hot: {} ] }
",
    );
    let run = place.run(&["run", "p.yaml"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_has(
        &run.stderr,
        &["40 -> 39 rows", "one_hot: no column is chosen by `columns: categorical`, so the step does nothing"],
    );
    let shown = place.ok(&["show", "pictures"]);
    assert_has(&shown, &["quarantined", "quarantined 1 row without"]);
    let table = std::fs::read(place.path("runs/pictures/latest/quarantine.parquet")).unwrap();
    assert_eq!(&table[..4], b"PAR1");
    // A bad image stays bad; when it is mended, that is noticed.
    place.ok(&["run", "p.yaml"]);
    assert_eq!(place.ran_and_cached("pictures").0.len(), 0);
    place.write("pictures/7.bmp", bmp(42));
    let run = place.run(&["run", "p.yaml"]);
    assert_has(&run.stderr, &["images[0] changed", "40 rows, 1 -> 64 features"]);
}

#[test]
fn mistakes_of_a_stage_file_are_shown_in_that_file() {
    let place = Workplace::with("");
    place.write("impute.yaml", "columns: [incom]\n");
    let fit = ["stage", "fit", "impute", "--with", "impute.yaml", "--input", "people.csv", "--target", "likes"];
    let failed = place.fails(3, &[&fit[..], &["--output", "fitted"]].concat());
    assert_has(&failed, &["impute.yaml:1:11", "1 | columns: [incom]", "did you mean `income`?"]);
    // What the command line says is in no file.
    let fit = [&fit[..7], &["--target", "lieks", "--output", "fitted"]].concat();
    let failed = place.fails(3, &fit);
    assert_has(&failed, &["error: no column `lieks` in people.csv\n |\n = help: did you mean `likes`?"]);
}

#[test]
fn importance_tells_what_a_model_depends_on() {
    let path = FINISHED.path(LATEST).display().to_string();
    let place = Workplace::with("");
    let importance = |more: &[&str]| {
        let command = ["importance", path.as_str(), "--input", "people.csv", "--json"];
        place.ok(&[&command[..], more].concat())
    };
    let told: Value = serde_json::from_str(&importance(&["--output", "importance.csv"])).unwrap();
    let features = told["features"].as_array().unwrap();
    let names: Vec<&str> = features.iter().map(|feature| feature["name"].as_str().unwrap()).collect();
    assert!(!names.contains(&"likes") && !names.contains(&"id"), "{names:?}");
    // Best first, each within its interval, and the file says the same.
    let of = |feature: &Value, key: &str| feature[key].as_f64().unwrap();
    assert!(features.windows(2).all(|pair| of(&pair[0], "importance") >= of(&pair[1], "importance")));
    assert!(features.iter().all(|f| of(f, "low") <= of(f, "importance") && of(f, "importance") <= of(f, "high")));
    assert!(of(&features[0], "low") > 0.0, "{told:#}");
    let file = place.text("importance.csv");
    assert!(file.starts_with("name,columns,importance,low,high,reason\n") && file.lines().count() == names.len() + 1);
    // The same again, whatever else; groups are shuffled together.
    assert_eq!(importance(&[]), importance(&[]));
    let grouped = importance(&["--group", &format!("two={},{}", names[0], names[1])]);
    let grouped: Value = serde_json::from_str(&grouped).unwrap();
    assert_eq!(grouped["features"].as_array().unwrap().len(), names.len() - 1);
    let refused =
        |more: &[&str]| place.fails(4, &[&["importance", path.as_str(), "--input", "people.csv"][..], more].concat());
    assert_has(&refused(&["--metric", "rmse"]), &["`rmse` does not score a classification"]);
    assert_has(&refused(&["--output", "people.csv"]), &["the output people.csv would replace its own input"]);
    assert_has(&refused(&["--group", "none=zzz*"]), &["group `none`", "matches no feature column"]);
}

#[test]
fn weights_of_labels_reach_the_model() {
    let place = Workplace::new();
    let mut random = Random(3);
    let mut rows = "x,z,label\n".to_owned();
    for row in 0..400 {
        let rare = row % 10 == 0;
        let mut normal = || (0..12).map(|_| random.next_unit()).sum::<f64>() - 6.0;
        let _ = writeln!(
            rows,
            "{},{},{}",
            normal() + if rare { 1.5 } else { 0.0 },
            normal(),
            if rare { "rare" } else { "common" }
        );
    }
    place.write("rows.csv", rows);
    let recall = |steps: &str| {
        place.write(
            "p.yaml",
            format!(
                "version: 1
name: weighed
data: {{ path: rows.csv, target: label, split: {{ test: 0.5, stratify: true }} }}
stages:
  - {{ id: prepare, uses: preprocessing, with: {{ steps: [ standard_scale: {{}}{steps} ] }} }}
  - {{ id: model, uses: model-selection, with: {{ folds: 2, search: {{ trials: 1 }}, candidates: [ logistic_regression: {{}} ] }} }}
"
            ),
        );
        place.ok(&["run", "p.yaml"]);
        let metrics = place.json("runs/weighed/latest/metrics.json");
        metrics["results"][0]["models"][0]["scores"]["balanced_accuracy"]["value"].as_f64().unwrap()
    };
    let (plain, weighed) = (recall(""), recall(", class_weights: {}"));
    assert!(weighed > plain + 0.1, "{plain} {weighed}");
}

/// The classic mistake: the best of a thousand columns of noise, chosen on all rows, seem to tell the label in every fold.
#[test]
fn selection_among_noise_is_not_believed() {
    let place = Workplace::new();
    let mut random = Random(5);
    let names: Vec<String> = (0..1000).map(|at| format!("x{at}")).collect();
    let mut rows = format!("{},label\n", names.join(","));
    for row in 0..60 {
        names.iter().for_each(|_| write!(rows, "{:.4},", random.next_unit()).unwrap());
        rows += if row % 2 == 0 { "a\n" } else { "b\n" };
    }
    place.write("noise.csv", rows);
    place.write(
        "p.yaml",
        "version: 1
name: noise
data: { path: noise.csv, target: label, split: { validation: 0.0, test: 0.0 } }
stages:
  - { id: features, uses: feature-selection, with: { steps: [ f_test: { keep: 10 } ] } }
  - { id: model, uses: model-selection, with: { metric: accuracy, folds: 5, search: { trials: 1 }, candidates: [ logistic_regression: {} ] } }
",
    );
    let mean_of_folds = |pipeline: &str, name: &str| {
        place.ok(&["run", pipeline, "--until", "model"]);
        let run = std::fs::read_dir(place.path(format!("runs/{name}"))).unwrap().next().unwrap().unwrap().path();
        let report: Value = serde_json::from_slice(&std::fs::read(run.join("stages/model.json")).unwrap()).unwrap();
        report["details"]["leaderboard"][0]["mean"].as_f64().unwrap()
    };
    let honest = mean_of_folds("p.yaml", "noise");
    // The same columns as a table of their own: now the folds look at what was chosen with their own rows.
    place.ok(&["stage", "fit", "p.yaml#features", "--output", "fitted"]);
    place.ok(&["stage", "apply", "fitted", "--input", "noise.csv", "--output", "chosen.csv"]);
    let careless = place.text("p.yaml").replace("noise", "chosen");
    let (before, after) = (careless.find("  - { id: features").unwrap(), careless.find("  - { id: model").unwrap());
    place.write("careless.yaml", format!("{}{}", &careless[..before], &careless[after..]));
    let careless = mean_of_folds("careless.yaml", "chosen");
    assert!(honest < 0.68 && careless > 0.75, "{honest} {careless}");
}

/// The trials that the ledger of the one search in the store has.
fn ledger(place: &Workplace) -> Vec<String> {
    let files = place.files("store/searches");
    let (_, text) = files.iter().find(|(name, _)| name.ends_with("trials.jsonl")).expect("a ledger");
    String::from_utf8(text.clone()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_longer_search_goes_on_where_a_shorter_one_ended() {
    let short = FOUR_STEPS.split("  - id: tuned").next().unwrap().to_owned();
    let place = Workplace::with(&short);
    place.ok(&["run", "p.yaml"]);
    let before = ledger(&place);
    assert_eq!(before.len(), 4);
    place.write("p.yaml", short.replace("trials: 4", "trials: 7"));
    place.ok(&["run", "p.yaml"]);
    let after = ledger(&place);
    assert_eq!((after.len(), &after[..4]), (7, before.as_slice()));
    let board = place.json(format!("{LATEST}/stages/model.json"));
    assert_eq!(board["details"]["leaderboard"].as_array().unwrap().len(), 7);
    // The same as in one go.
    let whole = Workplace::with(&short.replace("trials: 4", "trials: 7"));
    whole.ok(&["run", "p.yaml"]);
    assert_eq!(whole.results("people"), place.results("people"));
}

#[test]
fn the_stages_before_are_searched_too() {
    let text = FOUR_STEPS
        .replace("        - standard_scale: {}\n", "        - standard_scale: {}\n        - pca: { components: 2 }\n")
        .replace(
            "    with: { steps: [ variance_threshold: {}, mutual_information: { keep: \"${{ params.keep }}\" } ] }",
            "    with: { steps: [ variance_threshold: {} ] }",
        )
        .replace("      folds: 3\n", "      folds: 3\n      upstream: { prepare.pca.components: { int: [3, 5] } }\n");
    let place = Workplace::with(&text);
    place.ok(&["run", "p.yaml"]);
    let report = place.json(format!("{LATEST}/stages/model.json"));
    let chosen = report["details"]["upstream"]["prepare.pca.components"].as_u64().expect("a number of components");
    assert!((3..=5).contains(&chosen), "{chosen}");
    // The bundle has the chain that won, and gives what the run gave.
    place.ok(&["predict", &format!("{LATEST}/model"), "--input", "people.csv", "--output", "all.csv"]);
    assert_eq!(place.text("all.csv").lines().count(), 151);
    place.ok(&["evaluate", &format!("{LATEST}/model"), "--input", "people.csv"]);

    for (wrong, message, help) in [
        ("prepare.pac.components", "stage `prepare` has no step `pac`", "did you mean `pca`?"),
        ("prepar.pca.components", "`prepar.pca.components` names no stage before this one", "did you mean `prepare`?"),
        (
            "prepare.pca.component",
            "`component` of step `pca`: unknown field `component`",
            "`retune stage describe pca`",
        ),
        ("prepare.pca", "`prepare.pca` names no hyperparameter", "prepare.STEP.PARAMETER"),
    ] {
        place.write("wrong.yaml", text.replace("prepare.pca.components", wrong));
        assert_has(&place.fails(3, &["validate", "wrong.yaml"]), &[message, help, "wrong.yaml:"]);
    }
}

#[test]
fn words_and_gaps_are_taken_as_they_are_by_trees() {
    let text = "version: 1
name: people
threads: 1
data: { path: people.csv, target: likes, id: id }
stages:
  - id: model
    uses: model-selection
    with: { folds: 3, candidates: [ gradient_boosting: { trees: 10, min_rows: 5 } ] }
";
    let place = Workplace::with(text);
    place.ok(&["run", "p.yaml"]);
    place.ok(&["predict", &format!("{LATEST}/model"), "--input", "people.csv", "--output", "all.csv"]);
    place.write("p.yaml", text.replace("gradient_boosting: { trees: 10, min_rows: 5 }", "random_forest: {}"));
    let run = place.run(&["run", "p.yaml"]);
    assert_has(
        &run.stderr,
        &[
            "`random_forest` needs numbers, and column `city` is categorical",
            "encode it before this stage: `one_hot` or `target_encode`, or for this family alone: `encode: {}`",
        ],
    );
}

#[test]
fn what_a_family_cannot_take_is_encoded_for_it_alone() {
    let text = "version: 1
name: people
threads: 1
data: { path: people.csv, target: likes, id: id, split: { validation: 0.2, test: 0.2 } }
stages:
  - { id: model, uses: model-selection, with: { folds: 3, encode: { max_levels: 2 }, search: { trials: 1 }, candidates: [FAMILY] } }
  - { id: tuned, uses: fine-tuning, with: { base: model } }
";
    for (family, is_encoded) in [
        ("gradient_boosting: { trees: 10, min_rows: 5 }", false),
        ("logistic_regression: { l2: 1.0 }", true),
        ("mlp: { hidden: [8], epochs: 5 }", true),
    ] {
        let place = Workplace::with(&text.replace("FAMILY", family));
        place.ok(&["run", "p.yaml"]);
        let model = place.json(format!("{LATEST}/model/0-tuned/model.json"));
        assert_eq!(model["encoders"].is_array(), is_encoded, "{family}");
        // A gap in a number, a city that was never seen, and one that is not known.
        place.write("new.csv", "id,age,income,fixed,city\na,,3000,1,Paris\nb,40,3000,1,Rome\nc,50,2500,1,\n");
        place.ok(&["predict", &format!("{LATEST}/model"), "--input", "new.csv", "--output", "said.csv"]);
        assert_eq!(place.text("said.csv").lines().count(), 4, "{family}");
    }
}

#[test]
fn an_ensemble_is_calibrated_and_decides() {
    let place = Workplace::with(&FOUR_STEPS.replace(
        "      folds: 3\n",
        "      folds: { repeated: { folds: 3, times: 2 } }\n      ensemble: { voting: { top: 2 } }\n      calibrate: platt\n      threshold: balanced_accuracy\n      nested: 2\n",
    ));
    place.ok(&["run", "p.yaml"]);
    let report = place.json(format!("{LATEST}/stages/model.json"));
    let told: Vec<&str> = report["learned"].as_array().unwrap().iter().filter_map(|one| one["step"].as_str()).collect();
    for word in ["ensemble", "calibrate", "threshold", "nested"] {
        assert!(told.contains(&word), "{told:?}");
    }
    assert_eq!(report["details"]["nested"]["scores"].as_array().unwrap().len(), 2);
    place.ok(&["predict", &format!("{LATEST}/model"), "--input", "people.csv", "--output", "all.csv"]);
}
