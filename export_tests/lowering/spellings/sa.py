"""Shuffle attention, as people write it."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from edgeattn.attention.sa import SA
from export_tests.lowering.spellings.base import Spelling

G = 4


class _SA(Spelling):
    SAME: ClassVar = {
        "cweight": "channel_weight",
        "cbias": "channel_bias",
        "sweight": "spatial_weight",
        "sbias": "spatial_bias",
    }

    def __init__(self, channels):
        super().__init__(channels)
        half = channels // (2 * G)
        self.cweight = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.cbias = nn.Parameter(torch.ones(1, half, 1, 1))
        self.sweight = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.sbias = nn.Parameter(torch.ones(1, half, 1, 1))

    @staticmethod
    def ours(channels):
        return SA(channels, groups=G)


class GroupNorm(_SA):
    """Groups in the batch, GroupNorm, and a shuffle in five dimensions."""

    def __init__(self, channels):
        super().__init__(channels)
        half = channels // (2 * G)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.norm = nn.GroupNorm(half, half)
        self.sigmoid = nn.Sigmoid()

    @staticmethod
    def shuffle(x, groups):
        b, _, h, w = x.shape
        x = x.reshape(b, groups, -1, h, w).permute(0, 2, 1, 3, 4)
        return x.reshape(b, -1, h, w)

    def forward(self, x):
        b, _, h, w = x.shape
        x = x.reshape(b * G, -1, h, w)
        x0, x1 = x.chunk(2, dim=1)
        n0 = self.cweight * self.pool(x0) + self.cbias
        n0 = x0 * self.sigmoid(n0)
        n1 = self.sweight * self.norm(x1) + self.sbias
        n1 = x1 * self.sigmoid(n1)
        out = torch.cat([n0, n1], dim=1).reshape(b, -1, h, w)
        return self.shuffle(out, 2)


class HandWrittenNorm(_SA):
    """Moments by hand, halves by slices, and a shuffle in four dimensions."""

    def __init__(self, channels):
        super().__init__(channels)
        half = channels // (2 * G)
        self.norm = nn.Module()
        self.norm.weight = nn.Parameter(torch.ones(half))
        self.norm.bias = nn.Parameter(torch.zeros(half))

    def forward(self, x):
        b, c, h, w = x.size()
        k = c // (2 * G)
        x = x.view(b * G, 2 * k, h, w)
        x0, x1 = x[:, :k], x[:, k:]
        n0 = x0 * torch.sigmoid(self.cweight * F.adaptive_avg_pool2d(x0, 1) + self.cbias)
        mean = x1.mean((2, 3), keepdim=True)
        var = ((x1 - mean) ** 2).mean((2, 3), keepdim=True)
        n1 = (x1 - mean) / torch.sqrt(var + 1e-5)
        n1 = n1 * self.norm.weight.view(1, k, 1, 1) + self.norm.bias.view(1, k, 1, 1)
        n1 = x1 * torch.sigmoid(self.sweight * n1 + self.sbias)
        out = torch.cat((n0, n1), 1).view(b, 2, c // 2, h * w)
        return out.permute(0, 2, 1, 3).contiguous().view(b, c, h, w)


class InstanceNorm(_SA):
    """InstanceNorm with its affine, torch.split, and a shuffle by chunk and stack."""

    def __init__(self, channels):
        super().__init__(channels)
        half = channels // (2 * G)
        self.norm = nn.InstanceNorm2d(half, affine=True)

    def forward(self, x):
        b, c, h, w = x.shape
        x = x.view(b, G, c // G, h, w).flatten(0, 1)
        x0, x1 = torch.split(x, c // (2 * G), dim=1)
        gate0 = torch.sigmoid(x0.mean((2, 3), keepdim=True) * self.cweight + self.cbias)
        gate1 = torch.sigmoid(self.norm(x1) * self.sweight + self.sbias)
        out = torch.cat([gate0 * x0, gate1 * x1], dim=1).view(b, c, h, w)
        return torch.stack(out.chunk(2, dim=1), dim=2).flatten(1, 2)


class FiveDimensions(_SA):
    """The groups as a dimension of their own, and a shuffle by constant indices."""

    def __init__(self, channels):
        super().__init__(channels)
        half = channels // (2 * G)
        self.norm = nn.Module()
        self.norm.weight = nn.Parameter(torch.ones(half))
        self.norm.bias = nn.Parameter(torch.zeros(half))
        order = torch.arange(channels).view(2, channels // 2).t().flatten()
        self.register_buffer("order", order, persistent=False)

    def forward(self, x):
        b, c, h, w = x.shape
        k = c // (2 * G)
        x0, x1 = x.view(b, G, 2, k, h, w).unbind(2)
        n0 = self.cweight[..., None].transpose(1, 2) * x0.mean((3, 4), keepdim=True)
        y0 = x0 * torch.sigmoid(n0 + self.cbias.view(1, 1, k, 1, 1))
        var, mean = torch.var_mean(x1, dim=(3, 4), keepdim=True, unbiased=False)
        n1 = (x1 - mean) * torch.rsqrt(var + 1e-5)
        n1 = n1 * self.norm.weight.view(k, 1, 1) + self.norm.bias.view(k, 1, 1)
        y1 = x1 * torch.sigmoid(self.sweight.view(k, 1, 1) * n1 + self.sbias.view(k, 1, 1))
        out = torch.stack([y0, y1], dim=2).reshape(b, c, h, w)
        return out.index_select(1, self.order)


SPELLINGS = {
    "sa-group-norm": GroupNorm,
    "sa-by-hand": HandWrittenNorm,
    "sa-instance-norm": InstanceNorm,
    "sa-five-dimensions": FiveDimensions,
}
