"""Profiling at several batches: what is asked of each, and what becomes of one that fails."""

from __future__ import annotations

import pytest

from edgeattn.base.errors import InputError, MissingError
from edgeattn.options.profile import ProfileOptions
from edgeattn.options.shapes import Shape
from edgeattn.profiling.assemble import Profiled
from edgeattn.records.manifest import Tensor
from edgeattn.records.trace import SavedRow
from edgeattn.report.content import report_of
from edgeattn.report.curves import curves
from edgeattn.workflows.profile import engine_profiles, over_batches
from export_tests.report.traces import trace

IMAGE = Tensor(name="image", shape=("batch", 3, 32, 32), dtype="float32")
SCALE = Tensor(name="scale", shape=(3, 1, 1), dtype="float32")


def test_an_engine_is_built_for_the_batch_that_it_is_profiled_at():
    (found,) = engine_profiles([IMAGE, SCALE], ProfileOptions(batch=8))
    assert found.min == found.opt == found.max
    assert found.opt["image"] == (8, 3, 32, 32)


def test_an_engine_of_fixed_shapes_needs_no_profile():
    fixed = IMAGE.model_copy(update={"shape": (1, 3, 32, 32)})
    assert engine_profiles([fixed, SCALE], ProfileOptions(batch=8)) == ()


def test_sizes_that_nobody_says_are_left_to_the_builder():
    opened = IMAGE.model_copy(update={"shape": ("batch", 3, "h", "w")})
    assert engine_profiles([opened], ProfileOptions(batch=8)) == ()
    (found,) = engine_profiles([opened], ProfileOptions(shapes=((2, 3, 64, 64),)))
    assert found.opt["image"] == (2, 3, 64, 64)


def test_shapes_are_brought_to_a_batch_and_those_without_one_are_not():
    shapes = (Shape((1, 3, 32, 32), "uint8"), Shape((3, 1, 1)))
    found = ProfileOptions(shapes=shapes).at_batch(4)
    assert found.shapes == ((4, 3, 32, 32), (3, 1, 1))
    assert str(found.shapes[0]) == "4x3x32x32:uint8"
    assert (found.batch, found.marginal) == (4, False)


def test_a_host_that_fails_at_a_batch_is_named_with_it():
    stages = []

    def run(options, stage):
        stage("latency")
        if options.batch == 2:
            raise InputError("It does not fit.", mend="Give less.")
        return [], (MissingError("pi did not answer."),)

    with pytest.raises(InputError, match="does not fit"):
        over_batches(run, ProfileOptions(), (2, 4), stages.append)
    found, failed = over_batches(run, ProfileOptions(), (1, 4), stages.append)
    assert found == []
    assert [one.fact for one in failed] == [
        "Batch 1: pi did not answer.",
        "Batch 4: pi did not answer.",
    ]
    assert [one.exit_code for one in failed] == [3, 3]
    assert stages == ["batch 2, 1/2: latency", "batch 1, 1/2: latency", "batch 4, 2/2: latency"]


@pytest.mark.parametrize("predicted", [False, True])
def test_what_a_batch_takes_above_the_smallest_has_an_interval(predicted):
    def run(options, _):
        # Kernels that are other ones at another batch have errors of their own.
        attended = options.batch == 1
        found = trace(
            "net", predicted=predicted, attended=attended, batch=options.batch, shared_spread=0.2
        )
        return [Profiled(row=SavedRow(trace=found))], ()

    (one, two), _ = over_batches(run, ProfileOptions(), (1, 2), lambda _: None)
    assert one.row.by_batch is None
    low, high = two.row.by_batch.bounds
    assert low <= two.row.by_batch.percent <= high
    assert (two.row.by_batch.ci95 is None) is predicted
    (curve,) = curves(report_of([one.row, two.row]).rows)
    assert curve.points[1].gain_interval[0] <= curve.points[1].gain
