"""Triplet attention: CBAM's spatial gate over each pair of axes, and the mean of the three.

    g(x) = x * sigmoid(BN(f([max_1 x; mean_1 x]))),  f a 7x7 convolution without bias
    y = (g_hw(x) + P g_cw(P x) + Q g_hc(Q x)) / 3

max_1 and mean_1 are over the second axis; P exchanges the channels and the rows, Q the channels and
the columns, and each exchanges them back. So g_cw has a gate for each channel and column, and g_hc
one for each row and channel.

Source: Misra et al. 2021, arXiv:2010.03045, equations 2 and 3; `landskape-ai/triplet-attention`,
whose training code draws the kernels as CBAM's does and starts the norms at 1.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeattn.attention.base import Attention
from edgeattn.attention.sam import SAM


class Triplet(Attention):
    """Triplet attention.

    Parameters: 3*(2*k*k + 2), or two thirds of that without the spatial branch.

    Args:
        channels: Channels C of the feature map; the module is the same for any.
        kernel_size: Side k of the convolutions.
        spatial: Whether there is the branch over rows and columns.

    Raises:
        ValueError: `kernel_size` is even, or below 1.
    """

    def __init__(self, channels: int, *, kernel_size: int = 7, spatial: bool = True) -> None:
        super().__init__()
        self.cw, self.hc, *rest = (_gate(channels, kernel_size) for _ in range(3 if spatial else 2))
        self.hw = rest[0] if rest else None

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]` by pairs of axes; the result has the same shape."""
        total: Tensor = self.cw(x.transpose(1, 2)).transpose(1, 2)
        total = total + self.hc(x.transpose(1, 3)).transpose(1, 3)
        if self.hw is None:
            return 1 / 2 * total
        total = self.hw(x) + total
        return 1 / 3 * total


def _gate(channels: int, kernel_size: int) -> SAM:
    """Return CBAM's spatial attention, whose norm does not start at 0 here."""
    gate = SAM(channels, kernel_size=kernel_size, norm=True)
    nn.init.ones_(gate.norm.weight)  # type: ignore[arg-type]  # a norm's weight is a tensor
    return gate
