"""Squeeze-and-excitation: a gate per channel from the global mean.

    y = x * sigmoid(W2 relu(W1 GAP(x)))

Source: Hu, Shen, Sun 2018, arXiv:1709.01507, equations 2 to 4; `hujie-frank/SENet`. The biases
are those of the published networks' layers; `bias=False` is the common smaller form.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeattn.attention.base import Attention, reduced_width


class SE(Attention):
    """Squeeze-and-excitation.

    Parameters: 2*C*(C//r), and C + C//r more with biases.

    Args:
        channels: Channels C of the feature map.
        reduction: Ratio r of C to the hidden width.
        bias: Whether the two layers have biases.

    Raises:
        ValueError: `reduction` is below 1.
    """

    def __init__(self, channels: int, *, reduction: int = 16, bias: bool = True) -> None:
        super().__init__()
        hidden, self.note = reduced_width(channels, reduction)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.act = nn.ReLU()
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=bias)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]` by channel; the result has the same shape."""
        squeezed = x.mean((2, 3), keepdim=True)
        gate: Tensor = self.gate(self.fc2(self.act(self.fc1(squeezed))))
        return x * gate
