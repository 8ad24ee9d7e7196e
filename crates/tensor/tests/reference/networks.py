"""Writes ../fixtures/networks.json: what PyTorch computes for small networks.

Forward passes and losses for every activation, and the parameters after 1, 10 and 100 steps of every optimiser. Run with PyTorch 2.13 from anywhere.
"""

import json
from pathlib import Path

import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "selu": nn.SELU, "tanh": nn.Tanh}


def network(activation):
    return nn.Sequential(nn.Linear(4, 5), activation(), nn.Linear(5, 3))


def parameters(model):
    return [parameter.detach().flatten().tolist() for parameter in model.parameters()]


features = torch.randn(12, 4)
classes = torch.randint(3, (12,))
values = torch.randn(12, 3)
weights = torch.rand(12) + 0.5

forward = []
for name, activation in ACTIVATIONS.items():
    model = network(activation)
    output = model(features)
    forward.append({
        "activation": name,
        "parameters": parameters(model),
        "output": output.flatten().tolist(),
        "cross_entropy": nn.functional.cross_entropy(output, classes).item(),
        "smoothed": nn.functional.cross_entropy(output, classes, label_smoothing=0.1).item(),
        "weighted": (nn.functional.cross_entropy(output, classes, reduction="none") * weights).mean().item(),
        "squared": nn.functional.mse_loss(output, values).item(),
        "squared_weighted": (nn.functional.mse_loss(output, values, reduction="none").mean(1) * weights).mean().item(),
    })

OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True),
}
RATE = {"adamw": 1e-2, "adam": 1e-2, "sgd": 5e-2}
WEIGHT_DECAY, LAYER_DECAY = 0.1, 0.5

steps = []
for name, optimizer in OPTIMIZERS.items():
    model = network(nn.Tanh)
    start = parameters(model)
    groups = [
        {
            "params": [parameter],
            "lr": RATE[name] * (LAYER_DECAY if key.startswith("0.") else 1.0),
            "weight_decay": WEIGHT_DECAY if parameter.ndim > 1 else 0.0,
        }
        for key, parameter in model.named_parameters()
    ]
    optimizer = optimizer(groups)
    after = {}
    for step in range(1, 101):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(features), classes).backward()
        optimizer.step()
        if step in (1, 10, 100):
            after[step] = parameters(model)
    steps.append({"optimizer": name, "learning_rate": RATE[name], "start": start, "after": after})

fixture = {
    "torch": torch.__version__,
    "features": features.flatten().tolist(),
    "classes": classes.tolist(),
    "values": values.flatten().tolist(),
    "weights": weights.tolist(),
    "forward": forward,
    "weight_decay": WEIGHT_DECAY,
    "layer_decay": LAYER_DECAY,
    "steps": steps,
}
path = Path(__file__).parent.parent / "fixtures" / "networks.json"
path.write_text(json.dumps(fixture, indent=None, separators=(",", ":")) + "\n")
