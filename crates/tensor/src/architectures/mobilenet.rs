//! MobileNetV2 (Sandler et al. 2018).

use retune_spec::estimators::Activation;

use super::{convolution, counted, divisible, linear, sequence};
use crate::layer::{Convolution, Layer, Named};

/// Expansion, channels, blocks and stride of each part.
const PARTS: [[usize; 4]; 7] =
    [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]];

const LAST: usize = 1280;

/// torchvision's `mobilenet_v2`.
pub fn v2(dropout: f64, channels: usize, n_outputs: usize) -> Vec<Named> {
    let mut inputs = divisible(32.0);
    let mut features = vec![normed(convolution(channels, inputs, 3, 2))];
    for [expansion, width, n_blocks, stride] in PARTS {
        for block in 0..n_blocks {
            features.push(inverted(inputs, width, if block == 0 { stride } else { 1 }, expansion));
            inputs = width;
        }
    }
    features.push(normed(convolution(inputs, LAST, 1, 1)));
    vec![
        counted(features).named("features"),
        Layer::AdaptivePool(1).unnamed(),
        Layer::Flatten.unnamed(),
        counted([Layer::Dropout(dropout), linear(LAST, n_outputs)]).named("classifier"),
    ]
}

fn normed(filter: Convolution) -> Layer {
    counted([Layer::Convolution(filter), Layer::batch_norm(filter.outputs), Layer::Activation(Activation::Relu6)])
}

fn inverted(inputs: usize, outputs: usize, stride: usize, expansion: usize) -> Layer {
    let width = inputs * expansion;
    let mut layers = Vec::new();
    if expansion > 1 {
        layers.push(normed(convolution(inputs, width, 1, 1)));
    }
    layers.push(normed(Convolution { groups: width, ..convolution(width, width, 3, stride) }));
    layers.push(Layer::Convolution(convolution(width, outputs, 1, 1)));
    layers.push(Layer::batch_norm(outputs));
    let body = vec![counted(layers).named("conv")];
    if stride == 1 && inputs == outputs { Layer::Residual { body, shortcut: Vec::new() } } else { sequence(body) }
}
