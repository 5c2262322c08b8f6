"""Efficient channel attention, as people write it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from edgeattn.attention.eca import ECA
from export_tests.lowering.spellings.base import Spelling

K = 3


class _ECA(Spelling):
    def __init__(self, channels):
        super().__init__(channels)
        self.conv = nn.Conv1d(1, 1, K, padding=K // 2, bias=False)

    @staticmethod
    def ours(channels):
        return ECA(channels, kernel_size=K)


class SqueezeTranspose(_ECA):
    """Adaptive pool, squeeze, transpose, convolution, and the same back; expand_as."""

    def __init__(self, channels):
        super().__init__(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        y = self.pool(x)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * self.sigmoid(y).expand_as(x)


class Views(_ECA):
    """Views by the sizes, no transposition at all."""

    def forward(self, x):
        b, c, _, _ = x.shape
        y = x.mean(dim=[2, 3]).view(b, 1, c)
        return torch.sigmoid(self.conv(y)).view(b, c, 1, 1) * x


class Columns(_ECA):
    """A k x 1 convolution in two dimensions, over channels that stand as rows."""

    def __init__(self, channels):
        super().__init__(channels)
        self.conv = nn.Conv2d(1, 1, (K, 1), padding=(K // 2, 0), bias=False)

    def forward(self, x):
        y = F.adaptive_avg_pool2d(x, 1).permute(0, 2, 1, 3)
        y = self.conv(y).permute(0, 2, 1, 3).sigmoid()
        return x.mul(y)


class Unfolded(_ECA):
    """The neighbours side by side, weighted and added: no convolution."""

    def forward(self, x):
        y = F.pad(x.flatten(2).mean(2), (K // 2, K // 2))
        c = x.shape[1]
        w = self.conv.weight.flatten()
        y = sum(w[k] * y[:, k : k + c] for k in range(K))
        return x * y.sigmoid().unsqueeze(-1).unsqueeze(-1)


SPELLINGS = {
    "eca-squeeze-transpose": SqueezeTranspose,
    "eca-views": Views,
    "eca-columns": Columns,
    "eca-unfolded": Unfolded,
}
