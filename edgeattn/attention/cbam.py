"""CBAM: channel attention, then spatial attention.

    y = SAM(CAM(x)), with a BatchNorm of one channel after the 7x7 convolution of SAM

Source: Woo et al. 2018, arXiv:1807.06521, equation 1; `Jongchan/attention-module`. The weight of
that BatchNorm starts at 0 (so at first the spatial gate is 1/2 everywhere), as its training code
has it.
"""

from __future__ import annotations

from torch import Tensor

from edgeattn.attention.base import Attention
from edgeattn.attention.cam import CAM
from edgeattn.attention.sam import SAM


class CBAM(Attention):
    """The convolutional block attention module.

    Parameters: 2*C*(C//r) + C + C//r of the channel part, 2*k*k + 2 of the spatial part.

    Args:
        channels: Channels C of the feature map.
        reduction: Ratio r of C to the hidden width of the channel attention.
        kernel_size: Side k of the spatial attention's convolution.

    Raises:
        ValueError: `reduction` is below 1, or `kernel_size` is even or below 1.
    """

    def __init__(self, channels: int, *, reduction: int = 16, kernel_size: int = 7) -> None:
        super().__init__()
        self.channel = CAM(channels, reduction=reduction)
        self.spatial = SAM(channels, kernel_size=kernel_size, norm=True)
        self.note = self.channel.note

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]`; the result has the same shape."""
        y: Tensor = self.spatial(self.channel(x))
        return y
