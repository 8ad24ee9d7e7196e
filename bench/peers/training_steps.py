"""Measures training steps as crates/tensor/examples/training_steps.rs does, and prints JSON: training_steps.py CASE {eager,fused,compiled} [THREADS]

CASE is mlp (64-128-10, batches of 256, Adam), small_resnet (32 x 32, batches of 64, AdamW), resnet18 (224 x 224, batches of 16, SGD with momentum), linear_probe (a
frozen resnet18 at 96 x 96 that is run in each epoch, 256 images), or start (from the start of the process to the end of the first step of resnet18).
"""

import json
import os
import resource
import sys
import time

BEGUN = time.perf_counter()
CASE, WAY, THREADS = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 2
os.environ["OMP_NUM_THREADS"] = str(THREADS)

import torch
from torch import nn

torch.set_num_threads(THREADS)


def network():
    if CASE == "mlp":
        return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)), (64,), 256, 1000
    if CASE == "small_resnet":
        from small_resnet import SmallResNet

        return SmallResNet(10, 3, 1), (3, 32, 32), 64, 40
    import torchvision

    side = 96 if CASE == "linear_probe" else 224
    return torchvision.models.resnet18(num_classes=10), (3, side, side), 16, 1 if CASE == "start" else 6


def optimizer(parameters):
    fused = {"fused": True} if WAY == "fused" else {}
    if CASE == "mlp":
        return torch.optim.Adam(parameters, lr=1e-3, **fused)
    if CASE == "small_resnet":
        return torch.optim.AdamW(parameters, lr=1e-3, **fused)
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, **fused)


def epoch(model, opt, x, y, batch):
    for rows in torch.randperm(len(x)).split(batch):
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()


def main():
    model, row, batch, n_steps = network()
    if CASE == "linear_probe":
        return probe(model, row)
    n_rows = batch * min(n_steps, 20)
    x, y = torch.rand(n_rows, *row), torch.arange(n_rows) % 10
    opt = optimizer(model.parameters())
    if WAY == "compiled":
        model = torch.compile(model)
    if CASE != "start":
        epoch(model, opt, x, y, batch)
    begun = BEGUN if CASE == "start" else time.perf_counter()
    epochs = -(-n_steps * batch // n_rows)
    for _ in range(epochs):
        epoch(model, opt, x, y, batch)
    seconds = (time.perf_counter() - begun) / (epochs * n_rows // batch)
    print(json.dumps({"seconds_per_step": seconds, "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def probe(model, row):
    x, y = torch.rand(256, *row), torch.arange(256) % 10
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.eval()
    model.fc = nn.Linear(512, 10)
    opt = torch.optim.AdamW(model.fc.parameters(), lr=1e-3)
    epoch(model, opt, x, y, 32)
    begun = time.perf_counter()
    for _ in range(2):
        epoch(model, opt, x, y, 32)
    print(json.dumps({"further_epoch": (time.perf_counter() - begun) / 2}))


main()
