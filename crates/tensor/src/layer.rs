//! What networks are made of.

mod forward;

use retune_spec::estimators::Activation;
use serde::{Deserialize, Serialize};

use crate::{Result, TensorError};
pub(crate) use forward::run;
pub use forward::{ForwardPass, Mode};

/// One layer of a network. Rows are [rows, width], [rows, tokens, width] between [`Layer::Tokens`] and [`Layer::FirstToken`], or images
/// [rows, channels, height, width] before [`Layer::Flatten`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// `x W^T + b`.
    Linear {
        /// The width that comes in.
        inputs: usize,
        /// The width that goes out.
        outputs: usize,
    },
    /// A square filter over images.
    Convolution(Convolution),
    /// An activation function.
    Activation(Activation),
    /// The first half of the width times the positive part of the second (Shazeer 2020).
    ReGlu,
    /// Drops this share of the activations in training and scales the others, so that their mean stays.
    Dropout(f64),
    /// Drops this share of the rows' activations altogether in training and scales the others: of use at the end of a residual body (Huang et al. 2016).
    DropPath(f64),
    /// Each activation, or each channel of images, by its mean and deviation over the batch, in training, or by running ones, which training moves by a tenth in
    /// each step, in prediction (Ioffe & Szegedy 2015); then a learned line. A training step needs two values of each. Where its line is not learned, training
    /// takes the running ones too.
    BatchNorm {
        /// The width or the channels.
        width: usize,
        /// Added to the variance; PyTorch's default is 1e-5.
        epsilon: f64,
    },
    /// The activations of a row or token by their mean and deviation, then a learned line (Ba et al. 2016).
    LayerNorm(usize),
    /// The greatest or the mean value under a square window.
    Pool(Pool),
    /// The mean values of as many parts of an image as this many rows and columns of them.
    AdaptivePool(usize),
    /// Images [rows, channels, height, width] as rows [rows, channels * height * width].
    Flatten,
    /// Columns as tokens behind one that gathers, as FT-Transformer (Gorishniy et al. 2021) embeds them: a number by a learned line, a level by a vector of its own.
    Tokens {
        /// For each column the number of its levels, which come as 0, 1, ... or NaN for another or none; `None` for numbers.
        levels: Vec<Option<usize>>,
        /// The width of a token.
        width: usize,
    },
    /// Multi-head attention of all tokens to all (Vaswani et al. 2017), as PyTorch's `MultiheadAttention`.
    Attention {
        /// The width of a token, a multiple of `heads`.
        width: usize,
        /// How many heads.
        heads: usize,
        /// The share of the attention dropped in training.
        dropout: f64,
    },
    /// The first token of each row.
    FirstToken,
    /// One layer after the other.
    Sequence(Vec<Named>),
    /// What the body makes of `x`, plus what the shortcut makes of it; an empty shortcut is `x` itself.
    Residual {
        /// The layers around which the connection leads.
        body: Vec<Named>,
        /// The layers of the connection.
        shortcut: Vec<Named>,
    },
    /// What each branch makes of `x`, one after the other along the channels or the width. An empty [`Layer::Sequence`] is `x` itself.
    Concatenation(Vec<Named>),
    /// `x` times what the layers make of it.
    Gate(Vec<Named>),
    /// `x`; in training a head of its own, whose loss counts so much, looks at it too (Szegedy et al. 2015).
    Auxiliary {
        /// The weight of its loss.
        weight: f64,
        /// The layers of the head.
        head: Vec<Named>,
    },
}

/// A layer and what the names of its tensors begin with: nothing, or a name, to which those within are added after a dot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// The name; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The layer.
    pub layer: Layer,
}

/// See [`Layer::Convolution`]; as PyTorch's `Conv2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    /// Channels that come in.
    pub inputs: usize,
    /// Channels that go out.
    pub outputs: usize,
    /// The side of the filter in pixels.
    pub kernel: usize,
    /// Pixels from one place of the filter to the next.
    pub stride: usize,
    /// Zeros around the image in pixels.
    pub padding: usize,
    /// The channels are divided into so many groups, which do not see each other.
    pub groups: usize,
    /// Whether a learned number is added to each channel.
    pub bias: bool,
}

/// See [`Layer::Pool`]; as PyTorch's `MaxPool2d` and `AvgPool2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// What is taken of the values under the window.
    pub of: PoolOf,
    /// The side of the window in pixels.
    pub kernel: usize,
    /// Pixels from one place of the window to the next.
    pub stride: usize,
    /// Pixels around the image.
    pub padding: usize,
    /// Whether a window that sticks out at the end counts.
    pub ceil: bool,
}

/// What is taken of the values under a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolOf {
    /// The greatest.
    Max,
    /// The mean.
    Mean,
}

/// What a row is between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// So many numbers.
    Features(usize),
    /// So many tokens of a width.
    Tokens(usize, usize),
    /// Channels, height and width.
    Image([usize; 3]),
}

/// A tensor that a layer keeps.
pub(crate) struct Blueprint {
    pub name: &'static str,
    pub size: Vec<usize>,
    pub start: Start,
    pub role: Role,
}

/// What a tensor starts as.
pub(crate) enum Start {
    /// Uniform within one by the square root of a width: PyTorch's, and FT-Transformer's for tokens.
    Uniform(usize),
    /// The same, and zero in the last rows: no training row may ever move what stands for unknown levels.
    UniformBut(usize, usize),
    /// Normal with the variance two by a width: He et al. 2015, as torchvision starts filters.
    Normal(usize),
    Zeros,
    Ones,
}

/// What training does to a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is learned, and weight decay pulls on it.
    Matrix,
    /// It is learned: a bias that is added to what a matrix gives.
    Bias,
    /// It is learned: the line of a norm.
    Norm,
    /// It is learned: tokens.
    Token,
    /// It is counted along: the statistics of batch norms.
    Statistic,
}

impl Layer {
    /// The layer under a name.
    pub fn named(self, name: impl Into<String>) -> Named {
        Named { name: name.into(), layer: self }
    }

    /// The layer without a name of its own.
    pub fn unnamed(self) -> Named {
        self.named("")
    }

    /// A batch norm with PyTorch's epsilon.
    pub fn batch_norm(width: usize) -> Self {
        Self::BatchNorm { width, epsilon: NORM_EPSILON }
    }

    /// `x` plus what layers without names make of it.
    pub fn residual(body: Vec<Self>) -> Self {
        Self::Residual { body: body.into_iter().map(Self::unnamed).collect(), shortcut: Vec::new() }
    }

    /// The tensors that the layer keeps, without those of layers within it.
    pub(crate) fn blueprints(&self) -> Vec<Blueprint> {
        let tensor = |name, size: &[usize], start, role| Blueprint { name, size: size.to_vec(), start, role };
        match self {
            &Self::Linear { inputs, outputs } => vec![
                tensor("weight", &[outputs, inputs], Start::Uniform(inputs), Role::Matrix),
                tensor("bias", &[outputs], Start::Uniform(inputs), Role::Bias),
            ],
            Self::Convolution(Convolution { inputs, outputs, kernel, groups, bias, .. }) => {
                let (of_output, of_input) = (outputs / groups * kernel * kernel, inputs / groups * kernel * kernel);
                let size = [*outputs, inputs / groups, *kernel, *kernel];
                let weight = tensor("weight", &size, Start::Normal(of_output), Role::Matrix);
                let bias = bias.then(|| tensor("bias", &[*outputs], Start::Uniform(of_input), Role::Bias));
                [weight].into_iter().chain(bias).collect()
            }
            &Self::LayerNorm(width) => vec![
                tensor("weight", &[width], Start::Ones, Role::Norm),
                tensor("bias", &[width], Start::Zeros, Role::Norm),
            ],
            &Self::BatchNorm { width, .. } => vec![
                tensor("weight", &[width], Start::Ones, Role::Norm),
                tensor("bias", &[width], Start::Zeros, Role::Norm),
                tensor("running_mean", &[width], Start::Zeros, Role::Statistic),
                tensor("running_var", &[width], Start::Ones, Role::Statistic),
            ],
            &Self::Attention { width, .. } => vec![
                tensor("in.weight", &[3 * width, width], Start::Uniform(width), Role::Matrix),
                tensor("in.bias", &[3 * width], Start::Zeros, Role::Bias),
                tensor("out.weight", &[width, width], Start::Uniform(width), Role::Matrix),
                tensor("out.bias", &[width], Start::Zeros, Role::Bias),
            ],
            Self::Tokens { levels, width } => {
                let uniform = || Start::Uniform(*width);
                let mut tensors = vec![
                    tensor("class", &[*width], uniform(), Role::Token),
                    tensor("bias", &[levels.len(), *width], uniform(), Role::Token),
                ];
                let known: Vec<usize> = levels.iter().flatten().copied().collect();
                if known.len() < levels.len() {
                    tensors.push(tensor("numbers", &[levels.len() - known.len(), *width], uniform(), Role::Token));
                }
                if !known.is_empty() {
                    let size = [known.iter().sum::<usize>() + known.len(), *width];
                    tensors.push(tensor("levels", &size, Start::UniformBut(*width, known.len()), Role::Token));
                }
                tensors
            }
            _ => Vec::new(),
        }
    }

    /// The lists of layers within.
    pub(crate) fn within(&self) -> Vec<&Vec<Named>> {
        match self {
            Self::Sequence(layers)
            | Self::Concatenation(layers)
            | Self::Gate(layers)
            | Self::Auxiliary { head: layers, .. } => vec![layers],
            Self::Residual { body, shortcut } => vec![body, shortcut],
            _ => Vec::new(),
        }
    }

    /// The same, to change them.
    pub(crate) fn within_mut(&mut self) -> Vec<&mut Vec<Named>> {
        match self {
            Self::Sequence(layers)
            | Self::Concatenation(layers)
            | Self::Gate(layers)
            | Self::Auxiliary { head: layers, .. } => vec![layers],
            Self::Residual { body, shortcut } => vec![body, shortcut],
            _ => Vec::new(),
        }
    }

    /// Whether it computes next to nothing.
    pub(crate) fn is_light(&self) -> bool {
        matches!(self, Self::Activation(_) | Self::Dropout(_) | Self::DropPath(_) | Self::Flatten | Self::FirstToken)
    }

    /// Whether it is a norm, which belongs to the layer before it.
    pub(crate) fn is_norm(&self) -> bool {
        matches!(self, Self::BatchNorm { .. } | Self::LayerNorm(_))
    }

    /// What goes out where `shape` comes in. Fails where the layer does not fit.
    pub(crate) fn shape_after(&self, shape: Shape) -> Result<Shape> {
        let misfit = || TensorError::failed(format!("the layer {} does not fit {}", self.word(), shape.told()));
        match (self, shape) {
            (Self::Linear { inputs, outputs }, Shape::Features(width)) if width == *inputs && *outputs > 0 => {
                Ok(Shape::Features(*outputs))
            }
            (Self::Convolution(filter), Shape::Image([channels, height, width])) => {
                let divides = filter.groups > 0
                    && filter.inputs.is_multiple_of(filter.groups)
                    && filter.outputs.is_multiple_of(filter.groups);
                if channels != filter.inputs || !divides || filter.outputs == 0 {
                    return Err(misfit());
                }
                let side = |side| window(side, filter.kernel, filter.stride, filter.padding, false);
                let (height, width) = side(height).zip(side(width)).ok_or_else(|| too_small(self, shape))?;
                Ok(Shape::Image([filter.outputs, height, width]))
            }
            (Self::Pool(pool), Shape::Image([channels, height, width])) => {
                let side = |side| window(side, pool.kernel, pool.stride, pool.padding, pool.ceil);
                let (height, width) = side(height).zip(side(width)).ok_or_else(|| too_small(self, shape))?;
                Ok(Shape::Image([channels, height, width]))
            }
            (Self::AdaptivePool(side), Shape::Image([channels, ..])) if *side > 0 => {
                Ok(Shape::Image([channels, *side, *side]))
            }
            (Self::Flatten, Shape::Image([channels, height, width])) => Ok(Shape::Features(channels * height * width)),
            (Self::Flatten, Shape::Features(_)) => Ok(shape),
            (Self::BatchNorm { width, .. }, Shape::Features(inputs) | Shape::Image([inputs, ..]))
                if *width == inputs =>
            {
                Ok(shape)
            }
            (Self::LayerNorm(width), Shape::Features(inputs) | Shape::Tokens(_, inputs)) if *width == inputs => {
                Ok(shape)
            }
            (Self::Attention { width, heads, .. }, Shape::Tokens(_, inputs))
                if *width == inputs && *heads > 0 && width.is_multiple_of(*heads) =>
            {
                Ok(shape)
            }
            (Self::Tokens { levels, width }, Shape::Features(columns)) if levels.len() == columns && *width > 0 => {
                Ok(Shape::Tokens(columns + 1, *width))
            }
            (Self::FirstToken, Shape::Tokens(_, width)) => Ok(Shape::Features(width)),
            (Self::ReGlu, Shape::Features(width)) if width.is_multiple_of(2) => Ok(Shape::Features(width / 2)),
            (Self::ReGlu, Shape::Tokens(tokens, width)) if width.is_multiple_of(2) => {
                Ok(Shape::Tokens(tokens, width / 2))
            }
            // Linear layers see each token by itself.
            (Self::Linear { inputs, outputs }, Shape::Tokens(tokens, width)) if width == *inputs && *outputs > 0 => {
                Ok(Shape::Tokens(tokens, *outputs))
            }
            (Self::Sequence(layers), _) => shape_after(layers, shape),
            (Self::Residual { body, shortcut }, _) => {
                let (around, after) = (shape_after(shortcut, shape)?, shape_after(body, shape)?);
                if around == after { Ok(after) } else { Err(misfit()) }
            }
            (Self::Gate(layers), _) => match (shape, shape_after(layers, shape)?) {
                (Shape::Image([channels, ..]), Shape::Image([gates, 1, 1])) if channels == gates => Ok(shape),
                (_, after) if after == shape => Ok(shape),
                _ => Err(misfit()),
            },
            (Self::Concatenation(branches), _) => {
                let shapes =
                    branches.iter().map(|branch| branch.layer.shape_after(shape)).collect::<Result<Vec<_>>>()?;
                joined(&shapes).ok_or_else(misfit)
            }
            (Self::Auxiliary { head, .. }, _) => match shape_after(head, shape)? {
                Shape::Features(_) => Ok(shape),
                _ => Err(misfit()),
            },
            (Self::Activation(_) | Self::Dropout(_) | Self::DropPath(_), _) => Ok(shape),
            _ => Err(misfit()),
        }
    }

    /// What messages call it.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Linear { inputs, outputs } => format!("linear {inputs} -> {outputs}"),
            Self::Convolution(filter) => {
                let Convolution { inputs, outputs, kernel, .. } = filter;
                format!("convolution {inputs} -> {outputs}, {kernel} x {kernel}")
            }
            Self::BatchNorm { width, .. } => format!("batch_norm {width}"),
            Self::LayerNorm(width) => format!("layer_norm {width}"),
            Self::Attention { width, heads, .. } => format!("attention {width} of {heads} heads"),
            Self::Pool(pool) => format!("pool {} x {}", pool.kernel, pool.kernel),
            Self::Activation(_) => "activation".to_owned(),
            Self::ReGlu => "re_glu".to_owned(),
            Self::Dropout(_) => "dropout".to_owned(),
            Self::DropPath(_) => "drop_path".to_owned(),
            Self::AdaptivePool(side) => format!("adaptive_pool {side}"),
            Self::Flatten => "flatten".to_owned(),
            Self::Tokens { levels, width } => format!("tokens of {} columns, width {width}", levels.len()),
            Self::FirstToken => "first_token".to_owned(),
            Self::Sequence(_) => "sequence".to_owned(),
            Self::Residual { .. } => "residual".to_owned(),
            Self::Concatenation(_) => "concatenation".to_owned(),
            Self::Gate(_) => "gate".to_owned(),
            Self::Auxiliary { .. } => "auxiliary".to_owned(),
        }
    }
}

/// PyTorch's default of batch norms and layer norms.
pub(crate) const NORM_EPSILON: f64 = 1e-5;

impl Shape {
    /// What messages call it.
    pub(crate) fn told(self) -> String {
        match self {
            Self::Features(width) => format!("a width of {width}"),
            Self::Tokens(tokens, width) => format!("{tokens} tokens of width {width}"),
            Self::Image([channels, height, width]) => format!("images of {channels} x {height} x {width}"),
        }
    }
}

/// What layers in turn make of a shape. The place of one that does not fit is named.
pub(crate) fn shape_after(layers: &[Named], shape: Shape) -> Result<Shape> {
    layers.iter().try_fold(shape, |shape, Named { name, layer }| {
        let after = layer.shape_after(shape);
        after.map_err(|error| if name.is_empty() { error } else { TensorError(error.0.within(name.clone())) })
    })
}

/// The layers with the names `layers.N`, where N counts those that keep tensors, those within others too: how networks over columns are stored.
pub fn numbered(layers: Vec<Layer>) -> Vec<Named> {
    fn number(named: Named, next: &mut usize) -> Named {
        let Named { mut layer, .. } = named;
        let name = if layer.blueprints().is_empty() { String::new() } else { format!("layers.{next}") };
        *next += usize::from(!name.is_empty());
        for list in layer.within_mut() {
            *list = std::mem::take(list).into_iter().map(|inner| number(inner, next)).collect();
        }
        Named { name, layer }
    }
    let mut next = 0;
    layers.into_iter().map(|layer| number(layer.unnamed(), &mut next)).collect()
}

/// How often a window fits a side; `None` where it does not.
fn window(side: usize, kernel: usize, stride: usize, padding: usize, ceil: bool) -> Option<usize> {
    let free = (side + 2 * padding).checked_sub(kernel).filter(|_| kernel > 0)?;
    let steps = free.checked_div(stride)?;
    let sticks_out = ceil && free % stride > 0 && (steps + 1) * stride < side + padding;
    Some(steps + 1 + usize::from(sticks_out))
}

fn too_small(layer: &Layer, shape: Shape) -> TensorError {
    TensorError::failed(format!("{} are too small for the layer {}", shape.told(), layer.word()))
        .help("give a larger `size`, or a network for smaller images")
}

/// Shapes one after the other along the channels or the width.
fn joined(shapes: &[Shape]) -> Option<Shape> {
    let (first, rest) = shapes.split_first()?;
    rest.iter().try_fold(*first, |sum, shape| match (sum, *shape) {
        (Shape::Features(a), Shape::Features(b)) => Some(Shape::Features(a + b)),
        (Shape::Image([a, height, width]), Shape::Image([b, other_height, other_width]))
            if (height, width) == (other_height, other_width) =>
        {
            Some(Shape::Image([a + b, height, width]))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use retune_stage::Seed;
    use tch::{Kind, Tensor};

    use super::*;
    use crate::{Network, fixture};

    fn residual(layers: Vec<Layer>) -> Layer {
        Layer::residual(layers)
    }

    fn linear(inputs: usize, outputs: usize) -> Layer {
        Layer::Linear { inputs, outputs }
    }

    /// The layers of a reference architecture.
    fn architecture(name: &str) -> Vec<Layer> {
        let relu = || Layer::Activation(Activation::Relu);
        let attention = || Layer::Attention { width: 4, heads: 2, dropout: 0.0 };
        let feed_forward = || residual(vec![Layer::LayerNorm(4), linear(4, 10), Layer::ReGlu, linear(5, 4)]);
        let block = || residual(vec![Layer::batch_norm(5), linear(5, 8), relu(), linear(8, 5)]);
        match name {
            "mlp with batch norm" => {
                vec![linear(4, 5), Layer::batch_norm(5), Layer::Activation(Activation::Selu), linear(5, 3)]
            }
            "mlp with layer norm" => {
                vec![linear(4, 5), Layer::LayerNorm(5), Layer::Activation(Activation::Gelu), linear(5, 3)]
            }
            "tabular_resnet" => vec![linear(4, 5), block(), block(), Layer::batch_norm(5), relu(), linear(5, 3)],
            "tab_transformer" => vec![
                Layer::Tokens { levels: vec![None, Some(3), None, Some(2)], width: 4 },
                residual(vec![attention()]),
                feed_forward(),
                residual(vec![Layer::LayerNorm(4), attention()]),
                feed_forward(),
                Layer::FirstToken,
                Layer::LayerNorm(4),
                relu(),
                linear(4, 3),
            ],
            other => panic!("{other}"),
        }
    }

    /// Within 1e-5 of PyTorch's, as a share of numbers above one.
    fn close(ours: &Tensor, theirs: &[f32], what: &str) {
        let scale = |value: &f32| value.abs().max(1.0);
        let scaled: Vec<f32> =
            fixture::values(ours).iter().zip(theirs).map(|(ours, theirs)| ours / scale(theirs)).collect();
        let theirs: Vec<f32> = theirs.iter().map(|value| value / scale(value)).collect();
        fixture::close(&scaled, &theirs, 1e-5, what);
    }

    #[test]
    fn architectures_are_pytorchs() {
        for case in fixture::read().architectures {
            let network = fixture::with(architecture(&case.name), fixture::formula);
            let sizes: Vec<_> = network.tensors().map(|(_, tensor)| tensor.size()).collect();
            assert_eq!(sizes, case.tensors, "{}", case.name);
            let features: Vec<f32> = case.features.iter().flatten().map(|value| value.unwrap_or(f32::NAN)).collect();
            let features = Tensor::from_slice(&features).reshape([-1, 4]);
            close(&network.forward(&features, &mut Mode::Predict).unwrap(), &case.output, &case.name);
            network.learn(|_, _| true).unwrap();
            let mut pass = ForwardPass::new(Seed(1));
            let output = network.forward(&features, &mut Mode::Train(&mut pass)).unwrap();
            close(&output, &case.training_output, &format!("{}, training", case.name));
            let statistics: Vec<_> = network.tensors().filter(|(name, _)| name.contains("running")).collect();
            assert_eq!(statistics.len(), case.statistics.len());
            for ((name, ours), theirs) in statistics.into_iter().zip(&case.statistics) {
                close(ours, theirs, &format!("{}, {name}", case.name));
            }
        }
    }

    #[test]
    fn layers_that_do_not_fit_are_refused() {
        let tokens = || Layer::Tokens { levels: vec![None; 4], width: 6 };
        let attention = |heads| Layer::Attention { width: 6, heads, dropout: 0.0 };
        for (layers, expected) in [
            (vec![linear(4, 3), linear(2, 2)], "the layer linear 2 -> 2 does not fit a width of 3"),
            (vec![linear(4, 3), Layer::batch_norm(4)], "the layer batch_norm 4 does not fit a width of 3"),
            (vec![linear(4, 3), Layer::ReGlu], "the layer re_glu does not fit a width of 3"),
            (vec![tokens(), attention(4)], "the layer attention 6 of 4 heads does not fit 5 tokens of width 6"),
            (vec![linear(0, 3)], "the layer linear 0 -> 3 does not fit a width of 4"),
            (vec![linear(4, 3), residual(vec![linear(3, 4)])], "the layer residual does not fit a width of 3"),
            (vec![tokens()], "the network ends in 5 tokens of width 6, not in numbers"),
        ] {
            let error = Network::new(layers, 4, Seed(1)).err().unwrap().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }

    #[test]
    fn dropout_drops_its_share_and_keeps_the_mean() {
        let ones = Tensor::ones([1000, 100], (Kind::Float, tch::Device::Cpu));
        let network = Network::new(vec![Layer::Dropout(0.3)], 100, Seed(0)).unwrap();
        let mut pass = ForwardPass::new(Seed(5));
        let output = network.forward(&ones, &mut Mode::Train(&mut pass)).unwrap();
        let dropped = output.eq(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        assert!((dropped - 0.3).abs() < 0.006, "{dropped}");
        assert!((output.mean(Kind::Float).double_value(&[]) - 1.0).abs() < 0.01);
        assert_eq!(network.forward(&ones, &mut Mode::Predict).unwrap(), ones);
    }

    #[test]
    fn attention_that_drops_next_to_nothing_is_attention() {
        let input =
            Tensor::from_slice(&(0..2 * 5 * 6).map(|at| (at as f32).sin()).collect::<Vec<_>>()).reshape([2, 5, 6]);
        let network = |dropout| {
            let layers =
                vec![Layer::Attention { width: 6, heads: 2, dropout }.named("attention"), Layer::FirstToken.unnamed()];
            Network::named(layers, Shape::Tokens(5, 6), Seed(3)).unwrap()
        };
        let expected = network(0.0).forward(&input, &mut Mode::Predict).unwrap();
        let mut pass = ForwardPass::new(Seed(5));
        let output = network(1e-9).forward(&input, &mut Mode::Train(&mut pass)).unwrap();
        assert!((output - &expected).abs().max().double_value(&[]) < 1e-6);
        let output = network(0.5).forward(&input, &mut Mode::Train(&mut pass)).unwrap();
        assert!((output - expected).abs().max().double_value(&[]) > 1e-3);
    }
}
