"""Efficient multi-scale attention: in groups, gates along rows and columns, and a 3x3 branch.

    x -> (N*G, C/G, H, W)
    [a; b] = conv1x1 of [means over columns; means over rows]
    x1 = GN(x * sigmoid(a) * sigmoid(b)),  GN normalises each channel by itself
    x2 = conv3x3(x)
    weights = softmax(GAP(x1)) . x2 + softmax(GAP(x2)) . x1,  over the C/G channels
    out = x * sigmoid(weights)

Both convolutions and GN are of C/G channels, shared by all groups, with biases.

Source: Ouyang et al. 2023, arXiv:2305.13563; `YOLOonMe/EMA-attention-module`, whose code takes
G = 32 and fails where C is not a multiple of it. Its models for timm put it where timm puts SE.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from edgeattn.attention.base import Attention, choose_groups


class EMA(Attention):
    """Efficient multi-scale attention.

    Parameters, with c = C/G: 10*c*c + 4*c.

    Args:
        channels: Channels C of the feature map.
        groups: Number of groups G, which divides C. "auto" is the published 32, or the largest
            number below it that fits.

    Raises:
        ValueError: `groups` does not divide the channels, or is below 1.
    """

    def __init__(self, channels: int, *, groups: int | Literal["auto"] = "auto") -> None:
        super().__init__()
        self.channels = channels
        self.groups, self.note = choose_groups(channels, groups, published=32)
        width = channels // self.groups
        self.pool_rows = nn.AdaptiveAvgPool2d((None, 1))
        self.pool_columns = nn.AdaptiveAvgPool2d((1, None))
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.conv1x1 = nn.Conv2d(width, width, 1)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(width, width)
        self.softmax = nn.Softmax(dim=-1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]`; the result has the same shape."""
        width = self.channels // self.groups
        rows, columns = x.shape[2:]
        grouped = x.reshape(-1, width, rows, columns)
        by_column = self.pool_columns(grouped).transpose(2, 3)
        both = self.conv1x1(torch.cat([self.pool_rows(grouped), by_column], dim=2))
        of_rows, of_columns = torch.split(both, [rows, columns], dim=2)
        gated = grouped * self.gate(of_rows) * self.gate(of_columns.transpose(2, 3))
        one, other = self.norm(gated), self.conv3x3(grouped)
        weights = self._likeness(one, other) + self._likeness(other, one)
        gate: Tensor = self.gate(weights.reshape(-1, 1, rows, columns))
        return (grouped * gate).reshape(-1, self.channels, rows, columns)

    def _likeness(self, squeezed: Tensor, summed: Tensor) -> Tensor:
        """Sum a map's channels by the softmax of the other's means, f32[N*G, 1, H*W]."""
        means = self.pool(squeezed).flatten(2).transpose(1, 2)
        likeness: Tensor = torch.matmul(self.softmax(means), summed.flatten(2))
        return likeness
