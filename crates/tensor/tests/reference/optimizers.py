"""Writes ../fixtures/optimizers.json: what PyTorch makes of the options of training that networks.py leaves out.

Optimisers that networks.json has not, learning rates of every schedule, clipped gradients, averaged weights, losses with their gradients, and the p-values of
McNemar's test. Run with PyTorch 2.13, torchvision 0.28 and SciPy 1.17 from anywhere.

The optimisers move two tensors, [2, 3] and [4], in single precision. Value k of tensor t starts at sin(k + t + 1); its gradient at p is
(0.5 + 0.1 k) p + 0.3 sin(2 p + k).
"""

import json
import math
from pathlib import Path

import torch
import torchvision
from scipy.stats import binom
from torch import nn
from torch.optim import lr_scheduler as schedulers
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

torch.set_num_threads(1)


def starts():
    return [nn.Parameter((torch.arange(float(math.prod(shape))) + number + 1).sin().reshape(shape)) for number, shape in enumerate([(2, 3), (4,)])]


def set_gradients(parameters):
    for parameter in parameters:
        k = torch.arange(parameter.numel()).reshape(parameter.shape)
        p = parameter.detach()
        parameter.grad = (0.5 + 0.1 * k) * p + 0.3 * (2 * p + k).sin()


def values(tensors):
    return [tensor.detach().flatten().tolist() for tensor in tensors]


OPTIMIZERS = [
    ("sgd", torch.optim.SGD, {"lr": 0.05}),
    ("sgd", torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.1}),
    ("sgd", torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}),
    ("sgd", torch.optim.SGD, {"lr": 0.02, "momentum": 0.8, "nesterov": True}),
    ("adam", torch.optim.Adam, {"lr": 0.01, "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.1}),
    ("adamw", torch.optim.AdamW, {"lr": 0.01, "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.1}),
    ("rmsprop", torch.optim.RMSprop, {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}),
    ("rmsprop", torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9, "eps": 1e-6}),
]


def steps(name, make, options):
    parameters, after = starts(), {}
    optimizer = make(parameters, **options)
    for step in range(1, 101):
        set_gradients(parameters)
        optimizer.step()
        if step in (1, 10, 100):
            after[step] = values(parameters)
    return {"optimizer": name, "options": options, "after": after}


RATE = 0.1
SCHEDULES = {
    "step": (schedulers.StepLR, [{"step_size": 3, "gamma": 0.5}]),
    "multi_step": (schedulers.MultiStepLR, [{"milestones": [3, 7], "gamma": 0.1}]),
    "exponential": (schedulers.ExponentialLR, [{"gamma": 0.9}]),
    "cosine": (schedulers.CosineAnnealingLR, [{"T_max": 12}, {"T_max": 12, "eta_min": 0.01}]),
    "cosine_warm_restarts": (
        schedulers.CosineAnnealingWarmRestarts,
        [{"T_0": 4}, {"T_0": 3, "T_mult": 2}, {"T_0": 3, "T_mult": 2, "eta_min": 0.01}],
    ),
    "one_cycle": (
        schedulers.OneCycleLR,
        [
            {"max_lr": RATE, "total_steps": 12, "cycle_momentum": False, **more}
            for more in ({}, {"pct_start": 0.5, "div_factor": 10, "final_div_factor": 100}, {"anneal_strategy": "linear"})
        ],
    ),
    "polynomial": (schedulers.PolynomialLR, [{"total_iters": 12}, {"total_iters": 8, "power": 2.0}]),
    "linear": (schedulers.LinearLR, [{"start_factor": 0.1, "total_iters": 4}]),
}
N_RATES = 12


def a_parameter():
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=RATE)


def rates(scheduler, optimizer, n_rates=N_RATES):
    """The rates of the steps from the first."""
    result = []
    for step in range(n_rates):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < n_rates:
            scheduler.step()
    return result


def schedule(name, make, options):
    optimizer = a_parameter()
    n_rates = 24 if name == "cosine_warm_restarts" else N_RATES
    return {"schedule": name, "options": options, "rates": rates(make(optimizer, **options), optimizer, n_rates)}


def after_warm_up(name, make, options):
    """Four steps of linear warm-up from a tenth of the rate, then a schedule, joined by SequentialLR."""
    optimizer = a_parameter()
    parts = [schedulers.LinearLR(optimizer, start_factor=0.1, total_iters=4), make(optimizer, **options)]
    scheduler = schedulers.SequentialLR(optimizer, parts, milestones=[4])
    return {"schedule": name, "options": options, "rates": rates(scheduler, optimizer, 4 + N_RATES)}


# They fall, stay, fall by less than the threshold, rise, and fall once more.
LOSSES = [1.0, 0.8, 0.7, 0.7, 0.70001, 0.69999, 0.72, 0.71, 0.9, 0.6, 0.61, 0.62, 0.63, 0.64, 0.59, 0.65, 0.66, 0.67, 0.68, 0.69, 0.7]


def plateau(options):
    """`rates[i]` is the rate after the i-th loss has been seen."""
    optimizer = a_parameter()
    scheduler, result = schedulers.ReduceLROnPlateau(optimizer, **options), []
    for loss in LOSSES:
        scheduler.step(-loss if options.get("mode") == "max" else loss)
        result.append(optimizer.param_groups[0]["lr"])
    return {"options": options, "rates": result}


def clipping():
    """The gradients of `starts`, clipped; a norm is over both tensors together."""
    def clipped(clip):
        parameters = starts()
        set_gradients(parameters)
        norm = clip(parameters)
        return {"gradients": values(parameter.grad for parameter in parameters)} | ({} if norm is None else {"norm": norm.item()})

    def by_norm(most, kind=2.0):
        return clipped(lambda parameters: nn.utils.clip_grad_norm_(parameters, most, kind))

    return {
        "none": clipped(lambda parameters: None),
        "norm_1": by_norm(1.0),
        "norm_100": by_norm(100.0),
        "greatest_0.3": by_norm(0.3, float("inf")),
        "value_0.3": clipped(lambda parameters: nn.utils.clip_grad_value_(parameters, 0.3)),
    }


class Tiny(nn.Module):
    """3-4-2 with a batch norm."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, x):
        return self.layers(x)


def set_state(model, number):
    """Value k of the state dict's tensor t, counted without `num_batches_tracked`, is 0.6 + 0.5 sin(0.7 k + t + 0.3 `number`)."""
    state = [tensor for tensor in model.state_dict().values() if tensor.ndim]
    for t, tensor in enumerate(state):
        k = torch.arange(tensor.numel(), dtype=torch.float64)
        tensor.copy_((0.6 + 0.5 * (0.7 * k + t + 0.3 * number).sin()).reshape(tensor.shape))
    return state


def averaging():
    """Averages over the states 0 to 4 of a tiny network; then the statistics of its batch norm anew, over batches of 5, 4 and 3 rows."""
    rows = (1.3 * torch.arange(36.0)).sin().reshape(12, 3)
    result = {"rows": values([rows])[0], "batches": [5, 4, 3]}
    averages = {
        "ema_0.9": {"multi_avg_fn": get_ema_multi_avg_fn(0.9)},
        "ema_0.9_with_buffers": {"multi_avg_fn": get_ema_multi_avg_fn(0.9), "use_buffers": True},
        "swa": {},
    }
    for name, options in averages.items():
        model = Tiny()
        average = AveragedModel(model, **options)
        for number in range(5):
            set_state(model, number)
            average.update_parameters(model)
        state = [tensor for tensor in average.module.state_dict().values() if tensor.ndim]
        result[name] = {"state": values(state)}
        update_bn(rows.split([5, 4, 3]), average)
        norm = average.module.layers[1]
        result[name] |= {"running_mean": norm.running_mean.tolist(), "running_var": norm.running_var.tolist()}
    return result


N_ROWS, N_CLASSES = 8, 3


def losses():
    """The mean loss and its gradient by the logits (or predictions) [8, 3]."""
    at = torch.arange(N_ROWS * N_CLASSES, dtype=torch.float32)
    logits = (2 * (1.7 * at).sin()).reshape(N_ROWS, N_CLASSES)
    classes = torch.arange(N_ROWS) * 2 % N_CLASSES
    binary = (at.reshape(N_ROWS, N_CLASSES) % 3 == 0).float()
    numbers = (1.5 * (0.9 * at).cos()).reshape(N_ROWS, N_CLASSES)
    soft = (1 + numbers.abs()) / (1 + numbers.abs()).sum(1, keepdim=True)
    class_weights = torch.tensor([0.5, 1.0, 2.5])
    f = nn.functional

    def focal(logits, gamma, weights=None):
        """Lin et al.'s equation 5 over a softmax; the mean over rows, by whatever weights, divides by the number of rows."""
        entropies = f.cross_entropy(logits, classes, reduction="none")
        rows = (1 - (-entropies).exp()) ** gamma * entropies
        return (rows if weights is None else rows * weights[classes]).mean()

    sigmoid_focal = torchvision.ops.sigmoid_focal_loss
    functions = {
        "binary": lambda x: f.binary_cross_entropy_with_logits(x, binary),
        "binary, positives by 0.5, 1, 2.5": lambda x: f.binary_cross_entropy_with_logits(x, binary, pos_weight=class_weights),
        "binary, weights by 0.5, 1, 2.5": lambda x: f.binary_cross_entropy_with_logits(x, binary, weight=class_weights),
        "binary, smoothed by 0.1": lambda x: f.binary_cross_entropy_with_logits(x, binary * 0.9 + 0.05),
        "binary focal, alpha 0.25, gamma 2": lambda x: sigmoid_focal(x, binary, alpha=0.25, gamma=2, reduction="mean"),
        "binary focal, no alpha, gamma 1.5": lambda x: sigmoid_focal(x, binary, alpha=-1, gamma=1.5, reduction="mean"),
        "focal, gamma 2": lambda x: focal(x, 2.0),
        "focal, gamma 0.5": lambda x: focal(x, 0.5),
        "focal, gamma 2, class weights": lambda x: focal(x, 2.0, class_weights),
        "cross-entropy": lambda x: f.cross_entropy(x, classes),
        "cross-entropy, class weights": lambda x: f.cross_entropy(x, classes, weight=class_weights),
        "cross-entropy, smoothed by 0.1": lambda x: f.cross_entropy(x, classes, label_smoothing=0.1),
        "cross-entropy, smoothed by 0.1, class weights": lambda x: f.cross_entropy(x, classes, weight=class_weights, label_smoothing=0.1),
        "cross-entropy of soft labels": lambda x: f.cross_entropy(x, soft),
        "cross-entropy of soft labels, class weights": lambda x: f.cross_entropy(x, soft, weight=class_weights),
        "cross-entropy of soft labels, smoothed by 0.1": lambda x: f.cross_entropy(x, soft, label_smoothing=0.1),
        "squared": lambda x: f.mse_loss(x, numbers),
        "absolute": lambda x: f.l1_loss(x, numbers),
        "huber, delta 1": lambda x: f.huber_loss(x, numbers),
        "huber, delta 0.5": lambda x: f.huber_loss(x, numbers, delta=0.5),
        "smooth absolute, beta 0.5": lambda x: f.smooth_l1_loss(x, numbers, beta=0.5),
    }

    def case(name, function):
        x = logits.clone().requires_grad_()
        loss = function(x)
        loss.backward()
        return {"loss": name, "value": loss.item(), "gradient": x.grad.flatten().tolist()}

    # What PyTorch's words mean, in double precision: all rows together are divided by the sum of the weights of their own classes.
    logarithms = logits.double().log_softmax(1)
    own = class_weights.double()[classes]
    hard = -(own * logarithms[torch.arange(N_ROWS), classes]).sum() / own.sum()
    even = -(class_weights.double() * logarithms).sum() / own.sum()
    expected = 0.9 * hard + 0.1 / N_CLASSES * even
    assert abs(functions["cross-entropy, smoothed by 0.1, class weights"](logits) - expected) < 1e-6

    return {
        "logits": logits.flatten().tolist(),
        "classes": classes.tolist(),
        "binary": binary.flatten().tolist(),
        "numbers": numbers.flatten().tolist(),
        "soft": soft.flatten().tolist(),
        "class_weights": class_weights.tolist(),
        "cases": [case(*item) for item in functions.items()],
    }


def mcnemar(only_first, only_second):
    """Two-sided p-values where `only_first` rows are right by the first model only (McNemar 1947; mid-p as Fagerland et al. 2013)."""
    least, n = min(only_first, only_second), only_first + only_second
    exact = 2 * binom.cdf(least, n, 0.5)
    return {"only_first": only_first, "only_second": only_second, "exact": min(exact, 1.0), "mid_p": min(exact - binom.pmf(least, n, 0.5), 1.0)}


fixture = {
    "torch": torch.__version__,
    "start": values(starts()),
    "steps": [steps(*case) for case in OPTIMIZERS],
    "rate": RATE,
    "schedules": [schedule(name, make, options) for name, (make, cases) in SCHEDULES.items() for options in cases],
    "after_warm_up": [
        after_warm_up("cosine", schedulers.CosineAnnealingLR, {"T_max": 12}),
        after_warm_up("polynomial", schedulers.PolynomialLR, {"total_iters": 12, "power": 2.0}),
        after_warm_up("multi_step", schedulers.MultiStepLR, {"milestones": [3, 7], "gamma": 0.1}),
    ],
    "plateau": {
        "losses": LOSSES,
        "cases": [
            plateau(options)
            for options in (
                {"factor": 0.5, "patience": 2},
                {"factor": 0.1, "patience": 0},
                {"factor": 0.5, "patience": 1, "cooldown": 2, "min_lr": 0.01},
                {"factor": 0.5, "patience": 1, "threshold": 0.05, "threshold_mode": "abs"},
                {"factor": 0.5, "patience": 2, "mode": "max"},
            )
        ],
    },
    "clipping": clipping(),
    "averaging": averaging(),
    "losses": losses(),
    "mcnemar": [mcnemar(*pair) for pair in ((0, 0), (0, 1), (1, 0), (3, 3), (2, 9), (10, 25), (25, 10), (0, 12), (40, 60), (400, 500))],
}
path = Path(__file__).parent.parent / "fixtures" / "optimizers.json"
path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
