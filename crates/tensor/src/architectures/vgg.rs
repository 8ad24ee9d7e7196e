//! VGG (Simonyan & Zisserman 2015).

use retune_spec::estimators::Vgg;

use super::{RELU, convolution, counted, linear, max_pool};
use crate::layer::{Convolution, Layer, Named};

/// Filters of each of the five parts, and their channels.
type Parts = [usize; 5];

pub const VGG11: Parts = [1, 1, 2, 2, 2];
pub const VGG13: Parts = [2, 2, 2, 2, 2];
pub const VGG16: Parts = [2, 2, 3, 3, 3];
pub const VGG19: Parts = [2, 2, 4, 4, 4];
const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];

/// torchvision's `vggN` and, with batch norms, `vggN_bn`.
pub fn layers(parts: Parts, settings: &Vgg, channels: usize, n_outputs: usize) -> Vec<Named> {
    let mut features = Vec::new();
    let mut inputs = channels;
    for (n_filters, width) in parts.into_iter().zip(WIDTHS) {
        for _ in 0..n_filters {
            features.push(Layer::Convolution(Convolution { bias: true, ..convolution(inputs, width, 3, 1) }));
            features.extend(settings.batch_norm.then(|| Layer::batch_norm(width)));
            features.push(RELU);
            inputs = width;
        }
        features.push(max_pool(2, 2, 0, false));
    }
    let dropout = || Layer::Dropout(settings.dropout);
    let classifier =
        [linear(512 * 49, 4096), RELU, dropout(), linear(4096, 4096), RELU, dropout(), linear(4096, n_outputs)];
    vec![
        counted(features).named("features"),
        Layer::AdaptivePool(7).unnamed(),
        Layer::Flatten.unnamed(),
        counted(classifier).named("classifier"),
    ]
}
