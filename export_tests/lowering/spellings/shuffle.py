"""Channel shuffles, as people write them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from export_tests.lowering.spellings.base import Spelling

G = 3


class _Shuffle(Spelling):
    @staticmethod
    def ours(channels):
        return nn.ChannelShuffle(G)


class FiveDimensions(_Shuffle):
    """view, transpose, contiguous, view, by the sizes."""

    def forward(self, x):
        b, c, h, w = x.size()
        x = x.view(b, G, c // G, h, w)
        x = torch.transpose(x, 1, 2).contiguous()
        return x.view(b, -1, h, w)


class FourDimensions(_Shuffle):
    """Positions flattened while the channels move, the batch as -1."""

    def forward(self, x):
        _, c, h, w = x.shape
        x = x.reshape(-1, G, c // G, h * w).permute(0, 2, 1, 3)
        return x.reshape(-1, c, h, w)


class Flattened(_Shuffle):
    """unflatten and flatten, moving the group behind its channels."""

    def forward(self, x):
        return x.unflatten(1, (G, -1)).movedim(1, 2).flatten(1, 2)


class Stack(_Shuffle):
    """chunk, stack, flatten."""

    def forward(self, x):
        return torch.stack(x.chunk(G, 1), dim=2).flatten(1, 2)


class Operator(_Shuffle):
    """The framework's own operator."""

    def forward(self, x):
        return F.channel_shuffle(x, G)


class _Ordered(_Shuffle):
    def __init__(self, channels):
        super().__init__(channels)
        order = torch.arange(channels).view(G, -1).t().reshape(-1)
        self.register_buffer("order", order, persistent=False)


class IndexSelect(_Ordered):
    """index_select by constant indices."""

    def forward(self, x):
        return torch.index_select(x, 1, self.order)


class Indexed(_Ordered):
    """Indexing by a constant tensor."""

    def forward(self, x):
        return x[:, self.order]


class ChannelsLast(_Shuffle):
    """Shuffled while channels are last."""

    def forward(self, x):
        b, c, h, w = x.shape
        x = x.permute(0, 2, 3, 1).reshape(b, h, w, G, c // G)
        return x.transpose(3, 4).reshape(b, h, w, c).permute(0, 3, 1, 2)


class Strided(_Shuffle):
    """Every k-th channel of the result is one group: slices with a step, one after another."""

    @staticmethod
    def ours(channels):
        return nn.ChannelShuffle(channels // G)

    def forward(self, x):
        return torch.cat([x[:, k::G] for k in range(G)], dim=1)


class BatchPairs(_Shuffle):
    """Shuffle and split in one: pairs of channels in the batch, halves as the first dimension."""

    @staticmethod
    def ours(channels):
        return nn.ChannelShuffle(channels // 2)

    def forward(self, x):
        b, c, h, w = x.size()
        pairs = x.reshape(b * c // 2, 2, h * w).permute(1, 0, 2).reshape(2, -1, c // 2, h, w)
        return torch.cat((pairs[0], pairs[1]), 1)


SPELLINGS = {
    "shuffle-five-dimensions": FiveDimensions,
    "shuffle-four-dimensions": FourDimensions,
    "shuffle-flattened": Flattened,
    "shuffle-stack": Stack,
    "shuffle-operator": Operator,
    "shuffle-index-select": IndexSelect,
    "shuffle-indexed": Indexed,
    "shuffle-channels-last": ChannelsLast,
    "shuffle-strided": Strided,
    "shuffle-batch-pairs": BatchPairs,
}
