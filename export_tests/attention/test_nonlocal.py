"""The non-local block against its formula, its counts and its start."""

import numpy as np
import pytest
import torch

from edgeattn.attention.nonlocal_ import NonLocal


@pytest.mark.parametrize("scale", [True, False])
def test_formula(ref, scale):
    def formula(x, w):
        def point(name):
            kernel, bias = w[f"{name}.weight"][:, :, 0, 0], w[f"{name}.bias"]
            return np.einsum("nchw,dc->ndhw", x, kernel) + bias[:, None, None]

        theta, phi, g = (point(name) for name in ("theta", "phi", "g"))
        affinity = np.einsum("ncij,nckl->nijkl", theta, phi) * (6**-0.5 if scale else 1)
        n, h, width = x.shape[0], *x.shape[2:]
        attention = ref.softmax(affinity.reshape(n, h, width, -1), axis=3)
        y = np.einsum("nijp,ncp->ncij", attention, g.reshape(n, g.shape[1], -1))
        z = ref.conv2d(y, w["out.weight"], w["out.bias"])
        return x + ref.batch_norm(z, w, "norm")

    ref.agree(NonLocal(12, scale=scale), formula, 12)


def test_counts(ref):
    c = 512
    assert ref.count(NonLocal(c)) == 2 * c * c + 3 * c // 2 + c + 2 * c


def test_starts_as_the_identity():
    x = torch.randn(2, 8, 3, 5)
    module = NonLocal(8).eval()
    assert torch.equal(module(x), x)
    assert 0.001 < module.theta.weight.std() < 0.03
    assert module.theta.bias.abs().max() == 0


def test_options():
    assert NonLocal(1).note == "hidden width 1, because 1 // 2 is 0"
    with pytest.raises(ValueError, match="reduction must be at least 1"):
        NonLocal(8, reduction=0)
