"""Selective kernel convolution: branches of different dilation, weighed by a softmax per channel.

    U_i = relu(BN(conv3x3, dilation i (x))),  i = 1 .. M;  s = GAP(sum_i U_i)
    z = relu(BN(W s)),  W: C -> d = max(C//r, L);  a = softmax over i of (V_i z)
    y = sum_i a_i * U_i

It stands where a 3x3 convolution stood. The groups of a grouped convolution (depthwise, ResNeXt)
are kept; a dense one is replaced by branches of G = 32 groups, as published.

Source: Li et al. 2019, arXiv:1903.06586, equations 1 to 6, M = 2, G = 32, r = 16, L = 32;
`implus/SKNet` (models/sknet50.prototxt), whose layers have no biases.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from edgeattn.attention.base import Attention, choose_groups, require_at_least

_PUBLISHED_GROUPS = 32


class SK(Attention):
    """The selective kernel unit, in place of a 3x3 convolution.

    Parameters, with C outputs: M*(9*C_in*C/G + 2*C) of the branches, C*d + 2*d + M*C*d of the rest.

    Args:
        channels: Input channels C_in of the convolution that is replaced.
        out_channels: Its output channels C; None is C_in.
        stride: Its stride.
        dilation: Its dilation; branch i dilates i times as much.
        conv_groups: Its groups.
        branches: Number of branches M.
        groups: Groups G of every branch. "auto" keeps those of a grouped convolution; for a dense
            one it takes the published 32, or the largest number below it that fits.
        reduction: Ratio r of C to d.
        min_width: Smallest d, the paper's L.

    Raises:
        ValueError: The groups do not divide the channels, or an option is out of range.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int | None = None,
        stride: int = 1,
        dilation: int = 1,
        conv_groups: int = 1,
        *,
        branches: int = 2,
        groups: int | Literal["auto"] = "auto",
        reduction: int = 16,
        min_width: int = 32,
    ) -> None:
        super().__init__()
        require_at_least("branches", branches, 2)
        require_at_least("reduction", reduction, 1)
        require_at_least("min_width", min_width, 1)
        out = channels if out_channels is None else out_channels
        if groups == "auto" and conv_groups > 1:
            count, self.note = conv_groups, f"groups={conv_groups}, of the convolution it replaces"
        else:
            # What divides both numbers of channels divides their greatest common divisor.
            count, self.note = choose_groups(
                math.gcd(channels, out), groups, published=_PUBLISHED_GROUPS
            )
        self.branches = nn.ModuleList(
            _branch(channels, out, count, stride=stride, dilation=dilation * (i + 1))
            for i in range(branches)
        )
        width = max(out // reduction, min_width)
        squeeze = nn.Conv2d(out, width, 1, bias=False)
        self.reduce = nn.Sequential(squeeze, nn.BatchNorm2d(width), nn.ReLU())
        self.select = nn.Conv2d(width, branches * out, 1, bias=False)
        nn.init.normal_(squeeze.weight, std=0.01)
        nn.init.normal_(self.select.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `x: f32[N, C_in, H, W]` to `f32[N, C, H/stride, W/stride]`."""
        features = [branch(x) for branch in self.branches]
        fused = torch.stack(features, dim=1).sum(1)
        logits: Tensor = self.select(self.reduce(fused.mean((2, 3), keepdim=True)))
        weights = logits.reshape(-1, len(features), fused.shape[1], 1, 1).softmax(dim=1)
        return torch.stack([weights[:, i] * y for i, y in enumerate(features)], dim=1).sum(1)


def _branch(channels: int, out: int, groups: int, *, stride: int, dilation: int) -> nn.Sequential:
    """One branch, of the size that the convolution it replaces would give."""
    conv = nn.Conv2d(
        channels,
        out,
        3,
        stride=stride,
        padding=dilation,
        dilation=dilation,
        groups=groups,
        bias=False,
    )
    nn.init.kaiming_normal_(conv.weight, mode="fan_in")
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())
