//! The training loop.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;

use retune_spec::estimators::{LearningRateSchedule, Optimizer as Algorithm};
use retune_spec::fine_tuning::{Averaging, OnDivergence, Precision};
use retune_stage::{Device, Level, Progress, Seed, Silent};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::bridge::Autocast;
use crate::checkpoint::{Checkpoint, Named, State};
use crate::layer::{ForwardPass, Role};
use crate::loss::Loss;
use crate::rows::{Batch, Examples, Supply, shuffled};
use crate::schedule::Schedule;
use crate::{Mode, Network, Optimizer, Result, TensorError, bridge, device, weights};

/// Whether the network has to prove itself against what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// From drawn parameters: the first epoch is the first candidate for the best.
    Fresh,
    /// From a trained network, which is itself a candidate: epoch 0.
    Base,
}

/// Parameters that are learned from an epoch on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thawed {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Their names.
    pub parameters: BTreeSet<String>,
}

/// What pulls parameters back.
#[derive(Clone, Copy)]
pub struct Anchor<'a> {
    /// What they are pulled towards; those that are not there, towards zero.
    pub parameters: &'a HashMap<String, Tensor>,
    /// How strongly: the gradient of half this times the square of the distance is added.
    pub strength: f64,
}

/// How a network is trained.
#[derive(Clone)]
pub struct Training<'a> {
    /// What is made small.
    pub loss: Loss,
    /// Where from.
    pub begin: Begin,
    /// What is learned, and from which epoch on; everything where this is empty.
    pub thawed: Vec<Thawed>,
    /// The optimiser.
    pub optimizer: Algorithm,
    /// The learning rate of the last layer at the start.
    pub learning_rate: f64,
    /// How the rate changes.
    pub schedule: LearningRateSchedule,
    /// Epochs over which it rises before.
    pub warm_up: f64,
    /// The rate of a block is that of the block after it times this.
    pub layer_decay: f64,
    /// Weight decay of matrices and filters.
    pub weight_decay: f64,
    /// Rows of a pass.
    pub batch_size: usize,
    /// Passes of a step.
    pub accumulate: usize,
    /// At most so many passes over the rows.
    pub epochs: usize,
    /// The greatest length of all gradients together.
    pub clip_norm: Option<f64>,
    /// What is averaged.
    pub average: Averaging,
    /// Whether batch norms keep their statistics.
    pub frozen_norms: bool,
    /// What pulls parameters back.
    pub anchor: Option<Anchor<'a>>,
    /// What is done when the loss is no longer a number.
    pub on_divergence: OnDivergence,
    /// Numbers that passes are computed with.
    pub precision: Precision,
    /// Decides about the order of the rows and what is dropped.
    pub seed: Seed,
    /// Threads of libtorch.
    pub threads: usize,
    /// Where tensors are computed.
    pub device: Device,
    /// Where to say how far it is.
    pub progress: &'a dyn Progress,
    /// Where the training is kept, so that it goes on with the same bits when it was interrupted.
    pub checkpoint: Option<&'a Path>,
}

impl Training<'_> {
    /// One with AdamW, a rate of 0.001 and batches of 32 for ten epochs on one thread of the processor; whatever else is wanted is put in its place.
    pub fn new(loss: Loss, seed: Seed) -> Training<'static> {
        Training {
            loss,
            begin: Begin::Fresh,
            thawed: Vec::new(),
            optimizer: Algorithm::default(),
            learning_rate: 1e-3,
            schedule: LearningRateSchedule::default(),
            warm_up: 0.0,
            layer_decay: 1.0,
            weight_decay: 0.0,
            batch_size: 32,
            accumulate: 1,
            epochs: 10,
            clip_norm: None,
            average: Averaging::None,
            frozen_norms: false,
            anchor: None,
            on_divergence: OnDivergence::Stop,
            precision: Precision::F32,
            seed,
            threads: 1,
            device: Device::Cpu,
            progress: &Silent,
            checkpoint: None,
        }
    }
}

/// Ends a training that no longer helps, and keeps the best parameters.
pub struct EarlyStopping<'a> {
    /// The rows that judge.
    pub rows: &'a dyn Supply,
    /// After so many epochs in a row whose loss was not below the best; 0 makes every epoch and keeps the last parameters.
    pub patience: usize,
    /// They judge after every so many epochs, and after the last.
    pub every: usize,
}

/// The losses of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The mean loss of the training rows in each epoch, while it went on.
    pub train: Vec<f64>,
    /// The loss of the rows of early stopping after each epoch; `None` where they were not looked at.
    pub validation: Vec<Option<f64>>,
    /// The same before the first epoch, for a training that began from a base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_validation: Option<f64>,
    /// The learning rate at the start of each epoch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learning_rate: Vec<f64>,
    /// The epoch whose parameters were kept: 0 is the base.
    pub best_epoch: usize,
}

impl History {
    /// The losses of the rows of early stopping, each with its epoch.
    pub fn looks(&self) -> impl Iterator<Item = (usize, f64)> {
        self.validation.iter().enumerate().filter_map(|(before, loss)| Some((before + 1, (*loss)?)))
    }
}

/// Goes back at most so often.
const ROLLBACKS: usize = 5;

/// Goes back to before the loss of an epoch rose to so many times the least.
const RISEN: f64 = 2.0;

/// Trains a copy of a network in mini-batches whose order is drawn anew in each epoch. Same seed, rows, threads and device: same bits, also where the training was
/// interrupted and goes on from its checkpoint.
///
/// Fails with the epoch, the batch and the learning rate where the loss is no longer a finite number, and when somebody asks to stop.
pub fn train(
    network: &Network,
    rows: &dyn Supply,
    early_stopping: Option<EarlyStopping>,
    training: &Training,
) -> Result<(Network, History)> {
    device::set_threads(training.threads)?;
    let device = device::resolve(training.device)?;
    let mut run = Run::new(network.copy(device)?, rows, early_stopping, training)?;
    run.go_on()?;
    let (network, history) = run.finish()?;
    for (name, tensor) in network.tensors() {
        // The last step may have spoilt what no loss has seen since.
        if !weights::is_finite(tensor)? {
            return Err(diverged(f64::NAN, &format!("the last step, in `{name}`")));
        }
    }
    Ok((network, history))
}

/// A training on its way.
struct Run<'a> {
    training: &'a Training<'a>,
    rows: &'a dyn Supply,
    judges: Option<EarlyStopping<'a>>,
    network: Network,
    optimizer: Optimizer,
    /// The averaged parameters and statistics, once there are such.
    average: Option<Network>,
    /// The best parameters so far, where rows judge.
    best: Option<Network>,
    state: State,
    checkpoint: Checkpoint,
    /// The batches of an epoch.
    cuts: Vec<Range<usize>>,
    /// How it was when the epoch began, where it may have to go back.
    epoch_began: Option<(State, HashMap<String, Tensor>)>,
    /// Layers at the input that learn nothing. They work as in prediction.
    n_frozen: usize,
    /// What these make of the training rows and of those that judge, where it is the same in each epoch and not too much.
    remembered: Option<Remembered>,
}

/// What frozen layers make of rows.
struct Remembered {
    rows: Examples,
    judges: Option<Examples>,
}

/// What frozen layers make of rows is remembered up to so many numbers.
const REMEMBERED: usize = 1 << 28;

impl<'a> Run<'a> {
    fn new(
        network: Network,
        rows: &'a dyn Supply,
        judges: Option<EarlyStopping<'a>>,
        training: &'a Training<'a>,
    ) -> Result<Self> {
        let cuts = cuts(rows.n_rows(), training.batch_size, network.fewest_rows())?;
        let optimizer = Optimizer::new(training.optimizer, Vec::new())?;
        let checkpoint = Checkpoint::at(training.checkpoint);
        let kept = checkpoint.read();
        let state = State::default();
        let mut run = Self {
            training,
            rows,
            judges,
            network,
            optimizer,
            average: None,
            best: None,
            state,
            checkpoint,
            cuts,
            epoch_began: None,
            n_frozen: 0,
            remembered: None,
        };
        match kept {
            Some((state, tensors)) => run.restore(state, &tensors)?,
            None => run.begin()?,
        }
        Ok(run)
    }

    /// What is done before the first epoch.
    fn begin(&mut self) -> Result<()> {
        self.thaw(1)?;
        if self.training.begin == Begin::Base && self.judges.is_some() {
            let loss = self.judge(0)?;
            self.state.history.base_validation = Some(loss);
        }
        Ok(())
    }

    /// Lets everything be learned whose epoch has come, and gives what is new to the optimiser.
    fn thaw(&mut self, epoch: usize) -> Result<()> {
        let thawed: Vec<&Thawed> = self.training.thawed.iter().filter(|thawed| thawed.epoch <= epoch).collect();
        let everything = self.training.thawed.is_empty();
        self.network.learn(|name, _| everything || thawed.iter().any(|thawed| thawed.parameters.contains(name)))?;
        let known: BTreeSet<String> = self.optimizer.names().map(str::to_owned).collect();
        let mut groups = self.network.groups(self.training.weight_decay, self.training.layer_decay);
        for group in &mut groups {
            group.parameters.retain(|(name, _)| !known.contains(name));
        }
        groups.retain(|group| !group.parameters.is_empty());
        self.optimizer.add(groups)?;
        self.remember()
    }

    /// Computes once what frozen layers make of rows that are the same in each epoch.
    fn remember(&mut self) -> Result<()> {
        let n_frozen = self.network.n_frozen();
        if n_frozen == self.n_frozen && (n_frozen == 0 || self.remembered.is_some()) {
            return Ok(());
        }
        (self.n_frozen, self.remembered) = (n_frozen, None);
        let holds_any = self.network.layers()[..n_frozen].iter().any(|named| !named.layer.is_light());
        if !holds_any || !self.rows.is_fixed() || self.judges.as_ref().is_some_and(|rule| !rule.rows.is_fixed()) {
            return Ok(());
        }
        let Some(rows) = remembered(&self.network, n_frozen, self.rows)? else { return Ok(()) };
        let judges = match &self.judges {
            Some(rule) => match remembered(&self.network, n_frozen, rule.rows)? {
                Some(judges) => Some(judges),
                None => return Ok(()),
            },
            None => None,
        };
        self.remembered = Some(Remembered { rows, judges });
        Ok(())
    }

    /// The output for a batch, or for what frozen layers made of one.
    fn forward(&self, inputs: &Tensor, is_remembered: bool, pass: &mut ForwardPass) -> Result<Tensor> {
        let n_layers = self.network.layers().len();
        if is_remembered || self.n_frozen == 0 {
            return self.network.forward_part(self.n_frozen..n_layers, inputs, &mut Mode::Train(pass));
        }
        let features = {
            let _no_grad = tch::no_grad_guard();
            self.network.forward_part(0..self.n_frozen, inputs, &mut Mode::Predict)?
        };
        self.network.forward_part(self.n_frozen..n_layers, &features, &mut Mode::Train(pass))
    }

    fn go_on(&mut self) -> Result<()> {
        while !self.state.finished && self.state.epoch <= self.training.epochs {
            match self.epoch() {
                Ok(()) => {}
                Err(Stop::Diverged(error)) => self.roll_back(error)?,
                Err(Stop::Failed(error)) => {
                    if error.0.class == retune_stage::ErrorClass::Cancelled {
                        self.keep()?;
                    }
                    return Err(self.told(error));
                }
            }
        }
        Ok(())
    }

    /// One epoch, or what is left of it.
    fn epoch(&mut self) -> Result<(), Stop> {
        let (training, epoch) = (self.training, self.state.epoch);
        if self.state.batch == 0 {
            self.thaw(epoch)?;
            // An epoch whose loss has risen may already lead where no smaller rate leads back.
            let losses = &self.state.history.train;
            let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
            let is_sound = losses.last().is_none_or(|last| *last <= RISEN * least);
            if training.on_divergence == OnDivergence::RollBack && is_sound {
                let tensors = self.tensors()?.into_iter().map(|(name, tensor)| Ok((name, copied(&tensor)?)));
                self.epoch_began = Some((self.state.clone(), tensors.collect::<Result<_>>()?));
            }
        }
        let seed = training.seed.derive(&format!("epoch {epoch}"));
        let order = shuffled(self.rows.n_rows(), seed.derive("shuffle"));
        let cuts = self.cuts.clone();
        let first = self.state.batch;
        // The borrow of the rows must not be one of the training, which each step changes.
        let remembered = self.remembered.take();
        let rows = remembered.as_ref().map_or(self.rows, |remembered| &remembered.rows as &dyn Supply);
        let result = rows.batches(&order, &cuts[first..], first, seed).map_err(Stop::from).and_then(|mut batches| {
            while self.state.batch < cuts.len() {
                training.progress.check_cancelled().map_err(TensorError)?;
                if self.checkpoint.is_due() {
                    self.keep()?;
                }
                self.step(&mut batches, &cuts, seed, remembered.is_some())?;
            }
            Ok(())
        });
        self.remembered = remembered;
        result?;
        training.progress.update("epoch", epoch as u64, Some(training.epochs as u64));
        self.end_epoch()
    }

    /// One step of the optimiser: as many batches as it takes gradients of, fewer at the end of an epoch.
    fn step(
        &mut self,
        batches: &mut dyn Iterator<Item = Result<Batch>>,
        cuts: &[Range<usize>],
        seed: Seed,
        is_remembered: bool,
    ) -> Result<(), Stop> {
        let (training, epoch, first) = (self.training, self.state.epoch, self.state.batch);
        let last = (first + training.accumulate).min(cuts.len());
        let n_rows: usize = cuts[first..last].iter().map(ExactSizeIterator::len).sum();
        let rate = self.rate(epoch, first);
        if first == 0 {
            self.state.history.learning_rate.truncate(epoch - 1);
            self.state.history.learning_rate.push(rate);
        }
        for (place, cut) in (first..last).zip(&cuts[first..last]) {
            let batch = batches.next().ok_or_else(|| TensorError::failed("the rows of an epoch ran out"))??;
            let mut pass = ForwardPass::new(seed.derive(&format!("batch {place}")));
            pass.frozen_norms = training.frozen_norms;
            let (loss, value) = self.loss(&batch, is_remembered, &mut pass)?;
            if !value.is_finite() {
                let place = format!("epoch {epoch}, batch {} (learning rate {rate:.3e})", place + 1);
                return Err(Stop::Diverged(diverged(value, &place)));
            }
            // Together the gradients are those of the mean over all rows of the step.
            let share = cut.len() as f64 / n_rows as f64;
            let loss = if share < 1.0 { loss.f_mul_scalar(share).map_err(TensorError::from)? } else { loss };
            loss.f_backward().map_err(TensorError::from)?;
            self.state.sum += value * cut.len() as f64;
        }
        if let Some(anchor) = &training.anchor {
            self.optimizer.pull(anchor.parameters, anchor.strength)?;
        }
        if let Some(longest) = training.clip_norm {
            self.optimizer.clip(longest)?;
        }
        self.optimizer.step(rate)?;
        self.state.steps += 1;
        self.state.batch = last;
        if let Averaging::Ema(ema) = training.average {
            let steps = self.state.steps as f64;
            self.average_with(1.0 - ema.decay.min((1.0 + steps) / (10.0 + steps)))?;
        }
        Ok(())
    }

    /// The loss of a batch, auxiliary heads included, to go back from, and the value of the main one.
    fn loss(&self, batch: &Batch, is_remembered: bool, pass: &mut ForwardPass) -> Result<(Tensor, f64)> {
        let training = self.training;
        let output = {
            let _cast = match training.precision {
                Precision::Bf16 => Some(Autocast::new(batch.inputs.device().is_cuda())?),
                Precision::F32 => None,
            };
            self.forward(&batch.inputs, is_remembered, pass)? // [batch, outputs]
        };
        let exact = |output: &Tensor| output.f_to_kind(tch::Kind::Float);
        let loss = training.loss.of(&exact(&output)?, batch)?;
        let value = loss.f_double_value(&[])?;
        let whole = pass.auxiliary.drain(..).try_fold(loss, |sum, (weight, said)| {
            let own = training.loss.of(&exact(&said)?, batch)?;
            Ok::<_, TensorError>(sum.f_add(&own.f_mul_scalar(weight)?)?)
        })?;
        Ok((whole, value))
    }

    fn rate(&self, epoch: usize, batch: usize) -> f64 {
        let training = self.training;
        let schedule = Schedule {
            kind: training.schedule,
            learning_rate: training.learning_rate * self.state.rate_factor,
            warm_up: training.warm_up,
            epochs: training.epochs,
        };
        let losses: Vec<f64> = self.state.history.looks().map(|(_, loss)| loss).collect();
        schedule.rate(epoch - 1, batch, self.cuts.len(), &losses)
    }

    /// What is done after the last batch of an epoch.
    fn end_epoch(&mut self) -> Result<(), Stop> {
        let epoch = self.state.epoch;
        self.state.history.train.push(self.state.sum / self.rows.n_rows() as f64);
        self.state.history.best_epoch = epoch;
        if let Averaging::Swa(swa) = self.training.average
            && epoch as f64 > swa.from * self.training.epochs as f64
        {
            self.state.averaged += 1;
            self.average_with(1.0 / self.state.averaged as f64)?;
            self.count_norms()?;
        }
        let mut is_over = false;
        let is_last = epoch == self.training.epochs;
        if let Some(rule) = &self.judges {
            let patience = rule.patience;
            let loss = match (epoch.is_multiple_of(rule.every) || is_last).then(|| self.judge(epoch)).transpose() {
                Ok(loss) => loss,
                Err(error) if error.0.message.starts_with(DIVERGED) => return Err(Stop::Diverged(error)),
                Err(error) => return Err(Stop::Failed(error)),
            };
            self.state.history.validation.push(loss);
            self.state.history.best_epoch = if patience == 0 { epoch } else { self.best_epoch() };
            is_over = patience > 0 && loss.is_some() && epoch - self.state.history.best_epoch >= patience;
        }
        self.state.sum = 0.0;
        self.state.batch = 0;
        self.state.epoch += 1;
        self.state.finished = is_over || self.state.epoch > self.training.epochs;
        Ok(())
    }

    /// The parameters that are judged and kept: averaged ones where there are such.
    fn candidate(&self) -> &Network {
        self.average.as_ref().unwrap_or(&self.network)
    }

    /// The loss of the rows that judge; keeps a copy of the best parameters.
    fn judge(&mut self, epoch: usize) -> Result<f64> {
        let Some(rule) = &self.judges else { return Ok(f64::NAN) };
        let loss = match self.remembered.as_ref().and_then(|remembered| remembered.judges.as_ref()) {
            // Frozen layers are the same in averages.
            Some(judges) => loss_after(self.candidate(), self.n_frozen, judges, self.training.loss)?,
            None => loss_of(self.candidate(), rule.rows, self.training.loss)?,
        };
        if !loss.is_finite() {
            return Err(diverged(loss, &format!("epoch {epoch}, on the rows of early stopping")));
        }
        if rule.patience > 0 && self.state.best_loss.is_none_or(|best| loss < best) {
            self.state.best_loss = Some(loss);
            self.best = Some(self.candidate().copy(self.network.device())?);
        }
        Ok(loss)
    }

    /// The first of the least losses, or the base.
    fn best_epoch(&self) -> usize {
        let base = self.state.history.base_validation.unwrap_or(f64::INFINITY);
        let first_least = |best: (usize, f64), look: (usize, f64)| if look.1 < best.1 { look } else { best };
        self.state.history.looks().fold((0, base), first_least).0
    }

    /// Moves the averaged parameters by a share of the way to those of now. The first time they are those of now.
    fn average_with(&mut self, weight: f64) -> Result<()> {
        let Some(average) = &mut self.average else {
            self.average = Some(self.network.copy(self.network.device())?);
            return Ok(());
        };
        let shallow = |(_, tensor): (&str, &Tensor)| tensor.shallow_clone();
        let mut means: Vec<Tensor> = average.tensors().map(shallow).collect();
        let mut values: Vec<Tensor> = self.network.tensors().map(shallow).collect();
        bridge::lerp(&mut means, &mut values, weight)
    }

    /// Lets the batch norms of the averaged network count all training rows.
    fn count_norms(&mut self) -> Result<()> {
        let Some(average) = &mut self.average else { return Ok(()) };
        if self.training.frozen_norms || !average.plan().any(|(_, _, role)| role == Role::Statistic) {
            return Ok(());
        }
        let _no_grad = tch::no_grad_guard();
        average.learn(|_, role| role == Role::Norm)?;
        for (counted, batch) in self.rows.plain(self.training.batch_size)?.enumerate() {
            let mut pass = ForwardPass::new(Seed(0));
            pass.norm_momentum = 1.0 / (counted + 1) as f64;
            pass.drops_nothing = true;
            drop(average.forward(&batch?.inputs, &mut Mode::Train(&mut pass))?);
        }
        average.learn(|_, _| false)
    }

    /// Goes back to the beginning of the epoch, and on at half the rate.
    fn roll_back(&mut self, error: TensorError) -> Result<()> {
        let Some((began, tensors)) = self.epoch_began.take() else { return Err(error) };
        if began.rollbacks == ROLLBACKS {
            return Err(error.help(format!(
                "it went back {ROLLBACKS} times, each time on at half the rate; lower `learning_rate`"
            )));
        }
        let text =
            format!("{}; back to the beginning of epoch {}, and on at half the rate", error.0.message, began.epoch);
        self.training.progress.message(Level::Warning, &text);
        let mut state = began;
        state.rate_factor /= 2.0;
        state.rollbacks += 1;
        // What was thawed in the epoch is thawed again.
        self.optimizer = Optimizer::new(self.training.optimizer, Vec::new())?;
        self.restore(state, &tensors)
    }

    /// Every tensor of the training by name.
    fn tensors(&self) -> Result<Named> {
        let of = |prefix: &'static str, network: &Network| -> Named {
            network.tensors().map(|(name, tensor)| (format!("{prefix}/{name}"), tensor.shallow_clone())).collect()
        };
        if self.state.finished {
            return Ok(of(BEST, self.best.as_ref().unwrap_or(self.candidate())));
        }
        let mut all = of(NETWORK, &self.network);
        all.extend(self.average.as_ref().map(|average| of(AVERAGE, average)).unwrap_or_default());
        all.extend(self.best.as_ref().map(|best| of(BEST, best)).unwrap_or_default());
        all.extend(self.optimizer.state()?.into_iter().map(|(name, tensor)| (format!("{OPTIMIZER}/{name}"), tensor)));
        Ok(all)
    }

    /// Goes on from where a training was.
    fn restore(&mut self, state: State, tensors: &HashMap<String, Tensor>) -> Result<()> {
        let has = |prefix: &str| tensors.keys().any(|name| name.starts_with(&format!("{prefix}/")));
        let network = |prefix: &str| -> Result<Network> {
            let mut copy = self.network.copy(self.network.device())?;
            let _no_grad = tch::no_grad_guard();
            for (name, tensor) in copy.tensors_mut() {
                let kept = tensors.get(&format!("{prefix}/{name}"));
                tensor.f_copy_(
                    kept.ok_or_else(|| TensorError::failed(format!("the checkpoint has no `{prefix}/{name}`")))?,
                )?;
            }
            Ok(copy)
        };
        let average = if has(AVERAGE) { Some(network(AVERAGE)?) } else { None };
        let best = if has(BEST) { Some(network(BEST)?) } else { None };
        if state.finished {
            (self.best, self.average) = (best, None);
            self.state = state;
            return Ok(());
        }
        let current = network(NETWORK)?;
        (self.network, self.average, self.best) = (current, average, best);
        // Parameters get the optimiser's groups in the order in which they were thawed.
        let reached = if state.batch == 0 { state.epoch.saturating_sub(1).max(1) } else { state.epoch };
        for epoch in 1..=reached {
            if epoch == 1 || self.training.thawed.iter().any(|thawed| thawed.epoch == epoch) {
                self.thaw(epoch)?;
            }
        }
        let prefix = format!("{OPTIMIZER}/");
        let of_optimizer = tensors
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?.to_owned(), tensor.shallow_clone())));
        self.optimizer.restore(&of_optimizer.collect())?;
        self.state = state;
        Ok(())
    }

    fn keep(&mut self) -> Result<()> {
        let tensors = self.tensors();
        self.checkpoint.write(&self.state, || tensors)
    }

    /// An error with what this training could do about it.
    fn told(&self, error: TensorError) -> TensorError {
        let size = self.training.batch_size;
        if !error.0.message.contains("memory") || size < 2 {
            return error;
        }
        let (half, twice) = (size / 2, self.training.accumulate * 2);
        error.help(format!("try `batch_size: {half}`; with `accumulate: {twice}` the steps stay as they are"))
    }

    /// What was trained, on the processor.
    fn finish(mut self) -> Result<(Network, History)> {
        self.state.finished = true;
        self.keep()?;
        let kept = self.best.as_ref().unwrap_or(self.candidate());
        Ok((kept.copy(tch::Device::Cpu)?, self.state.history))
    }
}

const NETWORK: &str = "network";
const AVERAGE: &str = "average";
const BEST: &str = "best";
const OPTIMIZER: &str = "optimizer";

/// Why an epoch ends early.
enum Stop {
    /// The loss is no longer a number.
    Diverged(TensorError),
    /// Anything else.
    Failed(TensorError),
}

impl From<TensorError> for Stop {
    fn from(error: TensorError) -> Self {
        Self::Failed(error)
    }
}

fn copied(tensor: &Tensor) -> Result<Tensor> {
    let _no_grad = tch::no_grad_guard();
    let mut copy = tensor.f_detach()?.f_empty_like()?;
    copy.f_copy_(tensor)?;
    Ok(copy)
}

/// The mean loss of all rows, as they are in prediction.
pub fn loss_of(network: &Network, rows: &dyn Supply, loss: Loss) -> Result<f64> {
    loss_after(network, 0, rows, loss)
}

/// What frozen layers make of all rows; `None` where that is too much.
fn remembered(network: &Network, n_frozen: usize, rows: &dyn Supply) -> Result<Option<Examples>> {
    let _no_grad = tch::no_grad_guard();
    let at_once = network.rows_at_once();
    let (mut inputs, mut targets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for batch in rows.plain(at_once)? {
        let batch = batch?;
        let made = network.forward_part(0..n_frozen, &batch.inputs, &mut Mode::Predict)?;
        if made.numel() / batch.n_rows().max(1) * rows.n_rows() > REMEMBERED {
            return Ok(None);
        }
        inputs.push(made);
        targets.push(batch.targets);
        weights.extend(batch.weights);
    }
    let weights = if weights.is_empty() { None } else { Some(Tensor::f_cat(&weights, 0)?) };
    Ok(Some(Examples::of_tensors(Tensor::f_cat(&inputs, 0)?, Tensor::f_cat(&targets, 0)?, weights)))
}

fn loss_after(network: &Network, first: usize, rows: &dyn Supply, loss: Loss) -> Result<f64> {
    let n_layers = network.layers().len();
    let _no_grad = tch::no_grad_guard();
    let at_once = network.rows_at_once();
    let (mut sum, mut n_rows) = (0.0, 0);
    for batch in rows.plain(at_once)? {
        let batch = batch?;
        let output = network.forward_part(first..n_layers, &batch.inputs, &mut Mode::Predict)?;
        sum += loss.of(&output, &batch)?.f_double_value(&[])? * batch.n_rows() as f64;
        n_rows += batch.n_rows();
    }
    Ok(sum / n_rows as f64)
}

/// Where batches lie. A last batch of fewer than `fewest` rows joins the one before it. Fails where no step has that many.
fn cuts(n_rows: usize, batch_size: usize, fewest: usize) -> Result<Vec<Range<usize>>> {
    if batch_size.min(n_rows) < fewest {
        let why = if n_rows < fewest { format!("there is {n_rows}") } else { format!("`batch_size` is {batch_size}") };
        return Err(TensorError::data(format!("batch norm learns from at least {fewest} rows at once, and {why}"))
            .help("give more rows, or a network without batch norm (`mlp` with `norm: layer`)"));
    }
    let last = n_rows - n_rows % batch_size;
    let joins = |end: usize| end == last && n_rows - end < fewest;
    let ends = (batch_size..n_rows).step_by(batch_size).filter(|&end| !joins(end)).chain([n_rows]);
    Ok(ends.scan(0, |start, end| Some(std::mem::replace(start, end)..end)).collect())
}

const DIVERGED: &str = "the training diverged";

fn diverged(value: f64, place: &str) -> TensorError {
    TensorError::failed(format!("{DIVERGED}: the loss is {value} in {place}"))
        .help("lower `learning_rate`, and scale the features before (`standard_scale`)")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use ndarray::Array2;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use retune_spec::estimators::{Activation, Adam};
    use retune_stage::Target;

    use super::*;
    use crate::rows::Batches;
    use crate::{Layer, fixture};

    fn training(seed: u64) -> Training<'static> {
        let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
        Training { optimizer: adam(), learning_rate: 0.02, epochs: 60, ..Training::new(loss, Seed(seed)) }
    }

    fn adam() -> Algorithm {
        Algorithm::Adam(Adam::default())
    }

    /// Points of four clouds, two of each class, which no line separates.
    fn xor(n_rows: usize) -> Examples {
        clouds(n_rows, false)
    }

    /// The same with each other's labels where `swapped`.
    fn clouds(n_rows: usize, swapped: bool) -> Examples {
        let mut random = ChaCha8Rng::seed_from_u64(9);
        let corners: Vec<[bool; 2]> = (0..n_rows).map(|_| random.random()).collect();
        let features = Array2::from_shape_fn((n_rows, 2), |(row, column)| {
            f64::from(u8::from(corners[row][column])) * 2.0 - 1.0 + random.random_range(-0.3..0.3)
        });
        let codes = corners.iter().map(|[a, b]| u32::from((a != b) != swapped)).collect();
        Examples::new(features.view(), &Target::Classes { codes, n_classes: 2 }, None, Device::Cpu).unwrap()
    }

    fn small(dropout: f64) -> Network {
        let layers = vec![
            Layer::Linear { inputs: 2, outputs: 16 },
            Layer::Activation(Activation::Relu),
            Layer::Dropout(dropout),
            Layer::Linear { inputs: 16, outputs: 2 },
        ];
        Network::new(layers, 2, Seed(4)).unwrap()
    }

    #[test]
    fn outputs_and_losses_are_pytorchs() {
        let fixture = fixture::read();
        let (plain, weighted) = (fixture.rows(None), fixture.rows(Some(&fixture.weights)));
        let values = Tensor::from_slice(&fixture.values).reshape([12, 3]);
        let squared = |rows: &Examples| Batch { targets: values.shallow_clone(), ..rows.whole() };
        for case in &fixture.forward {
            let network = fixture::network(case.activation, &case.parameters);
            let output = network.forward(plain.features(), &mut Mode::Predict).unwrap();
            fixture::close(&fixture::values(&output), &case.output, 1e-6, &format!("{:?}", case.activation));
            let predicted = network.predict(fixture.features().view()).unwrap();
            fixture::close(
                predicted.as_slice().unwrap(),
                &case.output,
                1e-6,
                &format!("{:?}, predicted", case.activation),
            );
            let entropy = |label_smoothing| Loss::CrossEntropy { label_smoothing };
            for (loss, rows, expected) in [
                (entropy(0.0), plain.whole(), case.cross_entropy),
                (entropy(0.1), plain.whole(), case.smoothed),
                (entropy(0.0), weighted.whole(), case.weighted),
                (Loss::Focal, plain.whole(), case.focal),
                (Loss::Focal, weighted.whole(), case.focal_weighted),
                (Loss::MeanSquaredError, squared(&plain), case.squared),
                (Loss::MeanAbsoluteError, squared(&plain), case.absolute),
                (Loss::Huber, squared(&weighted), case.huber_weighted),
                (Loss::MeanSquaredError, squared(&weighted), case.squared_weighted),
            ] {
                let value = loss.of(&output, &rows).unwrap().double_value(&[]);
                assert!((value - expected).abs() < 1e-6, "{loss:?}: {value} instead of {expected}");
            }
        }
    }

    #[test]
    fn every_optimizer_learns_what_no_line_separates() {
        let rows = xor(400);
        for (optimizer, learning_rate) in [("adamw", 0.02), ("adam", 0.02), ("sgd", 0.1), ("rmsprop", 0.01)] {
            let optimizer = serde_json::from_value(optimizer.into()).unwrap();
            let (_, history) =
                train(&small(0.0), &rows, None, &Training { optimizer, learning_rate, ..training(1) }).unwrap();
            assert_eq!((history.train.len(), history.best_epoch), (60, 60));
            assert!(history.train[59] < 0.02, "{optimizer:?}: {}", history.train[59]);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_also_side_by_side() {
        let fit = |seed: u64| {
            let rows = xor(300);
            let rule = EarlyStopping { rows: &xor(100), patience: 5, every: 1 };
            let (network, history) =
                train(&small(0.3), &rows, Some(rule), &Training { epochs: 10, ..training(seed) }).unwrap();
            (network.to_bytes().unwrap(), history)
        };
        let alone = fit(1);
        assert_ne!(alone.0, fit(2).0);
        let side_by_side: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = [1, 2, 1, 3].map(|seed| scope.spawn(move || fit(seed))).into_iter().collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(side_by_side[0], alone);
        assert_eq!(side_by_side[2], alone);
    }

    #[test]
    fn early_stopping_keeps_the_best_parameters() {
        let (rows, judges) = (xor(60), xor(200));
        let rule = || Some(EarlyStopping { rows: &judges, patience: 3, every: 1 });
        // A rate that is far too high makes the loss jump about.
        let jumpy = Training { learning_rate: 0.5, schedule: LearningRateSchedule::Constant, ..training(3) };
        let (network, history) = train(&small(0.0), &rows, rule(), &jumpy).unwrap();
        assert_eq!(history.validation.len(), history.best_epoch + 3, "it stops three epochs after the best");
        let best = history.looks().map(|(_, loss)| loss).fold(f64::INFINITY, f64::min);
        assert_eq!(history.validation[history.best_epoch - 1], Some(best));
        let output = network.forward(judges.features(), &mut Mode::Predict).unwrap();
        let loss = jumpy.loss.of(&output, &judges.whole()).unwrap().double_value(&[]);
        assert!((loss - best).abs() < 1e-6, "the kept parameters have the best loss");
    }

    #[test]
    fn rows_of_early_stopping_are_looked_at_as_often_as_asked() {
        let (judges, rows) = (xor(200), xor(60));
        let looked = |every, patience, epochs| {
            let rule = EarlyStopping { rows: &judges, patience, every };
            train(&small(0.0), &rows, Some(rule), &Training { epochs, ..training(4) }).unwrap()
        };
        let ((rare, seldom), (often, always)) = (looked(3, 0, 8), looked(1, 0, 8));
        assert_eq!(rare.to_bytes().unwrap(), often.to_bytes().unwrap(), "looking changes nothing");
        let epochs = |history: &History| history.looks().map(|(epoch, _)| epoch).collect::<Vec<_>>();
        assert_eq!((epochs(&seldom), epochs(&always)), (vec![3, 6, 8], (1..=8).collect()));
        assert!(seldom.looks().all(|(epoch, loss)| always.validation[epoch - 1] == Some(loss)));

        // Patience counts epochs, and the first look after it ends the training.
        let (base, _) = train(&small(0.0), &xor(400), None, &training(1)).unwrap();
        let rule = EarlyStopping { rows: &judges, patience: 6, every: 4 };
        let worse = Training { begin: Begin::Base, ..training(2) };
        let (_, stopped) = train(&base, &clouds(400, true), Some(rule), &worse).unwrap();
        assert_eq!((stopped.best_epoch, stopped.train.len(), epochs(&stopped)), (0, 8, vec![4, 8]));
    }

    #[test]
    fn a_base_that_is_not_improved_is_kept() {
        let judges = xor(200);
        let (base, _) = train(&small(0.0), &xor(400), None, &training(1)).unwrap();
        let rule = EarlyStopping { rows: &judges, patience: 4, every: 1 };
        let worse = Training { begin: Begin::Base, ..training(2) };
        let (kept, history) = train(&base, &clouds(400, true), Some(rule), &worse).unwrap();
        assert_eq!((history.best_epoch, history.validation.len()), (0, 4));
        assert!(history.base_validation < history.validation[0]);
        assert_eq!(kept.to_bytes().unwrap(), base.to_bytes().unwrap());
    }

    #[test]
    fn layers_near_the_input_move_less() {
        let base = small(0.0);
        let frozen = Training { layer_decay: 1e-12, epochs: 2, ..training(1) };
        let (network, _) = train(&base, &xor(100), None, &frozen).unwrap();
        let moved: Vec<f64> = base
            .tensors()
            .zip(network.tensors())
            .map(|((_, before), (_, after))| (after - before).abs().max().double_value(&[]))
            .collect();
        assert!(moved[0] < 1e-9 && moved[1] < 1e-9 && moved[2] > 1e-3 && moved[3] > 1e-3, "{moved:?}");
    }

    #[test]
    fn a_loss_that_is_not_finite_names_its_place() {
        let features = Array2::from_shape_fn((64, 2), |(row, _)| if row == 40 { 1e38 } else { 1.0 });
        let target = Target::Values((0..64).map(|row| f64::from(row) * 1e30).collect());
        let rows = Examples::new(features.view(), &target, None, Device::Cpu).unwrap();
        let layers = vec![Layer::Linear { inputs: 2, outputs: 1 }];
        let network = Network::new(layers, 2, Seed(1)).unwrap();
        let error =
            train(&network, &rows, None, &Training { loss: Loss::MeanSquaredError, ..training(1) }).err().unwrap();
        assert!(
            error
                .to_string()
                .starts_with("the training diverged: the loss is inf in epoch 1, batch 1 (learning rate 2.000e-2)"),
            "{error}"
        );
        assert!(error.0.help.unwrap().contains("learning_rate"));
    }

    #[test]
    fn a_training_can_be_stopped() {
        struct Stopped;
        impl Progress for Stopped {
            fn update(&self, _: &str, _: u64, _: Option<u64>) {}
            fn message(&self, _: retune_stage::Level, _: &str) {}
            fn cancelled(&self) -> bool {
                true
            }
        }
        let error = train(&small(0.0), &xor(50), None, &Training { progress: &Stopped, ..training(1) }).err().unwrap();
        assert_eq!(error.0.class, retune_stage::ErrorClass::Cancelled);
    }

    #[test]
    fn a_last_batch_of_one_row_joins_the_one_before_it() {
        for (n_rows, batch_size, fewest, expected) in [
            (9, 4, 1, vec![4, 8, 9]),
            (9, 4, 2, vec![4, 9]),
            (8, 4, 2, vec![4, 8]),
            (10, 4, 2, vec![4, 8, 10]),
            (2, 4, 2, vec![2]),
            (5, 4, 2, vec![5]),
        ] {
            let ends: Vec<usize> = cuts(n_rows, batch_size, fewest).unwrap().into_iter().map(|cut| cut.end).collect();
            assert_eq!(ends, expected, "{n_rows} rows by {batch_size}");
        }
        let refused = |n_rows, batch_size| cuts(n_rows, batch_size, 2).unwrap_err().to_string();
        assert_eq!(refused(1, 4), "batch norm learns from at least 2 rows at once, and there is 1");
        assert_eq!(refused(9, 1), "batch norm learns from at least 2 rows at once, and `batch_size` is 1");
    }

    fn normed() -> Network {
        let linear = |inputs, outputs| Layer::Linear { inputs, outputs };
        let layers = vec![linear(2, 8), Layer::batch_norm(8), Layer::Activation(Activation::Relu), linear(8, 2)];
        Network::new(layers, 2, Seed(4)).unwrap()
    }

    #[test]
    fn batch_norms_learn_from_batches_that_leave_one_row() {
        let (network, history) =
            train(&normed(), &xor(321), None, &Training { learning_rate: 0.05, ..training(1) }).unwrap();
        assert!(history.train[59] < 0.05, "{}", history.train[59]);
        assert!(network.tensors().all(|(_, tensor)| weights::is_finite(tensor).unwrap()));
    }

    #[test]
    fn running_statistics_are_kept_with_the_best_parameters() {
        let judges = xor(200);
        let jumpy = Training { learning_rate: 0.5, schedule: LearningRateSchedule::Constant, ..training(3) };
        let rule = EarlyStopping { rows: &judges, patience: 3, every: 1 };
        let (network, history) = train(&normed(), &xor(60), Some(rule), &jumpy).unwrap();
        let mut loaded = normed();
        loaded.load_bytes(&network.to_bytes().unwrap(), "weights").unwrap();
        let output = loaded.forward(judges.features(), &mut Mode::Predict).unwrap();
        let loss = jumpy.loss.of(&output, &judges.whole()).unwrap().double_value(&[]);
        assert!((loss - history.validation[history.best_epoch - 1].unwrap()).abs() < 1e-6 && history.best_epoch > 0);
        assert!(history.validation.len() > history.best_epoch, "it went on after the best");
    }

    #[test]
    fn a_norm_moves_with_the_layer_before_it() {
        let network = normed();
        network.learn(|_, _| true).unwrap();
        let groups = network.groups(0.1, 0.5);
        let factors = |name: &str| {
            groups
                .iter()
                .find(|group| group.parameters.iter().any(|(other, _)| other == name))
                .map(|group| (group.rate_factor, group.weight_decay))
        };
        let expected = [("0.weight", 0.5, 0.1), ("0.bias", 0.5, 0.0), ("1.weight", 0.5, 0.0), ("2.weight", 1.0, 0.1)];
        for (name, rate_factor, weight_decay) in expected {
            assert_eq!(factors(&format!("layers.{name}")), Some((rate_factor, weight_decay)), "{name}");
        }
        assert_eq!(factors("layers.1.running_mean"), None);
    }

    /// Lets so many steps pass, then asks to stop.
    struct After(std::sync::atomic::AtomicUsize);

    impl Progress for After {
        fn update(&self, _: &str, _: u64, _: Option<u64>) {}
        fn message(&self, _: Level, _: &str) {}
        fn cancelled(&self) -> bool {
            use std::sync::atomic::Ordering::Relaxed;
            self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err()
        }
    }

    /// A network with a norm and dropout, trained with everything that has a state.
    fn stateful(case: &str) -> Training<'static> {
        let plain = Training { epochs: 4, learning_rate: 0.01, batch_size: 16, ..training(6) };
        let of_blocks = |epoch, blocks: &[&str]| Thawed {
            epoch,
            parameters: blocks.iter().flat_map(|block| [format!("{block}.weight"), format!("{block}.bias")]).collect(),
        };
        match case {
            "ema" => Training { average: Averaging::Ema(Default::default()), accumulate: 2, ..plain },
            "swa" => Training { average: serde_json::from_str(r#"{ "swa": { "from": 0.25 } }"#).unwrap(), ..plain },
            "thawed" => Training {
                thawed: vec![of_blocks(1, &["layers.2"]), of_blocks(2, &["layers.1"]), of_blocks(3, &["layers.0"])],
                schedule: serde_json::from_str(r#"{ "plateau": { "patience": 0 } }"#).unwrap(),
                ..plain
            },
            "clipped" => Training {
                clip_norm: Some(0.5),
                on_divergence: OnDivergence::RollBack,
                schedule: LearningRateSchedule::OneCycle,
                warm_up: 0.5,
                optimizer: serde_json::from_str(r#"{ "rmsprop": { "momentum": 0.5 } }"#).unwrap(),
                ..plain
            },
            other => panic!("{other}"),
        }
    }

    fn normed_and_dropping() -> Network {
        let linear = |inputs, outputs| Layer::Linear { inputs, outputs };
        let relu = Layer::Activation(Activation::Relu);
        let layers = vec![linear(2, 8), Layer::batch_norm(8), relu, Layer::Dropout(0.2), linear(8, 2)];
        Network::new(layers, 2, Seed(4)).unwrap()
    }

    #[test]
    fn a_training_interrupted_at_every_step_ends_with_the_same_bits() {
        let (rows, judges) = (xor(70), xor(50));
        let rule = || Some(EarlyStopping { rows: &judges, patience: 3, every: 1 });
        for case in ["ema", "swa", "thawed", "clipped"] {
            for begin in [Begin::Fresh, Begin::Base] {
                let whole = Training { begin, ..stateful(case) };
                let (expected, history) = train(&normed_and_dropping(), &rows, rule(), &whole).unwrap();
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("training.safetensors");
                let mut interruptions = 0;
                let (network, resumed) = loop {
                    let stop = After(1.into());
                    let part = Training { begin, progress: &stop, checkpoint: Some(&path), ..stateful(case) };
                    match train(&normed_and_dropping(), &rows, rule(), &part) {
                        Ok(done) => break done,
                        Err(error) => assert_eq!(error.0.class, retune_stage::ErrorClass::Cancelled, "{error}"),
                    }
                    interruptions += 1;
                };
                let per_epoch = if case == "ema" { 3 } else { 5 };
                assert_eq!(interruptions, per_epoch * history.train.len() - 1, "{case}");
                assert_eq!(resumed, history, "{case}");
                assert_eq!(network.to_bytes().unwrap(), expected.to_bytes().unwrap(), "{case}");
                // A finished training is read back.
                let again = Training { begin, progress: &After(0.into()), checkpoint: Some(&path), ..stateful(case) };
                let (network, history) = train(&normed_and_dropping(), &rows, rule(), &again).unwrap();
                assert_eq!((network.to_bytes().unwrap(), history), (expected.to_bytes().unwrap(), resumed));
            }
        }
    }

    #[test]
    fn a_damaged_checkpoint_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("training.safetensors");
        let rows = xor(70);
        let whole = || Training { checkpoint: Some(&path), ..stateful("ema") };
        let (expected, _) = train(&normed_and_dropping(), &rows, None, &whole()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let (network, _) = train(&normed_and_dropping(), &rows, None, &whole()).unwrap();
        assert_eq!(network.to_bytes().unwrap(), expected.to_bytes().unwrap());
    }

    #[test]
    fn gradients_of_several_batches_are_those_of_a_large_one() {
        let (rows, network) = (xor(64), small(0.0));
        let step = |batch_size, accumulate| {
            let schedule = LearningRateSchedule::Constant;
            let plain = Training { epochs: 3, schedule, batch_size, accumulate, ..training(1) };
            train(&network, &rows, None, &plain).unwrap().0
        };
        for ((name, large), (_, small)) in step(64, 1).tensors().zip(step(16, 4).tensors()) {
            fixture::close(&fixture::values(small), &fixture::values(large), 1e-6, name);
        }
    }

    #[test]
    fn what_is_not_thawed_stays_and_is_computed_once() {
        struct Counted<'a>(&'a Examples, std::cell::Cell<usize>);
        impl Supply for Counted<'_> {
            fn n_rows(&self) -> usize {
                self.0.n_rows()
            }
            fn batches(&self, order: &[u32], cuts: &[Range<usize>], first: usize, seed: Seed) -> Result<Batches<'_>> {
                self.1.set(self.1.get() + 1);
                self.0.batches(order, cuts, first, seed)
            }
            fn plain(&self, at_once: usize) -> Result<Batches<'_>> {
                self.1.set(self.1.get() + 1);
                self.0.plain(at_once)
            }
            fn is_fixed(&self) -> bool {
                true
            }
        }
        let rows = xor(100);
        let counted = Counted(&rows, 0.into());
        let base = normed_and_dropping();
        let head = Thawed { epoch: 1, parameters: ["layers.2.weight", "layers.2.bias"].map(str::to_owned).into() };
        let probe = Training { thawed: vec![head], epochs: 5, ..training(1) };
        let (network, history) = train(&base, &counted, None, &probe).unwrap();
        assert_eq!((counted.1.get(), history.train.len()), (1, 5));
        for ((name, tensor), (_, before)) in network.tensors().zip(base.tensors()) {
            assert_eq!(tensor == before, !name.starts_with("layers.2"), "{name}");
        }
    }

    #[test]
    fn a_training_that_diverges_goes_back_at_half_the_rate() {
        let features = Array2::from_shape_fn((64, 2), |(row, column)| (row as f64 - 32.0) * (column as f64 + 1.0));
        let target = Target::Values((0..64).map(|row| f64::from(row) * 10.0).collect());
        let rows = Examples::new(features.view(), &target, None, Device::Cpu).unwrap();
        let network = Network::new(vec![Layer::Linear { inputs: 2, outputs: 1 }], 2, Seed(1)).unwrap();
        let sgd = serde_json::from_str(r#"{ "sgd": { "momentum": 0, "nesterov": false } }"#).unwrap();
        let steep = |on_divergence| Training {
            loss: Loss::MeanSquaredError,
            optimizer: sgd,
            learning_rate: 0.004,
            schedule: LearningRateSchedule::Constant,
            epochs: 60,
            on_divergence,
            ..training(1)
        };
        let error = train(&network, &rows, None, &steep(OnDivergence::Stop)).err().unwrap();
        assert!(error.to_string().starts_with(DIVERGED), "{error}");
        let (_, history) = train(&network, &rows, None, &steep(OnDivergence::RollBack)).unwrap();
        assert!(history.train[59].is_finite() && history.learning_rate[59] < 0.004, "{:?}", history.learning_rate);
    }
}
