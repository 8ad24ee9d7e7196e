//! Events on their way to `retune`.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use retune_protocol::{Event, EventKind, Level};
use retune_stage::Progress;

/// Progress of one phase is told at most so often.
const INTERVAL: Duration = Duration::from_millis(100);

/// The channel to `retune`.
#[derive(Clone)]
pub struct Events(Arc<Mutex<File>>);

impl Events {
    /// Writes to an open file.
    pub fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }

    /// Sends an event. Whoever listened may be gone; then the host ends by itself soon.
    pub fn send(&self, id: u64, kind: EventKind) {
        if let Ok(mut line) = serde_json::to_vec(&Event { id, kind }) {
            line.push(b'\n');
            let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
        }
    }
}

/// The progress of one job.
pub struct JobProgress {
    id: u64,
    events: Events,
    cancel: Arc<AtomicBool>,
    last: Mutex<Option<(String, Instant)>>,
}

impl JobProgress {
    /// For a job; `cancel` is set when somebody asked to stop.
    pub fn new(id: u64, events: Events, cancel: Arc<AtomicBool>) -> Self {
        Self { id, events, cancel, last: Mutex::new(None) }
    }
}

impl Progress for JobProgress {
    fn update(&self, phase: &str, done: u64, total: Option<u64>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_last = total == Some(done);
        let is_due = last.as_ref().is_none_or(|(before, when)| before != phase || when.elapsed() >= INTERVAL);
        if is_due || is_last {
            *last = Some((phase.to_owned(), Instant::now()));
            self.events.send(self.id, EventKind::Progress { phase: phase.to_owned(), done, total });
        }
    }

    fn message(&self, level: Level, text: &str) {
        self.events.send(self.id, EventKind::Message { level, text: text.to_owned() });
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::SeqCst)
    }
}
