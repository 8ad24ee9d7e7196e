//! What networks over columns are made of.

use retune_spec::estimators::{Activation, ImageNetwork, Mlp, Norm, TabTransformer, TabularResnet};
use retune_tensor::layer::numbered;
use retune_tensor::{Layer, Named, architectures};

/// What a network is made of.
pub trait Layers {
    /// The layers from columns with so many levels, or numbers, to `n_outputs`.
    fn layers(&self, columns: &[Option<usize>], n_outputs: usize) -> Vec<Named>;
}

const RELU: Layer = Layer::Activation(Activation::Relu);

impl Layers for Mlp {
    fn layers(&self, columns: &[Option<usize>], n_outputs: usize) -> Vec<Named> {
        let mut layers = Vec::with_capacity(4 * self.hidden.len() + 1);
        let mut inputs = columns.len();
        for &outputs in &self.hidden {
            layers.push(Layer::Linear { inputs, outputs });
            layers.extend(match self.norm {
                Norm::None => None,
                Norm::Batch => Some(Layer::batch_norm(outputs)),
                Norm::Layer => Some(Layer::LayerNorm(outputs)),
            });
            layers.extend([Layer::Activation(self.activation), Layer::Dropout(self.dropout)]);
            inputs = outputs;
        }
        layers.push(Layer::Linear { inputs, outputs: n_outputs });
        numbered(layers)
    }
}

impl Layers for TabularResnet {
    /// As the `ResNet` of the paper's code (rtdl).
    fn layers(&self, columns: &[Option<usize>], n_outputs: usize) -> Vec<Named> {
        let (width, dropout) = (self.width, Layer::Dropout(self.dropout));
        let within = ((width as f64 * self.expansion).round() as usize).max(1);
        let block = Layer::residual(vec![
            Layer::batch_norm(width),
            Layer::Linear { inputs: width, outputs: within },
            RELU,
            dropout.clone(),
            Layer::Linear { inputs: within, outputs: width },
            dropout,
        ]);
        let layers = [Layer::Linear { inputs: columns.len(), outputs: width }]
            .into_iter()
            .chain(vec![block; self.blocks])
            .chain([Layer::batch_norm(width), RELU, Layer::Linear { inputs: width, outputs: n_outputs }]);
        numbered(layers.collect())
    }
}

impl Layers for TabTransformer {
    /// As the `FTTransformer` of the paper's code (rtdl): norms before attention, but for the first, and before the feed-forward layers.
    fn layers(&self, columns: &[Option<usize>], n_outputs: usize) -> Vec<Named> {
        let &Self { width, heads, dropout, .. } = self;
        // Half of what the first layer gives opens or closes the other half, so that these layers have as many weights as ones of twice the width.
        let within = (width * 4).div_ceil(3);
        let feed_forward = Layer::residual(vec![
            Layer::LayerNorm(width),
            Layer::Linear { inputs: width, outputs: 2 * within },
            Layer::ReGlu,
            Layer::Dropout(dropout),
            Layer::Linear { inputs: within, outputs: width },
        ]);
        let attention = |block: usize| {
            let norm = (block > 0).then_some(Layer::LayerNorm(width));
            Layer::residual(norm.into_iter().chain([Layer::Attention { width, heads, dropout }]).collect())
        };
        let layers = [Layer::Tokens { levels: columns.to_vec(), width }]
            .into_iter()
            .chain((0..self.blocks).flat_map(|block| [attention(block), feed_forward.clone()]))
            .chain([
                Layer::FirstToken,
                Layer::LayerNorm(width),
                RELU,
                Layer::Linear { inputs: width, outputs: n_outputs },
            ]);
        numbered(layers.collect())
    }
}

impl Layers for ImageNetwork {
    fn layers(&self, _columns: &[Option<usize>], n_outputs: usize) -> Vec<Named> {
        architectures::layers(&self.architecture, self.input.mode.channels(), n_outputs)
    }
}
