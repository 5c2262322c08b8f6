"""Efficient channel attention: a gate per channel from the means of its k neighbours.

    y = x * sigmoid(conv1d_k(GAP(x)) over the channels), without bias

The kernel size is "published" by default: what the authors' models use, by stage, and elsewhere
the paper's formula (equation 12, with the code's truncation):

    t = int(|log2(C) / 2 + 1/2|),  k = t if t is odd, else t + 1

Source: Wang et al. 2020, arXiv:1910.03151; `BangguWu/ECANet`, whose README names the models it
publishes by their kernel sizes, a digit for each stage: eca_resnet50_k3557 and so on. In
MobileNetV2 they are 1 up to 96 channels and 3 above (eca_mobilenetv2_k13).
"""

from __future__ import annotations

import math
from typing import Final

from torch import Tensor, nn

from edgeattn.attention.base import Attention, require_odd

# By bottleneck or basic block, and residual blocks in the network: which model, and k by stage.
_RESNETS: Final = {
    ("basic", 8): ("ResNet-18", (3, 5, 7, 7)),
    ("basic", 16): ("ResNet-34", (3, 3, 5, 7)),
    ("bottleneck", 16): ("ResNet-50", (3, 5, 5, 7)),
    ("bottleneck", 33): ("ResNet-101", (3, 3, 5, 7)),
    ("bottleneck", 50): ("ResNet-152", (3, 3, 5, 7)),
}
# A block's output has this many channels in stage 1 and doubles: which block it is, and the number
# of blocks to take where the backbone's is not known.
_RESNET_BLOCKS: Final = {64: ("basic", 8), 256: ("bottleneck", 16)}
_RESNET_STAGES: Final = 4


class ECA(Attention):
    """Efficient channel attention.

    Parameters: k.

    Args:
        channels: Channels C of the feature map.
        family: Family of the backbone, such as "resnet" or "mobilenetv2".
        stage: The stage of the site, from 1.
        stages: How many stages the backbone has.
        blocks: How many residual blocks the backbone has.
        kernel_size: "published", "auto" for the formula, one odd number, or one for each stage
            separated by commas, such as 3,5,5,7.

    Raises:
        ValueError: `kernel_size` is none of these, or lists stages that the backbone does not have.
    """

    def __init__(
        self,
        channels: int,
        family: str | None = None,
        stage: int | None = None,
        stages: int | None = None,
        blocks: int | None = None,
        *,
        kernel_size: int | str = "published",
    ) -> None:
        super().__init__()
        if kernel_size == "published":
            k, origin = _published(channels, family, stage, stages, blocks)
        elif kernel_size == "auto":
            k, origin = formula(channels), "by the formula"
        else:
            k, origin = _given(str(kernel_size), stage, stages), "as given"
        require_odd("kernel_size", k)
        self.note = f"kernel_size={k}, {origin}"
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x: f32[N, C, H, W]` by channel; the result has the same shape."""
        means = x.mean((2, 3)).unsqueeze(1)
        gate: Tensor = self.gate(self.conv(means))
        return x * gate.transpose(1, 2).unsqueeze(-1)


def formula(channels: int) -> int:
    """Return the kernel size for C channels: gamma = 2, b = 1, truncated and made odd."""
    t = int(abs(math.log2(channels) / 2 + 0.5))
    return t if t % 2 else t + 1


def _published(
    channels: int, family: str | None, stage: int | None, stages: int | None, blocks: int | None
) -> tuple[int, str]:
    """Return the kernel size of the authors' model at this site, and where it comes from."""
    if family == "mobilenetv2":
        return (1 if channels <= 96 else 3), "published for MobileNetV2"
    if family == "resnet" and stages == _RESNET_STAGES and stage is not None:
        kind, known = _RESNET_BLOCKS.get(channels >> (stage - 1), ("", 0))
        model = _RESNETS.get((kind, known if blocks is None else blocks))
        if model is not None:
            name, kernels = model
            return kernels[stage - 1], f"published for {name}"
    return formula(channels), "by the formula"


def _given(text: str, stage: int | None, stages: int | None) -> int:
    """Return the kernel size that the user gave for this stage."""
    try:
        kernels = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"kernel_size takes published, auto, an odd number or a list such as 3,5,5,7, "
            f"not {text}"
        ) from None
    if len(kernels) == 1:
        return kernels[0]
    if stage is None or len(kernels) != stages:
        raise ValueError(
            f"kernel_size={text} is for {len(kernels)} stages, and this backbone has "
            f"{'none that are known' if stage is None else stages}"
        )
    return kernels[stage - 1]
