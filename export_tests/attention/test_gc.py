"""Global context against its formula, its counts and its start."""

import numpy as np
import pytest
import torch

from edgeattn.attention.gc import GC


def test_formula(ref):
    def formula(x, w):
        logits = np.einsum("nchw,c->nhw", x, w["mask.weight"][0, :, 0, 0]) + w["mask.bias"][0]
        flat = ref.softmax(logits.reshape(len(x), -1), axis=1).reshape(logits.shape)
        context = np.einsum("nchw,nhw->nc", x, flat)
        z = context @ w["transform.0.weight"][:, :, 0, 0].T + w["transform.0.bias"]
        z = (z - z.mean(axis=1, keepdims=True)) / np.sqrt(z.var(axis=1, keepdims=True) + 1e-5)
        z = z * w["transform.1.weight"][:, 0, 0] + w["transform.1.bias"][:, 0, 0]
        term = ref.relu(z) @ w["transform.3.weight"][:, :, 0, 0].T + w["transform.3.bias"]
        return x + term[:, :, None, None]

    ref.agree(GC(12, reduction=3), formula, 12)


def test_counts(ref):
    # Stages 2 to 4 of ResNet-50.
    channels = [512] * 4 + [1024] * 6 + [2048] * 3
    assert sum(ref.count(GC(c)) for c in channels) == 28_078_773 - 25_557_032


def test_starts_as_the_identity():
    x = torch.randn(2, 32, 3, 5)
    assert torch.equal(GC(32).eval()(x), x)


def test_one_hidden_value_is_said_to_be_constant(ref):
    module = GC(16)
    assert "LayerNorm of one value is constant" in module.note
    ref.randomise(module)
    x = torch.randn(2, 16, 3, 3)
    torch.testing.assert_close(module(x) - x, module(x * 5) - x * 5, rtol=1e-4, atol=1e-4)
    assert not GC(32).note
    with pytest.raises(ValueError, match="reduction must be at least 1"):
        GC(16, reduction=0)
