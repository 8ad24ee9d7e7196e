"""Writes ../fixtures/torchvision_networks.json: what torchvision's networks, a LeNet and a small ResNet compute with tensors by a formula.

Run with PyTorch 2.13 and torchvision 0.28 from anywhere; `--check` computes everything in double precision too and prints how far the single one is off.

The formula. The tensors of a state dict without `num_batches_tracked` have the numbers 0, 1, ... in its order; the input has the next one. Value k (in the
order of memory) of tensor n comes from integers of 64 bits that wrap around:

    z = (n * 0x100000000 + k) * 0x9E3779B97F4A7C15
    z = (z ^ (z >> 32)) * 0xBF58476D1CE4E5B9
    u = (z >> 40) / 2^23 - 1            from -1 to 1, exact in single precision

    weight of more than one dimension   gain * sqrt(3 / fan_in) * u     fan_in: all dimensions but the first, multiplied
    weight of one dimension             1 + 0.2 u                       batch norms
    running_var                         1 + 0.5 u
    running_mean                        0.1 u
    bias                                1 + 0.1 u
    input                               1.5 u

computed in double precision and then rounded to single. A gain of sqrt(2) keeps the scale through ReLUs; `gain` says what each network has. Biases near 1 keep most
ReLUs behind batch norms open: deep networks with others multiply rounding errors in training. So outputs differ from those in double precision by at most some
millionths of the greatest; gradients by the first weight of GoogLeNet and ResNet-50 by up to 5e-5 of themselves, where a tie in a pooling or at a ReLU falls otherwise.

Each entry holds `state` ([name, shape] of the tensors in order), `input` (shape) and, row by row, the `output` in evaluation. Then, with neither dropout nor
stochastic depth, from the same tensors: the `training_output`; after that one forward pass the sum, and the sum of absolute values, of all running means and of
all running variances; and the Euclidean norms of the gradient of the mean cross-entropy, where row i has label i mod classes, by the first and the last weight.
GoogLeNet with auxiliary heads has them in `auxiliary_outputs`; its loss is main + 0.3 (first + second).
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

torch.set_num_threads(1)
CLASSES = 10


class LeNet(nn.Module):
    """For one channel of 28 x 28."""

    def __init__(self, num_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.conv1(x).relu(), 2)
        x = nn.functional.max_pool2d(self.conv2(x).relu(), 2)
        return self.fc3(self.fc2(self.fc1(x.flatten(1)).relu()).relu())


class SmallResNet(nn.Module):
    """He et al.'s ResNet for small images (2016, section 4.2), with torchvision's blocks and names."""

    def __init__(self, num_classes, channels, blocks, width=16):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = layer(width, width, 1, blocks)
        self.layer2 = layer(width, 2 * width, 2, blocks)
        self.layer3 = layer(2 * width, 4 * width, 2, blocks)
        self.fc = nn.Linear(4 * width, num_classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)).relu())))
        return self.fc(x.mean((2, 3)))


def layer(inputs, outputs, stride, blocks):
    shortcut = None
    if (inputs, stride) != (outputs, 1):
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut), *(BasicBlock(outputs, outputs) for _ in range(blocks - 1)))


# Name, arguments (those of torchvision, without what only turns dropout off), gain, size of the input.
NETWORKS = [
    ("lenet", {}, 1.4, [2, 1, 28, 28]),
    ("small_resnet", {"channels": 1, "blocks": 1}, 1.0, [2, 1, 32, 32]),
    ("small_resnet", {"channels": 3, "blocks": 3}, 1.0, [2, 3, 32, 32]),
    ("resnet18", {}, 1.0, [2, 3, 64, 64]),
    ("resnet34", {}, 1.0, [2, 3, 64, 64]),
    ("resnet50", {}, 1.0, [2, 3, 96, 96]),
    ("googlenet", {"aux_logits": True, "transform_input": False}, 1.2, [2, 3, 128, 128]),
    ("googlenet", {"aux_logits": False, "transform_input": False}, 1.2, [2, 3, 128, 128]),
    ("vgg11", {}, 1.4, [2, 3, 64, 64]),
    ("vgg16", {}, 1.4, [2, 3, 64, 64]),
    ("vgg16_bn", {}, 1.4, [2, 3, 64, 64]),
    ("mobilenet_v2", {}, 1.2, [2, 3, 96, 96]),
    ("efficientnet_b0", {}, 1.2, [2, 3, 96, 96]),
    ("densenet121", {}, 1.4, [2, 3, 96, 96]),
]
OWN = {"lenet": LeNet, "small_resnet": SmallResNet}
WITHOUT_CHANCE = {
    "googlenet": {"dropout": 0.0, "dropout_aux": 0.0, "init_weights": False},
    **{name: {"dropout": 0.0, "init_weights": False} for name in ("vgg11", "vgg16", "vgg16_bn")},
    "mobilenet_v2": {"dropout": 0.0},
    "efficientnet_b0": {"dropout": 0.0, "stochastic_depth_prob": 0.0},
}


def units(number, shape):
    """From -1 to 1, in double precision."""
    count = int(numpy.prod(shape))
    # In pieces, because the greatest tensor has 100 million values.
    result = numpy.empty(count)
    for start in range(0, count, 1 << 22):
        z = numpy.arange(start, min(start + (1 << 22), count), dtype=numpy.uint64)
        z = (z + numpy.uint64(number << 32)) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(32))) * numpy.uint64(0xBF58476D1CE4E5B9)
        result[start:start + len(z)] = (z >> numpy.uint64(40)) / 2.0**23 - 1
    return result.reshape(shape)


def formula(number, name, shape, gain):
    values = units(number, shape)
    if name == "input":
        values *= 1.5
    elif name.endswith("running_var"):
        values = 1 + 0.5 * values
    elif name.endswith("running_mean"):
        values *= 0.1
    elif name.endswith("bias"):
        values = 1 + 0.1 * values
    elif len(shape) == 1:
        values = 1 + 0.2 * values
    else:
        values *= gain * (3 / numpy.prod(shape[1:])) ** 0.5
    return torch.from_numpy(values).float()


def tensors(model):
    return {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")}


def compute(name, arguments, gain, shape, kind):
    make = OWN.get(name) or getattr(torchvision.models, name)
    model = make(num_classes=CLASSES, **arguments, **WITHOUT_CHANCE.get(name, {})).to(kind)
    state = tensors(model)
    for number, (key, tensor) in enumerate(state.items()):
        tensor.copy_(formula(number, key, list(tensor.shape), gain))
    x = formula(len(state), "input", shape, gain).to(kind)
    with torch.no_grad():
        output = model.eval()(x)
    outputs = model.train()(x)
    main, *auxiliary = (outputs.logits, outputs.aux_logits1, outputs.aux_logits2) if isinstance(outputs, tuple) else (outputs,)
    loss = partial(nn.functional.cross_entropy, target=torch.arange(len(x)) % CLASSES)
    (loss(main) + 0.3 * sum(loss(output) for output in auxiliary)).backward()
    weights = [parameter for key, parameter in model.named_parameters() if key.endswith("weight")]
    entry = {
        "name": name,
        "arguments": {**arguments, "num_classes": CLASSES},
        "gain": gain,
        "state": [[key, list(tensor.shape)] for key, tensor in state.items()],
        "input": shape,
        "output": listed(output),
        "training_output": listed(main),
        "running_means": sums(state, "running_mean"),
        "running_variances": sums(state, "running_var"),
        "gradient_norms": {"first": weights[0].grad.norm().item(), "last": weights[-1].grad.norm().item()},
    }
    if auxiliary:
        entry["auxiliary_outputs"] = [listed(output) for output in auxiliary]
    return entry


def listed(tensor):
    """Enough digits to tell numbers of single precision apart."""
    return [float(f"{value:.9g}") for value in tensor.flatten().tolist()]


def sums(state, suffix):
    values = [tensor.double() for name, tensor in state.items() if name.endswith(suffix)]
    return {"sum": sum(value.sum().item() for value in values), "absolute": sum(value.abs().sum().item() for value in values)}


def numbers(entry):
    """What an entry's results are made of."""
    yield "output", entry["output"]
    yield "training", entry["training_output"]
    for output in entry.get("auxiliary_outputs", []):
        yield "auxiliary", output
    if entry["running_means"]["absolute"]:
        yield "statistics", [*entry["running_means"].values(), *entry["running_variances"].values()]
    yield "first gradient", [entry["gradient_norms"]["first"]]
    yield "last gradient", [entry["gradient_norms"]["last"]]


def check(single, double):
    """Prints, for each result, the greatest absolute value and how far single precision is off, divided by that value."""
    words = []
    for (what, ours), (_, theirs) in zip(numbers(single), numbers(double)):
        scale = max(map(abs, theirs))
        words.append(f"{what} {scale:.3g} ±{max(abs(a - b) for a, b in zip(ours, theirs)) / scale:.1e}")
    print(single["name"], single["arguments"], "; ".join(words), flush=True)


if __name__ == "__main__":
    entries = []
    for network in NETWORKS:
        entries.append(compute(*network, torch.float32))
        if "--check" in sys.argv:
            check(entries[-1], compute(*network, torch.float64))

    fixture = {"torch": torch.__version__, "torchvision": torchvision.__version__, "networks": entries}
    path = Path(__file__).parent.parent / "fixtures" / "torchvision_networks.json"
    path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
