//! What layers make of rows.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune_spec::estimators::Activation;
use retune_stage::Seed;
use tch::{Kind, Tensor};

use super::{Layer, NORM_EPSILON, Named, Pool, PoolOf};
use crate::{Result, TensorError, bridge};

/// What a forward pass is for.
pub enum Mode<'a> {
    /// Nothing is dropped, and batch norms use their running statistics.
    Predict,
    /// Activations are dropped, batch norms use and count the batch, auxiliary heads speak.
    Train(&'a mut ForwardPass),
}

/// What a training pass draws from, and what it leaves besides its output.
pub struct ForwardPass {
    random: ChaCha8Rng,
    /// Whether batch norms use their running statistics, and leave them as they are.
    pub frozen_norms: bool,
    /// How far the pass moves the running statistics.
    pub(crate) norm_momentum: f64,
    /// Whether nothing is dropped although norms count.
    pub(crate) drops_nothing: bool,
    /// What auxiliary heads said, and the weights of their losses.
    pub auxiliary: Vec<(f64, Tensor)>,
}

impl ForwardPass {
    /// A pass whose dropped activations a seed decides.
    pub fn new(seed: Seed) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed.0);
        let (norm_momentum, drops_nothing) = (NORM_MOMENTUM, false);
        Self { random, frozen_norms: false, norm_momentum, drops_nothing, auxiliary: Vec::new() }
    }
}

/// How far a step moves the running statistics; PyTorch's default.
const NORM_MOMENTUM: f64 = 0.1;

impl Layer {
    /// What the layer makes of its input; it takes its tensors off the front of `tensors`.
    pub(crate) fn forward(&self, input: &Tensor, tensors: &mut &[Tensor], mode: &mut Mode) -> Result<Tensor> {
        Ok(match self {
            Self::Linear { .. } => {
                let [weight, bias] = take(tensors)?;
                input.f_linear(weight, Some(bias))?
            }
            Self::Convolution(filter) => {
                let [weight] = take(tensors)?;
                let bias = if filter.bias { Some(take::<1>(tensors)?[0]) } else { None };
                let [stride, padding] = [filter.stride, filter.padding].map(|side| [side as i64; 2]);
                // oneDNN's gradient of such filters writes beyond its memory where the channels are last: with libtorch 2.13 and AVX-512, by these layers alone.
                let is_sound = filter.kernel > 1 || filter.stride == 1 || filter.inputs / filter.groups >= 16;
                let input = if is_sound { bridge::channels_last(input)? } else { input.f_contiguous()? };
                input.f_conv2d(weight, bias, stride, padding, [1, 1], filter.groups as i64)?
            }
            Self::Activation(activation) => activate(input, *activation)?,
            Self::ReGlu => {
                let half = input.size().last().map_or(0, |width| width / 2);
                input.f_narrow(-1, 0, half)?.f_mul(&input.f_narrow(-1, half, half)?.f_relu()?)?
            }
            Self::Dropout(share) => drop_out(input, *share, mode)?,
            Self::DropPath(share) => drop_path(input, *share, mode)?,
            Self::BatchNorm { epsilon, .. } => {
                let [weight, bias, mean, variance] = take(tensors)?;
                // Statistics go with the line: where that is not learned, they stay too.
                let counts = matches!(mode, Mode::Train(pass) if !pass.frozen_norms && (weight.requires_grad() || bias.requires_grad()));
                let momentum = if let Mode::Train(pass) = mode { pass.norm_momentum } else { NORM_MOMENTUM };
                let [weight, bias, mean, variance] = [weight, bias, mean, variance].map(Some);
                input.f_batch_norm(weight, bias, mean, variance, counts, momentum, *epsilon, true)?
            }
            Self::LayerNorm(width) => {
                let [weight, bias] = take(tensors)?.map(Some);
                input.f_layer_norm([*width as i64], weight, bias, NORM_EPSILON, true)?
            }
            Self::Pool(pool) => pooled(input, pool)?,
            Self::AdaptivePool(side) => input.f_adaptive_avg_pool2d([*side as i64; 2])?,
            Self::Flatten => input.f_flatten(1, -1)?,
            Self::Tokens { levels, .. } => embed(input, levels, tensors)?,
            Self::Attention { heads, dropout, .. } => attend(input, *heads as i64, *dropout, take(tensors)?, mode)?,
            Self::FirstToken => input.f_select(1, 0)?, // [rows, width]
            Self::Sequence(layers) => run(layers, input, tensors, mode)?,
            Self::Residual { body, shortcut } => {
                let inner = run(body, input, tensors, mode)?;
                let around = run(shortcut, input, tensors, mode)?;
                inner.f_add(&around)?
            }
            Self::Concatenation(branches) => {
                let outputs = branches.iter().map(|branch| branch.layer.forward(input, tensors, mode));
                Tensor::f_cat(&outputs.collect::<Result<Vec<_>>>()?, 1)?
            }
            Self::Gate(layers) => input.f_mul(&run(layers, input, tensors, mode)?)?,
            Self::Auxiliary { weight, head } => {
                if matches!(mode, Mode::Train(_)) {
                    let said = run(head, input, tensors, mode)?;
                    if let Mode::Train(pass) = mode {
                        pass.auxiliary.push((*weight, said));
                    }
                } else {
                    skip(head, tensors)?;
                }
                input.shallow_clone()
            }
        })
    }
}

/// What layers in turn make of an input.
pub(crate) fn run(layers: &[Named], input: &Tensor, tensors: &mut &[Tensor], mode: &mut Mode) -> Result<Tensor> {
    let mut output = input.shallow_clone();
    let mut before: Option<&Layer> = None;
    for Named { layer, .. } in layers {
        output = match layer {
            Layer::Activation(activation) if before.is_some_and(makes_its_own) => activate_own(output, *activation)?,
            layer => layer.forward(&output, tensors, mode)?,
        };
        before = Some(layer);
    }
    Ok(output)
}

/// Whether a layer's output is a tensor of its own that no gradient looks at again, so that it may be changed in place.
fn makes_its_own(layer: &Layer) -> bool {
    matches!(layer, Layer::Linear { .. } | Layer::Convolution(_) | Layer::BatchNorm { .. } | Layer::Residual { .. })
}

fn activate_own(mut input: Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Relu => Ok(input.f_relu_()?),
        Activation::Relu6 => Ok(input.f_relu6_()?),
        other => activate(&input, other),
    }
}

fn activate(input: &Tensor, activation: Activation) -> Result<Tensor> {
    Ok(match activation {
        Activation::Relu => input.f_relu()?,
        Activation::Relu6 => input.f_relu6()?,
        Activation::Gelu => input.f_gelu("none")?,
        Activation::Silu => input.f_silu()?,
        Activation::Selu => input.f_selu()?,
        Activation::Tanh => input.f_tanh()?,
        Activation::Sigmoid => input.f_sigmoid()?,
    })
}

fn take<'a, const N: usize>(tensors: &mut &'a [Tensor]) -> Result<[&'a Tensor; N]> {
    let (taken, rest) =
        tensors.split_first_chunk().ok_or_else(|| TensorError::failed("a layer lacks its parameters"))?;
    *tensors = rest;
    Ok(taken.each_ref())
}

/// Leaves out the tensors of layers that are not computed.
fn skip(layers: &[Named], tensors: &mut &[Tensor]) -> Result<()> {
    for Named { layer, .. } in layers {
        let n_own = layer.blueprints().len();
        *tensors = tensors.get(n_own..).ok_or_else(|| TensorError::failed("a layer lacks its parameters"))?;
        layer.within().into_iter().try_for_each(|inner| skip(inner, tensors))?;
    }
    Ok(())
}

fn pooled(input: &Tensor, pool: &Pool) -> Result<Tensor> {
    let [kernel, stride, padding] = [pool.kernel, pool.stride, pool.padding].map(|side| [side as i64; 2]);
    Ok(match pool.of {
        PoolOf::Max => input.f_max_pool2d(kernel, stride, padding, [1, 1], pool.ceil)?,
        PoolOf::Mean => input.f_avg_pool2d(kernel, stride, padding, pool.ceil, true, None)?,
    })
}

/// The token that gathers, then the columns of numbers, then those of levels [rows, 1 + columns, width].
fn embed(input: &Tensor, levels: &[Option<usize>], tensors: &mut &[Tensor]) -> Result<Tensor> {
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
    let mixed = if dropout > 0.0 && matches!(mode, Mode::Train(pass) if !pass.drops_nothing) {
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
        Mode::Train(pass) if share > 0.0 && !pass.drops_nothing => {
            let mask = dropout_mask(&input.size(), share, &mut pass.random)?;
            Ok(input.f_mul(&mask.f_to(input.device())?)?)
        }
        _ => Ok(input.shallow_clone()),
    }
}

fn drop_path(input: &Tensor, share: f64, mode: &mut Mode) -> Result<Tensor> {
    match mode {
        Mode::Train(pass) if share > 0.0 && !pass.drops_nothing => {
            let mut size = vec![1; input.dim()];
            size[0] = input.size()[0]; // [rows, 1, ...]
            let mask = dropout_mask(&size, share, &mut pass.random)?;
            Ok(input.f_mul(&mask.f_to(input.device())?)?)
        }
        _ => Ok(input.shallow_clone()),
    }
}

/// Zero where an activation is dropped, and where it is kept what keeps the mean. Drawn by our own generator, because libtorch has one for the whole
/// process: trainings side by side would take each other's numbers.
fn dropout_mask(size: &[i64], share: f64, random: &mut ChaCha8Rng) -> Result<Tensor> {
    // Sixteen bits decide for each activation, so that the share holds to 1/65536.
    let dropped = (share * 65536.0).round() as u16;
    let kept = 65536.0 / (65536.0 - f32::from(dropped));
    let n_values: i64 = size.iter().product();
    let mut bits = vec![0; 2 * n_values as usize];
    random.fill_bytes(&mut bits);
    let (pairs, _) = bits.as_chunks();
    let mask: Vec<f32> =
        pairs.iter().map(|&pair| if u16::from_le_bytes(pair) < dropped { 0.0 } else { kept }).collect();
    Ok(Tensor::f_from_slice(&mask)?.f_reshape(size)?)
}
