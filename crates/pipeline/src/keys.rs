//! Cache keys: what a node's result depends on, and why it would run.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use indexmap::IndexMap;
use retune_protocol::{Device, IMAGE_PATHS, IMAGE_PATHS_FILE, refitted};
use retune_spec::{Document, Metric, StageKind};
use retune_store::{Change, Digest, StatCache, Store, StoreError, diff, key_of};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::graph::{Graph, NodeId, Work};
use crate::images::{Reader, readers};
use crate::project::Inputs;
use crate::run::Interrupt;
use crate::run_folder::InputSummary;

/// Counts changes of what goes into a key.
const KEY_SCHEMA: u32 = 1;

/// Counts changes of what reading and dividing data computes.
const READ_VERSION: u32 = 4;

/// Counts changes of what scoring computes.
const EVALUATE_VERSION: u32 = 3;

/// The libtorch that this version is built with, as the build script found it; its kernels decide bits.
pub const LIBTORCH: &str = env!("RETUNE_LIBTORCH_VERSION");

/// The LightGBM that this version is built with.
pub const LIGHTGBM: &str = env!("RETUNE_LIGHTGBM_VERSION");

/// What a finished node left, recorded under its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The published objects by name.
    pub objects: IndexMap<String, Digest>,
    /// Small results.
    pub result: Value,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Outcome {
    /// A published object by name.
    pub fn object(&self, name: &str) -> Option<&Digest> {
        self.objects.get(name)
    }

    /// One line on what came out.
    pub fn summary(&self) -> String {
        self.result.get("summary").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// Why a node would run.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// It never ran in this store.
    New,
    /// Its key changed since it last ran here.
    Changed(Vec<Change>),
    /// Its result was lost.
    Missing,
    /// It was asked for.
    Forced,
    /// What it needs would run first, so that its key is not known.
    Upstream(Vec<String>),
}

/// What is known of a node before it runs.
#[derive(Clone, Debug)]
pub enum Status {
    /// Its result is in the store.
    Cached(Digest, Outcome),
    /// It would run, under this key where it is known.
    Run(Option<Digest>, Reason),
}

/// Gives keys to nodes as the results that they depend on become known.
pub struct Planner<'a> {
    /// The pipeline.
    pub document: &'a Document,
    /// What depends on what.
    pub graph: &'a Graph,
    store: &'a Store,
    stat_cache: StatCache,
    source_digests: IndexMap<String, Vec<String>>,
    /// The digests of weights files, by the stages that start from them.
    weights_digests: IndexMap<String, String>,
    /// The digests of the files that columns of images name, once it is known which, by how they are read.
    images: IndexMap<Reader, Digest>,
    interrupt: Option<Interrupt>,
    folder: PathBuf,
    device: Device,
    threads: usize,
    forced: HashSet<NodeId>,
    outcomes: Vec<Option<Outcome>>,
}

impl<'a> Planner<'a> {
    /// Hashes the source files (those that changed since they were last hashed). Nothing is written.
    pub fn new(
        document: &'a Document,
        graph: &'a Graph,
        store: &'a Store,
        inputs: &Inputs,
        device: Device,
        threads: usize,
    ) -> Result<Self, StoreError> {
        let mut stat_cache = store.stat_cache();
        let mut source_digests = IndexMap::new();
        for (set, files) in &inputs.files {
            let digests = stat_cache.digest_files(files)?;
            source_digests.insert(set.clone(), digests.iter().map(|file| file.blake3.to_string()).collect());
        }
        let mut weights_digests = IndexMap::new();
        for (stage, file) in &inputs.weights {
            for digest in stat_cache.digest_files(&[file])? {
                weights_digests.insert(stage.clone(), digest.blake3.to_string());
            }
        }
        let outcomes = vec![None; graph.nodes.len()];
        let forced = HashSet::new();
        Ok(Self {
            document,
            graph,
            store,
            stat_cache,
            source_digests,
            weights_digests,
            images: IndexMap::new(),
            interrupt: None,
            folder: inputs.folder.clone(),
            device,
            threads,
            forced,
            outcomes,
        })
    }

    /// Keeps the digests of the source files in the store.
    pub fn remember_digests(&mut self) {
        // A cache that cannot be kept only costs time.
        let _ = self.stat_cache.save();
    }

    /// Files are not hashed any further once it is a signal.
    pub fn heed(&mut self, interrupt: Interrupt) {
        self.interrupt = Some(interrupt);
    }

    /// Nodes that run whatever the store has.
    pub fn force(&mut self, nodes: impl IntoIterator<Item = NodeId>) {
        self.forced.extend(nodes);
    }

    /// Remembers what a node left.
    pub fn finish(&mut self, node: NodeId, outcome: Outcome) -> Result<(), StoreError> {
        if let (Work::Read, Some(paths)) = (self.graph.nodes[node].work, outcome.object(IMAGE_PATHS)) {
            self.digest_images(&paths.clone())?;
        }
        self.outcomes[node] = Some(outcome);
        Ok(())
    }

    /// The digests of the image files that rows name, for each way in which stages read them.
    fn digest_images(&mut self, paths: &Digest) -> Result<(), StoreError> {
        let Some(artifact) = self.store.object(paths)? else { return Ok(()) };
        let paths: Vec<String> = artifact.read_json(IMAGE_PATHS_FILE)?;
        for reader in self.document.pipeline.stages.iter().flat_map(|stage| readers(&with_of(&stage.kind))) {
            if !self.images.contains_key(&reader) {
                let interrupt = &self.interrupt;
                let goes_on = || interrupt.as_ref().is_none_or(|signal| signal.load(Ordering::SeqCst) == 0);
                let digest = reader.digest(&paths, &self.folder, &mut self.stat_cache, goes_on);
                self.images.insert(reader, digest);
            }
        }
        Ok(())
    }

    /// What a node left, once it is known.
    pub fn outcome(&self, node: NodeId) -> Option<&Outcome> {
        self.outcomes[node].as_ref()
    }

    /// An object that the fit of a stage published.
    pub fn stage_object(&self, stage: usize, name: &str) -> Option<Digest> {
        self.outcome(self.graph.node_of_stage(stage))?.object(name).copied()
    }

    /// The rows as they came from the data.
    pub fn raw(&self) -> Option<Digest> {
        self.outcome(0)?.object("rows").copied()
    }

    /// The rows that a stage is fitted on: those that left the last stage before it that is not a model, or that is one which fitted the stages before it anew.
    pub fn rows_for(&self, stage: usize) -> Option<Digest> {
        let mut input = self.graph.input(stage);
        while let Some(upstream) = input {
            let rows = self.stage_object(upstream, "rows");
            if rows.is_some() || !self.document.pipeline.stages[upstream].kind.is_model() {
                return rows;
            }
            input = self.graph.input(upstream);
        }
        self.raw()
    }

    /// What a stage learned, as the model at the end of `leaf` needs it: a model selection that searched the stages before it fitted them anew.
    pub fn fitted_for(&self, leaf: usize, stage: usize) -> Option<Digest> {
        let name = refitted(&self.document.pipeline.stages[stage].id);
        let mut anew = self.model_stages(leaf).rev().filter_map(|model| self.stage_object(model, &name));
        anew.next().or_else(|| self.stage_object(stage, "fitted"))
    }

    /// The name of the scratch folder of a stage's job. That of a model selection does not depend on how long it searches, so that a longer search goes on
    /// where a shorter one ended.
    pub fn work_key(&self, stage: usize, key: Digest) -> Digest {
        if !matches!(self.document.pipeline.stages[stage].kind, StageKind::ModelSelection(_)) {
            return key;
        }
        let Some(mut fields) = self.fit_fields(stage) else { return key };
        if let Some(search) = fields.pointer_mut("/with/search").and_then(Value::as_object_mut) {
            ["trials", "seconds", "goal"].iter().for_each(|budget| drop(search.remove(*budget)));
        }
        fields["kind"] = json!("search");
        key_of(&fields)
    }

    /// The stages between the data and a stage that are not models.
    pub fn chain(&self, stage: usize) -> Vec<usize> {
        let stages = &self.document.pipeline.stages;
        self.graph
            .lineage(stage)
            .into_iter()
            .filter(|&upstream| upstream != stage && !stages[upstream].kind.is_model())
            .collect()
    }

    /// The models that an evaluation compares, by what they are called: the base of the lineage first, which may be a network from a file. `None` while one is not
    /// known.
    pub fn models(&self, leaf: usize) -> Option<IndexMap<String, Digest>> {
        let mut models = IndexMap::new();
        for stage in self.model_stages(leaf) {
            let id = &self.document.pipeline.stages[stage].id;
            if let Some(base) = self.stage_object(stage, "base") {
                models.insert(format!("{id} base"), base);
            }
            models.insert(id.clone(), self.stage_object(stage, "fitted")?);
        }
        Some(models)
    }

    /// The metric that the model at the end of `leaf` was chosen by: what its guard compares, else what the search looked for; `None` for that of the task.
    pub fn metric(&self, leaf: usize) -> Option<Metric> {
        self.model_stages(leaf).rev().find_map(|stage| match &self.document.pipeline.stages[stage].kind {
            StageKind::FineTuning(tuning) => tuning.guard.metric,
            StageKind::ModelSelection(selection) => selection.metric,
            StageKind::Preprocessing(_) | StageKind::FeatureSelection(_) => None,
        })
    }

    /// The files of the data and of weights, with their digests.
    pub fn inputs(&self, inputs: &Inputs) -> Vec<InputSummary> {
        let shown = |path: &PathBuf| path.strip_prefix(&self.folder).unwrap_or(path).to_owned();
        let mut files = Vec::new();
        for (set, paths) in &inputs.files {
            let digests = self.source_digests.get(set).into_iter().flatten();
            files.extend(paths.iter().zip(digests).map(|(path, blake3)| InputSummary {
                set: set.clone(),
                path: shown(path),
                blake3: blake3.clone(),
            }));
        }
        for (stage, path) in &inputs.weights {
            let digest = self.weights_digests.get(stage).cloned().unwrap_or_default();
            files.push(InputSummary { set: stage.clone(), path: shown(path), blake3: digest });
        }
        files
    }

    /// The stages that end in models, from the first to a leaf.
    fn model_stages(&self, leaf: usize) -> impl DoubleEndedIterator<Item = usize> {
        let stages = &self.document.pipeline.stages;
        self.graph.lineage(leaf).into_iter().filter(|&stage| stages[stage].kind.is_model())
    }

    /// Everything that a node's result depends on; `None` while something that it needs is not known.
    pub fn fields(&self, node: NodeId) -> Option<Value> {
        let pipeline = &self.document.pipeline;
        match self.graph.nodes[node].work {
            Work::Read => Some(json!({
                "key_schema": KEY_SCHEMA,
                "kind": "read",
                "version": READ_VERSION,
                "seed": pipeline.seed,
                "data": data_without_paths(&pipeline.data),
                "files": self.source_digests,
            })),
            Work::Fit(stage) => self.fit_fields(stage),
            Work::Evaluate(leaf) => Some(self.with_images(
                json!({
                "key_schema": KEY_SCHEMA,
                "kind": "evaluate",
                "version": EVALUATE_VERSION,
                "seed": pipeline.seed,
                "data": self.raw()?.to_string(),
                "chain": self.chain(leaf).into_iter().map(|stage| Some(self.fitted_for(leaf, stage)?.to_string())).collect::<Option<Vec<_>>>()?,
                "models": self.models(leaf)?.into_iter().map(|(id, model)| (id, model.to_string())).collect::<IndexMap<_, _>>(),
                "metric": self.metric(leaf),
                }),
                self.graph.lineage(leaf),
            )),
        }
    }

    /// With what is in the image files that some of these stages read.
    fn with_images(&self, mut fields: Value, stages: impl IntoIterator<Item = usize>) -> Value {
        let kinds = stages.into_iter().map(|stage| &self.document.pipeline.stages[stage].kind);
        let digests = kinds.flat_map(|kind| readers(&with_of(kind))).filter_map(|reader| self.images.get(&reader));
        let mut digests: Vec<String> = digests.map(Digest::to_string).collect();
        digests.sort_unstable();
        digests.dedup();
        if !digests.is_empty() {
            fields["images"] = json!(digests);
        }
        fields
    }

    fn fit_fields(&self, stage: usize) -> Option<Value> {
        let pipeline = &self.document.pipeline;
        let kind = &pipeline.stages[stage].kind;
        let mut fields = json!({
            "key_schema": KEY_SCHEMA,
            "kind": kind.word(),
            "version": kind.semantic_version(),
            "seed": pipeline.seed,
            "with": with_of(kind),
            "rows": self.rows_for(stage)?.to_string(),
        });
        if kind.is_model() {
            fields["libtorch"] = json!(LIBTORCH);
            fields["lightgbm"] = json!(LIGHTGBM);
            fields["device"] = json!(self.device.to_string());
            fields["threads"] = json!(self.threads);
        }
        match kind {
            StageKind::ModelSelection(_) => {
                fields["data"] = json!(self.raw()?.to_string());
                let chain = self.chain(stage).into_iter().map(|stage| &pipeline.stages[stage].kind);
                fields["chain"] = chain.map(|kind| json!({ "uses": kind.word(), "version": kind.semantic_version(), "with": with_of(kind) })).collect();
            }
            StageKind::FineTuning(tuning) => match tuning.base.stage() {
                Some(_) => {
                    let base = self.graph.input(stage).and_then(|base| self.stage_object(base, "fitted"));
                    fields["base"] = json!(base?.to_string());
                }
                None => fields["weights"] = json!(self.weights_digests.get(&pipeline.stages[stage].id)),
            },
            StageKind::Preprocessing(_) | StageKind::FeatureSelection(_) => {}
        }
        // A model selection takes the raw rows through the stages before it; a fine-tuning sees rows as its base does.
        let mut sees = match kind {
            StageKind::ModelSelection(_) => self.chain(stage),
            StageKind::FineTuning(_) => self.model_stages(stage).collect(),
            StageKind::Preprocessing(_) | StageKind::FeatureSelection(_) => Vec::new(),
        };
        sees.push(stage);
        Some(self.with_images(fields, sees))
    }

    /// Whether a node's result is in the store, or why it would run. The result of a cached node is remembered.
    pub fn status(&mut self, node: NodeId) -> Result<Status, StoreError> {
        let Some(fields) = self.fields(node) else {
            let unknown = self.graph.nodes[node].needs.iter().filter(|&&need| self.outcomes[need].is_none());
            let names = unknown.map(|&need| self.graph.nodes[need].name.clone()).collect();
            return Ok(Status::Run(None, Reason::Upstream(names)));
        };
        let key = key_of(&fields);
        if self.forced.contains(&node) {
            return Ok(Status::Run(Some(key), Reason::Forced));
        }
        let recorded = self.store.lookup::<Outcome>(&key)?;
        if let Some(outcome) = &recorded
            && self.is_whole(outcome)?
        {
            self.finish(node, outcome.clone())?;
            return Ok(Status::Cached(key, outcome.clone()));
        }
        let last = self.store.last_stage(&self.document.pipeline.name, &self.graph.nodes[node].name)?;
        let reason = match (recorded, last) {
            (Some(_), _) => Reason::Missing,
            (None, None) => Reason::New,
            (None, Some(last)) => match diff(&last, &fields) {
                changes if changes.is_empty() => Reason::Missing,
                changes => Reason::Changed(changes),
            },
        };
        Ok(Status::Run(Some(key), reason))
    }

    fn is_whole(&self, outcome: &Outcome) -> Result<bool, StoreError> {
        for digest in outcome.objects.values() {
            match self.store.object(digest) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(false),
                // Publishing it again mends it; whoever only looks leaves it as it is.
                Err(error) if error.is_damaged() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// A stage's parameters with their defaults.
fn with_of(kind: &StageKind) -> Value {
    serde_json::to_value(kind).ok().and_then(|mut value| value.get_mut("with").map(Value::take)).unwrap_or(Value::Null)
}

fn data_without_paths(data: &retune_spec::Data) -> Value {
    let mut value = serde_json::to_value(data).unwrap_or(Value::Null);
    if let Some(map) = value.as_object_mut() {
        for key in ["path", "train", "validation", "test", "sets"] {
            map.shift_remove(key);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_set_up_fetches_the_libraries_that_keys_name() {
        let releases = include_str!("../../../libraries.txt");
        assert!(releases.contains(&format!("lightgbm {LIGHTGBM}\n")), "{LIGHTGBM}");
        assert_eq!(LIBTORCH.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{LIBTORCH}");
        for release in releases.lines() {
            let (library, version) = release.split_once(' ').unwrap();
            let (stem, folder) = (format!("{library}-"), format!("{library}-{version}"));
            for (file, text) in [
                ("justfile", include_str!("../../../justfile")),
                ("fetch.py", include_str!("../../../scripts/fetch.py")),
            ] {
                let others: Vec<&str> = text
                    .match_indices(&stem)
                    .map(|(at, _)| &text[at..])
                    .filter(|text| text[stem.len()..].starts_with(|c: char| c.is_ascii_digit()))
                    .filter(|text| !text.starts_with(&folder))
                    .filter_map(|text| text.lines().next())
                    .collect();
                assert!(text.contains(&folder) && others.is_empty(), "{file} and libraries.txt differ: {others:?}");
            }
        }
    }

    const PIPELINE: &str = "version: 1
name: p
data: { path: d.csv, target: y }
stages:
  - id: prepare
    uses: preprocessing
    with: { steps: [ impute: {} ] }
  - id: model
    uses: model-selection
    with: { candidates: [ ridge: {} ] }
  - id: tuned
    uses: fine-tuning
    with: { base: model }
";

    #[test]
    fn keys_of_model_stages_name_both_libraries() {
        let folder = tempfile::tempdir().unwrap();
        let document = retune_spec::load(&retune_spec::Source::new("p.yaml".to_owned(), PIPELINE), &[]).unwrap();
        let graph = Graph::of(&document.pipeline);
        let store = Store::at(folder.path()).unwrap();
        let mut planner = Planner::new(&document, &graph, &store, &Inputs::default(), Device::Cpu, 1).unwrap();
        let objects = ["rows", "fitted"].map(|name| (name.to_owned(), Digest::of(name.as_bytes())));
        for node in 0..graph.nodes.len() {
            let fields = planner.fields(node).unwrap();
            let versions = [&fields["libtorch"], &fields["lightgbm"]];
            let expected = match graph.nodes[node].name.as_str() {
                "model" | "tuned" => [LIBTORCH.into(), LIGHTGBM.into()],
                _ => [Value::Null, Value::Null],
            };
            assert_eq!(versions, expected.each_ref(), "{}", graph.nodes[node].name);
            let outcome = Outcome { objects: objects.clone().into_iter().collect(), result: Value::Null, seconds: 0.0 };
            planner.finish(node, outcome).unwrap();
        }
    }
}
