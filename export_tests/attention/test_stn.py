"""The spatial transformer against an explicit sampling, its start, and the sizes it takes."""

import numpy as np
import pytest
import torch
from torch import nn

from edgeattn.attention.stn import STN


def sample(x, theta):
    """Bilinear sampling at theta applied to the centres of the output's pixels; 0 outside."""
    n, _, h, w = x.shape
    y = np.zeros_like(x)
    for b in range(n):
        for i in range(h):
            for j in range(w):
                u, v = (2 * j + 1) / w - 1, (2 * i + 1) / h - 1
                px, py = theta[b] @ np.array([u, v, 1.0])
                px, py = ((px + 1) * w - 1) / 2, ((py + 1) * h - 1) / 2
                for r in (int(np.floor(py)), int(np.floor(py)) + 1):
                    for c in (int(np.floor(px)), int(np.floor(px)) + 1):
                        if 0 <= r < h and 0 <= c < w:
                            y[b, :, i, j] += x[b, :, r, c] * (1 - abs(py - r)) * (1 - abs(px - c))
    return y


def localise(ref, x, w, window, steps):
    z = ref.conv2d(x, w["localisation.0.weight"], w["localisation.0.bias"])
    z = ref.relu(ref.max_pool(z, 2, 2))
    z = ref.conv2d(z, w["localisation.3.weight"], w["localisation.3.bias"])
    z = ref.relu(ref.max_pool(z, 2, 2))
    cells = [
        z[:, :, r * steps[0] : r * steps[0] + window[0], c * steps[1] : c * steps[1] + window[1]]
        for r in range(3)
        for c in range(3)
    ]
    features = np.stack([cell.mean(axis=(2, 3)) for cell in cells], axis=2)
    hidden = ref.relu(features.reshape(len(x), -1) @ w["fc1.weight"].T + w["fc1.bias"])
    return (hidden @ w["fc2.weight"].T + w["fc2.bias"]).reshape(-1, 2, 3)


def test_formula(ref):
    # 41x53: the maps are 6x9 after the maxima, so windows of 2x3 at steps of 2x3.
    module = ref.randomise(STN(3, 41, 53)).double()
    with torch.no_grad():  # keep the warp near the identity, so that it samples inside
        module.fc2.weight.mul_(0.01)
        module.fc2.bias.copy_(torch.tensor([0.8, 0.2, 0.1, -0.3, 0.9, -0.05]))
    x = np.random.default_rng(1).normal(size=(2, 3, 41, 53))
    w = ref.weights(module)
    theta = localise(ref, x, w, (2, 3), (2, 3))
    assert np.abs(theta[0] - theta[1]).max() > 1e-4
    got = module(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(got, sample(x, theta), rtol=1e-8, atol=1e-9)


def test_windows_cover_the_map(ref):
    for height in range(26, 80):
        pool = STN(1, height, 28).localisation[-1]
        h = ((height - 6) // 2 - 4) // 2
        assert 2 * pool.stride[0] + pool.kernel_size[0] == h
        assert pool.kernel_size[0] >= pool.stride[0]
    assert STN(1, 28, 28).localisation[-1].kernel_size == (1, 1)


@pytest.mark.parametrize("size", [(26, 26), (33, 47), (64, 64)])
def test_starts_as_the_identity(size):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(STN(3, *size).double().eval()(x), x, rtol=1e-9, atol=1e-9)


def test_counts(ref):
    layers = (3 * 8 * 49 + 8) + (8 * 10 * 25 + 10) + (90 * 32 + 32) + (32 * 6 + 6)
    assert ref.count(STN(3, 224, 224)) == layers
    assert isinstance(STN(3, 224, 224).localisation[0], nn.Conv2d)


def test_too_small():
    with pytest.raises(ValueError, match="at least 26x26, and gets 25x64"):
        STN(3, 25, 64)
    with pytest.raises(ValueError, match="hidden must be at least 1"):
        STN(3, 64, 64, hidden=0)
