//! Networks that are known by name, with torchvision's layers and names, so that its state dicts fit.

mod densenet;
mod efficientnet;
mod googlenet;
mod lenet;
mod mobilenet;
mod resnet;
mod vgg;

use retune_spec::estimators::{Activation, Architecture};

use crate::layer::{Convolution, Layer, Named, Pool, PoolOf};

/// The layers of a network for images of so many channels, from pixels to so many outputs.
pub fn layers(architecture: &Architecture, channels: usize, n_outputs: usize) -> Vec<Named> {
    match architecture {
        Architecture::Lenet => lenet::layers(channels, n_outputs),
        Architecture::SmallResnet(settings) => resnet::small(settings.blocks, settings.width, channels, n_outputs),
        Architecture::Resnet18 => resnet::basic([2, 2, 2, 2], channels, n_outputs),
        Architecture::Resnet34 => resnet::basic([3, 4, 6, 3], channels, n_outputs),
        Architecture::Resnet50 => resnet::bottleneck([3, 4, 6, 3], channels, n_outputs),
        Architecture::Googlenet(settings) => {
            googlenet::layers(settings.auxiliary, settings.dropout, channels, n_outputs)
        }
        Architecture::Vgg11(settings) => vgg::layers(vgg::VGG11, settings, channels, n_outputs),
        Architecture::Vgg13(settings) => vgg::layers(vgg::VGG13, settings, channels, n_outputs),
        Architecture::Vgg16(settings) => vgg::layers(vgg::VGG16, settings, channels, n_outputs),
        Architecture::Vgg19(settings) => vgg::layers(vgg::VGG19, settings, channels, n_outputs),
        Architecture::MobilenetV2(settings) => mobilenet::v2(settings.dropout, channels, n_outputs),
        Architecture::EfficientnetB0(settings) => {
            efficientnet::b0(settings.dropout, settings.drop_path, channels, n_outputs)
        }
        Architecture::Densenet121(settings) => densenet::layers([6, 12, 24, 16], settings.dropout, channels, n_outputs),
    }
}

const RELU: Layer = Layer::Activation(Activation::Relu);

fn linear(inputs: usize, outputs: usize) -> Layer {
    Layer::Linear { inputs, outputs }
}

/// A filter without a bias that keeps the size of an image at stride 1.
fn convolution(inputs: usize, outputs: usize, kernel: usize, stride: usize) -> Convolution {
    Convolution { inputs, outputs, kernel, stride, padding: kernel / 2, groups: 1, bias: false }
}

fn max_pool(kernel: usize, stride: usize, padding: usize, ceil: bool) -> Layer {
    Layer::Pool(Pool { of: PoolOf::Max, kernel, stride, padding, ceil })
}

fn sequence(layers: impl IntoIterator<Item = Named>) -> Layer {
    Layer::Sequence(layers.into_iter().collect())
}

/// Layers with their places as names, as PyTorch's `Sequential` names them.
fn counted(layers: impl IntoIterator<Item = Layer>) -> Layer {
    sequence(layers.into_iter().enumerate().map(|(number, layer)| layer.named(number.to_string())))
}

/// The width that MobileNets and EfficientNets round to: the nearest multiple of 8, and not a tenth less.
fn divisible(width: f64) -> usize {
    let rounded = (((width + 4.0) / 8.0) as usize * 8).max(8);
    if (rounded as f64) < 0.9 * width { rounded + 8 } else { rounded }
}

#[cfg(test)]
mod tests;
