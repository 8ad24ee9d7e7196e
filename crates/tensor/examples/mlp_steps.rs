//! Measures 1000 steps of Adam on a network of 64, 128 and 10 units in batches of 256, and prints the seconds: `mlp_steps [THREADS]`.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use ndarray::Array2;
use retune_spec::estimators::{Activation, LearningRateSchedule, Optimizer};
use retune_stage::{Device, Seed, Silent, Target};
use retune_tensor::{Begin, Examples, Layer, Loss, Network, Result, Training, train};

fn main() -> Result<()> {
    let threads = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2);
    let features = Array2::from_shape_fn((25_600, 64), |(row, column)| ((row * 64 + column) as f64).sin());
    let target = Target::Classes { codes: (0..25_600).map(|row| row % 10).collect(), n_classes: 10 };
    let rows = Examples::new(features.view(), &target, None, Device::Cpu)?;
    let layers = vec![
        Layer::Linear { inputs: 64, outputs: 128 },
        Layer::Activation(Activation::Relu),
        Layer::Linear { inputs: 128, outputs: 10 },
    ];
    let network = Network::new(layers, Seed(1))?;
    let training = |epochs| Training {
        loss: Loss::CrossEntropy { label_smoothing: 0.0 },
        begin: Begin::Fresh,
        optimizer: Optimizer::Adam,
        learning_rate: 1e-3,
        schedule: LearningRateSchedule::Constant,
        layer_decay: 1.0,
        weight_decay: 0.0,
        batch_size: 256,
        epochs,
        seed: Seed(1),
        threads,
        device: Device::Cpu,
        progress: &Silent,
    };
    train(&network, &rows, None, &training(1))?;
    let start = Instant::now();
    train(&network, &rows, None, &training(10))?;
    println!("{{\"seconds\": {}}}", start.elapsed().as_secs_f64());
    Ok(())
}
