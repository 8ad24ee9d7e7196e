//! `retune apply`: many files through what was fitted, each once, with every row accounted for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use retune_tests::{FOUR_STEPS, Workplace, assert_has, children, is_host, people, signal, wait_for};

/// The results of one run that all tests here apply, as `model/` of their folders.
fn model() -> &'static BTreeMap<String, Vec<u8>> {
    static MODEL: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    MODEL.get_or_init(|| {
        let place = Workplace::with(FOUR_STEPS);
        place.ok(&["run", "p.yaml", "--progress", "none"]);
        place.files("runs/people/latest/model")
    })
}

/// A folder with the model and `n` files of rows to score.
fn workplace(n: usize) -> Workplace {
    let place = Workplace::new();
    for (name, bytes) in model() {
        place.write(&format!("model/{name}"), bytes);
    }
    let rows = people(40 * n);
    let (header, rows) = rows.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    for number in 0..n {
        let text = [header].into_iter().chain(rows[40 * number..40 * (number + 1)].iter().copied());
        place.write(&format!("new/{}/{number:03}.csv", number % 3), text.collect::<Vec<_>>().join("\n") + "\n");
    }
    place
}

const APPLY: [&str; 7] = ["apply", "model", "--input", "new/**/*.csv", "--output", "out", "--progress=none"];

fn results(place: &Workplace) -> BTreeMap<String, Vec<u8>> {
    place.files("out").into_iter().filter(|(name, _)| !name.starts_with(".retune")).collect()
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&APPLY[..], more].concat()
}

/// A file as CSV text, through `retune` itself.
fn lines_of(place: &Workplace, file: &str) -> Vec<String> {
    place.text(file).lines().map(str::to_owned).collect()
}

#[test]
fn each_file_gives_one_of_its_own_with_the_predictions_that_predict_writes() {
    let place = workplace(7);
    let said = place.ok(&with(&["--format", "csv", "--jobs", "2"]));
    assert_has(&said, &["out 7 files done", "280 rows in = 280 rows out + 0 set aside"]);
    let made = results(&place);
    let names: Vec<&str> = made.keys().map(String::as_str).collect();
    assert_eq!(names, ["0/000.csv", "0/003.csv", "0/006.csv", "1/001.csv", "1/004.csv", "2/002.csv", "2/005.csv"]);
    for name in names {
        place.ok(&["predict", "model", "--input", &format!("new/{name}"), "--output", "one.csv"]);
        assert_eq!(place.text(format!("out/{name}")), place.text("one.csv"), "{name}");
    }

    // Nothing is done twice; what changed is done again, and what is new.
    assert_has(&place.ok(&with(&["--format", "csv"])), &["out 0 files done, 7 done before", "280 rows in"]);
    std::thread::sleep(Duration::from_millis(20));
    place.write("new/1/001.csv", place.read("new/2/002.csv"));
    place.write("new/9/new.csv", place.read("new/2/002.csv"));
    assert_has(&place.ok(&with(&["--format", "csv"])), &["out 2 files done, 6 done before", "320 rows in"]);
    let again = results(&place);
    assert_eq!((&again["1/001.csv"], &again["9/new.csv"]), (&made["2/002.csv"], &made["2/002.csv"]));
}

#[test]
fn all_files_into_one_are_in_the_order_of_their_names() {
    let place = workplace(3);
    for number in 0..3 {
        let name = format!("new/{number}/{number:03}.csv");
        let noted = place.text(&name).lines().map(|line| line.to_owned() + ",note\n").collect::<String>();
        place.write(&name, noted);
    }
    place.ok(&["apply", "model", "-i", "new/", "-o", "all.csv", "--extra-columns", "keep", "--row-numbers"]);
    let all = lines_of(&place, "all.csv");
    assert_eq!(all.len(), 121);
    assert_eq!(all[0], "row,id,prediction,probability_no,probability_yes,note");
    for (line, begin) in [(1, "1,p1,"), (120, "120,p120,")] {
        assert!(all[line].starts_with(begin) && all[line].ends_with(",note"), "{}", all[line]);
    }
}

#[test]
fn a_bad_row_is_set_aside_and_the_rest_of_its_file_is_done() {
    let place = workplace(2);
    let broken = place.text("new/0/000.csv").replacen("p7,", "p7,old", 1).replacen("p9,", "p9,inf#", 1);
    let broken: Vec<String> = broken
        .lines()
        .map(|line| match line.strip_prefix("p9,inf#") {
            Some(rest) => format!("p9,1e999,{}", rest.split_once(',').unwrap().1),
            None => line.to_owned(),
        })
        .collect();
    place.write("new/0/000.csv", broken.join("\n"));
    let said = place.ok(&with(&["--format", "csv"]));
    assert_has(&said, &["80 rows in = 78 rows out + 2 set aside", "out/quarantine.parquet tells why"]);
    assert_eq!(lines_of(&place, "out/0/000.csv").len(), 1 + 38);

    let one = ["apply", "model", "-i", "new/0/000.csv", "-o", "one.csv", "--quarantine", "bad.csv"];
    assert_has(&place.ok(&one), &["one.csv: 40 rows in, 38 rows out, 2 set aside in bad.csv"]);
    let bad = lines_of(&place, "bad.csv");
    assert_eq!(bad[0], "file,row,column,reason");
    assert!(bad[1].starts_with("new/0/000.csv,7,age,"), "{bad:?}");
    assert_has(&bad[1], &["column `age` must be numeric, but holds `old"]);
    assert!(bad[2].starts_with("new/0/000.csv,9,age,"), "{bad:?}");
    assert_has(&bad[2], &["column `age` is infinite in row 9"]);

    // A file that is whole again leaves no rows aside.
    std::thread::sleep(Duration::from_millis(20));
    place.write("new/0/000.csv", place.read("new/1/001.csv"));
    assert_has(&place.ok(&with(&["--format", "csv"])), &["80 rows in = 80 rows out + 0 set aside"]);
    assert!(!results(&place).contains_key("quarantine.parquet"));

    place.write("new/0/000.csv", broken.join("\n"));
    let error = place.run(&["apply", "model", "-i", "new", "-o", "failed", "--bad-rows", "fail", "--progress", "none"]);
    assert_eq!(error.code, 4);
    assert_has(&error.stdout, &["1 file failed", "0/000.csv: column `age` must be numeric", "failed 1 file done"]);
}

#[test]
fn each_policy_does_what_it_says() {
    let place = workplace(1);
    let text = place.text("new/0/000.csv");
    let lacking: Vec<String> = text
        .lines()
        .map(|line| {
            let mut cells: Vec<&str> = line.split(',').collect();
            cells.remove(1);
            cells.join(",")
        })
        .collect();
    place.write("lacking.csv", lacking.join("\n"));
    let apply = |more: &[&str]| place.run(&[&["apply", "model", "-o", "out.csv", "-i"], more].concat());
    let refused = apply(&["lacking.csv"]);
    assert_eq!(refused.code, 4);
    assert_has(&refused.stderr, &["the rows lack 1 column: `age`"]);
    assert_eq!(apply(&["lacking.csv", "--missing-columns", "null"]).code, 0);
    assert_eq!(lines_of(&place, "out.csv").len(), 41);

    place.write("elsewhere.csv", text.replacen("Paris", "Rome", 1));
    assert_has(&apply(&["elsewhere.csv"]).stdout, &["40 rows in, 40 rows out\n"]);
    let aside = apply(&["elsewhere.csv", "--unseen-levels", "quarantine", "--quarantine", "bad.csv"]);
    assert_has(&aside.stdout, &["40 rows in, 39 rows out, 1 set aside"]);
    assert_has(&place.text("bad.csv"), &["city,`Rome` is in no training row"]);
    let refused = apply(&["elsewhere.csv", "--unseen-levels", "fail"]);
    assert_has(&refused.stderr, &["column `city` has `Rome` in row", "which no training row has"]);

    let typo = apply(&["elsewhere.csv", "--unseen-levels", "forbid"]);
    assert_eq!(typo.code, 2);
    assert_has(&typo.stderr, &["`accept`, `quarantine`, `fail`"]);

    place.write("formula.csv", text.replacen("p1,", "=cmd|' /C calc'!A0,", 1).replacen("p2,", "-2,", 1));
    apply(&["formula.csv", "--escape-formulas"]);
    let escaped = lines_of(&place, "out.csv");
    assert!(escaped[1].starts_with("'=cmd|' /C calc'!A0,") && escaped[2].starts_with("'-2,"), "{escaped:?}");
}

#[test]
fn one_corrupt_file_among_many_fails_alone() {
    let place = workplace(6);
    place.write("new/1/bad.csv", "id,age\np1,\"3\n");
    place.write("new/1/bad.parquet", "PAR1 and then nothing");
    let run = place.run(&["apply", "model", "-i", "new/**/*.*", "-o", "out", "--progress", "none"]);
    assert_eq!(run.code, 4, "{}", run.stderr);
    // Both would be `1/bad.parquet`.
    assert_has(&run.stderr, &["would both be `1/bad.parquet`"]);
    std::fs::remove_file(place.path("new/1/bad.csv")).unwrap();
    let run = place.run(&["apply", "model", "-i", "new/**/*.*", "-o", "out", "--progress", "none"]);
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert_has(&run.stdout, &["1 file failed", "1/bad.parquet: ", "is cut short", "out 6 files done", "240 rows in"]);
    assert_has(&run.stderr, &["the same command tries them again, and nothing else"]);
    assert_eq!(results(&place).len(), 6);
}

#[test]
fn what_cannot_be_meant_is_an_error_and_changes_nothing() {
    let place = workplace(2);
    for (arguments, code, expected) in [
        (vec!["apply", "model", "-i", "none/*.csv", "-o", "out"], 4, "no file matches `none/*.csv`"),
        (vec!["apply", "model", "-i", "none.csv", "-o", "out"], 4, "no file none.csv"),
        (vec!["apply", "model", "-i", "new", "-o", "new/out"], 4, "would be taken for further files by `new`"),
        (vec!["apply", "model", "-i", "new/0/*", "-o", "new/0/"], 4, "for further files by `new/0/*`"),
        (vec!["apply", "model", "-i", "-", "-o", "out"], 2, "`--input -` needs `--output -`"),
        (vec!["apply", "model", "-i", "new", "-o", "out", "--shard", "3/2"], 2, "with I from 1 to N"),
        (vec!["apply", "model", "-i", "new", "-o", "one.csv", "--shard", "1/2"], 2, "need a folder for the results"),
        (vec!["apply", "nothing", "-i", "new", "-o", "out"], 4, "nothing is no model"),
    ] {
        let run = place.run(&arguments);
        assert_eq!(run.code, code, "{arguments:?}\n{}", run.stderr);
        assert_has(&run.stderr, &[expected]);
    }
    assert!(!place.path("out").exists());
    // What is there and is not the job's stays.
    place.write("out/1/001.parquet", "mine");
    let run = place.run(&APPLY);
    assert_eq!(run.code, 4);
    assert_has(&run.stdout, &["1/001.csv: ", "out/1/001.parquet exists and is no result of this job"]);
    assert_eq!(place.text("out/1/001.parquet"), "mine");
}

#[test]
fn results_of_another_model_or_other_settings_are_not_mixed() {
    let place = workplace(3);
    place.ok(&APPLY);
    let before = results(&place);
    let refused = place.fails(4, &with(&["--row-numbers"]));
    assert_has(&refused, &["the results in out were made with other settings", "--replace"]);
    assert_eq!(results(&place), before);
    place.write("q.yaml", FOUR_STEPS.replace("seed: 3", "seed: 4"));
    place.write("people.csv", people(150));
    place.ok(&["run", "q.yaml", "--progress", "none"]);
    let other = ["apply", "runs/people/latest", "-i", "new", "-o", "out", "--progress", "none"];
    assert_has(&place.fails(4, &other), &["the results in out are of another model"]);
    assert_eq!(results(&place), before);
    assert_has(&place.ok(&[&other[..], &["--replace"]].concat()), &["out 3 files done"]);
    assert_ne!(results(&place), before);
}

#[test]
fn a_damaged_bundle_is_refused_and_the_file_is_named() {
    let place = workplace(1);
    let name = model().keys().find(|name| name.ends_with("stage.json")).unwrap();
    let mut bytes = model()[name].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    place.write(&format!("model/{name}"), bytes);
    let run = place.run(&APPLY);
    assert_eq!(run.code, 5);
    assert_has(&run.stdout, &["is damaged: its digest is", name.rsplit('/').next().unwrap()]);

    let manifest = String::from_utf8(model()["manifest.json"].clone()).unwrap();
    place.write("model/manifest.json", manifest.replacen("\"format_version\": 1", "\"format_version\": 99", 1));
    let newer = place.run(&APPLY);
    assert_ne!(newer.code, 0);
    assert!(newer.stderr.contains("manifest.json"), "{}", newer.stderr);
}

#[test]
fn shards_together_do_what_one_job_does() {
    let (whole, place) = (workplace(9), workplace(9));
    whole.ok(&APPLY);
    let mut running = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        running.push(place.command(&with(&["--shard", shard])).stdout(Stdio::piped()).spawn().unwrap());
    }
    let mut done = 0;
    for shard in running {
        let output = shard.wait_with_output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8(output.stdout).unwrap();
        done += said.split_once("out ").unwrap().1.split(' ').next().unwrap().parse::<usize>().unwrap();
    }
    assert_eq!(done, 9);
    assert_eq!(results(&place), results(&whole));
    // However the files were divided, they are done.
    assert_has(&place.ok(&APPLY), &["0 files done, 9 done before"]);
}

#[test]
fn two_jobs_do_not_write_to_one_folder() {
    let place = workplace(1);
    let mut watching = place.command(&with(&["--watch", "0.1"])).stdout(Stdio::null()).spawn().unwrap();
    assert!(wait_for(Duration::from_secs(20), || place.path("out/.retune/ledger.jsonl").exists()));
    assert_has(&place.fails(5, &APPLY), &["another job writes to", "--shard 1/2"]);
    signal(watching.id(), "TERM");
    assert_eq!(watching.wait().unwrap().code(), Some(143));
}

#[test]
fn a_folder_that_keeps_filling_is_watched() {
    let place = workplace(2);
    let mut watching = place.command(&with(&["--watch", "0.1"])).stdout(Stdio::piped()).spawn().unwrap();
    let made = |name: &str| place.path(format!("out/{name}")).exists();
    // Files count as written when they have not changed for two seconds.
    assert!(wait_for(Duration::from_secs(30), || made("0/000.parquet") && made("1/001.parquet")));
    place.write("new/late/x.csv", place.read("new/0/000.csv"));
    assert!(wait_for(Duration::from_secs(30), || made("late/x.parquet")));
    signal(watching.id(), "INT");
    assert_eq!(watching.wait().unwrap().code(), Some(130));
    assert_has(&place.ok(&APPLY), &["0 files done, 3 done before", "120 rows in"]);
}

#[test]
fn a_job_that_was_killed_goes_on_and_does_nothing_twice() {
    let undisturbed = workplace(24);
    undisturbed.ok(&APPLY);
    for (how, pause) in [("KILL", 900), ("TERM", 1100), ("KILL", 1300), ("INT", 1000)] {
        let place = workplace(24);
        let mut job = place.command(&APPLY).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(Duration::from_secs(20), || place.path("out/.retune/ledger.jsonl").exists());
        std::thread::sleep(Duration::from_millis(pause));
        let hosts: Vec<u32> = children(job.id()).into_iter().filter(|&child| is_host(child)).collect();
        signal(job.id(), how);
        job.wait().unwrap();
        assert!(wait_for(Duration::from_secs(20), || !hosts.iter().any(|&host| is_host(host))));
        let partial: Vec<String> = place
            .files("out")
            .into_keys()
            .filter(|name| name.ends_with(".parquet") && !name.starts_with('.'))
            .collect();
        for name in &partial {
            assert_eq!(place.read(format!("out/{name}")), undisturbed.read(format!("out/{name}")), "{how} {name}");
        }
        place.ok(&APPLY);
        let done =
            results(&place).into_iter().filter(|(name, _)| !name.contains("/.retune-")).collect::<BTreeMap<_, _>>();
        assert_eq!(done, results(&undisturbed), "{how}");
        let ledger = place.text("out/.retune/ledger.jsonl");
        let lines = |what: &str| ledger.lines().filter(|line| line.contains(what)).count();
        assert_eq!((lines("\"begun\""), lines("\"done\"")), (24, 24), "{how}");
    }
}

#[test]
fn a_stream_gives_what_files_give() {
    let place = workplace(3);
    // Batches of their own for every file, through the format of files.
    place.ok(&["apply", "model", "-i", "new", "-o", "expected.arrow"]);
    let stream = retune_testing_stream(&place);
    let run = |bytes: &[u8], more: &[&str]| {
        let mut command = place.command(&[&["apply", "model", "-i", "-", "-o", "-"], more].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        (output.status.code().unwrap(), output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let (code, out, said) = run(&stream, &[]);
    assert_eq!(code, 0, "{said}");
    assert_has(&said, &["120 rows in = 120 rows out + 0 set aside"]);
    let expected = rows_of(&place.read("expected.arrow"), true);
    assert_eq!(rows_of(&out, false), expected);

    let (code, out, said) = run(b"id,age\np1,3\n", &[]);
    assert_eq!((code, out.len()), (4, 0));
    assert_has(&said, &["an Arrow stream was to come, and something else came", "help:"]);
    let (code, _, said) = run(&stream[..stream.len() / 2], &[]);
    assert_eq!(code, 4, "{said}");
    assert_has(&said, &["the Arrow stream"]);
}

/// The rows of `new/` as a stream of two batches.
fn retune_testing_stream(place: &Workplace) -> Vec<u8> {
    place.write("steps.yaml", "steps: [ fill_constant: { columns: [fixed], value: 1 } ]\n");
    place.write("people.csv", people(120));
    use arrow::array::{Float64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::record_batch::RecordBatch;
    let text = people(120);
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let fields = ["id", "age", "income", "fixed", "city", "likes"].map(|name| {
        let is_number = matches!(name, "age" | "income" | "fixed");
        Field::new(name, if is_number { DataType::Float64 } else { DataType::Utf8 }, true)
    });
    let schema = std::sync::Arc::new(Schema::new(fields.to_vec()));
    let mut bytes = Vec::new();
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(&mut bytes, &schema).unwrap();
    for part in rows.chunks(50) {
        let column = |at: usize| part.iter().map(move |row| row[at]);
        let words =
            |at: usize| std::sync::Arc::new(StringArray::from_iter_values(column(at))) as arrow::array::ArrayRef;
        let numbers = |at: usize| {
            std::sync::Arc::new(column(at).map(|cell| cell.parse::<f64>().ok()).collect::<Float64Array>())
                as arrow::array::ArrayRef
        };
        let columns = vec![words(0), numbers(1), numbers(2), numbers(3), words(4), words(5)];
        writer.write(&RecordBatch::try_new(schema.clone(), columns).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    bytes
}

/// The rows of an Arrow file or stream as text.
fn rows_of(bytes: &[u8], is_file: bool) -> Vec<String> {
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let batches: Vec<_> = if is_file {
        arrow::ipc::reader::FileReader::try_new(std::io::Cursor::new(bytes), None)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    } else {
        arrow::ipc::reader::StreamReader::try_new(bytes, None).unwrap().map(Result::unwrap).collect()
    };
    let mut rows = Vec::new();
    for batch in batches {
        let options = FormatOptions::default();
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(","));
        }
    }
    rows
}

#[test]
fn a_pipeline_scores_files_after_its_run() {
    let place = workplace(2);
    place.write("people.csv", people(150));
    let jobs =
        "batch:\n  - id: score\n    uses: apply\n    with: { input: \"new/**/*.csv\", output: scored, format: csv }\n";
    place.write("p.yaml", format!("{FOUR_STEPS}{jobs}"));
    let said = place.ok(&["run", "p.yaml", "--progress", "none"]);
    assert_has(&said, &["score\n", "scored 2 files done", "80 rows in = 80 rows out + 0 set aside"]);
    assert_has(&place.ok(&["run", "p.yaml", "--progress", "none"]), &["scored 0 files done, 2 done before"]);
    for (old, new, expected) in [
        ("output: scored", "output: scored, modle: tuned", "did you mean `model`?"),
        ("output: scored", "output: scored, model: model", "other stages follow `model`"),
        ("output: scored", "output: scored, model: tunde", "did you mean `tuned`?"),
        ("format: csv", "format: images", "results are tables, not images"),
        ("format: csv", "bad_rows: skip", "bad_rows"),
    ] {
        place.write("bad.yaml", format!("{FOUR_STEPS}{}", jobs.replace(old, new)));
        assert_has(&place.fails(3, &["validate", "bad.yaml"]), &[expected]);
    }
}
