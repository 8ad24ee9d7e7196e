//! Networks that are trained further.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Mutex;

use retune_spec::fine_tuning::{BatchNorms, NetworkTuning, TuningStrategy};
use retune_stage::{Design, FitContext, Level, Result, StageError, Target};
use retune_tensor::surgery::covers;
use retune_tensor::{
    Anchor, Begin, EarlyStopping, History, Network, RateCurve, Rehearsed, Role, Supply, Thawed, Training, find_rate,
    loss_of, train,
};

use super::{Card, FittedNetwork, Output, training};
use crate::FitOptions;
use crate::rows::class_weights;

/// The rows of a tuning.
#[derive(Clone, Copy)]
pub struct TuningRows<'a> {
    /// What is learned from.
    pub train: &'a Design,
    /// What decides when to stop.
    pub stop: &'a Design,
    /// What is learned from again.
    pub rehearsal: Option<&'a Design>,
}

/// A part of a tuning, and how its losses went.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// What was trained.
    pub name: &'static str,
    /// The losses.
    pub history: History,
}

/// What came of a tuning.
pub struct Tuned {
    /// The network.
    pub network: FittedNetwork,
    /// Its parts in their order.
    pub phases: Vec<Phase>,
    /// The search for a learning rate, where there was one.
    pub rates: Option<RateCurve>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Trains a network further as a tuning says, until the loss on the rows of early stopping no longer falls; the best parameters are kept, which may be the base's
/// own (epoch 0). What the network learned of the target's scale stays. `is_fresh` says that the base knows nothing yet. `work` is a folder that outlives a crash.
pub fn fine_tune(
    base: &FittedNetwork,
    tuning: &NetworkTuning,
    rows: TuningRows,
    is_fresh: bool,
    work: Option<&Path>,
    options: &FitOptions,
) -> Result<Tuned> {
    let spec = base.card.network.training();
    for rows in [Some(rows.train), Some(rows.stop), rows.rehearsal].into_iter().flatten() {
        if rows.images.is_none() {
            base.check_width(rows.features.ncols())?;
        }
    }
    let changed = changed(base, tuning, rows.train, options)?;
    let card = &changed.card;
    let class_weights = class_weights(spec.class_weight, rows.train)?;
    let augment = tuning.augment.as_deref().unwrap_or(card.network.augment());
    let judges = card.supply(rows.stop, &[], class_weights.as_deref(), options)?;
    let own = card.supply(rows.train, augment, class_weights.as_deref(), options)?;
    let source = rows.rehearsal.map(|rows| card.supply(rows, augment, None, options)).transpose()?;
    let share = tuning.rehearsal.as_ref().map_or(0.25, |rehearsal| rehearsal.share);
    let mixed = source.as_deref().map(|other| Rehearsed { own: own.as_ref(), other, share });
    let supply: &dyn Supply = match &mixed {
        Some(mixed) => mixed,
        None => own.as_ref(),
    };

    let anchors: HashMap<String, _> = changed
        .base
        .tensors()
        .filter(|(name, _)| !changed.fresh.contains(*name))
        .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
        .collect();
    let training = Training {
        // A head that knows nothing is no candidate for the best.
        begin: if is_fresh || !changed.fresh.is_empty() { Begin::Fresh } else { Begin::Base },
        optimizer: tuning.optimizer.unwrap_or(spec.optimizer),
        learning_rate: tuning.learning_rate,
        schedule: tuning.schedule.unwrap_or(spec.schedule),
        warm_up: tuning.warm_up,
        layer_decay: tuning.layer_decay,
        weight_decay: tuning.weight_decay.unwrap_or(spec.weight_decay),
        batch_size: tuning.batch_size.unwrap_or(spec.batch_size),
        accumulate: tuning.accumulate,
        epochs: tuning.epochs,
        clip_norm: tuning.clip_norm,
        average: tuning.average,
        frozen_norms: tuning.batch_norm == BatchNorms::Frozen,
        anchor: (tuning.l2_sp > 0.0).then_some(Anchor { parameters: &anchors, strength: tuning.l2_sp }),
        on_divergence: tuning.on_divergence,
        precision: tuning.precision,
        ..self::training(&tuned_training(&spec, tuning), card.output, options)
    };
    let several = Plan { network: &changed.base, fresh: &changed.fresh, tuning }.phases(supply, &training)?;
    let mut notes = Vec::new();
    let (mut network, mut phases) = (changed.base.shallow_clone(), Vec::new());
    let mut learning_rate = tuning.learning_rate;
    let mut rates = None;
    if tuning.find_rate {
        let thawed = several.last().map(|phase| phase.thawed.clone()).unwrap_or_default();
        let curve = find_rate(&network, supply, &Training { thawed, ..training.clone() })?;
        match curve.best {
            Some(best) => {
                notes.push(format!("`find_rate` took the learning rate {best:.2e}"));
                learning_rate = best;
            }
            None => notes.push("`find_rate` found no rate at which the loss fell; `learning_rate` stays".to_owned()),
        }
        rates = Some(curve);
    }
    let n_phases = several.len();
    let mut n_epochs = 0;
    for (number, phase) in several.into_iter().enumerate() {
        notes.extend(phase.note);
        let path = work.map(|work| work.join(format!("training-{}.safetensors", number + 1)));
        let is_first = number == 0;
        let training = Training {
            begin: if is_first { training.begin } else { Begin::Base },
            thawed: phase.thawed,
            epochs: phase.epochs.unwrap_or(training.epochs),
            learning_rate: phase.learning_rate.unwrap_or(learning_rate),
            seed: if n_phases == 1 { options.seed } else { options.seed.derive(phase.name) },
            checkpoint: path.as_deref(),
            ..training.clone()
        };
        let stopping = &tuning.early_stopping;
        let rule = EarlyStopping { rows: judges.as_ref(), patience: stopping.patience, every: stopping.every };
        let (trained, history) = train(&network, supply, Some(rule), &training)?;
        n_epochs += history.best_epoch;
        network = trained;
        phases.push(Phase { name: phase.name, history });
    }
    if tuning.wise_ft {
        let (between, note) = between(&changed.base, &network, judges.as_ref(), &training)?;
        network = between;
        notes.push(note);
    }
    for note in &notes {
        options.progress.message(Level::Info, note);
    }
    let card = Card { epochs: base.card.epochs + n_epochs, ..card.clone() };
    Ok(Tuned { network: FittedNetwork { card, network: Mutex::new(network) }, phases, rates, notes })
}

/// The point of the least loss between two networks of the same layers, and where it lies in words.
pub fn wise_ft(
    base: &FittedNetwork,
    tuned: &FittedNetwork,
    stop: &Design,
    options: &FitOptions,
) -> Result<(FittedNetwork, String)> {
    let spec = base.card.network.training();
    let class_weights = class_weights(spec.class_weight, stop)?;
    let judges = tuned.card.supply(stop, &[], class_weights.as_deref(), options)?;
    let training = training(&spec, tuned.card.output, options);
    let (network, note) = between(&base.network(), &tuned.network(), judges.as_ref(), &training)?;
    Ok((FittedNetwork { card: tuned.card.clone(), network: Mutex::new(network) }, note))
}

/// Whether tuned weights do better on rows with the base's statistics of batch norms.
pub fn statistics_shifted(
    base: &FittedNetwork,
    tuned: &FittedNetwork,
    rows: &Design,
    context: &FitContext,
) -> Result<bool> {
    let options = &FitOptions::of(context);
    let spec = base.card.network.training();
    if base.network().layers() != tuned.network().layers() {
        return Ok(false);
    }
    let Some(mixed) = tuned.network().with_statistics(&base.network())? else { return Ok(false) };
    let judges = tuned.card.supply(rows, &[], None, options)?;
    let loss = training(&spec, tuned.card.output, options).loss;
    Ok(loss_of(&mixed, judges.as_ref(), loss)? < loss_of(&tuned.network(), judges.as_ref(), loss)?)
}

/// Points between the base and the tuned network that are looked at, besides these two.
const BETWEEN: usize = 9;

fn between(base: &Network, tuned: &Network, judges: &dyn Supply, training: &Training) -> Result<(Network, String)> {
    let mut best: Option<(f64, f64, Network)> = None;
    for step in 0..=BETWEEN + 1 {
        let share = step as f64 / (BETWEEN + 1) as f64;
        let network = base.towards(tuned, share)?;
        let loss = loss_of(&network, judges, training.loss)?;
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, share, network));
        }
    }
    let (_, share, network) =
        best.ok_or_else(|| StageError::failed("no point between base and tuned weights has a loss"))?;
    Ok((network, format!("`wise_ft` took {:.0} % of the way from the base's weights to the tuned ones", share * 100.0)))
}

fn tuned_training(
    spec: &retune_spec::estimators::Training,
    tuning: &NetworkTuning,
) -> retune_spec::estimators::Training {
    retune_spec::estimators::Training {
        loss: tuning.loss.or(spec.loss),
        label_smoothing: tuning.label_smoothing.unwrap_or(spec.label_smoothing),
        ..*spec
    }
}

/// A base after surgery.
struct Changed {
    card: Card,
    base: Network,
    /// The names of the tensors that know nothing yet.
    fresh: BTreeSet<String>,
}

fn changed(base: &FittedNetwork, tuning: &NetworkTuning, train: &Design, options: &FitOptions) -> Result<Changed> {
    let network = base.network();
    let (output, n_outputs) = match &train.target {
        Some(Target::Classes { n_classes, .. }) => (Output::Classes { n_classes: *n_classes }, *n_classes),
        _ => (base.card.output, 1),
    };
    let (changed, fresh) = match tuning.surgery.is_empty() {
        true => (network, Vec::new()),
        false => network.changed(&tuning.surgery, n_outputs, options.seed.derive("surgery"))?,
    };
    if changed.n_outputs() != n_outputs {
        let head = changed.head().map_or_else(|| "HEAD".to_owned(), |head| head.name);
        return Err(StageError::data(format!(
            "the network has {} outputs, and the rows have {n_outputs} labels",
            changed.n_outputs()
        ))
        .help(format!("give it another head: `surgery: [{{ replace: {{ block: {head}, with: [linear] }} }}]`")));
    }
    let layers = if tuning.surgery.is_empty() { base.card.layers.clone() } else { Some(changed.layers().to_vec()) };
    let card = Card { layers, output, ..base.card.clone() };
    Ok(Changed { card, base: changed, fresh: fresh.into_iter().collect() })
}

/// What is trained when.
struct Plan<'a> {
    network: &'a Network,
    fresh: &'a BTreeSet<String>,
    tuning: &'a NetworkTuning,
}

struct Planned {
    name: &'static str,
    thawed: Vec<Thawed>,
    epochs: Option<usize>,
    learning_rate: Option<f64>,
    note: Option<String>,
}

impl Plan<'_> {
    fn phases(&self, rows: &dyn Supply, training: &Training) -> Result<Vec<Planned>> {
        let tuning = self.tuning;
        let plain = |name, parameters: BTreeSet<String>| Planned {
            name,
            thawed: vec![Thawed { epoch: 1, parameters }],
            epochs: None,
            learning_rate: None,
            note: None,
        };
        let phases = match &tuning.strategy {
            TuningStrategy::Full => vec![plain("full", self.parameters(|_, _| true))],
            TuningStrategy::LinearProbe => vec![plain("linear_probe", self.head())],
            TuningStrategy::LpFt(settings) => {
                let rate = settings.probe_learning_rate.unwrap_or(10.0 * training.learning_rate);
                let probe =
                    Planned { epochs: settings.probe_epochs, learning_rate: Some(rate), ..plain("probe", self.head()) };
                vec![probe, plain("full", self.parameters(|_, _| true))]
            }
            TuningStrategy::GradualUnfreeze(settings) => vec![self.gradually(settings.every)],
            TuningStrategy::Surgical(settings) if !settings.blocks.is_empty() => {
                let blocks = &settings.blocks;
                for pattern in blocks {
                    self.find(pattern)?;
                }
                vec![plain("surgical", self.parameters(|name, _| blocks.iter().any(|pattern| covers(pattern, name))))]
            }
            TuningStrategy::Surgical(settings) => {
                let blocks = self.by_gradient(settings.choose, rows, training)?;
                let note = format!("`surgical` chose {}", blocks.join(", "));
                let chosen = self.parameters(|name, _| blocks.iter().any(|block| covers(block, name)));
                vec![Planned { note: Some(note), ..plain("surgical", chosen) }]
            }
            TuningStrategy::BiasOnly => {
                let is_bias = |name: &str, role| role == Role::Bias || role == Role::Norm && name.ends_with("bias");
                vec![plain("bias_only", &self.parameters(is_bias) | &self.head())]
            }
            TuningStrategy::NormOnly => {
                let norms = self.parameters(|_, role| role == Role::Norm);
                if norms.is_empty() {
                    return Err(StageError::data("the network has no norm for `strategy: norm_only` to train")
                        .help("use `bias_only`, or another strategy"));
                }
                vec![plain("norm_only", &norms | &self.head())]
            }
        };
        for pattern in &tuning.freeze {
            self.find(pattern)?;
        }
        Ok(phases)
    }

    /// The parameters that are learned, of those that `is_meant` and of those that know nothing; none that is frozen by name.
    fn parameters(&self, is_meant: impl Fn(&str, Role) -> bool) -> BTreeSet<String> {
        let is_frozen = |name: &str| self.tuning.freeze.iter().any(|pattern| covers(pattern, name));
        let all = self.network.plan().filter(|(_, _, role)| *role != Role::Statistic);
        let meant =
            all.filter(|(name, _, role)| (is_meant(name, *role) || self.fresh.contains(*name)) && !is_frozen(name));
        meant.map(|(name, ..)| name.to_owned()).collect()
    }

    fn head(&self) -> BTreeSet<String> {
        let head = self.network.head().map(|head| head.tensors).unwrap_or_default();
        self.parameters(|name, _| head.iter().any(|known| known == name))
    }

    /// The head, then one block more at a time.
    fn gradually(&self, every: usize) -> Planned {
        let blocks = self.network.blocks();
        let thawed = blocks.iter().rev().enumerate().map(|(number, block)| Thawed {
            epoch: 1 + number * every,
            parameters: self.parameters(|name, _| block.tensors.iter().any(|known| known == name)),
        });
        let needed = 1 + (blocks.len() - 1) * every;
        let note = (needed > self.tuning.epochs).then(|| {
            let blocks = blocks.len();
            format!(
                "`gradual_unfreeze` thaws {blocks} blocks in {needed} epochs, and `epochs` is {}",
                self.tuning.epochs
            )
        });
        Planned { name: "gradual_unfreeze", thawed: thawed.collect(), epochs: None, learning_rate: None, note }
    }

    /// The blocks whose gradients are greatest beside their weights (Lee et al. 2023, relative gradient norm).
    fn by_gradient(&self, n_blocks: usize, rows: &dyn Supply, training: &Training) -> Result<Vec<String>> {
        let lengths = retune_tensor::gradient_shares(self.network, rows, training)?;
        let blocks = self.network.blocks();
        let share = |tensors: &[String]| {
            let own = lengths.iter().filter(|(name, _)| tensors.contains(name)).map(|(_, share)| *share);
            let shares: Vec<f64> = own.collect();
            shares.iter().sum::<f64>() / shares.len().max(1) as f64
        };
        let mut ranked: Vec<(f64, String)> =
            blocks.iter().map(|block| (share(&block.tensors), block.name.clone())).collect();
        ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        ranked.truncate(n_blocks);
        Ok(ranked.into_iter().map(|(_, name)| name).collect())
    }

    /// Fails where a pattern means no tensor.
    fn find(&self, pattern: &str) -> Result<()> {
        if self.network.plan().any(|(name, ..)| covers(pattern, name)) {
            return Ok(());
        }
        let blocks: Vec<String> = self.network.blocks().into_iter().map(|block| block.name).collect();
        let help = match retune_spec::diagnostic::did_you_mean(pattern, blocks.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("its blocks are {}", blocks.join(", ")),
        };
        Err(StageError::data(format!("the network has no block `{pattern}`")).help(help))
    }
}
