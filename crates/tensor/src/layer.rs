//! What networks are made of.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use retune_spec::estimators::Activation;
use tch::{Kind, Tensor};

use crate::{Result, TensorError};

/// One layer of a network. Rows are [rows, width], or [rows, tokens, width] between [`Layer::Tokens`] and [`Layer::FirstToken`].
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// `x W^T + b`.
    Linear {
        /// The width that comes in.
        inputs: usize,
        /// The width that goes out.
        outputs: usize,
    },
    /// An activation function.
    Activation(Activation),
    /// The first half of the width times the positive part of the second (Shazeer 2020).
    ReGlu,
    /// Drops this share of the activations in training and scales the others, so that their mean stays.
    Dropout(f64),
    /// Each activation by its mean and deviation over the batch, in training, or by running ones, which training moves by a tenth in each step, in prediction
    /// (Ioffe & Szegedy 2015); then a learned line. A training step needs two rows.
    BatchNorm(usize),
    /// The activations of a row or token by their mean and deviation, then a learned line (Ba et al. 2016).
    LayerNorm(usize),
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
    /// `x` plus what the layers make of it.
    Residual(Vec<Layer>),
}

/// What a forward pass is for.
pub enum Mode<'a> {
    /// Nothing is dropped, and batch norms use their running statistics.
    Predict,
    /// Activations are dropped; which, this generator says.
    Train(&'a mut ChaCha8Rng),
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
    Zeros,
    Ones,
}

/// What training does to a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is learned, and weight decay pulls on it.
    Matrix,
    /// It is learned: biases, norms, tokens.
    Other,
    /// It is counted along: the statistics of batch norms.
    Statistic,
}

/// PyTorch's defaults of batch norms and layer norms.
const NORM_EPSILON: f64 = 1e-5;
const NORM_MOMENTUM: f64 = 0.1;

impl Layer {
    /// The tensors that the layer keeps, without those of layers within it.
    pub(crate) fn blueprints(&self) -> Vec<Blueprint> {
        let tensor = |name, size: &[usize], start, role| Blueprint { name, size: size.to_vec(), start, role };
        match self {
            &Self::Linear { inputs, outputs } => vec![
                tensor("weight", &[outputs, inputs], Start::Uniform(inputs), Role::Matrix),
                tensor("bias", &[outputs], Start::Uniform(inputs), Role::Other),
            ],
            &Self::LayerNorm(width) => vec![
                tensor("weight", &[width], Start::Ones, Role::Other),
                tensor("bias", &[width], Start::Zeros, Role::Other),
            ],
            &Self::BatchNorm(width) => vec![
                tensor("weight", &[width], Start::Ones, Role::Other),
                tensor("bias", &[width], Start::Zeros, Role::Other),
                tensor("running_mean", &[width], Start::Zeros, Role::Statistic),
                tensor("running_variance", &[width], Start::Ones, Role::Statistic),
            ],
            &Self::Attention { width, .. } => vec![
                tensor("in.weight", &[3 * width, width], Start::Uniform(width), Role::Matrix),
                tensor("in.bias", &[3 * width], Start::Zeros, Role::Other),
                tensor("out.weight", &[width, width], Start::Uniform(width), Role::Matrix),
                tensor("out.bias", &[width], Start::Zeros, Role::Other),
            ],
            Self::Tokens { levels, width } => {
                let uniform = || Start::Uniform(*width);
                let mut tensors = vec![
                    tensor("class", &[*width], uniform(), Role::Other),
                    tensor("bias", &[levels.len(), *width], uniform(), Role::Other),
                ];
                let known: Vec<usize> = levels.iter().flatten().copied().collect();
                if known.len() < levels.len() {
                    tensors.push(tensor("numbers", &[levels.len() - known.len(), *width], uniform(), Role::Other));
                }
                if !known.is_empty() {
                    let size = [known.iter().sum::<usize>() + known.len(), *width];
                    tensors.push(tensor("levels", &size, Start::UniformBut(*width, known.len()), Role::Other));
                }
                tensors
            }
            Self::Activation(_) | Self::ReGlu | Self::Dropout(_) | Self::FirstToken | Self::Residual(_) => Vec::new(),
        }
    }

    /// The layers within.
    pub(crate) fn within(&self) -> &[Self] {
        if let Self::Residual(layers) = self { layers } else { &[] }
    }

    /// The width that goes out where `width` comes in, which is not known before the first layer. Fails where the layer does not fit.
    pub(crate) fn width_after(&self, width: Option<usize>) -> Result<Option<usize>> {
        let fits = |inputs: usize| inputs > 0 && width.is_none_or(|width| width == inputs);
        let after = match self {
            Self::Linear { inputs, outputs } => (fits(*inputs) && *outputs > 0).then_some(Some(*outputs)),
            Self::BatchNorm(inputs) | Self::LayerNorm(inputs) => fits(*inputs).then_some(Some(*inputs)),
            Self::Attention { width, heads, .. } => {
                (fits(*width) && *heads > 0 && width % heads == 0).then_some(Some(*width))
            }
            Self::Tokens { levels, width } => (fits(levels.len()) && *width > 0).then_some(Some(*width)),
            Self::ReGlu => width.is_none_or(|width| width % 2 == 0).then(|| width.map(|width| width / 2)),
            Self::Residual(layers) => {
                let after = layers.iter().try_fold(width, |width, layer| layer.width_after(width))?;
                (after == width).then_some(width)
            }
            Self::Activation(_) | Self::Dropout(_) | Self::FirstToken => Some(width),
        };
        after.ok_or_else(|| match width {
            Some(width) => TensorError::failed(format!("the layer {self:?} does not fit a width of {width}")),
            None => TensorError::failed(format!("the layer {self:?} has no width")),
        })
    }

    /// What the layer makes of its input; it takes its tensors off the front of `tensors`.
    pub(crate) fn forward(&self, input: &Tensor, tensors: &mut &[Tensor], mode: &mut Mode) -> Result<Tensor> {
        Ok(match self {
            Self::Linear { .. } => {
                let [weight, bias] = take(tensors)?;
                input.f_linear(weight, Some(bias))?
            }
            Self::Activation(activation) => activate(input, *activation)?,
            Self::ReGlu => {
                let half = input.size().last().map_or(0, |width| width / 2);
                input.f_narrow(-1, 0, half)?.f_mul(&input.f_narrow(-1, half, half)?.f_relu()?)?
            }
            Self::Dropout(share) => drop_out(input, *share, mode)?,
            Self::BatchNorm(_) => {
                let [weight, bias, mean, variance] = take(tensors)?.map(Some);
                let training = matches!(mode, Mode::Train(_));
                input.f_batch_norm(weight, bias, mean, variance, training, NORM_MOMENTUM, NORM_EPSILON, true)?
            }
            Self::LayerNorm(width) => {
                let [weight, bias] = take(tensors)?.map(Some);
                input.f_layer_norm([*width as i64], weight, bias, NORM_EPSILON, true)?
            }
            Self::Tokens { levels, .. } => tokens(input, levels, tensors)?,
            Self::Attention { heads, dropout, .. } => attend(input, *heads as i64, *dropout, take(tensors)?, mode)?,
            Self::FirstToken => input.f_select(1, 0)?, // [rows, width]
            Self::Residual(layers) => input.f_add(&run(layers, input, tensors, mode)?)?,
        })
    }
}

/// What layers in turn make of an input.
pub(crate) fn run(layers: &[Layer], input: &Tensor, tensors: &mut &[Tensor], mode: &mut Mode) -> Result<Tensor> {
    layers.iter().try_fold(input.shallow_clone(), |output, layer| layer.forward(&output, tensors, mode))
}

fn take<'a, const N: usize>(tensors: &mut &'a [Tensor]) -> Result<[&'a Tensor; N]> {
    let (taken, rest) =
        tensors.split_first_chunk().ok_or_else(|| TensorError::failed("a layer lacks its parameters"))?;
    *tensors = rest;
    Ok(taken.each_ref())
}

fn activate(input: &Tensor, activation: Activation) -> Result<Tensor> {
    Ok(match activation {
        Activation::Relu => input.f_relu()?,
        Activation::Gelu => input.f_gelu("none")?,
        Activation::Silu => input.f_silu()?,
        Activation::Selu => input.f_selu()?,
        Activation::Tanh => input.f_tanh()?,
    })
}

/// The token that gathers, then the columns of numbers, then those of levels [rows, 1 + columns, width].
fn tokens(input: &Tensor, levels: &[Option<usize>], tensors: &mut &[Tensor]) -> Result<Tensor> {
    let [class, bias] = take(tensors)?;
    let columns = |of_levels: bool| {
        let places = levels.iter().enumerate().filter(|(_, levels)| levels.is_some() == of_levels);
        let places: Vec<i64> = places.map(|(place, _)| place as i64).collect();
        Ok::<_, TensorError>(input.f_index_select(1, &Tensor::f_from_slice(&places)?.f_to(input.device())?)?)
    };
    let known: Vec<usize> = levels.iter().flatten().copied().collect();
    let mut embedded = Vec::new();
    if known.len() < levels.len() {
        let [lines] = take(tensors)?;
        embedded.push(columns(false)?.f_unsqueeze(-1)?.f_mul(lines)?); // [rows, columns of numbers, width]
    }
    if !known.is_empty() {
        let [vectors] = take(tensors)?;
        embedded.push(Tensor::f_embedding(vectors, &level_places(&columns(true)?, &known)?, -1, false, false)?);
    }
    let columns = Tensor::f_cat(&embedded, 1)?.f_add(bias)?;
    let class = class.f_expand([columns.size()[0], 1, class.size()[0]], false)?;
    Ok(Tensor::f_cat(&[class, columns], 1)?)
}

/// Where the vectors of levels lie: those of the columns one after another, then for each column that of what is unknown.
fn level_places(codes: &Tensor, known: &[usize]) -> Result<Tensor> {
    let ends = known.iter().scan(0, |end, &levels| {
        *end += levels as i64;
        Some(*end)
    });
    let starts: Vec<i64> = [0].into_iter().chain(ends).collect();
    let (n_levels, starts) = (starts[known.len()], &starts[..known.len()]);
    let unknown: Vec<i64> = (n_levels..).take(known.len()).collect();
    let [starts, unknown] = [starts, &unknown].map(|places| Tensor::f_from_slice(places)?.f_to(codes.device()));
    let is_unknown = codes.f_isnan()?;
    let places = codes.f_nan_to_num(0.0, None, None)?.f_to_kind(Kind::Int64)?.f_add(&starts?)?;
    Ok(unknown?.f_where_self(&is_unknown, &places)?)
}

fn attend(input: &Tensor, heads: i64, dropout: f64, tensors: [&Tensor; 4], mode: &mut Mode) -> Result<Tensor> {
    let [in_weight, in_bias, out_weight, out_bias] = tensors;
    let (rows, tokens, width) = input.size3()?;
    let parts = input.f_linear(in_weight, Some(in_bias))?.f_view([rows, tokens, 3, heads, width / heads])?;
    let parts = parts.f_permute([2, 0, 3, 1, 4])?; // [3, rows, heads, tokens, width of a head]
    let [queries, keys, values] = [0, 1, 2].map(|part| parts.f_select(0, part));
    let (queries, keys, values) = (queries?, keys?, values?);
    let mixed = if dropout > 0.0 && matches!(mode, Mode::Train(_)) {
        let scale = 1.0 / ((width / heads) as f64).sqrt();
        let scores = queries.f_mul_scalar(scale)?.f_matmul(&keys.f_transpose(-2, -1)?)?; // [rows, heads, queries, keys]
        drop_out(&scores.f_softmax(-1, None::<Kind>)?, dropout, mode)?.f_matmul(&values)?
    } else {
        Tensor::f_scaled_dot_product_attention(&queries, &keys, &values, None::<Tensor>, 0.0, false, None, false)?
    };
    Ok(mixed.f_transpose(1, 2)?.f_reshape([rows, tokens, width])?.f_linear(out_weight, Some(out_bias))?)
}

fn drop_out(input: &Tensor, share: f64, mode: &mut Mode) -> Result<Tensor> {
    match mode {
        Mode::Train(random) if share > 0.0 => Ok(input.f_mul(&dropout_mask(input, share, random)?)?),
        _ => Ok(input.shallow_clone()),
    }
}

/// Zero where an activation is dropped, and where it is kept what keeps the mean. Drawn by our own generator, because libtorch has one for the whole
/// process: trainings side by side would take each other's numbers.
fn dropout_mask(like: &Tensor, share: f64, random: &mut ChaCha8Rng) -> Result<Tensor> {
    // Sixteen bits decide for each activation, so that the share holds to 1/65536.
    let dropped = (share * 65536.0).round() as u16;
    let kept = 65536.0 / (65536.0 - f32::from(dropped));
    let mut bits = vec![0; 2 * like.numel()];
    random.fill_bytes(&mut bits);
    let (pairs, _) = bits.as_chunks();
    let mask: Vec<f32> =
        pairs.iter().map(|&pair| if u16::from_le_bytes(pair) < dropped { 0.0 } else { kept }).collect();
    Ok(Tensor::f_from_slice(&mask)?.f_reshape(like.size())?.f_to(like.device())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use rand::SeedableRng;
    use retune_stage::Seed;

    use super::*;
    use crate::{Network, fixture};

    fn residual(layers: Vec<Layer>) -> Layer {
        Layer::Residual(layers)
    }

    fn linear(inputs: usize, outputs: usize) -> Layer {
        Layer::Linear { inputs, outputs }
    }

    /// The layers of a reference architecture.
    fn architecture(name: &str) -> Vec<Layer> {
        let relu = || Layer::Activation(Activation::Relu);
        let attention = || Layer::Attention { width: 4, heads: 2, dropout: 0.0 };
        let feed_forward = || residual(vec![Layer::LayerNorm(4), linear(4, 10), Layer::ReGlu, linear(5, 4)]);
        let block = || residual(vec![Layer::BatchNorm(5), linear(5, 8), relu(), linear(8, 5)]);
        match name {
            "mlp with batch norm" => {
                vec![linear(4, 5), Layer::BatchNorm(5), Layer::Activation(Activation::Selu), linear(5, 3)]
            }
            "mlp with layer norm" => {
                vec![linear(4, 5), Layer::LayerNorm(5), Layer::Activation(Activation::Gelu), linear(5, 3)]
            }
            "tabular_resnet" => vec![linear(4, 5), block(), block(), Layer::BatchNorm(5), relu(), linear(5, 3)],
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
            let mut random = ChaCha8Rng::seed_from_u64(1);
            let output = network.forward(&features, &mut Mode::Train(&mut random)).unwrap();
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
        let attention = |heads| Layer::Attention { width: 6, heads, dropout: 0.0 };
        for (layers, expected) in [
            (vec![linear(4, 3), linear(2, 2)], "Linear { inputs: 2, outputs: 2 } does not fit a width of 3"),
            (vec![linear(4, 3), Layer::BatchNorm(4)], "BatchNorm(4) does not fit a width of 3"),
            (vec![linear(4, 3), Layer::ReGlu], "ReGlu does not fit a width of 3"),
            (
                vec![linear(4, 6), attention(4)],
                "Attention { width: 6, heads: 4, dropout: 0.0 } does not fit a width of 6",
            ),
            (vec![linear(0, 3)], "Linear { inputs: 0, outputs: 3 } has no width"),
            (
                vec![linear(4, 3), Layer::Residual(vec![linear(3, 4)])],
                "Residual([Linear { inputs: 3, outputs: 4 }]) does not fit a width of 3",
            ),
        ] {
            let error = Network::new(layers, Seed(1)).err().unwrap().to_string();
            assert_eq!(error, format!("the layer {expected}"));
        }
    }

    #[test]
    fn dropout_drops_its_share_and_keeps_the_mean() {
        let ones = Tensor::ones([1000, 100], (Kind::Float, tch::Device::Cpu));
        let network = Network::new(vec![Layer::Dropout(0.3)], Seed(0)).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let output = network.forward(&ones, &mut Mode::Train(&mut random)).unwrap();
        let dropped = output.eq(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        assert!((dropped - 0.3).abs() < 0.006, "{dropped}");
        assert!((output.mean(Kind::Float).double_value(&[]) - 1.0).abs() < 0.01);
        assert_eq!(network.forward(&ones, &mut Mode::Predict).unwrap(), ones);
    }

    #[test]
    fn attention_that_drops_next_to_nothing_is_attention() {
        let input =
            Tensor::from_slice(&(0..2 * 5 * 6).map(|at| (at as f32).sin()).collect::<Vec<_>>()).reshape([2, 5, 6]);
        let network = |dropout| Network::new(vec![Layer::Attention { width: 6, heads: 2, dropout }], Seed(3)).unwrap();
        let expected = network(0.0).forward(&input, &mut Mode::Predict).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let output = network(1e-9).forward(&input, &mut Mode::Train(&mut random)).unwrap();
        assert!((output - &expected).abs().max().double_value(&[]) < 1e-6);
        let output = network(0.5).forward(&input, &mut Mode::Train(&mut random)).unwrap();
        assert!((output - expected).abs().max().double_value(&[]) > 1e-3);
    }
}
