"""Each spelling computes what our module computes, to 1e-10 in float64."""

import pytest
import torch

from export_tests.lowering.kit import randomise_
from export_tests.lowering.spellings.table import SPELLINGS

CHANNELS = 24


@pytest.mark.parametrize("name", SPELLINGS)
def test_equals_ours(name):
    spelling = SPELLINGS[name]
    torch.manual_seed(5)
    ours = randomise_(spelling.ours(CHANNELS)).double()
    module = spelling.loaded(ours, CHANNELS)
    for shape in ((1, CHANNELS, 7, 5), (3, CHANNELS, 4, 9)):
        x = torch.randn(shape, dtype=torch.float64) * 2 + 0.5
        with torch.no_grad():
            got, want = module(x), ours(x)
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
        assert (got - x).abs().max() > 1e-3, "the module did nothing"


def test_two_spellings_of_each():
    counts = {}
    for spelling in SPELLINGS.values():
        counts[spelling.__module__] = counts.get(spelling.__module__, 0) + 1
    assert len(counts) == 13
    assert min(counts.values()) >= 2
