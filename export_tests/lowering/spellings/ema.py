"""Efficient multi-scale attention, as people write it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from edgeattn.attention.ema import EMA
from export_tests.lowering.spellings.base import Spelling

G = 4


class _EMA(Spelling):
    SAME: ClassVar = {"gn": "norm"}

    def __init__(self, channels):
        super().__init__(channels)
        width = channels // G
        self.softmax = nn.Softmax(-1)
        self.agp = nn.AdaptiveAvgPool2d((1, 1))
        self.gn = nn.GroupNorm(width, width)
        self.conv1x1 = nn.Conv2d(width, width, 1)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1)

    @staticmethod
    def ours(channels):
        return EMA(channels, groups=G)

    def crossed(self, group_x, x1, x2):
        n, c, h, w = group_x.size()
        x11 = self.softmax(self.agp(x1).reshape(n, -1, 1).permute(0, 2, 1))
        x21 = self.softmax(self.agp(x2).reshape(n, -1, 1).permute(0, 2, 1))
        weights = torch.matmul(x11, x2.reshape(n, c, -1)) + torch.matmul(x21, x1.reshape(n, c, -1))
        return group_x * weights.reshape(n, 1, h, w).sigmoid()


class BySizes(_EMA):
    """Views by the sizes, adaptive pools of one axis, both lines through one convolution."""

    def __init__(self, channels):
        super().__init__(channels)
        self.pool_h = nn.AdaptiveAvgPool2d((None, 1))
        self.pool_w = nn.AdaptiveAvgPool2d((1, None))

    def forward(self, x):
        b, c, h, w = x.size()
        group_x = x.reshape(b * G, -1, h, w)
        x_h, x_w = self.pool_h(group_x), self.pool_w(group_x).permute(0, 1, 3, 2)
        hw = self.conv1x1(torch.cat([x_h, x_w], dim=2))
        x_h, x_w = torch.split(hw, [h, w], dim=2)
        x1 = self.gn(group_x * x_h.sigmoid() * x_w.permute(0, 1, 3, 2).sigmoid())
        return self.crossed(group_x, x1, self.conv3x3(group_x)).reshape(b, c, h, w)


class LineByLine(_EMA):
    """Each line through the convolution by itself."""

    def forward(self, x):
        grouped = x.view(-1, x.shape[1] // G, *x.shape[2:])
        rows = self.conv1x1(grouped.mean(3, keepdim=True)).sigmoid()
        columns = self.conv1x1(grouped.mean(2, keepdim=True)).sigmoid()
        normed = self.gn(grouped * (rows * columns))
        return self.crossed(grouped, normed, self.conv3x3(grouped)).view(x.shape)


SPELLINGS = {"ema-by-sizes": BySizes, "ema-line-by-line": LineByLine}
