"""ULSAM against its formula, its counts and its groups."""

import numpy as np
import pytest
import torch

from edgeattn.attention.ulsam import ULSAM


@pytest.mark.parametrize("groups", [1, 4])
def test_formula(ref, groups):
    def formula(x, w):
        size = x.shape[1] // groups
        out = []
        for g in range(groups):
            part, p = x[:, g * size : (g + 1) * size], f"subspaces.{g}."
            scale = w[f"{p}depthwise.weight"][:, 0]
            z = part * scale + w[f"{p}depthwise.bias"][:, None, None]
            z = ref.relu(ref.batch_norm(z, w, f"{p}depthwise_norm"))
            z = ref.max_pool(z, 3, 1, padding=1)
            z = np.einsum("nchw,c->nhw", z, w[f"{p}pointwise.weight"][0, :, 0, 0])
            z = (z + w[f"{p}pointwise.bias"][0])[:, None]
            z = ref.relu(ref.batch_norm(z, w, f"{p}pointwise_norm"))
            flat = z.reshape(len(x), -1)
            attention = ref.softmax(flat, axis=1).reshape(z.shape)
            out.append(part + attention * part)
        return np.concatenate(out, axis=1)

    ref.agree(ULSAM(12, groups=groups), formula, 12)


@pytest.mark.parametrize("channels", [160, 512, 1024])
def test_parameters(ref, channels):
    assert ref.count(ULSAM(channels)) == 5 * channels + 3 * 4
    assert ref.count(ULSAM(channels, groups=8)) == 5 * channels + 3 * 8


def test_softmax_is_over_all_positions(ref):
    # Over rows alone, a constant map would give 1/H; over all positions 1/(H*W).
    module = ref.randomise(ULSAM(4, groups=1))
    x = torch.ones(1, 4, 3, 5)
    torch.testing.assert_close(module(x), x * (1 + 1 / 15))


def test_momentum():
    norms = [m for m in ULSAM(8).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 8
    assert {norm.momentum for norm in norms} == {0.9}


@pytest.mark.parametrize("groups", [5, 16, 0])
def test_groups_that_do_not_fit(groups):
    with pytest.raises(ValueError, match="groups"):
        ULSAM(12, groups=groups)
