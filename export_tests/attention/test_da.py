"""Dual attention in both forms against its formula, its counts and its start."""

import numpy as np
import pytest
import torch

from edgeattn.attention.da import DA


@pytest.mark.parametrize("combine", ["residual", "sum"])
def test_formula(ref, combine):
    def formula(x, w):
        n, channels = x.shape[:2]
        flat = x.reshape(n, channels, -1)

        def point(name):
            return (
                np.einsum("ncp,dc->ndp", flat, w[f"{name}.weight"][:, :, 0, 0])
                + (w[f"{name}.bias"][:, None])
            )

        energy = np.einsum("ndi,ndj->nij", point("query"), point("key"))
        weights = ref.softmax(energy, axis=2)
        position = np.einsum("ncj,nij->nci", point("value"), weights)
        gram = np.einsum("nip,njp->nij", flat, flat)
        weights = ref.softmax(gram.max(axis=2, keepdims=True) - gram, axis=2)
        channel = np.einsum("nij,njp->nip", weights, flat)
        y = w["gamma_position"] * position + w["gamma_channel"] * channel
        return (flat * (1 if combine == "residual" else 2) + y).reshape(x.shape)

    ref.agree(DA(16, combine=combine), formula, 16)


def test_counts(ref):
    c = 512
    assert ref.count(DA(c)) == 2 * c * c // 8 + 2 * c // 8 + c * c + c + 2


def test_start():
    x = torch.randn(2, 16, 3, 5)
    assert torch.equal(DA(16).eval()(x), 2 * x)
    assert torch.equal(DA(16, combine="residual").eval()(x), x)


def test_options():
    assert DA(4).note == "hidden width 1, because 4 // 8 is 0"
    with pytest.raises(ValueError, match="combine must be sum or residual"):
        DA(16, combine="product")
