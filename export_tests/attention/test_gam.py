"""Global attention against its formula, its counts and its groups."""

import pytest

from edgeattn.attention.gam import GAM


@pytest.mark.parametrize(
    ("channels", "family", "options", "groups"),
    [
        (8, None, {"reduction": 2}, 1),
        (16, "resnet", {"reduction": 2}, 2),
        (16, "resnet", {"reduction": 2, "groups": 1, "channel_gate": "sigmoid"}, 1),
        (24, None, {"reduction": 4, "groups": 3}, 3),
    ],
)
def test_formula(ref, channels, family, options, groups):
    def formula(x, w):
        hidden = x.swapaxes(1, 3) @ w["channel.0.weight"].T + w["channel.0.bias"]
        gate = ref.relu(hidden) @ w["channel.2.weight"].T + w["channel.2.bias"]
        gate = gate.swapaxes(1, 3)
        x = x * (ref.sigmoid(gate) if "channel_gate" in options else gate)
        z = x
        for conv, norm in ((0, 1), (3, 4)):
            kernel, bias = w[f"spatial.{conv}.weight"], w[f"spatial.{conv}.bias"]
            z = ref.conv2d(z, kernel, bias, padding=3, groups=groups)
            z = ref.batch_norm(z, w, f"spatial.{norm}")
            z = ref.relu(z) if conv == 0 else ref.sigmoid(z)
        order = [
            g * (channels // groups) + j for j in range(channels // groups) for g in range(groups)
        ]
        return x * z[:, order]

    ref.agree(GAM(channels, family, **options), formula, channels)


def test_counts(ref):
    assert ref.count(GAM(64)) == 2 * 64 * 16 * 50 + 4 * (64 + 16)
    assert ref.count(GAM(256, "resnet")) == 2 * 256 * 64 * 1 + 2 * 256 * 64 * 49 // 4 + 4 * (
        256 + 64
    )


def test_options():
    assert GAM(64).groups == GAM(64, "mobilenetv2").groups == 1
    assert GAM(64, "resnet").groups == 4
    assert GAM(3).note == "hidden width 1, because 3 // 4 is 0"
    with pytest.raises(ValueError, match="16 channels do not divide into 5 groups"):
        GAM(64, groups=5)
    with pytest.raises(ValueError, match="reduction must be at least 1"):
        GAM(64, reduction=0)
