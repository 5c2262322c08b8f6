"""SimAM against its formula."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.attention.simam import SimAM


@pytest.mark.parametrize("e_lambda", [1e-4, 0.1])
def test_formula(ref, e_lambda):
    def formula(x, _):
        deviation = x - x.mean(axis=(2, 3), keepdims=True)
        variance = x.var(axis=(2, 3), ddof=1, keepdims=True)
        return x * ref.sigmoid(deviation**2 / (4 * (variance + e_lambda)) + 0.5)

    ref.agree(SimAM(6, e_lambda=e_lambda), formula, 6)


@given(st.integers(1, 6), st.integers(1, 6), st.floats(-50, 50), st.integers(0, 99))
def test_constant_channels_get_the_same_gate(height, width, value, seed):
    if height * width < 2:
        return
    x = torch.full((1, 2, height, width), value, dtype=torch.float64)
    x[0, 1] = torch.randn(height, width, generator=torch.Generator().manual_seed(seed))
    y = SimAM(2)(x)
    np.testing.assert_allclose(y[0, 0], value / (1 + np.exp(-0.5)), rtol=1e-9, atol=1e-12)
    assert torch.isfinite(y).all()


def test_no_parameters(ref):
    assert ref.count(SimAM(64)) == 0


@pytest.mark.parametrize("e_lambda", [0.0, -1.0, float("nan"), float("inf")])
def test_senseless_lambda(e_lambda):
    with pytest.raises(ValueError, match="e_lambda must be a finite number above 0"):
        SimAM(8, e_lambda=e_lambda)
