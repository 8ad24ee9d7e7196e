//! The training loop.

use std::f64::consts::PI;

use ndarray::ArrayView2;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use retune_spec::estimators::{LearningRateSchedule, Optimizer as Algorithm};
use retune_stage::{Device, Progress, Seed, Target};
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

use crate::{Mode, Network, Optimizer, Result, TensorError, device, network, weights};

/// Rows with their targets and weights on a device.
pub struct Examples {
    features: Tensor,
    targets: Tensor,
    weights: Option<Tensor>,
}

impl Examples {
    /// Rows on a device: features [rows, features], classes [rows] or values [rows, 1], and weights [rows], which are best around one.
    pub fn new(features: ArrayView2<f64>, target: &Target, weights: Option<&[f64]>, device: Device) -> Result<Self> {
        let n_rows = features.nrows();
        if n_rows == 0 || target.len() != n_rows || weights.is_some_and(|weights| weights.len() != n_rows) {
            let n_weights = weights.map_or(n_rows, <[f64]>::len);
            return Err(TensorError::failed(format!(
                "{n_rows} rows have {} targets and {n_weights} weights",
                target.len()
            )));
        }
        let device = device::resolve(device)?;
        let targets = match target {
            Target::Classes { codes, .. } => {
                Tensor::f_from_slice(&codes.iter().map(|&code| i64::from(code)).collect::<Vec<_>>())?
            }
            Target::Values(values) => floats(values)?.f_reshape([-1, 1])?,
        };
        Ok(Self {
            features: network::matrix(features)?.f_to(device)?,
            targets: targets.f_to(device)?,
            weights: weights.map(|weights| Ok::<_, TensorError>(floats(weights)?.f_to(device)?)).transpose()?,
        })
    }

    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.features.size().first().map_or(0, |&rows| rows as usize)
    }

    /// The features [rows, features].
    pub fn features(&self) -> &Tensor {
        &self.features
    }

    /// The rows that `cut` takes out of each tensor.
    fn cut(&self, cut: impl Fn(&Tensor) -> Result<Tensor, tch::TchError>) -> Result<Self> {
        Ok(Self {
            features: cut(&self.features)?,
            targets: cut(&self.targets)?,
            weights: self.weights.as_ref().map(cut).transpose()?,
        })
    }
}

fn floats(values: &[f64]) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(&values.iter().map(|&value| value as f32).collect::<Vec<_>>())?)
}

/// What is made small: its mean over the rows, each times its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// The cross-entropy of classes.
    CrossEntropy {
        /// The share that the target's probability gives up to all labels alike.
        label_smoothing: f64,
    },
    /// The cross-entropy of classes times the square of how far the true class's probability is from one (Lin et al. 2017, gamma 2).
    Focal,
    /// The squared error of values.
    MeanSquaredError,
    /// The absolute error of values.
    MeanAbsoluteError,
    /// Half the squared error of values up to one, and the absolute error less a half beyond (Huber 1964).
    Huber,
}

impl Loss {
    /// The loss of a network's output for rows: a tensor of one value.
    pub fn of(self, output: &Tensor, rows: &Examples) -> Result<Tensor> {
        let Some(weights) = &rows.weights else {
            return self.reduced(output, rows, Reduction::Mean);
        };
        let losses = self.reduced(output, rows, Reduction::None)?;
        let losses = if losses.dim() > 1 { losses.f_mean_dim([1i64].as_slice(), false, None::<Kind>)? } else { losses };
        Ok(losses.f_mul(weights)?.f_mean(None::<Kind>)?)
    }

    fn reduced(self, output: &Tensor, rows: &Examples, reduction: Reduction) -> Result<Tensor> {
        Ok(match self {
            Self::CrossEntropy { label_smoothing } => {
                output.f_cross_entropy_loss(&rows.targets, None::<&Tensor>, reduction, -100, label_smoothing)?
            }
            Self::Focal => {
                let entropies = Self::CrossEntropy { label_smoothing: 0.0 }.reduced(output, rows, Reduction::None)?;
                let missed = entropies.f_neg()?.f_expm1()?; // The true label's probability less one.
                let losses = missed.f_square()?.f_mul(&entropies)?;
                if reduction == Reduction::None { losses } else { losses.f_mean(None::<Kind>)? }
            }
            Self::MeanSquaredError => output.f_mse_loss(&rows.targets, reduction)?,
            Self::MeanAbsoluteError => output.f_l1_loss(&rows.targets, reduction)?,
            Self::Huber => output.f_huber_loss(&rows.targets, reduction, 1.0)?,
        })
    }
}

/// Whether the network has to prove itself against what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// From drawn parameters: the first epoch is the first candidate for the best.
    Fresh,
    /// From a trained network, which is itself a candidate: epoch 0.
    Base,
}

/// How a network is trained.
pub struct Training<'a> {
    /// What is made small.
    pub loss: Loss,
    /// Where from.
    pub begin: Begin,
    /// The optimiser.
    pub optimizer: Algorithm,
    /// The learning rate of the last layer at the start.
    pub learning_rate: f64,
    /// How the rate changes.
    pub schedule: LearningRateSchedule,
    /// The rate of a layer is that of the layer after it times this.
    pub layer_decay: f64,
    /// Weight decay of matrices.
    pub weight_decay: f64,
    /// Rows of a step.
    pub batch_size: usize,
    /// At most so many passes over the rows.
    pub epochs: usize,
    /// Decides about the order of the rows and what is dropped.
    pub seed: Seed,
    /// Threads of libtorch.
    pub threads: usize,
    /// Where tensors are computed.
    pub device: Device,
    /// Where to say how far it is.
    pub progress: &'a dyn Progress,
}

/// Ends a training that no longer helps, and keeps the best parameters.
pub struct EarlyStopping<'a> {
    /// The rows that judge.
    pub rows: &'a Examples,
    /// After so many epochs in a row whose loss was not below the best.
    pub patience: usize,
}

/// The losses of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The mean loss of the training rows in each epoch, while it went on.
    pub train: Vec<f64>,
    /// The loss of the rows of early stopping after each epoch.
    pub validation: Vec<f64>,
    /// The same before the first epoch, for a training that began from a base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_validation: Option<f64>,
    /// The epoch whose parameters were kept: 0 is the base.
    pub best_epoch: usize,
}

/// Trains a copy of a network in mini-batches whose order is drawn anew in each epoch. Same seed, rows, threads and device: same bits.
///
/// Fails with the epoch, the batch and the learning rate where the loss is no longer a finite number, and when somebody asks to stop.
pub fn train(
    network: &Network,
    rows: &Examples,
    early_stopping: Option<EarlyStopping>,
    training: &Training,
) -> Result<(Network, History)> {
    device::set_threads(training.threads)?;
    let device = device::resolve(training.device)?;
    let network = network.copy(device)?;
    network.record_gradients()?;
    let mut optimizer =
        Optimizer::new(training.optimizer, network.groups(training.weight_decay, training.layer_decay))?;
    let mut watch = early_stopping.map(|rule| Watch::new(rule, &network, training)).transpose()?;
    let mut history = History { base_validation: watch.as_ref().and_then(|watch| watch.base), ..History::default() };

    let mut shuffling = ChaCha8Rng::seed_from_u64(training.seed.derive("shuffle").0);
    let mut dropping = ChaCha8Rng::seed_from_u64(training.seed.derive("dropout").0);
    let n_rows = rows.n_rows();
    let ends = ends(n_rows, training.batch_size, network.fewest_rows())?;
    let mut order: Vec<i64> = (0..n_rows as i64).collect();
    for epoch in 1..=training.epochs {
        training.progress.check_cancelled()?;
        order.shuffle(&mut shuffling);
        let order = Tensor::f_from_slice(&order)?.f_to(device)?;
        let mut sum = 0.0;
        for (batch, &end) in ends.iter().enumerate() {
            let start = batch * training.batch_size;
            let length = end - start;
            let chosen = order.f_narrow(0, start as i64, length as i64)?;
            let rows = rows.cut(|tensor| tensor.f_index_select(0, &chosen))?;
            let learning_rate = training.rate(epoch - 1, batch, ends.len());

            let output = network.forward(&rows.features, &mut Mode::Train(&mut dropping))?; // [batch, outputs]
            let loss = training.loss.of(&output, &rows)?;
            let value = loss.f_double_value(&[])?;
            if !value.is_finite() {
                return Err(diverged(
                    value,
                    &format!("epoch {epoch}, batch {} (learning rate {learning_rate:.3e})", batch + 1),
                ));
            }
            loss.f_backward()?;
            optimizer.step(learning_rate)?;
            sum += value * length as f64;
        }
        training.progress.update("epoch", epoch as u64, Some(training.epochs as u64));
        history.train.push(sum / n_rows as f64);
        history.best_epoch = epoch;
        if let Some(watch) = &mut watch {
            history.validation.push(watch.judge(epoch, &network)?);
            history.best_epoch = watch.best_epoch;
            if watch.is_over(epoch) {
                break;
            }
        }
    }
    let network = watch.map_or_else(|| network.copy(tch::Device::Cpu), |watch| watch.best.copy(tch::Device::Cpu))?;
    for (name, tensor) in network.tensors() {
        // The last step may have spoilt what no loss has seen since.
        if !weights::is_finite(tensor)? {
            return Err(diverged(f64::NAN, &format!("the last step, in `{name}`")));
        }
    }
    Ok((network, history))
}

/// Where batches end. A last batch of fewer than `fewest` rows joins the one before it. Fails where no step has that many.
fn ends(n_rows: usize, batch_size: usize, fewest: usize) -> Result<Vec<usize>> {
    if batch_size.min(n_rows) < fewest {
        let why = if n_rows < fewest { format!("there is {n_rows}") } else { format!("`batch_size` is {batch_size}") };
        return Err(TensorError::data(format!("batch norm learns from at least {fewest} rows at once, and {why}"))
            .help("give more rows, or a network without batch norm (`mlp` with `norm: layer`)"));
    }
    let last = n_rows - n_rows % batch_size;
    let joins = |end: usize| end == last && n_rows - end < fewest;
    Ok((batch_size..n_rows).step_by(batch_size).filter(|&end| !joins(end)).chain([n_rows]).collect())
}

impl Training<'_> {
    /// The learning rate of a step: that of `batch` in `epoch`, both counted from 0.
    fn rate(&self, epoch: usize, batch: usize, n_batches: usize) -> f64 {
        let (step, n_steps) = ((epoch * n_batches + batch) as f64, (self.epochs * n_batches) as f64);
        self.learning_rate
            * match self.schedule {
                LearningRateSchedule::Constant => 1.0,
                LearningRateSchedule::Cosine => along_cosine(1.0, 0.0, step / n_steps),
                LearningRateSchedule::Step => {
                    let passed = [1, 2].into_iter().filter(|third| 3 * epoch >= third * self.epochs).count();
                    0.1f64.powi(passed as i32)
                }
                LearningRateSchedule::OneCycle => one_cycle(step, n_steps),
            }
    }
}

/// From `start` to `end` along half a cosine, of which `passed` lies behind.
fn along_cosine(start: f64, end: f64, passed: f64) -> f64 {
    end + (start - end) * 0.5 * (1.0 + (PI * passed).cos())
}

/// PyTorch's `OneCycleLR` with its defaults, for a greatest rate of one.
fn one_cycle(step: f64, n_steps: f64) -> f64 {
    let (lowest, last) = (1.0 / 25.0, 1e-4 / 25.0);
    let peak = 0.3 * n_steps - 1.0;
    if step <= peak {
        along_cosine(lowest, 1.0, step / peak)
    } else {
        along_cosine(1.0, last, (step - peak) / (n_steps - 1.0 - peak))
    }
}

fn diverged(value: f64, place: &str) -> TensorError {
    TensorError::failed(format!("the training diverged: the loss is {value} in {place}"))
        .help("lower `learning_rate`, and scale the features before (`standard_scale`)")
}

/// Early stopping on its way.
struct Watch<'a> {
    rule: EarlyStopping<'a>,
    loss: Loss,
    base: Option<f64>,
    best_loss: f64,
    best_epoch: usize,
    best: Network,
}

/// Tokens of a forward pass without gradients; a row is one where the network does not make more of it.
const EVALUATION_TOKENS: usize = 8192;

impl<'a> Watch<'a> {
    fn new(rule: EarlyStopping<'a>, network: &Network, training: &Training) -> Result<Self> {
        let best = network.shallow_clone();
        let mut watch = Self { rule, loss: training.loss, base: None, best_loss: f64::INFINITY, best_epoch: 0, best };
        if training.begin == Begin::Base {
            watch.base = Some(watch.judge(0, network)?);
        }
        Ok(watch)
    }

    /// The loss of the rows that judge; keeps a copy of the best parameters.
    fn judge(&mut self, epoch: usize, network: &Network) -> Result<f64> {
        let _no_grad = tch::no_grad_guard();
        let n_rows = self.rule.rows.n_rows();
        let mut sum = 0.0;
        let at_once = (EVALUATION_TOKENS / network.n_tokens()).max(1);
        for start in (0..n_rows).step_by(at_once) {
            let length = at_once.min(n_rows - start);
            let rows = self.rule.rows.cut(|tensor| tensor.f_narrow(0, start as i64, length as i64))?;
            let output = network.forward(&rows.features, &mut Mode::Predict)?;
            sum += self.loss.of(&output, &rows)?.f_double_value(&[])? * length as f64;
        }
        let loss = sum / n_rows as f64;
        if !loss.is_finite() {
            return Err(diverged(loss, &format!("epoch {epoch}, on the rows of early stopping")));
        }
        if loss < self.best_loss {
            let device = self.rule.rows.features.device();
            (self.best_loss, self.best_epoch, self.best) = (loss, epoch, network.copy(device)?);
        }
        Ok(loss)
    }

    fn is_over(&self, epoch: usize) -> bool {
        epoch - self.best_epoch >= self.rule.patience
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use ndarray::Array2;
    use rand::RngExt;
    use retune_spec::estimators::Activation;
    use retune_stage::Silent;

    use super::*;
    use crate::{Layer, fixture};

    fn training(seed: u64) -> Training<'static> {
        Training {
            loss: Loss::CrossEntropy { label_smoothing: 0.0 },
            begin: Begin::Fresh,
            optimizer: Algorithm::Adam,
            learning_rate: 0.02,
            schedule: LearningRateSchedule::Cosine,
            layer_decay: 1.0,
            weight_decay: 0.0,
            batch_size: 32,
            epochs: 60,
            seed: Seed(seed),
            threads: 1,
            device: Device::Cpu,
            progress: &Silent,
        }
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
        Network::new(layers, Seed(4)).unwrap()
    }

    #[test]
    fn outputs_and_losses_are_pytorchs() {
        let fixture = fixture::read();
        let (plain, weighted) = (fixture.rows(None), fixture.rows(Some(&fixture.weights)));
        let values = Tensor::from_slice(&fixture.values).reshape([12, 3]);
        let squared = |rows: &Examples| {
            rows.cut(|tensor| Ok(tensor.shallow_clone()))
                .map(|rows| Examples { targets: values.shallow_clone(), ..rows })
        };
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
                (entropy(0.0), &plain, case.cross_entropy),
                (entropy(0.1), &plain, case.smoothed),
                (entropy(0.0), &weighted, case.weighted),
                (Loss::Focal, &plain, case.focal),
                (Loss::Focal, &weighted, case.focal_weighted),
                (Loss::MeanSquaredError, &squared(&plain).unwrap(), case.squared),
                (Loss::MeanAbsoluteError, &squared(&plain).unwrap(), case.absolute),
                (Loss::Huber, &squared(&weighted).unwrap(), case.huber_weighted),
                (Loss::MeanSquaredError, &squared(&weighted).unwrap(), case.squared_weighted),
            ] {
                let value = loss.of(&output, rows).unwrap().double_value(&[]);
                assert!((value - expected).abs() < 1e-6, "{loss:?}: {value} instead of {expected}");
            }
        }
    }

    #[test]
    fn every_optimizer_learns_what_no_line_separates() {
        let rows = xor(400);
        for (optimizer, learning_rate) in
            [(Algorithm::Adamw, 0.02), (Algorithm::Adam, 0.02), (Algorithm::Sgd, 0.1), (Algorithm::Rmsprop, 0.01)]
        {
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
            let rule = EarlyStopping { rows: &xor(100), patience: 5 };
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
        let rule = || Some(EarlyStopping { rows: &judges, patience: 3 });
        // A rate that is far too high makes the loss jump about.
        let jumpy = Training { learning_rate: 0.5, schedule: LearningRateSchedule::Constant, ..training(3) };
        let (network, history) = train(&small(0.0), &rows, rule(), &jumpy).unwrap();
        assert_eq!(history.validation.len(), history.best_epoch + 3, "it stops three epochs after the best");
        let best = history.validation.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(history.validation[history.best_epoch - 1], best);
        let output = network.forward(judges.features(), &mut Mode::Predict).unwrap();
        let loss = jumpy.loss.of(&output, &judges).unwrap().double_value(&[]);
        assert!((loss - best).abs() < 1e-6, "the kept parameters have the best loss");
    }

    #[test]
    fn a_base_that_is_not_improved_is_kept() {
        let judges = xor(200);
        let (base, _) = train(&small(0.0), &xor(400), None, &training(1)).unwrap();
        let rule = EarlyStopping { rows: &judges, patience: 4 };
        let worse = Training { begin: Begin::Base, ..training(2) };
        let (kept, history) = train(&base, &clouds(400, true), Some(rule), &worse).unwrap();
        assert_eq!((history.best_epoch, history.validation.len()), (0, 4));
        assert!(history.base_validation.unwrap() < history.validation[0]);
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
        let network = Network::new(layers, Seed(1)).unwrap();
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
    fn rates_are_pytorchs() {
        for case in fixture::read().rates {
            let schedule = Training { schedule: case.schedule, epochs: case.epochs, learning_rate: 0.1, ..training(1) };
            let steps = (0..case.epochs).flat_map(|epoch| (0..case.n_batches).map(move |batch| (epoch, batch)));
            for ((epoch, batch), expected) in steps.zip(&case.rates) {
                let rate = schedule.rate(epoch, batch, case.n_batches);
                assert!(
                    (rate - expected).abs() < 1e-12,
                    "{:?}, epoch {epoch}, batch {batch}: {rate} {expected}",
                    case.schedule
                );
            }
        }
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
            assert_eq!(ends(n_rows, batch_size, fewest).unwrap(), expected, "{n_rows} rows by {batch_size}");
        }
        let refused = |n_rows, batch_size| ends(n_rows, batch_size, 2).unwrap_err().to_string();
        assert_eq!(refused(1, 4), "batch norm learns from at least 2 rows at once, and there is 1");
        assert_eq!(refused(9, 1), "batch norm learns from at least 2 rows at once, and `batch_size` is 1");
    }

    fn normed() -> Network {
        let linear = |inputs, outputs| Layer::Linear { inputs, outputs };
        let layers = vec![linear(2, 8), Layer::BatchNorm(8), Layer::Activation(Activation::Relu), linear(8, 2)];
        Network::new(layers, Seed(4)).unwrap()
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
        let rule = EarlyStopping { rows: &judges, patience: 3 };
        let (network, history) = train(&normed(), &xor(60), Some(rule), &jumpy).unwrap();
        let mut loaded = normed();
        loaded.load_bytes(&network.to_bytes().unwrap(), "weights").unwrap();
        let output = loaded.forward(judges.features(), &mut Mode::Predict).unwrap();
        let loss = jumpy.loss.of(&output, &judges).unwrap().double_value(&[]);
        assert!((loss - history.validation[history.best_epoch - 1]).abs() < 1e-6 && history.best_epoch > 0);
        assert!(history.validation.len() > history.best_epoch, "it went on after the best");
    }

    #[test]
    fn a_norm_moves_with_the_layer_before_it() {
        let groups = normed().groups(0.1, 0.5);
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
}
