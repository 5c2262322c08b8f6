"""FCA against its formula: the published frequencies, how they scale, and the map they are of."""

import math

import numpy as np
import pytest
import torch

from edgeattn.attention.fca import FCA

# As FcaNet's code lists them: the u of each, along rows, and the v, along columns.
TOP16 = (
    [0, 0, 6, 0, 0, 1, 1, 4, 5, 1, 3, 0, 0, 0, 3, 2],
    [0, 1, 0, 5, 2, 0, 2, 0, 0, 6, 0, 4, 6, 3, 5, 2],
)
# Of all 32, what the lists add up to.
SUMS = {"top": (88, 79), "low": (66, 74), "bot": (117, 105)}


def cosine(place, frequency, size):
    value = math.cos(math.pi * frequency * (place + 0.5) / size) / math.sqrt(size)
    return value if frequency == 0 else value * math.sqrt(2)


@pytest.mark.parametrize("size", [7, 14, 56])
def test_the_published_frequencies(size):
    weight = FCA(32, size, size).weight.double().numpy()
    for part, (u, v) in enumerate(zip(*TOP16, strict=True)):
        rows = [cosine(i, u * size // 7, size) for i in range(size)]
        columns = [cosine(j, v * size // 7, size) for j in range(size)]
        for channel in (2 * part, 2 * part + 1):
            np.testing.assert_allclose(weight[channel], np.outer(rows, columns), atol=1e-7)


@pytest.mark.parametrize("order", SUMS)
def test_the_other_orders(order):
    """Each map is one cosine along rows and one along columns: which, the DCT of it tells."""
    weight = FCA(32, 7, 7, frequencies=f"{order}32").weight.double().numpy()
    basis = np.array([[cosine(i, f, 7) for i in range(7)] for f in range(7)])
    found = np.einsum("ui,cij,vj->cuv", basis, weight, basis)
    places = [np.unravel_index(one.argmax(), one.shape) for one in found]
    assert tuple(int(sum(side)) for side in zip(*places, strict=True)) == SUMS[order]
    assert len(set(places)) == 32
    np.testing.assert_allclose(found.max(axis=(1, 2)), 1, atol=1e-6)


@pytest.mark.parametrize("sizes", [((7, 7), (7, 7)), ((14, 21), (28, 7))])
def test_formula(ref, sizes):
    """On a larger map that divides, adaptive means are plain ones."""

    def formula(x, w):
        n, c, h, wide = x.shape
        pooled = x.reshape(n, c, 7, h // 7, 7, wide // 7).mean(axis=(3, 5))
        z = (pooled * w["weight"]).sum(axis=(2, 3))
        hidden = ref.relu(z @ w["layers.0.weight"].T)
        return x * ref.sigmoid(hidden @ w["layers.2.weight"].T)[:, :, None, None]

    ref.agree(FCA(16, 7, 7, reduction=4), formula, 16, sizes=sizes)


def test_the_first_frequency_is_the_mean_of_se(ref):
    module = FCA(8, 7, 7, frequencies="top1")
    x = torch.randn(2, 8, 7, 7)
    torch.testing.assert_close((x * module.weight).sum((2, 3)), 7 * x.mean((2, 3)))


def test_counts(ref):
    channels = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    assert sum(ref.count(FCA(c, 7, 7)) for c in channels) == 28_071_976 - 25_557_032


@pytest.mark.parametrize(
    ("shape", "facts", "note"),
    [
        ((256, 56, 56), ("resnet", 1, 4), ""),
        ((512, 40, 40), ("resnet", 2, 4), "grid=28, published for stage 2: the map has 40x40"),
        ((64, 80, 44), (), "grid=28, the nearest that is published: the map has 80x44"),
        ((64, 5, 5), (), "grid=7, the nearest that is published: the map has 5x5"),
        ((24, 7, 7), (), "frequencies=top8, because 16 do not divide 24"),
        ((16, 7, 7), (), ""),
    ],
)
def test_what_is_chosen(shape, facts, note):
    module = FCA(*shape, *facts)
    assert module.note == note
    x = torch.randn(1, *shape)
    assert module(x).shape == x.shape


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"frequencies": "top16"}, "24 channels do not divide into 16 frequencies"),
        ({"grid": 10}, "grid must be a multiple of 7, not 10"),
        ({"grid": 0}, "grid must be a multiple of 7"),
        ({"reduction": 0}, "reduction must be at least 1"),
    ],
)
def test_senseless_options(options, reason):
    with pytest.raises(ValueError, match=reason):
        FCA(24, 14, 14, **options)
