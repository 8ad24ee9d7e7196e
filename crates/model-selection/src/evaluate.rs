//! Runs one trial on the folds.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_estimators::{FitOptions, Member, truth_of};
use retune_metrics::{Prediction, score};
use retune_spec::model_selection::Encode;
use retune_spec::{Estimator, Metric};
use retune_stage::{Design, FitContext, Level, Progress, Result, Seed, StageError, Target, Task, available_memory};

use crate::folds::PreparedFold;
use crate::out_of_fold::{Held, joined};

/// What trials are scored by.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// The score that decides.
    pub metric: Metric,
    /// What is learned.
    pub task: &'a Task,
    /// What families that take numbers only have done for them.
    pub encode: Option<Encode>,
    /// Whether the folds' predictions are scored together.
    pub is_pooled: bool,
    /// Seed, threads and device.
    pub context: &'a FitContext<'a>,
}

/// How much of a resource a trial has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// All of everything.
    Whole,
    /// This share of each fold's training rows.
    Rows(f64),
    /// This share of the trees or epochs; of the rows, where the family has neither.
    Rounds(f64),
}

/// What a trial is given.
pub struct Terms<'a> {
    /// What its randomness is derived from, with the number of the fold.
    pub place: &'a str,
    /// How much of a resource it has.
    pub share: Share,
    /// Threads of each fit.
    pub threads: usize,
    /// When it has to stop.
    pub limits: &'a Limits<'a>,
}

/// What came of some folds.
pub struct Scored {
    /// The score of each fold, or a single one of all together.
    pub scores: Vec<f64>,
    /// Each fold's rounds, where the family has such.
    pub rounds: Vec<Option<usize>>,
    /// Each fold's predictions.
    pub predictions: Vec<Prediction>,
    /// Seconds of training and predicting, and the size of the model, of each fold.
    pub costs: Vec<[f64; 3]>,
}

/// The bytes that must stay free while a trial runs.
const SPARE_MEMORY: u64 = 256 << 20;

/// Stops a trial that takes too long, or all there is of memory.
pub struct Limits<'a> {
    inner: &'a dyn Progress,
    until: Option<Instant>,
    /// What learns round by round ends after so long a time in each fold.
    of_fold: Option<Duration>,
    checked: std::sync::Mutex<Instant>,
    is_late: AtomicBool,
    is_short: AtomicBool,
}

impl<'a> Limits<'a> {
    /// Of a trial that begins now.
    pub fn new(inner: &'a dyn Progress, until: Option<Instant>) -> Self {
        let checked = std::sync::Mutex::new(Instant::now());
        let (is_late, is_short) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { inner, until, of_fold: None, checked, is_late, is_short }
    }

    /// The same, where what learns round by round ends after so long a time in each fold.
    pub fn with_time_of_fold(self, of_fold: Option<Duration>) -> Self {
        Self { of_fold, ..self }
    }

    /// Whether the time was over.
    pub fn is_late(&self) -> bool {
        self.is_late.load(Ordering::Relaxed)
    }

    /// Whether memory ran out.
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    fn runs_short(&self) -> bool {
        // Whoever does not get the lock leaves the looking to whoever holds it.
        let Ok(mut checked) = self.checked.try_lock() else { return self.is_short() };
        if checked.elapsed() > Duration::from_millis(50) {
            *checked = Instant::now();
            if available_memory().is_some_and(|free| free < SPARE_MEMORY) {
                self.is_short.store(true, Ordering::Relaxed);
            }
        }
        self.is_short()
    }
}

impl Progress for Limits<'_> {
    fn update(&self, _phase: &str, _done: u64, _total: Option<u64>) {}

    fn message(&self, _level: Level, _text: &str) {}

    fn cancelled(&self) -> bool {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            self.is_late.store(true, Ordering::Relaxed);
        }
        self.is_late() || self.inner.cancelled() || self.runs_short()
    }
}

/// The limits of a trial in one of its folds.
struct InFold<'a> {
    limits: &'a Limits<'a>,
    begun: Instant,
}

impl Progress for InFold<'_> {
    fn update(&self, _phase: &str, _done: u64, _total: Option<u64>) {}

    fn message(&self, _level: Level, _text: &str) {}

    fn cancelled(&self) -> bool {
        self.limits.cancelled()
    }

    fn is_enough(&self) -> bool {
        self.limits.of_fold.is_some_and(|time| self.begun.elapsed() >= time)
    }
}

impl Judge<'_> {
    /// Trains on some of the folds and scores them, side by side.
    pub fn folds(
        &self,
        estimator: &Estimator,
        all: &[Arc<PreparedFold>],
        some: Range<usize>,
        terms: &Terms,
    ) -> Result<Scored> {
        let (first, folds) = (some.start, &all[some]);
        let one = |(position, fold): (usize, &Arc<PreparedFold>)| {
            let progress = InFold { limits: terms.limits, begun: Instant::now() };
            let options = FitOptions {
                seed: self.context.seed.derive(&format!("{}, fold {}", terms.place, first + position)),
                threads: terms.threads,
                device: self.context.device,
                progress: &progress,
            };
            catch_unwind(AssertUnwindSafe(|| self.fold(estimator, fold, terms.share, &options)))
                .unwrap_or_else(|panic| Err(StageError::failed(format!("it panicked{}", told(panic.as_ref())))))
        };
        let results: Vec<(Prediction, Option<usize>, [f64; 3])> =
            folds.par_iter().enumerate().map(one).collect::<Result<_>>()?;
        let (mut predictions, mut rounds, mut costs) = (Vec::new(), Vec::new(), Vec::new());
        for (prediction, round, cost) in results {
            predictions.push(prediction);
            rounds.push(round);
            costs.push(cost);
        }
        let scores = if self.is_pooled {
            vec![self.score(&Held::of(folds)?.target, &joined(&predictions)?)?]
        } else {
            let score = |(fold, prediction): (&Arc<PreparedFold>, &Prediction)| {
                self.score(fold.validation.target()?, prediction)
            };
            folds.iter().zip(&predictions).map(score).collect::<Result<_>>()?
        };
        Ok(Scored { scores, rounds, predictions, costs })
    }

    fn fold(
        &self,
        estimator: &Estimator,
        fold: &PreparedFold,
        share: Share,
        options: &FitOptions,
    ) -> Result<(Prediction, Option<usize>, [f64; 3])> {
        options.progress.check_cancelled()?;
        let begun = Instant::now();
        let fit = |estimator: &Estimator, rows: &Design| {
            Member::fit(estimator, rows, self.task, self.encode.as_ref(), options)
        };
        let (model, info) = match share {
            Share::Whole => fit(estimator, &fold.train)?,
            Share::Rounds(share) if estimator.rounds().is_some() => {
                let rounds = estimator.rounds().map_or(1.0, |rounds| (rounds as f64 * share).ceil());
                fit(&estimator.with_rounds(rounds as usize), &fold.train)?
            }
            Share::Rows(share) | Share::Rounds(share) => {
                fit(estimator, &sample(&fold.train, share, options.seed.derive("sample"))?)?
            }
        };
        let learned = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let prediction = model.predict(&fold.validation)?;
        Ok((prediction, info.rounds, [learned, begun.elapsed().as_secs_f64(), model.fitted.size() as f64]))
    }

    /// The score of predictions. Fails where it is not a number.
    pub fn score(&self, target: &Target, prediction: &Prediction) -> Result<f64> {
        let score = score(self.metric, &truth_of(target), prediction);
        let score = score.map_err(|error| StageError::failed(error.to_string()))?;
        let word = self.metric.word();
        if score.is_finite() { Ok(score) } else { Err(StageError::failed(format!("its {word} is {score}"))) }
    }

    /// A score of which more is better.
    pub fn oriented(&self, score: f64) -> f64 {
        if self.metric.greater_is_better() { score } else { -score }
    }
}

/// A share of the rows, of each label alike.
fn sample(rows: &Design, share: f64, seed: Seed) -> Result<Design> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed.0);
    let mut chosen = Vec::new();
    for mut of_label in rows.target()?.rows_by_label() {
        of_label.shuffle(&mut rng);
        chosen.extend_from_slice(&of_label[..(share * of_label.len() as f64).ceil() as usize]);
    }
    chosen.sort_unstable();
    Ok(rows.take(&chosen))
}

/// What a panic said.
fn told(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.map_or_else(String::new, |text| format!(": {text}"))
}
