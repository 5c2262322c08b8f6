"""Activations that TensorRT leaves to a pass of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeattn.devices.profile import find
from edgeattn.profiling.predict.gpu.engine import predict_engine
from edgeattn.profiling.predict.gpu.passes import as_tensorrt
from edgeattn.profiling.predict.gpu.predict import How, predict
from edgeattn.profiling.sources.engines.plans import Plan
from edgeattn.records.layers import LayerInformation
from export_tests.profiling.predict.gpu.kernels import convolution, kernel, real, tensor, weights

ORIN, XAVIER, RTX3090 = map(find, ("jetson-orin-nx-16gb", "jetson-xavier-nx", "rtx-3090"))


def planned(steps, *, dtype="fp32", channels=(64, 64), groups=1):
    """A kernel as Myelin names it."""
    inside, outside = channels
    return kernel(
        f"__myl_{steps}_myl0_3",
        "runtime_fusion",
        [tensor("x", (1, inside, 56, 56), dtype)],
        [tensor("y", (1, outside, 56, 56), dtype)],
        [weights((outside, inside // groups, 3, 3), dtype)],
    )


def run(one, device=ORIN):
    return [part for _, part in as_tensorrt([one], device)]


@pytest.mark.parametrize(
    ("one", "device", "count"),
    [
        (planned("CorrSilu"), ORIN, 2),
        (planned("CorrSilu", dtype="fp16"), ORIN, 1),
        (planned("CorrSilu", dtype="int8"), ORIN, 1),
        (planned("CorrSilu", dtype="fp16"), XAVIER, 2),
        (planned("CorrSilu", dtype="fp16", channels=(3, 32)), ORIN, 2),
        (planned("CorrSilu", dtype="fp16", groups=64), ORIN, 2),
        (planned("CorrSigmMul"), ORIN, 2),
        (planned("CorrTanh"), ORIN, 2),
        (planned("CorrMulAddMinMaxMul"), ORIN, 2),  # Hardswish
        (planned("CorrMinMax"), ORIN, 1),  # ReLU6
        (planned("CorrRelu"), ORIN, 1),
        (planned("CorrAddRelu"), XAVIER, 1),
        (planned("Silu"), ORIN, 1),
        (convolution(dtype="fp32"), ORIN, 1),
    ],
)
def test_what_is_a_pass_of_its_own(one, device, count):
    parts = run(one, device)
    assert len(parts) == count
    assert parts[-1].outputs == one.outputs
    if count == 1:
        assert parts == [one]


def test_what_is_added_is_read_by_the_pass():
    one = planned("CorrSiluAdd")
    residual = tensor("residual", (1, 64, 56, 56), "fp32")
    first, second = run(replace(one, inputs=(residual, *one.inputs)))
    # Both inputs could be what is multiplied: either way, each is read once.
    assert len(first.inputs) == 1
    assert set(second.inputs) - set(first.outputs) | set(first.inputs) == {residual, *one.inputs}
    assert first.constants == one.constants
    assert second.constants == ()


def test_the_pass_is_part_of_its_kernel():
    """The map is written and read once more, 6.4 MB each; no kernel more is listed."""
    one, size = planned("CorrSilu", channels=(64, 256)), 4 * 256 * 56 * 56
    alone = planned("CorrRelu", channels=(64, 256))
    point = ORIN.at("MAXN")
    with_pass, without = (predict([each], ORIN, point) for each in (one, alone))
    (found,), (less,) = with_pass.kernels, without.kernels
    added = found.time_us - less.time_us
    moved = 2 * size / (ORIN.efficiency.of_bandwidth("pointwise") * point.bandwidth_gbps * 1e3)
    # Half of what is read may still be in L2.
    assert point.kernel_floor_us + moved / 2 <= added <= point.kernel_floor_us + moved + 1e-6
    assert with_pass.end_to_end_us == pytest.approx(found.time_us)
    assert found.interval_us[0] < found.time_us < found.interval_us[1]


def test_a_gpu_that_runs_the_plan_itself():
    """An RTX 3090 runs TensorRT-RTX, unless TensorRT is asked for; an Orin never does."""
    planned_ones = [planned("CorrSilu")]

    def time(device, runtime=None):
        return predict(planned_ones, device, device.at(), How(runtime=runtime)).end_to_end_us

    assert time(RTX3090) == time(RTX3090, "tensorrt-rtx") < time(RTX3090, "tensorrt")
    assert time(ORIN) == time(ORIN, "tensorrt")


def test_engines_of_tensorrt_run_as_they_are_listed():
    kernels = real("titan-rtx_mobilenetv2-residuals_b1_int8")
    assert [part for _, part in as_tensorrt(kernels, ORIN)] == list(kernels)


def test_one_stream():
    """TensorRT runs what TensorRT-RTX planned on two, and an engine of its own as it is listed."""
    one, other = planned("CorrRelu"), replace(planned("CorrRelu"), stream=1)
    assert [part.stream for _, part in as_tensorrt([one, other], ORIN)] == [0, 0]
    information = LayerInformation(kernels=(one, other), bindings=(), form="log")
    ends = {}
    for runtime in ("tensorrt", "tensorrt-rtx"):
        plan = Plan(
            information=information, runtime=runtime, version="1", compute_capability=(8, 6)
        )
        found, _ = predict_engine(plan, ORIN, ORIN.at(), None)
        ends[runtime] = found.end_to_end_us
        both = sum(kernel.time_us for kernel in found.kernels)
    assert ends["tensorrt"] < ends["tensorrt-rtx"] == pytest.approx(both)


def test_how_many_are_run():
    kernels = [planned("CorrSilu"), planned("CorrRelu")]
    assert predict(kernels, ORIN, ORIN.at()).launches == 3
    assert predict(kernels, RTX3090, RTX3090.at()).launches == 2
