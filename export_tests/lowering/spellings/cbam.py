"""CBAM, as people write it."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from edgeattn.attention.cbam import CBAM
from export_tests.lowering.spellings.base import Spelling

R = 4
K = 7


class _CBAM(Spelling):
    def __init__(self, channels):
        super().__init__(channels)
        self.conv = nn.Conv2d(2, 1, K, padding=K // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, eps=1e-5)

    @staticmethod
    def ours(channels):
        return CBAM(channels, reduction=R)


_SPATIAL = {"conv": "spatial.conv", "bn": "spatial.norm"}


class Convolutions(_CBAM):
    """Two pooling modules, one MLP of 1x1 convolutions called twice, max before mean."""

    SAME: ClassVar = {"fc.0": "channel.mlp.0", "fc.2": "channel.mlp.2", **_SPATIAL}

    def __init__(self, channels):
        super().__init__(channels)
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.max_pool = nn.AdaptiveMaxPool2d(1)
        self.fc = nn.Sequential(
            nn.Conv2d(channels, channels // R, 1),
            nn.ReLU(),
            nn.Conv2d(channels // R, channels, 1),
        )
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        x = x * self.sigmoid(self.fc(self.avg_pool(x)) + self.fc(self.max_pool(x)))
        largest, _ = torch.max(x, dim=1, keepdim=True)
        mean = torch.mean(x, dim=1, keepdim=True)
        return x * self.sigmoid(self.bn(self.conv(torch.cat([largest, mean], dim=1))))


class Loop(_CBAM):
    """A loop over the kinds of pool, window pools, Flatten and Linear, expand_as."""

    SAME: ClassVar = {"mlp.1": "channel.mlp.0", "mlp.3": "channel.mlp.2", **_SPATIAL}

    def __init__(self, channels):
        super().__init__(channels)
        self.mlp = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels, channels // R),
            nn.ReLU(),
            nn.Linear(channels // R, channels),
        )

    def forward(self, x):
        window = (int(x.size(2)), int(x.size(3)))
        total = None
        for kind in ("avg", "max"):
            pool = F.avg_pool2d if kind == "avg" else F.max_pool2d
            raw = self.mlp(pool(x, window, stride=window))
            total = raw if total is None else total + raw
        x = x * torch.sigmoid(total).unsqueeze(2).unsqueeze(3).expand_as(x)
        pooled = torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)
        return x * torch.sigmoid(self.bn(self.conv(pooled)))


class Stacked(_CBAM):
    """Both pools as rows of one batch through the MLP; the mean before the maximum."""

    SAME: ClassVar = {"fc1": "channel.mlp.0", "fc2": "channel.mlp.2", **_SPATIAL}

    def __init__(self, channels):
        super().__init__(channels)
        self.fc1 = nn.Linear(channels, channels // R)
        self.fc2 = nn.Linear(channels // R, channels)

    @torch.no_grad()
    def load_from(self, state):
        super().load_from(state)
        self.conv.weight.copy_(self.conv.weight.flip(1))

    def forward(self, x):
        flat = x.flatten(2)
        pooled = torch.stack([flat.mean(-1), flat.max(dim=-1).values], dim=1)
        gate = self.fc2(F.relu(self.fc1(pooled))).sum(dim=1).sigmoid()
        x = x * gate[:, :, None, None]
        maps = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x.mul(self.bn(self.conv(maps)).sigmoid())


class TwoModules(_CBAM):
    """Linear layers on views, and the two pools added after the second layer's product."""

    SAME: ClassVar = {"fc1": "channel.mlp.0", "fc2": "channel.mlp.2", **_SPATIAL}

    def __init__(self, channels):
        super().__init__(channels)
        self.fc1 = nn.Linear(channels, channels // R)
        self.fc2 = nn.Linear(channels // R, channels)

    def forward(self, x):
        b, c, _, _ = x.size()
        squeeze = F.adaptive_avg_pool2d(x, 1).view(b, c)
        peak = F.adaptive_max_pool2d(x, 1).view(b, c)
        a = self.fc2(torch.relu(self.fc1(squeeze)))
        m = self.fc2(torch.relu(self.fc1(peak)))
        x = torch.sigmoid(a + m).view(b, c, 1, 1) * x
        s = torch.stack([x.max(1)[0], x.mean(1)], dim=1)
        return torch.sigmoid(self.bn(self.conv(s))).expand_as(x) * x


SPELLINGS = {
    "cbam-convolutions": Convolutions,
    "cbam-loop": Loop,
    "cbam-stacked": Stacked,
    "cbam-views": TwoModules,
}
