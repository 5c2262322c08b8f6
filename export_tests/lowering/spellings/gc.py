"""Global context, as people write it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from edgeattn.attention.gc import GC
from export_tests.lowering.spellings.base import Spelling

R = 4


class _GC(Spelling):
    @staticmethod
    def ours(channels):
        return GC(channels, reduction=R)


class MatMul(_GC):
    """Views with a dimension of 1, a product of matrices, 1x1 convolutions."""

    SAME: ClassVar = {"conv_mask": "mask", **{f"add.{i}": f"transform.{i}" for i in (0, 1, 3)}}

    def __init__(self, channels):
        super().__init__(channels)
        hidden = channels // R
        self.conv_mask = nn.Conv2d(channels, 1, kernel_size=1)
        self.softmax = nn.Softmax(dim=2)
        self.add = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, x):
        b, c, h, w = x.size()
        flat = x.view(b, c, h * w).unsqueeze(1)
        mask = self.softmax(self.conv_mask(x).view(b, 1, h * w)).unsqueeze(-1)
        context = torch.matmul(flat, mask).view(b, c, 1, 1)
        return x + self.add(context)


class Einsum(_GC):
    """Sums by einsum, linear layers and a LayerNorm of one dimension."""

    SAME: ClassVar = {"fc1": "transform.0", "norm": "transform.1", "fc2": "transform.3"}

    def __init__(self, channels):
        super().__init__(channels)
        self.mask = nn.Conv2d(channels, 1, 1)
        self.fc1 = nn.Linear(channels, channels // R)
        self.norm = nn.LayerNorm(channels // R)
        self.fc2 = nn.Linear(channels // R, channels)

    def forward(self, x):
        attention = self.mask(x).flatten(1).softmax(dim=-1)
        context = torch.einsum("bcn,bn->bc", x.flatten(2), attention)
        y = self.fc2(torch.relu(self.norm(self.fc1(context))))
        return x + y[:, :, None, None].expand_as(x)


class WeightedSum(_GC):
    """The map times its weights, summed; the mask as a Linear on channels last."""

    SAME: ClassVar = {"fc1": "transform.0", "norm": "transform.1", "fc2": "transform.3"}

    def __init__(self, channels):
        super().__init__(channels)
        self.mask = nn.Linear(channels, 1)
        self.fc1 = nn.Conv2d(channels, channels // R, 1)
        self.norm = nn.LayerNorm([channels // R, 1, 1])
        self.fc2 = nn.Conv2d(channels // R, channels, 1)

    def forward(self, x):
        b, _, h, w = x.shape
        logits = self.mask(x.permute(0, 2, 3, 1)).reshape(b, -1)
        weights = torch.softmax(logits, 1).view(b, 1, h, w)
        context = (x * weights).sum((2, 3), keepdim=True)
        return x.add(self.fc2(self.norm(self.fc1(context)).relu()))


SPELLINGS = {"gc-matmul": MatMul, "gc-einsum": Einsum, "gc-weighted-sum": WeightedSum}
