"""NAM against its formula, with and without the spatial part and the later code's ReLU."""

import numpy as np
import pytest

from edgeattn.attention.nam import NAM


def shares(scales):
    return np.abs(scales) / np.abs(scales).sum()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("spatial", [False, True])
def test_formula(ref, spatial, relu):
    def formula(x, w):
        scale = shares(w["channel_norm.weight"])[:, None, None]
        logits = scale * ref.batch_norm(x, w, "channel_norm")
        x = x * ref.sigmoid(ref.relu(logits) if relu else logits)
        if not spatial:
            return x
        positions = x.reshape(*x.shape[:2], -1).transpose(0, 2, 1)
        normed = ref.batch_norm(positions, w, "spatial_norm")
        logits = shares(w["spatial_norm.weight"])[:, None] * normed
        return x * ref.sigmoid(logits).transpose(0, 2, 1).reshape(x.shape)

    ref.agree(NAM(6, 4, 9, spatial=spatial, relu=relu), formula, 6, sizes=((4, 9), (4, 9)))


def test_the_sign_of_a_scale_is_not_its_share(ref):
    module = ref.randomise(NAM(6, 4, 9))
    assert (module.channel_norm.weight < 0).any(), "the formula above would not tell"


def test_counts(ref):
    assert ref.count(NAM(256, 56, 56)) == 2 * 256
    assert ref.count(NAM(256, 56, 56, spatial=True)) == 2 * 256 + 2 * 56 * 56
