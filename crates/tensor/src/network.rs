//! Networks as lists of layers.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use ndarray::{Array2, ArrayView2, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use retune_stage::Seed;
use tch::Tensor;

use crate::layer::{Blueprint, Named, Role, Shape, Start, numbered, run, shape_after};
use crate::{Group, Layer, Mode, Result, TensorError, device, weights};

/// A network: layers and their tensors, 32-bit floats with dotted names: those of the layers that they lie in, then `weight` [outputs, inputs] and `bias`
/// [outputs] of a linear layer, and so on. What is learned are parameters; the rest are the statistics of batch norms.
#[derive(Debug)]
pub struct Network {
    layers: Vec<Named>,
    input: Shape,
    kept: Vec<Kept>,
    /// The tensors of `kept`, in its order.
    tensors: Vec<Tensor>,
    /// How many tensors lie before each of the layers, and all of them.
    firsts: Vec<usize>,
    n_outputs: usize,
}

/// What is known of a tensor.
#[derive(Clone, Debug)]
struct Kept {
    name: String,
    role: Role,
    /// The number of its block, counted from the input: a layer, and a norm as part of the layer before it. A residual counts once, whatever lies within.
    depth: usize,
}

/// Layers that are frozen, thawed and decayed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What the names of its tensors begin with: `layer1.0`.
    pub name: String,
    /// The names of its tensors, statistics too.
    pub tensors: Vec<String>,
}

/// Rows of numbers that a pass takes at once, where each is one token.
const PLAIN_ROWS: usize = 8192;

/// Numbers of images that a pass takes at once: sixteen colour images of 224 pixels a side. The first filters make some twenty times as many of them.
const IMAGE_NUMBERS: usize = 16 * 3 * 224 * 224;

/// The most images that a pass takes at once: more of small ones gain nothing.
const MOST_IMAGES: usize = 256;

/// Rows that a prediction computes at once. Part of the result's bits: libtorch may add in another order for another number.
const BLOCK: usize = 1024;

impl Network {
    /// A network over columns: its tensors are named `layers.N.NAME`, where N counts the layers that keep tensors, those within others too. Initial parameters are
    /// PyTorch's - uniform within one by the square root of the inputs; norms start at one and zero - and those of filters torchvision's (normal, He et al. 2015),
    /// drawn from `seed`. Fails where a layer does not fit the one before it.
    pub fn new(layers: Vec<Layer>, n_columns: usize, seed: Seed) -> Result<Self> {
        Self::named(numbered(layers), Shape::Features(n_columns), seed)
    }

    /// A network of layers with names, for rows of a shape.
    pub fn named(layers: Vec<Named>, input: Shape, seed: Seed) -> Result<Self> {
        let mut random = ChaCha8Rng::seed_from_u64(seed.0);
        Self::filled(layers, input, |planned| start(&planned.blueprint, &mut random))
    }

    /// The same before it is filled with weights: what its tensors hold is not defined.
    pub fn bare(layers: Vec<Named>, input: Shape) -> Result<Self> {
        Self::filled(layers, input, |planned| {
            let size: Vec<i64> = planned.blueprint.size.iter().map(|&length| length as i64).collect();
            Ok(Tensor::f_empty(size, (tch::Kind::Float, tch::Device::Cpu))?)
        })
    }

    fn filled(layers: Vec<Named>, input: Shape, mut fill: impl FnMut(&Planned) -> Result<Tensor>) -> Result<Self> {
        let n_outputs = match shape_after(&layers, input)? {
            Shape::Features(width) => width,
            other => {
                return Err(TensorError::failed(format!("the network ends in {}, not in numbers", other.told()))
                    .help("end it with `flatten` and `linear`"));
            }
        };
        let mut planned = Vec::new();
        let (mut n_blocks, mut firsts) = (0, vec![0]);
        for layer in &layers {
            plan_all(std::slice::from_ref(layer), "", false, &mut n_blocks, &mut planned);
            firsts.push(planned.len());
        }
        let tensors = planned.iter().map(&mut fill).collect::<Result<Vec<_>>>()?;
        let kept: Vec<Kept> = planned
            .into_iter()
            .map(|Planned { name, blueprint, depth }| Kept { name, role: blueprint.role, depth })
            .collect();
        let mut names: Vec<&str> = kept.iter().map(|kept| kept.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(TensorError::failed(format!("two layers of the network are called `{}`", owner(twice[0])))
                .help("give one of them another name"));
        }
        Ok(Self { layers, input, kept, tensors, firsts, n_outputs })
    }

    /// The layers.
    pub fn layers(&self) -> &[Named] {
        &self.layers
    }

    /// What a row is.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// The output of rows [rows, ...].
    pub fn forward(&self, features: &Tensor, mode: &mut Mode) -> Result<Tensor> {
        self.forward_part(0..self.layers.len(), features, mode)
    }

    /// What some of the layers make of what those before them made of rows.
    pub(crate) fn forward_part(&self, layers: Range<usize>, input: &Tensor, mode: &mut Mode) -> Result<Tensor> {
        run(&self.layers[layers.clone()], input, &mut &self.tensors[self.firsts[layers.start]..], mode)
    }

    /// The network with the statistics of another's batch norms, which has the same layers; `None` where there are no such.
    pub fn with_statistics(&self, other: &Self) -> Result<Option<Self>> {
        if !self.kept.iter().any(|kept| kept.role == Role::Statistic) {
            return Ok(None);
        }
        let chosen = self.kept.iter().zip(self.tensors.iter().zip(&other.tensors));
        let chosen = chosen.map(|(kept, (own, theirs))| if kept.role == Role::Statistic { theirs } else { own });
        Ok(Some(self.with_tensors(chosen.map(Tensor::shallow_clone).collect())))
    }

    /// How many layers at the input learn nothing: see [`Network::learn`].
    pub(crate) fn n_frozen(&self) -> usize {
        let learns = self.kept.iter().zip(&self.tensors).position(|(_, tensor)| tensor.requires_grad());
        // The last layer speaks in any case.
        let Some(first) = learns else { return self.layers.len().saturating_sub(1) };
        self.firsts.iter().rposition(|&before| before <= first).unwrap_or(0).min(self.layers.len().saturating_sub(1))
    }

    /// The network whose tensors lie a share of the way from those of `self` to those of `other`, which has the same layers.
    pub fn towards(&self, other: &Self, share: f64) -> Result<Self> {
        if self.layers != other.layers {
            return Err(TensorError::failed("networks of different layers have nothing in between"));
        }
        let _no_grad = tch::no_grad_guard();
        let between = self.tensors.iter().zip(&other.tensors).map(|(own, theirs)| Ok(own.f_lerp(theirs, share)?));
        Ok(self.with_tensors(between.collect::<Result<_>>()?))
    }

    /// The output of rows of features [rows, outputs], computed on the processor in blocks over the threads of rayon: the same bits however many there are.
    pub fn predict(&self, features: ArrayView2<f64>) -> Result<Array2<f32>> {
        let shared = Mutex::new(self.shallow_clone());
        let n_outputs = self.n_outputs();
        let blocks: Vec<Array2<f32>> = (0..features.nrows().div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| {
                let network = shared.lock().unwrap_or_else(PoisonError::into_inner).shallow_clone();
                let end = features.nrows().min((block + 1) * BLOCK);
                network.predict_block(features.slice(s![block * BLOCK..end, ..]))
            })
            .collect::<Result<_>>()?;
        let views: Vec<_> = blocks.iter().map(Array2::view).collect();
        if views.is_empty() {
            return Ok(Array2::zeros((0, n_outputs)));
        }
        ndarray::concatenate(Axis(0), &views).map_err(|error| TensorError::failed(error.to_string()))
    }

    fn predict_block(&self, features: ArrayView2<f64>) -> Result<Array2<f32>> {
        device::set_threads(1)?;
        let _no_grad = tch::no_grad_guard();
        outputs(&self.forward(&matrix(features)?, &mut Mode::Predict)?, self.n_outputs())
    }

    /// Where its tensors are.
    pub fn device(&self) -> tch::Device {
        self.tensors.first().map_or(tch::Device::Cpu, Tensor::device)
    }

    /// The width of the output.
    pub fn n_outputs(&self) -> usize {
        self.n_outputs
    }

    /// Every tensor by name, from the input to the output.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.kept.iter().zip(&self.tensors).map(|(kept, tensor)| (kept.name.as_str(), tensor))
    }

    /// How many numbers it keeps.
    pub fn n_values(&self) -> usize {
        self.tensors.iter().map(Tensor::numel).sum()
    }

    /// How many rows a pass without gradients takes at once: enough that what is done to weights for each pass does not count, and not more than memory has room for.
    pub(crate) fn rows_at_once(&self) -> usize {
        if let Shape::Image([channels, height, width]) = self.input {
            return (IMAGE_NUMBERS / (channels * height * width).max(1)).clamp(1, MOST_IMAGES);
        }
        let tokens = |named: &Named| {
            if let Layer::Tokens { levels, .. } = &named.layer { Some(levels.len() + 1) } else { None }
        };
        PLAIN_ROWS / self.layers.iter().find_map(tokens).unwrap_or(1).clamp(1, PLAIN_ROWS)
    }

    /// The fewest rows of a training step: two where there is a batch norm.
    pub(crate) fn fewest_rows(&self) -> usize {
        if self.kept.iter().any(|kept| kept.role == Role::Statistic) { 2 } else { 1 }
    }

    fn parameters(&self) -> impl Iterator<Item = (&Kept, &Tensor)> {
        self.kept.iter().zip(&self.tensors).filter(|(kept, _)| kept.role != Role::Statistic)
    }

    /// The parameters that are learned (see [`Network::learn`]) in groups for an optimiser: matrices of linear layers, filters and attention decay by
    /// `weight_decay`, and biases, norms and tokens do not; the rate of a block is that of the block after it times `layer_decay`.
    pub fn groups(&self, weight_decay: f64, layer_decay: f64) -> Vec<Group> {
        let deepest = self.kept.last().map_or(0, |kept| kept.depth);
        let mut groups: Vec<Group> = Vec::new();
        for (kept, tensor) in self.parameters().filter(|(_, tensor)| tensor.requires_grad()) {
            let rate_factor = layer_decay.powi((deepest - kept.depth) as i32);
            let weight_decay = if kept.role == Role::Matrix { weight_decay } else { 0.0 };
            let parameter = (kept.name.clone(), tensor.shallow_clone());
            // Few groups make few calls: one kernel moves a whole group.
            match groups.iter_mut().find(|group| group.rate_factor == rate_factor && group.weight_decay == weight_decay)
            {
                Some(group) => group.parameters.push(parameter),
                None => groups.push(Group { parameters: vec![parameter], rate_factor, weight_decay }),
            }
        }
        groups
    }

    /// The bytes of a weights file.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        weights::to_bytes(self.tensors())
    }

    /// Takes the tensors of a weights file, which must be exactly this network's. `file` is for messages.
    pub fn load_bytes(&mut self, bytes: &[u8], file: &str) -> Result<()> {
        let names = self.kept.iter().map(|kept| kept.name.as_str());
        weights::copy_into(bytes, file, names.zip(&mut self.tensors))
    }

    /// A network that shares the tensors.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        self.with_tensors(self.tensors.iter().map(Tensor::shallow_clone).collect())
    }

    /// A network with tensors of its own on `device`.
    pub fn copy(&self, device: tch::Device) -> Result<Self> {
        let copy = |tensor: &Tensor| {
            let mut copy = Tensor::f_empty(tensor.size(), (tensor.f_kind()?, device))?;
            copy.f_copy_(&tensor.f_detach()?)?;
            Ok::<_, TensorError>(copy)
        };
        Ok(self.with_tensors(self.tensors.iter().map(copy).collect::<Result<_>>()?))
    }

    fn with_tensors(&self, tensors: Vec<Tensor>) -> Self {
        let (layers, kept, firsts) = (self.layers.clone(), self.kept.clone(), self.firsts.clone());
        Self { layers, input: self.input, kept, tensors, firsts, n_outputs: self.n_outputs }
    }

    /// Makes libtorch record what is computed with the parameters for which `is_learned` says so by name and role; the others are frozen.
    pub fn learn(&self, is_learned: impl Fn(&str, Role) -> bool) -> Result<()> {
        for (kept, tensor) in self.parameters() {
            // A frozen tensor must not carry a gradient of an earlier training into this one.
            tensor.f_set_requires_grad(is_learned(&kept.name, kept.role)).map(drop)?;
        }
        Ok(())
    }

    /// The blocks from the input to the output.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        for kept in &self.kept {
            if blocks.len() <= kept.depth {
                blocks.resize_with(kept.depth + 1, || Block { name: String::new(), tensors: Vec::new() });
            }
            blocks[kept.depth].tensors.push(kept.name.clone());
        }
        for block in &mut blocks {
            block.name = common_owner(&block.tensors);
        }
        blocks
    }

    /// The names of the last block that keeps a matrix: the head.
    pub fn head(&self) -> Option<Block> {
        self.blocks().pop()
    }

    /// The names, sizes and roles of all tensors.
    pub fn plan(&self) -> impl Iterator<Item = (&str, Vec<i64>, Role)> {
        self.kept.iter().zip(&self.tensors).map(|(kept, tensor)| (kept.name.as_str(), tensor.size(), kept.role))
    }

    /// The tensors with their names, to change them.
    pub(crate) fn tensors_mut(&mut self) -> impl Iterator<Item = (&str, &mut Tensor)> {
        self.kept.iter().zip(&mut self.tensors).map(|(kept, tensor)| (kept.name.as_str(), tensor))
    }
}

/// A tensor of a network that is not there yet.
pub(crate) struct Planned {
    /// Its name.
    pub name: String,
    blueprint: Blueprint,
    depth: usize,
}

/// The tensors of layers in their order.
pub(crate) fn outline(layers: &[Named]) -> Vec<Planned> {
    let mut planned = Vec::new();
    plan_all(layers, "", false, &mut 0, &mut planned);
    planned
}

/// Adds the tensors of layers. Those within a block belong to it.
fn plan_all(layers: &[Named], owner: &str, is_within: bool, n_blocks: &mut usize, planned: &mut Vec<Planned>) {
    for Named { name, layer } in layers {
        let owner = path(owner, name);
        let blueprints = layer.blueprints();
        let is_sequence = matches!(layer, Layer::Sequence(_));
        let has_tensors = !blueprints.is_empty() || layer.within().iter().any(|inner| keeps_any(inner));
        if !is_within && !is_sequence && has_tensors && (*n_blocks == 0 || !layer.is_norm()) {
            *n_blocks += 1;
        }
        let depth = n_blocks.saturating_sub(1);
        planned.extend(blueprints.into_iter().map(|blueprint| Planned {
            name: path(&owner, blueprint.name),
            blueprint,
            depth,
        }));
        for inner in layer.within() {
            plan_all(inner, &owner, is_within || !is_sequence, n_blocks, planned);
        }
    }
}

fn keeps_any(layers: &[Named]) -> bool {
    layers
        .iter()
        .any(|named| !named.layer.blueprints().is_empty() || named.layer.within().iter().any(|inner| keeps_any(inner)))
}

/// A name within another.
pub(crate) fn path(owner: &str, name: &str) -> String {
    match (owner, name) {
        ("", name) => name.to_owned(),
        (owner, "") => owner.to_owned(),
        (owner, name) => format!("{owner}.{name}"),
    }
}

/// The layer that a tensor belongs to.
fn owner(tensor: &str) -> &str {
    tensor.rsplit_once('.').map_or(tensor, |(owner, _)| owner)
}

/// What all names of tensors begin with, up to a dot; the first tensor's layer where they have nothing in common.
fn common_owner(tensors: &[String]) -> String {
    let Some(first) = tensors.first() else { return String::new() };
    let mut common = owner(first);
    while !tensors.iter().all(|name| name.strip_prefix(common).is_some_and(|rest| rest.starts_with('.'))) {
        match common.rsplit_once('.') {
            Some((shorter, _)) => common = shorter,
            None => return owner(first).to_owned(),
        }
    }
    common.to_owned()
}

/// A network's outputs [rows, outputs].
pub(crate) fn outputs(output: &Tensor, n_outputs: usize) -> Result<Array2<f32>> {
    let output = output.f_contiguous()?;
    let mut values = vec![0.0f32; output.numel()];
    output.f_copy_data(&mut values, output.numel())?;
    Array2::from_shape_vec((values.len() / n_outputs.max(1), n_outputs), values)
        .map_err(|error| TensorError::failed(error.to_string()))
}

fn start(blueprint: &Blueprint, random: &mut ChaCha8Rng) -> Result<Tensor> {
    let n_values: usize = blueprint.size.iter().product();
    let mut uniform = |width: usize, n_drawn: usize| -> Vec<f32> {
        let bound = (1.0 / (width as f64).sqrt()) as f32;
        (0..n_drawn).map(|_| (random.random::<f32>() * 2.0 - 1.0) * bound).collect()
    };
    let values = match blueprint.start {
        Start::Normal(width) => {
            let deviation = (2.0 / width as f64).sqrt() as f32;
            (0..n_values).map(|_| deviation * random.sample::<f32, _>(StandardNormal)).collect()
        }
        Start::Uniform(width) => uniform(width, n_values),
        Start::UniformBut(width, n_zero) => {
            let mut values = uniform(width, n_values - n_zero * width);
            values.resize(n_values, 0.0);
            values
        }
        Start::Zeros => vec![0.0; n_values],
        Start::Ones => vec![1.0; n_values],
    };
    let size: Vec<i64> = blueprint.size.iter().map(|&length| length as i64).collect();
    Ok(Tensor::f_from_slice(&values)?.f_reshape(size)?)
}

/// 32-bit floats [rows, columns] of a matrix.
pub(crate) fn matrix(values: ArrayView2<f64>) -> Result<Tensor> {
    let narrow: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    Ok(Tensor::f_from_slice(&narrow)?.f_reshape([values.nrows() as i64, values.ncols() as i64])?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use retune_spec::estimators::Activation;

    use super::*;

    #[test]
    fn parameters_start_as_pytorch_starts_them() {
        let layers = vec![Layer::Linear { inputs: 400, outputs: 300 }, Layer::Linear { inputs: 300, outputs: 2 }];
        let network = Network::new(layers.clone(), 400, Seed(1)).unwrap();
        let (_, weight) = network.tensors().next().unwrap();
        // Uniform within 1/20: the standard deviation is 1/20/sqrt(3).
        assert!((weight.std(true).double_value(&[]) - 0.05 / 3f64.sqrt()).abs() < 2e-4);
        assert!(weight.abs().max().double_value(&[]) <= 0.05);
        assert_eq!(
            network.to_bytes().unwrap(),
            Network::new(layers.clone(), 400, Seed(1)).unwrap().to_bytes().unwrap()
        );
        assert_ne!(network.to_bytes().unwrap(), Network::new(layers, 400, Seed(2)).unwrap().to_bytes().unwrap());
    }

    #[test]
    fn predictions_do_not_depend_on_the_number_of_threads() {
        let layers = vec![
            Layer::Linear { inputs: 7, outputs: 33 },
            Layer::Activation(Activation::Tanh),
            Layer::Linear { inputs: 33, outputs: 3 },
        ];
        let network = Network::new(layers, 7, Seed(3)).unwrap();
        let features = Array2::from_shape_fn((5000, 7), |(row, column)| ((row * 7 + column) as f64).sin());
        let predict = |threads: usize| {
            let network = Mutex::new(network.shallow_clone());
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| network.lock().unwrap().predict(features.view()).unwrap())
        };
        let [one, three] = [predict(1), predict(3)];
        assert_eq!(one.dim(), (5000, 3));
        assert_eq!(one, three);
        assert_eq!(network.predict(Array2::zeros((0, 7)).view()).unwrap().dim(), (0, 3));
    }
}
