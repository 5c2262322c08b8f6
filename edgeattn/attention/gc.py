"""Global context: one attention-pooled vector, transformed and added to every position.

    ctx = sum over H*W of x * softmax over H*W of (conv1x1 C -> 1)(x)
    y = x + W2 relu(LN(W1 ctx)),  LN over the C//r values

Source: Cao et al. 2019, arXiv:1904.11492, equation 6; `xvjiarui/GCNet`, whose code has biases on,
LayerNorm([C//r, 1, 1]), the last convolution at 0 and the mask's Kaiming-normal by fan-in.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeattn.attention.base import Attention, reduced_width


class GC(Attention):
    """The global context block, in its additive form.

    Parameters, with h = C//r: C + 1 of the mask, 2*C*h + C + 3*h of the transform.

    Args:
        channels: Channels C of the feature map.
        reduction: Ratio r of C to the hidden width.

    Raises:
        ValueError: `reduction` is below 1.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden, self.note = reduced_width(channels, reduction)
        if hidden == 1:
            self.note = (
                f"hidden width 1 ({channels} // {reduction}): the LayerNorm of one value is "
                "constant, so the same vector is added whatever the input"
            )
        self.mask = nn.Conv2d(channels, 1, 1)
        self.transform = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
        )
        nn.init.kaiming_normal_(self.mask.weight, mode="fan_in")
        last = self.transform[-1]
        for constant in (self.mask.bias, last.weight, last.bias):
            if isinstance(constant, Tensor):
                nn.init.zeros_(constant)

    def forward(self, x: Tensor) -> Tensor:
        """Add the context of `x: f32[N, C, H, W]` to it; the result has the same shape."""
        logits: Tensor = self.mask(x)
        attention = logits.flatten(2).softmax(dim=2)
        context = torch.matmul(x.flatten(2), attention.transpose(1, 2))
        term: Tensor = self.transform(context[..., None])
        return x + term
