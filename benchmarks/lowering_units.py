"""Small modules that `lowering.py` exports once and repeats into graphs of any size.

Each takes and gives `f32[N, 32, H, W]`, so that its graph can follow itself.
"""

from __future__ import annotations

from torch import Tensor, nn

CHANNELS = 32


class _Residual(nn.Module):
    """A residual block around `branch`: `relu(x + branch(x))`."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Run on `x: f32[N, 32, H, W]`; the result has the same shape."""
        out: Tensor = self.act(x + self.branch(x))
        return out


def _convolution() -> list[nn.Module]:
    return [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS)]


def attended(attention: str = "se") -> nn.Module:
    """A residual block that ends with an attention module of the registry, as at `block-end`."""
    from edgeattn.attention import registry

    site = registry.SiteShape(channels=CHANNELS, height=14, width=14)
    module = registry.build(registry.find(attention), site, {})
    return _Residual(nn.Sequential(*_convolution(), module))


def shuffle() -> nn.Module:
    """A ShuffleNetV2 unit of stride 1: split, branch, concat, channel shuffle."""
    from edgeattn.base.torchvision_ops import declare_missing_operators

    declare_missing_operators()  # torchvision does not start here without it
    from torchvision.models.shufflenetv2 import InvertedResidual

    unit: nn.Module = InvertedResidual(CHANNELS, CHANNELS, 1)
    return unit


def plain() -> nn.Module:
    """A residual block without attention."""
    return _Residual(nn.Sequential(*_convolution()))
