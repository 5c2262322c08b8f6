"""Global attention: a perceptron over the channels of each position, then 7x7 convolutions.

    x' = x * (W2 relu(W1 x + b1) + b2),  at each position
    y = x' * S(sigmoid(BN(f2(relu(BN(f1 x'))))))

f1 and f2 are 7x7 convolutions to C/r channels and back, with biases. In ResNets they are grouped
by r and S shuffles the gate's channels by r, because the parameters grow with C squared; elsewhere
S is not there.

Source: Liu, Shao, Hoffmann 2021, arXiv:2112.05561, equations 1 and 2 and figures 2 and 3. In the
code that is spread of it the first gate is linear; the paper's figure 2 has a sigmoid behind it.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from edgeattn.attention.base import Attention, choose_groups, reduced_width


class GAM(Attention):
    """The global attention mechanism.

    Parameters: 2*C*m*(1 + 49/g) + 4*C + 4*m with the hidden width m = C//r.

    Args:
        channels: Channels C of the feature map.
        family: Family of the backbone, such as "resnet" or "mobilenetv2".
        reduction: Ratio r of C to the hidden width of both parts.
        groups: Groups g of the 7x7 convolutions, by which the gate is shuffled; "published" is r in
            ResNets, and elsewhere 1.
        channel_gate: What follows the perceptron: "linear" is nothing, as in that code,
            and "sigmoid" is in the paper's figure.

    Raises:
        ValueError: `reduction` or `groups` is below 1, or the groups do not divide the widths.
    """

    def __init__(
        self,
        channels: int,
        family: str | None = None,
        *,
        reduction: int = 4,
        groups: int | Literal["published"] = "published",
        channel_gate: Literal["linear", "sigmoid"] = "linear",
    ) -> None:
        super().__init__()
        width, self.note = reduced_width(channels, reduction)
        if groups == "published":
            groups = reduction if family == "resnet" else 1
        self.groups, _ = choose_groups(width, groups, published=groups)
        choose_groups(channels, groups, published=groups)
        self.channel = nn.Sequential(
            nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, channels)
        )
        self.channel_gate = nn.Sigmoid() if channel_gate == "sigmoid" else nn.Identity()
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, width, 7, padding=3, groups=groups),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, channels, 7, padding=3, groups=groups),
            nn.BatchNorm2d(channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]` by value, twice; the result has the same shape."""
        per_position = self.channel(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = x * self.channel_gate(per_position)
        gate: Tensor = self.spatial(x)
        if self.groups > 1:
            split = gate.reshape(-1, self.groups, x.shape[1] // self.groups, *x.shape[2:])
            gate = split.transpose(1, 2).flatten(1, 2)
        return x * gate
