"""Writes ../fixtures/scripted.pt and scripted.json: a small ResNet as TorchScript, and what it computes. Run with PyTorch 2.13 from anywhere."""

import json
from pathlib import Path

import torch
from torch import nn
from torchvision_networks import SmallResNet

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"

torch.manual_seed(1)
network = SmallResNet(3, channels=1, blocks=1, width=2).eval()
for module in network.modules():
    if isinstance(module, nn.BatchNorm2d):
        module.running_mean.normal_()
        module.running_var.uniform_(0.5, 1.5)
inputs = torch.randn(2, 1, 8, 8)
with torch.no_grad():
    torch.jit.save(torch.jit.trace(network, inputs), FIXTURES / "scripted.pt")
    numbers = {"input": inputs.flatten().tolist(), "output": network(inputs).flatten().tolist()}
(FIXTURES / "scripted.json").write_text(json.dumps(numbers) + "\n")
