//! Networks as lists of layers.

use std::sync::{Mutex, PoisonError};

use ndarray::{Array2, ArrayView2, Axis, s};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_spec::estimators::Activation;
use retune_stage::Seed;
use tch::Tensor;

use crate::{Group, Result, TensorError, device, weights};

/// One layer of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// Drops this share of the activations in training and scales the others, so that their mean stays.
    Dropout(f64),
}

/// What a forward pass is for.
pub enum Mode<'a> {
    /// Nothing is dropped.
    Predict,
    /// Activations are dropped; which, this generator says.
    Train(&'a mut ChaCha8Rng),
}

/// A network: layers and their parameters, 32-bit floats named `layers.N.weight` [outputs, inputs] and `layers.N.bias` [outputs], where N counts
/// the linear layers.
#[derive(Debug)]
pub struct Network {
    layers: Vec<Layer>,
    /// Weight and bias of each linear layer in turn.
    parameters: Vec<(String, Tensor)>,
}

/// Rows that a prediction computes at once. Part of the result's bits: libtorch may add in another order for another number.
const BLOCK: usize = 1024;

impl Network {
    /// A network with PyTorch's initial parameters: uniform within one by the square root of the inputs, drawn from `seed`.
    pub fn new(layers: Vec<Layer>, seed: Seed) -> Result<Self> {
        let mut random = ChaCha8Rng::seed_from_u64(seed.0);
        let mut draw = |size: &[i64], inputs: usize| {
            let bound = (1.0 / (inputs as f64).sqrt()) as f32;
            let n_values: i64 = size.iter().product();
            let values: Vec<f32> = (0..n_values).map(|_| (random.random::<f32>() * 2.0 - 1.0) * bound).collect();
            Ok::<_, TensorError>(Tensor::f_from_slice(&values)?.f_reshape(size)?)
        };
        let mut width = None;
        let mut parameters = Vec::new();
        for layer in &layers {
            let &Layer::Linear { inputs, outputs } = layer else {
                continue;
            };
            let number = parameters.len() / 2;
            if inputs == 0 || outputs == 0 || width.is_some_and(|width| width != inputs) {
                return Err(TensorError::failed(format!(
                    "linear layer {number} ({inputs} to {outputs}) does not fit its place"
                )));
            }
            width = Some(outputs);
            parameters.push((format!("layers.{number}.weight"), draw(&[outputs as i64, inputs as i64], inputs)?));
            parameters.push((format!("layers.{number}.bias"), draw(&[outputs as i64], inputs)?));
        }
        Ok(Self { layers, parameters })
    }

    /// The output of rows of features [rows, inputs].
    pub fn forward(&self, features: &Tensor, mode: &mut Mode) -> Result<Tensor> {
        let mut linears = self.parameters.chunks_exact(2);
        let mut output = features.shallow_clone();
        for layer in &self.layers {
            output = match layer {
                Layer::Linear { .. } => match linears.next() {
                    Some([(_, weight), (_, bias)]) => output.f_linear(weight, Some(bias))?, // [rows, outputs]
                    _ => return Err(TensorError::failed("a linear layer has no parameters")),
                },
                Layer::Activation(activation) => activate(&output, *activation)?,
                Layer::Dropout(share) => match mode {
                    Mode::Train(random) if *share > 0.0 => output.f_mul(&dropout_mask(&output, *share, random)?)?,
                    _ => output,
                },
            };
        }
        Ok(output)
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
        let width = |layer: &Layer| {
            if let Layer::Linear { outputs, .. } = layer { Some(*outputs) } else { None }
        };
        self.layers.iter().rev().find_map(width).unwrap_or(0)
    }

    /// The parameters by name, from the input to the output.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.parameters.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The parameters in groups for an optimiser: matrices decay by `weight_decay` and biases do not; the rate of a layer is that of the layer after it
    /// times `layer_decay`.
    pub fn groups(&self, weight_decay: f64, layer_decay: f64) -> Vec<Group> {
        let n_linears = self.parameters.len() / 2;
        let mut groups: Vec<Group> = Vec::new();
        for (position, (name, tensor)) in self.parameters.iter().enumerate() {
            let rate_factor = layer_decay.powi((n_linears - 1 - position / 2) as i32);
            let weight_decay = if tensor.dim() > 1 { weight_decay } else { 0.0 };
            let parameter = (name.clone(), tensor.shallow_clone());
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
        weights::to_bytes(self.parameters())
    }

    /// Takes the parameters of a weights file, which must be exactly this network's. `file` is for messages.
    pub fn load_bytes(&mut self, bytes: &[u8], file: &str) -> Result<()> {
        weights::copy_into(bytes, file, self.parameters.iter_mut().map(|(name, tensor)| (name.as_str(), tensor)))
    }

    /// A network that shares the parameters.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        let parameters = self.parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        Self { layers: self.layers.clone(), parameters }
    }

    /// A network with parameters of its own on `device`.
    pub fn copy(&self, device: tch::Device) -> Result<Self> {
        let copy = |(name, tensor): &(String, Tensor)| {
            let mut copy = Tensor::f_empty(tensor.size(), (tensor.f_kind()?, device))?;
            copy.f_copy_(&tensor.f_detach()?)?;
            Ok::<_, TensorError>((name.clone(), copy))
        };
        Ok(Self { layers: self.layers.clone(), parameters: self.parameters.iter().map(copy).collect::<Result<_>>()? })
    }

    /// Makes libtorch record what is computed with the parameters.
    pub(crate) fn record_gradients(&self) -> Result<()> {
        self.parameters.iter().try_for_each(|(_, tensor)| tensor.f_set_requires_grad(true).map(drop))?;
        Ok(())
    }
}

/// 32-bit floats [rows, columns] of a matrix.
pub(crate) fn matrix(values: ArrayView2<f64>) -> Result<Tensor> {
    let narrow: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    Ok(Tensor::f_from_slice(&narrow)?.f_reshape([values.nrows() as i64, values.ncols() as i64])?)
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
    use tch::Kind;

    use super::*;

    #[test]
    fn parameters_start_as_pytorch_starts_them() {
        let layers = vec![Layer::Linear { inputs: 400, outputs: 300 }, Layer::Linear { inputs: 300, outputs: 2 }];
        let network = Network::new(layers.clone(), Seed(1)).unwrap();
        let (_, weight) = network.parameters().next().unwrap();
        // Uniform within 1/20: the standard deviation is 1/20/sqrt(3).
        assert!((weight.std(true).double_value(&[]) - 0.05 / 3f64.sqrt()).abs() < 2e-4);
        assert!(weight.abs().max().double_value(&[]) <= 0.05);
        assert_eq!(network.to_bytes().unwrap(), Network::new(layers.clone(), Seed(1)).unwrap().to_bytes().unwrap());
        assert_ne!(network.to_bytes().unwrap(), Network::new(layers, Seed(2)).unwrap().to_bytes().unwrap());
    }

    #[test]
    fn layers_that_do_not_fit_are_refused() {
        let layers = vec![Layer::Linear { inputs: 4, outputs: 3 }, Layer::Linear { inputs: 2, outputs: 2 }];
        let error = Network::new(layers, Seed(1)).err().unwrap().to_string();
        assert_eq!(error, "linear layer 1 (2 to 2) does not fit its place");
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
