//! The two programs as a user starts them: a folder of its own for each test, a command line, and what came out.
//!
//! Everything here panics where it cannot do what a test asks for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// `retune` or `retune-stage`, as `just build` leaves them beside the folder of the test programs.
pub fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("a test program has a path");
    let path = tests.parent().and_then(Path::parent).expect("test programs lie in `deps`").join(name);
    assert!(path.exists(), "{} is not built; run `just build`", path.display());
    path
}

/// A folder that `retune` works in, with a store of its own.
pub struct Workplace {
    folder: PathBuf,
    _owned: Option<TempDir>,
}

/// What a program left.
#[derive(Debug)]
pub struct Output {
    /// The exit code; 128 and the signal's number where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Workplace {
    /// An empty folder that goes with the value.
    pub fn new() -> Self {
        let owned = tempfile::Builder::new().prefix("retune-test-").tempdir().unwrap();
        Self { folder: owned.path().canonicalize().unwrap(), _owned: Some(owned) }
    }

    /// A folder that tests share, emptied when it is asked for, since nothing is dropped at the end of a program.
    pub fn shared(parent: &str, name: &str) -> Self {
        let folder = Path::new(parent).join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).unwrap();
        }
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder: folder.canonicalize().unwrap(), _owned: None }
    }

    /// An empty folder with a pipeline `p.yaml` and the table `people.csv`.
    pub fn with(pipeline: &str) -> Self {
        let place = Self::new();
        place.write("p.yaml", pipeline);
        place.write("people.csv", people(150));
        place
    }

    /// A path in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes a file and the folders that it lies in.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Copies a table of the repository's `data/` to the same place here.
    pub fn copy_data(&self, name: &str) {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("data").join(name);
        self.write(&format!("data/{name}"), std::fs::read(data).unwrap());
    }

    /// A file's bytes.
    pub fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A file's text.
    pub fn text(&self, name: impl AsRef<Path>) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// A file's JSON.
    pub fn json(&self, name: impl AsRef<Path>) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Every file below a folder, by its path; links are left out.
    pub fn files(&self, folder: impl AsRef<Path>) -> BTreeMap<String, Vec<u8>> {
        let (root, mut files, mut folders) = (self.path(folder), BTreeMap::new(), vec![PathBuf::new()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(root.join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let name = folder.join(entry.file_name());
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(name);
                } else if kind.is_file() {
                    files.insert(name.to_str().unwrap().to_owned(), std::fs::read(entry.path()).unwrap());
                }
            }
        }
        files
    }

    /// What must be the same in two runs of a pipeline: scores, predictions and the model's files.
    pub fn results(&self, pipeline: &str) -> BTreeMap<String, Vec<u8>> {
        let latest = Path::new("runs").join(pipeline).join("latest");
        let is_result =
            |name: &str| name.starts_with("model") || name.starts_with("predictions") || name == "metrics.json";
        let results: BTreeMap<_, _> = self.files(latest).into_iter().filter(|(name, _)| is_result(name)).collect();
        assert!(results.contains_key("metrics.json"), "the run left {:?}", results.keys());
        results
    }

    /// The program in this folder, without colours.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("retune"));
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("RETUNE_STORE", self.store())
            .env("NO_COLOR", "1")
            .env_remove("RETUNE_STAGE")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.finish(self.command(arguments))
    }

    /// Runs a command to its end. Paths of this folder are shown relative to it.
    pub fn finish(&self, mut command: Command) -> Output {
        let output = command.output().unwrap();
        Output::of(&output, &self.folder)
    }

    /// Runs the program, which must end well, and returns its standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).expect(0, arguments).stdout
    }

    /// Runs the program, which must end with this code, and returns its standard error.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        self.run(arguments).expect(code, arguments).stderr
    }

    /// The folder of the newest run that began, whatever came of it; `latest` is the last one that was whole and ended well.
    pub fn newest(&self, pipeline: &str) -> Option<PathBuf> {
        // `TIME`, and `TIME-2`, `TIME-3` ... of those that began in the same second.
        let order = |name: &String| {
            let (time, number) = name.split_once('-').unwrap_or((name, "1"));
            (time.to_owned(), number.parse::<u64>().unwrap())
        };
        let runs = Path::new("runs").join(pipeline);
        let folders = std::fs::read_dir(self.path(&runs)).into_iter().flatten().flatten();
        let folders = folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let newest = folders.map(|entry| entry.file_name().to_str().unwrap().to_owned()).max_by_key(order);
        newest.map(|name| runs.join(name))
    }

    /// What the newest run says of itself.
    pub fn newest_run(&self, pipeline: &str) -> Value {
        self.json(self.newest(pipeline).expect("something ran").join("run.json"))
    }

    /// The stages of the newest run that were computed, and those that came from the store.
    pub fn ran_and_cached(&self, pipeline: &str) -> (Vec<String>, Vec<String>) {
        let run = self.newest_run(pipeline);
        let names = |cached: bool| {
            let stages = run["stages"].as_array().unwrap().iter().filter(|stage| stage["cached"] == cached);
            stages.map(|stage| stage["name"].as_str().unwrap().to_owned()).collect()
        };
        (names(false), names(true))
    }
}

impl Default for Workplace {
    fn default() -> Self {
        Self::new()
    }
}

impl Output {
    /// What a finished process left; paths of `folder` are shown relative to it.
    pub fn of(output: &std::process::Output, folder: &Path) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let prefix = format!("{}/", folder.display());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace(&prefix, "");
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap());
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    fn expect(self, code: i32, arguments: &[&str]) -> Self {
        assert_eq!(self.code, code, "retune {}\n{}{}", arguments.join(" "), self.stdout, self.stderr);
        self
    }

    /// The lines from the one that begins with `start` up to what to do next, without blanks at their ends.
    pub fn lines_from(&self, start: &str) -> String {
        let lines = self.stderr.lines().map(str::trim_end).skip_while(|line| !line.trim_start().starts_with(start));
        let lines = lines.take_while(|line| !line.starts_with("next: "));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Fails with the whole text where one of the parts is not in it.
#[track_caller]
pub fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

/// Says on standard error why a test does nothing here.
pub fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Drawn from a seed (SplitMix64), evenly from 0 to 1.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next_unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A grey picture of eight by eight pixels as the bytes of a BMP file.
pub fn bmp(grey: u8) -> Vec<u8> {
    let (header, pixels) = (54_u32, [grey; 3 * 8 * 8]);
    let mut bytes = b"BM".to_vec();
    for number in [header + pixels.len() as u32, 0, header, 40, 8, 8, 1 | 24 << 16, 0, 0, 0, 0, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(pixels);
    bytes
}

/// A small messy table: an id, numbers with gaps, a constant, a category, a label of two that the numbers tell with some noise; some rows twice.
pub fn people(rows: usize) -> String {
    let mut random = Random(7);
    let mut text = "id,age,income,fixed,city,likes\n".to_owned();
    let mut person = String::new();
    for row in 1..=rows {
        if row % 10 == 0 {
            writeln!(text, "p{row},{person}").unwrap();
            continue;
        }
        let (age, income, place) =
            (18.0 + 60.0 * random.next_unit(), 1000.0 + 4000.0 * random.next_unit(), random.next_unit());
        let city = if place < 0.5 {
            "Paris"
        } else if place < 0.8 {
            "Oslo"
        } else {
            "Lyon"
        };
        let score = (age - 48.0) / 20.0 + (income - 3000.0) / 1500.0 + random.next_unit() - 0.5;
        let likes = if score > 0.0 { "yes" } else { "no" };
        let age = if row % 11 == 0 { String::new() } else { format!("{age:.0}") };
        person = format!("{age},{income:.2},1,{city},{likes}");
        writeln!(text, "p{row},{person}").unwrap();
    }
    text
}

/// The four steps on [`people`], small enough for a second.
pub const FOUR_STEPS: &str = r#"version: 1
name: people
seed: 3
threads: 1
params: { factor: 3, keep: 4 }
data: { path: people.csv, target: likes, id: id, split: { validation: 0.2, test: 0.2, stratify: true } }
stages:
  - id: prepare
    uses: preprocessing
    with:
      steps:
        - drop_duplicates: {}
        - impute: { indicator: true }
        - clip_outliers: { factor: "${{ params.factor }}" }
        - one_hot: {}
        - standard_scale: {}
  - id: features
    uses: feature-selection
    with: { steps: [ variance_threshold: {}, mutual_information: { keep: "${{ params.keep }}" } ] }
  - id: model
    uses: model-selection
    with:
      folds: 3
      search: { sampler: random, trials: 4 }
      candidates:
        - logistic_regression: { l2: { log_uniform: [0.01, 10] } }
        - gradient_boosting: { trees: 10, min_rows: 5, leaves: { int: [2, 6] } }
  - id: tuned
    uses: fine-tuning
    with: { base: model }
"#;

/// The ids of the processes that a process started.
pub fn children(parent: u32) -> Vec<u32> {
    let processes =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.filter(|&process| state_of(process).is_some_and(|(_, of)| of == parent)).collect()
}

/// The state of a process and its parent.
fn state_of(process: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a process runs `retune-stage`.
pub fn is_host(process: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    let Some((state, _)) = state_of(process).filter(|_| name.trim() == "retune-stage") else { return false };
    // The first thread may be over while others still hold files and locks.
    state != 'Z' || std::fs::read_dir(format!("/proc/{process}/task")).is_ok_and(|threads| threads.count() > 1)
}

/// Sends a signal, such as `KILL`. The process may be gone already.
pub fn signal(process: u32, name: &str) {
    kill(name, &process.to_string());
}

/// Sends a signal to a process group, as a terminal does on Ctrl-C.
pub fn signal_group(leader: u32, name: &str) {
    kill(name, &format!("-{leader}"));
}

fn kill(name: &str, whom: &str) {
    Command::new("kill").args(["-s", name, "--", whom]).stderr(Stdio::null()).status().unwrap();
}

/// Waits until something holds; `false` if it did not within the time.
pub fn wait_for(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
