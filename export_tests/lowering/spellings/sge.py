"""Spatial group-wise enhance, as people write it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from edgeattn.attention.sge import SGE
from export_tests.lowering.spellings.base import Spelling

G = 4


class _SGE(Spelling):
    def __init__(self, channels):
        super().__init__(channels)
        self.weight = nn.Parameter(torch.zeros(1, G, 1, 1))
        self.bias = nn.Parameter(torch.ones(1, G, 1, 1))

    @staticmethod
    def ours(channels):
        return SGE(channels, groups=G)


class InTheBatch(_SGE):
    """Groups in the batch, views by the sizes, torch.std."""

    def __init__(self, channels):
        super().__init__(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.sig = nn.Sigmoid()

    def forward(self, x):
        b, c, h, w = x.size()
        x = x.view(b * G, -1, h, w)
        xn = (x * self.pool(x)).sum(dim=1, keepdim=True)
        t = xn.view(b * G, -1)
        t = t - t.mean(dim=1, keepdim=True)
        t = t / (t.std(dim=1, keepdim=True) + 1e-5)
        t = t.view(b, G, h, w) * self.weight + self.bias
        t = t.view(b * G, 1, h, w)
        return (x * self.sig(t)).view(b, c, h, w)


class FiveDimensions(_SGE):
    """Groups as a dimension, the likeness by einsum, the deviation as a root of a variance."""

    def forward(self, x):
        b, c, h, w = x.shape
        parts = x.reshape(b, G, c // G, h, w)
        likeness = torch.einsum("bgchw,bgc->bghw", parts, parts.mean((3, 4)))
        var, mean = torch.var_mean(likeness, dim=(2, 3), keepdim=True)
        gate = (likeness - mean) / (var.sqrt() + 1e-5) * self.weight + self.bias
        return (parts * gate.sigmoid().unsqueeze(2)).reshape(b, c, h, w)


class ByHand(_SGE):
    """The deviation from its sum of squares, the likeness on whole channels."""

    def forward(self, x):
        b, c, h, w = x.size()
        weighted = x * F.adaptive_avg_pool2d(x, 1)
        t = weighted.view(b, G, c // G, h, w).sum(2)
        d = t - t.mean((2, 3), keepdim=True)
        std = torch.sqrt(d.pow(2).sum((2, 3), keepdim=True) / (h * w - 1))
        gate = torch.sigmoid(d / (std + 1e-5) * self.weight + self.bias)
        return x * gate.repeat_interleave(c // G, dim=1)


SPELLINGS = {
    "sge-batch": InTheBatch,
    "sge-five-dimensions": FiveDimensions,
    "sge-by-hand": ByHand,
}
