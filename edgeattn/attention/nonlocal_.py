"""The non-local block, embedded Gaussian: every position attends to every other.

    y = x + BN(Wz (softmax over j of (theta(x_i) . phi(x_j) * c^-1/2) g(x_j)))

with theta, phi, g and Wz 1x1 convolutions and c = C/2 their inner width.

Source: Wang et al. 2018, arXiv:1711.07971, equations 4 and 6; `facebookresearch/video-nonlocal-net`
for the scale c^-1/2, the biases, the initial values (weights normal with deviation 0.01, biases 0)
and the weight of the BatchNorm, which starts at 0 so that the block starts as the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeattn.attention.base import Attention, reduced_width


class NonLocal(Attention):
    """The non-local block.

    Parameters, with c = C//r: 4*C*c + 3*c + 3*C.

    Args:
        channels: Channels C of the feature map.
        reduction: Ratio r of C to the inner width.
        scale: Whether the affinities are multiplied by the inner width to the power -1/2.

    Raises:
        ValueError: `reduction` is below 1.
    """

    def __init__(self, channels: int, *, reduction: int = 2, scale: bool = True) -> None:
        super().__init__()
        inner, self.note = reduced_width(channels, reduction)
        self.scale = inner**-0.5 if scale else 1.0
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        for conv in (self.theta, self.phi, self.g, self.out):
            nn.init.normal_(conv.weight, std=0.01)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the positions of `x: f32[N, C, H, W]`; the result has the same shape."""
        query = self.theta(x).flatten(2).transpose(1, 2)
        key = self.phi(x).flatten(2)
        value = self.g(x).flatten(2).transpose(1, 2)
        attention = (torch.matmul(query, key) * self.scale).softmax(dim=2)
        attended = torch.matmul(attention, value).transpose(1, 2)
        inner = self.theta.out_channels
        term: Tensor = self.norm(self.out(attended.reshape(-1, inner, *x.shape[2:])))
        return x + term
