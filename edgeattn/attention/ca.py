"""Coordinate attention: one gate by rows and one by columns, from means over the other axis.

    r = mean_w x  (N, C, H, 1);  c = mean_h x, transposed  (N, C, W, 1)
    [r'; c'] = hardswish(BN(W1 [r; c] + b1)),  one 1x1 convolution over the H + W positions
    y = x * sigmoid(Wh r' + bh) * sigmoid(Ww c' + bw)

Source: Hou, Zhou, Feng 2021, arXiv:2103.02907, equations 4 to 8; `houqb/CoordAttention`, whose
hidden width is max(8, C//32) and whose nonlinearity is z * relu6(z + 3) / 6. Its MobileNetV2 puts
it behind the depthwise convolution's activation, in the blocks that expand.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeattn.attention.base import Attention, require_at_least

_NARROWEST = 8


class CA(Attention):
    """Coordinate attention.

    Parameters: 3*C*m + 2*C + 3*m with the hidden width m = max(8, C//r).

    Args:
        channels: Channels C of the feature map.
        reduction: Ratio r of C to the hidden width, which is 8 at least.

    Raises:
        ValueError: `reduction` is below 1.
    """

    def __init__(self, channels: int, *, reduction: int = 32) -> None:
        super().__init__()
        require_at_least("reduction", reduction, 1)
        width = max(_NARROWEST, channels // reduction)
        self.conv1 = nn.Conv2d(channels, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.act = nn.Hardswish()
        self.conv_h = nn.Conv2d(width, channels, 1)
        self.conv_w = nn.Conv2d(width, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]` by rows and by columns; the result has the same shape."""
        means = [x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)]
        hidden = self.act(self.norm(self.conv1(torch.cat(means, dim=2))))
        rows, columns = hidden.split(list(x.shape[2:]), dim=2)
        by_row: Tensor = self.gate(self.conv_h(rows))
        by_column: Tensor = self.gate(self.conv_w(columns.transpose(2, 3)))
        return x * by_column * by_row
