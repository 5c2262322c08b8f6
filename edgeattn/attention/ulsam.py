"""ULSAM: a spatial softmax in each of g subspaces of the channels.

    per subspace x_i of C/g channels:
    A_i = softmax over all H*W of relu(BN(pw(maxpool3x3(relu(BN(dw1x1(x_i)))))))
    out = concat_i(x_i + A_i * x_i)

Source: Saini et al. 2020, WACV, arXiv:2006.15102, equations 1 to 4; `Nandan91/ULSAM`, whose
convolutions have biases and whose BatchNorms have momentum 0.9. Its `softmax(dim=2)` acts on a
(N, 1, H*W) view: over all positions, not over rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeattn.attention.base import Attention, choose_groups


class Subspace(nn.Module):
    """The attention of one subspace: 5*c + 3 parameters.

    Args:
        channels: Channels c of the subspace.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 1, groups=channels)
        self.depthwise_norm = nn.BatchNorm2d(channels, momentum=0.9)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.pointwise = nn.Conv2d(channels, 1, 1)
        self.pointwise_norm = nn.BatchNorm2d(1, momentum=0.9)
        self.act = nn.ReLU()
        self.softmax = nn.Softmax(dim=2)

    def forward(self, x: Tensor) -> Tensor:
        """Attend to `x: f32[N, c, H, W]`; the result has the same shape."""
        spatial = self.pool(self.act(self.depthwise_norm(self.depthwise(x))))
        logits: Tensor = self.act(self.pointwise_norm(self.pointwise(spatial)))
        attention: Tensor = self.softmax(logits.flatten(2))
        return x + attention.reshape(-1, 1, *x.shape[2:]) * x


class ULSAM(Attention):
    """The ultra-lightweight subspace attention module.

    Parameters: 5*C + 3*g.

    Args:
        channels: Channels C of the feature map.
        groups: Number of subspaces g, which divides C.

    Raises:
        ValueError: `groups` does not divide the channels, or is below 1.
    """

    def __init__(self, channels: int, *, groups: int = 4) -> None:
        super().__init__()
        choose_groups(channels, groups, published=4)
        self.groups = groups
        self.subspaces = nn.ModuleList(Subspace(channels // groups) for _ in range(groups))

    def forward(self, x: Tensor) -> Tensor:
        """Attend to `x: f32[N, C, H, W]`; the result has the same shape."""
        parts = x.chunk(self.groups, dim=1)
        attended = [space(part) for space, part in zip(self.subspaces, parts, strict=True)]
        return torch.cat(attended, dim=1)
