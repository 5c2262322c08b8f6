"""The selective kernel unit against its formula, its counts, and the groups it takes."""

import numpy as np
import pytest
import torch

from edgeattn.attention.sk import SK


@pytest.mark.parametrize(
    ("channels", "out", "stride", "groups", "branches", "dilation"),
    [(8, 8, 1, 4, 2, 1), (8, 12, 2, 2, 3, 1), (6, 6, 1, 6, 2, 2)],
)
def test_formula(ref, channels, out, stride, groups, branches, dilation):
    def formula(x, w):
        features = []
        for i in range(branches):
            d = dilation * (i + 1)
            y = ref.conv2d(
                x,
                w[f"branches.{i}.0.weight"],
                stride=stride,
                padding=d,
                dilation=d,
                groups=groups,
            )
            features.append(ref.relu(ref.batch_norm(y, w, f"branches.{i}.1")))
        pooled = sum(features).mean(axis=(2, 3))
        z = ref.batch_norm(pooled @ w["reduce.0.weight"][:, :, 0, 0].T, w, "reduce.1")
        logits = ref.relu(z) @ w["select.weight"][:, :, 0, 0].T
        weights = ref.softmax(logits.reshape(len(x), branches, out), axis=1)
        return sum(weights[:, i, :, None, None] * y for i, y in enumerate(features))

    module = SK(
        channels, out, stride, dilation, groups=groups, branches=branches, reduction=2, min_width=5
    )
    ref.agree(module, formula, channels, sizes=((9, 7), (6, 9)))


@pytest.mark.parametrize("channels", [64, 128, 512])
def test_counts(ref, channels):
    d = max(channels // 16, 32)
    branches = 2 * (9 * channels * channels // 32 + 2 * channels)
    assert ref.count(SK(channels)) == branches + channels * d + 2 * d + 2 * channels * d


@pytest.mark.parametrize("stride", [1, 2])
def test_same_size_as_the_convolution(stride):
    conv = torch.nn.Conv2d(32, 64, 3, stride=stride, padding=1)
    x = torch.randn(1, 32, 9, 14)
    assert SK(32, 64, stride).eval()(x).shape == conv(x).shape


def test_groups():
    assert not SK(64).note
    assert SK(48).branches[0][0].groups == 24
    assert SK(48).note == "groups=24, because 32 groups need a multiple of 32 channels"
    depthwise = SK(48, conv_groups=48)
    assert depthwise.branches[0][0].groups == 48
    assert depthwise.note == "groups=48, of the convolution it replaces"
    assert SK(32, 48).branches[0][0].groups == 16  # divides both
    assert SK(48, conv_groups=48, groups=3).branches[1][0].groups == 3
    with pytest.raises(ValueError, match="64 channels do not divide into 7 groups"):
        SK(64, groups=7)


@pytest.mark.parametrize(
    ("option", "value"), [("branches", 1), ("reduction", 0), ("min_width", 0), ("groups", 0)]
)
def test_senseless_options(option, value):
    with pytest.raises(ValueError, match=f"{option} must be at least"):
        SK(64, **{option: value})


def test_branches_are_weighed_to_one(ref):
    # With both branches equal, any weights that sum to 1 give the branch itself.
    module = ref.randomise(SK(8, groups=8))
    module.branches[1] = module.branches[0]
    x = torch.randn(2, 8, 5, 5)
    np.testing.assert_allclose(
        module(x).detach(), module.branches[0](x).detach(), rtol=1e-5, atol=1e-5
    )
