"""Triplet attention against its formula, its counts and its start."""

import numpy as np
import pytest
import torch

from edgeattn.attention.triplet import Triplet


@pytest.mark.parametrize(("kernel_size", "spatial"), [(7, True), (3, True), (3, False)])
def test_formula(ref, kernel_size, spatial):
    def gated(x, w, name, axis):
        pooled = np.stack([x.max(axis=axis), x.mean(axis=axis)], axis=1)
        turned = axis == 3  # its map is of channels by rows, and the module's of rows by channels
        pooled = pooled.swapaxes(2, 3) if turned else pooled
        logits = ref.conv2d(pooled, w[f"{name}.conv.weight"], padding=kernel_size // 2)
        gate = ref.sigmoid(ref.batch_norm(logits, w, f"{name}.norm"))[:, 0]
        gate = gate.swapaxes(1, 2) if turned else gate
        return x * np.expand_dims(gate, axis)

    def formula(x, w):
        branches = [gated(x, w, "cw", 2), gated(x, w, "hc", 3)]
        return sum([*branches, gated(x, w, "hw", 1)]) / 3 if spatial else sum(branches) / 2

    ref.agree(Triplet(5, kernel_size=kernel_size, spatial=spatial), formula, 5)


def test_counts(ref):
    assert ref.count(Triplet(256)) == 3 * 100
    assert ref.count(Triplet(256, kernel_size=3, spatial=False)) == 2 * 20


def test_norms_start_at_one():
    module = Triplet(8)
    norms = [module.cw.norm, module.hc.norm, module.hw.norm]
    assert all(torch.equal(norm.weight, torch.ones(1)) for norm in norms)
