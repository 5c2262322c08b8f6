"""Normalisation-based attention, as people write it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from edgeattn.attention.nam import NAM
from export_tests.lowering.spellings.base import Spelling


class _NAM(Spelling):
    SAME: ClassVar = {"bn2": "channel_norm"}

    def __init__(self, channels):
        super().__init__(channels)
        self.bn2 = nn.BatchNorm2d(channels)

    @staticmethod
    def ours(channels):
        return NAM(channels, 1, 1)


class Contiguous(_NAM):
    """Permuted there and back, each time made contiguous."""

    def forward(self, x):
        residual = x
        x = self.bn2(x)
        weight = self.bn2.weight.data.abs() / torch.sum(self.bn2.weight.data.abs())
        x = x.permute(0, 2, 3, 1).contiguous()
        x = torch.mul(weight, x)
        x = x.permute(0, 3, 1, 2).contiguous()
        return torch.sigmoid(x) * residual


class Viewed(_NAM):
    """The scales as [1, C, 1, 1], no permutation."""

    def forward(self, x):
        scale = self.bn2.weight.abs()
        scale = scale.div(scale.sum()).view(1, -1, 1, 1)
        return x.mul(torch.sigmoid(self.bn2(x) * scale))


SPELLINGS = {"nam-contiguous": Contiguous, "nam-viewed": Viewed}
