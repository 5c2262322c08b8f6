"""BAM in both forms against its formula, its counts and what the code starts it with."""

import pytest
import torch
from torch import nn

from edgeattn.attention.bam import BAM


@pytest.mark.parametrize("combine", ["multiply", "add"])
@pytest.mark.parametrize("dilation", [4, 1])
def test_formula(ref, combine, dilation):
    def formula(x, w):
        hidden = x.mean(axis=(2, 3)) @ w["channel.0.weight"].T + w["channel.0.bias"]
        hidden = ref.relu(ref.batch_norm(hidden, w, "channel.1"))
        mc = (hidden @ w["channel.3.weight"].T + w["channel.3.bias"])[:, :, None, None]
        ms = ref.conv2d(x, w["spatial.0.weight"], w["spatial.0.bias"])
        ms = ref.relu(ref.batch_norm(ms, w, "spatial.1"))
        for conv, norm in ((3, 4), (6, 7)):
            kernel, bias = w[f"spatial.{conv}.weight"], w[f"spatial.{conv}.bias"]
            ms = ref.conv2d(ms, kernel, bias, padding=dilation, dilation=dilation)
            ms = ref.relu(ref.batch_norm(ms, w, f"spatial.{norm}"))
        ms = ref.conv2d(ms, w["spatial.9.weight"], w["spatial.9.bias"])
        return x * (1 + ref.sigmoid(mc * ms if combine == "multiply" else mc + ms))

    ref.agree(BAM(12, reduction=4, dilation=dilation, combine=combine), formula, 12)


def test_counts(ref):
    # After layer1, layer2 and layer3 of ResNet-50.
    assert sum(ref.count(BAM(c)) for c in (256, 512, 1024)) == 25_915_099 - 25_557_032
    h = 4
    assert ref.count(BAM(64)) == 2 * 64 * h + 64 + 3 * h + 64 * h + 18 * h * h + 10 * h + 1


def test_biases_start_at_zero():
    torch.manual_seed(0)
    module = BAM(32).eval()
    biases = [m.bias for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert all(bias.abs().max() == 0 for bias in biases)


def test_options():
    with pytest.raises(ValueError, match="combine must be multiply or add, not sum"):
        BAM(16, combine="sum")
    with pytest.raises(ValueError, match="dilation must be at least 1"):
        BAM(16, dilation=0)
    assert BAM(8).note.startswith("hidden width 1")
