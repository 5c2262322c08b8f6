"""Dual attention: position attention and channel attention side by side.

    position: P(x) = v(x) softmax over j of (q(x_i) . k(x_j))^T,  q and k with C/8 channels
    channel:  E = X X^T,  Ch(x) = softmax(rowmax(E) - E) X,  X = x as (C, H*W)
    each branch: gamma * branch(x) + x, its gamma starting at 0

The published head sums the two branches, and so does this module; it starts as 2x, because each
branch carries x. In a pretrained backbone that doubling is not wanted: with `combine="residual"`
the two share one identity,

    y = x + gamma_p P(x) + gamma_c Ch(x),

which starts as the identity.

Source: Fu et al. 2019, arXiv:1809.02983, equations 1 to 4; `junfu1115/DANet`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from edgeattn.attention.base import Attention, reduced_width


class DA(Attention):
    """Dual attention.

    Parameters, with q = C//r: 2*C*q + 2*q + C*C + C + 2.

    Args:
        channels: Channels C of the feature map.
        reduction: Ratio r of C to the width of the queries and keys.
        combine: "sum" adds the branches as published, "residual" lets them share one identity.

    Raises:
        ValueError: `reduction` is below 1, or `combine` is neither form.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 8,
        combine: Literal["sum", "residual"] = "sum",
    ) -> None:
        super().__init__()
        if combine not in {"sum", "residual"}:
            raise ValueError(f"combine must be sum or residual, not {combine}")
        inner, self.note = reduced_width(channels, reduction)
        self.combine = combine
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma_position = nn.Parameter(torch.zeros(1))
        self.gamma_channel = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend over positions and channels of `x: f32[N, C, H, W]`, keeping its shape."""
        query = self.query(x).flatten(2).transpose(1, 2)
        affinity = torch.matmul(query, self.key(x).flatten(2)).softmax(dim=2)
        position = torch.matmul(self.value(x).flatten(2), affinity.transpose(1, 2))

        features = x.flatten(2)
        energy = torch.matmul(features, features.transpose(1, 2))
        likeness = (energy.amax(2, keepdim=True) - energy).softmax(dim=2)
        channel = torch.matmul(likeness, features)

        update = self.gamma_position * position + self.gamma_channel * channel
        identity = x if self.combine == "residual" else x + x
        return identity + update.reshape(-1, *x.shape[1:])
