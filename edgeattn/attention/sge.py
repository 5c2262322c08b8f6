"""Spatial group-wise enhance: a gate per position and group, from how like its mean a group is.

    per group of C/G channels: t = sum_c x * GAP(x);  t = (t - mean t) / (std t + 1e-5)
    out = x * sigmoid(w t + b)

std is the unbiased one, over the H*W positions, and the epsilon is added to it: this is no
InstanceNorm. At H*W = 1 it is undefined.

Source: Li, Hu, Yang 2019, arXiv:1905.09646, equations 2 to 6; `implus/PytorchInsight`, whose code
starts w at 0 and b at 1 and takes G = 64.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from edgeattn.attention.base import Attention, choose_groups

_EPS = 1e-5


class SGE(Attention):
    """Spatial group-wise enhance.

    Parameters: 2*G.

    Args:
        channels: Channels C of the feature map.
        groups: Number of groups G, which divides C. "auto" is the published 64, or the largest
            number below it that fits.

    Raises:
        ValueError: `groups` does not divide the channels, or is below 1.
    """

    def __init__(self, channels: int, *, groups: int | Literal["auto"] = "auto") -> None:
        super().__init__()
        self.channels = channels
        self.groups, self.note = choose_groups(channels, groups, published=64)
        self.weight = nn.Parameter(torch.zeros(1, self.groups, 1, 1))
        self.bias = nn.Parameter(torch.ones(1, self.groups, 1, 1))
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]`, H*W at least 2; the result has the same shape."""
        height, width = x.shape[2:]
        grouped = x.reshape(-1, self.channels // self.groups, height, width)
        likeness = (grouped * grouped.mean((2, 3), keepdim=True)).sum(1).flatten(1)
        centred = likeness - likeness.mean(1, keepdim=True)
        scaled = centred / (centred.std(1, keepdim=True) + _EPS)
        logits = scaled.reshape(-1, self.groups, height, width) * self.weight + self.bias
        gate: Tensor = self.gate(logits.reshape(-1, 1, height, width))
        return (grouped * gate).reshape(-1, self.channels, height, width)
