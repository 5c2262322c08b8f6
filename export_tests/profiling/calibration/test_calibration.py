"""Calibration: what is fitted is what was put in, and what is written is a device."""

from __future__ import annotations

import re
import tomllib

import numpy as np
import onnx
import pytest

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.devices.profile import find
from edgeattn.profiling.calibration import graphs
from edgeattn.profiling.calibration.calibrate import (
    CalibrationOptions,
    calibrate,
    check_file,
    file_of,
)
from edgeattn.profiling.calibration.cases import cases, holds, wakes
from edgeattn.profiling.calibration.fit import Sample, fit
from edgeattn.profiling.predict.cpu.machine import OPERATORS, machine_of
from edgeattn.profiling.predict.cpu.predict import time_of
from edgeattn.records.work import Work
from edgeattn.runtimes.runner import last_cache_kib

KNOWN = find("generic-x86").model_copy(
    update={
        "cores": 2,
        "peak_tflops": {"fp32": 0.2},
        "last_level_gbps": 100.0,
        "bandwidth_gbps": 12.0,
        "kernel_floor_us": 0.7,
        "wake_us": 13.0,
    }
)
REACHED = KNOWN.efficiency.model_copy(
    update={
        "compute": 0.9,
        "depthwise": 0.25,
        "layers": {"pointwise": 0.75},
        "ends": {"dense": 2.5, "depthwise": 9.0},
        "operators": {"Relu": 0.6, "Softmax-strided": 0.05, "Gemm": 0.4},
    }
)
DEVICE = KNOWN.model_copy(update={"efficiency": REACHED})


def sample(work, role="table", threads=2, memory_bytes=0.0, case=""):
    machine = machine_of(DEVICE, DEVICE.at(), threads)
    took = time_of(work, memory_bytes, machine).time_us
    return Sample(case=case, role=role, threads=threads, work=work, time_us=took)


def layer(name, flops, run):
    return Work(operator="Conv", kind="matmul", layer=name, flops=flops, run=run)


def row(size):
    return Work(operator="Gemm", kind="matmul", layer="product", flops=1e3, moved_bytes=size,
                weights_bytes=size)  # fmt: skip


def held_for(holds_us, fast=100.0, slow=400.0):
    """Weights that are read again after pauses."""
    for pause_us in (0, 250, 500, 1000, 2000, 4000, 8000):
        held, took = 0.0, slow
        for _ in range(20):  # the time is a part of the age
            held = np.clip(2 - (pause_us + took) / holds_us, 0, 1)
            took = held * fast + (1 - held) * slow
        yield Sample(case="", role="hold", threads=1, work=row(4e6), time_us=took,
                     pause_us=pause_us)  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    """Samples that the model itself gave, and what is made of them."""
    samples = [
        sample(layer(name, flops, run))
        for name in ("dense", "depthwise", "pointwise")
        for flops, run in ((2e8, 56), (1e8, 28), (5e7, 14), (1e8, 7))
    ]
    for operator in ("Relu", "Softmax-strided"):
        samples += [
            sample(Work(operator=operator, kind="pointwise", moved_bytes=size))
            for size in (1.6e6, 0.8e6)
        ]
    samples += [sample(row(size), "reads") for size in (2e6, 4e6)]
    for size in (4e6, 5e6):
        for threads in (1, 2):
            work = Work(operator="Relu", kind="pointwise", moved_bytes=size)
            samples.append(sample(work, "wake", threads, case=f"{size}"))
    samples.append(Sample(case="", role="memory", threads=2, work=row(96e6),
                          time_us=0.7 + 96e6 / 12e3))  # fmt: skip
    samples += held_for(900.0)
    return fit(samples, 2, 0.7)


def test_layers(fitted):
    assert fitted.layers["dense"].value == pytest.approx(90)
    assert fitted.layers["dense"].ends == pytest.approx(2.5)
    assert fitted.layers["depthwise"].value == pytest.approx(25)
    assert fitted.layers["depthwise"].ends == pytest.approx(9)
    assert fitted.layers["pointwise"].value == pytest.approx(75)
    assert fitted.layers["pointwise"].ends == pytest.approx(0, abs=1e-6)
    assert fitted.layers["dense"].seen == pytest.approx([90] * 4)


def test_operators(fitted):
    assert fitted.operators["Relu"].value == pytest.approx(30)
    assert fitted.operators["Softmax-strided"].value == pytest.approx(2.5)
    assert fitted.operators["Gemm"].value == pytest.approx(20)


def test_latencies_and_bandwidths(fitted):
    assert fitted.wake_us == pytest.approx(13)
    assert fitted.floor_us == 0.7
    assert fitted.memory_gbps == pytest.approx(12)
    assert fitted.holds_us == pytest.approx(900, rel=0.1)


def test_a_cache_that_nobody_shares():
    works = [sample(layer("dense", 2e8, 56)), sample(row(2e6), "reads")]
    assert fit([*works, *held_for(1e9)], 1, 0.7).holds_us is None


def test_the_models_that_are_run():
    every = [*cases(4096), *holds(4096), *wakes()]
    assert len({(case.role, case.name, case.model.data) for case in every}) == len(every)
    for case in every:
        model = onnx.ModelProto.FromString(case.model.data)
        assert sum(node.name.startswith(graphs.TIMED) for node in model.graph.node) <= 1
    assert {case.role for case in every} == {"table", "reads", "memory", "hold", "wake"}


@pytest.fixture(scope="module")
def measured():
    """This machine, on one thread, in as little time as can be."""
    stages = []
    found = calibrate(CalibrationOptions(threads=1, seconds=0.0), on_stage=stages.append)
    assert any(stage.startswith("runs ") for stage in stages)
    return found


def test_a_device_of_this_machine(measured, tmp_path):
    path = tmp_path / "mine.toml"
    files.write(path, measured.text)
    device = find(str(path))
    assert (device.name, device.kind, device.cores) == ("mine", "cpu", 1)
    assert device == measured.device.model_copy(update={"name": "mine"})
    assert device.wake_us is None
    said = device.efficiency
    assert {"pointwise", "stem", "grouped", "product"} <= set(said.layers)
    assert 0.1 < said.compute <= 1
    assert max(said.operators.values()) == 1
    assert set(said.operators) <= set(OPERATORS)
    # What computes much moves little.
    assert said.operators["Softplus"] < said.operators["Sigmoid"] < said.operators["Relu"]
    assert 0.1 < device.kernel_floor_us < 100
    files.write(path, measured.text)  # in its own place


def test_each_figure_says_how_it_was_got(measured):
    lines = measured.text.splitlines()
    assert re.match(r"# .+, 1 thread, measured on \d{4}-\d\d-\d\d \d\d:\d\d UTC", lines[0])
    assert any("Other processes had" in line for line in lines[:5])
    tables = tomllib.loads(measured.text)
    for key in ("bandwidth_gbps", "kernel_floor_us", "last_level_gbps", "last_level_cache_kib"):
        assert key in tables
        assert any(line.startswith(f"{key} = ") and "#" in line for line in lines)


def test_too_many_threads():
    with pytest.raises(InputError, match="--threads asks for 4096"):
        calibrate(CalibrationOptions(threads=4096))


def test_a_file_that_is_something_else(tmp_path):
    other = tmp_path / "pyproject.toml"
    other.write_text('[project]\nname = "mine"\n')
    with pytest.raises(InputError, match="is there already, and is no device file"):
        check_file(other)
    with pytest.raises(InputError, match="is no name of a device file") as caught:
        check_file(tmp_path / "mine.json")
    assert "mine.toml" in caught.value.mend
    with pytest.raises(InputError, match="does not exist"):
        check_file(tmp_path / "no" / "mine.toml")
    check_file(tmp_path / "mine.toml")


def test_the_file_where_none_is_named(monkeypatch):
    monkeypatch.setattr(
        "edgeattn.profiling.calibration.calibrate.cpu_name", lambda: "ARM Cortex-A76 (rev 1)"
    )
    assert str(file_of("")) == "arm-cortex-a76-rev-1.toml"
    assert str(file_of("My board")) == "my-board.toml"
    monkeypatch.setattr("edgeattn.profiling.calibration.calibrate.cpu_name", lambda: "")
    assert str(file_of("")) == "this-machine.toml"


def test_the_last_cache(tmp_path):
    assert last_cache_kib(tmp_path) is None
    for place, (level, size) in enumerate((("1", "32K"), ("2", "512K"), ("3", "4M"))):
        cache = tmp_path / "sys/devices/system/cpu/cpu0/cache" / f"index{place}"
        cache.mkdir(parents=True)
        (cache / "level").write_text(f"{level}\n")
        (cache / "size").write_text(f"{size}\n")
    assert last_cache_kib(tmp_path) == 4096
