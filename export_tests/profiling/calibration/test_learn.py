"""Fits to traces: what was put in is found again, and what nothing tells of stays a guess."""

from __future__ import annotations

import gzip
import json
import math
import random
from dataclasses import replace

import pytest

from edgeattn.base.errors import InputError
from edgeattn.cli import app
from edgeattn.devices.profile import find
from edgeattn.engine.layer_json import read_json
from edgeattn.engine.plan import plan
from edgeattn.options.calibrate import CalibrationOptions
from edgeattn.profiling.calibration.engines import Engine, fit_engines
from edgeattn.profiling.calibration.learn import error, learn, start_of
from edgeattn.profiling.calibration.networks import networks
from edgeattn.profiling.predict.again import expected
from edgeattn.profiling.predict.cpu.machine import machine_of
from edgeattn.profiling.predict.cpu.model import predict_model
from edgeattn.profiling.predict.gpu.predict import AS_LISTED, predict
from edgeattn.records.layers import LayerInformation
from edgeattn.records.trace import EndToEnd, Kernel, Latency, Machine, Trace
from edgeattn.records.work import Work
from edgeattn.workflows.calibrate import calibrate_from
from export_tests.profiling.predict.gpu.kernels import FILES, convolution, pointwise

A100 = ("a100-80g-pcie_resnet18_b32_fp16", "a100-80g-pcie_resnet18_b32_tf32")
NAMES = (*A100, "rtx3090_resnet50_b32_fp16", "titan-rtx_mobilenetv2-residuals_b1_int8")
NANO = find("jetson-orin-nano-8gb")


def unpacked(name, what):
    return gzip.decompress((FILES / f"{name}.{what}.json.gz").read_bytes()).decode()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """trtexec's files of the measured engines, as it wrote them."""
    folder = tmp_path_factory.mktemp("trtexec")
    for name in NAMES:
        for what in ("layers", "profile"):
            (folder / f"{name}.{what}.json").write_text(unpacked(name, what))
        median = json.loads((FILES / f"{name}.measurement.json").read_text())["gpu_compute_ms"]
        runs = [{"computeMs": median["median"], "startComputeMs": 300.0 + k} for k in range(20)]
        (folder / f"{name}.times.json").write_text(json.dumps(runs))
    return folder


def files(folder, *names):
    return [folder / f"{name}.{what}.json" for name in names
            for what in ("layers", "profile", "times")]  # fmt: skip


def test_one_engine_tells_of_another_of_the_same_gpu(theirs):
    found = calibrate_from(files(theirs, *A100), CalibrationOptions(device="a100")).learned
    for one in found.tried:
        assert abs(error(one, one.after)) < 0.02
        low, high = one.left_out.interval_ms
        assert abs(error(one, one.left_out)) < 0.08
        assert low <= one.trace.latency_ms.p50 <= high
    figures = {one.key: one for one in found.fitted.figures}
    assert figures["efficiency.types.fp16"].is_known
    assert figures["efficiency.types.tf32"].is_known
    assert "efficiency.types.int8" not in figures
    device = found.fitted.device
    assert device.fitted_to == 2
    assert "efficiency.depthwise" in device.guesses
    assert "efficiency.bandwidth.pooling" not in device.guesses
    assert (device.peak_tflops, device.clock_mhz) == (find("a100").peak_tflops, 1410)


@pytest.mark.parametrize(
    ("name", "device"), zip(NAMES, ("a100", "a100", "rtx-3090", "titan-rtx"), strict=True)
)
def test_a_fit_hits_what_it_was_fitted_to(theirs, name, device):
    (one,) = calibrate_from(files(theirs, name), CalibrationOptions(device=device)).learned.tried
    assert abs(error(one, one.after)) < 0.03
    assert one.left_out is None


# What is to be found again: far from the profile that the fit begins from.
TRUE = NANO.whole.model_copy(
    update={
        "kernel_floor_us": 0.75 * NANO.kernel_floor_us,
        "last_level_gbps": 350.0,
        "efficiency": NANO.efficiency.model_copy(
            update={
                "compute": 0.55,
                "types": {"fp16": 0.5, "tf32": 0.6, "int8": 0.4},
                "depthwise": 0.12,
                "bandwidth": {"other": 0.6, "pooling": 0.5, "shuffle": 0.3, "pointwise": 0.7},
            }
        ),
    }
)
ADDED_US = 4.0


def engine_of(name, device, *, noise=0.0, seed=0, outliers=0, latency=True):
    """An engine of another GPU, as it would run on a device, under a profiler that adds to it."""
    kernels = read_json(unpacked(name, "layers")).kernels
    found = predict(kernels, device, device.at("MAXN_SUPER"))
    draw = random.Random(seed)
    times = [(one.time_us + ADDED_US) * draw.lognormvariate(0, noise) for one in found.kernels]
    for place in draw.sample(range(len(times)), outliers):
        times[place] *= 8
    return Engine(
        name=name,
        kernels=kernels,
        times_us=tuple(times),
        latency_us=found.end_to_end_us if latency else None,
        power_mode="MAXN_SUPER",
    )


def found_in(fitted):
    return {one.key: one for one in fitted.figures}


@pytest.mark.parametrize("is_noisy", [False, True])
def test_a_known_profile_is_found_again(is_noisy):
    """With 10 % of noise and three outliers in each engine too; as sure as it says it is."""
    noise = {"noise": 0.1, "outliers": 3} if is_noisy else {}
    engines = [engine_of(name, TRUE, seed=k, **noise) for k, name in enumerate(NAMES)]
    fitted = fit_engines(engines, NANO)
    found, said = found_in(fitted), TRUE.efficiency
    true = {
        "kernel_floor_us": TRUE.kernel_floor_us,
        "efficiency.depthwise": said.depthwise,
        **{f"efficiency.types.{one}": part for one, part in said.types.items()},
        **{
            f"efficiency.bandwidth.{kind}": said.bandwidth[kind]
            for kind in ("pooling", "shuffle", "pointwise")
        },
    }
    for key, value in true.items():
        missed = abs(math.log(found[key].after / value))
        assert found[key].is_known or key == "kernel_floor_us", key
        assert missed < (0.35 if is_noisy else 0.2), key
        assert missed < 2.5 * found[key].spread, key
    if is_noisy:
        assert len(fitted.outliers) >= 8
    for engine in engines:
        again = predict(engine.kernels, fitted.device, fitted.device.at("MAXN_SUPER"))
        assert again.end_to_end_us == pytest.approx(
            engine.latency_us, rel=0.08 if is_noisy else 0.03
        )


def test_what_nothing_tells_of_stays_a_guess():
    """A single kernel that moves bytes says nothing of products."""
    kernels = tuple(pointwise(f"x{k}", f"y{k}", shape=(1, 64, 56 * (k + 1), 56)) for k in range(4))
    times = tuple(predict(kernels, NANO, NANO.at()).kernels)
    engine = Engine(
        name="bytes", kernels=kernels, times_us=tuple(2 * one.time_us for one in times),
        latency_us=None,
    )  # fmt: skip
    fitted = fit_engines([engine], NANO)
    found = found_in(fitted)
    assert not found["efficiency.compute"].is_known
    assert found["efficiency.compute"].after == NANO.efficiency.compute
    assert not found["kernel_floor_us"].is_known
    assert "efficiency.depthwise" not in found or not found["efficiency.depthwise"].is_known
    assert fitted.device.efficiency.depthwise == NANO.efficiency.depthwise
    assert fitted.device.efficiency.bandwidth["pointwise"] < 0.75


def test_without_times_the_profilers_part_is_not_told_from_the_floor():
    engine = engine_of(NAMES[3], TRUE, latency=False)
    assert engine.added_us is None
    assert not found_in(fit_engines([engine], NANO))["kernel_floor_us"].is_known


def trace_of(**said):
    kernels = (convolution(),)
    times = tuple(
        Kernel(name=one.name, op=one.kind, kind="matmul", time_us=30.0, traffic_bytes=0, macs=0,
               nodes=())
        for one in kernels
    )  # fmt: skip
    return Trace(
        **{
            "name": "model", "model": "model.onnx", "sha256": {}, "evidence": "measured",
            "runtime": "tensorrt", "runtime_version": "10.3", "nodes": (), "sites": (),
            "machine": Machine(device="jetson-orin-nano-8gb", title="my board"),
            "latency_ms": Latency(p50=0.025), "end_to_end": EndToEnd(latency_us=25.0),
            "kernels": times, "layers": LayerInformation(kernels=kernels, bindings=(), form="json"),
        } | said
    )  # fmt: skip


WORKS = [
    *(Work(operator="Conv", kind="matmul", layer=layer, flops=flops, run=run, moved_bytes=1e5)
      for layer in ("dense", "pointwise", "depthwise")
      for flops, run in ((2e8, 56), (1e8, 28), (5e7, 14), (1e8, 7))),
    *(Work(operator=operator, kind="pointwise", moved_bytes=size)
      for operator in ("Relu", "Softmax-strided") for size in (3.2e6, 1.6e6, 0.8e6)),
    *(Work(operator="Relu", kind="pointwise", moved_bytes=64.0) for _ in range(6)),
]  # fmt: skip


def test_a_known_cpu_is_found_again():
    start = find("raspberry-pi-5")
    said = start.efficiency.model_copy(
        update={"compute": 0.3, "layers": {"pointwise": 0.2}, "operators": {"Relu": 0.3}}
    )
    true = start.model_copy(update={"kernel_floor_us": 4.0, "efficiency": said})
    blank = tuple(
        Kernel(name=f"k{place}", op=work.operator, kind=work.kind, time_us=0.0, traffic_bytes=0,
               macs=0, nodes=(), precision="fp32", work=work)
        for place, work in enumerate(WORKS)
    )  # fmt: skip
    draw = random.Random(0)
    model = predict_model(blank, machine_of(true, true.at(), None), [])
    times = [one.time_us * draw.lognormvariate(0, 0.03) for one in model.kernels]
    kernels = tuple(
        one.model_copy(update={"time_us": time_us + 2.0})  # the profiler's part
        for one, time_us in zip(model.kernels, times, strict=True)
    )
    trace = trace_of(
        runtime="onnxruntime", layers=None, kernels=kernels,
        end_to_end=EndToEnd(latency_us=sum(times)), latency_ms=Latency(p50=sum(times) / 1e3),
        machine=Machine(device="raspberry-pi-5", title="a Pi", threads=true.cores),
    )  # fmt: skip
    learned = learn([trace], start)
    assert abs(error(learned.tried[0], learned.tried[0].after)) < 0.05
    device = learned.fitted.device
    assert device.efficiency.compute == pytest.approx(0.3, rel=0.1)
    assert device.efficiency.layers["pointwise"] == pytest.approx(0.2, rel=0.1)
    assert device.kernel_floor_us == pytest.approx(4.0, rel=0.2)
    figures = found_in(learned.fitted)
    assert figures["efficiency.operators.Relu"].is_known
    assert not figures["peak_tflops.fp32"].is_known


@pytest.mark.parametrize(
    ("said", "fact"),
    [
        ({"evidence": "predicted"}, "is a prediction itself"),
        ({"runtime": "torch"}, "was run by torch"),
        ({"latency_ms": Latency(p50=0.0)}, "took no time"),
        ({"layers": None}, "does not say what the layers"),
        ({"layers": None, "runtime": "onnxruntime"}, "does not say what its kernels do"),
        ({"machine": Machine(device="x", title="x", power_mode="99W")}, "has no power mode '99W'"),
    ],
)
def test_traces_that_nothing_is_learned_of(said, fact):
    with pytest.raises(InputError, match=fact):
        learn([trace_of(**said)], NANO)


def test_layers_that_cannot_be():
    huge = (convolution(size=10**7),)
    layers = LayerInformation(kernels=huge, bindings=(), form="json")
    with pytest.raises(InputError, match="larger than any memory"):
        learn([trace_of(layers=layers)], NANO)
    more = LayerInformation(kernels=(convolution(),) * 2, bindings=(), form="json")
    with pytest.raises(InputError, match="has 2 layers, and times of 1 kernels"):
        learn([trace_of(layers=more)], NANO)


def test_the_profile_that_a_fit_begins_from():
    assert start_of([trace_of()], None).name == "jetson-orin-nano-8gb"
    titled = trace_of(machine=Machine(device="this-machine", title="NVIDIA A100 80GB PCIe"))
    assert start_of([titled], None).name == "a100-80g-pcie"
    with pytest.raises(InputError, match="No device profile is known for 'a board'"):
        start_of([trace_of(machine=Machine(device="unknown", title="a board"))], None)
    with pytest.raises(InputError, match="The traces are of 2 devices"):
        start_of([trace_of(), titled], None)


def test_a_mode_of_its_own(theirs):
    """A floor that is fitted in a slow mode is the device's at its highest clock."""
    slow = engine_of(NAMES[3], TRUE)
    slow = replace(slow, power_mode="7W")
    found = predict(slow.kernels, TRUE, TRUE.at("7W"))
    slow = replace(
        slow, latency_us=found.end_to_end_us,
        times_us=tuple(one.time_us + ADDED_US for one in found.kernels),
    )  # fmt: skip
    fitted = fit_engines([slow], NANO).device
    assert fitted.kernel_floor_us == pytest.approx(TRUE.kernel_floor_us, rel=0.2)


def test_from_the_command_line(theirs, tmp_path, capsys):
    path = tmp_path / "mine.toml"
    given = [str(one) for one in files(theirs, *A100)]
    command = ["devices", "calibrate", "--device", "a100", "-o", str(path)]
    assert app.run([*command, "--from", *given, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["fitted_to"] == 2
    assert [one["from_the_others"]["holds"] for one in document["fit"]["traces"]] == [True, True]
    assert find(str(path)).efficiency.types["fp16"] < 1
    layers = str(theirs / f"{A100[0]}.layers.json")
    assert app.run(["profile", "--layers", layers, "--predict", "--device", str(path)]) == 0
    out = capsys.readouterr().out
    assert "A100 80 GB PCIe, fitted" in out
    assert app.run([*command, "--from", *given]) == 0
    out = capsys.readouterr().out
    assert "not told by these traces" in out
    assert "holds" in out


def test_a_saved_profile(theirs, tmp_path, capsys):
    name, saved = NAMES[2], tmp_path / "saved.json"
    layers, profile, times = (str(one) for one in files(theirs, name))
    given = ["--layers", layers, "--profile", profile, "--times", times, "--device", "rtx-3090"]
    assert app.run(["profile", *given, "-q", "-o", str(saved)]) == 0
    path = tmp_path / "mine.toml"
    assert app.run(["devices", "calibrate", "--from", str(saved), "-o", str(path)]) == 0
    assert "written" in capsys.readouterr().out
    trace = Trace.model_validate(json.loads(saved.read_text())["trace"])
    assert expected(trace, find(str(path))).latency_ms == pytest.approx(4.02, rel=0.03)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "{layers}"], "which do not make runs"),
        (["--from", "{layers}", "{profile}"], "Add --device NAME"),
        (["{layers}"], "--from FILE"),
        (["--from", "no-such.json"], "no-such.json"),
        (["--from", "{layers}", "{profile}", "--device", "raspberry-pi-5"], "does not run"),
        (["--from", "{layers}", "{profile}", "--device", "jetson", "--power-mode", "1W"], "1W"),
    ],
)
def test_bad_input(theirs, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    known = {what: str(theirs / f"{A100[0]}.{what}.json") for what in ("layers", "profile")}
    assert app.run(["devices", "calibrate", *(one.format(**known) for one in arguments)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_host_that_launches_kernel_by_kernel():
    """Its launches are told apart from what the GPU takes, and its latency is not the GPU's."""
    said = EndToEnd(latency_us=60.0, enqueue_us=55.0)
    engine = Engine.of(trace_of(end_to_end=said), None)
    assert (engine.latency_us, engine.launch_us) == (None, 55.0)
    fitted = fit_engines([engine], NANO)
    assert fitted.device.enqueue_us == 55.0
    assert found_in(fitted)["enqueue_us"].is_known
    as_graph = EndToEnd(latency_us=60.0, enqueue_us=55.0, cuda_graph=True)
    engine = Engine.of(trace_of(end_to_end=as_graph), None)
    assert (engine.latency_us, engine.launch_us) == (60.0, None)


def test_what_fits_badly_is_said():
    slow = trace_of(latency_ms=Latency(p50=90.0), end_to_end=EndToEnd(latency_us=90e3))
    assert any("is still missed by" in note for note in learn([slow], NANO).notes)


@pytest.mark.slow
def test_the_networks_of_a_calibration_tell_of_all_figures(tmp_path):
    """As TensorRT-RTX plans them for Ampere; times are those that a known profile gives."""
    pytest.importorskip("tensorrt_rtx")
    draw, engines = random.Random(0), []
    for network in networks(NANO, tmp_path):
        kernels = tuple(plan(network.path, compute_capability=(8, 6)))
        found = predict(kernels, TRUE, TRUE.at(), AS_LISTED)
        noisy = ((one.time_us + ADDED_US) * draw.lognormvariate(0, 0.1) for one in found.kernels)
        engines.append(
            Engine(
                name=network.name, kernels=kernels, times_us=tuple(noisy),
                latency_us=found.end_to_end_us,
            )
        )  # fmt: skip
    figures = found_in(fit_engines(engines, NANO))
    said = TRUE.efficiency
    true = {
        "kernel_floor_us": TRUE.kernel_floor_us,
        "last_level_gbps": TRUE.last_level_gbps,
        "efficiency.depthwise": said.depthwise,
        **{f"efficiency.types.{one}": part for one, part in said.types.items()},
        **{
            f"efficiency.bandwidth.{kind}": said.bandwidth.get(kind, said.bandwidth["other"])
            for kind in ("pooling", "shuffle", "pointwise", "reduction")
        },
    }
    for key, value in true.items():
        assert figures[key].is_known, key
        assert figures[key].after == pytest.approx(value, rel=0.12), key
