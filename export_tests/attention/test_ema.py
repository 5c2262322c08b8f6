"""EMA against its formula, its counts and its groups."""

import numpy as np
import pytest

from edgeattn.attention.ema import EMA


@pytest.mark.parametrize(("channels", "groups"), [(12, 3), (6, 6), (5, 1)])
def test_formula(ref, channels, groups):
    size = channels // groups

    def group(x, w):
        def pointwise(v):
            kernel = w["conv1x1.weight"][:, :, 0, 0]
            return np.einsum("oc,nci->noi", kernel, v) + w["conv1x1.bias"][:, None]

        rows = ref.sigmoid(pointwise(x.mean(axis=3)))
        columns = ref.sigmoid(pointwise(x.mean(axis=2)))
        one = x * rows[:, :, :, None] * columns[:, :, None, :]
        one = (one - one.mean(axis=(2, 3), keepdims=True)) / np.sqrt(
            one.var(axis=(2, 3), keepdims=True) + 1e-5
        )
        one = one * w["norm.weight"][:, None, None] + w["norm.bias"][:, None, None]
        other = ref.conv2d(x, w["conv3x3.weight"], w["conv3x3.bias"], padding=1)
        weights = 0
        for squeezed, summed in ((one, other), (other, one)):
            likeness = ref.softmax(squeezed.mean(axis=(2, 3)), axis=1)
            weights = weights + np.einsum("nc,nchw->nhw", likeness, summed)
        return x * ref.sigmoid(weights)[:, None]

    def formula(x, w):
        parts = [group(x[:, g * size : (g + 1) * size], w) for g in range(groups)]
        return np.concatenate(parts, axis=1)

    ref.agree(EMA(channels, groups=groups), formula, channels)


def test_counts(ref):
    assert ref.count(EMA(256)) == 10 * 8 * 8 + 4 * 8
    # What the paper's MobileNetV2 has more, where SE sits: 3.55M for 3.50M.
    widths = [32, *[96] * 2, *[144] * 2, *[192] * 3, *[384] * 4, *[576] * 3, *[960] * 3]
    assert round(sum(ref.count(EMA(c)) for c in widths) / 1e6, 2) == 0.05


def test_groups():
    assert EMA(24).groups == 24
    assert EMA(24).note == "groups=24, because 32 groups need a multiple of 32 channels"
    assert not EMA(64).note
    with pytest.raises(ValueError, match="24 channels do not divide into 32 groups"):
        EMA(24, groups=32)
