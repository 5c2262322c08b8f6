"""SimAM, as people write it."""

from __future__ import annotations

import torch
from torch import nn

from edgeattn.attention.simam import SimAM
from export_tests.lowering.spellings.base import Spelling

LAMBDA = 1e-4


class _SimAM(Spelling):
    @staticmethod
    def ours(channels):
        return SimAM(channels, e_lambda=LAMBDA)


class SumOfSquares(_SimAM):
    """Squares of x - mean, their sum over w*h - 1, and a Sigmoid module."""

    def __init__(self, channels):
        super().__init__(channels)
        self.activation = nn.Sigmoid()
        self.e_lambda = LAMBDA

    def forward(self, x):
        _, _, h, w = x.size()
        n = w * h - 1
        squared = (x - x.mean(dim=[2, 3], keepdim=True)).pow(2)
        y = squared / (4 * (squared.sum(dim=[2, 3], keepdim=True) / n + self.e_lambda)) + 0.5
        return x * self.activation(y)


class Variance(_SimAM):
    """The unbiased variance by torch.var, the squares by themselves."""

    def forward(self, x):
        v = torch.var(x, dim=(2, 3), keepdim=True)
        d = x.sub(x.mean((2, 3), keepdim=True)).square()
        return torch.sigmoid(d / (4.0 * v + 4.0 * LAMBDA) + 0.5) * x


class VarMean(_SimAM):
    """Both moments at once, and a reciprocal."""

    def forward(self, x):
        v, m = torch.var_mean(x, dim=(-2, -1), keepdim=True, unbiased=True)
        inverse = 0.25 * (v + LAMBDA).reciprocal()
        return x * ((x - m) ** 2 * inverse + 0.5).sigmoid()


class SquaredStd(_SimAM):
    """The square of the standard deviation, on a flattened map."""

    def forward(self, x):
        b, c, h, w = x.shape
        flat = x.view(b, c, h * w)
        centred = flat - flat.mean(dim=2, keepdim=True)
        spread = flat.std(dim=2, keepdim=True).pow(2)
        energy = centred * centred / (4 * (spread + LAMBDA)) + 0.5
        return (flat * energy.sigmoid()).view(b, c, h, w)


class BiasedMean(_SimAM):
    """The mean of the squares, brought to M - 1, and lambda in a buffer."""

    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("regulariser", torch.tensor(LAMBDA, dtype=torch.float64), False)

    def forward(self, x):
        m = x.shape[-1] * x.shape[-2]
        d = torch.pow(x - torch.mean(x, (2, 3), True), 2)
        v = d.mean([2, 3], keepdim=True) * (m / (m - 1))
        return x * torch.sigmoid(d.div(v.add(self.regulariser.to(x.dtype)).mul(4)).add(0.5))


SPELLINGS = {
    "simam-sum": SumOfSquares,
    "simam-var": Variance,
    "simam-var-mean": VarMean,
    "simam-std": SquaredStd,
    "simam-biased": BiasedMean,
}
