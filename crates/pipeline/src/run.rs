//! Running what is missing.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use retune_protocol::{
    Device, ErrorClass, EvaluateJob, EventKind, Failure, FitJob, Job, Level, ReadJob, Request, VERSION,
};
use retune_spec::{Document, StageKind};
use retune_store::{Digest, Lock, Store, key_of};

use crate::environment::Environment;
use crate::events::{Event, Listener, RunStatus};
use crate::graph::{Graph, NodeId, Work};
use crate::host::{GRACE, Host, HostMessage, TICK};
use crate::keys::{Outcome, Planner, Reason, Status};
use crate::project::{Error, Inputs, Project};
use crate::run_folder::{FailureSummary, RunFolder, RunSummary, StageSummary, Told};

/// Which part of a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// All of it.
    #[default]
    All,
    /// This stage, and what it needs.
    Only(String),
    /// This stage and everything after it anew, whatever the store has; what comes before it as needed.
    From(String),
    /// Everything but what comes after this stage.
    Until(String),
}

/// The number of the signal that asked to stop; 0 while none did.
pub type Interrupt = Arc<AtomicUsize>;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which part.
    pub choice: Choice,
    /// Run what was chosen although its result is in the store.
    pub force: bool,
    /// How many stages may run side by side.
    pub jobs: usize,
    /// Where tensors are computed.
    pub device: Device,
    /// Set by a signal handler.
    pub interrupt: Interrupt,
}

/// What a run left.
#[derive(Debug)]
pub struct RunResult {
    /// The run's folder.
    pub folder: PathBuf,
    /// What is in its `run.json`.
    pub summary: RunSummary,
    /// The failures, by stage.
    pub failures: Vec<(String, Failure)>,
    /// The signal that stopped it.
    pub signal: Option<usize>,
}

/// The threads that one stage may use.
pub fn threads_of(document: &Document) -> usize {
    document.pipeline.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// The nodes that a choice names, and those of them that must run.
pub fn chosen_nodes(graph: &Graph, choice: &Choice, force: bool) -> Result<(Vec<NodeId>, Vec<NodeId>), Failure> {
    let find = |id: &String| {
        graph.nodes.iter().position(|node| node.name == *id).ok_or_else(|| {
            let known: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
            let failure = Failure::usage(format!("no stage `{id}`"));
            match retune_spec::did_you_mean(id, known.iter().copied()) {
                Some(close) => failure.help(format!("did you mean `{close}`?")),
                None => failure.help(format!("the stages are {}", known.join(", "))),
            }
        })
    };
    let all: Vec<NodeId> = (0..graph.nodes.len()).collect();
    let (nodes, forced) = match choice {
        Choice::All => (all.clone(), all),
        Choice::Only(id) => {
            let node = find(id)?;
            (graph.ancestors(node), vec![node])
        }
        Choice::From(id) => {
            let after = graph.descendants(find(id)?);
            return Ok((all, after));
        }
        Choice::Until(id) => {
            let node = find(id)?;
            let after = graph.descendants(node);
            let nodes: Vec<NodeId> = all.into_iter().filter(|other| *other == node || !after.contains(other)).collect();
            (nodes.clone(), nodes)
        }
    };
    Ok((nodes, if force { forced } else { Vec::new() }))
}

/// Runs a pipeline: takes from the store what is there, and starts hosts for the rest.
pub fn run(
    project: &Project,
    document: &Document,
    inputs: &Inputs,
    options: &Options,
    listener: &mut dyn Listener,
) -> Result<RunResult, Error> {
    let begun = Instant::now();
    let store = project.open_store()?;
    // What killed runs left half-written.
    store.sweep_tmp();
    let graph = Graph::of(&document.pipeline);
    let threads = threads_of(document);
    let mut planner = Planner::new(document, &graph, &store, inputs, options.device, threads)?;
    let (nodes, forced) = chosen_nodes(&graph, &options.choice, options.force)?;
    planner.force(forced);
    planner.heed(options.interrupt.clone());
    planner.remember_digests();
    let folder = RunFolder::create(&project.runs, &document.pipeline.name)?;
    let (sender, receiver) = channel();
    let mut scheduler = Scheduler {
        project,
        inputs,
        options,
        threads,
        store: &store,
        planner,
        pending: nodes.clone(),
        running: Vec::new(),
        idle: Vec::new(),
        failed: HashSet::new(),
        failures: Vec::new(),
        stages: Vec::new(),
        listener,
        folder,
        next_id: 0,
        sender,
    };
    let names = nodes.iter().map(|&node| graph.nodes[node].name.clone()).collect();
    scheduler.tell(Event::RunStarted {
        pipeline: document.pipeline.name.clone(),
        folder: scheduler.folder.path().to_owned(),
        stages: names,
    })?;
    let signal = scheduler.work(&receiver)?;
    scheduler.finish(begun, signal)
}

struct Running {
    node: NodeId,
    id: u64,
    host_id: u64,
    host: Host,
    key: Digest,
    begun: Instant,
    deadline: Option<Instant>,
    timed_out: bool,
    // Held so that no other run computes the same meanwhile.
    _lock: Lock,
}

struct Scheduler<'a> {
    project: &'a Project,
    inputs: &'a Inputs,
    options: &'a Options,
    threads: usize,
    store: &'a Store,
    planner: Planner<'a>,
    pending: Vec<NodeId>,
    running: Vec<Running>,
    idle: Vec<(u64, Host)>,
    failed: HashSet<NodeId>,
    failures: Vec<(String, Failure)>,
    stages: Vec<StageSummary>,
    listener: &'a mut dyn Listener,
    folder: RunFolder,
    next_id: u64,
    sender: Sender<(u64, HostMessage)>,
}

impl Scheduler<'_> {
    fn work(&mut self, receiver: &Receiver<(u64, HostMessage)>) -> Result<Option<usize>, Error> {
        let mut asked_to_stop: Option<Instant> = None;
        loop {
            let signal = self.options.interrupt.load(Ordering::SeqCst);
            if signal != 0 && asked_to_stop.is_none() {
                asked_to_stop = Some(Instant::now());
                self.running.iter().for_each(|running| running.host.terminate());
            }
            if asked_to_stop.is_some_and(|since| since.elapsed() > GRACE) {
                self.running.iter_mut().for_each(|running| running.host.kill());
            }
            if asked_to_stop.is_none() {
                self.start_what_is_ready()?;
            }
            if self.running.is_empty() && (asked_to_stop.is_some() || self.pending.is_empty()) {
                return Ok((signal != 0).then_some(signal));
            }
            self.stop_what_is_late();
            match receiver.recv_timeout(TICK) {
                Ok((host_id, message)) => self.hear(host_id, message)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    fn start_what_is_ready(&mut self) -> Result<(), Error> {
        let mut position = 0;
        while position < self.pending.len() {
            let node = self.pending[position];
            let needs = self.planner.graph.nodes[node].needs.clone();
            if let Some(&culprit) = needs.iter().find(|need| self.failed.contains(need)) {
                self.pending.remove(position);
                self.failed.insert(node);
                let graph = self.planner.graph;
                self.tell(Event::StageSkipped {
                    stage: graph.nodes[node].name.clone(),
                    because: graph.nodes[culprit].name.clone(),
                })?;
                // Nodes before this one may wait for it.
                position = 0;
                continue;
            }
            let is_ready = needs.iter().all(|&need| self.planner.outcome(need).is_some());
            if is_ready && self.start(node)? {
                self.pending.remove(position);
                position = 0;
            } else {
                position += 1;
            }
        }
        Ok(())
    }

    /// Begins a node, or finds it in the store. `false` if it has to wait: for a free place, or for another run that computes the same.
    fn start(&mut self, node: NodeId) -> Result<bool, Error> {
        let name = self.planner.graph.nodes[node].name.clone();
        let (key, reason) = match self.planner.status(node)? {
            Status::Cached(key, outcome) => {
                // A run that was killed right after it had recorded the result left its scratch folder.
                if self.store.has_work(&key)
                    && let Some(_lock) = self.store.try_lock(&key.to_string())?
                {
                    self.store.remove_work(&key)?;
                }
                self.remember(node, &key)?;
                self.summarise(node, &key, &outcome, true);
                self.tell(Event::StageCached { stage: name, key: key.to_string() })?;
                return Ok(true);
            }
            Status::Run(None, _) => return Ok(false),
            Status::Run(Some(key), reason) => (key, reason),
        };
        if self.running.len() >= self.options.jobs {
            return Ok(false);
        }
        let Some(lock) = self.store.try_lock(&key.to_string())? else { return Ok(false) };
        // Another run may have finished it between the look and the lock.
        if matches!(self.planner.status(node)?, Status::Cached(..)) {
            drop(lock);
            return self.start(node);
        }
        let Some(job) = self.job(node, key) else { return Ok(false) };
        self.next_id += 1;
        let request = Request {
            version: VERSION,
            id: self.next_id,
            store: self.project.store.clone(),
            threads: self.threads,
            device: self.options.device,
            job,
        };
        let (host_id, host) = self.give(&request)?;
        self.tell(Event::StageStarted { stage: name, key: key.to_string(), reason: in_words(&reason) })?;
        let begun = Instant::now();
        let deadline = self.timeout(node).map(|seconds| begun + Duration::from_secs(seconds));
        self.running.push(Running {
            node,
            id: request.id,
            host_id,
            host,
            key,
            begun,
            deadline,
            timed_out: false,
            _lock: lock,
        });
        Ok(true)
    }

    /// Gives a job to an idle host, or to a new one.
    fn give(&mut self, request: &Request) -> Result<(u64, Host), Failure> {
        while let Some((host_id, mut host)) = self.idle.pop() {
            // One that died while it was idle is of no use any more.
            if host.send(request).is_ok() {
                return Ok((host_id, host));
            }
        }
        self.next_id += 1;
        let (host_id, sender) = (self.next_id, self.sender.clone());
        let mut host = Host::start(self.threads, move |message| {
            // Nobody listens any more once the run is over.
            let _ = sender.send((host_id, message));
        })?;
        // Should it be dead already, its last message says why.
        let _ = host.send(request);
        Ok((host_id, host))
    }

    fn job(&self, node: NodeId, key: Digest) -> Option<Job> {
        let pipeline = &self.planner.document.pipeline;
        let spec = |stage: usize| pipeline.stages[stage].kind.clone();
        Some(match self.planner.graph.nodes[node].work {
            Work::Read => Job::Read(Box::new(ReadJob {
                data: pipeline.data.clone(),
                files: self.inputs.files.clone(),
                seed: pipeline.seed,
            })),
            Work::Fit(stage) => Job::Fit(Box::new(FitJob {
                stage: spec(stage),
                seed: pipeline.seed,
                rows: self.planner.rows_for(stage)?,
                raw: self.planner.raw()?,
                chain: self
                    .planner
                    .chain(stage)
                    .into_iter()
                    .map(|stage| (pipeline.stages[stage].id.clone(), spec(stage)))
                    .collect(),
                base: match &pipeline.stages[stage].kind {
                    StageKind::FineTuning(tuning) if tuning.base.stage().is_some() => {
                        self.planner.graph.input(stage).and_then(|base| self.planner.stage_object(base, "fitted"))
                    }
                    _ => None,
                },
                work: self.planner.work_key(stage, key),
            })),
            Work::Evaluate(leaf) => Job::Evaluate(EvaluateJob {
                raw: self.planner.raw()?,
                chain: self
                    .planner
                    .chain(leaf)
                    .into_iter()
                    .map(|stage| self.planner.fitted_for(leaf, stage))
                    .collect::<Option<_>>()?,
                models: self.planner.models(leaf)?,
                metric: self.planner.metric(leaf),
                seed: pipeline.seed,
            }),
        })
    }

    fn timeout(&self, node: NodeId) -> Option<u64> {
        match self.planner.graph.nodes[node].work {
            Work::Fit(stage) => self.planner.document.pipeline.stages[stage].timeout,
            Work::Read | Work::Evaluate(_) => None,
        }
    }

    fn stop_what_is_late(&mut self) {
        for running in &mut self.running {
            if running.deadline.is_some_and(|deadline| Instant::now() > deadline) && !running.timed_out {
                running.timed_out = true;
                running.host.kill();
            }
        }
    }

    fn hear(&mut self, host_id: u64, message: HostMessage) -> Result<(), Error> {
        let Some(position) = self.running.iter().position(|running| running.host_id == host_id) else {
            // An idle host that ended is of no use any more.
            self.idle.retain(|(id, _)| *id != host_id);
            return Ok(());
        };
        let stage = self.planner.graph.nodes[self.running[position].node].name.clone();
        match message {
            HostMessage::Event(event) if event.id != self.running[position].id => Ok(()),
            HostMessage::Event(event) => match event.kind {
                EventKind::Progress { phase, done, total } => self.tell(Event::Progress { stage, phase, done, total }),
                EventKind::Message { level, text } => self.tell(Event::Message { stage, level, text }),
                EventKind::Done { objects, result } => {
                    let running = self.running.remove(position);
                    let outcome = Outcome { objects, result, seconds: running.begun.elapsed().as_secs_f64() };
                    self.store.record(&running.key, &outcome)?;
                    self.store.remove_work(&running.key)?;
                    self.remember(running.node, &running.key)?;
                    self.summarise(running.node, &running.key, &outcome, false);
                    self.tell(Event::StageFinished { stage, seconds: outcome.seconds, summary: outcome.summary() })?;
                    self.planner.finish(running.node, outcome)?;
                    self.idle.push((running.host_id, running.host));
                    Ok(())
                }
                EventKind::Failed(failure) => {
                    let running = self.running.remove(position);
                    self.idle.push((running.host_id, running.host));
                    self.fail(running.node, failure)
                }
            },
            HostMessage::Closed => {
                let mut running = self.running.remove(position);
                let failure = if running.timed_out {
                    let seconds = self.timeout(running.node).unwrap_or_default();
                    Failure::failed(format!("stopped after its timeout of {seconds} s"))
                        .help("raise `timeout`, or give the stage less to do")
                } else {
                    running.host.post_mortem()
                };
                self.fail(running.node, failure)
            }
        }
    }

    fn fail(&mut self, node: NodeId, failure: Failure) -> Result<(), Error> {
        self.failed.insert(node);
        if self.options.interrupt.load(Ordering::SeqCst) != 0 && failure.class == ErrorClass::Cancelled {
            return Ok(());
        }
        let stage = self.planner.graph.nodes[node].name.clone();
        self.failures.push((stage.clone(), failure.clone()));
        self.tell(Event::StageFailed { stage, failure })
    }

    /// For `retune why`: what the key was made of.
    fn remember(&self, node: NodeId, key: &Digest) -> Result<(), Error> {
        if let Some(fields) = self.planner.fields(node) {
            debug_assert_eq!(key_of(&fields), *key);
            let name = &self.planner.graph.nodes[node].name;
            let pipeline = &self.planner.document.pipeline.name;
            if self.store.last_stage(pipeline, name)?.as_ref() != Some(&fields) {
                self.store.remember_stage(pipeline, name, &fields)?;
            }
        }
        Ok(())
    }

    fn summarise(&mut self, node: NodeId, key: &Digest, outcome: &Outcome, cached: bool) {
        let kind = self.planner.graph.kind(self.planner.document, node);
        self.stages.push(StageSummary {
            name: self.planner.graph.nodes[node].name.clone(),
            kind: kind.to_owned(),
            key: *key,
            cached,
            outcome: outcome.clone(),
        });
    }

    fn tell(&mut self, event: Event) -> Result<(), Error> {
        if !matches!(event, Event::Progress { .. }) {
            self.folder.journal(&event)?;
        }
        self.listener.hear(&event);
        Ok(())
    }

    fn finish(mut self, begun: Instant, signal: Option<usize>) -> Result<RunResult, Error> {
        // Hosts that are done may end while the results are written.
        self.idle.clear();
        // Images that rows name were hashed on the way.
        self.planner.remember_digests();
        let status = match (signal, self.failures.is_empty()) {
            (Some(_), _) => RunStatus::Interrupted,
            (None, false) => RunStatus::Failed,
            (None, true) => RunStatus::Done,
        };
        let seconds = begun.elapsed().as_secs_f64();
        let order = |name: &str| self.planner.graph.nodes.iter().position(|node| node.name == name);
        self.stages.sort_by_key(|stage| order(&stage.name));
        let is_whole = self.stages.len() == self.planner.graph.nodes.len();
        let failures = self
            .failures
            .iter()
            .map(|(stage, failure)| FailureSummary { stage: stage.clone(), failure: failure.clone() });
        let told = Told {
            status: status.word(),
            seconds,
            stages: std::mem::take(&mut self.stages),
            failures: failures.collect(),
            inputs: self.planner.inputs(self.inputs),
            environment: Environment::here(self.threads, self.options.device, self.planner.document.pipeline.seed),
        };
        let summary = self.folder.finish(self.store, &self.planner, told)?;
        // The results are worth more than the page that shows them.
        if let Err(error) = self.folder.write_report() {
            let text = format!("the report was not written: {error}");
            self.tell(Event::Message { stage: "report".to_owned(), level: Level::Warning, text })?;
        }
        if is_whole && status == RunStatus::Done {
            self.folder.point_latest()?;
        }
        self.tell(Event::RunFinished { status, seconds })?;
        Ok(RunResult { folder: self.folder.path().to_owned(), summary, failures: self.failures, signal })
    }
}

/// Why a node runs, in a few words.
pub fn in_words(reason: &Reason) -> String {
    match reason {
        Reason::New => "it never ran here".to_owned(),
        Reason::Missing => "its result is not in the store any more".to_owned(),
        Reason::Forced => "it was asked for".to_owned(),
        Reason::Upstream(names) => format!("{} would run first", names.join(", ")),
        Reason::Changed(changes) => {
            let paths: Vec<&str> = changes.iter().take(3).map(|change| change.path.as_str()).collect();
            let more = if changes.len() > 3 { format!(" and {} more", changes.len() - 3) } else { String::new() };
            format!("{}{more} changed", paths.join(", "))
        }
    }
}
