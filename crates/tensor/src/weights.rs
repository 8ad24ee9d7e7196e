//! Weights files (safetensors): everything is checked before anything is copied.

use std::borrow::Cow;

use safetensors::tensor::{Dtype, SafeTensors, View};
use tch::{Kind, Tensor};

use crate::{Result, TensorError};

/// The bytes of a safetensors file of named tensors; the same tensors give the same bytes, in whatever order and on whatever device they are.
pub fn to_bytes<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<Vec<u8>> {
    let views: Vec<(&str, Bytes)> =
        tensors.into_iter().map(|(name, tensor)| Ok((name, Bytes::of(name, tensor)?))).collect::<Result<_>>()?;
    safetensors::serialize(views, None).map_err(|error| TensorError::failed(error.to_string()))
}

/// Copies the tensors of a safetensors file over the tensors of the same names. Where a tensor is missing, unexpected, of another shape or kind, or
/// holds a value that is not finite, nothing is copied and one error names them all. `file` is for messages.
pub fn copy_into<'a>(
    bytes: &[u8],
    file: &str,
    targets: impl IntoIterator<Item = (&'a str, &'a mut Tensor)>,
) -> Result<()> {
    let stored = parse(bytes, file)?;
    let mut targets: Vec<(&str, &mut Tensor)> = targets.into_iter().collect();
    let mut mistakes = Vec::new();
    let mut values = Vec::with_capacity(targets.len());
    for (name, target) in &targets {
        // What PyTorch calls `running_var` had a longer name here once.
        let found = stored.tensor(name).or_else(|error| match name.strip_suffix("running_var") {
            Some(layer) => stored.tensor(&format!("{layer}running_variance")),
            None => Err(error),
        });
        match found {
            Err(_) => mistakes.push(format!("`{name}` is missing")),
            Ok(view) => {
                let expected = (dtype(target.f_kind()?), target.size());
                let found = (Some(view.dtype()), size(view.shape()));
                if expected != found {
                    mistakes.push(format!("`{name}` is {}, expected {}", described(&found), described(&expected)));
                } else {
                    values.push(tensor(&view)?);
                    if values.last().is_some_and(|value| !is_finite(value).unwrap_or(false)) {
                        mistakes.push(format!("`{name}` holds a value that is not finite"));
                    }
                }
            }
        }
    }
    let mut unexpected: Vec<_> =
        stored.names().into_iter().filter(|name| targets.iter().all(|(target, _)| *target != current(name))).collect();
    unexpected.sort_unstable();
    mistakes.extend(unexpected.into_iter().map(|name| format!("`{name}` is unexpected")));
    if !mistakes.is_empty() {
        return Err(TensorError::failed(format!("{file} does not fit the network: {}", mistakes.join("; ")))
            .help("use the weights of a network with the same layers"));
    }
    let _no_grad = tch::no_grad_guard();
    for ((_, target), value) in targets.iter_mut().zip(&values) {
        target.f_copy_(value)?;
    }
    Ok(())
}

/// The name of today.
fn current(name: &str) -> String {
    match name.strip_suffix("running_variance") {
        Some(layer) => format!("{layer}running_var"),
        None => name.to_owned(),
    }
}

/// The tensors of a safetensors file, not yet copied. `file` is for messages.
pub(crate) fn parse<'a>(bytes: &'a [u8], file: &str) -> Result<SafeTensors<'a>> {
    SafeTensors::deserialize(bytes).map_err(|error| {
        TensorError::failed(format!("{file} is not a whole safetensors file ({error})"))
            .help("fetch or make the file again")
    })
}

/// A tensor of its own, copied from a file's bytes.
pub(crate) fn tensor(view: &safetensors::tensor::TensorView) -> Result<Tensor> {
    let kind = kind(view.dtype())
        .ok_or_else(|| TensorError::failed(format!("tensors of kind {:?} are not known", view.dtype())))?;
    Ok(Tensor::f_from_data_size(view.data(), &size(view.shape()), kind)?)
}

/// Whether every value is a finite number.
pub(crate) fn is_finite(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0)
}

const KINDS: [(Dtype, Kind); 7] = [
    (Dtype::F32, Kind::Float),
    (Dtype::F64, Kind::Double),
    (Dtype::F16, Kind::Half),
    (Dtype::BF16, Kind::BFloat16),
    (Dtype::I64, Kind::Int64),
    (Dtype::I32, Kind::Int),
    (Dtype::U8, Kind::Uint8),
];

pub(crate) fn kind(dtype: Dtype) -> Option<Kind> {
    KINDS.iter().find(|(candidate, _)| *candidate == dtype).map(|(_, kind)| *kind)
}

fn dtype(kind: Kind) -> Option<Dtype> {
    KINDS.iter().find(|(_, candidate)| *candidate == kind).map(|(dtype, _)| *dtype)
}

fn size(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&length| length as i64).collect()
}

fn described((dtype, size): &(Option<Dtype>, Vec<i64>)) -> String {
    match dtype {
        Some(dtype) => format!("{dtype:?} {size:?}"),
        None => format!("of an unknown kind, {size:?}"),
    }
}

/// A tensor's bytes, as safetensors wants to see them.
struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Bytes {
    fn of(name: &str, tensor: &Tensor) -> Result<Self> {
        let kind = tensor.f_kind()?;
        let dtype = dtype(kind)
            .ok_or_else(|| TensorError::failed(format!("tensor `{name}` of kind {kind:?} cannot be stored")))?;
        let tensor = tensor.f_detach()?.f_to(tch::Device::Cpu)?.f_contiguous()?;
        let mut data = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut data, tensor.numel())?;
        Ok(Self { dtype, shape: tensor.size().iter().map(|&length| length as usize).collect(), data })
    }
}

impl View for Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn stored(tensors: &[(&str, Tensor)]) -> Vec<u8> {
        to_bytes(tensors.iter().map(|(name, tensor)| (*name, tensor))).unwrap()
    }

    fn good() -> [(&'static str, Tensor); 2] {
        [("weight", Tensor::from_slice2(&[[1.0f32, 2.0], [3.0, 4.0]])), ("bias", Tensor::from_slice(&[5.0f32, 6.0]))]
    }

    /// Loads into zeros and returns the error, after checking that nothing was touched.
    fn refused(bytes: &[u8]) -> String {
        let mut weight = Tensor::zeros([2, 2], (Kind::Float, tch::Device::Cpu));
        let mut bias = Tensor::zeros([2], (Kind::Float, tch::Device::Cpu));
        let error = copy_into(bytes, "base.safetensors", [("weight", &mut weight), ("bias", &mut bias)]).unwrap_err();
        assert_eq!(
            weight.abs().sum(Kind::Float).double_value(&[]) + bias.abs().sum(Kind::Float).double_value(&[]),
            0.0
        );
        error.to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        let [(_, expected), _] = good();
        // A transposed tensor is not contiguous.
        let bytes =
            stored(&[("weight", expected.tr().contiguous().tr()), ("bias", Tensor::from_slice(&[5.0f32, 6.0]))]);
        let [(_, bias_first), (_, weight_second)] = good();
        assert_eq!(bytes, stored(&[("bias", weight_second), ("weight", bias_first)]), "order does not matter");
        let mut weight = Tensor::zeros([2, 2], (Kind::Float, tch::Device::Cpu));
        let mut bias = Tensor::zeros([2], (Kind::Float, tch::Device::Cpu));
        copy_into(&bytes, "x", [("weight", &mut weight), ("bias", &mut bias)]).unwrap();
        assert_eq!(weight, expected);
        assert_eq!(Vec::<f32>::try_from(bias).unwrap(), [5.0, 6.0]);
    }

    #[test]
    fn files_that_do_not_fit_change_nothing() {
        let one = || Tensor::from_slice(&[1.0f32]);
        let nan = || Tensor::from_slice(&[f32::NAN, 0.0]);
        let [(_, weight), _] = good();
        let half = weight.to_kind(Kind::Half);
        let cases: [(&[(&str, Tensor)], &str); 4] = [
            (&[("weight", weight.copy()), ("head", one())], "`bias` is missing; `head` is unexpected"),
            (&[("weight", weight.copy()), ("bias", one())], "`bias` is F32 [1], expected F32 [2]"),
            (
                &[("weight", half), ("bias", one())],
                "`weight` is F16 [2, 2], expected F32 [2, 2]; `bias` is F32 [1], expected F32 [2]",
            ),
            (&[("weight", weight.copy()), ("bias", nan())], "`bias` holds a value that is not finite"),
        ];
        for (tensors, expected) in cases {
            assert_eq!(refused(&stored(tensors)), format!("base.safetensors does not fit the network: {expected}"));
        }
        let bytes = stored(&good());
        for length in [0, 7, 20, bytes.len() - 1] {
            let error = refused(&bytes[..length]);
            assert!(error.starts_with("base.safetensors is not a whole safetensors file"), "{error}");
        }
    }
}
