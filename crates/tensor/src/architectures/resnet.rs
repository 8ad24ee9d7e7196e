//! Residual networks (He et al. 2016).

use super::{RELU, convolution, counted, linear, max_pool, sequence};
use crate::layer::{Layer, Named};

/// torchvision's `resnet18` and `resnet34`.
pub fn basic(blocks: [usize; 4], channels: usize, n_outputs: usize) -> Vec<Named> {
    whole(stem(channels), 64, blocks, basic_block, 1, n_outputs)
}

/// torchvision's `resnet50`: the stride lies in the middle filter.
pub fn bottleneck(blocks: [usize; 4], channels: usize, n_outputs: usize) -> Vec<Named> {
    whole(stem(channels), 64, blocks, bottleneck_block, 4, n_outputs)
}

/// A residual network for images of about 32 x 32 pixels: filters of 3 x 3 at the input, then three layers of basic blocks, each of twice the channels of the one
/// before it and half its height and width (the form of He et al. 2016 for CIFAR-10, with filters in the shortcuts).
pub fn small(blocks: usize, width: usize, channels: usize, n_outputs: usize) -> Vec<Named> {
    let stem = vec![
        Layer::Convolution(convolution(channels, width, 3, 1)).named("conv1"),
        Layer::batch_norm(width).named("bn1"),
        RELU.unnamed(),
    ];
    whole(stem, width, [blocks; 3], basic_block, 1, n_outputs)
}

fn stem(channels: usize) -> Vec<Named> {
    let filter = convolution(channels, 64, 7, 2);
    vec![
        Layer::Convolution(filter).named("conv1"),
        Layer::batch_norm(64).named("bn1"),
        RELU.unnamed(),
        max_pool(3, 2, 1, false).unnamed(),
    ]
}

/// A block of so many channels in and within, at a stride.
type MakeBlock = fn(usize, usize, usize) -> Layer;

fn whole<const N: usize>(
    stem: Vec<Named>,
    width: usize,
    blocks: [usize; N],
    block: MakeBlock,
    expansion: usize,
    n_outputs: usize,
) -> Vec<Named> {
    let mut layers = stem;
    let mut inputs = width;
    for (number, n_blocks) in blocks.into_iter().enumerate() {
        let within = width << number;
        let stride = if number == 0 { 1 } else { 2 };
        let first = block(inputs, within, stride);
        inputs = within * expansion;
        let rest = (1..n_blocks).map(|_| block(inputs, within, 1));
        layers.push(counted([first].into_iter().chain(rest)).named(format!("layer{}", number + 1)));
    }
    layers.extend([Layer::AdaptivePool(1).unnamed(), Layer::Flatten.unnamed(), linear(inputs, n_outputs).named("fc")]);
    layers
}

fn basic_block(inputs: usize, width: usize, stride: usize) -> Layer {
    let body = vec![
        Layer::Convolution(convolution(inputs, width, 3, stride)).named("conv1"),
        Layer::batch_norm(width).named("bn1"),
        RELU.unnamed(),
        Layer::Convolution(convolution(width, width, 3, 1)).named("conv2"),
        Layer::batch_norm(width).named("bn2"),
    ];
    block(body, inputs, width, stride)
}

fn bottleneck_block(inputs: usize, width: usize, stride: usize) -> Layer {
    let body = vec![
        Layer::Convolution(convolution(inputs, width, 1, 1)).named("conv1"),
        Layer::batch_norm(width).named("bn1"),
        RELU.unnamed(),
        Layer::Convolution(convolution(width, width, 3, stride)).named("conv2"),
        Layer::batch_norm(width).named("bn2"),
        RELU.unnamed(),
        Layer::Convolution(convolution(width, 4 * width, 1, 1)).named("conv3"),
        Layer::batch_norm(4 * width).named("bn3"),
    ];
    block(body, inputs, 4 * width, stride)
}

fn block(body: Vec<Named>, inputs: usize, outputs: usize, stride: usize) -> Layer {
    let shortcut = if inputs == outputs && stride == 1 {
        Vec::new()
    } else {
        let filter = Layer::Convolution(convolution(inputs, outputs, 1, stride));
        vec![counted([filter, Layer::batch_norm(outputs)]).named("downsample")]
    };
    sequence([Layer::Residual { body, shortcut }.unnamed(), RELU.unnamed()])
}
