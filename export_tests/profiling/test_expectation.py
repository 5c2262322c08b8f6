"""A prediction beside a measurement: on the terminal, the page and in JSON."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgeattn.base.errors import InputError
from edgeattn.devices.profile import find
from edgeattn.profiling import expectation
from edgeattn.profiling.assemble import Profiled
from edgeattn.profiling.predict.again import beside
from edgeattn.profiling.predict.gpu.predict import predict
from edgeattn.profiling.sources.engines.plans import Plan
from edgeattn.records.layers import LayerInformation
from edgeattn.records.trace import EndToEnd, Kernel, Latency, Machine, SavedRow, Trace
from edgeattn.report.content import report_of
from edgeattn.report.document import document_of
from edgeattn.report.html import render
from edgeattn.report.table import lines
from export_tests.profiling.predict.gpu.kernels import convolution, pointwise

NANO = find("jetson-orin-nano-8gb")
KERNELS = (convolution("x", "y"), pointwise("y", "z"))


def measured(*, slower=1.0, mode="25W", **said):
    """An engine that takes what is predicted, or so many times as much, and 2 µs a kernel more."""
    found = predict(KERNELS, NANO, NANO.at("25W"))
    latency_us = slower * found.end_to_end_us
    kernels = tuple(
        Kernel(name=kernel.name, op=kernel.kind, kind=kind, time_us=slower * one.time_us + 2,
               traffic_bytes=0, macs=0, nodes=("n",))
        for kernel, one, kind in zip(KERNELS, found.kernels, ("matmul", "pointwise"), strict=True)
    )  # fmt: skip
    trace = Trace(
        **{
            "name": "model", "model": "model.onnx", "sha256": {}, "evidence": "measured",
            "runtime": "tensorrt", "runtime_version": "10.3", "nodes": (), "sites": (),
            "machine": Machine(device=NANO.name, title="Jetson Orin Nano 8 GB", power_mode=mode),
            "latency_ms": Latency(p50=latency_us / 1e3), "kernels": kernels,
            "end_to_end": EndToEnd(latency_us=latency_us),
            "layers": LayerInformation(kernels=KERNELS, bindings=(), form="json"),
        } | said
    )  # fmt: skip
    return Profiled(row=SavedRow(trace=trace))


def test_what_is_predicted_well():
    trace = beside(measured(), NANO).row.trace
    found = expectation.beside(trace)
    assert trace.expected.power_mode == "25W"
    assert found.holds
    assert found.error == pytest.approx(0, abs=1e-9)
    assert found.added_us == pytest.approx(2)
    for one in found.kinds:
        assert one.measured_us == pytest.approx(one.predicted_us)
    assert [one.kind for one in found.kinds] == ["matmul", "pointwise"]
    assert not trace.notes


def test_what_is_predicted_badly():
    found = expectation.beside(beside(measured(slower=5), NANO).row.trace)
    assert not found.holds
    assert found.error == pytest.approx(-0.8)


def shown(report):
    out = io.StringIO()
    console = Console(width=200, file=out)
    for line in lines(report, top=None):
        console.print(line)
    return out.getvalue()


def test_it_is_shown():
    rows = [beside(measured(slower=slower), NANO).row for slower in (1, 5)]
    one, both = report_of(rows[:1]), report_of(rows)
    text = shown(one)
    assert "the interval holds" in text
    assert "Jetson Orin Nano 8 GB, 25W" in text
    assert "outside of the interval" in shown(both)
    said = document_of(one)["expected"]
    assert (said["holds"], said["device"], said["power_mode"]) == (True, NANO.name, "25W")
    assert [kind["kind"] for kind in said["kinds"]] == ["matmul", "pointwise"]
    assert [row["expected"]["holds"] for row in document_of(both)["models"]] == [True, False]
    page = render(both)
    assert "The interval holds." in page
    assert "That is outside of the interval." in page
    plain = report_of([measured().row])
    assert document_of(plain)["expected"] is None
    assert "predicted" not in shown(plain)


@pytest.mark.parametrize(
    ("device", "said", "note"),
    [
        (None, {}, "no device profile is known of Jetson"),
        (NANO, {"runtime": "onnxruntime"}, "does not say what its kernels do"),
        (NANO, {"layers": None}, "does not say what the layers"),
        (find("raspberry-pi-5"), {}, "runs no TensorRT engine"),
    ],
)
def test_where_nothing_can_be_predicted(device, said, note):
    trace = beside(measured(**{"mode": "", **said}), device).row.trace
    assert trace.expected is None
    assert note in trace.notes[-1]
    assert "No prediction stands beside it" in trace.notes[-1]


def test_a_mode_that_the_profile_does_not_know():
    trace = beside(measured(mode="99W"), NANO).row.trace
    assert trace.expected.power_mode == NANO.default_power_mode
    assert "has no power mode '99W'" in trace.notes[-1]


def test_an_engine_whose_layers_nobody_told():
    """As of TensorRT 8.0: the plan of the model is predicted."""
    plan = Plan(
        information=LayerInformation(kernels=KERNELS, bindings=(), form="json"),
        runtime="tensorrt-rtx", version="1.5", compute_capability=(8, 6),
    )  # fmt: skip
    trace = beside(measured(layers=None), NANO, plan=lambda: plan).row.trace
    assert trace.expected.latency_ms > 0
    assert not trace.expected.kernels_us
    assert "what TensorRT-RTX plans" in trace.notes[-1]
    assert expectation.beside(trace).kinds == ()

    def fails():
        raise InputError("It does not take the model.")

    trace = beside(measured(layers=None), NANO, plan=fails).row.trace
    assert trace.notes[-1] == "No prediction stands beside it: It does not take the model."
