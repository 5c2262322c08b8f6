"""Efficient local attention against its formula, its counts and its versions."""

import numpy as np
import pytest

from edgeattn.attention.ela import ELA


def conv1d(ref, x, kernel, groups):
    """A 1-D convolution that keeps the length, as a 2-D one over a map of one row."""
    row = np.pad(x, ((0, 0), (0, 0), (kernel.shape[2] // 2,) * 2))[:, :, None]
    return ref.conv2d(row, kernel[:, :, None], groups=groups)[:, :, 0]


@pytest.mark.parametrize(
    ("version", "channels", "conv_groups", "norm_groups"),
    [("tiny", 64, 64, 32), ("base", 32, 32, 16), ("small", 48, 6, 16), ("base", 9, 9, 9)],
)
def test_formula(ref, version, channels, conv_groups, norm_groups):
    def gate(line, w):
        z = conv1d(ref, line, w["conv.weight"], conv_groups)
        z = z.reshape(len(z), norm_groups, -1)
        z = (z - z.mean(axis=2, keepdims=True)) / np.sqrt(z.var(axis=2, keepdims=True) + 1e-5)
        z = z.reshape(line.shape) * w["norm.weight"][:, None] + w["norm.bias"][:, None]
        return ref.sigmoid(z)

    def formula(x, w):
        by_row, by_column = gate(x.mean(axis=3), w), gate(x.mean(axis=2), w)
        return x * by_row[..., None] * by_column[:, :, None]

    ref.agree(ELA(channels, version=version), formula, channels)


def test_counts(ref):
    assert ref.count(ELA(256)) == 256 * 7 + 2 * 256
    assert ref.count(ELA(256, version="tiny")) == 256 * 5 + 2 * 256
    assert ref.count(ELA(256, version="large")) == 8 * 256 * 7 + 2 * 256


def test_groups():
    assert not ELA(256).note
    assert ELA(24).note == "groups=12, because 16 groups need a multiple of 16 channels"
    with pytest.raises(ValueError, match="12 channels do not divide into groups of 8"):
        ELA(12, version="small")
