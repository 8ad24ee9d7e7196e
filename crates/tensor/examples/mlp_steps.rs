//! Measures 1000 steps of Adam on a network of 64, 128 and 10 units in batches of 256, and prints the seconds: `mlp_steps [THREADS]`.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use ndarray::Array2;
use retune_spec::estimators::{Activation, Adam, LearningRateSchedule, Optimizer};
use retune_stage::{Device, Seed, Target};
use retune_tensor::{Examples, Layer, Loss, Network, Result, Training, train};

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
    let network = Network::new(layers, 64, Seed(1))?;
    let training = |epochs| Training {
        optimizer: Optimizer::Adam(Adam::default()),
        schedule: LearningRateSchedule::Constant,
        batch_size: 256,
        epochs,
        threads,
        ..Training::new(Loss::CrossEntropy { label_smoothing: 0.0 }, Seed(1))
    };
    train(&network, &rows, None, &training(1))?;
    let start = Instant::now();
    train(&network, &rows, None, &training(10))?;
    println!("{{\"seconds\": {}}}", start.elapsed().as_secs_f64());
    Ok(())
}
