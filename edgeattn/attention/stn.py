"""Spatial transformer: a small network looks at the input and says how to warp it.

    theta = f(x), 2x3;  grid = affine_grid(theta);  y = bilinear sampling of x at the grid

The localisation net is that of the PyTorch tutorial: 7x7 convolution to 8 channels, maximum of
2x2, ReLU, 5x5 to 10, maximum of 2x2, ReLU, two linear layers of 32 and 6. The tutorial's 28x28
digits leave a 3x3 map there; for other sizes the map is averaged to 3x3 by windows of
h - 2*(h//3) rows at steps of h//3, which cover the whole map and at 28x28 change nothing.
The last layer starts with weight 0 and the identity's theta, so the module starts as the identity.

Source: Jaderberg et al. 2015, arXiv:1506.02025, equations 1 and 5. Sampling needs ONNX opset 16.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeattn.attention.base import Attention, require_at_least

_FEATURES = 10
_SIDE = 3


class STN(Attention):
    """The spatial transformer, with an affine warp.

    Parameters: 392*C + 8, 2010 + 90*h + h, and 6*h + 6 with h hidden values.

    Args:
        channels: Channels C of the feature map.
        height: Rows of the feature map.
        width: Columns of the feature map.
        hidden: Width of the linear layer before theta.

    Raises:
        ValueError: The map is below 26x26, where the two convolutions leave less than 3x3.
    """

    def __init__(self, channels: int, height: int, width: int, *, hidden: int = 32) -> None:
        super().__init__()
        require_at_least("hidden", hidden, 1)
        sides = [_localised(side) for side in (height, width)]
        if min(sides) < _SIDE:
            raise ValueError(
                f"its localisation net needs an input of at least 26x26, and gets {height}x{width}"
            )
        steps = (sides[0] // _SIDE, sides[1] // _SIDE)
        window = (sides[0] - 2 * steps[0], sides[1] - 2 * steps[1])
        self.localisation = nn.Sequential(
            nn.Conv2d(channels, 8, 7),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(8, _FEATURES, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.AvgPool2d(window, stride=steps),
        )
        self.fc1 = nn.Linear(_FEATURES * _SIDE * _SIDE, hidden)
        self.act = nn.ReLU()
        self.fc2 = nn.Linear(hidden, 6)
        nn.init.zeros_(self.fc2.weight)
        with torch.no_grad():
            self.fc2.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        """Warp `x: f32[N, C, H, W]`; the result has the same shape."""
        features: Tensor = self.localisation(x)
        theta: Tensor = self.fc2(self.act(self.fc1(features.flatten(1))))
        grid = F.affine_grid(theta.reshape(-1, 2, 3), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _localised(side: int) -> int:
    """Rows (or columns) that the two convolutions and maxima leave of `side`."""
    return ((side - 6) // 2 - 4) // 2
