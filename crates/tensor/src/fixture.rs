//! What PyTorch computed; `tests/reference/networks.py` writes it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use ndarray::Array2;
use retune_spec::estimators::{Activation, Optimizer as Algorithm};
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
}

#[derive(Deserialize)]
pub(crate) struct Forward {
    pub activation: Activation,
    pub parameters: Vec<Vec<f32>>,
    pub output: Vec<f32>,
    pub cross_entropy: f64,
    pub smoothed: f64,
    pub weighted: f64,
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
    let mut network = Network::new(layers, Seed(0)).unwrap();
    let tensors: Vec<(String, Tensor)> = network
        .parameters()
        .zip(parameters)
        .map(|((name, tensor), values)| (name.to_owned(), Tensor::from_slice(values).reshape(tensor.size())))
        .collect();
    let bytes = weights::to_bytes(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    network.load_bytes(&bytes, "fixture").unwrap();
    network
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
