"""Multi-spectral channel attention (FcaNet): SE, with a DCT coefficient instead of the mean.

    z_c = sum over h, w of x_chw B(h, u_c, H) B(w, v_c, W)
    B(i, f, n) = cos(pi f (i + 1/2) / n) sqrt(2 / n), without the 2 where f = 0
    y = x * sigmoid(W2 relu(W1 z))

The channels are in as many parts as there are frequencies (u, v), and each part has one. They are
given on a 7x7 map and scaled with it, f * (n // 7), so that they are the same on a larger one. On a
map of another size than the published one the code takes adaptive means to that size first.

Source: Qin et al. 2021, arXiv:2012.11879, equations 5 to 9; `cfzd/FcaNet`, whose ResNets take the
16 best single frequencies ("top16"), 56x56 coefficients in the first stage to 7x7 in the last, and
no biases.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeattn.attention.base import Attention, reduced_width

Frequencies = Literal[
    "top1", "top2", "top4", "top8", "top16", "top32",
    "low1", "low2", "low4", "low8", "low16", "low32",
    "bot1", "bot2", "bot4", "bot8", "bot16", "bot32", "auto",
]  # fmt: skip
# (u, v), along rows and columns of a 7x7 map: by the accuracy of each alone, the best first and the
# worst first; and the lowest ones.
_ORDERS: Final = {
    "top": "00 01 60 05 02 10 12 40 50 16 30 04 06 03 35 22"
    " 46 63 33 53 55 21 61 52 54 32 31 41 23 20 65 13",
    "low": "00 01 10 11 02 20 21 12 22 03 30 40 04 13 31 05"
    " 14 23 32 41 50 06 15 24 33 42 51 60 16 25 34 43",
    "bot": "66 14 34 36 26 43 11 24 44 45 56 15 42 62 25 51"
    " 64 13 65 20 23 41 31 32 54 52 61 21 55 53 33 63",
}
_PUBLISHED: Final = 16
_BASE: Final = 7
_RESNET_GRIDS: Final = (56, 28, 14, 7)


class FCA(Attention):
    """Multi-spectral channel attention.

    Parameters, with h = C//r: 2*C*h.

    Args:
        channels: Channels C of the feature map.
        height: Its rows H.
        width: Its columns W.
        family: Family of the backbone, such as "resnet" or "mobilenetv2".
        stage: The stage of the site, from 1.
        stages: How many stages the backbone has.
        reduction: Ratio r of C to the hidden width.
        frequencies: Which frequencies, and how many; "auto" is the published top16, or the most
            of the best whose number divides C.
        grid: Side of the map that the frequencies are of, a multiple of 7. "auto" is the published
            56, 28, 14 and 7 in the stages of a ResNet; elsewhere the one of these that is nearest
            to the map's smaller side and not above it.

    Raises:
        ValueError: The number of frequencies does not divide the channels, `grid` is no multiple
            of 7, or `reduction` is below 1.
    """

    weight: Tensor

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        family: str | None = None,
        stage: int | None = None,
        stages: int | None = None,
        *,
        reduction: int = 16,
        frequencies: Frequencies = "auto",
        grid: int | Literal["auto"] = "auto",
    ) -> None:
        super().__init__()
        hidden, note = reduced_width(channels, reduction)
        notes = [note]
        if frequencies == "auto":
            count = math.gcd(channels, _PUBLISHED)
            chosen = f"top{count}"
            if count < _PUBLISHED:
                notes.append(f"frequencies={chosen}, because {_PUBLISHED} do not divide {channels}")
        else:
            chosen = frequencies
        if grid == "auto":
            grid, origin = _published(min(height, width), family, stage, stages)
            if {grid} != {height, width}:
                notes.append(f"grid={grid}, {origin}: the map has {height}x{width}")
        if grid < _BASE or grid % _BASE:
            raise ValueError(f"grid must be a multiple of {_BASE}, not {grid}")
        self.grid = grid
        self.note = "; ".join(filter(None, notes))
        self.register_buffer("weight", _basis(channels, grid, chosen))
        self.layers = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]`; the result has the same shape."""
        pooled = x
        if tuple(x.shape[2:]) != (self.grid, self.grid):
            pooled = functional.adaptive_avg_pool2d(x, (self.grid, self.grid))
        coefficients = torch.sum(pooled * self.weight, dim=(2, 3))
        gate: Tensor = self.layers(coefficients)
        return x * gate[:, :, None, None]


def _published(
    side: int, family: str | None, stage: int | None, stages: int | None
) -> tuple[int, str]:
    """Return the side of the published map at this site, and where it comes from."""
    if family == "resnet" and stages == len(_RESNET_GRIDS) and stage is not None:
        return _RESNET_GRIDS[stage - 1], f"published for stage {stage}"
    return next(
        (one for one in _RESNET_GRIDS if one <= side), _BASE
    ), "the nearest that is published"


def _basis(channels: int, grid: int, frequencies: str) -> Tensor:
    """Return the coefficients' maps, f32[C, grid, grid].

    Raises:
        ValueError: The number of frequencies does not divide the channels.
    """
    order, count = frequencies[:3], int(frequencies[3:])
    if channels % count:
        raise ValueError(f"{channels} channels do not divide into {count} frequencies")
    scale, places = grid // _BASE, torch.arange(grid, dtype=torch.float64) + 0.5
    maps = []
    for pair in _ORDERS[order].split()[:count]:
        u, v = (
            (math.pi * scale * int(f) / grid * places).cos()
            * math.sqrt((2 if int(f) else 1) / grid)
            for f in pair
        )
        maps.append(torch.outer(u, v))
    return torch.stack(maps).repeat_interleave(channels // count, dim=0).float()
