"""Coordinate attention against its formula, its counts and its options."""

import numpy as np
import pytest

from edgeattn.attention.ca import CA


@pytest.mark.parametrize(("channels", "reduction"), [(12, 32), (20, 2)])
def test_formula(ref, channels, reduction):
    def formula(x, w):
        height = x.shape[2]
        means = np.concatenate([x.mean(axis=3), x.mean(axis=2)], axis=2)[..., None]
        z = ref.conv2d(means, w["conv1.weight"], w["conv1.bias"])
        z = ref.batch_norm(z, w, "norm")
        z = z * np.clip(z + 3, 0, 6) / 6
        rows = ref.conv2d(z[:, :, :height], w["conv_h.weight"], w["conv_h.bias"])
        columns = ref.conv2d(z[:, :, height:], w["conv_w.weight"], w["conv_w.bias"])
        return x * ref.sigmoid(rows) * ref.sigmoid(columns[..., 0])[:, :, None]

    ref.agree(CA(channels, reduction=reduction), formula, channels)


def test_counts(ref):
    assert ref.count(CA(64)) == 3 * 64 * 8 + 2 * 64 + 3 * 8
    assert ref.count(CA(512)) == 3 * 512 * 16 + 2 * 512 + 3 * 16


def test_options():
    with pytest.raises(ValueError, match="reduction must be at least 1"):
        CA(64, reduction=0)
