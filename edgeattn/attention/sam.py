"""CBAM's spatial attention: a gate per position from the maximum and the mean over channels.

    y = x * sigmoid(f([max_c x; mean_c x])),  f a 7x7 convolution to one channel, without bias

Source: Woo et al. 2018, arXiv:1807.06521, equation 3; `Jongchan/attention-module`. The order in
the concatenation is the code's: maximum first. Inside CBAM the code follows the convolution with a
BatchNorm of one channel whose weight starts at 0; alone (`norm=False`) there is none, as in the
paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeattn.attention.base import Attention, require_odd


class SAM(Attention):
    """The spatial attention of CBAM.

    Parameters: 2*k*k, and 2 more with the norm.

    Args:
        channels: Channels C of the feature map; the module is the same for any.
        kernel_size: Side k of the convolution.
        norm: Whether a BatchNorm follows the convolution.

    Raises:
        ValueError: `kernel_size` is even, or below 1.
    """

    def __init__(self, channels: int, *, kernel_size: int = 7, norm: bool = False) -> None:
        super().__init__()
        del channels
        require_odd("kernel_size", kernel_size)
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        self.norm: nn.Module = nn.Identity()
        if norm:
            self.norm = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)
            nn.init.zeros_(self.norm.weight)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]` by position; the result has the same shape."""
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)
        gate: Tensor = self.gate(self.norm(self.conv(pooled)))
        return x * gate
