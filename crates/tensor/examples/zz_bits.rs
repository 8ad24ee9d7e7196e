//! x
#![allow(missing_docs, clippy::print_stdout)]
use ndarray::Array2;
use retune_spec::estimators::*;
use retune_stage::{Device, Seed, Silent, Target};
use retune_tensor::*;
fn main() -> Result<()> {
    let threads = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2);
    let features = Array2::from_shape_fn((5_000, 150), |(row, column)| ((row * 64 + column) as f64).sin());
    let target = Target::Classes { codes: (0..5_000).map(|row| row % 10).collect(), n_classes: 10 };
    let rows = Examples::new(features.view(), &target, None, Device::Cpu)?;
    let layers = vec![
        Layer::Linear { inputs: 150, outputs: 512 },
        Layer::Activation(Activation::Gelu),
        Layer::Dropout(0.2),
        Layer::Linear { inputs: 512, outputs: 256 },
        Layer::Activation(Activation::Relu),
        Layer::Linear { inputs: 256, outputs: 10 },
    ];
    let network = Network::new(layers, Seed(1))?;
    let t = Training {
        loss: Loss::CrossEntropy { label_smoothing: 0.1 },
        begin: Begin::Fresh,
        optimizer: retune_spec::estimators::Optimizer::Adamw,
        learning_rate: 1e-3,
        schedule: LearningRateSchedule::Cosine,
        layer_decay: 0.7,
        weight_decay: 0.01,
        batch_size: 256,
        epochs: 3,
        seed: Seed(1),
        threads,
        device: Device::Cpu,
        progress: &Silent,
    };
    let s = std::time::Instant::now();
    let (n, h) = train(&network, &rows, None, &t)?;
    let b = n.to_bytes()?;
    let sum: u64 = b.iter().fold(14695981039346656037u64, |a, &x| (a ^ u64::from(x)).wrapping_mul(1099511628211));
    println!("{threads} {sum:x} {:?} {:?}", h.train.last(), s.elapsed());
    Ok(())
}
