"""What modules derive from their parameters and keep."""

from __future__ import annotations

from torch import nn


def forget_caches(module: nn.Module) -> None:
    """Make a module compute anew what it derived from its parameters and kept.

    Position biases are kept so by LeViT, EfficientFormer and others. A cache that is filled would
    be traced as a constant, and be stale once the parameters change. Modules empty their caches
    when they are moved, and a move to where they are does nothing else.
    """
    module.to("cpu")
