//! Weights of other programs into networks.

use std::ffi::CString;
use std::path::Path;

use retune_spec::estimators::Architecture;
use retune_spec::fine_tuning::BaseNetwork;
use retune_weights::{Dtype, ErrorKind, KNOWN_BUFFERS, Mapping, Options, Weights, WeightsError, compare};
use tch::{Kind, Tensor};

use crate::layer::Named;
use crate::network::outline;
use crate::surgery::covers;
use crate::{Network, Result, TensorError, architectures, bridge};

/// Fills a network with the weights that a declaration names: every name, shape and value is checked before anything is copied. Blocks under `fresh` stay as they
/// are. Gives what the user should know.
pub fn load_weights(network: &mut Network, base: &BaseNetwork, path: &Path) -> Result<Vec<String>> {
    let options = Options { sha256: base.sha256.clone(), key: base.key.clone() };
    let weights = match Weights::open(path, &options) {
        Err(error) if error.kind() == ErrorKind::TorchScript && base.trust => scripted(path)?,
        other => other.map_err(refused)?,
    };
    let rules = base.map.iter().map(|(pattern, name)| (pattern.as_str(), name.as_deref()));
    let mapping = Mapping::new(rules).map_err(refused)?;
    let weights = if mapping.is_empty() { weights } else { weights.mapped(&mapping).map_err(refused)? };
    let mut notes = weights.notes().to_vec();
    let is_fresh = |name: &str| base.fresh.iter().any(|pattern| covers(pattern, name));
    for pattern in &base.fresh {
        if !network.plan().any(|(name, ..)| covers(pattern, name)) {
            return Err(TensorError::data(format!("`fresh: [{pattern}]`: the network has no such block"))
                .help("name blocks as their tensors are named"));
        }
    }
    let expected: Vec<(String, Dtype, Vec<usize>)> = network
        .plan()
        .filter(|(name, ..)| !is_fresh(name))
        .map(|(name, size, _)| (name.to_owned(), Dtype::F32, size.iter().map(|&side| side as usize).collect()))
        .collect();
    let ignored: Vec<&str> = KNOWN_BUFFERS.into_iter().collect();
    let mut fit = compare(&weights, &expected, &ignored);
    fit.unexpected.retain(|name| !is_fresh(name));
    if !fit.fits() {
        let head = network.head().map(|head| head.name).unwrap_or_default();
        let only_head = fit.missing.is_empty()
            && fit.unexpected.is_empty()
            && fit.not_finite.is_empty()
            && fit.mismatched.iter().all(|mismatch| covers(&head, &mismatch.name));
        let help = if only_head {
            format!("the head is of another size, for other labels: `fresh: [{head}]` starts it from nothing")
        } else if let Some((pattern, replacement)) = fit.hint() {
            format!("give the tensors other names: `map: {{ \"{pattern}\": \"{replacement}\" }}`")
        } else if let Some((word, share)) = closest(&weights, network) {
            format!("{:.0} % of its tensors are those of `{word}`: `network: {word}`", share * 100.0)
        } else {
            "use weights of the same network, or name what may differ: `map`, `fresh`".to_owned()
        };
        return Err(TensorError::data(format!("{} does not fit the network: {fit}", weights.file())).help(help));
    }
    for kind in fit.kinds.iter().take(1) {
        let n = fit.kinds.len();
        notes.push(format!("{n} tensors of kind {:?} became {:?}", kind.found, kind.expected));
    }
    let _no_grad = tch::no_grad_guard();
    for (name, tensor) in network.tensors_mut() {
        if is_fresh(name) {
            continue;
        }
        let Some(stored) = weights.get(name) else { continue };
        let shape: Vec<i64> = stored.shape().iter().map(|&side| side as i64).collect();
        tensor.f_copy_(&Tensor::f_from_data_size(&stored.bytes(), &shape, kind_of(stored.dtype()))?)?;
    }
    Ok(notes)
}

fn kind_of(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::I16 => Kind::Int16,
        Dtype::I8 => Kind::Int8,
        Dtype::U8 => Kind::Uint8,
        Dtype::Bool => Kind::Bool,
    }
}

fn refused(error: WeightsError) -> TensorError {
    let told = TensorError::data(error.message());
    match error.help() {
        Some(help) => told.help(help),
        None => told,
    }
}

/// The named parameters and buffers of a TorchScript file, which is loaded by libtorch: its code may run.
fn scripted(path: &Path) -> Result<Weights> {
    let name =
        CString::new(path.as_os_str().as_encoded_bytes()).map_err(|error| TensorError::data(error.to_string()))?;
    let tensors = bridge::scripted(&name)?;
    let bytes = crate::weights::to_bytes(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
    let file = path.with_extension("safetensors").display().to_string();
    Weights::from_bytes(bytes, &file, &Options::default()).map_err(refused)
}

/// The network by name of whose tensors the file has the greatest share, where that is more than it has of this one's, and most of them.
fn closest(weights: &Weights, network: &Network) -> Option<(&'static str, f64)> {
    let share = |layers: &[Named]| {
        let names: Vec<String> = outline(layers).into_iter().map(|planned| planned.name).collect();
        let n_known = names.iter().filter(|name| weights.get(name).is_some()).count();
        // What the file has besides speaks against it as well.
        let all = weights.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")).count();
        n_known as f64 / names.len().max(all).max(1) as f64
    };
    let own = share(network.layers());
    let shares =
        Architecture::all().map(|(word, architecture)| (word, share(&architectures::layers(&architecture, 3, 10))));
    let best = shares.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (best.1 > own && best.1 > 0.5).then_some(best)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use retune_stage::Seed;

    use super::*;
    use crate::layer::Shape;

    fn network(word: &str, n_outputs: usize, seed: u64) -> Network {
        let architecture: Architecture = serde_json::from_value(word.into()).unwrap();
        let layers = architectures::layers(&architecture, 3, n_outputs);
        Network::named(layers, Shape::Image([3, 96, 96]), Seed(seed)).unwrap()
    }

    fn base(json: &str) -> BaseNetwork {
        serde_json::from_str(json).unwrap()
    }

    /// A file with the tensors of a network, as `change` leaves them.
    fn file(network: &Network, change: impl Fn(&str, &Tensor) -> Option<(String, Tensor)>) -> tempfile::NamedTempFile {
        let tensors: Vec<(String, Tensor)> =
            network.tensors().filter_map(|(name, tensor)| change(name, tensor)).collect();
        let bytes = crate::weights::to_bytes(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
        let file = tempfile::Builder::new().suffix(".safetensors").tempfile().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn same(name: &str, tensor: &Tensor) -> Option<(String, Tensor)> {
        Some((name.to_owned(), tensor.shallow_clone()))
    }

    #[test]
    fn weights_are_taken_under_other_names_and_in_other_kinds() {
        let source = network("small_resnet", 10, 1);
        let half = file(&source, |name, tensor| Some((format!("module.{name}"), tensor.to_kind(Kind::Double))));
        let mut target = network("small_resnet", 10, 2);
        let declared = base(r#"{ "network": "small_resnet", "map": { "module.*": "*" } }"#);
        let notes = load_weights(&mut target, &declared, half.path()).unwrap();
        assert!(notes.iter().any(|note| note.contains("became")), "{notes:?}");
        assert_eq!(target.to_bytes().unwrap(), source.to_bytes().unwrap());
    }

    #[test]
    fn torch_script_is_loaded_by_whoever_trusts_it() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/scripted.pt"));
        let architecture: Architecture =
            serde_json::from_value(serde_json::json!({ "small_resnet": { "width": 2 } })).unwrap();
        let layers = architectures::layers(&architecture, 1, 3);
        let mut network = Network::named(layers, Shape::Image([1, 8, 8]), Seed(1)).unwrap();
        let trusting = r#"{ "network": { "small_resnet": { "width": 2 } }, "trust": true }"#;
        let error = load_weights(&mut network, &base(&trusting.replace("true", "false")), path).unwrap_err();
        assert!(error.0.message.contains("TorchScript"), "{error}");
        load_weights(&mut network, &base(trusting), path).unwrap();
        let expected: serde_json::Value =
            serde_json::from_str(include_str!("../tests/fixtures/scripted.json")).unwrap();
        let numbers = |key: &str| -> Vec<f32> { serde_json::from_value(expected[key].clone()).unwrap() };
        let input = Tensor::from_slice(&numbers("input")).view([2, 1, 8, 8]);
        let output = network.forward(&input, &mut crate::Mode::Predict).unwrap();
        let output: Vec<f32> = output.view([-1]).try_into().unwrap();
        let expected = numbers("output");
        assert_eq!(output.len(), expected.len());
        let greatest = output.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(greatest < 1e-5, "{output:?} {expected:?}");
    }

    #[test]
    fn a_head_for_other_labels_starts_from_nothing_where_that_is_said() {
        let weights = file(&network("small_resnet", 7, 1), same);
        let mut target = network("small_resnet", 10, 2);
        let before = target.to_bytes().unwrap();
        let error = load_weights(&mut target, &base(r#"{ "network": "small_resnet" }"#), weights.path()).unwrap_err();
        assert!(error.0.message.contains("fc.weight"), "{error}");
        assert_eq!(
            error.0.help.unwrap(),
            "the head is of another size, for other labels: `fresh: [fc]` starts it from nothing"
        );
        assert_eq!(target.to_bytes().unwrap(), before, "nothing was copied");
        load_weights(&mut target, &base(r#"{ "network": "small_resnet", "fresh": ["fc"] }"#), weights.path()).unwrap();
        assert_ne!(target.to_bytes().unwrap(), before);
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_way_out() {
        let mobile = network("mobilenet_v2", 10, 1);
        let without = |name: &str, tensor: &Tensor| if name == "conv1.weight" { None } else { same(name, tensor) };
        let spoilt = |name: &str, tensor: &Tensor| {
            let tensor = if name == "fc.bias" { tensor * f64::NAN } else { tensor.shallow_clone() };
            Some((name.to_owned(), tensor))
        };
        let small = network("small_resnet", 10, 1);
        for (weights, declared, message, help) in [
            (
                file(&mobile, same),
                r#"{ "network": "resnet18" }"#,
                "does not fit the network",
                "`network: mobilenet_v2`",
            ),
            (file(&small, without), r#"{ "network": "small_resnet" }"#, "conv1.weight", "name what may differ"),
            (file(&small, spoilt), r#"{ "network": "small_resnet" }"#, "fc.bias", "name what may differ"),
            (
                file(&small, same),
                r#"{ "network": "small_resnet", "fresh": ["head"] }"#,
                "`fresh: [head]`",
                "as their tensors",
            ),
        ] {
            let word =
                serde_json::from_str::<serde_json::Value>(declared).unwrap()["network"].as_str().unwrap().to_owned();
            let mut target = network(&word, 10, 2);
            let error = load_weights(&mut target, &base(declared), weights.path()).unwrap_err();
            assert!(error.0.message.contains(message), "{error}");
            let told = error.0.help.unwrap_or_default();
            assert!(told.contains(help), "{told}");
        }
    }
}
