"""Squeeze-and-excitation as in GhostNet and GhostNetV2: a hard gate, another hidden width.

    y = x * h(W2 relu(W1 GAP(x))),  h(z) = relu6(z + 3) / 6

The hidden width is C/4 rounded to a multiple of 4, and up where rounding would lose over 10 %.

Source: Tang et al. 2022, arXiv:2211.12905; Han et al. 2020, arXiv:1911.11907;
`huawei-noah/Efficient-AI-Backbones`. The gate has slope 1/6, where ONNX's HardSigmoid has 0.2
by default.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from edgeattn.attention.base import Attention, require_at_least


def make_divisible(value: float, divisor: int) -> int:
    """Return the multiple of `divisor` nearest to `value`, and never below 90 % of it."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


class SEGhost(Attention):
    """Squeeze-and-excitation in the form of GhostNetV2.

    Parameters: 2*C*h + C + h with h = make_divisible(C/4, 4).

    Args:
        channels: Channels C of the feature map.
        reduction: Ratio of C to the hidden width before it is rounded.
        divisor: What the hidden width is a multiple of.

    Raises:
        ValueError: An option is below 1.
    """

    def __init__(self, channels: int, *, reduction: int = 4, divisor: int = 4) -> None:
        super().__init__()
        require_at_least("reduction", reduction, 1)
        require_at_least("divisor", divisor, 1)
        hidden = make_divisible(channels / reduction, divisor)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.act = nn.ReLU()
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]` by channel; the result has the same shape."""
        squeezed = x.mean((2, 3), keepdim=True)
        logits: Tensor = self.fc2(self.act(self.fc1(squeezed)))
        return x * (F.relu6(logits + 3) / 6)
