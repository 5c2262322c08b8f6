"""Draws a module's parameters and statistics at random.

A freshly initialised attention module hides faults: gates whose weights are zero, norms whose
statistics are 0 and 1, gammas of zero. The same graph with every channel different shows them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_PRIOR_SAMPLES = 16


def randomise(module: nn.Module, inputs: Sequence[torch.Tensor], *, seed: int) -> None:
    """Draws all parameters and normalisation statistics anew, in place.

    Convolutions and linear layers get weights of unit gain (a tenth of it where they are nearly
    zero) with a scale per output channel that spans a factor of 30, so that epsilons count in
    some channels. Other parameters are
    moved by 0.2 to 0.6 to either side of half to one and a half of their value. The statistics of
    a BatchNorm are those of its real input, disturbed per channel: activations stay of order one
    through any depth, and no gate saturates.

    Args:
        module: The module, in evaluation mode.
        inputs: Inputs for one forward pass, x: f32[N, C, H, W].
        seed: Seed of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {
        id(layer.weight)
        for layer in module.modules()
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)  # noqa: SLF001 - the common base
        and isinstance(layer.weight, nn.Parameter)
    }
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.is_floating_point():
                continue
            if id(parameter) in weights:
                parameter.copy_(_weight(parameter, generator))
            else:
                _disturb(parameter, generator)
        _draw_statistics(module, generator)
        _calibrate(module, inputs, generator)


def _weight(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    shape = weight.shape
    unit_gain = math.sqrt(2.0 / (math.prod(shape[1:]) or 1))
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
    """Draws statistics without looking at data: for traced programs, which keep no layer types."""
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.3)
        elif name.endswith("running_var"):
            buffer.copy_(torch.empty(buffer.shape).uniform_(0.3, 2.0, generator=generator))


def _calibrate(
    module: nn.Module, inputs: Sequence[torch.Tensor], generator: torch.Generator
) -> None:
    def adapt(norm: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        if norm.running_mean is None or norm.running_var is None:
            return
        channels = args[0].movedim(1, 0).reshape(args[0].shape[1], -1)
        # Both moments are shrunk, as if the layer had given each channel `_PRIOR_SAMPLES` samples
        # more, of mean 0 and its own mean square. A small map says little of a channel: taking its
        # bare moments blows up rounding errors, layer after layer, until nothing else is left.
        own = channels.shape[1] / (channels.shape[1] + _PRIOR_SAMPLES)
        centre = own * channels.mean(dim=1)
        spread = (channels - centre[:, None]).square().mean(dim=1)
        spread = torch.lerp(channels.square().mean(), spread, own).sqrt().clamp(min=1e-3)
        shift = torch.randn(centre.shape, generator=generator) * 0.3
        stretch = torch.empty(centre.shape).uniform_(0.6, 1.6, generator=generator)
        norm.running_mean.copy_(centre + shift * spread)
        norm.running_var.copy_((spread * stretch).square())

    handles = [
        layer.register_forward_pre_hook(adapt)
        for layer in module.modules()
        if isinstance(layer, _BatchNorm)
    ]
    try:
        module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
