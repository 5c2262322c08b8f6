"""Normalisation-based attention: gates from how much a BatchNorm scales each channel.

    y = x * sigmoid(w * BN(x)),  w_c = |gamma_c| / sum of |gamma|

with the gamma of that BatchNorm: there is no other weight. The spatial part does the same with a
BatchNorm over the H*W positions, and binds the module to the size of its map; it follows the
channel part. The paper has both; the first code had the channel part only, which is what people
took over; the later code has a ReLU before the channel part's sigmoid, and the spatial part, which
its module leaves out by default and its ResNets use.

Source: Liu et al. 2021, arXiv:2111.12419, equations 2 to 4; `Christian-lyc/NAM`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeattn.attention.base import Attention


class NAM(Attention):
    """Normalisation-based attention.

    Parameters: 2*C, and 2*H*W of the spatial part.

    Args:
        channels: Channels C of the feature map.
        height: Its rows H.
        width: Its columns W.
        spatial: Whether the spatial part follows the channel part.
        relu: Whether a ReLU stands before the channel part's sigmoid, as in the later code.
    """

    def __init__(
        self, channels: int, height: int, width: int, *, spatial: bool = False, relu: bool = False
    ) -> None:
        super().__init__()
        self.channel_norm = nn.BatchNorm2d(channels)
        self.spatial_norm = nn.BatchNorm1d(height * width) if spatial else None
        self.activation = nn.ReLU() if relu else nn.Identity()
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]`; the result has the same shape."""
        scaled = _shares(self.channel_norm) * self.channel_norm(x).permute(0, 2, 3, 1)
        x = x * self.gate(self.activation(scaled.permute(0, 3, 1, 2)))
        if self.spatial_norm is None:
            return x
        normed = self.spatial_norm(x.flatten(2).transpose(1, 2)).transpose(1, 2)
        gate: Tensor = self.gate(_shares(self.spatial_norm) * normed)
        return x * gate.reshape(x.shape)


def _shares(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Tensor:
    """Return what part of the sum of all scales each is, without their signs."""
    scales = norm.weight.abs()
    return scales / torch.sum(scales)
