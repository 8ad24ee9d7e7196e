//! What PyTorch computed; `tests/reference/networks.py` writes it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use ndarray::Array2;
use retune_spec::estimators::{Activation, LearningRateSchedule, Optimizer as Algorithm};
use retune_stage::{Device, Seed, Target};
use serde::Deserialize;
use tch::Tensor;

use crate::{Examples, Layer, Network, weights};

#[derive(Deserialize)]
pub(crate) struct Fixture {
    features: Vec<f64>,
    classes: Vec<u32>,
    pub values: Vec<f32>,
    pub weights: Vec<f64>,
    pub forward: Vec<Forward>,
    pub weight_decay: f64,
    pub layer_decay: f64,
    pub steps: Vec<Steps>,
    pub rates: Vec<Rates>,
    pub architectures: Vec<Architecture>,
}

#[derive(Deserialize)]
pub(crate) struct Rates {
    pub schedule: LearningRateSchedule,
    pub epochs: usize,
    pub n_batches: usize,
    pub rates: Vec<f64>,
}

/// The outputs of a network whose tensors are [`formula`]s, in prediction and then in a training step.
#[derive(Deserialize)]
pub(crate) struct Architecture {
    pub name: String,
    pub tensors: Vec<Vec<i64>>,
    /// Rows by four columns; missing values are `null`.
    pub features: Vec<Vec<Option<f32>>>,
    pub output: Vec<f32>,
    pub training_output: Vec<f32>,
    pub statistics: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
pub(crate) struct Forward {
    pub activation: Activation,
    pub parameters: Vec<Vec<f32>>,
    pub output: Vec<f32>,
    pub cross_entropy: f64,
    pub smoothed: f64,
    pub weighted: f64,
    pub focal: f64,
    pub focal_weighted: f64,
    pub absolute: f64,
    pub huber_weighted: f64,
    pub squared: f64,
    pub squared_weighted: f64,
}

#[derive(Deserialize)]
pub(crate) struct Steps {
    pub optimizer: Algorithm,
    pub learning_rate: f64,
    pub start: Vec<Vec<f32>>,
    pub after: BTreeMap<usize, Vec<Vec<f32>>>,
}

/// What PyTorch makes of further options; `tests/reference/optimizers.py` writes it.
#[derive(Deserialize)]
pub(crate) struct Options {
    pub start: Vec<Vec<f32>>,
    pub steps: Vec<OptionSteps>,
    pub schedules: Vec<ScheduleRates>,
    pub plateau: Plateaus,
    pub clipping: BTreeMap<String, Clipped>,
}

#[derive(Deserialize)]
pub(crate) struct OptionSteps {
    pub optimizer: String,
    pub options: BTreeMap<String, serde_json::Value>,
    pub after: BTreeMap<usize, Vec<Vec<f32>>>,
}

#[derive(Deserialize)]
pub(crate) struct ScheduleRates {
    pub schedule: String,
    pub options: BTreeMap<String, serde_json::Value>,
    pub rates: Vec<f64>,
}

#[derive(Deserialize)]
pub(crate) struct Plateaus {
    pub losses: Vec<f64>,
    pub cases: Vec<PlateauCase>,
}

#[derive(Deserialize)]
pub(crate) struct PlateauCase {
    pub options: BTreeMap<String, serde_json::Value>,
    pub rates: Vec<f64>,
}

#[derive(Deserialize)]
pub(crate) struct Clipped {
    pub gradients: Vec<Vec<f32>>,
    pub norm: Option<f64>,
}

pub(crate) fn options() -> Options {
    serde_json::from_str(include_str!("../tests/fixtures/optimizers.json")).unwrap()
}

pub(crate) fn read() -> Fixture {
    serde_json::from_str(include_str!("../tests/fixtures/networks.json")).unwrap()
}

impl Fixture {
    pub fn features(&self) -> Array2<f64> {
        Array2::from_shape_vec((12, 4), self.features.clone()).unwrap()
    }

    pub fn rows(&self, weights: Option<&[f64]>) -> Examples {
        let target = Target::Classes { codes: self.classes.clone(), n_classes: 3 };
        Examples::new(self.features().view(), &target, weights, Device::Cpu).unwrap()
    }
}

/// The fixture's network, 4-5-3, with given parameters.
pub(crate) fn network(activation: Activation, parameters: &[Vec<f32>]) -> Network {
    let layers = vec![
        Layer::Linear { inputs: 4, outputs: 5 },
        Layer::Activation(activation),
        Layer::Linear { inputs: 5, outputs: 3 },
    ];
    let mut values = parameters.iter();
    with(layers, |_, _| values.next().unwrap().clone())
}

/// A network of layers whose tensors are what `values` gives for their number and name.
pub(crate) fn with(layers: Vec<Layer>, mut values: impl FnMut(usize, &Tensor) -> Vec<f32>) -> Network {
    let mut network = Network::new(layers, 4, Seed(0)).unwrap();
    let tensors: Vec<(String, Tensor)> = network
        .tensors()
        .enumerate()
        .map(|(number, (name, tensor))| {
            (name.to_owned(), Tensor::from_slice(&values(number, tensor)).reshape(tensor.size()))
        })
        .collect();
    let bytes = weights::to_bytes(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    network.load_bytes(&bytes, "fixture").unwrap();
    network
}

/// What tensors of the reference architectures hold: the same formula as in `tests/reference/networks.py`.
pub(crate) fn formula(number: usize, tensor: &Tensor) -> Vec<f32> {
    (0..tensor.numel()).map(|at| (0.6 + 0.5 * (0.7 * at as f64 + number as f64).sin()) as f32).collect()
}

pub(crate) fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.detach().flatten(0, -1).try_into().unwrap()
}

/// Fails where a value is further from PyTorch's than `tolerance`.
pub(crate) fn close(ours: &[f32], theirs: &[f32], tolerance: f32, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() <= tolerance, "{what}: {ours} instead of {theirs}");
    }
}
