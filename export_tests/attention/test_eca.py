"""ECA against its formula, and the choice of its kernel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.attention.eca import ECA, formula


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_formula(ref, kernel_size):
    def expected(x, w):
        kernel = w["conv.weight"][0, 0]
        reach = kernel_size // 2
        means = np.pad(x.mean(axis=(2, 3)), ((0, 0), (reach, reach)))
        channels = x.shape[1]
        logits = sum(kernel[i] * means[:, i : i + channels] for i in range(kernel_size))
        return x * ref.sigmoid(logits)[:, :, None, None]

    ref.agree(ECA(9, kernel_size=kernel_size), expected, 9)


@pytest.mark.parametrize(
    ("channels", "k"),
    [(16, 3), (64, 3), (127, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7), (1, 1)],
)
def test_kernel_by_the_formula(channels, k):
    # log2(128)/2 + 1/2 = 4, even, so 5; log2(1024)/2 + 1/2 = 5.5, truncated to 5.
    assert formula(channels) == k
    assert ECA(channels, kernel_size="auto").note == f"kernel_size={k}, by the formula"


@given(st.integers(1, 1 << 16))
def test_formula_is_odd(channels):
    assert formula(channels) % 2 == 1


@pytest.mark.parametrize(
    ("model", "first", "blocks", "kernels"),
    [
        ("ResNet-18", 64, 8, (3, 5, 7, 7)),
        ("ResNet-34", 64, 16, (3, 3, 5, 7)),
        ("ResNet-50", 256, 16, (3, 5, 5, 7)),
        ("ResNet-101", 256, 33, (3, 3, 5, 7)),
        ("ResNet-152", 256, 50, (3, 3, 5, 7)),
        ("ResNet-50", 256, None, (3, 5, 5, 7)),
        ("ResNet-18", 64, None, (3, 5, 7, 7)),
    ],
)
def test_published_resnets(model, first, blocks, kernels):
    for stage, k in enumerate(kernels, start=1):
        module = ECA(first << (stage - 1), "resnet", stage, 4, blocks)
        assert module.conv.kernel_size == (k,)
        assert module.note == f"kernel_size={k}, published for {model}"


def test_resnet50_total(ref):
    depths = (3, 4, 6, 3)
    total = sum(
        depth * ref.count(ECA(256 << i, "resnet", i + 1, 4)) for i, depth in enumerate(depths)
    )
    assert total == 25_557_112 - 25_557_032


def test_published_mobilenetv2():
    assert ECA(96, "mobilenetv2", 4, 5).conv.kernel_size == (1,)
    assert ECA(160, "mobilenetv2", 5, 5).note == "kernel_size=3, published for MobileNetV2"


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"family": "resnet", "stage": 1, "stages": 5},  # not the published shape
        {"family": "resnet", "stage": 1, "stages": 4, "blocks": 12},  # a depth nobody published
        {"family": "resnet", "stage": 2, "stages": 4},  # 256 channels are no block's in stage 2
        {"family": "mobilenetv1", "stage": 1, "stages": 4},
    ],
)
def test_elsewhere_the_formula(facts):
    assert ECA(256, **facts).note == "kernel_size=5, by the formula"


def test_a_list_by_stage():
    kernels = [ECA(64, None, stage, 4, kernel_size="3,5,5,7").conv.kernel_size for stage in (1, 4)]
    assert kernels == [(3,), (7,)]
    assert ECA(64, kernel_size="9").note == "kernel_size=9, as given"


@pytest.mark.parametrize(
    ("kernel_size", "facts", "reason"),
    [
        (4, {}, "must be odd"),
        (0, {}, "must be odd"),
        ("-3", {}, "must be odd"),
        ("three", {}, "takes published, auto, an odd number or a list"),
        ("3,5", {"stage": 1, "stages": 4}, "is for 2 stages, and this backbone has 4"),
        ("3,5", {}, "none that are known"),
        ("3,,5", {"stage": 1, "stages": 3}, "takes published"),
    ],
)
def test_senseless_kernels(kernel_size, facts, reason):
    with pytest.raises(ValueError, match=reason):
        ECA(64, kernel_size=kernel_size, **facts)
