//! LeNet-5 (LeCun et al. 1998) with ReLU and max pooling, for images of 28 x 28 pixels with a border of 2, or 28 x 28 as they are.

use super::{RELU, convolution, linear, max_pool};
use crate::layer::{Convolution, Layer, Named};

/// Two filters with pooling and three linear layers. Images of another size than 28 x 28 are brought to its grid of 5 x 5 by the mean.
pub fn layers(channels: usize, n_outputs: usize) -> Vec<Named> {
    let first = Convolution { bias: true, ..convolution(channels, 6, 5, 1) };
    let second = Convolution { bias: true, padding: 0, ..convolution(6, 16, 5, 1) };
    vec![
        Layer::Convolution(first).named("conv1"),
        RELU.unnamed(),
        max_pool(2, 2, 0, false).unnamed(),
        Layer::Convolution(second).named("conv2"),
        RELU.unnamed(),
        max_pool(2, 2, 0, false).unnamed(),
        Layer::AdaptivePool(5).unnamed(),
        Layer::Flatten.unnamed(),
        linear(16 * 25, 120).named("fc1"),
        RELU.unnamed(),
        linear(120, 84).named("fc2"),
        RELU.unnamed(),
        linear(84, n_outputs).named("fc3"),
    ]
}
