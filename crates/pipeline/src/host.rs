//! The child process that executes jobs.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use retune_protocol::{EVENTS_FD, ErrorClass, Event, EventKind, Failure, JOBS_FD, Request};
use serde_json::Value;

use crate::run::Interrupt;

/// Lines of a dead host's output that its error shows.
const TAIL: usize = 12;

/// How often signals, timeouts and locks of other runs are looked at.
pub const TICK: Duration = Duration::from_millis(50);

/// How long a host may take to stop by itself.
pub const GRACE: Duration = Duration::from_secs(10);

/// The way out where there is no host.
const NO_HOST: &str = "install both programs with `just install`, or set RETUNE_STAGE to the path of `retune-stage`; `retune doctor` tells what is missing";

/// What a host sends.
pub enum HostMessage {
    /// An event of a job.
    Event(Event),
    /// The process ended.
    Closed,
}

/// A running `retune-stage`. Dropped, it is killed.
pub struct Host {
    child: Child,
    jobs: Option<File>,
    output: Option<JoinHandle<()>>,
    tail: Arc<Mutex<VecDeque<String>>>,
}

impl Host {
    /// Starts a host that may use so many threads. Its messages are passed to `send`, from a thread of its own.
    pub fn start(threads: usize, send: impl Fn(HostMessage) + Send + 'static) -> Result<Self, Failure> {
        Self::with_pipes(threads, Vec::new(), send)
    }

    /// The same with further files of its own: each with the number that it has there.
    pub fn with_pipes(
        threads: usize,
        pipes: Vec<(OwnedFd, i32)>,
        send: impl Fn(HostMessage) + Send + 'static,
    ) -> Result<Self, Failure> {
        let program = program()?;
        let failed = |error: &dyn std::fmt::Display| {
            Failure::failed(format!("cannot start {}: {error}", program.display())).help(NO_HOST)
        };
        let (jobs_read, jobs_write) = std::io::pipe().map_err(|error| failed(&error))?;
        let (events_read, events_write) = std::io::pipe().map_err(|error| failed(&error))?;
        let (output_read, output_write) = std::io::pipe().map_err(|error| failed(&error))?;
        let mut mappings = vec![
            FdMapping { parent_fd: OwnedFd::from(jobs_read), child_fd: JOBS_FD },
            FdMapping { parent_fd: OwnedFd::from(events_write), child_fd: EVENTS_FD },
        ];
        mappings.extend(pipes.into_iter().map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd }));
        let mut command = Command::new(&program);
        command
            .arg("serve")
            .envs(thread_budget(threads))
            .stdin(Stdio::null())
            .stdout(output_write.try_clone().map_err(|error| failed(&error))?)
            .stderr(output_write)
            .fd_mappings(mappings)
            .map_err(|error| failed(&error))?;
        let child = command.spawn().map_err(|error| failed(&error))?;
        // The command holds the child's ends of the pipes; while it lives, their end is never seen.
        drop(command);
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let output = keep_tail(BufReader::new(output_read), Arc::clone(&tail));
        std::thread::spawn(move || {
            for line in BufReader::new(events_read).lines() {
                let Ok(line) = line else { break };
                // A line cut off by the host's death is followed by the end of the pipe.
                if let Ok(event) = serde_json::from_str(&line) {
                    send(HostMessage::Event(event));
                }
            }
            send(HostMessage::Closed);
        });
        Ok(Self { child, jobs: Some(File::from(OwnedFd::from(jobs_write))), output: Some(output), tail })
    }

    /// Gives it a job. A host that died shows in its messages.
    pub fn send(&mut self, request: &Request) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(request).map_err(|error| Failure::failed(error.to_string()))?;
        line.push(b'\n');
        match &mut self.jobs {
            Some(jobs) => {
                jobs.write_all(&line).map_err(|error| Failure::failed(format!("retune-stage is gone: {error}")))
            }
            None => Err(Failure::failed("retune-stage was told to stop")),
        }
    }

    /// Asks it to stop at the next good moment.
    pub fn terminate(&self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Why it ended, in words; waits for it.
    pub fn post_mortem(&mut self) -> Failure {
        self.jobs = None;
        let status = self.child.wait();
        if let Some(output) = self.output.take() {
            let _ = output.join();
        }
        let tail = self.tail.lock().map(|tail| tail.iter().cloned().collect::<Vec<_>>().join("\n")).unwrap_or_default();
        let what = status.map_or_else(|error| error.to_string(), describe);
        let said = if tail.is_empty() { String::new() } else { format!("; its last words:\n{tail}") };
        let failure = Failure::failed(format!("retune-stage {what}{said}"));
        if let Some(library) = missing_library(&tail) {
            return failure.help(format!(
                "its library {library} is gone from where it was built with: `just setup` fetches it again; or name its folder in LD_LIBRARY_PATH\n`retune doctor` tells what is missing"
            ));
        }
        match status_signal(&self.child_status()) {
            Some(9) => {
                failure.help("signal 9 often means that memory ran out: use fewer threads, or fewer rows or columns")
            }
            _ => failure,
        }
    }

    fn child_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Without jobs to come it ends by itself; a job in progress is not waited for.
        self.jobs = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A host that executes jobs one after the other for somebody who waits for each.
pub struct Session {
    host: Host,
    messages: Receiver<HostMessage>,
}

impl Session {
    /// Starts a host. `pipes` are further files of its own: each with the number that it has there.
    pub fn start(threads: usize, pipes: Vec<(OwnedFd, i32)>) -> Result<Self, Failure> {
        let (sender, messages): (Sender<HostMessage>, Receiver<HostMessage>) = channel();
        let host = Host::with_pipes(threads, pipes, move |message| {
            // Nobody listens any more once the session is over.
            let _ = sender.send(message);
        })?;
        Ok(Self { host, messages })
    }

    /// Executes a job. `hear` gets what happens on the way; `interrupt` stops it where it is not 0 any more. After a host that died nothing more can be executed.
    pub fn run(
        &mut self,
        request: &Request,
        interrupt: &Interrupt,
        hear: impl FnMut(&EventKind),
    ) -> Result<Value, Gone> {
        self.run_within(None, request, interrupt, hear)
    }

    /// [`Session::run`], given up where the host says nothing for so long.
    fn run_within(
        &mut self,
        patience: Option<Duration>,
        request: &Request,
        interrupt: &Interrupt,
        mut hear: impl FnMut(&EventKind),
    ) -> Result<Value, Gone> {
        let mut last_heard = Instant::now();
        // Should it be dead already, its last message says why.
        let _ = self.host.send(request);
        let mut asked_to_stop: Option<Instant> = None;
        loop {
            if interrupt.load(Ordering::SeqCst) != 0 && asked_to_stop.is_none() {
                asked_to_stop = Some(Instant::now());
                self.host.terminate();
            }
            if asked_to_stop.is_some_and(|since| since.elapsed() > GRACE) {
                self.host.kill();
            }
            match self.messages.recv_timeout(TICK) {
                Ok(HostMessage::Event(Event { kind: EventKind::Done { result, .. }, .. })) => return Ok(result),
                Ok(HostMessage::Event(Event { kind: EventKind::Failed(failure), .. })) => {
                    return Err(Gone { failure, host_died: false });
                }
                Ok(HostMessage::Event(event)) => {
                    last_heard = Instant::now();
                    hear(&event.kind);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(patience) = patience.filter(|patience| last_heard.elapsed() > *patience) {
                        self.host.kill();
                        let text = format!("retune-stage said nothing for {} s", patience.as_secs());
                        return Err(Gone { failure: Failure::failed(text), host_died: true });
                    }
                }
                Ok(HostMessage::Closed) | Err(RecvTimeoutError::Disconnected) => {
                    let mut failure = self.host.post_mortem();
                    if asked_to_stop.is_some() {
                        failure.class = ErrorClass::Cancelled;
                    }
                    return Err(Gone { failure, host_died: true });
                }
            }
        }
    }
}

/// Why a job was not done.
#[derive(Debug)]
pub struct Gone {
    /// In words.
    pub failure: Failure,
    /// Whether the host went with it.
    pub host_died: bool,
}

/// Runs a single job on a host of its own. `hear` gets what happens on the way.
pub fn run_job(request: &Request, hear: impl FnMut(&EventKind)) -> Result<Value, Failure> {
    run_job_within(None, request, hear)
}

/// [`run_job`], given up where the host says nothing for so long.
pub fn run_job_within(
    patience: Option<Duration>,
    request: &Request,
    hear: impl FnMut(&EventKind),
) -> Result<Value, Failure> {
    let mut session = Session::start(request.threads, Vec::new())?;
    session.run_within(patience, request, &Interrupt::default(), hear).map_err(|gone| gone.failure)
}

/// One budget for every library that has threads of its own, as they read it at their start.
fn thread_budget(threads: usize) -> [(&'static str, String); 7] {
    let n = threads.to_string();
    [
        ("RAYON_NUM_THREADS", n.clone()),
        ("POLARS_MAX_THREADS", n.clone()),
        ("OMP_NUM_THREADS", n.clone()),
        ("MKL_NUM_THREADS", n.clone()),
        ("OPENBLAS_NUM_THREADS", n),
        // Threads that wait must not spin: they would take the cores from those that work.
        ("OMP_WAIT_POLICY", "passive".to_owned()),
        // Without it cuBLAS does not repeat its bits.
        ("CUBLAS_WORKSPACE_CONFIG", ":4096:8".to_owned()),
    ]
}

fn keep_tail(reader: impl BufRead + Send + 'static, tail: Arc<Mutex<VecDeque<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in reader.split(b'\n').map_while(Result::ok) {
            if let Ok(mut tail) = tail.lock() {
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(String::from_utf8_lossy(&line).into_owned());
            }
        }
    })
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, Some(code)) => format!("ended with code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The library that the dynamic loader did not find.
fn missing_library(said: &str) -> Option<&str> {
    Some(said.split_once("error while loading shared libraries: ")?.1.split_once(':')?.0)
}

fn status_signal(status: &Option<ExitStatus>) -> Option<i32> {
    status.as_ref().and_then(ExitStatusExt::signal)
}

/// `retune-stage`: `RETUNE_STAGE`, or beside this program.
pub fn program() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("RETUNE_STAGE").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|path| path.canonicalize().ok())
        .map(|path| path.with_file_name("retune-stage"));
    beside
        .filter(|path| path.exists())
        .ok_or_else(|| Failure::failed("`retune-stage` is not beside `retune`").help(NO_HOST))
}
