#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! Against torchvision: `tests/reference/torchvision_networks.py`, which says the formula of the tensors too.

use retune_stage::Seed;
use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::*;
use crate::layer::Shape;
use crate::{Batch, ForwardPass, Loss, Mode, Network, fixture};

#[derive(Deserialize)]
struct Fixture {
    networks: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    arguments: Value,
    gain: f64,
    state: Vec<(String, Vec<i64>)>,
    input: Vec<i64>,
    output: Vec<f32>,
    training_output: Vec<f32>,
    #[serde(default)]
    auxiliary_outputs: Vec<Vec<f32>>,
    running_means: Sums,
    running_variances: Sums,
    gradient_norms: Norms,
}

#[derive(Deserialize)]
struct Sums {
    sum: f64,
    absolute: f64,
}

#[derive(Deserialize)]
struct Norms {
    first: f64,
    last: f64,
}

impl Case {
    fn architecture(&self) -> Architecture {
        let word = self.name.trim_end_matches("_bn");
        serde_json::from_value(match word {
            "small_resnet" => json!({ word: { "blocks": self.arguments["blocks"] } }),
            "googlenet" => json!({ word: { "auxiliary": self.arguments["aux_logits"], "dropout": 0.0 } }),
            "vgg11" | "vgg16" => json!({ word: { "batch_norm": self.name.ends_with("_bn"), "dropout": 0.0 } }),
            "mobilenet_v2" => json!({ word: { "dropout": 0.0 } }),
            "efficientnet_b0" => json!({ word: { "dropout": 0.0, "drop_path": 0.0 } }),
            _ => json!(word),
        })
        .unwrap()
    }

    fn network(&self) -> Network {
        let image = [1, 2, 3].map(|at| self.input[at] as usize);
        let mut layers = layers(&self.architecture(), image[0], 10);
        without_dropout(&mut layers);
        let mut network = Network::named(layers, Shape::Image(image), Seed(0)).unwrap();
        let mut known: Vec<(String, Vec<i64>)> =
            network.plan().map(|(name, size, _)| (name.to_owned(), size)).collect();
        let mut expected = self.state.clone();
        known.sort();
        expected.sort();
        assert_eq!(known, expected, "{}", self.name);
        for (name, tensor) in network.tensors_mut() {
            let number = self.state.iter().position(|(known, _)| known == name).unwrap();
            tensor.copy_(&formula(number, name, &tensor.size(), self.gain));
        }
        network
    }

    fn input(&self) -> Tensor {
        formula(self.state.len(), "input", &self.input, 1.0)
    }
}

fn without_dropout(layers: &mut [Named]) {
    for named in layers {
        if let Layer::Dropout(share) | Layer::DropPath(share) = &mut named.layer {
            *share = 0.0;
        }
        named.layer.within_mut().into_iter().for_each(|list| without_dropout(list));
    }
}

fn formula(number: usize, name: &str, size: &[i64], gain: f64) -> Tensor {
    let n_values = size.iter().product::<i64>() as u64;
    let fan_in = size[1..].iter().product::<i64>() as f64;
    let value = |k: u64| {
        let z = ((number as u64) << 32).wrapping_add(k).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 32)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let u = (z >> 40) as f64 / 2f64.powi(23) - 1.0;
        let value = match name.rsplit('.').next().unwrap() {
            "input" => 1.5 * u,
            "running_var" => 1.0 + 0.5 * u,
            "running_mean" => 0.1 * u,
            "bias" => 1.0 + 0.1 * u,
            _ if size.len() == 1 => 1.0 + 0.2 * u,
            _ => gain * (3.0 / fan_in).sqrt() * u,
        };
        value as f32
    };
    Tensor::from_slice(&(0..n_values).map(value).collect::<Vec<f32>>()).reshape(size)
}

/// Within 1e-5 of the greatest value.
fn close(ours: &Tensor, theirs: &[f32], what: &str) {
    let greatest = theirs.iter().fold(0f32, |greatest, value| greatest.max(value.abs()));
    fixture::close(&fixture::values(ours), theirs, 1e-5 * greatest.max(1.0), what);
}

fn near(ours: f64, theirs: f64, scale: f64, tolerance: f64, what: &str) {
    assert!((ours - theirs).abs() <= tolerance * scale.max(1e-9), "{what}: {ours} instead of {theirs}");
}

#[test]
fn networks_are_torchvisions() {
    crate::device::set_threads(2).unwrap();
    let fixture: Fixture =
        serde_json::from_str(include_str!("../../tests/fixtures/torchvision_networks.json")).unwrap();
    for case in fixture.networks {
        let name = case.name.as_str();
        let (network, input) = (case.network(), case.input());
        {
            let _no_grad = tch::no_grad_guard();
            close(&network.forward(&input, &mut Mode::Predict).unwrap(), &case.output, name);
        }
        network.learn(|_, _| true).unwrap();
        let mut pass = ForwardPass::new(Seed(1));
        let output = network.forward(&input, &mut Mode::Train(&mut pass)).unwrap();
        close(&output, &case.training_output, &format!("{name}, training"));
        assert_eq!(pass.auxiliary.len(), case.auxiliary_outputs.len(), "{name}");
        for ((_, said), expected) in pass.auxiliary.iter().zip(&case.auxiliary_outputs) {
            close(said, expected, &format!("{name}, auxiliary"));
        }
        for (suffix, expected) in [("running_mean", &case.running_means), ("running_var", &case.running_variances)] {
            let values: Vec<Tensor> = network
                .tensors()
                .filter(|(tensor, _)| tensor.ends_with(suffix))
                .map(|(_, tensor)| tensor.to_kind(Kind::Double))
                .collect();
            let sum = |of: &dyn Fn(&Tensor) -> Tensor| {
                values.iter().map(|value| of(value).sum(Kind::Double).double_value(&[])).sum::<f64>()
            };
            let scale = expected.absolute;
            near(sum(&|value| value.shallow_clone()), expected.sum, scale, 1e-6, &format!("{name}, {suffix}"));
            near(sum(&Tensor::abs), expected.absolute, scale, 1e-6, &format!("{name}, |{suffix}|"));
        }
        let rows = Batch { inputs: input, targets: Tensor::from_slice(&[0i64, 1]), weights: None, mixed: None };
        let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
        let auxiliary = pass.auxiliary.iter().map(|(weight, said)| loss.of(said, &rows).unwrap() * *weight);
        auxiliary.fold(loss.of(&output, &rows).unwrap(), |sum, other| sum + other).backward();
        let weights: Vec<&String> =
            case.state.iter().map(|(tensor, _)| tensor).filter(|tensor| tensor.ends_with("weight")).collect();
        for (tensor, expected) in
            [(weights[0], case.gradient_norms.first), (weights[weights.len() - 1], case.gradient_norms.last)]
        {
            let (_, value) = network.tensors().find(|(known, _)| known == tensor).unwrap();
            let norm = value.grad().norm().double_value(&[]);
            // A tie in a pooling or at a ReLU may fall otherwise.
            near(norm, expected, expected, 2e-4, &format!("{name}, gradient of {tensor}"));
        }
    }
}

#[test]
fn images_that_are_too_small_are_refused() {
    let layers = layers(&Architecture::Vgg11(Default::default()), 3, 10);
    let error = Network::named(layers, Shape::Image([3, 20, 20]), Seed(1)).err().unwrap();
    assert_eq!(error.0.message, "features: 20: images of 512 x 1 x 1 are too small for the layer pool 2 x 2");
}
