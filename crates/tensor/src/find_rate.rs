//! Looks for a learning rate.

use serde::{Deserialize, Serialize};

use crate::layer::{ForwardPass, Role};
use crate::rows::{Supply, shuffled};
use crate::{Mode, Network, Optimizer, Result, TensorError, Training, device};

/// Rates that are tried, from the least to the greatest, and the loss at each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateCurve {
    /// The rates of the steps.
    pub learning_rate: Vec<f64>,
    /// The running mean of the losses.
    pub loss: Vec<f64>,
    /// The rate at which the loss fell most steeply.
    pub best: Option<f64>,
}

/// Steps of the search.
const STEPS: usize = 100;
/// The least rate; each step's is the one before it times the same factor.
const LEAST: f64 = 1e-7;
/// The greatest.
const GREATEST: f64 = 1.0;
/// The decay of the running mean of the losses.
const DECAY: f64 = 0.95;
/// The search ends where the loss is so many times the least one.
const BREAKS_AWAY: f64 = 4.0;

/// Trains a copy of a network with a rate that rises with each step until the loss breaks away (Smith 2017), and takes the rate of the steepest fall.
pub fn find_rate(network: &Network, rows: &dyn Supply, training: &Training) -> Result<RateCurve> {
    device::set_threads(training.threads)?;
    let network = network.copy(device::resolve(training.device)?)?;
    let everything = training.thawed.is_empty();
    network.learn(|name, _| {
        everything || training.thawed.iter().any(|thawed| thawed.epoch == 1 && thawed.parameters.contains(name))
    })?;
    let mut optimizer =
        Optimizer::new(training.optimizer, network.groups(training.weight_decay, training.layer_decay))?;
    let n_rows = rows.n_rows();
    let size = training.batch_size.min(n_rows);
    let per_round = (n_rows / size).max(1);
    let factor = (GREATEST / LEAST).powf(1.0 / (STEPS - 1) as f64);
    let (mut curve, mut mean, mut least) = (RateCurve::default(), 0.0, f64::INFINITY);
    let mut step = 0;
    'search: for round in 0.. {
        let seed = training.seed.derive(&format!("rates {round}"));
        let order = shuffled(n_rows, seed.derive("shuffle"));
        let cuts: Vec<_> = (0..per_round).map(|batch| batch * size..(batch + 1) * size).collect();
        for (place, batch) in rows.batches(&order, &cuts, 0, seed)?.enumerate() {
            training.progress.check_cancelled().map_err(TensorError)?;
            let batch = batch?;
            let mut pass = ForwardPass::new(seed.derive(&format!("batch {place}")));
            pass.frozen_norms = training.frozen_norms;
            let output = network.forward(&batch.inputs, &mut Mode::Train(&mut pass))?;
            let loss = training.loss.of(&output, &batch)?;
            let value = loss.f_double_value(&[])?;
            mean = DECAY * mean + (1.0 - DECAY) * value;
            let smooth = mean / (1.0 - DECAY.powi(step + 1));
            if !smooth.is_finite() || smooth > BREAKS_AWAY * least {
                break 'search;
            }
            least = least.min(smooth);
            let rate = LEAST * factor.powi(step);
            curve.learning_rate.push(rate);
            curve.loss.push(smooth);
            loss.f_backward()?;
            optimizer.step(rate)?;
            step += 1;
            if step as usize == STEPS {
                break 'search;
            }
        }
    }
    curve.best = steepest(&curve);
    Ok(curve)
}

/// The rate at which the loss fell most steeply over the logarithm of the rate; `None` where it never fell.
fn steepest(curve: &RateCurve) -> Option<f64> {
    // The running mean needs some losses to mean anything.
    let slopes = (10..curve.loss.len().saturating_sub(1)).map(|at| (at, curve.loss[at + 1] - curve.loss[at - 1]));
    let (at, slope) = slopes.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (slope < 0.0).then(|| curve.learning_rate[at])
}

/// For each parameter the length of its gradient, over all rows, beside its own: what a step of a given size would change most.
pub fn gradient_shares(network: &Network, rows: &dyn Supply, training: &Training) -> Result<Vec<(String, f64)>> {
    device::set_threads(training.threads)?;
    let network = network.copy(device::resolve(training.device)?)?;
    network.learn(|_, _| true)?;
    let n_rows = rows.n_rows() as f64;
    for batch in rows.plain(training.batch_size)? {
        training.progress.check_cancelled().map_err(TensorError)?;
        let batch = batch?;
        // As in prediction: nothing is dropped, and statistics stay.
        let output = network.forward(&batch.inputs, &mut Mode::Predict)?;
        let share = batch.n_rows() as f64 / n_rows;
        training.loss.of(&output, &batch)?.f_mul_scalar(share)?.f_backward()?;
    }
    let mut shares = Vec::new();
    for (name, ..) in network.plan().filter(|(_, _, role)| *role != Role::Statistic) {
        let Some((_, tensor)) = network.tensors().find(|(known, _)| *known == name) else { continue };
        let gradient = tensor.grad();
        if !gradient.defined() {
            continue;
        }
        let [gradient, own] = [gradient, tensor.f_detach()?].map(|tensor| tensor.f_norm()?.f_double_value(&[]));
        let (gradient, own) = (gradient?, own?);
        shares.push((name.to_owned(), if own > 0.0 { gradient / own } else { 0.0 }));
    }
    Ok(shares)
}
