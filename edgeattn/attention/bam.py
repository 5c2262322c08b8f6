"""BAM: one gate from a channel branch and a spatial branch.

    y = x * (1 + sigmoid(Mc(x) . Ms(x)))
    Mc: Linear C -> C/r, BatchNorm, ReLU, Linear C/r -> C, on GAP(x)
    Ms: 1x1 C -> C/r, then two 3x3 of dilation 4, each with BatchNorm and ReLU, then 1x1 -> 1

The paper adds Mc and Ms (equation 2); the published code multiplies them. Both are offered, and
the code's form is the default, because the published weights were trained with it.

Source: Park et al. 2018, arXiv:1807.06514; `Jongchan/attention-module`, whose training code starts
all biases at 0 and the convolutions Kaiming-normal by fan-out.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from edgeattn.attention.base import Attention, reduced_width, require_at_least


class BAM(Attention):
    """The bottleneck attention module.

    Parameters, with h = C//r: 2*C*h + C + 3*h of the channel branch, C*h + 18*h*h + 10*h + 1 of
    the spatial branch.

    Args:
        channels: Channels C of the feature map.
        reduction: Ratio r of C to the width of both branches.
        dilation: Dilation of the spatial branch's 3x3 convolutions.
        combine: How the branches meet: "multiply" is the published code, "add" the paper.

    Raises:
        ValueError: `reduction` or `dilation` is below 1, or `combine` is neither form.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        dilation: int = 4,
        combine: Literal["multiply", "add"] = "multiply",
    ) -> None:
        super().__init__()
        require_at_least("dilation", dilation, 1)
        if combine not in {"multiply", "add"}:
            raise ValueError(f"combine must be multiply or add, not {combine}")
        hidden, self.note = reduced_width(channels, reduction)
        self.combine = combine
        self.channel = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1),
        )
        self.gate = nn.Sigmoid()
        for layer in [*self.channel, *self.spatial]:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]`; the result has the same shape."""
        channel = self.channel(x.mean((2, 3)))[:, :, None, None]
        spatial = self.spatial(x)
        logits = channel * spatial if self.combine == "multiply" else channel + spatial
        gate: Tensor = self.gate(logits)
        return x * (1 + gate)
