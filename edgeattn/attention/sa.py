"""Shuffle attention: channel attention on one half of each group, spatial on the other.

    x -> (N*G, C/G, H, W), halves x0, x1
    y0 = x0 * sigmoid(cw * GAP(x0) + cb)
    y1 = x1 * sigmoid(sw * GN(x1) + sb),  GN normalises each channel by itself
    out = channel shuffle of [y0; y1], in 2 groups

cw, cb, sw, sb and GN's affine have C/(2G) values each, shared by all groups.

Source: Zhang, Yang 2021, arXiv:2102.00240, equations 1 to 3; `wofmanaf/SA-Net`, whose code starts
the weights at 0 and the biases at 1 and takes G = 64.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from edgeattn.attention.base import Attention, choose_groups


class SA(Attention):
    """Shuffle attention.

    Parameters: 3*C/G.

    Args:
        channels: Channels C of the feature map.
        groups: Number of groups G, with C a multiple of 2*G. "auto" is the published 64, or the
            largest number below it that fits.

    Raises:
        ValueError: 2*G does not divide C, or C is odd so that no G does.
    """

    def __init__(self, channels: int, *, groups: int | Literal["auto"] = "auto") -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(
                f"shuffle attention halves the channels of each group, and {channels} is odd"
            )
        self.channels = channels
        self.groups, self.note = choose_groups(channels, groups, published=64, multiple=2)
        half = channels // (2 * self.groups)
        self.channel_weight = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.channel_bias = nn.Parameter(torch.ones(1, half, 1, 1))
        self.spatial_weight = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.spatial_bias = nn.Parameter(torch.ones(1, half, 1, 1))
        self.norm = nn.GroupNorm(half, half)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Gate and shuffle `x: f32[N, C, H, W]`; the result has the same shape."""
        height, width = x.shape[2:]
        grouped = x.reshape(-1, self.channels // self.groups, height, width)
        x0, x1 = grouped.chunk(2, dim=1)
        pooled = x0.mean((2, 3), keepdim=True)
        y0 = x0 * self.gate(self.channel_weight * pooled + self.channel_bias)
        y1 = x1 * self.gate(self.spatial_weight * self.norm(x1) + self.spatial_bias)
        joined = torch.cat([y0, y1], dim=1).reshape(-1, self.channels, height, width)
        split = joined.reshape(-1, 2, self.channels // 2, height, width)
        return split.transpose(1, 2).flatten(1, 2)
