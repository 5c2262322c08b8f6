"""What the spellings share: each is somebody else's way to write one of our modules."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Spelling(nn.Module):
    """A module that computes what one of ours does, written another way.

    A subclass gives `ours(channels)`, the module it must equal, and takes `channels` itself.

    Attributes:
        SAME: Our parameter or statistic for each of the spelling's, where the names differ. The
            values are reshaped: a Linear's weight and a 1x1 convolution's are the same numbers.
    """

    SAME: ClassVar[dict[str, str]] = {}

    def __init__(self, channels: int) -> None:
        super().__init__()
        del channels

    @staticmethod
    def ours(channels: int) -> nn.Module:
        raise NotImplementedError

    @classmethod
    def loaded(cls, ours: nn.Module, channels: int) -> Spelling:
        """Gives the spelling with the weights and statistics of `ours`, ready to evaluate."""
        module = cls(channels).to(torch.float64)
        module.load_from(dict(ours.double().state_dict()))
        return module.eval()

    @torch.no_grad()
    def load_from(self, state: dict[str, Tensor]) -> None:
        """Copies every parameter and statistic from a state of ours."""
        for name, mine in self.state_dict().items():
            if mine.is_floating_point():
                path, _, leaf = name.rpartition(".")
                theirs = self.SAME.get(name) or f"{self.SAME.get(path, path)}.{leaf}".lstrip(".")
                mine.copy_(state[theirs].reshape(mine.shape))
