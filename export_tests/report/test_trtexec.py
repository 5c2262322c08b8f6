"""What is exported as trtexec's files reads back the same, and is what TREx's rules ask for."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeattn.base.errors import InputError
from edgeattn.engine.layer_json import read_json
from edgeattn.engine.plan import plan
from edgeattn.profiling.samples import latency
from edgeattn.profiling.sources.engines.kernels import KernelTime, trace_kernels
from edgeattn.profiling.sources.trtexec.run import read_trtexec
from edgeattn.records.layers import Binding, LayerInformation
from edgeattn.records.trace import EndToEnd, Kernel, Latency, Machine, Trace
from edgeattn.report.trtexec import profile_json, times_json
from edgeattn.report.trtexec_layers import layer_info_json
from export_tests.engine.nets import HALF, small

FILES = Path(__file__).parents[1] / "engine" / "files"
NAMES = (
    "a100-80g-pcie_resnet18_b32_fp16",
    "a100-80g-pcie_resnet18_b32_tf32",
    "rtx3090_resnet50_b32_fp16",
    "titan-rtx_mobilenetv2-residuals_b1_int8",
)


def unpacked(name, what):
    return gzip.decompress((FILES / f"{name}.{what}.json.gz").read_bytes()).decode()


def trace(kernels, *, evidence="measured", samples=(1.0, 1.5, 1.25), enqueue_us=30.0):
    lasted = latency(samples) if samples else Latency(p50=1.0)
    return Trace(
        name="m", model="m.onnx", sha256={}, evidence=evidence, runtime="tensorrt",
        runtime_version="10.3", machine=Machine(device="d", title="D"), latency_ms=lasted,
        end_to_end=EndToEnd(latency_us=1e3, enqueue_us=enqueue_us), kernels=tuple(kernels),
        nodes=(), sites=(),
    )  # fmt: skip


def of_engine(information, times=None, **more):
    own = times or [float(place + 1) for place in range(len(information.kernels))]
    return trace(trace_kernels(information, [KernelTime(time_us=one) for one in own]), **more)


def written(folder, **documents):
    paths = {}
    for name, document in documents.items():
        paths[name] = folder / f"{name}.json"
        paths[name].write_text(json.dumps(document))
    return paths


def real(name):
    return read_json(unpacked(name, "layers"))


@pytest.mark.parametrize("name", NAMES)
def test_a_real_engine_goes_there_and_back(tmp_path, name):
    information = real(name)
    drawn = of_engine(information)
    layers = layer_info_json(drawn, information)
    again = read_json(json.dumps(layers))
    assert again == information
    # What TensorRT wrote of a tensor or of weights is written again, letter by letter.
    was = {one["Name"]: one for one in json.loads(unpacked(name, "layers"))["Layers"]}
    for layer in layers["Layers"]:
        old = was[layer["Name"]]
        for key in ("LayerType", "Weights", "Bias"):
            if old.get(key, {"Count": 0}) != {"Count": 0} and key in layer:
                assert layer[key] == old[key]
        for side in ("Inputs", "Outputs"):
            for new_tensor, old_tensor in zip(layer[side], old[side], strict=True):
                assert new_tensor["Format/Datatype"] == old_tensor["Format/Datatype"]
                assert new_tensor["Dimensions"] == old_tensor["Dimensions"]
    paths = written(tmp_path, layers=layers, profile=profile_json(drawn), times=times_json(drawn))
    found = read_trtexec(**paths)
    assert [k.time_us for k in found.kernels] == pytest.approx([k.time_us for k in drawn.kernels])
    assert [k.macs for k in found.kernels] == [k.macs for k in drawn.kernels]
    assert found.latency == drawn.latency_ms
    assert found.end_to_end.enqueue_us == pytest.approx(30.0)


@pytest.mark.parametrize("dtype", ["float", "half"])
def test_a_plan_of_tensorrt_rtx_goes_there_and_back(tmp_path, dtype):
    path = small(tmp_path / "m.onnx", **({"dtype": HALF} if dtype == "half" else {}))
    shape = (1, 3, 16, 16)
    bindings = (
        Binding(name="x", is_input=True, dtype="fp32", shape=shape, profiles=((shape,) * 3,)),
        Binding(name="y", is_input=False, dtype="fp32", shape=(1, 8, 16, 16), profiles=()),
    )
    information = LayerInformation(kernels=plan(path), bindings=bindings, form="json")
    document = layer_info_json(of_engine(information), information)
    assert read_json(json.dumps(document)) == information


def test_the_names_are_those_of_the_trace():
    (kernel, *_) = real(NAMES[0]).kernels
    twice = LayerInformation(kernels=(kernel, kernel), bindings=(), form="json")
    drawn = of_engine(twice)
    names = [layer["Name"] for layer in layer_info_json(drawn, twice)["Layers"]]
    assert names == [row["name"] for row in profile_json(drawn)[1:]]
    assert len(set(names)) == 2


def test_what_is_no_kernel_has_a_layer_too(tmp_path):
    information = real(NAMES[0])
    drawn = of_engine(information)
    waits = Kernel(name="w", op="wait", kind="other", time_us=9.0, traffic_bytes=0, macs=0,
                   nodes=())  # fmt: skip
    drawn = drawn.model_copy(update={"kernels": (*drawn.kernels, waits)})
    layers = layer_info_json(drawn, information)
    found = read_trtexec(**written(tmp_path, layers=layers, profile=profile_json(drawn)))
    assert found.kernels[-1] == waits
    assert sum(k.time_us for k in found.kernels) == pytest.approx(
        sum(k.time_us for k in drawn.kernels)
    )


def kernel(name, time_us=1.0, **more):
    known = {"op": "Conv", "kind": "matmul", "traffic_bytes": 1200, "macs": 5, "nodes": (name,)}
    return Kernel(name=name, time_us=time_us, **known | more)


KERNELS = (
    kernel("a/Conv", inputs=("x",), outputs=("a",), precision="fp32"),
    kernel("b/Add", op="Add", kind="pointwise", inputs=("a", "x"), outputs=("y",),
           precision="fp16", nodes=("b/Add", "b/Relu")),
    kernel("c/Shape", op="Shape", kind="shuffle", inputs=("x",), outputs=("n",),
           traffic_bytes=None, nodes=()),
)  # fmt: skip


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_another_runtime_has_no_layers(runtime):
    made = trace(KERNELS).model_copy(update={"runtime": runtime})
    with pytest.raises(InputError, match=f"{runtime} has none") as refused:
        layer_info_json(made)
    assert "--export-profile" in refused.value.mend


def test_layers_of_a_saved_trace_are_its_kernels(tmp_path):
    drawn = trace(KERNELS)
    document = layer_info_json(drawn)
    assert document["Bindings"] == ["x", "y", "n"]
    again = read_json(json.dumps(document))
    assert [k.name for k in again.kernels] == [k.name for k in drawn.kernels]
    assert [k.nodes for k in again.kernels] == [k.nodes for k in drawn.kernels]
    assert [k.traffic_bytes for k in again.kernels] == [1200, 1200, 0]
    assert again.kernels[1].precision == "fp16"
    found = read_trtexec(**written(tmp_path, layers=document, profile=profile_json(drawn)))
    assert [k.time_us for k in found.kernels] == [1.0, 1.0, 1.0]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_a_profile_adds_up(times):
    rows = profile_json(trace([kernel(f"k{at}", one) for at, one in enumerate(times)]))
    assert rows[0] == {"count": 1}
    assert math.isclose(sum(row["timeMs"] for row in rows[1:]), sum(times) / 1e3, abs_tol=1e-9)
    if sum(times):
        assert math.isclose(sum(row["percentage"] for row in rows[1:]), 100)


def test_a_prediction_says_so_and_has_no_times():
    drawn = trace(KERNELS, evidence="predicted", samples=())
    assert profile_json(drawn)[0] == {"count": 1, "evidence": "predicted"}
    with pytest.raises(InputError, match="no runs to export the times of: it is predicted"):
        times_json(drawn)
    with pytest.raises(InputError, match="it is measured"):
        times_json(trace(KERNELS, samples=()))


def test_times_are_those_of_trtexec():
    rows = times_json(trace(KERNELS, samples=(0.5, 0.25)))
    assert [list(row) for row in rows] == [
        ["startEnqMs", "endEnqMs", "startH2dMs", "endH2dMs", "startComputeMs", "endComputeMs",
         "startD2hMs", "endD2hMs", "h2dMs", "computeMs", "d2hMs", "latencyMs"]
    ] * 2  # fmt: skip
    for row in rows:
        assert row["computeMs"] == row["endComputeMs"] - row["startComputeMs"]
        assert row["latencyMs"] == row["h2dMs"] + row["computeMs"] + row["d2hMs"]
    assert rows[1]["startComputeMs"] == rows[0]["endComputeMs"]


# TREx (NVIDIA's engine explorer, tools/experimental/trt-engine-explorer) asks of the files:
# a layer needs a name, a type, and lists of inputs and outputs; a tensor its name, dimensions and
# the one string of type and format; bindings are names, and there is one at least; of a profile it
# takes what has four or five keys, without layers of no work; where there are as many as layers,
# they are joined by position, or else by name.
TREX_BYTES = {"FP32": 4, "FP16": 2, "Int8": 1, "Float": 4, "Half": 2}
TREX_WEIGHTS = {"Int8": 1, "Half": 2, "Float": 4, "Int32": 4}


def explored(layers, profile):
    """What TREx makes of the files: name, average and bytes of each layer."""
    assert layers["Bindings"]
    assert all(isinstance(name, str) for name in layers["Bindings"])
    rows = [row for row in profile if len(row) in (4, 5)]
    assert len(rows) == len(layers["Layers"])
    found = []
    for layer, row in zip(layers["Layers"], rows, strict=True):
        assert row["name"] == layer["Name"]
        assert layer["LayerType"] not in {"Constant", "NoOp", "signal"}
        size = 0
        for tensor in layer["Inputs"] + layer["Outputs"]:
            assert isinstance(tensor["Name"], str)
            words = tensor["Format/Datatype"].replace(".", "").split()
            (each,) = [TREX_BYTES[word] for word in words if word in TREX_BYTES]
            size += math.prod(tensor["Dimensions"]) * each
        for what in ("Weights", "Bias"):
            if what in layer:
                size += layer[what]["Count"] * TREX_WEIGHTS[layer[what]["Type"]]
        found.append((layer["Name"], row["averageMs"], row["percentage"], size))
    assert len({name for name, *_ in found}) == len(found)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_trex_opens_an_engine(name):
    information = real(name)
    drawn = of_engine(information)
    layers = json.loads(json.dumps(layer_info_json(drawn, information)))
    found = explored(layers, json.loads(json.dumps(profile_json(drawn))))
    assert [size for *_, size in found] == [k.traffic_bytes for k in drawn.kernels]
    assert sum(part for _, _, part, _ in found) == pytest.approx(100)


def test_trex_opens_a_plan_and_a_saved_trace(tmp_path):
    kernels = plan(small(tmp_path / "m.onnx"))
    bindings = (Binding(name="x", is_input=True, dtype="", shape=(), profiles=()),)
    information = LayerInformation(kernels=kernels, bindings=bindings, form="log")
    drawn = of_engine(information, evidence="predicted", samples=())
    explored(layer_info_json(drawn, information), profile_json(drawn))
    saved = trace(KERNELS)
    explored(layer_info_json(saved), profile_json(saved))
