//! Changes of a network's layers, and networks that take over what others know.

use std::collections::BTreeSet;

use retune_spec::diagnostic::did_you_mean;
use retune_spec::layers::{Insert, LayerSpec, Surgery, Width};
use retune_stage::Seed;

use crate::layer::{Convolution, Layer, Named, Pool, PoolOf, Shape, shape_after};
use crate::network::path;
use crate::{Network, Result, TensorError};

/// Whether a pattern means a name: itself, what lies within it, or, where it has a `*`, whatever the rest leaves for that.
pub fn covers(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() || rest.starts_with('.') };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    // What lies within a name that fits is meant too.
    last.is_empty() || rest.ends_with(last) || rest.contains(&format!("{last}."))
}

impl Network {
    /// A network with changed layers, which takes over the tensors of this one but for those of blocks that were replaced or have another size; what is new is
    /// drawn from `seed`. `n_outputs` is what `labels` stands for. Gives the names of the tensors that are new.
    pub fn changed(&self, surgery: &[Surgery], n_outputs: usize, seed: Seed) -> Result<(Self, Vec<String>)> {
        let mut layers = self.layers().to_vec();
        let mut replaced = BTreeSet::new();
        for change in surgery {
            operate(&mut layers, self.input(), change, n_outputs, &mut replaced)?;
        }
        shape_after(&layers, self.input()).map_err(|error| match error.0.help {
            None => error.help("change what follows too: `replace: { block: NAME, with: [...] }`"),
            Some(_) => error,
        })?;
        let mut network = Self::named(layers, self.input(), seed)?;
        let fresh = network.take_over(self, |name| replaced.iter().any(|block| covers(block, name)))?;
        Ok((network, fresh))
    }

    /// Copies the tensors of another network that have the same name and size, but for those that `is_fresh` names. Gives the names of the others.
    pub fn take_over(&mut self, other: &Self, is_fresh: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let _no_grad = tch::no_grad_guard();
        let mut fresh = Vec::new();
        for (name, tensor) in self.tensors_mut() {
            let known = other.tensors().find(|(known, _)| *known == name).map(|(_, tensor)| tensor);
            match known.filter(|known| known.size() == tensor.size() && !is_fresh(name)) {
                Some(known) => tensor.f_copy_(known)?,
                None => fresh.push(name.to_owned()),
            }
        }
        Ok(fresh)
    }
}

fn operate(
    layers: &mut Vec<Named>,
    input: Shape,
    change: &Surgery,
    n_outputs: usize,
    replaced: &mut BTreeSet<String>,
) -> Result<()> {
    match change {
        Surgery::Replace(replace) => {
            replaced.insert(replace.block.clone());
            at(layers, input, &replace.block, |list, place, before| {
                let name = list[place].name.clone();
                list[place] = built(&replace.with, before, &name, n_outputs)?;
                Ok(())
            })
        }
        Surgery::Remove(remove) => at(layers, input, &remove.block, |list, place, _| {
            list.remove(place);
            Ok(())
        }),
        Surgery::Insert(Insert { after, before, name, with }) => {
            replaced.insert(name.clone());
            let (block, behind) = match (after, before) {
                (Some(block), None) => (block, 1),
                (None, Some(block)) => (block, 0),
                _ => {
                    return Err(TensorError::data("`insert` needs one of `after` and `before`")
                        .help("write `insert: { after: BLOCK, name: NAME, with: [...] }`"));
                }
            };
            at(layers, input, block, |list, place, shape| {
                let shape = if behind == 1 { list[place].layer.shape_after(shape)? } else { shape };
                list.insert(place + behind, built(with, shape, name, n_outputs)?);
                Ok(())
            })
        }
        Surgery::Append(append) => {
            replaced.insert(append.name.clone());
            let shape = shape_after(layers, input)?;
            layers.push(built(&append.with, shape, &append.name, n_outputs)?);
            Ok(())
        }
        Surgery::Auxiliary(head) => at(layers, input, &head.after, |list, place, shape| {
            let shape = list[place].layer.shape_after(shape)?;
            let layer = Layer::Auxiliary { weight: head.weight, head: vec![built(&head.with, shape, "", n_outputs)?] };
            list.insert(place + 1, layer.named(head.name.clone()));
            Ok(())
        }),
        Surgery::Activation(change) => {
            let n = for_each(layers, "", &mut |owner, layer| {
                let is_meant = matches!(layer, Layer::Activation(_)) && covers(&change.blocks, owner);
                if is_meant {
                    *layer = Layer::Activation(change.to);
                }
                is_meant
            });
            some(n, "activation", &change.blocks)
        }
        Surgery::Dropout(change) => {
            let n = for_each(layers, "", &mut |owner, layer| {
                let is_meant = matches!(layer, Layer::Dropout(_)) && covers(&change.blocks, owner);
                if is_meant {
                    *layer = Layer::Dropout(change.to);
                }
                is_meant
            });
            some(n, "dropout", &change.blocks)
        }
    }
}

fn some(n_changed: usize, what: &str, blocks: &str) -> Result<()> {
    if n_changed > 0 {
        return Ok(());
    }
    Err(TensorError::data(format!("the network has no {what} in `{blocks}`"))
        .help("name blocks as their tensors are named, or leave `blocks` out for all"))
}

/// Calls `change` for each layer with the name of the block that it lies in; counts how often it said yes.
fn for_each(layers: &mut [Named], owner: &str, change: &mut dyn FnMut(&str, &mut Layer) -> bool) -> usize {
    let mut n = 0;
    for named in layers {
        let owner = path(owner, &named.name);
        n += usize::from(change(&owner, &mut named.layer));
        for list in named.layer.within_mut() {
            n += for_each(list, &owner, change);
        }
    }
    n
}

/// Calls `change` with the list in which a block lies, its place, and the shape that comes into it.
fn at(
    layers: &mut Vec<Named>,
    input: Shape,
    block: &str,
    change: impl FnMut(&mut Vec<Named>, usize, Shape) -> Result<()>,
) -> Result<()> {
    let mut change = change;
    if find(layers, "", input, block, &mut change)? {
        return Ok(());
    }
    let mut names = Vec::new();
    gather(layers, "", &mut names);
    let help = match did_you_mean(block, names.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => {
            let top: Vec<String> =
                layers.iter().map(|named| named.name.clone()).filter(|name| !name.is_empty()).collect();
            format!("its blocks are {}", top.join(", "))
        }
    };
    Err(TensorError::data(format!("the network has no block `{block}`")).help(help))
}

fn gather(layers: &[Named], owner: &str, names: &mut Vec<String>) {
    for named in layers {
        let owner = path(owner, &named.name);
        if !named.name.is_empty() {
            names.push(owner.clone());
        }
        named.layer.within().into_iter().for_each(|list| gather(list, &owner, names));
    }
}

/// What a found block is changed by.
type Change<'a> = &'a mut dyn FnMut(&mut Vec<Named>, usize, Shape) -> Result<()>;

fn find(layers: &mut Vec<Named>, owner: &str, input: Shape, block: &str, change: Change) -> Result<bool> {
    let mut shape = input;
    for place in 0..layers.len() {
        let here = path(owner, &layers[place].name);
        if here == block && !layers[place].name.is_empty() {
            change(layers, place, shape)?;
            return Ok(true);
        }
        let is_beside = matches!(layers[place].layer, Layer::Concatenation(_));
        for list in layers[place].layer.within_mut() {
            let found = if is_beside {
                // Each branch sees the same.
                find_beside(list, &here, shape, block, change)?
            } else {
                find(list, &here, shape, block, change)?
            };
            if found {
                return Ok(true);
            }
        }
        shape = layers[place].layer.shape_after(shape)?;
    }
    Ok(false)
}

fn find_beside(branches: &mut Vec<Named>, owner: &str, shape: Shape, block: &str, change: Change) -> Result<bool> {
    for place in 0..branches.len() {
        let here = path(owner, &branches[place].name);
        if here == block && !branches[place].name.is_empty() {
            change(branches, place, shape)?;
            return Ok(true);
        }
        for list in branches[place].layer.within_mut() {
            if find(list, &here, shape, block, change)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Layers as one under a name: a single one itself, several as a sequence whose parts are counted.
fn built(specs: &[LayerSpec], shape: Shape, name: &str, n_outputs: usize) -> Result<Named> {
    let (mut layers, _) = listed(specs, shape, n_outputs)?;
    let layer = match layers.len() {
        1 => layers.remove(0),
        _ => Layer::Sequence(counted(layers)),
    };
    Ok(layer.named(name))
}

fn counted(layers: Vec<Layer>) -> Vec<Named> {
    layers.into_iter().enumerate().map(|(number, layer)| layer.named(number.to_string())).collect()
}

/// Layers whose inputs follow from the shape before each, and the shape after the last.
fn listed(specs: &[LayerSpec], shape: Shape, n_outputs: usize) -> Result<(Vec<Layer>, Shape)> {
    let mut shape = shape;
    let mut layers = Vec::with_capacity(specs.len());
    for spec in specs {
        let layer = layer(spec, shape, n_outputs)?;
        shape = layer.shape_after(shape)?;
        layers.push(layer);
    }
    Ok((layers, shape))
}

fn layer(spec: &LayerSpec, shape: Shape, n_outputs: usize) -> Result<Layer> {
    let misfit = |what: &str, help: &str| TensorError::data(format!("{what} does not fit {}", shape.told())).help(help);
    Ok(match spec {
        LayerSpec::Linear(width) => {
            let (Shape::Features(inputs) | Shape::Tokens(_, inputs)) = shape else {
                return Err(misfit("`linear`", "put `flatten` before it"));
            };
            let outputs = if let Width::Outputs(outputs) = width { *outputs } else { n_outputs };
            Layer::Linear { inputs, outputs }
        }
        LayerSpec::Convolution(filter) => {
            let Shape::Image([inputs, ..]) = shape else {
                return Err(misfit("`convolution`", "it is for images, before `flatten`"));
            };
            Layer::Convolution(Convolution {
                inputs,
                outputs: filter.channels,
                kernel: filter.kernel,
                stride: filter.stride,
                padding: filter.padding.unwrap_or(filter.kernel / 2),
                groups: filter.groups,
                bias: filter.bias,
            })
        }
        LayerSpec::BatchNorm => match shape {
            Shape::Features(width) | Shape::Image([width, ..]) => Layer::batch_norm(width),
            Shape::Tokens(..) => return Err(misfit("`batch_norm`", "use `layer_norm`")),
        },
        LayerSpec::LayerNorm => match shape {
            Shape::Features(width) | Shape::Tokens(_, width) => Layer::LayerNorm(width),
            Shape::Image(_) => return Err(misfit("`layer_norm`", "use `batch_norm`")),
        },
        LayerSpec::Activation(activation) => Layer::Activation(*activation),
        LayerSpec::Dropout(share) => Layer::Dropout(share.0),
        LayerSpec::MaxPool(window) | LayerSpec::MeanPool(window) => {
            let of = if matches!(spec, LayerSpec::MaxPool(_)) { PoolOf::Max } else { PoolOf::Mean };
            let (kernel, padding) = (window.kernel, window.padding);
            Layer::Pool(Pool { of, kernel, stride: window.stride.unwrap_or(kernel), padding, ceil: false })
        }
        LayerSpec::AdaptivePool(side) => Layer::AdaptivePool(side.0),
        LayerSpec::Flatten => Layer::Flatten,
        LayerSpec::Residual(specs) => {
            let (body, _) = listed(specs, shape, n_outputs)?;
            Layer::Residual { body: counted(body), shortcut: Vec::new() }
        }
        LayerSpec::Branches(lists) => {
            let branch = |specs: &Vec<LayerSpec>| {
                let (layers, _) = listed(specs, shape, n_outputs)?;
                Ok(Layer::Sequence(counted(layers)))
            };
            Layer::Concatenation(counted(lists.iter().map(branch).collect::<Result<_>>()?))
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use retune_spec::estimators::{Activation, Architecture};
    use serde_json::json;

    use super::*;

    fn network(word: &str) -> Network {
        let architecture: Architecture = serde_json::from_value(word.into()).unwrap();
        let layers = crate::architectures::layers(&architecture, 3, 10);
        Network::named(layers, Shape::Image([3, 64, 64]), Seed(1)).unwrap()
    }

    fn changed(word: &str, surgery: serde_json::Value) -> Result<(Network, Vec<String>)> {
        network(word).changed(&serde_json::from_value::<Vec<Surgery>>(surgery).unwrap(), 4, Seed(2))
    }

    #[test]
    fn patterns_mean_blocks_and_what_lies_within() {
        for (pattern, name, expected) in [
            ("fc", "fc.weight", true),
            ("fc", "fc1.weight", false),
            ("layer1", "layer1.0.conv1.weight", true),
            ("layer1.*", "layer1.0.conv1.weight", true),
            ("*.bias", "layer1.bias", true),
            ("*.bias", "layer1.bias.more", true),
            ("*.bias", "layer1.weight", false),
            ("*", "anything", true),
            ("layer*.conv", "layer2.0.conv.weight", true),
            ("layer*.conv", "layer2.0.convs.weight", false),
        ] {
            assert_eq!(covers(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_new_head_of_any_shape_takes_the_place_of_the_old_one() {
        let head = json!([{ "replace": { "block": "fc", "with": [
            { "linear": 64 }, { "activation": "silu" }, { "linear": 64 }, "dropout", "linear"
        ] } }]);
        let (network, fresh) = changed("resnet18", head).unwrap();
        assert_eq!(network.n_outputs(), 4);
        assert_eq!(fresh, ["fc.0.weight", "fc.0.bias", "fc.2.weight", "fc.2.bias", "fc.4.weight", "fc.4.bias"]);
        let old = super::tests::network("resnet18");
        for ((name, tensor), (_, before)) in network.tensors().zip(old.tensors()).take(20) {
            assert_eq!(tensor, before, "{name}");
        }
        let (_, fresh) =
            changed("vgg11", json!([{ "replace": { "block": "classifier.6", "with": ["linear"] } }])).unwrap();
        assert_eq!(fresh, ["classifier.6.weight", "classifier.6.bias"]);
    }

    #[test]
    fn layers_are_taken_out_put_in_and_changed() {
        let cut = json!([{ "remove": { "block": "layer4" } }, { "replace": { "block": "fc", "with": ["linear"] } }]);
        let (network, _) = changed("resnet18", cut).unwrap();
        assert!(network.tensors().all(|(name, _)| !name.starts_with("layer4")));
        let put = json!([
            { "insert": { "after": "layer2.1", "name": "extra", "with": [{ "residual": [{ "convolution": { "channels": 128 } }, "batch_norm"] }] } },
            { "auxiliary": { "after": "layer3", "name": "early", "with": ["adaptive_pool", "flatten", "linear"] } },
            { "insert": { "before": "fc", "name": "wide", "with": [{ "branches": [[{ "linear": 8 }], [{ "linear": 4 }, { "activation": "tanh" }]] }] } },
            { "replace": { "block": "fc", "with": ["linear"] } },
        ]);
        let (network, fresh) = changed("resnet18", put).unwrap();
        assert!(fresh.contains(&"layer2.extra.0.weight".to_owned()), "{fresh:?}");
        assert!(
            fresh.contains(&"early.2.weight".to_owned()) && fresh.contains(&"wide.1.0.bias".to_owned()),
            "{fresh:?}"
        );
        let input = tch::Tensor::rand([2, 3, 64, 64], (tch::Kind::Float, tch::Device::Cpu));
        let mut pass = crate::ForwardPass::new(Seed(1));
        assert_eq!(network.forward(&input, &mut crate::Mode::Train(&mut pass)).unwrap().size(), [2, 4]);
        assert_eq!(pass.auxiliary[0].1.size(), [2, 4]);
        assert_eq!(network.forward(&input, &mut crate::Mode::Predict).unwrap().size(), [2, 4]);

        let (network, _) =
            changed("resnet18", json!([{ "activation": { "blocks": "layer1", "to": "gelu" } }])).unwrap();
        let mut layers = network.layers().to_vec();
        let n = for_each(&mut layers, "", &mut |_, layer| *layer == Layer::Activation(Activation::Gelu));
        assert_eq!(n, 4);
    }

    #[test]
    fn what_does_not_fit_is_named_with_the_way_out() {
        for (surgery, message, help) in [
            (
                json!([{ "remove": { "block": "layer5" } }]),
                "the network has no block `layer5`",
                "did you mean `layer1`?",
            ),
            (
                json!([{ "remove": { "block": "layer4" } }]),
                "fc: the layer linear 512 -> 10 does not fit a width of 256",
                "change what follows too: `replace: { block: NAME, with: [...] }`",
            ),
            (
                json!([{ "replace": { "block": "layer4", "with": [{ "linear": 3 }] } }]),
                "`linear` does not fit images of 256 x 4 x 4",
                "put `flatten` before it",
            ),
            (
                json!([{ "dropout": { "to": 0.2 } }]),
                "the network has no dropout in `*`",
                "name blocks as their tensors are named, or leave `blocks` out for all",
            ),
            (
                json!([{ "append": { "name": "fc", "with": ["linear"] } }]),
                "two layers of the network are called `fc`",
                "give one of them another name",
            ),
        ] {
            let error = changed("resnet18", surgery).err().unwrap();
            assert_eq!(error.0.message, message);
            assert_eq!(error.0.help.as_deref(), Some(help));
        }
    }
}
