"""Writes ../fixtures/networks.json: what PyTorch computes for small networks.

Forward passes and losses for every activation, the parameters after 1, 10 and 100 steps of every optimiser, the learning rates of every schedule, and the
outputs of every architecture in prediction and in training, with tensors by a formula. Run with PyTorch 2.13 from anywhere.
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


def focal(output):
    true = output.softmax(1)[torch.arange(len(classes)), classes]
    return -((1 - true) ** 2) * true.log()


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
        "focal": focal(output).mean().item(),
        "focal_weighted": (focal(output) * weights).mean().item(),
        "absolute": nn.functional.l1_loss(output, values).item(),
        "huber_weighted": (nn.functional.huber_loss(output, values, reduction="none").mean(1) * weights).mean().item(),
        "squared": nn.functional.mse_loss(output, values).item(),
        "squared_weighted": (nn.functional.mse_loss(output, values, reduction="none").mean(1) * weights).mean().item(),
    })

OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True),
    "rmsprop": torch.optim.RMSprop,
}
RATE = {"adamw": 1e-2, "adam": 1e-2, "sgd": 5e-2, "rmsprop": 1e-2}
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



def rates(name, epochs, n_batches):
    """The rates of every step, from a rate of 0.1."""
    schedulers, n_steps = torch.optim.lr_scheduler, epochs * n_batches
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler, by_epoch = {
        "constant": (lambda: schedulers.ConstantLR(optimizer, factor=1.0), False),
        "cosine": (lambda: schedulers.CosineAnnealingLR(optimizer, n_steps), False),
        "one_cycle": (lambda: schedulers.OneCycleLR(optimizer, max_lr=0.1, total_steps=n_steps), False),
        "step": (lambda: schedulers.MultiStepLR(optimizer, [-(-epochs // 3), -(-2 * epochs // 3)]), True),
    }[name]
    scheduler, result = scheduler(), []
    for step in range(n_steps):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < n_steps and (not by_epoch or (step + 1) % n_batches == 0):
            scheduler.step()
    return {"schedule": name, "epochs": epochs, "n_batches": n_batches, "rates": result}


class Residual(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.layers(x)


class ReGlu(nn.Module):
    def forward(self, x):
        left, right = x.chunk(2, -1)
        return left * right.relu()


class FirstToken(nn.Module):
    def forward(self, x):
        return x[:, 0]


class Attention(nn.MultiheadAttention):
    def forward(self, x):
        return super().forward(x, x, x, need_weights=False)[0]


class Tokens(nn.Module):
    """Two columns of numbers around two of 3 and 2 levels, as FT-Transformer's feature tokenizer; unknown levels have vectors after all others."""

    def __init__(self, width):
        super().__init__()
        self.gathers = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(4, width))
        self.numbers = nn.Parameter(torch.zeros(2, width))
        self.levels = nn.Parameter(torch.zeros(7, width))

    def forward(self, x):
        numbers = x[:, [0, 2], None] * self.numbers
        places = [
            [5 if first != first else int(first), 6 if second != second else 3 + int(second)]
            for first, second in x[:, [1, 3]].tolist()
        ]
        columns = torch.cat([numbers, self.levels[torch.tensor(places)]], 1) + self.bias
        return torch.cat([self.gathers.expand(len(x), 1, -1), columns], 1)


def tensors(model):
    """Parameters and running statistics in the order of the modules."""
    for module in model.modules():
        # Not recursive but for attention, whose output layer is a module of its own.
        if isinstance(module, nn.MultiheadAttention):
            yield from (module.in_proj_weight, module.in_proj_bias, module.out_proj.weight, module.out_proj.bias)
        elif not isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
            yield from module.parameters(recurse=False)
            yield from (buffer for buffer in module.buffers(recurse=False) if buffer.ndim)


def architecture(name, model, features):
    with torch.no_grad():
        for number, tensor in enumerate(tensors(model)):
            at = torch.arange(tensor.numel(), dtype=torch.float64)
            tensor.copy_((0.6 + 0.5 * (0.7 * at + number).sin()).reshape(tensor.shape))
        shapes = [list(tensor.shape) for tensor in tensors(model)]
        output = model.eval()(features).flatten().tolist()
        training_output = model.train()(features).flatten().tolist()
        statistics = [buffer.tolist() for buffer in model.buffers() if buffer.ndim]
    rows = [[None if value != value else value for value in row] for row in features.tolist()]
    return {
        "name": name, "tensors": shapes, "features": rows, "output": output, "training_output": training_output, "statistics": statistics,
    }


mixed = features.clone()
mixed[:, 1] = torch.arange(12) % 3
mixed[:, 3] = torch.arange(12) % 2
mixed[4, 1] = mixed[7, 3] = float("nan")


def feed_forward(width):
    return Residual(nn.LayerNorm(width), nn.Linear(width, 10), ReGlu(), nn.Linear(5, width))


architectures = [
    architecture("mlp with batch norm", nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.SELU(), nn.Linear(5, 3)), features),
    architecture("mlp with layer norm", nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 3)), features),
    architecture(
        "tabular_resnet",
        nn.Sequential(
            nn.Linear(4, 5),
            *(Residual(nn.BatchNorm1d(5), nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 5)) for _ in range(2)),
            nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3),
        ),
        features,
    ),
    architecture(
        "tab_transformer",
        nn.Sequential(
            Tokens(4),
            Residual(Attention(4, 2, batch_first=True)), feed_forward(4),
            Residual(nn.LayerNorm(4), Attention(4, 2, batch_first=True)), feed_forward(4),
            FirstToken(), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 3),
        ),
        mixed,
    ),
]

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
    "rates": [rates(name, *size) for name in ("constant", "cosine", "one_cycle", "step") for size in ((10, 3), (1, 1), (2, 1), (7, 2))],
    "architectures": architectures,
}
path = Path(__file__).parent.parent / "fixtures" / "networks.json"
path.write_text(json.dumps(fixture, indent=None, separators=(",", ":")) + "\n")
