//! Networks as lists of layers.

use std::sync::{Mutex, PoisonError};

use ndarray::{Array2, ArrayView2, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_stage::Seed;
use tch::Tensor;

use crate::layer::{Blueprint, Role, Start, run};
use crate::{Group, Layer, Mode, Result, TensorError, device, weights};

/// A network: layers and their tensors, 32-bit floats named `layers.N.NAME`, where N counts the layers that keep tensors, those within others too: `weight`
/// [outputs, inputs] and `bias` [outputs] of a linear layer, and so on. What is learned are parameters; the rest are the statistics of batch norms.
#[derive(Debug)]
pub struct Network {
    layers: Vec<Layer>,
    kept: Vec<Kept>,
    /// The tensors of `kept`, in its order.
    tensors: Vec<Tensor>,
    n_outputs: usize,
}

/// What is known of a tensor.
#[derive(Clone, Debug)]
struct Kept {
    name: String,
    role: Role,
    /// How many layers lie before it; one with others within counts once, and a norm as part of the layer before it.
    depth: usize,
}

/// Rows that a prediction computes at once. Part of the result's bits: libtorch may add in another order for another number.
const BLOCK: usize = 1024;

impl Network {
    /// A network with PyTorch's initial parameters - uniform within one by the square root of the inputs, drawn from `seed`; norms start at one and zero.
    /// Fails where a layer does not fit the one before it.
    pub fn new(layers: Vec<Layer>, seed: Seed) -> Result<Self> {
        let n_outputs = layers.iter().try_fold(None, |width, layer| layer.width_after(width))?.unwrap_or(0);
        let mut network = Self { layers: Vec::new(), kept: Vec::new(), tensors: Vec::new(), n_outputs };
        let mut random = ChaCha8Rng::seed_from_u64(seed.0);
        let (mut number, mut n_deep) = (0, 0usize);
        for layer in &layers {
            let is_norm = matches!(layer, Layer::BatchNorm(_) | Layer::LayerNorm(_));
            let has_tensors = !layer.blueprints().is_empty() || !layer.within().is_empty();
            n_deep += usize::from(has_tensors && !is_norm);
            network.keep(layer, &mut number, n_deep.saturating_sub(1), &mut random)?;
        }
        Ok(Self { layers, ..network })
    }

    fn keep(&mut self, layer: &Layer, number: &mut usize, depth: usize, random: &mut ChaCha8Rng) -> Result<()> {
        let blueprints = layer.blueprints();
        for blueprint in &blueprints {
            let name = format!("layers.{number}.{}", blueprint.name);
            self.kept.push(Kept { name, role: blueprint.role, depth });
            self.tensors.push(start(blueprint, random)?);
        }
        *number += usize::from(!blueprints.is_empty());
        layer.within().iter().try_for_each(|layer| self.keep(layer, number, depth, random))
    }

    /// The output of rows of features [rows, inputs].
    pub fn forward(&self, features: &Tensor, mode: &mut Mode) -> Result<Tensor> {
        run(&self.layers, features, &mut self.tensors.as_slice(), mode)
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
        let output = self.forward(&matrix(features)?, &mut Mode::Predict)?.f_contiguous()?;
        let mut values = vec![0.0f32; output.numel()];
        output.f_copy_data(&mut values, output.numel())?;
        Array2::from_shape_vec((features.nrows(), self.n_outputs()), values)
            .map_err(|error| TensorError::failed(error.to_string()))
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

    /// The tokens that each row becomes: one, but for a network over tokens.
    pub(crate) fn n_tokens(&self) -> usize {
        let tokens =
            |layer: &Layer| if let Layer::Tokens { levels, .. } = layer { Some(levels.len() + 1) } else { None };
        self.layers.iter().find_map(tokens).unwrap_or(1)
    }

    /// The fewest rows of a training step: two where there is a batch norm.
    pub(crate) fn fewest_rows(&self) -> usize {
        if self.kept.iter().any(|kept| kept.role == Role::Statistic) { 2 } else { 1 }
    }

    fn parameters(&self) -> impl Iterator<Item = (&Kept, &Tensor)> {
        self.kept.iter().zip(&self.tensors).filter(|(kept, _)| kept.role != Role::Statistic)
    }

    /// The parameters in groups for an optimiser: matrices of linear layers and attention decay by `weight_decay`, and biases, norms and tokens do not; the
    /// rate of a layer is that of the layer after it times `layer_decay`.
    pub fn groups(&self, weight_decay: f64, layer_decay: f64) -> Vec<Group> {
        let deepest = self.kept.last().map_or(0, |kept| kept.depth);
        let mut groups: Vec<Group> = Vec::new();
        for (kept, tensor) in self.parameters() {
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
        Self { layers: self.layers.clone(), kept: self.kept.clone(), tensors, n_outputs: self.n_outputs }
    }

    /// Makes libtorch record what is computed with the parameters.
    pub(crate) fn record_gradients(&self) -> Result<()> {
        self.parameters().try_for_each(|(_, tensor)| tensor.f_set_requires_grad(true).map(drop))?;
        Ok(())
    }
}

fn start(blueprint: &Blueprint, random: &mut ChaCha8Rng) -> Result<Tensor> {
    let n_values: usize = blueprint.size.iter().product();
    let mut uniform = |width: usize, n_drawn: usize| -> Vec<f32> {
        let bound = (1.0 / (width as f64).sqrt()) as f32;
        (0..n_drawn).map(|_| (random.random::<f32>() * 2.0 - 1.0) * bound).collect()
    };
    let values = match blueprint.start {
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
        let network = Network::new(layers.clone(), Seed(1)).unwrap();
        let (_, weight) = network.tensors().next().unwrap();
        // Uniform within 1/20: the standard deviation is 1/20/sqrt(3).
        assert!((weight.std(true).double_value(&[]) - 0.05 / 3f64.sqrt()).abs() < 2e-4);
        assert!(weight.abs().max().double_value(&[]) <= 0.05);
        assert_eq!(network.to_bytes().unwrap(), Network::new(layers.clone(), Seed(1)).unwrap().to_bytes().unwrap());
        assert_ne!(network.to_bytes().unwrap(), Network::new(layers, Seed(2)).unwrap().to_bytes().unwrap());
    }

    #[test]
    fn predictions_do_not_depend_on_the_number_of_threads() {
        let layers = vec![
            Layer::Linear { inputs: 7, outputs: 33 },
            Layer::Activation(Activation::Tanh),
            Layer::Linear { inputs: 33, outputs: 3 },
        ];
        let network = Network::new(layers, Seed(3)).unwrap();
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
