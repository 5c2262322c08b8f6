"""How sure a predicted difference is."""

from __future__ import annotations

import itertools
import math

import pytest

from edgeattn.devices.profile import find
from edgeattn.profiling.predict.difference import difference, spread_of_ratio
from edgeattn.profiling.predict.gpu.interval import bounds
from edgeattn.profiling.predict.gpu.predict import predict
from edgeattn.profiling.sources.engines.kernels import trace_kernels
from edgeattn.records.layers import LayerInformation
from edgeattn.records.trace import Kernel
from export_tests.profiling.predict.gpu.kernels import profiled_us, real

SHARED, OWN = 0.34, 0.3


def kernel(time_us, *, kind="matmul", bound="compute", precision="fp16", macs=1):
    return Kernel(
        name="k",
        op="k",
        kind=kind,
        time_us=time_us,
        interval_us=bounds(time_us, OWN, SHARED),
        traffic_bytes=64,
        macs=macs,
        nodes=(),
        bound=bound,
        precision=precision,
    )


BASE = [kernel(100.0, macs=place) for place in range(10)]
ADDED = kernel(80.0, kind="pointwise", bound="traffic", macs=0)


def of(ours, theirs, shared=SHARED):
    sums = (sum(one.time_us for one in kernels) / 1e3 for kernels in (ours, theirs))
    ours_ms, theirs_ms = sums
    return difference(ours, ours_ms, theirs, theirs_ms, shared)


def test_the_same_model_does_not_differ():
    found = of(BASE, BASE)
    assert found.percent == 0
    assert found.predicted90 == pytest.approx((0, 0))
    assert found.ci95 is None


def test_errors_that_hit_both_cancel():
    """8 % more, of another kind: as sure as the 8 % are, and not as the whole is."""
    found = of([*BASE, ADDED], BASE)
    low, high = found.predicted90
    assert found.percent == pytest.approx(8)
    assert low < 8 < high
    part = 80 / 1080
    # The added kernel, by itself and by what bounds it, and what it takes off the others' parts.
    spread = math.hypot(OWN * part, SHARED * part, SHARED * part, OWN * part / math.sqrt(10))
    assert spread_of_ratio([*BASE, ADDED], BASE, SHARED) == pytest.approx(spread)
    assert high - low < 16
    alone = bounds(1.08, OWN / math.sqrt(10), SHARED)
    assert alone[1] - alone[0] > 1


@pytest.mark.parametrize(
    "other",
    [
        {"bound": "traffic"},
        {"precision": "fp32"},
        {"macs": 99},
        {"kind": "pointwise"},
    ],
)
def test_what_is_otherwise_is_less_sure(other):
    changed = [*BASE[:5], *(kernel(100.0, **{"macs": 50, **other}) for _ in range(5))]
    width = spread_of_ratio(changed, BASE, SHARED)
    assert width > 0.05
    twice = [kernel(100.0, **{"macs": 50, **other}) for _ in range(10)]
    assert spread_of_ratio(twice, BASE, SHARED) > width


def test_it_does_not_matter_which_comes_first():
    ours, theirs = [*BASE, ADDED], BASE[:7]
    there, back = (spread_of_ratio(*pair, SHARED) for pair in ((ours, theirs), (theirs, ours)))
    assert there == pytest.approx(back)


def test_without_the_spread_there_are_no_bounds():
    assert of([*BASE, ADDED], BASE, None).predicted90 is None


@pytest.mark.parametrize("name_of_device", ["a100-80g-pcie", "rtx-3090", "titan-rtx"])
def test_parts_of_measured_engines(name_of_device):
    """Of an engine cut into two to five, the ratio of any two parts' measured times is in bounds.

    What profiling adds to a layer on average is taken off.
    """
    engines = {
        "a100-80g-pcie_resnet18_b32_fp16": ("a100-80g-pcie", 862.183),
        "a100-80g-pcie_resnet18_b32_tf32": ("a100-80g-pcie", 1990.72),
        "rtx3090_resnet50_b32_fp16": ("rtx-3090", 4022.22),
        "titan-rtx_mobilenetv2-residuals_b1_int8": ("titan-rtx", 258.301),
    }
    holds = []
    for name, (device_name, measured_us) in engines.items():
        if device_name != name_of_device:
            continue
        layers, known, device = real(name), profiled_us(name), find(device_name)
        found = predict(layers, device, device.at())
        kernels = trace_kernels(
            LayerInformation(kernels=layers, bindings=(), form=""), found.kernels
        )
        added = (sum(known.values()) - measured_us) / len(layers)
        times = [max(1.0, known[one.name] - added) for one in layers]
        for count in (2, 3, 4, 5):
            cuts = [len(layers) * place // count for place in range(count + 1)]
            parts = [slice(*pair) for pair in itertools.pairwise(cuts)]
            for one, other in itertools.combinations(parts, 2):
                predicted = [sum(k.time_us for k in kernels[each]) for each in (one, other)]
                said = difference(
                    kernels[one], predicted[0], kernels[other], predicted[1], found.shared_spread
                )
                low, high = said.predicted90
                holds.append(low <= 100 * (sum(times[one]) / sum(times[other]) - 1) <= high)
    assert sum(holds) >= 0.9 * len(holds)
