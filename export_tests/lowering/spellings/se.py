"""Squeeze-and-excitation, as people write it."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from edgeattn.attention.se import SE
from edgeattn.attention.se_ghost import SEGhost
from export_tests.lowering.spellings.base import Spelling

R = 4


class _SE(Spelling):
    @staticmethod
    def ours(channels):
        return SE(channels, reduction=R)


class LinearOnAView(_SE):
    """Adaptive pool, view, Linear, view, expand_as: the form of most tutorials."""

    SAME: ClassVar = {"fc.0": "fc1", "fc.2": "fc2"}

    def __init__(self, channels):
        super().__init__(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // R),
            nn.ReLU(inplace=True),
            nn.Linear(channels // R, channels),
            nn.Sigmoid(),
        )

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.pool(x).view(b, c)
        y = self.fc(y).view(b, c, 1, 1)
        return x * y.expand_as(x)


class FlatMean(_SE):
    """The mean of the flattened map, functional layers, indexing with None."""

    def __init__(self, channels):
        super().__init__(channels)
        self.fc1 = nn.Linear(channels, channels // R)
        self.fc2 = nn.Linear(channels // R, channels)

    def forward(self, x):
        y = x.flatten(2).mean(-1)
        y = F.linear(y, self.fc1.weight, self.fc1.bias).clamp(min=0)
        y = torch.sigmoid(self.fc2(y))
        return y[..., None, None].mul(x)


class WindowPool(_SE):
    """An average pool whose window is the map's size, 1x1 convolutions."""

    def __init__(self, channels):
        super().__init__(channels)
        self.fc1 = nn.Conv2d(channels, channels // R, 1)
        self.fc2 = nn.Conv2d(channels // R, channels, 1)

    def forward(self, x):
        y = F.avg_pool2d(x, kernel_size=(int(x.size(2)), int(x.size(3))))
        return self.fc2(F.relu(self.fc1(y))).sigmoid() * x


class Einsum(_SE):
    """Sum and gate by einsum, matrices by @."""

    def __init__(self, channels):
        super().__init__(channels)
        self.fc1 = nn.Linear(channels, channels // R)
        self.fc2 = nn.Linear(channels // R, channels)

    def forward(self, x):
        y = torch.einsum("bchw->bc", x) / (x.shape[2] * x.shape[3])
        y = torch.relu(y @ self.fc1.weight.t() + self.fc1.bias)
        y = torch.sigmoid(y @ self.fc2.weight.t() + self.fc2.bias)
        return torch.einsum("bchw,bc->bchw", x, y)


class ChannelsLast(_SE):
    """Channels last and back, as code that came from another framework has it."""

    def __init__(self, channels):
        super().__init__(channels)
        self.fc1 = nn.Linear(channels, channels // R)
        self.fc2 = nn.Linear(channels // R, channels)

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        y = x.mean(dim=(1, 2), keepdim=True)
        y = torch.sigmoid(self.fc2(torch.relu(self.fc1(y))))
        return (x * y).permute(0, 3, 1, 2)


class TwoMeans(_SE):
    """A mean over columns, then over rows."""

    def __init__(self, channels):
        super().__init__(channels)
        self.fc1 = nn.Conv2d(channels, channels // R, 1)
        self.fc2 = nn.Conv2d(channels // R, channels, 1)

    def forward(self, x):
        y = x.mean(3, keepdim=True).mean(2, keepdim=True)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(y))))


class _Hard(Spelling):
    def __init__(self, channels):
        super().__init__(channels)
        hidden = SEGhost(channels).fc1.out_channels
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    @staticmethod
    def ours(channels):
        return SEGhost(channels)

    def logits(self, x):
        return self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, (1, 1)))))


class HardRelu6(_Hard):
    """relu6(z + 3) / 6, by modules."""

    def __init__(self, channels):
        super().__init__(channels)
        self.relu6 = nn.ReLU6(inplace=True)

    def forward(self, x):
        return x * (self.relu6(self.logits(x) + 3.0) / 6.0)


class HardOperator(_Hard):
    """The framework's own hard sigmoid."""

    def forward(self, x):
        return x * F.hardsigmoid(self.logits(x))


class HardClamp(_Hard):
    """A clamp of a line."""

    def forward(self, x):
        return x * torch.clamp(self.logits(x) * (1 / 6) + 0.5, 0.0, 1.0)


class HardHardtanh(_Hard):
    """The clamp first, the product last: relu6(z + 3) * x / 6."""

    def forward(self, x):
        return x * F.hardtanh(self.logits(x).add(3), 0.0, 6.0).mul(1 / 6)


SPELLINGS = {
    "se-linear-view": LinearOnAView,
    "se-flat-mean": FlatMean,
    "se-window-pool": WindowPool,
    "se-einsum": Einsum,
    "se-channels-last": ChannelsLast,
    "se-two-means": TwoMeans,
    "se-hard-relu6": HardRelu6,
    "se-hard-operator": HardOperator,
    "se-hard-clamp": HardClamp,
    "se-hard-hardtanh": HardHardtanh,
}
