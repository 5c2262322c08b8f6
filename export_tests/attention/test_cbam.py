"""CAM, SAM and CBAM against their formulas, their counts and what the code starts them with."""

import numpy as np
import pytest
import torch
from torch import nn

from edgeattn.attention.cam import CAM
from edgeattn.attention.cbam import CBAM
from edgeattn.attention.sam import SAM


def channel(ref, x, w, prefix=""):
    def mlp(v):
        hidden = v @ w[f"{prefix}mlp.0.weight"].T + w[f"{prefix}mlp.0.bias"]
        return ref.relu(hidden) @ w[f"{prefix}mlp.2.weight"].T + w[f"{prefix}mlp.2.bias"]

    logits = mlp(x.mean(axis=(2, 3))) + mlp(x.max(axis=(2, 3)))
    return x * ref.sigmoid(logits)[:, :, None, None]


def spatial(ref, x, w, prefix="", *, norm):
    pooled = np.stack([x.max(axis=1), x.mean(axis=1)], axis=1)
    kernel = w[f"{prefix}conv.weight"]
    logits = ref.conv2d(pooled, kernel, padding=kernel.shape[-1] // 2)
    if norm:
        logits = ref.batch_norm(logits, w, f"{prefix}norm")
    return x * ref.sigmoid(logits)


def test_cam(ref):
    ref.agree(CAM(12, reduction=4), lambda x, w: channel(ref, x, w), 12)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kernel_size", [7, 3])
def test_sam(ref, norm, kernel_size):
    module = SAM(5, kernel_size=kernel_size, norm=norm)
    ref.agree(module, lambda x, w: spatial(ref, x, w, norm=norm), 5)


def test_cbam(ref):
    def formula(x, w):
        return spatial(ref, channel(ref, x, w, "channel."), w, "spatial.", norm=True)

    ref.agree(CBAM(12, reduction=4), formula, 12)


def test_counts(ref):
    assert ref.count(CAM(256)) == 2 * 256 * 16 + 256 + 16
    assert ref.count(SAM(256)) == 98
    assert ref.count(CBAM(256)) == 2 * 256 * 16 + 256 + 16 + 98 + 2
    channels = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    assert sum(ref.count(CBAM(c)) for c in channels) == 28_089_624 - 25_557_032


def test_starts_with_a_spatial_gate_of_one_half(ref):
    module = CBAM(16).eval()
    x = torch.randn(2, 16, 5, 7)
    torch.testing.assert_close(module(x), module.channel(x) * 0.5)
    biases = [m.bias for m in module.modules() if isinstance(m, nn.Linear)]
    assert all(bias.abs().max() == 0 for bias in biases)


def test_options():
    assert CBAM(8).note == "hidden width 1, because 8 // 16 is 0"
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        CBAM(16, kernel_size=4)
    with pytest.raises(ValueError, match="kernel_size must be odd and at least 1, not -3"):
        SAM(16, kernel_size=-3)
    with pytest.raises(ValueError, match="reduction must be at least 1"):
        CAM(16, reduction=0)
