"""CBAM's channel attention: a gate per channel from the global mean and the global maximum.

    y = x * sigmoid(MLP(GAP(x)) + MLP(GMP(x))),  MLP(v) = W2 relu(W1 v + b1) + b2, shared

Source: Woo et al. 2018, arXiv:1807.06521, equation 2; `Jongchan/attention-module`, whose training
code starts the biases at 0.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeattn.attention.base import Attention, reduced_width


class CAM(Attention):
    """The channel attention of CBAM.

    Parameters: 2*C*(C//r) + C + C//r.

    Args:
        channels: Channels C of the feature map.
        reduction: Ratio r of C to the hidden width.

    Raises:
        ValueError: `reduction` is below 1.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden, self.note = reduced_width(channels, reduction)
        first, last = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        nn.init.zeros_(first.bias)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(first, nn.ReLU(), last)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]` by channel; the result has the same shape."""
        logits = self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))
        gate: Tensor = self.gate(logits)
        return x * gate[:, :, None, None]
