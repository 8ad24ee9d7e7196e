//! The stages before the model, of which some hyperparameters may be searched.
//!
//! The chain is cut before every step of which something is searched. What a fold's rows are after each piece is kept, so that a trial which changes a late
//! step fits only that and what follows.

use indexmap::IndexMap;
use retune_spec::model_selection::Space;
use retune_stage::{FitContext, FittedChain, Link, Result, Rows, Stage, StageError, Upstream};
use serde_json::{Map, Value};

/// The stages before the model, cut into pieces.
pub struct Chain<'a> {
    upstream: &'a Upstream,
    places: Vec<Place>,
    pieces: Vec<Piece>,
}

/// A hyperparameter of a stage before.
struct Place {
    /// As it is declared: `prepare.pca.components`.
    name: String,
    stage: usize,
    step: usize,
    parameter: String,
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
        let places: Vec<Place> = searched.keys().map(|name| place(upstream, name)).collect::<Result<_>>()?;
        let mut pieces: Vec<Piece> = Vec::new();
        for (stage, steps) in parts(upstream, &places) {
            let is_before = |place: &Place| {
                place.stage < stage || place.stage == stage && steps.is_none_or(|(_, end)| place.step < end)
            };
            let depends_on: Vec<usize> = (0..places.len()).filter(|&at| is_before(&places[at])).collect();
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
        let known = |&at: &usize| values.get(&self.places[at].name).cloned().unwrap_or_default();
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
            let fit = match self.places.iter().any(|place| place.stage == stage) {
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
            stages.push(fit.fitted);
        }
        Ok((FittedChain { stages }, rows))
    }

    /// Builds every stage that is searched with these values; what a value does not fit is an error.
    pub fn check(&self, values: &Map<String, Value>) -> Result<()> {
        self.places.iter().try_for_each(|place| {
            let built = self.with_values(place.stage, None, values).map(drop);
            built.map_err(|error| error.within(format!("`upstream: {}`", place.name)))
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
        for place in self.places.iter().filter(|place| place.stage == stage) {
            let Some(value) = values.get(&place.name) else { continue };
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
fn parts(upstream: &Upstream, places: &[Place]) -> Vec<Part> {
    let mut parts = Vec::new();
    for (stage, link) in upstream.stages.iter().enumerate() {
        let mut cuts: Vec<usize> = places.iter().filter(|place| place.stage == stage).map(|place| place.step).collect();
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
    let wrong = |what: String| StageError::data(format!("`upstream: {name}`: {what}"));
    let ids = || upstream.stages.iter().map(|link| format!("`{}`", link.id)).collect::<Vec<_>>().join(", ");
    // A stage's name may have dots itself; the longest that fits is meant.
    let named = upstream
        .stages
        .iter()
        .enumerate()
        .filter(|(_, link)| name.strip_prefix(link.id.as_str()).is_some_and(|rest| rest.starts_with('.')));
    let (stage, link) = named.max_by_key(|(_, link)| link.id.len()).ok_or_else(|| {
        wrong("it names no stage before this one".to_owned())
            .help(format!("write STAGE.STEP.PARAMETER; the stages before are {}", ids()))
    })?;
    let rest = &name[link.id.len() + 1..];
    let (step, parameter) = rest.split_once('.').ok_or_else(|| {
        wrong("it names no hyperparameter".to_owned())
            .help("write STAGE.STEP.PARAMETER, as in `prepare.pca.components`")
    })?;
    let step = step_of(link, step).map_err(|(what, help)| wrong(what).help(help))?;
    Ok(Place { name: name.to_owned(), stage, step, parameter: parameter.to_owned() })
}

/// The position of a step that a word or a number names.
fn step_of(link: &Link, step: &str) -> Result<usize, (String, String)> {
    let steps = link.with["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let words: Vec<&str> = steps.iter().map(word_of).collect();
    if let Ok(number) = step.parse::<usize>() {
        let is_there = (1..=words.len()).contains(&number);
        let help = format!("`{}` has {} steps", link.id, words.len());
        return if is_there { Ok(number - 1) } else { Err((format!("there is no step {number}"), help)) };
    }
    let found: Vec<usize> = (0..words.len()).filter(|&at| words[at] == step).collect();
    match found.as_slice() {
        [] => Err((format!("`{}` has no step `{step}`", link.id), format!("its steps are {}", words.join(", ")))),
        [at] => Ok(*at),
        [first, ..] => Err((
            format!("`{}` has {} steps `{step}`", link.id, found.len()),
            format!("name one by its number, as in `{}.{}.…`", link.id, first + 1),
        )),
    }
}

fn word_of(step: &Value) -> &str {
    match step {
        Value::String(word) => word,
        step => step.as_object().and_then(|step| step.keys().next()).map_or("", String::as_str),
    }
}
