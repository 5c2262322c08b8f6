"""GhostNetV2's SE against its formula, its hidden widths and its gate."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.attention.se_ghost import SEGhost, make_divisible


def test_formula(ref):
    def formula(x, w):
        hidden = x.mean(axis=(2, 3)) @ w["fc1.weight"][:, :, 0, 0].T + w["fc1.bias"]
        z = ref.relu(hidden) @ w["fc2.weight"][:, :, 0, 0].T + w["fc2.bias"]
        return x * np.clip(z / 6 + 0.5, 0, 1)[:, :, None, None]

    ref.agree(SEGhost(20), formula, 20)


def test_gate_has_slope_a_sixth_not_a_fifth(ref):
    module = SEGhost(4).eval()
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
        module.fc2.bias.copy_(torch.tensor([-3.0, 0.6, 1.2, 3.0]))
        gate = module(torch.ones(1, 4, 2, 2))[0, :, 0, 0]
    np.testing.assert_allclose(gate, [0, 0.6, 0.7, 1], atol=1e-6)


@pytest.mark.parametrize(("channels", "hidden"), [(72, 20), (120, 32), (240, 60), (16, 4), (6, 4)])
def test_hidden_width(channels, hidden):
    # 18 is rounded to 20; 1.5 would be 0 and is 4.
    assert SEGhost(channels).fc1.out_channels == hidden


@given(st.integers(1, 4096), st.integers(1, 64))
def test_make_divisible(value, divisor):
    got = make_divisible(value, divisor)
    assert got % divisor == 0
    assert got >= max(divisor, 0.9 * value)
    assert got < value + 2 * divisor


@pytest.mark.parametrize("option", ["reduction", "divisor"])
def test_senseless_options(option):
    with pytest.raises(ValueError, match=f"{option} must be at least 1"):
        SEGhost(16, **{option: 0})
