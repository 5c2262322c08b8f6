"""Efficient local attention: gates by rows and by columns from a 1-D convolution along each.

    r = mean_w x  (N, C, H);  c = mean_h x  (N, C, W)
    y = x * sigmoid(GN(conv1d_k(r))) * sigmoid(GN(conv1d_k(c))),  one convolution without bias and
    one GroupNorm for both

| version | k | groups of the convolution | groups of the norm |
|---|---|---|---|
| tiny | 5 | C | 32 |
| base | 7 | C | 16 |
| small | 5 | C/8 | 16 |
| large | 7 | C/8 | 16 |

Source: Xu, Wan 2024, arXiv:2403.01123, equations 6 to 9, and the code in its figure, which is the
base version and shares the convolution and the norm.
"""

from __future__ import annotations

from typing import Final, Literal

from torch import Tensor, nn

from edgeattn.attention.base import Attention, choose_groups

# By version: kernel size, channels of a group of the convolution, groups of the norm.
_VERSIONS: Final = {
    "tiny": (5, 1, 32),
    "base": (7, 1, 16),
    "small": (5, 8, 16),
    "large": (7, 8, 16),
}


class ELA(Attention):
    """Efficient local attention.

    Parameters: C*k + 2*C in the tiny and base versions, 8*C*k + 2*C in the small and large ones.

    Args:
        channels: Channels C of the feature map.
        version: The paper's version, "tiny", "base", "small" or "large".

    Raises:
        ValueError: The version has groups of 8 channels, and C is no multiple of 8.
    """

    def __init__(
        self, channels: int, *, version: Literal["tiny", "base", "small", "large"] = "base"
    ) -> None:
        super().__init__()
        kernel_size, group, published = _VERSIONS[version]
        if channels % group:
            raise ValueError(f"{channels} channels do not divide into groups of {group}")
        groups, self.note = choose_groups(channels, "auto", published=published)
        self.conv = nn.Conv1d(
            channels,
            channels,
            kernel_size,
            padding=kernel_size // 2,
            groups=channels // group,
            bias=False,
        )
        self.norm = nn.GroupNorm(groups, channels)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]` by rows and by columns; the result has the same shape."""
        by_row: Tensor = self.gate(self.norm(self.conv(x.mean(3))))
        by_column: Tensor = self.gate(self.norm(self.conv(x.mean(2))))
        return x * by_row.unsqueeze(3) * by_column.unsqueeze(2)
