"""A model that amplifies rounding is judged by torch's own rounding, any other by the tolerance."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeattn.parity.floor import Floor, judge
from edgeattn.parity.metrics import tolerance_of
from edgeattn.parity.rounding import rounding_floor
from edgeattn.records.parity import OutputParity, ParityCase

FP32 = tolerance_of("fp32")
#: What was measured, and the floor: the verdicts that the floor bears on.
RESTS_ON = {(65, 70), (44, 44)}


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


def output(sqnr_db, max_rel=1e-4):
    return OutputParity(
        name="y",
        max_abs=1.0,
        max_rel=max_rel,
        sqnr_db=sqnr_db,
        cosine=1.0,
        argmax_agreement=1.0,
        passed=FP32.admits(max_rel, sqnr_db),
    )


def case(*outputs):
    return ParityCase(weights="model", optimisations="off", batch=1, outputs=outputs)


def floor(*outputs):
    return Floor(off=outputs, on=outputs, lowest_db=45, reason="{db:.0f} dB")


def test_the_floor_falls_with_depth():
    x = (torch.rand(1, 200, generator=torch.Generator().manual_seed(0)),)
    floors = [rounding_floor(Chaotic(steps), x, FP32)[0].sqnr_db for steps in (1, 10, 20)]
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
    judged = judge(case(output(sqnr_db)), FP32, floor(output(floor_db)))
    assert judged.passed is passed
    assert judged.rounding_floor_db == (floor_db if (sqnr_db, floor_db) in RESTS_ON else None)


def test_the_largest_error_is_judged_as_well():
    at = floor(output(70))
    assert judge(case(output(65, max_rel=2e-3)), FP32, at).passed
    assert not judge(case(output(65, max_rel=0.1)), FP32, at).passed
    # A single entry that jumps by itself may jump.
    assert judge(case(output(65, max_rel=0.1)), FP32, floor(output(70, max_rel=0.1))).passed


def test_each_output_has_its_own_floor():
    at = floor(output(70), output(130))
    assert judge(case(output(65), output(None)), FP32, at).passed
    assert not judge(case(output(65), output(65)), FP32, at).passed


class Bytes(nn.Module):
    """A model that makes floats of bytes itself, as a camera's does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image):
        return self.conv(image.float() / 255)


def test_the_floor_of_a_model_of_whole_numbers():
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 8, 8), generator=generator, dtype=torch.uint8)
    (output,) = rounding_floor(Bytes().eval(), [image], FP32)
    assert 120 < output.sqnr_db < 160
