//! The stages before the model, of which some hyperparameters may be searched.
//!
//! The chain is cut before every step of which something is searched. What a fold's rows are after each piece is kept, so that a trial which changes a late
//! step fits only that and what follows.

use std::sync::Arc;

use indexmap::IndexMap;
use retune_spec::model_selection::Space;
use retune_spec::upstream::{Place, Searchable};
use retune_stage::{FitContext, FittedChain, Result, Rows, Stage, StageError, Upstream};
use serde_json::{Map, Value};

/// The stages before the model, cut into pieces.
pub struct Chain<'a> {
    upstream: &'a Upstream,
    /// What is searched: as it is declared, and what that leads to.
    places: Vec<(String, Place)>,
    pieces: Vec<Piece>,
}

/// Stages, or parts of them, that follow each other and depend on the same values.
struct Piece {
    parts: Vec<Part>,
    /// The places in this piece and those before it, which decide what its rows are.
    depends_on: Vec<usize>,
}

/// A stage, or some of its steps: from the first number to before the second.
type Part = (usize, Option<(usize, usize)>);

impl<'a> Chain<'a> {
    /// Finds what is searched. Fails where a name does not lead to a hyperparameter.
    pub fn new(upstream: &'a Upstream, searched: &IndexMap<String, Space>) -> Result<Self> {
        let found = searched.keys().map(|name| Ok((name.clone(), place(upstream, name)?)));
        let places: Vec<(String, Place)> = found.collect::<Result<_>>()?;
        let mut pieces: Vec<Piece> = Vec::new();
        for (stage, steps) in parts(upstream, &places) {
            let is_before = |place: &Place| {
                place.stage < stage || place.stage == stage && steps.is_none_or(|(_, end)| place.step < end)
            };
            let depends_on: Vec<usize> = (0..places.len()).filter(|&at| is_before(&places[at].1)).collect();
            match pieces.last_mut().filter(|last| last.depends_on == depends_on) {
                Some(last) => last.parts.push((stage, steps)),
                None => pieces.push(Piece { parts: vec![(stage, steps)], depends_on }),
            }
        }
        Ok(Self { upstream, places, pieces })
    }

    /// How many pieces there are.
    pub fn n_pieces(&self) -> usize {
        self.pieces.len()
    }

    /// What decides the rows after a piece, of the values of a trial.
    pub fn key(&self, piece: usize, values: &Map<String, Value>) -> String {
        let known = |&at: &usize| values.get(&self.places[at].0).cloned().unwrap_or_default();
        let values: Vec<Value> = self.pieces[piece].depends_on.iter().map(known).collect();
        Value::Array(values).to_string()
    }

    /// Fits a piece on training rows and takes both through it.
    pub fn fit_piece(
        &self,
        piece: usize,
        values: &Map<String, Value>,
        train: Rows,
        validation: Rows,
        context: &FitContext,
    ) -> Result<(Rows, Rows)> {
        self.pieces[piece].parts.iter().try_fold((train, validation), |(train, validation), &(stage, steps)| {
            let link = &self.upstream.stages[stage];
            let context = self.upstream.context(link.word, context);
            context.progress.check_cancelled()?;
            let fit = match self.places.iter().any(|(_, place)| place.stage == stage) {
                true => self.with_values(stage, steps, values)?.fit(train, &context),
                false => link.stage.fit(train, &context),
            };
            let fit = fit.map_err(|error| error.within(&link.id))?;
            let validation = fit.fitted.apply(validation).map_err(|error| error.within(&link.id))?;
            Ok((fit.train, validation))
        })
    }

    /// Fits every stage whole on all training rows, with the values that won.
    pub fn fit_whole(
        &self,
        values: &Map<String, Value>,
        train: Rows,
        context: &FitContext,
    ) -> Result<(FittedChain, Rows)> {
        let mut rows = train;
        let mut stages = Vec::with_capacity(self.upstream.stages.len());
        for (stage, link) in self.upstream.stages.iter().enumerate() {
            context.progress.check_cancelled()?;
            let context = self.upstream.context(link.word, context);
            let fit = self.with_values(stage, None, values)?.fit(rows, &context);
            let fit = fit.map_err(|error| error.within(&link.id))?;
            rows = fit.train;
            stages.push(Arc::from(fit.fitted));
        }
        Ok((FittedChain { stages }, rows))
    }

    /// Builds every stage that is searched with these values; what a value does not fit is an error.
    pub fn check(&self, values: &Map<String, Value>) -> Result<()> {
        self.places.iter().try_for_each(|(name, place)| {
            let built = self.with_values(place.stage, None, values).map(drop);
            built.map_err(|error| error.within(format!("`upstream: {name}`")))
        })
    }

    fn with_values(
        &self,
        stage: usize,
        steps: Option<(usize, usize)>,
        values: &Map<String, Value>,
    ) -> Result<Box<dyn Stage>> {
        let link = &self.upstream.stages[stage];
        let mut with = link.with.clone();
        for (name, place) in self.places.iter().filter(|(_, place)| place.stage == stage) {
            let Some(value) = values.get(name) else { continue };
            let step = with["steps"].get_mut(place.step).and_then(Value::as_object_mut);
            if let Some(settings) = step.and_then(|step| step.values_mut().next()).and_then(Value::as_object_mut) {
                settings.insert(place.parameter.clone(), value.clone());
            }
        }
        let first = steps.map_or(0, |(begin, _)| begin);
        if let (Some((begin, end)), Some(all)) = (steps, with["steps"].as_array()) {
            with["steps"] = all[begin..end].to_vec().into();
        }
        (self.upstream.rebuild)(link.word, &with, first)
    }
}

/// The stages, cut before each step of which something is searched.
fn parts(upstream: &Upstream, places: &[(String, Place)]) -> Vec<Part> {
    let mut parts = Vec::new();
    for (stage, link) in upstream.stages.iter().enumerate() {
        let own = places.iter().filter(|(_, place)| place.stage == stage);
        let mut cuts: Vec<usize> = own.map(|(_, place)| place.step).collect();
        // Other stages than preprocessing choose from all columns at once, and are fitted whole.
        if cuts.is_empty() || link.word != "preprocessing" {
            parts.push((stage, None));
            continue;
        }
        cuts.extend([0, link.with["steps"].as_array().map_or(0, Vec::len)]);
        cuts.sort_unstable();
        cuts.dedup();
        parts.extend(cuts.windows(2).map(|cut| (stage, Some((cut[0], cut[1])))));
    }
    parts
}

/// What a name such as `prepare.pca.components` leads to.
fn place(upstream: &Upstream, name: &str) -> Result<Place> {
    let searchable = upstream.stages.iter().map(|link| {
        let steps = link.with["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
        Searchable { id: &link.id, steps: steps.iter().map(word_of).collect() }
    });
    Place::find(name, &searchable.collect::<Vec<_>>())
        .map_err(|wrong| StageError::data(format!("`upstream`: {}", wrong.message)).help(wrong.help))
}

fn word_of(step: &Value) -> &str {
    match step {
        Value::String(word) => word,
        step => step.as_object().and_then(|step| step.keys().next()).map_or("", String::as_str),
    }
}
