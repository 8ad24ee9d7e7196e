//! The loop: a job, its events, the next job.

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use retune_protocol::{EVENTS_FD, EventKind, Failure, JOBS_FD, Job, Request, VERSION};
use retune_stage::Result;
use retune_store::Store;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::objects::Objects;
use crate::progress::{Events, JobProgress};
use crate::{apply, doctor, evaluate, fit, importance, profile, read};

/// What a job gives: published objects by name, and a small result.
pub type Output = (indexmap::IndexMap<String, retune_store::Digest>, serde_json::Value);

/// Executes jobs until there are no more.
pub fn serve() -> ExitCode {
    let cancel = Arc::new(AtomicBool::new(false));
    // Ctrl-C reaches the whole process group; `retune` decides what it means and sends SIGTERM here.
    let signals = signal_hook::flag::register(SIGTERM, Arc::clone(&cancel))
        .and_then(|_| signal_hook::flag::register(SIGINT, Arc::new(AtomicBool::new(false))));
    let channels = File::open(format!("/dev/fd/{JOBS_FD}")).and_then(|jobs| {
        let events = OpenOptions::new().write(true).open(format!("/dev/fd/{EVENTS_FD}"))?;
        Ok((jobs, events))
    });
    let (jobs, events) = match (signals, channels) {
        (Ok(_), Ok(channels)) => channels,
        (Err(error), _) | (_, Err(error)) => {
            let _ = writeln!(std::io::stderr(), "retune-stage serve is for `retune` alone: {error}");
            return ExitCode::from(2);
        }
    };
    let events = Events::new(events);
    let busy = Arc::new(AtomicBool::new(false));
    let requests = listen(jobs, Arc::clone(&busy));
    let mut objects = Objects::default();
    for request in requests {
        let progress = JobProgress::new(request.id, events.clone(), Arc::clone(&cancel));
        let kind = match execute_safely(&request, &mut objects, &progress) {
            Ok((objects, result)) => EventKind::Done { objects, result },
            Err(failure) => EventKind::Failed(failure),
        };
        busy.store(false, Ordering::SeqCst);
        events.send(request.id, kind);
    }
    ExitCode::SUCCESS
}

/// Reads jobs on a thread of its own. When `retune` is gone in the middle of a job, the process ends: nobody wants the result.
fn listen(jobs: File, busy: Arc<AtomicBool>) -> Receiver<Request> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(jobs).lines().map_while(std::io::Result::ok) {
            match serde_json::from_str::<Request>(&line) {
                Ok(request) => {
                    busy.store(true, Ordering::SeqCst);
                    if sender.send(request).is_err() {
                        break;
                    }
                }
                Err(error) => {
                    let _ = writeln!(
                        std::io::stderr(),
                        "a job that this program does not understand: {error}; are `retune` and `retune-stage` of one version?"
                    );
                    std::process::exit(2);
                }
            }
        }
        if busy.load(Ordering::SeqCst) {
            std::process::exit(1);
        }
    });
    receiver
}

fn execute_safely(request: &Request, objects: &mut Objects, progress: &JobProgress) -> Result<Output, Failure> {
    if request.version != VERSION {
        return Err(Failure::failed(format!(
            "`retune` speaks version {} of the protocol and `retune-stage` version {VERSION}",
            request.version
        ))
        .help("install both with `just install`"));
    }
    match catch_unwind(AssertUnwindSafe(|| execute(request, objects, progress))) {
        Ok(result) => result.map_err(Failure::from),
        Err(panic) => Err(Failure::failed(format!("a fault in retune itself: {}", panic_text(panic.as_ref())))
            .help("this is a bug; the pipeline and this text would help to mend it")),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text")
}

fn execute(request: &Request, objects: &mut Objects, progress: &JobProgress) -> Result<Output> {
    let store = || Store::open(&request.store);
    match &request.job {
        Job::Read(job) => read::read(job, &store()?, objects, progress),
        Job::Fit(job) => fit::fit(job, request, &store()?, objects, progress),
        Job::Evaluate(job) => evaluate::evaluate(job, &store()?, objects, progress),
        Job::Apply(job) => apply::apply(job, &mut objects.bundle, progress),
        Job::Stream(job) => apply::stream(job, &mut objects.bundle, progress),
        Job::Stack(job) => apply::stack(job),
        Job::Score(job) => evaluate::score_files(job, progress),
        Job::Importance(job) => importance::importance(job, progress),
        Job::Profile(job) => profile::profile(job),
        Job::Doctor => doctor::doctor(),
    }
}
