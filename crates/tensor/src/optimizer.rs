//! Optimisers on libtorch's fused kernels, with a state that can be saved.

use retune_spec::estimators::Optimizer as Algorithm;
use tch::{Kind, Tensor};

use crate::{Result, TensorError, bridge, weights};

/// Parameters that are moved alike.
#[derive(Debug)]
pub struct Group {
    /// The parameters by name.
    pub parameters: Vec<(String, Tensor)>,
    /// Their learning rate is the step's times this.
    pub rate_factor: f64,
    /// Their weight decay.
    pub weight_decay: f64,
}

/// PyTorch's defaults: the decay of Adam's mean and variance, and what is added to the standard deviation.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;
const MOMENTUM: f64 = 0.9;
/// RMSprop's decay of the mean square, PyTorch's default as well.
const SQUARES_DECAY: f64 = 0.99;

/// AdamW, Adam, stochastic gradient descent with Nesterov momentum 0.9, or RMSprop, as PyTorch's with its default hyperparameters (Kingma & Ba 2015,
/// Loshchilov & Hutter 2019, Sutskever et al. 2013, Tieleman & Hinton 2012).
#[derive(Debug)]
pub struct Optimizer {
    algorithm: Algorithm,
    step: i64,
    groups: Vec<GroupState>,
}

#[derive(Debug)]
struct GroupState {
    names: Vec<String>,
    parameters: Vec<Tensor>,
    rate_factor: f64,
    weight_decay: f64,
    /// Adam's mean and variance, the momentum, or the mean square: one list of tensors each, in the order of the parameters.
    state: Vec<Vec<Tensor>>,
}

impl Optimizer {
    /// An optimiser that has made no step. The groups share their tensors with the network.
    pub fn new(algorithm: Algorithm, groups: Vec<Group>) -> Result<Self> {
        let n_states = state_names(algorithm).len();
        let group = |group: Group| {
            let (names, parameters): (Vec<_>, Vec<_>) = group.parameters.into_iter().unzip();
            let zeros = || {
                parameters
                    .iter()
                    .map(|parameter: &Tensor| Ok(parameter.f_detach()?.f_zeros_like()?))
                    .collect::<Result<Vec<_>>>()
            };
            let state = (0..n_states).map(|_| zeros()).collect::<Result<_>>()?;
            Ok(GroupState {
                names,
                parameters,
                rate_factor: group.rate_factor,
                weight_decay: group.weight_decay,
                state,
            })
        };
        Ok(Self { algorithm, step: 0, groups: groups.into_iter().map(group).collect::<Result<_>>()? })
    }

    /// Moves the parameters by their gradients, and takes the gradients away.
    pub fn step(&mut self, learning_rate: f64) -> Result<()> {
        self.step += 1;
        for group in &mut self.groups {
            let learning_rate = learning_rate * group.rate_factor;
            match (self.algorithm, group.state.as_mut_slice()) {
                (Algorithm::Adamw | Algorithm::Adam, [means, variances]) => {
                    let decoupled = self.algorithm == Algorithm::Adamw;
                    let weight_decay = group.weight_decay;
                    let adam = bridge::Adam {
                        step: self.step,
                        learning_rate,
                        betas: BETAS,
                        epsilon: EPSILON,
                        weight_decay,
                        decoupled,
                    };
                    bridge::adam(&mut group.parameters, means, variances, &adam)?;
                }
                (Algorithm::Sgd, [momenta]) => {
                    let sgd = bridge::Sgd { learning_rate, momentum: MOMENTUM, weight_decay: group.weight_decay };
                    bridge::sgd(&mut group.parameters, momenta, &sgd)?;
                }
                (Algorithm::Rmsprop, [squares]) => {
                    let weight_decay = group.weight_decay;
                    let rmsprop =
                        bridge::Rmsprop { learning_rate, decay: SQUARES_DECAY, epsilon: EPSILON, weight_decay };
                    bridge::rmsprop(&mut group.parameters, squares, &rmsprop)?;
                }
                _ => {
                    return Err(TensorError::failed("the optimiser's state is not of its algorithm"));
                }
            }
        }
        Ok(())
    }

    /// The bytes of a safetensors file with the whole state: the number of steps and every tensor.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let step = Tensor::f_from_slice(&[self.step])?;
        let state = self
            .groups
            .iter()
            .flat_map(|group| named_state(self.algorithm, &group.names).zip(group.state.iter().flatten()));
        let state: Vec<(String, &Tensor)> = state.collect();
        weights::to_bytes(state.iter().map(|(name, tensor)| (name.as_str(), *tensor)).chain([("step", &step)]))
    }

    /// Goes on from a saved state of the same algorithm and parameters. `file` is for messages.
    pub fn load_bytes(&mut self, bytes: &[u8], file: &str) -> Result<()> {
        let mut step = Tensor::f_zeros([1], (Kind::Int64, tch::Device::Cpu))?;
        let algorithm = self.algorithm;
        let mut state: Vec<(String, &mut Tensor)> = Vec::new();
        for group in &mut self.groups {
            state.extend(named_state(algorithm, &group.names).zip(group.state.iter_mut().flatten()));
        }
        let targets = state.iter_mut().map(|(name, tensor)| (name.as_str(), &mut **tensor));
        weights::copy_into(bytes, file, targets.chain([("step", &mut step)]))?;
        self.step = step.f_int64_value(&[0])?;
        Ok(())
    }
}

fn state_names(algorithm: Algorithm) -> &'static [&'static str] {
    match algorithm {
        Algorithm::Adamw | Algorithm::Adam => &["mean", "variance"],
        Algorithm::Sgd => &["momentum"],
        Algorithm::Rmsprop => &["square"],
    }
}

/// The names of a group's state, in the order in which it is kept.
fn named_state(algorithm: Algorithm, parameters: &[String]) -> impl Iterator<Item = String> {
    state_names(algorithm)
        .iter()
        .flat_map(move |state| parameters.iter().map(move |parameter| format!("{parameter}.{state}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use retune_spec::estimators::Activation;

    use super::*;
    use crate::fixture::{self, Fixture, Steps};
    use crate::{Loss, Mode, Network};

    fn start(fixture: &Fixture, case: &Steps) -> (Network, Optimizer) {
        let network = fixture::network(Activation::Tanh, &case.start);
        network.record_gradients().unwrap();
        let optimizer =
            Optimizer::new(case.optimizer, network.groups(fixture.weight_decay, fixture.layer_decay)).unwrap();
        (network, optimizer)
    }

    fn step(fixture: &Fixture, case: &Steps, network: &Network, optimizer: &mut Optimizer) {
        let rows = fixture.rows(None);
        let output = network.forward(rows.features(), &mut Mode::Predict).unwrap();
        Loss::CrossEntropy { label_smoothing: 0.0 }.of(&output, &rows).unwrap().backward();
        optimizer.step(case.learning_rate).unwrap();
    }

    #[test]
    fn a_hundred_steps_are_pytorchs() {
        let fixture = fixture::read();
        for case in &fixture.steps {
            let (network, mut optimizer) = start(&fixture, case);
            for number in 1..=100 {
                step(&fixture, case, &network, &mut optimizer);
                for (expected, (name, tensor)) in case.after.get(&number).into_iter().flatten().zip(network.tensors()) {
                    let what = format!("{:?}, step {number}, {name}", case.optimizer);
                    fixture::close(&fixture::values(tensor), expected, 1e-6, &what);
                }
            }
        }
    }

    #[test]
    fn a_saved_state_goes_on_with_the_same_bits() {
        let fixture = fixture::read();
        for case in &fixture.steps {
            let (network, mut optimizer) = start(&fixture, case);
            (0..10).for_each(|_| step(&fixture, case, &network, &mut optimizer));
            let (weights, state) = (network.to_bytes().unwrap(), optimizer.to_bytes().unwrap());
            (0..10).for_each(|_| step(&fixture, case, &network, &mut optimizer));

            let (mut resumed, mut optimizer) = start(&fixture, case);
            resumed.load_bytes(&weights, "weights").unwrap();
            optimizer.load_bytes(&state, "state").unwrap();
            (0..10).for_each(|_| step(&fixture, case, &resumed, &mut optimizer));
            assert_eq!(resumed.to_bytes().unwrap(), network.to_bytes().unwrap(), "{:?}", case.optimizer);
        }
    }

    #[test]
    fn a_state_of_another_algorithm_is_refused() {
        let fixture = fixture::read();
        let state = start(&fixture, &fixture.steps[2]).1.to_bytes().unwrap();
        let error =
            start(&fixture, &fixture.steps[0]).1.load_bytes(&state, "state.safetensors").unwrap_err().to_string();
        assert!(error.contains("`layers.0.weight.mean` is missing"), "{error}");
        assert!(error.contains("`layers.0.weight.momentum` is unexpected"), "{error}");
    }
}
