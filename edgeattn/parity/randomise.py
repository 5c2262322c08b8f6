"""Draws a module's parameters and statistics at random.

A freshly initialised attention module hides faults: gates whose weights are zero, norms whose
statistics are 0 and 1, gammas of zero. The same graph with every channel different shows them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgeattn.models.capture import forget_caches

_PRIOR_SAMPLES = 16

_aten = torch.ops.aten
#: The operators that every BatchNorm comes down to; their fourth and fifth arguments are the
#: running mean and variance.
_BATCH_NORMS = {
    _aten.native_batch_norm.default,
    _aten._native_batch_norm_legit.default,  # noqa: SLF001 - that is the operator's name
    _aten._native_batch_norm_legit_no_training.default,  # noqa: SLF001 - same
}


def randomise(module: nn.Module, inputs: Sequence[torch.Tensor], *, seed: int) -> None:
    """Draw all parameters and normalisation statistics anew, in place.

    Matrices and kernels get unit gain (a tenth of it where they are nearly zero), with a scale
    along their first dimension that spans a factor of 30, so that epsilons count in some channels.
    Vectors and scalars are taken to half to one and a half of their value, and then moved by 0.2
    to 0.6 to either side. The statistics of a BatchNorm are those of its real input, disturbed
    per channel, so that activations stay of order one through any depth.

    Args:
        module: The module, or a traced program's, in evaluation mode.
        inputs: Inputs for one forward pass, x: f32[N, C, H, W].
        seed: Seed of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.is_floating_point():
                continue
            if sum(size > 1 for size in parameter.shape) >= 2:
                parameter.copy_(_weight(parameter, generator))
            else:
                _disturb(parameter, generator)
        _draw_statistics(module, generator)
        forget_caches(module)
        with _Calibration(generator):
            module(*(value.clone() for value in inputs))


def _weight(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    shape = weight.shape
    unit_gain = math.sqrt(2.0 / math.prod(shape[1:]))
    # What is (nearly) zero is a deviation from an identity, and stays a small one: the last layer
    # of a spatial transformer, at full gain, would look past the image and see nothing.
    size = weight.square().mean().sqrt().item()
    gain = 1.0 if size > 0.1 * unit_gain else 0.1
    drawn = torch.randn(shape, generator=generator) * (gain * unit_gain)
    scale = torch.exp(torch.empty(shape[0]).uniform_(-math.log(30), 0.0, generator=generator))
    scale /= scale.square().mean().sqrt()
    return drawn * scale.reshape(-1, *([1] * (len(shape) - 1)))


def _disturb(parameter: torch.Tensor, generator: torch.Generator) -> None:
    factor = torch.empty(parameter.shape).uniform_(0.5, 1.5, generator=generator)
    step = torch.empty(parameter.shape).uniform_(0.2, 0.6, generator=generator)
    sign = torch.randint(0, 2, parameter.shape, generator=generator) * 2 - 1
    parameter.mul_(factor).add_(step * sign)


def _draw_statistics(module: nn.Module, generator: torch.Generator) -> None:
    """Draw statistics without looking at data, for norms that are written by hand."""
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.3)
        elif name.endswith("running_var"):
            buffer.copy_(torch.empty(buffer.shape).uniform_(0.3, 2.0, generator=generator))


class _Calibration(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Sets the statistics of each BatchNorm from its input, just before it runs.

    It works on operators rather than on layers, so that a traced program is served as well.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # same
        self._generator = generator

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        if func in _BATCH_NORMS and args[3] is not None and args[4] is not None:
            self._adapt(args[0], mean=args[3], variance=args[4])
        return func(*args, **(kwargs or {}))

    def _adapt(self, x: torch.Tensor, *, mean: torch.Tensor, variance: torch.Tensor) -> None:
        channels = x.movedim(1, 0).reshape(x.shape[1], -1)
        # Both moments are shrunk, as if the layer had given each channel `_PRIOR_SAMPLES` samples
        # more, of mean 0 and its own mean square. A small map says little of a channel: taking its
        # bare moments blows up rounding errors, layer after layer, until nothing else is left.
        own = channels.shape[1] / (channels.shape[1] + _PRIOR_SAMPLES)
        centre = own * channels.mean(dim=1)
        spread = (channels - centre[:, None]).square().mean(dim=1)
        spread = torch.lerp(channels.square().mean(), spread, own).sqrt().clamp(min=1e-3)
        shift = torch.randn(centre.shape, generator=self._generator) * 0.3
        stretch = torch.empty(centre.shape).uniform_(0.6, 1.6, generator=self._generator)
        mean.copy_(centre + shift * spread)
        variance.copy_((spread * stretch).square())
