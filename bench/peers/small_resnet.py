"""He et al.'s ResNet for small images (2016, section 4.2) with torchvision's blocks and names: 16, 32 and 64 channels, `blocks` blocks each."""

from torch import nn
from torchvision.models.resnet import BasicBlock


class SmallResNet(nn.Module):
    def __init__(self, num_classes, channels=1, blocks=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = layer(16, 16, 1, blocks)
        self.layer2 = layer(16, 32, 2, blocks)
        self.layer3 = layer(32, 64, 2, blocks)
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x):
        x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)).relu())))
        return x.mean((2, 3))

    def forward(self, x):
        return self.fc(self.features(x))


def layer(inputs, outputs, stride, blocks):
    shortcut = None
    if (inputs, stride) != (outputs, 1):
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut), *(BasicBlock(outputs, outputs) for _ in range(blocks - 1)))
