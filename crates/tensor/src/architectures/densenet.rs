//! DenseNet (Huang et al. 2017).

use super::{RELU, convolution, linear, max_pool, sequence};
use crate::layer::{Layer, Named, Pool, PoolOf};

const GROWTH: usize = 32;
const START: usize = 64;

/// torchvision's `densenet121`.
pub fn layers(blocks: [usize; 4], dropout: f64, channels: usize, n_outputs: usize) -> Vec<Named> {
    let mut width = START;
    let mut features = vec![
        Layer::Convolution(convolution(channels, START, 7, 2)).named("conv0"),
        Layer::batch_norm(START).named("norm0"),
        RELU.named("relu0"),
        max_pool(3, 2, 1, false).named("pool0"),
    ];
    for (number, n_layers) in blocks.into_iter().enumerate() {
        let layers = (0..n_layers).map(|layer| dense(width + layer * GROWTH, layer + 1, dropout).unnamed());
        features.push(sequence(layers).named(format!("denseblock{}", number + 1)));
        width += n_layers * GROWTH;
        if number + 1 < blocks.len() {
            features.push(transition(width).named(format!("transition{}", number + 1)));
            width /= 2;
        }
    }
    features.push(Layer::batch_norm(width).named("norm5"));
    vec![
        sequence(features).named("features"),
        RELU.unnamed(),
        Layer::AdaptivePool(1).unnamed(),
        Layer::Flatten.unnamed(),
        linear(width, n_outputs).named("classifier"),
    ]
}

/// What was there, and what the layer makes of it.
fn dense(inputs: usize, number: usize, dropout: f64) -> Layer {
    let within = 4 * GROWTH;
    let layers = [
        Layer::batch_norm(inputs).named("norm1"),
        RELU.named("relu1"),
        Layer::Convolution(convolution(inputs, within, 1, 1)).named("conv1"),
        Layer::batch_norm(within).named("norm2"),
        RELU.named("relu2"),
        Layer::Convolution(convolution(within, GROWTH, 3, 1)).named("conv2"),
        Layer::Dropout(dropout).unnamed(),
    ];
    let itself = sequence([]).unnamed();
    Layer::Concatenation(vec![itself, sequence(layers).named(format!("denselayer{number}"))])
}

fn transition(width: usize) -> Layer {
    let filter = convolution(width, width / 2, 1, 1);
    sequence([
        Layer::batch_norm(width).named("norm"),
        RELU.named("relu"),
        Layer::Convolution(filter).named("conv"),
        Layer::Pool(Pool { of: PoolOf::Mean, kernel: 2, stride: 2, padding: 0, ceil: false }).named("pool"),
    ])
}
