"""SGE against its formula, its counts, its start and its groups."""

import numpy as np
import pytest
import torch

from edgeattn.attention.sge import SGE


@pytest.mark.parametrize(("channels", "groups"), [(12, 3), (8, 8), (5, 1)])
def test_formula(ref, channels, groups):
    def formula(x, w):
        size = channels // groups
        y = np.zeros_like(x)
        for g in range(groups):
            part = x[:, g * size : (g + 1) * size]
            t = np.einsum("nchw,nc->nhw", part, part.mean(axis=(2, 3)))
            t = t - t.mean(axis=(1, 2), keepdims=True)
            t = t / (t.std(axis=(1, 2), ddof=1, keepdims=True) + 1e-5)
            gate = ref.sigmoid(w["weight"][0, g] * t + w["bias"][0, g])
            y[:, g * size : (g + 1) * size] = part * gate[:, None]
        return y

    ref.agree(SGE(channels, groups=groups), formula, channels)


def test_epsilon_is_added_to_the_deviation():
    # With a tiny spread the epsilon decides: added under the root it would be 316 times as large.
    module = SGE(1).double().eval()
    with torch.no_grad():
        module.weight.fill_(1.0)
    x = torch.full((1, 1, 1, 2), 1.0, dtype=torch.float64)
    x[..., 1] += 1e-5
    t = x * x.mean()
    t = t - t.mean()
    expected = x * (t / (t.std() + 1e-5) + 1).sigmoid()
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=0)


def test_counts(ref):
    assert ref.count(SGE(256)) == 128
    assert 16 * ref.count(SGE(512)) == 25_559_080 - 25_557_032


def test_starts_as_a_constant_gate():
    x = torch.randn(2, 8, 3, 5)
    torch.testing.assert_close(SGE(8, groups=2).eval()(x), x * torch.ones(()).sigmoid())


def test_groups():
    assert SGE(24).groups == 24
    assert SGE(24).note == "groups=24, because 64 groups need a multiple of 64 channels"
    assert SGE(67).groups == 1
    assert not SGE(128).note
    with pytest.raises(ValueError, match="24 channels do not divide into 64 groups"):
        SGE(24, groups=64)
    with pytest.raises(ValueError, match="groups must be at least 1"):
        SGE(24, groups=-1)
