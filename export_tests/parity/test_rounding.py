"""A model that amplifies rounding is judged by torch's own rounding, any other by the tolerance."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeattn.parity.metrics import tolerance_of
from edgeattn.parity.rounding import judge, rounding_floor_db
from edgeattn.records.parity import OutputParity, ParityCase

FP32 = tolerance_of("fp32")


class Chaotic(nn.Module):
    """The logistic map: each step doubles what rounding did to x."""

    def __init__(self, steps):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(3.9))
        self.steps = steps

    def forward(self, x):
        for _ in range(self.steps):
            x = self.rate * x * (1 - x)
        return x


def case(sqnr_db, max_rel=1e-4):
    output = OutputParity(
        name="y",
        max_abs=1.0,
        max_rel=max_rel,
        sqnr_db=sqnr_db,
        cosine=1.0,
        argmax_agreement=1.0,
        passed=FP32.admits(max_rel, sqnr_db),
    )
    return ParityCase(weights="model", optimisations="off", batch=1, outputs=(output,))


def test_the_floor_falls_with_depth():
    x = (torch.rand(1, 200, generator=torch.Generator().manual_seed(0)),)
    floors = [rounding_floor_db(Chaotic(steps), x, FP32) for steps in (1, 10, 20)]
    assert floors[0] > 130
    # A Lyapunov exponent of about 0.5 nats a step costs some 4.3 dB each.
    assert floors[0] - 60 < floors[1] + 30
    assert floors[1] - 60 < floors[2] < floors[1] - 20


@pytest.mark.parametrize(
    ("sqnr_db", "floor_db", "passed"),
    [
        (90, 130, True),
        (79, 130, False),  # nothing amplifies: the tolerance holds
        (79, 91, False),
        (65, 70, True),  # as near as two roundings are
        (55, 70, False),  # further off than rounding takes it
        (44, 44, False),  # nothing can be told from rounding
        (None, 130, True),
    ],
)
def test_verdicts(sqnr_db, floor_db, passed):
    judged = judge(case(sqnr_db), FP32, floor_db)
    assert judged.passed is passed
    assert (judged.rounding_floor_db is None) == (floor_db in {130, 91, 44})


def test_the_largest_error_is_judged_as_well():
    assert judge(case(65, max_rel=2e-3), FP32, 70).passed
    assert not judge(case(65, max_rel=0.1), FP32, 70).passed
