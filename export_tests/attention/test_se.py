"""SE against its formula, and its counts."""

import numpy as np
import pytest

from edgeattn.attention.se import SE


@pytest.mark.parametrize("bias", [True, False])
def test_formula(ref, bias):
    def formula(x, w):
        pooled = x.mean(axis=(2, 3))
        hidden = pooled @ w["fc1.weight"][:, :, 0, 0].T + (w["fc1.bias"] if bias else 0)
        logits = ref.relu(hidden) @ w["fc2.weight"][:, :, 0, 0].T + (w["fc2.bias"] if bias else 0)
        return x * ref.sigmoid(logits)[:, :, None, None]

    ref.agree(SE(12, reduction=3, bias=bias), formula, 12)


@pytest.mark.parametrize(("channels", "hidden"), [(64, 4), (256, 16), (2048, 128)])
def test_parameters(ref, channels, hidden):
    assert ref.count(SE(channels)) == 2 * channels * hidden + channels + hidden
    assert ref.count(SE(channels, bias=False)) == 2 * channels * hidden


def test_resnet50_total(ref):
    # Three, four, six and three blocks: 28,088,024 and 28,071,976 on 25,557,032.
    channels = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    assert sum(ref.count(SE(c)) for c in channels) == 28_088_024 - 25_557_032
    assert sum(ref.count(SE(c, bias=False)) for c in channels) == 28_071_976 - 25_557_032


def test_fewer_channels_than_the_ratio():
    module = SE(8)
    assert module.fc1.out_channels == 1
    assert module.note == "hidden width 1, because 8 // 16 is 0"
    assert not SE(16).note


@pytest.mark.parametrize("reduction", [0, -4])
def test_senseless_ratio(reduction):
    with pytest.raises(ValueError, match="reduction must be at least 1"):
        SE(16, reduction=reduction)


def test_gate_is_per_channel(ref):
    module = ref.randomise(SE(6, reduction=2)).double()
    x = np.random.default_rng(0).normal(size=(2, 6, 3, 3)) + 3
    import torch

    ratio = module(torch.from_numpy(x)).detach().numpy() / x
    assert np.ptp(ratio, axis=(2, 3)).max() < 1e-12
    assert np.ptp(ratio, axis=1).min() > 1e-3
