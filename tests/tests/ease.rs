//! What makes retune easy to live with: completions, man pages, `doctor`, and runs that are logged elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use retune_tests::{FOUR_STEPS, Output, Random, Workplace, assert_has, bmp, people, skip};
use serde_json::{Value, json};

/// The commands that `--help` lists.
fn commands(place: &Workplace, of: &[&str]) -> Vec<String> {
    let help = place.ok(&[of, &["--help"]].concat());
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|name| !name.is_empty());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn completions_know_every_command() {
    let place = Workplace::new();
    let commands = commands(&place, &[]);
    assert!(commands.len() > 12 && commands.contains(&"doctor".to_owned()), "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.ok(&["completions", shell]);
        for command in &commands {
            assert!(script.contains(command), "{shell} does not complete `{command}`");
        }
        assert_has(&script, &["retune", "progress"]);
        let Ok(mut child) = Command::new(shell).arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
            skip(&format!("`{shell}` is not installed"));
            continue;
        };
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let checked = child.wait_with_output().unwrap();
        assert!(checked.status.success(), "{shell}: {}", String::from_utf8_lossy(&checked.stderr));
    }
    assert_has(&place.fails(2, &["completions", "tcsh"]), &["possible values: bash, elvish, fish, powershell, zsh"]);
}

#[test]
fn bash_completes_options_and_their_words() {
    let place = Workplace::new();
    place.write("retune.bash", place.ok(&["completions", "bash"]));
    let complete = |words: &str, current: &str| {
        let script = format!(
            "source ./retune.bash; COMP_WORDS=({words} '{current}'); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _retune retune '{current}' \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &script]).current_dir(place.path("")).output();
        output.ok().map(|output| String::from_utf8(output.stdout).unwrap())
    };
    let Some(commands) = complete("retune", "") else { return skip("`bash` is not installed") };
    assert_has(&commands, &["run", "doctor", "stage"]);
    assert_has(&complete("retune run", "--pro").unwrap(), &["--progress"]);
    assert_has(&complete("retune run --progress", "").unwrap(), &["auto", "json", "none"]);
    assert_has(&complete("retune stage", "").unwrap(), &["describe", "fit", "apply"]);
    // Where it has nothing to say, bash completes the names of files.
    assert_has(&place.text("retune.bash"), &["complete -F _retune -o nosort -o bashdefault -o default retune"]);
}

#[test]
fn every_command_has_a_man_page() {
    let place = Workplace::new();
    assert_has(&place.ok(&["man", "share/man1"]), &["share/man1\n", "next: man -l "]);
    let mut expected: Vec<String> = commands(&place, &[]).iter().map(|name| format!("retune-{name}.1")).collect();
    expected.extend(commands(&place, &["stage"]).iter().map(|name| format!("retune-stage-{name}.1")));
    expected.push("retune.1".to_owned());
    let pages = place.files("share/man1");
    for name in &expected {
        let page = pages.get(name).unwrap_or_else(|| panic!("{name} is not among {:?}", pages.keys()));
        assert_has(&String::from_utf8_lossy(page), &[".TH", ".SH NAME", ".SH SYNOPSIS"]);
    }
    assert_has(&place.text("share/man1/retune-run.1"), &["\\-\\-progress", "JSON lines"]);
    assert_has(&place.text("share/man1/retune.1"), &["Exit codes: 0 done"]);
    place.write("file", "");
    assert_has(&place.fails(5, &["man", "file/man1"]), &["error: cannot write man pages to file/man1", "help: "]);
}

#[test]
fn the_doctor_says_what_is_there() {
    let place = Workplace::new();
    let said = place.run(&["doctor"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        format!("      ok  retune         {version} for "),
        format!("      ok  retune-stage   {version}, "),
        "      ok  libtorch       2.".to_owned(),
        "      ok  lightgbm       4.".to_owned(),
        "  gpu ".to_owned(),
        "      ok  processor ".to_owned(),
        "  memory ".to_owned(),
    ] {
        assert_has(&said.stdout, &[&line]);
    }
    assert_has(
        &said.stdout,
        &["store, which the first run makes; ", " free", "everything that a run needs is there\n"],
    );
    assert!(!place.store().exists() && place.files("").is_empty(), "looking left something behind");
    let json: Value = serde_json::from_str(&place.ok(&["doctor", "--json"])).unwrap();
    let names: Vec<&str> = json["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["retune", "retune-stage", "libtorch", "lightgbm", "gpu", "store", "runs", "processor", "memory"]
    );
    assert_eq!(json["healthy"], true);
    place.write("store/objects/x", vec![0; 450_000]);
    assert_has(&place.ok(&["doctor"]), &["  store of 450 kB; "]);
}

/// A program in place of `retune-stage`.
fn with_host(place: &Workplace, script: &str, arguments: &[&str]) -> Output {
    place.write("host", format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(place.path("host"), PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = place.command(arguments);
    command.env("RETUNE_STAGE", place.path("host"));
    place.finish(command)
}

#[test]
fn the_doctor_says_what_is_missing_and_the_way_out() {
    let place = Workplace::new();
    let loader = "retune-stage: error while loading shared libraries: libtorch_cpu.so: cannot open shared object file: No such file or directory";
    let old = r#"{"version":"0.0.1","libtorch":{"version":"1.0.0","path":null},"lightgbm":{"version":"4.0.0","path":null},"cuda":false,"devices":0}"#;
    let done = format!(r#"read job <&3; echo '{{"id":1,"event":"done","objects":{{}},"result":{old}}}' >&4"#);
    for (script, found, help) in [
        (
            format!("echo '{loader}' >&2; exit 127"),
            "missing  retune-stage   retune-stage ended with code 127",
            "help: its library libtorch_cpu.so is gone",
        ),
        ("kill -SEGV $$".to_owned(), "retune-stage was ended by signal 11", "help: install both programs again"),
        ("echo gibberish >&4".to_owned(), "retune-stage ended with code 0", "help: install both programs again"),
        (done, "0.0.1, host: not the version of `retune`", "help: install both programs of one version"),
    ] {
        let said = with_host(&place, &script, &["doctor"]);
        assert_eq!(said.code, 5, "{}", said.stdout);
        assert_has(&said.stdout, &[found, help, " missing\n"]);
        let json: Value = serde_json::from_str(&with_host(&place, &script, &["doctor", "--json"]).stdout).unwrap();
        assert_eq!((&json["healthy"], &json["checks"][1]["status"]), (&json!(false), &json!("missing")));
    }
    let mut command = place.command(&["doctor"]);
    command.env("RETUNE_STAGE", "/nowhere/retune-stage");
    let said = place.finish(command);
    assert_eq!(said.code, 5);
    assert_has(&said.stdout, &["cannot start /nowhere/retune-stage", "or set RETUNE_STAGE", "note  libtorch"]);
    place.write("file", "");
    let mut command = place.command(&["doctor"]);
    command.env("RETUNE_STORE", place.path("file/store"));
    let said = place.finish(command);
    assert_eq!(said.code, 5);
    assert_has(&said.stdout, &["missing  store ", "cannot be written to", "RETUNE_STORE names another place"]);
    assert_has(&said.stdout, &["one thing is missing\n"]);
}

/// What a request to [`Server`] was: method and path, its `Authorization`, and its body.
type Request = (String, String, Value);

/// A server on this machine that answers as MLflow does, and remembers what it was asked.
struct Server {
    address: String,
    heard: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `answer` gives the status and body for a method and path.
    fn start(answer: impl Fn(&str) -> (u16, Value) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let request = hear(&stream);
                let (status, body) = answer(&request.0);
                remembered.lock().unwrap().push(request);
                let body = body.to_string();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n");
                let _ = write!(&stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
            }
        });
        Self { address, heard }
    }

    fn mlflow() -> Self {
        Self::start(|asked| match asked.rsplit('/').next().unwrap().split('?').next().unwrap() {
            "get-by-name" => (404, json!({ "error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none" })),
            "create" if asked.contains("experiments") => (200, json!({ "experiment_id": "7" })),
            "create" => (200, json!({ "run": { "info": { "run_id": "abc" } } })),
            _ => (200, json!({})),
        })
    }

    fn heard(&self) -> Vec<Request> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

fn hear(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let named = lines.iter().filter_map(|line| line.split_once(": "));
        named.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let what = lines[0].trim_end_matches(" HTTP/1.1").to_owned();
    (what, header("authorization").unwrap_or_default(), serde_json::from_slice(&body).unwrap_or_default())
}

/// The four steps, logged to a server and to a folder.
fn tracked(server: &str) -> String {
    FOUR_STEPS.replace("stages:\n", &format!("tracking: {{ mlflow: \"{server}\", tensorboard: events }}\nstages:\n"))
}

fn run(place: &Workplace, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = place.command(arguments);
    // Nothing of the machine's own: neither a proxy nor somebody's token.
    for name in ["MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"] {
        command.env_remove(name);
    }
    command.envs([("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")]).envs(variables.iter().copied());
    place.finish(command)
}

fn batches<'a>(heard: &'a [Request], what: &str) -> Vec<&'a Value> {
    let batches = heard.iter().filter(|(asked, ..)| asked == "POST /api/2.0/mlflow/runs/log-batch");
    batches.filter_map(|(.., body)| body[what].as_array()).flatten().collect()
}

#[test]
fn a_run_is_logged_to_mlflow_and_to_tensorboard() {
    let (place, server) = (Workplace::new(), Server::mlflow());
    place.write("people.csv", people(150));
    place.write("p.yaml", tracked(&server.address));
    let ran = run(&place, &[("MLFLOW_TRACKING_TOKEN", "secret")], &["run", "p.yaml"]);
    assert_eq!((ran.code, ran.stderr.contains("MLflow")), (0, false), "{}", ran.stderr);
    let heard = server.heard();
    assert!(heard.iter().all(|(_, authorization, _)| authorization == "Bearer secret"), "{heard:?}");
    let asked: Vec<&str> = heard.iter().map(|(asked, ..)| asked.as_str()).collect();
    assert_eq!(
        (&asked[..3], asked.last().unwrap()),
        (
            [
                "GET /api/2.0/mlflow/experiments/get-by-name?experiment_name=people",
                "POST /api/2.0/mlflow/experiments/create",
                "POST /api/2.0/mlflow/runs/create",
            ]
            .as_slice(),
            &"POST /api/2.0/mlflow/runs/update"
        )
    );
    assert_eq!(heard[1].2, json!({ "name": "people" }));
    let folder = place.newest("people").unwrap();
    assert_eq!(
        (&heard[2].2["experiment_id"], heard[2].2["run_name"].as_str()),
        (&json!("7"), folder.file_name().unwrap().to_str())
    );
    let parameter =
        |key: &str| batches(&heard, "params").iter().find(|pair| pair["key"] == key).map(|pair| pair["value"].clone());
    for (key, value) in [
        ("seed", "3"),
        ("params.keep", "4"),
        ("data.target", "likes"),
        ("prepare.steps.1.impute.indicator", "true"),
        ("features.steps.1.mutual_information.keep", "4"),
        ("model.search.sampler", "random"),
    ] {
        assert_eq!(parameter(key), Some(json!(value)), "{key}");
    }
    let metric = |key: &str| -> Vec<Value> {
        batches(&heard, "metrics")
            .iter()
            .filter(|metric| metric["key"] == key)
            .map(|metric| metric["value"].clone())
            .collect()
    };
    let metrics = place.json(folder.join("metrics.json"));
    let result = &metrics["results"][0];
    for (model, id) in [(0, "model"), (1, "tuned")] {
        let score = &result["models"][model]["scores"]["accuracy"];
        for (end, key) in [("", "value"), ("_low", "low"), ("_high", "high")] {
            assert_eq!(metric(&format!("{id}/test_accuracy{end}")), [score[key].clone()], "{id} {key}");
        }
    }
    assert_eq!(metric("tuned/test_accuracy_difference"), [result["difference"]["accuracy"]["value"].clone()]);
    assert_eq!(metric("model/trial_score").len(), 4);
    let tags = batches(&heard, "tags");
    let tag = |key: &str| tags.iter().find(|pair| pair["key"] == key).map(|pair| pair["value"].clone());
    let run = place.json(folder.join("run.json"));
    assert_eq!(tag("retune.key.prepare").as_ref(), Some(&run["stages"][1]["key"]));
    assert!(tag("mlflow.note.content").unwrap().as_str().unwrap().starts_with("tuned: "), "{tags:?}");
    let first: Vec<&str> = heard[2].2["tags"].as_array().unwrap().iter().map(|t| t["key"].as_str().unwrap()).collect();
    assert_has(&first.join(" "), &["mlflow.source.name", "retune.version", "retune.libtorch", "retune.lightgbm"]);
    let update = &heard.last().unwrap().2;
    assert_eq!((&update["run_id"], &update["status"]), (&json!("abc"), &json!("FINISHED")));
    let events = place.files("events/people");
    let (name, bytes) = events.iter().next().expect("a file of events");
    assert!(name.contains("/events.out.tfevents."), "{name}");
    assert!(String::from_utf8_lossy(bytes).contains("tuned/test_accuracy_low"));
}

#[test]
fn a_run_that_fails_is_logged_as_failed() {
    let (place, server) = (Workplace::new(), Server::mlflow());
    place.write("people.csv", people(150));
    place.write("p.yaml", tracked(&server.address).replace("standard_scale: {}", "pca: { components: 900 }"));
    let ran =
        run(&place, &[("MLFLOW_TRACKING_USERNAME", "ada"), ("MLFLOW_TRACKING_PASSWORD", "x:y")], &["run", "p.yaml"]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    let heard = server.heard();
    assert!(heard.iter().all(|(_, authorization, _)| authorization == "Basic YWRhOng6eQ=="), "{heard:?}");
    assert_eq!(heard.last().unwrap().2["status"], "FAILED");
}

#[test]
fn tracking_is_in_no_key_and_a_server_that_is_away_takes_nothing() {
    let place = Workplace::with(FOUR_STEPS);
    place.ok(&["run", "p.yaml"]);
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    place.write("p.yaml", tracked(&format!("http://{address}")));
    let begun = Instant::now();
    let ran = run(&place, &[], &["run", "p.yaml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_has(
        &ran.stderr,
        &["warning  tracking: the run is not, or not wholly, logged to MLflow at ", "the run's folder has all of it"],
    );
    assert_has(&ran.stdout, &["6 of 6 stages cached"]);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // As JSON, the warning comes before the last word.
    let ran = run(&place, &[], &["run", "p.yaml", "--progress", "json"]);
    let events: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [.., warning, last] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(
        (&warning["stage"], &warning["level"], &last["event"]),
        (&json!("tracking"), &json!("warning"), &json!("run_finished"))
    );
    assert!(!place.files("events/people").is_empty());
}

#[test]
fn a_server_that_says_nothing_or_no_is_waited_for_a_few_seconds_and_told() {
    let place = Workplace::with(FOUR_STEPS);
    place.ok(&["run", "p.yaml"]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let refusing = Server::start(|_| (401, json!({ "message": "who are you?" })));
    let other = Server::start(|_| (404, Value::Null));
    for (address, said) in [
        (&silent, "MLflow at "),
        (&refusing.address, "it refuses to be written to (who are you?); set MLFLOW_TRACKING_TOKEN"),
        (&other.address, "there is a server, but no MLflow"),
    ] {
        place.write("p.yaml", tracked(address));
        let begun = Instant::now();
        let ran = run(&place, &[], &["run", "p.yaml"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_has(&ran.stderr, &["warning  tracking: ", said]);
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    }
}

#[test]
fn mistakes_end_with_what_to_try_next() {
    let place = Workplace::with(FOUR_STEPS);
    place.write("typo.yaml", FOUR_STEPS.replace("people.csv", "poeple.csv"));
    place.write("folder/q.yaml", "");
    for (code, arguments, said) in [
        (3, vec!["run", "pp.yaml"], "help: did you mean `p.yaml`?"),
        (3, vec!["run", "nothing.yaml"], "help: `retune init DATA --target COLUMN` writes a pipeline"),
        (3, vec!["validate", "folder"], "help: name a file in it, such as `folder/q.yaml`"),
        (4, vec!["validate", "typo.yaml"], "no file `poeple.csv`; did you mean `people.csv`?"),
        (2, vec!["run", "p.yaml", "--form", "model"], "tip: a similar argument exists: '--from'"),
        (2, vec!["run", "p.yaml", "--only", "modle"], "help: did you mean `model`?"),
        (2, vec!["why", "p.yaml", "modle"], "help: did you mean `model`?"),
        (4, vec!["show", "people"], "help: nothing ran here yet: `retune run PIPELINE` leaves a run"),
        (
            4,
            vec!["predict", "runs/people/latest", "--input", "people.csv", "--output", "x.csv"],
            "help: name the folder",
        ),
        (2, vec!["stage", "fit", "preprocessing", "--output", "o"], "help: one stage on one table: `retune stage fit"),
        (4, vec!["init", "poeple.csv", "--target", "likes"], "did you mean `people.csv`?"),
        (4, vec!["init", "folder", "--target", "likes"], "name a file, or a pattern such as `folder/*.csv`"),
    ] {
        assert_has(&place.fails(code, &arguments), &[said]);
    }
    let mut command = place.command(&["run", "p.yaml"]);
    command.env("RETUNE_STAGE", "/nowhere");
    assert_has(
        &place.finish(command).stderr,
        &["help: install both programs with `just install`", "`retune doctor` tells"],
    );
    place.write("p.yaml", FOUR_STEPS.replace("standard_scale: {}", "pca: { components: 900 }"));
    let failed = place.fails(4, &["run", "p.yaml"]);
    assert_has(
        &failed,
        &["next: mend what failed; `retune run p.yaml` goes on from what is done, `retune show runs/people/"],
    );
    assert_has(&place.fails(4, &["show", "poeple"]), &["help: did you mean `people`?"]);
}

#[test]
fn what_init_writes_for_dates_and_images_explains_itself_and_runs() {
    let place = Workplace::new();
    let mut random = Random(5);
    let mut text = "when,when_more,amount,late\n".to_owned();
    for row in 0..160 {
        let (day, amount) = (1 + row % 28, 100.0 * random.next_unit());
        let late = if amount + f64::from(day) > 60.0 { "yes" } else { "no" };
        let more = ["a", "b"][row as usize % 2];
        text.push_str(&format!("2026-{:02}-{day:02},{more},{amount:.1},{late}\n", 1 + row % 12));
    }
    place.write("bills.csv", text);
    place.ok(&["init", "bills.csv", "--target", "late"]);
    assert_has(
        &place.text("bills.yaml"),
        &["- datetime_parts: { columns: [when] }  # year, month, day, weekday and hour"],
    );
    place.ok(&["run", "bills.yaml"]);
    let report = place.text("runs/bills/latest/stages/features.json");
    assert_has(&report, &["\"when_day\"", "\"amount\"", "\"when_more_a\""]);

    for picture in 0..80 {
        let (label, grey) = if picture % 2 == 0 { ("dark", picture) } else { ("light", 255 - picture) };
        place.write(&format!("photos/{label}/{picture}.bmp"), bmp(grey));
    }
    place.ok(&["init", "photos/*/*.bmp", "--target", "label"]);
    let written = place.text("photos.yaml");
    assert_has(
        &written,
        &["path: \"photos/*/*.bmp\"\n", "target: label  # classification, 2 labels", "- image_network: "],
    );
    // As it is written, but small enough for a second.
    place.write("photos.yaml", written.replace("[64, 64]", "[8, 8]").replace("epochs: 20", "epochs: 2"));
    assert_has(&place.ok(&["run", "photos.yaml"]), &["tuned on 12 test rows"]);
}
