//! EfficientNet (Tan & Le 2019).

use retune_spec::estimators::Activation;

use super::{convolution, counted, linear, sequence};
use crate::layer::{Convolution, Layer, Named};

/// Expansion, side of the filter, stride, channels in and out, and blocks of each part.
const PARTS: [[usize; 6]; 7] = [
    [1, 3, 1, 32, 16, 1],
    [6, 3, 2, 16, 24, 2],
    [6, 5, 2, 24, 40, 2],
    [6, 3, 2, 40, 80, 3],
    [6, 5, 1, 80, 112, 3],
    [6, 5, 2, 112, 192, 4],
    [6, 3, 1, 192, 320, 1],
];

const SILU: Layer = Layer::Activation(Activation::Silu);

/// torchvision's `efficientnet_b0`.
pub fn b0(dropout: f64, drop_path: f64, channels: usize, n_outputs: usize) -> Vec<Named> {
    let n_blocks: usize = PARTS.iter().map(|part| part[5]).sum();
    let mut features = vec![normed(convolution(channels, 32, 3, 2))];
    let mut number = 0;
    for [expansion, kernel, stride, inputs, outputs, blocks] in PARTS {
        let mut part = Vec::new();
        for block in 0..blocks {
            let (inputs, stride) = if block == 0 { (inputs, stride) } else { (outputs, 1) };
            let share = drop_path * number as f64 / n_blocks as f64;
            part.push(inverted(inputs, outputs, kernel, stride, expansion, share));
            number += 1;
        }
        features.push(counted(part));
    }
    features.push(normed(convolution(320, 1280, 1, 1)));
    vec![
        counted(features).named("features"),
        Layer::AdaptivePool(1).unnamed(),
        Layer::Flatten.unnamed(),
        counted([Layer::Dropout(dropout), linear(1280, n_outputs)]).named("classifier"),
    ]
}

fn normed(filter: Convolution) -> Layer {
    counted([Layer::Convolution(filter), Layer::batch_norm(filter.outputs), SILU])
}

fn inverted(inputs: usize, outputs: usize, kernel: usize, stride: usize, expansion: usize, drop_path: f64) -> Layer {
    let width = inputs * expansion;
    let squeezed = (inputs / 4).max(1);
    let biased = |from, to| Layer::Convolution(Convolution { bias: true, ..convolution(from, to, 1, 1) });
    let gate = Layer::Gate(vec![
        Layer::AdaptivePool(1).unnamed(),
        biased(width, squeezed).named("fc1"),
        SILU.unnamed(),
        biased(squeezed, width).named("fc2"),
        Layer::Activation(Activation::Sigmoid).unnamed(),
    ]);
    let expanded = (expansion > 1).then(|| normed(convolution(inputs, width, 1, 1)));
    let filtered = normed(Convolution { groups: width, ..convolution(width, width, kernel, stride) });
    let narrowed = counted([Layer::Convolution(convolution(width, outputs, 1, 1)), Layer::batch_norm(outputs)]);
    let layers = expanded.into_iter().chain([filtered, gate, narrowed]);
    let mut body = vec![counted(layers).named("block")];
    if stride == 1 && inputs == outputs {
        body.push(Layer::DropPath(drop_path).unnamed());
        Layer::Residual { body, shortcut: Vec::new() }
    } else {
        sequence(body)
    }
}
