//! Measures training steps as `bench/peers/training_steps.py` does and prints JSON: `training_steps CASE [THREADS]`, where CASE is `mlp`, `small_resnet`, `resnet18`,
//! `linear_probe` or `start`.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use retune_spec::estimators::{Activation, Adam, Architecture, LearningRateSchedule, Optimizer, Sgd};
use retune_stage::{Device, Seed, Target};
use retune_tensor::{
    Examples, Layer, Loss, Network, Result, Shape, TensorError, Thawed, Training, architectures, train,
};
use tch::Tensor;

/// A case: the network, a row, rows of a step, steps that are measured, and the optimiser.
struct Case {
    network: Network,
    row: Vec<i64>,
    batch_size: usize,
    n_steps: usize,
    optimizer: Optimizer,
}

fn main() -> Result<()> {
    let begun = Instant::now();
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "mlp".to_owned());
    let threads = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2);
    retune_tensor::device::set_threads(threads)?;
    let image = |word: &str, side: usize| {
        let architecture: Architecture =
            serde_json::from_value(word.into()).map_err(|error| TensorError::failed(error.to_string()))?;
        Network::named(architectures::layers(&architecture, 3, 10), Shape::Image([3, side, side]), Seed(1))
    };
    let adam = Optimizer::Adam(Adam::default());
    let case = match name.as_str() {
        "mlp" => {
            let layers = vec![
                Layer::Linear { inputs: 64, outputs: 128 },
                Layer::Activation(Activation::Relu),
                Layer::Linear { inputs: 128, outputs: 10 },
            ];
            Case {
                network: Network::new(layers, 64, Seed(1))?,
                row: vec![64],
                batch_size: 256,
                n_steps: 1000,
                optimizer: adam,
            }
        }
        "small_resnet" => Case {
            network: image("small_resnet", 32)?,
            row: vec![3, 32, 32],
            batch_size: 64,
            n_steps: 40,
            optimizer: Optimizer::Adamw(Adam::default()),
        },
        "resnet18" | "start" => Case {
            network: image("resnet18", 224)?,
            row: vec![3, 224, 224],
            batch_size: 16,
            n_steps: if name == "start" { 1 } else { 6 },
            optimizer: Optimizer::Sgd(Sgd { momentum: 0.9, nesterov: false }),
        },
        "linear_probe" => return probe(image("resnet18", 96)?, threads),
        other => return Err(TensorError::failed(format!("there is no case `{other}`"))),
    };
    let n_rows = case.batch_size * case.n_steps.min(20);
    let rows = rows(&case.row, n_rows)?;
    let training = |epochs| Training {
        optimizer: case.optimizer,
        learning_rate: 1e-3,
        schedule: LearningRateSchedule::Constant,
        batch_size: case.batch_size,
        epochs,
        threads,
        ..Training::new(Loss::CrossEntropy { label_smoothing: 0.0 }, Seed(1))
    };
    let epochs = case.n_steps.div_ceil(n_rows / case.batch_size);
    if name != "start" {
        train(&case.network, &rows, None, &training(1))?;
    }
    let start = if name == "start" { begun } else { Instant::now() };
    train(&case.network, &rows, None, &training(epochs))?;
    let n_steps = epochs * n_rows / case.batch_size;
    println!(
        "{{\"seconds_per_step\": {}, \"peak_rss\": {}}}",
        start.elapsed().as_secs_f64() / n_steps as f64,
        peak_rss()
    );
    Ok(())
}

/// Seconds of an epoch of a head on what a frozen network remembers, and of the same with the network run in each.
fn probe(network: Network, threads: usize) -> Result<()> {
    let rows = rows(&[3, 96, 96], 256)?;
    let head = network.head().map(|head| head.tensors).unwrap_or_default().into_iter().collect();
    let seconds = |epochs| {
        let start = Instant::now();
        let training = Training {
            thawed: vec![Thawed { epoch: 1, parameters: std::clone::Clone::clone(&head) }],
            epochs,
            threads,
            ..Training::new(Loss::CrossEntropy { label_smoothing: 0.0 }, Seed(1))
        };
        train(&network, &rows, None, &training).map(|_| start.elapsed().as_secs_f64())
    };
    seconds(1)?;
    let (one, many) = (seconds(1)?, seconds(21)?);
    println!("{{\"first_epoch\": {one}, \"further_epoch\": {}}}", (many - one) / 20.0);
    Ok(())
}

fn rows(row: &[i64], n_rows: usize) -> Result<Examples> {
    let size: Vec<i64> = [n_rows as i64].into_iter().chain(row.iter().copied()).collect();
    let inputs = Tensor::f_rand(&size, (tch::Kind::Float, tch::Device::Cpu))?;
    let codes = (0..n_rows).map(|row| (row % 10) as u32).collect();
    Examples::of(inputs, &Target::Classes { codes, n_classes: 10 }, None, Device::Cpu)
}

/// The greatest resident memory of this process in bytes.
fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}
