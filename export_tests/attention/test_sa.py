"""Shuffle attention against a formula by channel, its counts, its start and its groups."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.attention.sa import SA


def by_channel(ref, x, w, groups):
    """The whole module without a reshape: which gate channel c gets, and where it goes."""
    channels = x.shape[1]
    size, half = channels // groups, channels // (2 * groups)
    y = np.zeros_like(x)
    for c in range(channels):
        i = c % size
        if i < half:
            cw, cb = w["channel_weight"][0, i], w["channel_bias"][0, i]
            gate = ref.sigmoid(cw * x[:, c].mean(axis=(1, 2), keepdims=True) + cb)
        else:
            j = i - half
            mean = x[:, c].mean(axis=(1, 2), keepdims=True)
            std = np.sqrt(x[:, c].var(axis=(1, 2), keepdims=True) + 1e-5)
            normal = (x[:, c] - mean) / std * w["norm.weight"][j] + w["norm.bias"][j]
            gate = ref.sigmoid(w["spatial_weight"][0, j] * normal + w["spatial_bias"][0, j])
        side, position = divmod(c, channels // 2)
        y[:, 2 * position + side] = x[:, c] * gate
    return y


@pytest.mark.parametrize(("channels", "groups"), [(24, 3), (16, 8), (10, 1)])
def test_formula(ref, channels, groups):
    module = SA(channels, groups=groups)
    ref.agree(module, lambda x, w: by_channel(ref, x, w, groups), channels)


@pytest.mark.parametrize("channels", [256, 512, 1024, 2048])
def test_parameters(ref, channels):
    assert ref.count(SA(channels)) == 3 * channels // 64
    assert not SA(channels).note


def test_resnet50_total(ref):
    channels = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    assert sum(ref.count(SA(c)) for c in channels) == 25_557_740 - 25_557_032


def test_starts_as_a_constant_gate_and_a_shuffle():
    x = torch.randn(2, 8, 3, 5)
    shuffled = x[:, [0, 4, 1, 5, 2, 6, 3, 7]]
    torch.testing.assert_close(SA(8, groups=2).eval()(x), shuffled * torch.ones(()).sigmoid())


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (24, 12), (96, 48), (160, 40), (2, 1)])
def test_largest_groups_that_fit(channels, groups):
    module = SA(channels)
    assert module.groups == groups
    assert module.note == f"groups={groups}, because 64 groups need a multiple of 128 channels"


@given(st.integers(1, 1024).map(lambda c: 2 * c))
def test_no_larger_groups_fit(channels):
    groups = SA(channels).groups
    assert channels % (2 * groups) == 0
    assert not any(channels % (2 * g) == 0 for g in range(groups + 1, 65))


@pytest.mark.parametrize(
    ("channels", "groups", "reason"),
    [(15, "auto", "15 is odd"), (64, 64, "do not divide into 64 groups"), (64, 0, "at least 1")],
)
def test_groups_that_do_not_fit(channels, groups, reason):
    with pytest.raises(ValueError, match=reason):
        SA(channels, groups=groups)
