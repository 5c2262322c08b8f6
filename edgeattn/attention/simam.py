"""SimAM: a gate per value, without parameters, from how far the value is from its channel's mean.

    d = (x - mu)^2,  y = d / (4 (sum d / (M - 1) + lambda)) + 1/2,  out = x * sigmoid(y)

with mu and the sum over the M = H*W positions of one channel. At M = 1 the formula divides by 0.

Source: Yang et al. 2021, ICML, PMLR 139:11863-11874, equation 5; `ZjjConan/SimAM`. The default
lambda is the code's 1e-4; the ImageNet runs of the paper used 0.1.
"""

from __future__ import annotations

import math

from torch import Tensor

from edgeattn.attention.base import Attention


class SimAM(Attention):
    """Simple, parameter-free attention.

    Args:
        channels: Channels C of the feature map; the module is the same for any.
        e_lambda: The regulariser lambda, above 0.

    Raises:
        ValueError: `e_lambda` is not a finite number above 0.
    """

    def __init__(self, channels: int, *, e_lambda: float = 1e-4) -> None:
        super().__init__()
        del channels
        if not (math.isfinite(e_lambda) and e_lambda > 0):
            raise ValueError(f"e_lambda must be a finite number above 0, not {e_lambda}")
        self.e_lambda = e_lambda

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]`, H*W at least 2; the result has the same shape."""
        freedom = x.shape[2] * x.shape[3] - 1
        squared = (x - x.mean((2, 3), keepdim=True)).pow(2)
        variance = squared.sum((2, 3), keepdim=True) / freedom
        energy = squared / (4 * (variance + self.e_lambda)) + 0.5
        return x * energy.sigmoid()
