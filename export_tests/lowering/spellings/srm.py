"""Style-based recalibration, as people write it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from edgeattn.attention.srm import SRM
from export_tests.lowering.spellings.base import Spelling


class _SRM(Spelling):
    @staticmethod
    def ours(channels):
        return SRM(channels)


class Convolved(_SRM):
    """The two weights as a depthwise convolution over both statistics, a BatchNorm1d."""

    SAME: ClassVar = {"cfc": "style", "cfc.weight": "style", "bn": "norm"}

    def __init__(self, channels):
        super().__init__(channels)
        self.cfc = nn.Conv1d(channels, channels, kernel_size=2, groups=channels, bias=False)
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x):
        b, c, _, _ = x.size()
        mean = x.view(b, c, -1).mean(-1).unsqueeze(-1)
        std = x.view(b, c, -1).std(-1).unsqueeze(-1)
        u = torch.cat((mean, std), dim=-1)
        g = torch.sigmoid(self.bn(self.cfc(u).squeeze(-1)))
        return x * g.reshape(b, c, 1, 1).expand_as(x)


class Apart(_SRM):
    """No statistics side by side: a weight times each, the root of torch.var."""

    SAME: ClassVar = {"bn": "norm"}

    def __init__(self, channels):
        super().__init__(channels)
        self.style = nn.Parameter(torch.zeros(channels, 2))
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        mean = x.mean((2, 3), keepdim=True)
        std = x.var((2, 3), keepdim=True).sqrt()
        a, b = self.style.reshape(1, -1, 1, 2).split(1, dim=3)
        return x * self.bn(a * mean + b * std).sigmoid()


SPELLINGS = {"srm-convolved": Convolved, "srm-apart": Apart}
