"""Style-based recalibration: a gate per channel from its own mean and standard deviation.

    y = x * sigmoid(BN(a * mean(x) + b * std(x))),  a weight a and b for each channel

std is the unbiased one, over the H*W positions; at H*W = 1 it is undefined.

Source: Lee, Kim, Nam 2019, arXiv:1903.10829, equations 1 to 4;
`hyunjaelee410/style-based-recalibration-module`, whose code starts a and b at 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeattn.attention.base import Attention


class SRM(Attention):
    """The style-based recalibration module.

    Parameters: 4*C.

    Args:
        channels: Channels C of the feature map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.style = nn.Parameter(torch.zeros(channels, 2))
        self.norm = nn.BatchNorm2d(channels)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]`, H*W at least 2; the result has the same shape."""
        flat = x.flatten(2)
        moments = torch.stack([flat.mean(dim=2), flat.std(dim=2)], dim=2)
        style = torch.sum(moments * self.style, dim=2)[:, :, None, None]
        gate: Tensor = self.gate(self.norm(style))
        return x * gate
