"""`edgeattn profile`: files to figures, each way that there is, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import helper

from edgeattn.cli import app
from export_tests.profiling.nets import residual
from export_tests.profiling.traces import measured_folder

KEYS = {
    "device", "evidence", "runtime", "latency_ms", "interval_ms", "kernels", "sites", "kinds",
    "coverage", "reconciliation",
}  # fmt: skip
QUICK = ["--limit", "0.3", "--threads", "1"]


def run(capsys, *arguments):
    """Runs a command; gives its code, its JSON and what it said besides."""
    code = app.run([*arguments, "--json"])
    found = capsys.readouterr()
    return code, json.loads(found.out), found.err


@pytest.fixture(scope="module")
def simam(tmp_path_factory):
    return residual(tmp_path_factory.mktemp("nets") / "simam.onnx")


@pytest.fixture(scope="module")
def engine(simam):
    """The plan of a network, for a device that cannot be built for here."""
    path = simam.with_name("simam.plan-sm86.engine")
    assert (
        app.run(["build", str(simam), "--device", "jetson", "--plan", "-o", str(path), "-q"]) == 0
    )
    return path


def test_an_onnx_file_is_measured_here(capsys, simam, tmp_path):
    out = tmp_path / "trace.json"
    code, found, _ = run(capsys, "profile", str(simam), *QUICK, "-o", str(out))
    assert code == 0
    assert found.keys() >= KEYS
    assert found["evidence"] == "measured"
    assert found["runtime"] == "onnxruntime"
    assert found["interval_ms"] is None
    assert {"p50", "p90", "p99", "mean", "min", "max", "cv", "samples"} == set(found["latency_ms"])
    assert {"name", "kind", "time_us", "traffic_bytes", "macs", "owner", "nodes"} <= set(
        found["kernels"][0]
    )
    (first, _) = found["sites"]
    assert first["path"] == "layer1.0.attention"
    assert first["attention"] == "simam"
    assert first["macs"] == 0
    assert first["flops_predicted_us"] == 0
    assert first["hidden_cost_factor"] is None
    assert first["marginal_us"] is not None
    assert first["floor_us"] > 0
    assert sum(found["coverage"].values()) == pytest.approx(1)
    assert found["coverage"]["owned"] >= 0.95
    known = found["reconciliation"]
    assert known["sum_us"] == pytest.approx(sum(one["time_us"] for one in found["kernels"]))
    assert known["gap_us"] == pytest.approx(known["end_to_end_us"] - known["sum_us"])
    assert json.loads(out.read_text()) == found


def test_for_people_on_one_screen(capsys, simam):
    assert app.run(["profile", str(simam), *QUICK]) == 0
    out = capsys.readouterr().out
    assert "simam at 2 sites: 0 parameters, 0 MACs" in out
    assert " MEASURED " in out
    assert "coverage  100.0 % owned" in out
    assert len(out.splitlines()) < 40


def test_a_pair(capsys, simam, tmp_path):
    plain = residual(tmp_path / "plain.onnx", "none")
    proto = onnx.load(plain)
    helper.set_model_props(proto, {"edgeattn.forms": "tensorrt"})
    onnx.save(proto, plain)
    code, found, _ = run(capsys, "profile", str(simam), "--against", str(plain), *QUICK)
    assert code == 0
    assert found["name"] == "simam.onnx"
    assert found["against"]["name"] == "plain.onnx"
    assert found["against"]["latency_ms"]["p50"] > 0
    was = "plain.onnx was lowered for tensorrt, and is for onnxruntime now"
    assert found["against"]["warnings"][0].startswith(was)
    assert not any("lowered for" in one for one in found["warnings"])
    difference = found["difference"]
    assert difference.keys() == {"p50_ms", "percent", "ci95", "predicted90", "rounds"}
    assert difference["predicted90"] is None
    assert difference["ci95"][0] <= difference["percent"] <= difference["ci95"][1]


@pytest.fixture
def opened(simam, tmp_path):
    """The same network, its batch open."""
    proto = onnx.load(simam)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del proto.graph.value_info[:]
    path = tmp_path / "open.onnx"
    onnx.save(proto, path)
    return path


def test_batches_are_profiled_one_after_another_and_one_that_fails_leaves_the_others(
    capsys, opened
):
    code, found, said = run(capsys, "profile", str(opened), "--batches", "2,900000,1", *QUICK)
    assert code == 2
    (failed,) = found["failed"]
    assert failed["fact"].startswith("Batch 900000: Input input of shape")
    assert failed["fact"] in said
    assert [one["batch"] for one in found["models"]] == [1, 2]
    small, large = (one["memory"] for one in found["models"])
    assert large["activations_bytes"] == 2 * small["activations_bytes"]
    assert small["weights_bytes"] == large["weights_bytes"] > 100_000
    # ONNX Runtime rounds up, and keeps what it had in its first run.
    inputs = 4 * 3 * 28 * 28
    assert large["arena_bytes"] >= large["activations_bytes"] - 2 * inputs
    assert 0 < large["resident_bytes"] <= large["peak_bytes"]
    (curve,) = found["curves"]
    assert [one["batch"] for one in curve["points"]] == [1, 2]
    assert any("one after another" in note for note in found["models"][0]["notes"])
    assert all(one["identity"] is None for one in found["models"])


def test_batches_are_predicted_with_a_plan_each(capsys, opened):
    code, found, _ = run(capsys, "profile", str(opened), "--batches", "1,4", "--device", "jetson")
    assert code == 0
    one, four = found["models"]
    assert one["evidence"] == "predicted"
    assert one["latency_ms"]["p50"] < four["latency_ms"]["p50"] < 4 * one["latency_ms"]["p50"]
    assert four["memory"]["planned_by"] == "library"
    assert four["memory"]["activations_bytes"] > one["memory"]["activations_bytes"] > 0


def test_a_file_is_predicted_for_a_device(capsys, simam):
    code, found, _ = run(capsys, "profile", str(simam), "--device", "jetson", "--power-mode", "7W")
    assert code == 0
    assert found["evidence"] == "predicted"
    assert (found["device"], found["power_mode"]) == ("jetson-orin-nano-8gb", "7W")
    low, high = found["interval_ms"]
    assert low < found["latency_ms"]["p50"] < high
    assert found["latency_ms"]["samples"] == []
    assert "compute capability 8.6; the device has 8.7" in found["not_for"]
    assert all(one["interval_us"] for one in found["kernels"])
    assert [one["marginal_us"] > 0 for one in found["sites"]] == [True, True]
    above = found["identity"]["difference"]
    assert above["ci95"] is None
    assert above["predicted90"][0] < above["percent"] < above["predicted90"][1]
    assert sum(found["coverage_bytes"].values()) == found["whole"]["traffic_bytes"]
    assert found["coverage_bytes"]["owned"] >= 0.9 * found["whole"]["traffic_bytes"]


def test_a_host_that_launches_kernel_by_kernel(capsys, simam):
    """Small kernels wait for an AGX Xavier's; of an RTX 3090's nothing is known."""
    asked = ("profile", str(simam), "--no-marginal", "--device")
    _, graph, _ = run(capsys, *asked, "jetson-agx-xavier")
    code, found, _ = run(capsys, *asked, "jetson-agx-xavier", "--no-cuda-graph")
    assert code == 0
    assert found["latency_ms"]["p50"] > 1.5 * graph["latency_ms"]["p50"]
    assert {one["bound"] for one in found["kernels"]} == {"host"}
    assert "A CUDA graph would spare that" in found["reconciliation"]["cause"]
    assert any("31 µs each" in note for note in found["notes"])
    _, found, _ = run(capsys, *asked, "rtx-3090", "--no-cuda-graph")
    assert any("is not known" in note for note in found["notes"])


def test_a_plan_is_predicted_and_says_what_it_is(capsys, engine):
    code, found, _ = run(capsys, "profile", str(engine))
    assert code == 0
    assert found["device"] == "jetson-orin-nano-8gb"
    assert "NOT AN ENGINE OF Jetson Orin Nano" in found["not_for"]
    assert found["sites"][0]["marginal_us"] is None
    assert app.run(["profile", str(engine), "--device", "rtx-3090", "--marginal"]) == 0
    out = capsys.readouterr().out
    assert " PREDICTED " in out
    assert "GeForce RTX 3090" in out
    assert "NOT AN ENGINE OF" not in out


def test_a_slower_power_mode_is_no_faster(capsys, engine):
    times = [
        run(capsys, "profile", str(engine), "--device", "jetson", "--power-mode", mode)[1][
            "latency_ms"
        ]["p50"]
        for mode in ("MAXN_SUPER", "25W", "15W", "7W")
    ]
    assert times == sorted(times)


def test_an_engine_without_its_model_still_knows_its_sites(capsys, engine, tmp_path):
    for path in (engine, engine.with_suffix(".json")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    code, found, _ = run(capsys, "profile", str(tmp_path / engine.name))
    assert code == 0
    assert [site["path"] for site in found["sites"]] == ["layer1.0.attention", "layer2.0.attention"]
    assert any("No model was at hand" in note for note in found["notes"])


def test_trtexecs_files_are_a_measurement(capsys, tmp_path):
    folder = measured_folder(tmp_path, "rtx3090_resnet50_b32_fp16")
    files = ["--layers", str(folder / "layers.json"), "--profile", str(folder / "profile.json")]
    code, found, _ = run(capsys, "profile", *files, "--device", "rtx-3090")
    assert code == 0
    assert found["evidence"] == "measured"
    assert found["latency_ms"]["p50"] == pytest.approx(4.272736, rel=1e-4)
    assert found["device"] == "rtx-3090"
    code, found, _ = run(capsys, "profile", *files[:2], "--predict", "--device", "rtx-3090")
    assert code == 0
    assert found["evidence"] == "predicted"
    assert found["interval_ms"][0] < 4.022 < found["interval_ms"][1]


def test_everything_that_is_written(capsys, simam, tmp_path):
    names = {
        "--report": "r.html", "--figure": "all.svg", "--trace": "p.json", "-o": "t.json",
        "--export-profile": "profile.json", "--export-layer-info": "layers.json",
    }  # fmt: skip
    more = [part for option, name in names.items() for part in (option, str(tmp_path / name))]
    more += ["--figure", f"roofline={tmp_path / 'roof.png'}"]
    assert app.run(["profile", str(simam), "--device", "rtx-4090", *more, "-q"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {*names.values(), "roof.png"}
    assert (tmp_path / "roof.png").read_bytes().startswith(b"\x89PNG")
    assert "traceEvents" in json.loads((tmp_path / "p.json").read_text())
    # trtexec's files can be read again.
    files = ["--layers", str(tmp_path / "layers.json"), "--profile", str(tmp_path / "profile.json")]
    code, again, _ = run(capsys, "profile", *files, "--device", "rtx-4090")
    assert code == 0
    first = json.loads((tmp_path / "t.json").read_text())
    assert again["whole"]["time_us"] == pytest.approx(first["whole"]["time_us"])
    assert again["whole"]["traffic_bytes"] == first["whole"]["traffic_bytes"]


def broken(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


CASES = [
    (lambda _t, s, _e: [s, "--device", "jetson-orin-nanno"], 2, "Did you mean jetson-orin-nano"),
    (lambda _t, s, _e: [s, "--device", "jetson", "--power-mode", "30W"], 2, "no power mode '30W'"),
    (lambda _t, s, _e: [s, "--power-mode", "15W"], 2, "Add --device NAME."),
    (lambda _t, s, _e: [s, "--runtime", "tensort"], 2, "Did you mean tensorrt?"),
    (lambda _t, s, _e: [s, "--runtime", "torch"], 2, "torch runs models"),
    (lambda _t, s, _e: [s, "--runtime", "onnxruntime", "--device", "jetson"], 2, "for CPUs"),
    (lambda _t, s, _e: [s, "--predict"], 2, "--predict needs a device"),
    (lambda _t, s, _e: [s, "--site", "*.nosuch"], 2, "names no module"),
    (lambda _t, s, _e: [s, "--shape", "1x3x64x64"], 2, "--shape for input input"),
    (lambda _t, s, _e: [s, "--attention", "se"], 2, "Options of a model are given"),
    (lambda t, s, _e: [s, "--report", str(t / "no" / "r.html")], 2, "does not exist"),
    (lambda t, s, _e: [s, "--figure", str(t / "a.pdf")], 2, "neither an .svg nor a .png"),
    (lambda t, s, _e: [s, "--figure", f"pie={t / 'a.svg'}"], 2, "There is no picture 'pie'"),
    (lambda t, s, _e: [s, "-o", str(t / "a"), "--trace", str(t / "a")], 2, "named for two"),
    (lambda _t, s, _e: [s, "-o", s], 2, "would be replaced"),
    (lambda _t, s, e: [e, "--against", s, "--limit", "0.3"], 2, "cannot be compared"),
    (lambda _t, _s, e: [e, "--device", "raspberry-pi-5"], 2, "runs no TensorRT engine"),
    (lambda _t, _s, e: [e, "--runtime", "onnxruntime"], 2, "does not run"),
    (lambda t, _s, _e: [str(t / "none.onnx")], 2, "There is no file"),
    (lambda t, _s, _e: [broken(t, "a.onnx", "x")], 2, "is no ONNX model"),
    (lambda t, _s, _e: [broken(t, "a.engine", "x"), "--device", "jetson"], 2, "no manifest"),
    (lambda _t, _s, _e: [], 2, "No model is named"),
    (lambda t, s, _e: [s, "--export-layer-info", str(t / "l.json")], 2, "onnxruntime has none"),
    (lambda t, s, _e: ["--profile", broken(t, "p.json", "[]"), s], 2, "Add --layers, or leave"),
    (lambda t, _s, _e: ["--profile", broken(t, "p.json", "[]")], 2, "nothing that trtexec"),
    (lambda t, _s, _e: ["--layers", broken(t, "l.json", "{")], 2, "has no times"),
    (lambda t, s, _e: ["--layers", broken(t, "l.json", "{"), s, "--against", s], 2, "in rounds"),
    (lambda _t, s, _e: [s, "--batches", "1,x"], 2, "'x' is no number of images"),
    (lambda _t, s, _e: [s, "--batches", "0,1"], 2, "'0' is no number of images"),
    (lambda _t, s, _e: [s, "--batches", "2,1.5"], 2, "'1.5' is no number of images"),
    (lambda _t, s, _e: [s, "--batches", "-1"], 2, "'-1' is no number of images"),
    (lambda _t, s, _e: [s, "--batches", ""], 2, "'' is no number of images"),
    (lambda _t, s, _e: [s, "--batches", "1,2,2"], 2, "names 2 twice"),
    (lambda _t, s, _e: [s, "--batches", "1,2", "--batch", "4"], 2, "Leave --batch out"),
    (lambda _t, s, _e: [s, "--batches", "1,2"], 2, "is fixed at 1, and --batches asks for others"),
    (lambda _t, _s, e: [e, "--batches", "1,2"], 2, "is an engine, which is tuned"),
    (lambda t, _s, _e: ["--layers", broken(t, "l.json", "{"), "--batches", "1,2"], 2, "one batch"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "said"), CASES)
def test_bad_input(capsys, tmp_path, simam, engine, arguments, code, said):
    given = arguments(tmp_path, str(simam), str(engine))
    before = set(tmp_path.rglob("*"))
    assert app.run(["profile", *given]) == code
    assert said in capsys.readouterr().err
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda layers, profile: (layers[: len(layers) // 2], profile), "cut off"),
        (lambda layers, profile: (layers, profile[: len(profile) // 2]), "cut off"),
        (lambda layers, profile: (profile, layers), ""),
        (lambda layers, profile: (layers, profile.replace("MaxPool_2", "MaxPool_3")), "match"),
    ],
)
def test_files_that_do_not_belong_together(capsys, tmp_path, spoil, said):
    folder = measured_folder(tmp_path, "a100-80g-pcie_resnet18_b32_fp16")
    paths = [folder / "layers.json", folder / "profile.json"]
    for path, text in zip(paths, spoil(*(path.read_text() for path in paths)), strict=True):
        path.write_text(text)
    given = ["--layers", str(paths[0]), "--profile", str(paths[1]), "--device", "a100"]
    assert app.run(["profile", *given, "--report", str(tmp_path / "r.html")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert not (tmp_path / "r.html").exists()


def test_an_engine_that_was_changed(capsys, engine, tmp_path):
    changed = tmp_path / engine.name
    changed.write_bytes(engine.read_bytes() + b"x")
    changed.with_suffix(".json").write_bytes(engine.with_suffix(".json").read_bytes())
    assert app.run(["profile", str(changed)]) == 2
    assert "not the engine that its manifest describes" in capsys.readouterr().err


def test_a_device_file_with_a_wrong_unit(capsys, simam, tmp_path):
    profiles = Path(__file__).parents[2] / "profiles"
    text = (profiles / "rtx-3090.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("bandwidth_gbps = 936", "bandwidth_gbps = -936"))
    assert app.run(["profile", str(simam), "--device", str(path)]) == 2
    assert "bandwidth_gbps is -936, and must be a number" in capsys.readouterr().err


def test_a_device_file_of_ones_own_is_planned_for(capsys, simam, tmp_path):
    profiles = Path(__file__).parents[2] / "profiles"
    path = tmp_path / "mine.toml"
    path.write_bytes((profiles / "rtx-3090.toml").read_bytes())
    assert app.run(["profile", str(simam), "--device", str(path), "--predict", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
