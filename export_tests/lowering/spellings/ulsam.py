"""ULSAM, as people write it."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from edgeattn.attention.ulsam import ULSAM
from export_tests.lowering.spellings.base import Spelling

G = 4
_LAYERS = {
    "dw": "depthwise",
    "bn1": "depthwise_norm",
    "pw": "pointwise",
    "bn2": "pointwise_norm",
}
_SAME = {
    f"spaces.{i}.{mine}": f"subspaces.{i}.{ours}"
    for i in range(G)
    for mine, ours in _LAYERS.items()
}


class _Space(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.dw = nn.Conv2d(channels, channels, 1, groups=channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pw = nn.Conv2d(channels, 1, 1)
        self.bn2 = nn.BatchNorm2d(1)

    def logits(self, x):
        y = F.max_pool2d(F.relu(self.bn1(self.dw(x))), 3, 1, 1)
        return F.relu(self.bn2(self.pw(y)))


class _ULSAM(Spelling):
    SAME: ClassVar = _SAME
    space = _Space

    def __init__(self, channels):
        super().__init__(channels)
        self.spaces = nn.ModuleList(self.space(channels // G) for _ in range(G))

    @staticmethod
    def ours(channels):
        return ULSAM(channels, groups=G)


class _ExpandedSpace(_Space):
    def forward(self, x):
        out = self.logits(x)
        m, n, p, q = out.shape
        out = F.softmax(out.view(m, n, -1), dim=2).view(m, n, p, q)
        out = out.expand(x.shape[0], x.shape[1], x.shape[2], x.shape[3])
        return torch.mul(out, x) + x


class Expanded(_ULSAM):
    """torch.chunk, the attention expanded to the subspace's channels, a list that is appended."""

    space = _ExpandedSpace

    def forward(self, x):
        parts = torch.chunk(x, G, dim=1)
        out = []
        for part, space in zip(parts, self.spaces, strict=True):
            out.append(space(part))
        return torch.cat(out, dim=1)


class _FlatSpace(_Space):
    def forward(self, x):
        out = self.logits(x)
        out = out.flatten(2).softmax(-1).view_as(out)
        return x * (1 + out)


class Sliced(_ULSAM):
    """Slices by index, x * (1 + a), a concatenation that grows."""

    space = _FlatSpace

    def forward(self, x):
        c = x.shape[1] // G
        out = self.spaces[0](x[:, :c])
        for i in range(1, G):
            out = torch.cat((out, self.spaces[i](x[:, i * c : (i + 1) * c])), 1)
        return out


class _RowSpace(_Space):
    def forward(self, x):
        b, _, h, w = x.size()
        out = torch.softmax(self.logits(x).view(b, h * w), dim=1).reshape(b, 1, h, w)
        return x + x * out


class SplitRows(_ULSAM):
    """torch.split, a softmax of two dimensions."""

    space = _RowSpace

    def forward(self, x):
        parts = x.split(x.size(1) // G, 1)
        return torch.cat([space(part) for space, part in zip(self.spaces, parts, strict=True)], 1)


class Grouped(_ULSAM):
    """All subspaces at once: grouped convolutions, and the gates repeated."""

    def __init__(self, channels):
        Spelling.__init__(self, channels)
        self.dw = nn.Conv2d(channels, channels, 1, groups=channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pw = nn.Conv2d(channels, G, 1, groups=G)
        self.bn2 = nn.BatchNorm2d(G)

    @torch.no_grad()
    def load_from(self, state):
        for name, mine in self.state_dict().items():
            path, _, leaf = name.rpartition(".")
            if mine.is_floating_point():
                theirs = [state[f"subspaces.{i}.{_LAYERS[path]}.{leaf}"] for i in range(G)]
                mine.copy_(torch.cat(theirs))

    def forward(self, x):
        b, c, h, w = x.shape
        y = F.max_pool2d(F.relu(self.bn1(self.dw(x))), 3, 1, 1)
        y = F.relu(self.bn2(self.pw(y))).view(b, G, h * w).softmax(dim=2).view(b, G, 1, h, w)
        x = x.view(b, G, c // G, h, w)
        return (x + y * x).view(b, c, h, w)


SPELLINGS = {
    "ulsam-expanded": Expanded,
    "ulsam-sliced": Sliced,
    "ulsam-split-rows": SplitRows,
    "ulsam-grouped": Grouped,
}
