//! Optimisers on libtorch's fused kernels, with a state that can be saved.

use std::collections::HashMap;

use retune_spec::estimators::{Adam, Optimizer as Algorithm, Rmsprop, Sgd};
use tch::Tensor;

use crate::{Result, TensorError, bridge};

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

/// AdamW, Adam, stochastic gradient descent or RMSprop, as PyTorch's (Kingma & Ba 2015, Loshchilov & Hutter 2019, Sutskever et al. 2013, Tieleman & Hinton 2012).
#[derive(Debug)]
pub struct Optimizer {
    algorithm: Algorithm,
    groups: Vec<GroupState>,
}

#[derive(Debug)]
struct GroupState {
    names: Vec<String>,
    parameters: Vec<Tensor>,
    rate_factor: f64,
    weight_decay: f64,
    /// Steps that these parameters have made.
    step: i64,
    /// Adam's mean and variance, the momentum, or the mean square: one list of tensors each, in the order of the parameters.
    state: Vec<Vec<Tensor>>,
}

impl Optimizer {
    /// An optimiser that has made no step. The groups share their tensors with the network.
    pub fn new(algorithm: Algorithm, groups: Vec<Group>) -> Result<Self> {
        let mut optimizer = Self { algorithm, groups: Vec::new() };
        optimizer.add(groups)?;
        Ok(optimizer)
    }

    /// Adds parameters that have made no step.
    pub fn add(&mut self, groups: Vec<Group>) -> Result<()> {
        let n_states = state_names(self.algorithm).len();
        for group in groups {
            let (names, parameters): (Vec<_>, Vec<_>) = group.parameters.into_iter().unzip();
            let zeros = || {
                let zeros = parameters.iter().map(|parameter: &Tensor| Ok(parameter.f_detach()?.f_zeros_like()?));
                zeros.collect::<Result<Vec<_>>>()
            };
            let state = (0..n_states).map(|_| zeros()).collect::<Result<_>>()?;
            let Group { rate_factor, weight_decay, .. } = group;
            self.groups.push(GroupState { names, parameters, rate_factor, weight_decay, step: 0, state });
        }
        Ok(())
    }

    /// The names of the parameters that it moves.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flat_map(|group| &group.names).map(String::as_str)
    }

    /// Makes all gradients together no longer than `longest`, and gives the length that they had: PyTorch's `clip_grad_norm_`.
    pub fn clip(&mut self, longest: f64) -> Result<f64> {
        let mut all: Vec<Tensor> =
            self.groups.iter().flat_map(|group| &group.parameters).map(Tensor::shallow_clone).collect();
        bridge::clip(&mut all, longest)
    }

    /// Adds to each gradient `strength` times how far its parameter lies from its anchor; one without an anchor is pulled towards zero.
    pub fn pull(&mut self, anchors: &HashMap<String, Tensor>, strength: f64) -> Result<()> {
        for group in &mut self.groups {
            let anchors = group.names.iter().zip(&group.parameters).map(|(name, parameter)| match anchors.get(name) {
                Some(anchor) => Ok(anchor.shallow_clone()),
                None => Ok(parameter.f_detach()?.f_zeros_like()?),
            });
            let mut anchors = anchors.collect::<Result<Vec<_>>>()?;
            bridge::pull(&mut group.parameters, &mut anchors, strength)?;
        }
        Ok(())
    }

    /// Moves the parameters by their gradients, and takes the gradients away.
    pub fn step(&mut self, learning_rate: f64) -> Result<()> {
        for group in &mut self.groups {
            group.step += 1;
            let learning_rate = learning_rate * group.rate_factor;
            let weight_decay = group.weight_decay;
            match (self.algorithm, group.state.as_mut_slice()) {
                (Algorithm::Adamw(settings) | Algorithm::Adam(settings), [means, variances]) => {
                    let decoupled = matches!(self.algorithm, Algorithm::Adamw(_));
                    let Adam { betas, epsilon } = settings;
                    let adam =
                        bridge::Adam { step: group.step, learning_rate, betas, epsilon, weight_decay, decoupled };
                    bridge::adam(&mut group.parameters, means, variances, &adam)?;
                }
                (Algorithm::Sgd(Sgd { momentum, nesterov }), [momenta]) => {
                    let sgd =
                        bridge::Sgd { learning_rate, momentum, nesterov: nesterov && momentum > 0.0, weight_decay };
                    bridge::sgd(&mut group.parameters, momenta, &sgd)?;
                }
                (Algorithm::Rmsprop(Rmsprop { decay, momentum, epsilon }), [squares, momenta]) => {
                    let rmsprop = bridge::Rmsprop { learning_rate, decay, momentum, epsilon, weight_decay };
                    bridge::rmsprop(&mut group.parameters, squares, momenta, &rmsprop)?;
                }
                _ => {
                    return Err(TensorError::failed("the optimiser's state is not of its algorithm"));
                }
            }
        }
        Ok(())
    }

    /// The whole state by name: how many steps each parameter made, and every tensor.
    pub(crate) fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::new();
        for group in &self.groups {
            for (name, tensor) in named_state(self.algorithm, &group.names).zip(group.state.iter().flatten()) {
                all.push((name, tensor.shallow_clone()));
            }
            for name in &group.names {
                all.push((format!("{name}.step"), Tensor::f_from_slice(&[group.step])?));
            }
        }
        Ok(all)
    }

    /// Goes on from a state of the same algorithm and parameters.
    pub(crate) fn restore(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let missing = |name: &str| TensorError::failed(format!("the state of the optimiser has no `{name}`"));
        let algorithm = self.algorithm;
        let _no_grad = tch::no_grad_guard();
        for group in &mut self.groups {
            let names = group.names.clone();
            for (name, tensor) in named_state(algorithm, &names).zip(group.state.iter_mut().flatten()) {
                tensor.f_copy_(state.get(&name).ok_or_else(|| missing(&name))?)?;
            }
            if let Some(first) = names.first() {
                let name = format!("{first}.step");
                group.step = state.get(&name).ok_or_else(|| missing(&name))?.f_int64_value(&[0])?;
            }
        }
        Ok(())
    }
}

fn state_names(algorithm: Algorithm) -> &'static [&'static str] {
    match algorithm {
        Algorithm::Adamw(_) | Algorithm::Adam(_) => &["mean", "variance"],
        Algorithm::Sgd(_) => &["momentum"],
        Algorithm::Rmsprop(_) => &["square", "momentum"],
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
        network.learn(|_, _| true).unwrap();
        let optimizer =
            Optimizer::new(case.optimizer, network.groups(fixture.weight_decay, fixture.layer_decay)).unwrap();
        (network, optimizer)
    }

    fn step(fixture: &Fixture, case: &Steps, network: &Network, optimizer: &mut Optimizer) {
        let rows = fixture.rows(None);
        let output = network.forward(rows.features(), &mut Mode::Predict).unwrap();
        Loss::CrossEntropy { label_smoothing: 0.0 }.of(&output, &rows.whole()).unwrap().backward();
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
            let copied = |(name, tensor): (String, Tensor)| (name, tensor.copy());
            let state = optimizer.state().unwrap().into_iter().map(copied).collect();
            let weights = network.to_bytes().unwrap();
            (0..10).for_each(|_| step(&fixture, case, &network, &mut optimizer));

            let (mut resumed, mut optimizer) = start(&fixture, case);
            resumed.load_bytes(&weights, "weights").unwrap();
            optimizer.restore(&state).unwrap();
            (0..10).for_each(|_| step(&fixture, case, &resumed, &mut optimizer));
            assert_eq!(resumed.to_bytes().unwrap(), network.to_bytes().unwrap(), "{:?}", case.optimizer);
        }
    }

    #[test]
    fn a_state_of_another_algorithm_is_refused() {
        let fixture = fixture::read();
        let of = |case: usize| start(&fixture, &fixture.steps[case]).1;
        let state = of(2).state().unwrap().into_iter().collect();
        let error = of(0).restore(&state).unwrap_err().to_string();
        assert_eq!(error, "the state of the optimiser has no `layers.0.weight.mean`");
    }

    #[test]
    fn gradients_are_clipped_and_pulled_as_they_are_defined() {
        let parameter = Tensor::from_slice(&[3.0f32, 4.0]).set_requires_grad(true);
        let group = |name: &str| Group {
            parameters: vec![(name.to_owned(), parameter.shallow_clone())],
            rate_factor: 1.0,
            weight_decay: 0.0,
        };
        let sgd = Algorithm::Sgd(Sgd { momentum: 0.0, nesterov: false });
        for (anchor, strength, longest, expected) in [
            // The gradient of half the square is the parameter itself, of length 5.
            (None, 0.0, 1e9, [3.0, 4.0]),
            (None, 0.0, 2.5, [1.5, 2.0]),
            // Pulled towards zero, and towards an anchor.
            (None, 0.5, 1e9, [4.5, 6.0]),
            (Some([1.0f32, 2.0]), 0.5, 1e9, [4.0, 5.0]),
        ] {
            let mut optimizer = Optimizer::new(sgd, vec![group("p")]).unwrap();
            (parameter.square().sum(tch::Kind::Float) * 0.5).backward();
            let anchors = anchor.map(|anchor| ("p".to_owned(), Tensor::from_slice(&anchor))).into_iter().collect();
            if strength > 0.0 {
                optimizer.pull(&anchors, strength).unwrap();
            }
            assert!(optimizer.clip(longest).unwrap() >= 5.0);
            fixture::close(&fixture::values(&parameter.grad()), &expected, 1e-5, "gradient");
            optimizer.step(0.0).unwrap();
        }
    }

    /// The parameters of `optimizers.py`, and their gradients by its formula.
    fn parameters(start: &[Vec<f32>]) -> Vec<(String, Tensor)> {
        let tensor = |(number, values): (usize, &Vec<f32>)| {
            (number.to_string(), Tensor::from_slice(values).set_requires_grad(true))
        };
        start.iter().enumerate().map(tensor).collect()
    }

    fn set_gradients(parameters: &[(String, Tensor)]) {
        for (_, parameter) in parameters {
            let p = parameter.detach();
            let k = Tensor::arange(p.numel() as i64, (tch::Kind::Float, tch::Device::Cpu));
            let gradient: Tensor = (&k * 0.1 + 0.5) * &p + (&p * 2.0 + &k).sin() * 0.3;
            // The gradient of a product with a constant is the constant.
            (parameter * gradient).sum(tch::Kind::Float).backward();
        }
    }

    fn group(parameters: &[(String, Tensor)], weight_decay: f64) -> Vec<Group> {
        let parameters = parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        vec![Group { parameters, rate_factor: 1.0, weight_decay }]
    }

    #[test]
    fn options_are_pytorchs() {
        let fixture = fixture::options();
        for case in &fixture.steps {
            let number = |key: &str| case.options.get(key).and_then(serde_json::Value::as_f64);
            let algorithm = match case.optimizer.as_str() {
                "sgd" => Algorithm::Sgd(Sgd {
                    momentum: number("momentum").unwrap_or(0.0),
                    nesterov: case.options.contains_key("nesterov"),
                }),
                "rmsprop" => Algorithm::Rmsprop(Rmsprop {
                    decay: number("alpha").unwrap_or(0.99),
                    momentum: number("momentum").unwrap_or(0.0),
                    epsilon: number("eps").unwrap_or(1e-8),
                }),
                word => {
                    let betas = serde_json::from_value(case.options["betas"].clone()).unwrap();
                    let adam = Adam { betas, epsilon: number("eps").unwrap() };
                    if word == "adamw" { Algorithm::Adamw(adam) } else { Algorithm::Adam(adam) }
                }
            };
            let parameters = parameters(&fixture.start);
            let groups = group(&parameters, number("weight_decay").unwrap_or(0.0));
            let mut optimizer = Optimizer::new(algorithm, groups).unwrap();
            for step in 1..=100 {
                set_gradients(&parameters);
                optimizer.step(number("lr").unwrap()).unwrap();
                for (expected, (name, tensor)) in case.after.get(&step).into_iter().flatten().zip(&parameters) {
                    let what = format!("{} {:?}, step {step}, {name}", case.optimizer, case.options);
                    fixture::close(&fixture::values(tensor), expected, 2e-6, &what);
                }
            }
        }
    }

    #[test]
    fn gradients_are_clipped_as_pytorch_clips_them() {
        let fixture = fixture::options();
        for (name, longest) in [("none", 1e9), ("norm_1", 1.0), ("norm_100", 100.0)] {
            let expected = &fixture.clipping[name];
            let parameters = parameters(&fixture.start);
            set_gradients(&parameters);
            let mut optimizer = Optimizer::new(Algorithm::default(), group(&parameters, 0.0)).unwrap();
            let length = optimizer.clip(longest).unwrap();
            assert!(expected.norm.is_none_or(|norm| (norm - length).abs() < 1e-6), "{name}: {length}");
            for (gradient, (_, parameter)) in expected.gradients.iter().zip(&parameters) {
                fixture::close(&fixture::values(&parameter.grad()), gradient, 1e-6, name);
            }
        }
    }
}
