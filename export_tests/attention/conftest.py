"""What the tests of the modules share: numpy in float64, and random weights and statistics."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn


def randomise(module: nn.Module, seed: int = 7) -> nn.Module:
    """Draws every parameter and statistic, different for every channel, and sets eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if not tensor.is_floating_point():
                continue
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif tensor[0].numel() > 1:  # a kernel: gates must not saturate, or they hide faults
                tensor.normal_(0.0, tensor[0].numel() ** -0.5, generator=generator)
            else:
                tensor.normal_(0.3, 0.6, generator=generator)
    return module.eval()


def weights(module: nn.Module) -> dict[str, np.ndarray]:
    """Parameters and statistics as float64 arrays, by their names in the module."""
    return {name: value.double().numpy() for name, value in module.state_dict().items()}


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def softmax(z, axis):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def relu(z):
    return np.where(z > 0, z, 0.0)


def batch_norm(x, w, name, eps=1e-5):
    """BatchNorm in eval mode over axis 1 of x."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, var = w[f"{name}.running_mean"].reshape(shape), w[f"{name}.running_var"].reshape(shape)
    scale, shift = w[f"{name}.weight"].reshape(shape), w[f"{name}.bias"].reshape(shape)
    return (x - mean) / np.sqrt(var + eps) * scale + shift


def conv2d(x, kernel, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    """A convolution, by its definition: a sum over the kernel's offsets."""
    n, _, h, w = x.shape
    out, per_group, kh, kw = kernel.shape
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    oh = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    ow = (w + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((n, out, oh, ow))
    for o in range(out):
        first = o // (out // groups) * per_group
        for i in range(kh):
            for j in range(kw):
                rows = slice(i * dilation, i * dilation + (oh - 1) * stride + 1, stride)
                cols = slice(j * dilation, j * dilation + (ow - 1) * stride + 1, stride)
                window = padded[:, first : first + per_group, rows, cols]
                y[:, o] += np.einsum("nchw,c->nhw", window, kernel[o, :, i, j])
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)


def max_pool(x, size, stride, padding=0):
    """A maximum over windows, with minus infinity around the map."""
    pad = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(x, pad, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
    return windows[:, :, ::stride, ::stride].max(axis=(4, 5))


def agree(module, formula, channels, *, sizes=((7, 5), (4, 9)), seed=3):
    """Asserts that the module computes `formula(x, weights)` in float64, at batch 1 and 3."""
    randomise(module).double()
    w = weights(module)
    rng = np.random.default_rng(seed)
    for batch, size in zip((1, 3), sizes, strict=True):
        x = rng.normal(0.5, 2.0, size=(batch, channels, *size))
        with torch.no_grad():
            got = module(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(got, formula(x, w), rtol=1e-9, atol=1e-10)
        if got.shape == x.shape:
            assert np.abs(got - x).max() > 1e-3, "the module did nothing"


def parameter_count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="session")
def ref():
    return SimpleNamespace(
        agree=agree,
        batch_norm=batch_norm,
        conv2d=conv2d,
        count=parameter_count,
        max_pool=max_pool,
        randomise=randomise,
        relu=relu,
        sigmoid=sigmoid,
        softmax=softmax,
        weights=weights,
    )
