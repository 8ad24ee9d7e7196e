//! Many files through what was fitted: one after the other or side by side, each done once, however often the job is stopped and begun again.
//!
//! # What holds at any moment
//! - A result has its name only when it is complete: it is written beside, synced and renamed.
//! - The ledger says what was begun and what is done, a line each, synced. A result without a line is one whose job died between the two: it is made again, with
//!   the same bits. A file that exists and was never begun is somebody else's and stays.
//! - A folder of results belongs to one model, format and way of handling rows; another one is refused unless results are to be replaced.
//! - One job writes to a folder at a time; shards of one job write side by side, each with its own ledger.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use retune_protocol::{ApplyJob, Device, ErrorClass, EventKind, Failure, Job, Request, StackJob, VERSION};
use retune_spec::batch::{BadRows, Handling, UnseenLevels};
use retune_spec::data::Format;
use retune_store::{Artifact, Digest, Flush, Journal, StoreError, write_atomic};
use serde::{Deserialize, Serialize};

use crate::events::{Event, Listener};
use crate::host::Session;
use crate::project::{Error, found_by};
use crate::run::Interrupt;

/// The folder of the job's own files among the results.
const STATE: &str = ".retune";

/// The file of rows that were set aside, among the results.
const QUARANTINE: &str = "quarantine.parquet";

/// The rest before a file is tried again doubles from this.
const FIRST_REST: Duration = Duration::from_secs(1);

/// How often the signal to stop is looked at.
const TICK: Duration = Duration::from_millis(50);

/// A part of a job that is one of several side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which one, counted from 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

/// A job over many files.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The bundle or fitted stage.
    pub artifact: PathBuf,
    /// Files, folders or globs, as the user wrote them.
    pub input: Vec<String>,
    /// The folder of the results.
    pub output: PathBuf,
    /// The results' format.
    pub format: Format,
    /// Files that are worked on side by side.
    pub jobs: usize,
    /// How often a file that cannot be read is tried again.
    pub retries: u32,
    /// Whether results of another model, or made otherwise, are replaced.
    pub replace: bool,
    /// What is done about rows and columns that are not as they were in training.
    pub handling: Handling,
    /// Which part of the files.
    pub shard: Option<Shard>,
    /// How often to look for new files, where the job goes on until it is stopped.
    pub watch: Option<Duration>,
    /// The store's root, for whoever executes.
    pub store: PathBuf,
    /// Threads for all files together.
    pub threads: usize,
}

/// What became of a job.
#[derive(Clone, Debug, Default)]
pub struct BatchResult {
    /// Files that were done now.
    pub done: usize,
    /// Files that had been done before.
    pub before: usize,
    /// Files that failed.
    pub failures: Vec<(String, Failure)>,
    /// Rows of all files that are done, now or before.
    pub rows_in: u64,
    /// Rows of their results.
    pub rows_out: u64,
    /// Rows that were set aside.
    pub quarantined: u64,
    /// The signal that stopped it.
    pub signal: Option<usize>,
}

/// A file to be done.
#[derive(Clone, Debug)]
struct Part {
    /// What it is called in the ledger and among the results: its path from where its pattern begins.
    name: String,
    path: PathBuf,
    stamp: Stamp,
}

/// By what a file is told to be as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    modified_ns: u64,
}

impl Stamp {
    fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let modified = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Self { size: metadata.len(), modified_ns: u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX) })
    }

    /// Whether it has been so for a while: nobody is writing it any more.
    fn is_settled(&self, since: Duration) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_nanos(self.modified_ns)) >= since
    }
}

/// What the results of a folder were made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Made {
    artifact: Digest,
    format: Format,
    handling: Handling,
}

/// A line of the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
enum Line {
    /// From now on a result of this name is the job's own.
    Begun { output: String },
    /// A file is done.
    Done(Done),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Done {
    file: String,
    #[serde(flatten)]
    stamp: Stamp,
    output: String,
    output_size: u64,
    rows: u64,
    rows_out: u64,
    quarantined: u64,
    seconds: f64,
}

/// Does what is not done yet.
pub fn batch(job: &Batch, interrupt: &Interrupt, listener: &mut dyn Listener) -> Result<BatchResult, Error> {
    let artifact = Artifact::open(&job.artifact)?;
    let made = Made { artifact: artifact.digest(), format: job.format, handling: job.handling };
    let first = job.parts()?;
    if first.is_empty() && job.watch.is_none() {
        let patterns: Vec<String> = job.input.iter().map(|pattern| format!("`{pattern}`")).collect();
        return Err(Failure::data(format!("no file matches {}", patterns.join(", ")))
            .help("patterns are relative to the current folder; `**` stands for folders of any depth")
            .into());
    }
    job.refuse_own_results(&first)?;
    let mut folder = Folder::open(job, &made)?;
    let mut work = Work { job, interrupt, listener, folder: &mut folder, result: BatchResult::default() };
    let mut known: HashMap<String, Stamp> = HashMap::new();
    let mut parts = first;
    loop {
        let fresh = match job.watch {
            // What failed is tried again when it has changed; what is still being written, when it no longer is.
            Some(_) => {
                let is_due = |part: &Part| {
                    known.get(&part.name) != Some(&part.stamp) && part.stamp.is_settled(Duration::from_secs(2))
                };
                parts.into_iter().filter(is_due).collect()
            }
            None => parts,
        };
        known.extend(fresh.iter().map(|part| (part.name.clone(), part.stamp)));
        work.all(fresh)?;
        let Some(every) = job.watch.filter(|_| interrupt.load(Ordering::SeqCst) == 0) else { break };
        let since = Instant::now();
        while since.elapsed() < every && interrupt.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(TICK);
        }
        if interrupt.load(Ordering::SeqCst) != 0 {
            break;
        }
        parts = job.parts()?;
    }
    let mut result = work.result;
    result.signal = Some(interrupt.load(Ordering::SeqCst)).filter(|signal| *signal != 0);
    Ok(result)
}

impl Batch {
    /// The files of this shard, in the order of their names.
    fn parts(&self) -> Result<Vec<Part>, Error> {
        let mut parts = BTreeMap::new();
        for pattern in &self.input {
            for (name, path) in found_by(pattern)? {
                let of_shard = self.shard.is_none_or(|shard| {
                    // By the name, so that a file is of the same shard whatever others there are.
                    let hash = blake3::hash(name.as_bytes());
                    let number = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap_or_default());
                    number % u64::from(shard.of) == u64::from(shard.number - 1)
                });
                if !of_shard {
                    continue;
                }
                // One that is gone again is none.
                let Ok(stamp) = Stamp::of(&path) else { continue };
                let part = Part { name: name.clone(), path, stamp };
                let path = part.path.clone();
                if let Some(other) = parts.insert(name, part).filter(|other: &Part| other.path != path) {
                    let message = format!("{} and {} would have one result", other.path.display(), path.display());
                    return Err(Failure::data(message)
                        .help("name a folder above both: `**` in a pattern stands for folders of any depth")
                        .into());
                }
            }
        }
        let parts: Vec<Part> = parts.into_values().collect();
        let mut outputs: HashMap<String, &Part> = HashMap::new();
        for part in &parts {
            if let Some(other) = outputs.insert(self.output_of(&part.name), part) {
                let message = format!(
                    "the results of {} and {} would both be `{}`",
                    other.path.display(),
                    part.path.display(),
                    self.output_of(&part.name)
                );
                return Err(Failure::data(message)
                    .help("take them by patterns of their own, into folders of their own")
                    .into());
            }
        }
        Ok(parts)
    }

    /// The result's path among the results: the file's, with the ending of its format.
    fn output_of(&self, name: &str) -> String {
        let ending = match self.format {
            Format::Csv => "csv",
            Format::Arrow => "arrow",
            Format::JsonLines => "jsonl",
            Format::Parquet | Format::Images => "parquet",
        };
        Path::new(name).with_extension(ending).display().to_string()
    }

    /// Results that the input reaches would be taken for further files.
    fn refuse_own_results(&self, parts: &[Part]) -> Result<(), Failure> {
        let output = self.output.canonicalize().unwrap_or_else(|_| self.output.clone());
        let here = std::env::current_dir().unwrap_or_default();
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        let reaches = |input: &&String| {
            let rooted = here.join(input);
            if rooted.is_dir() {
                return rooted.canonicalize().is_ok_and(|rooted| output.starts_with(rooted));
            }
            let is_result = |pattern: &glob::Pattern, part: &Part| {
                pattern.matches_path_with(&output.join(self.output_of(&part.name)), options)
            };
            let pattern = glob::Pattern::new(&rooted.display().to_string());
            pattern.is_ok_and(|pattern| parts.iter().any(|part| is_result(&pattern, part)))
        };
        let inside = |part: &&Part| part.path.canonicalize().is_ok_and(|path| path.starts_with(&output));
        let culprit = self.input.iter().find(reaches).cloned();
        match culprit.or_else(|| parts.iter().find(inside).map(|part| part.path.display().to_string())) {
            Some(culprit) => Err(Failure::data(format!(
                "the results in {} would be taken for further files by `{culprit}`",
                self.output.display()
            ))
            .help("name another folder for the results, or a pattern that does not reach into it")),
            None => Ok(()),
        }
    }
}

/// The folder of the results.
struct Folder {
    output: PathBuf,
    state: PathBuf,
    ledger: Journal,
    begun: HashSet<String>,
    done: HashMap<String, Done>,
    // Held so that no other job writes here.
    _locks: Vec<File>,
}

impl Folder {
    fn open(job: &Batch, made: &Made) -> Result<Self, Error> {
        let state = job.output.join(STATE);
        let cannot = |path: &Path| {
            let path = path.to_owned();
            move |error: std::io::Error| StoreError::write(&path, None, error)
        };
        fs::create_dir_all(state.join("quarantine")).map_err(cannot(&state))?;
        let locks = locks(&state, job)?;
        let card = state.join("job.json");
        let before: Option<Made> = match fs::read(&card) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).map_err(|error| {
                Failure::data(format!("{} cannot be read: {error}", card.display()))
                    .help("name another folder for the results, or replace them: `--replace`")
            })?),
            Err(_) => None,
        };
        let suffix = job.shard.map_or_else(String::new, |shard| format!("-{}-of-{}", shard.number, shard.of));
        match before {
            Some(before) if before == *made => {}
            Some(before) if !job.replace => {
                let what = if before.artifact == made.artifact {
                    "were made with other settings"
                } else {
                    "are of another model"
                };
                return Err(Failure::data(format!("the results in {} {what}", job.output.display()))
                    .help("name another folder, or replace them: `--replace`")
                    .into());
            }
            Some(_) => {
                // The ledgers of all shards tell of results that are none any more. They stay until they are replaced.
                for path in ledgers(&state)? {
                    let lines: Vec<Line> = Journal::read(&path)?;
                    let mut begun = Vec::new();
                    for line in lines.iter().filter(|line| matches!(line, Line::Begun { .. })) {
                        serde_json::to_writer(&mut begun, line).map_err(|error| Failure::failed(error.to_string()))?;
                        begun.push(b'\n');
                    }
                    write_atomic(&path, &begun)?;
                }
                let quarantine = state.join("quarantine");
                fs::remove_dir_all(&quarantine)
                    .and_then(|()| fs::create_dir_all(&quarantine))
                    .map_err(cannot(&quarantine))?;
                write_card(&card, made)?;
            }
            None => write_card(&card, made)?,
        }
        let (mut begun, mut done) = (HashSet::new(), HashMap::new());
        // Those of other shards, too: the files may have been divided otherwise before.
        for path in ledgers(&state)? {
            for line in Journal::read::<Line>(&path)? {
                match line {
                    Line::Begun { output } => drop(begun.insert(output)),
                    Line::Done(line) => drop(done.insert(line.file.clone(), line)),
                }
            }
        }
        let ledger = Journal::open(&state.join(format!("ledger{suffix}.jsonl")), Flush::EachLine)?;
        Ok(Self { output: job.output.clone(), state, ledger, begun, done, _locks: locks })
    }

    /// What is known of a file that is done and has not changed since.
    fn done(&self, part: &Part) -> Option<&Done> {
        let done = self.done.get(&part.name).filter(|done| done.stamp == part.stamp)?;
        let is_there = fs::metadata(self.output.join(&done.output)).is_ok_and(|file| file.len() == done.output_size);
        is_there.then_some(done)
    }

    /// Says that a result is the job's own from now on.
    fn begin(&mut self, output: &str) -> Result<(), Error> {
        if self.begun.contains(output) {
            return Ok(());
        }
        let path = self.output.join(output);
        if path.exists() {
            return Err(Failure::data(format!("{} exists and is no result of this job", path.display()))
                .help("move it away, or name another folder for the results")
                .into());
        }
        self.ledger.append(&Line::Begun { output: output.to_owned() })?;
        self.begun.insert(output.to_owned());
        Ok(())
    }

    fn finish(&mut self, done: Done) -> Result<(), Error> {
        self.ledger.append(&Line::Done(done.clone()))?;
        self.done.insert(done.file.clone(), done);
        Ok(())
    }
}

/// The ledgers of all shards.
fn ledgers(state: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(state).map_err(|error| StoreError::read(state, error))?;
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")).collect())
}

fn write_card(path: &Path, made: &Made) -> Result<(), Error> {
    let mut bytes = serde_json::to_vec_pretty(made).map_err(|error| Failure::failed(error.to_string()))?;
    bytes.push(b'\n');
    Ok(write_atomic(path, &bytes)?)
}

/// A whole job excludes all others; shards only themselves.
fn locks(state: &Path, job: &Batch) -> Result<Vec<File>, Error> {
    let open = |name: String| {
        let path = state.join(name);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        file.map_err(|error| StoreError::write(&path, None, error))
    };
    let busy = |error: TryLockError| match error {
        TryLockError::WouldBlock => Failure::failed(format!("another job writes to {}", job.output.display()))
            .help("wait for it, or name another folder; jobs side by side are shards: `--shard 1/2`"),
        TryLockError::Error(error) => Failure::failed(format!("cannot lock {}: {error}", job.output.display())),
    };
    let common = open("lock".to_owned())?;
    match job.shard {
        None => {
            common.try_lock().map_err(busy)?;
            Ok(vec![common])
        }
        Some(shard) => {
            common.try_lock_shared().map_err(busy)?;
            let own = open(format!("lock-{}-of-{}", shard.number, shard.of))?;
            own.try_lock().map_err(busy)?;
            Ok(vec![common, own])
        }
    }
}

/// A file that is waiting or being worked on.
struct Task {
    part: Part,
    output: String,
    /// How often it was tried.
    tried: u32,
    not_before: Instant,
}

/// What a worker says.
enum Said {
    Started(String),
    Heard(String, EventKind),
    Ended(Task, f64, Result<serde_json::Value, crate::host::Gone>),
}

struct Work<'a> {
    job: &'a Batch,
    interrupt: &'a Interrupt,
    listener: &'a mut dyn Listener,
    folder: &'a mut Folder,
    result: BatchResult,
}

/// The tasks that wait, and whether more may come.
#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    is_over: bool,
}

impl Work<'_> {
    /// Does all of these files that are not done.
    fn all(&mut self, parts: Vec<Part>) -> Result<(), Error> {
        let mut tasks = VecDeque::new();
        for part in parts {
            if let Some(done) = self.folder.done(&part) {
                let done = done.clone();
                self.result.before += 1;
                self.count(&done);
                continue;
            }
            let output = self.job.output_of(&part.name);
            match self.folder.begin(&output) {
                Ok(()) => tasks.push_back(Task { part, output, tried: 0, not_before: Instant::now() }),
                Err(Error::Failure(failure)) => self.failed(part.name, failure),
                Err(error) => return Err(error),
            }
        }
        let had_any = !tasks.is_empty();
        if had_any {
            self.work(tasks)?;
        }
        if had_any || !self.folder.output.join(QUARANTINE).exists() {
            self.gather_quarantine()?;
        }
        Ok(())
    }

    fn count(&mut self, done: &Done) {
        self.result.rows_in += done.rows;
        self.result.rows_out += done.rows_out;
        self.result.quarantined += done.quarantined;
    }

    fn failed(&mut self, file: String, failure: Failure) {
        self.listener.hear(&Event::StageFailed { stage: file.clone(), failure: failure.clone() });
        self.result.failures.push((file, failure));
    }

    /// Gives tasks to workers, each with a host of its own, and writes down what is done.
    fn work(&mut self, tasks: VecDeque<Task>) -> Result<(), Error> {
        let n_workers = self.job.jobs.min(tasks.len()).max(1);
        let threads = (self.job.threads / n_workers).max(1);
        let mut left = tasks.len();
        let queue = Arc::new((Mutex::new(Queue { tasks, is_over: false }), Condvar::new()));
        let (sender, receiver): (Sender<Said>, Receiver<Said>) = channel();
        let job = self.job;
        std::thread::scope(|scope| {
            for _ in 0..n_workers {
                let worker = Worker {
                    job,
                    threads,
                    interrupt: self.interrupt.clone(),
                    queue: Arc::clone(&queue),
                    quarantine: self.folder.state.join("quarantine"),
                    sender: sender.clone(),
                };
                scope.spawn(move || worker.work());
            }
            drop(sender);
            let mut outcome = Ok(());
            while left > 0
                && let Ok(said) = receiver.recv()
            {
                match said {
                    Said::Started(file) => self.listener.hear(&Event::StageStarted {
                        stage: file,
                        key: String::new(),
                        reason: "not done yet".to_owned(),
                    }),
                    Said::Heard(file, EventKind::Progress { phase, done, total }) => {
                        self.listener.hear(&Event::Progress { stage: file, phase, done, total });
                    }
                    Said::Heard(file, EventKind::Message { level: level @ retune_protocol::Level::Warning, text }) => {
                        self.listener.hear(&Event::Message { stage: file, level, text });
                    }
                    Said::Heard(..) => {}
                    Said::Ended(task, seconds, ended) => match self.ended(task, seconds, ended) {
                        Ok(Some(again)) => {
                            lock(&queue.0).tasks.push_back(again);
                            queue.1.notify_all();
                        }
                        Ok(None) => left -= 1,
                        Err(error) => {
                            outcome = Err(error);
                            break;
                        }
                    },
                }
            }
            let mut rest = lock(&queue.0);
            rest.is_over = true;
            rest.tasks.clear();
            drop(rest);
            queue.1.notify_all();
            outcome
        })
    }

    /// Writes down what came of a file. Returns it where it is to be tried again.
    fn ended(
        &mut self,
        mut task: Task,
        seconds: f64,
        ended: Result<serde_json::Value, crate::host::Gone>,
    ) -> Result<Option<Task>, Error> {
        let gone = match ended {
            Ok(counts) => {
                let count = |key: &str| counts.get(key).and_then(serde_json::Value::as_u64).unwrap_or_default();
                let path = self.folder.output.join(&task.output);
                let size = fs::metadata(&path).map_err(|error| StoreError::read(&path, error))?.len();
                let done = Done {
                    file: task.part.name.clone(),
                    stamp: task.part.stamp,
                    output: task.output,
                    output_size: size,
                    rows: count("rows"),
                    rows_out: count("rows_out"),
                    quarantined: count("quarantined"),
                    seconds,
                };
                self.count(&done);
                self.result.done += 1;
                let aside =
                    if done.quarantined > 0 { format!(", {} set aside", done.quarantined) } else { String::new() };
                let summary = format!("{} rows in, {} rows out{aside}", done.rows, done.rows_out);
                self.folder.finish(done)?;
                self.listener.hear(&Event::StageFinished { stage: task.part.name, seconds, summary });
                return Ok(None);
            }
            Err(gone) => gone,
        };
        let failure = gone.failure;
        if failure.class == ErrorClass::Cancelled || self.interrupt.load(Ordering::SeqCst) != 0 {
            return Ok(None);
        }
        task.tried += 1;
        // A host that died took one file with it, which may not have been its fault: once more.
        let most = if failure.class == ErrorClass::Unavailable { self.job.retries } else { u32::from(gone.host_died) };
        if task.tried <= most {
            let rest = FIRST_REST * 2u32.saturating_pow(task.tried - 1);
            let text = format!("{}; again in {} s", failure.message, rest.as_secs());
            self.listener.hear(&Event::Message {
                stage: task.part.name.clone(),
                level: retune_protocol::Level::Warning,
                text,
            });
            task.not_before = Instant::now() + rest;
            return Ok(Some(task));
        }
        self.failed(task.part.name, failure);
        Ok(None)
    }

    /// Puts the rows that were set aside below one another, in the order of the files.
    fn gather_quarantine(&mut self) -> Result<(), Error> {
        let handling = self.job.handling;
        if handling.bad_rows == BadRows::Fail && handling.unseen_levels != UnseenLevels::Quarantine {
            return Ok(());
        }
        let folder = self.folder.state.join("quarantine");
        let target = self.folder.output.join(QUARANTINE);
        // Shards that end at once would each miss what the other has just set aside.
        let lock =
            File::options().create(true).truncate(false).write(true).open(self.folder.state.join("lock-quarantine"));
        let lock = lock.map_err(|error| StoreError::write(&target, None, error))?;
        lock.lock().map_err(|error| StoreError::write(&target, None, error))?;
        let pattern = format!("{}/**/*.parquet", glob::Pattern::escape(&folder.display().to_string()));
        let parts: Vec<PathBuf> =
            glob::glob(&pattern).map_err(|error| Failure::failed(error.to_string()))?.filter_map(Result::ok).collect();
        if parts.is_empty() {
            return match fs::remove_file(&target) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(StoreError::write(&target, None, error).into())
                }
                _ => Ok(()),
            };
        }
        let job = Job::Stack(StackJob { input: parts, output: target });
        let mut session = Session::start(self.job.threads, Vec::new())?;
        // What is done is told even where somebody asked to stop.
        session
            .run(&self.job.request(job, self.job.threads), &Interrupt::default(), |_| ())
            .map_err(|gone| gone.failure)?;
        Ok(())
    }
}

impl Batch {
    fn request(&self, job: Job, threads: usize) -> Request {
        Request { version: VERSION, id: 1, store: self.store.clone(), threads, device: Device::Cpu, job }
    }
}

fn lock(queue: &Mutex<Queue>) -> std::sync::MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Worker<'a> {
    job: &'a Batch,
    threads: usize,
    interrupt: Interrupt,
    queue: Arc<(Mutex<Queue>, Condvar)>,
    quarantine: PathBuf,
    sender: Sender<Said>,
}

impl Worker<'_> {
    fn work(self) {
        let mut session: Option<Session> = None;
        while let Some(task) = self.next() {
            let name = task.part.name.clone();
            let _ = self.sender.send(Said::Started(name.clone()));
            let begun = Instant::now();
            let ended = self.apply(&task, &mut session, |event| {
                let _ = self.sender.send(Said::Heard(name.clone(), event.clone()));
            });
            if ended.as_ref().is_err_and(|gone| gone.host_died) {
                session = None;
            }
            if self.sender.send(Said::Ended(task, begun.elapsed().as_secs_f64(), ended)).is_err() {
                return;
            }
        }
    }

    /// The next task that may be begun. `None` where there will be none any more.
    fn next(&self) -> Option<Task> {
        let (queue, changed) = &*self.queue;
        let mut waiting = lock(queue);
        loop {
            if waiting.is_over {
                return None;
            }
            if self.interrupt.load(Ordering::SeqCst) != 0 {
                // Nobody waits for what is not begun.
                let task = waiting.tasks.pop_front();
                drop(waiting);
                if let Some(task) = task {
                    let failure = Failure { class: ErrorClass::Cancelled, message: "stopped".to_owned(), help: None };
                    let gone = crate::host::Gone { failure, host_died: false };
                    let _ = self.sender.send(Said::Ended(task, 0.0, Err(gone)));
                    waiting = lock(queue);
                    continue;
                }
                return None;
            }
            let now = Instant::now();
            if let Some(place) = waiting.tasks.iter().position(|task| task.not_before <= now) {
                return waiting.tasks.remove(place);
            }
            waiting = changed.wait_timeout(waiting, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn apply(
        &self,
        task: &Task,
        session: &mut Option<Session>,
        hear: impl FnMut(&EventKind),
    ) -> Result<serde_json::Value, crate::host::Gone> {
        let gone = |failure| crate::host::Gone { failure, host_died: false };
        let output = self.job.output.join(&task.output);
        let quarantine = self.quarantine.join(format!("{}.parquet", task.part.name));
        for folder in [output.parent(), quarantine.parent()].into_iter().flatten() {
            fs::create_dir_all(folder)
                .map_err(|error| gone(Failure::failed(StoreError::write(folder, None, error).to_string())))?;
        }
        let session = match session {
            Some(session) => session,
            None => session.insert(Session::start(self.threads, Vec::new()).map_err(gone)?),
        };
        let job = Job::Apply(ApplyJob {
            artifact: self.job.artifact.clone(),
            input: vec![task.part.path.clone()],
            name: task.part.name.clone(),
            output,
            handling: self.job.handling,
            quarantine: Some(quarantine),
        });
        session.run(&self.job.request(job, self.threads), &self.interrupt, hear)
    }
}
