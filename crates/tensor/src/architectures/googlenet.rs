//! GoogLeNet (Szegedy et al. 2015), with batch norms as torchvision's.

use super::{RELU, convolution, linear, max_pool, sequence};
use crate::layer::{Convolution, Layer, Named};

/// torchvision's epsilon of these batch norms.
const EPSILON: f64 = 1e-3;

/// The weight of the loss of an auxiliary head (Szegedy et al. 2015).
const AUXILIARY: f64 = 0.3;

/// torchvision's `googlenet`, with its two auxiliary heads or without them. Filters of 5 x 5 are of 3 x 3 there, and so they are here.
pub fn layers(auxiliary: bool, dropout: f64, channels: usize, n_outputs: usize) -> Vec<Named> {
    let pool = |number: usize, kernel| max_pool(kernel, 2, 0, true).named(format!("maxpool{number}"));
    let head = |number: usize, inputs| {
        let head = Layer::Auxiliary { weight: AUXILIARY, head: head(inputs, n_outputs) };
        auxiliary.then(|| head.named(format!("aux{number}")))
    };
    let mut layers = vec![
        normed(convolution(channels, 64, 7, 2), "conv1"),
        pool(1, 3),
        normed(convolution(64, 64, 1, 1), "conv2"),
        normed(convolution(64, 192, 3, 1), "conv3"),
        pool(2, 3),
        inception(192, [64, 96, 128, 16, 32, 32], "inception3a"),
        inception(256, [128, 128, 192, 32, 96, 64], "inception3b"),
        pool(3, 3),
        inception(480, [192, 96, 208, 16, 48, 64], "inception4a"),
    ];
    layers.extend(head(1, 512));
    layers.extend([
        inception(512, [160, 112, 224, 24, 64, 64], "inception4b"),
        inception(512, [128, 128, 256, 24, 64, 64], "inception4c"),
        inception(512, [112, 144, 288, 32, 64, 64], "inception4d"),
    ]);
    layers.extend(head(2, 528));
    layers.extend([
        inception(528, [256, 160, 320, 32, 128, 128], "inception4e"),
        pool(4, 2),
        inception(832, [256, 160, 320, 32, 128, 128], "inception5a"),
        inception(832, [384, 192, 384, 48, 128, 128], "inception5b"),
        Layer::AdaptivePool(1).unnamed(),
        Layer::Flatten.unnamed(),
        Layer::Dropout(dropout).unnamed(),
        linear(1024, n_outputs).named("fc"),
    ]);
    layers
}

fn normed(filter: Convolution, name: &str) -> Named {
    let norm = Layer::BatchNorm { width: filter.outputs, epsilon: EPSILON };
    sequence([Layer::Convolution(filter).named("conv"), norm.named("bn"), RELU.unnamed()]).named(name)
}

/// Four branches beside each other: the channels of filters of 1 x 1, of 3 x 3 behind fewer, twice, and of 1 x 1 behind a pool.
fn inception(inputs: usize, widths: [usize; 6], name: &str) -> Named {
    let [single, before_first, first, before_second, second, pooled] = widths;
    let behind = |before, width, name: &str| {
        sequence([normed(convolution(inputs, before, 1, 1), "0"), normed(convolution(before, width, 3, 1), "1")])
            .named(name)
    };
    let branches = vec![
        normed(convolution(inputs, single, 1, 1), "branch1"),
        behind(before_first, first, "branch2"),
        behind(before_second, second, "branch3"),
        sequence([max_pool(3, 1, 1, true).unnamed(), normed(convolution(inputs, pooled, 1, 1), "1")]).named("branch4"),
    ];
    Layer::Concatenation(branches).named(name)
}

fn head(inputs: usize, n_outputs: usize) -> Vec<Named> {
    vec![
        Layer::AdaptivePool(4).unnamed(),
        normed(convolution(inputs, 128, 1, 1), "conv"),
        Layer::Flatten.unnamed(),
        linear(2048, 1024).named("fc1"),
        RELU.unnamed(),
        Layer::Dropout(0.7).unnamed(),
        linear(1024, n_outputs).named("fc2"),
    ]
}
