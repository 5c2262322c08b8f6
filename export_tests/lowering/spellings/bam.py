"""BAM, as people write it."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from edgeattn.attention.bam import BAM
from export_tests.lowering.spellings.base import Spelling

R = 4
D = 2
_SPATIAL = {f"spatial.{i}": f"spatial.{i}" for i in range(10)}


class _BAM(Spelling):
    def __init__(self, channels):
        super().__init__(channels)
        hidden = channels // R
        layers = [nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU()]
        for _ in range(2):
            conv = nn.Conv2d(hidden, hidden, 3, padding=D, dilation=D)
            layers += [conv, nn.BatchNorm2d(hidden), nn.ReLU()]
        self.spatial = nn.Sequential(*layers, nn.Conv2d(hidden, 1, 1))

    @staticmethod
    def ours(channels):
        return BAM(channels, reduction=R, dilation=D)


class Expanded(_BAM):
    """A window pool, Flatten and Linear; both branches expanded to the map."""

    SAME: ClassVar = {f"channel.{i + 1}": f"channel.{i}" for i in range(4)}

    def __init__(self, channels):
        super().__init__(channels)
        hidden = channels // R
        self.channel = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
        )

    def forward(self, x):
        window = (int(x.size(2)), int(x.size(3)))
        channel = self.channel(F.avg_pool2d(x, window, stride=window))
        channel = channel.unsqueeze(2).unsqueeze(3).expand_as(x)
        spatial = self.spatial(x).expand_as(x)
        return (1 + torch.sigmoid(channel * spatial)) * x


class Convolutions(_BAM):
    """The channel branch as 1x1 convolutions, x + x * a."""

    def __init__(self, channels):
        super().__init__(channels)
        hidden = channels // R
        self.channel = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, x):
        channel = self.channel(F.adaptive_avg_pool2d(x, 1))
        gate = torch.sigmoid(self.spatial(x) * channel)
        return x + x * gate


SPELLINGS = {"bam-expanded": Expanded, "bam-convolutions": Convolutions}
