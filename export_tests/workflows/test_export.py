"""The whole export, as a library: what it writes, what it proves, and what it leaves on failure."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

import edgeattn.graph.writing
import edgeattn.legalise
import edgeattn.lowering.pipeline
from edgeattn.attention.registry import ATTENTIONS
from edgeattn.base.errors import CheckError, InputError
from edgeattn.lowering.record import Lowered
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.options.shapes import Shape
from edgeattn.records.lowering import NearMiss, Rewrite
from edgeattn.records.manifest import Manifest
from edgeattn.workflows.export import _sources, export

NET = '''
import torch
from torch import nn


class Net(nn.Module):
    """Two residual blocks and a classifier."""

    def __init__(self, width=8, fixed=False):
        super().__init__()
        self.fixed = fixed
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.layer1 = nn.ModuleList(Block(width) for _ in range(2))
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        x = torch.relu(self.bn(self.stem(x)))
        for block in self.layer1:
            x = block(x)
        if self.fixed:
            x = x.reshape(2, -1, *x.shape[2:]).reshape(x.shape)
        return self.head(x.mean((2, 3)))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(x + self.bn2(self.conv2(y)))


class Pair(nn.Module):
    """Two inputs, and outputs in a dictionary."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(3, 4, 1)
        self.right = nn.Linear(6, 4)

    def forward(self, image, vector):
        gate = self.right(vector)[:, :, None, None]
        return {"sum": self.left(image) + gate, "product": self.left(image) * gate}


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x
'''


PLAIN = ExportOptions(simplify=False)  # where onnxsim is not the point
OPEN = ExportOptions(simplify=False, dynamic_batch=True)


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def request(net, name="Net", attention="se", shapes=((1, 3, 16, 16),), **others):
    asked = (AttentionRequest(name=attention, options={}, at=None),) if attention else ()
    return ModelRequest(source=f"{net}:{name}", attentions=asked, shapes=shapes, **others)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")


def test_what_is_written(net, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    stages = []
    manifest = export(
        request(net), ExportOptions(opset=13), out / "net.onnx", on_stage=stages.append
    )
    assert left_in(out) == ["net.json", "net.onnx"]
    text = (out / "net.json").read_text()
    assert Manifest.model_validate_json(text).model_dump_json() == manifest.model_dump_json()
    model = onnx.load(out / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert (model.opset_import[0].version, model.ir_version) == (13, 7)
    assert (manifest.opset, manifest.ir_version) == (13, 7)
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == ["output"]
    told = {one.key: one.value for one in model.metadata_props}
    assert told == {"edgeattn.target": "tensorrt", "edgeattn.forms": "tensorrt"}
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert [site.path for site in manifest.sites] == ["layer1.0.attention", "layer1.1.attention"]
    assert {edge.target for edge in manifest.sites} == {"layer1.0.bn2", "layer1.1.bn2"}
    assert all(node.name.count("/") == 1 for node in model.graph.node)
    names = {node.name for node in model.graph.node}
    assert any(name.startswith("layer1.1.attention/Mul") for name in names)
    digest = hashlib.sha256((out / "net.onnx").read_bytes()).hexdigest()
    assert manifest.sha256 == {"net.onnx": digest}
    assert manifest.params == 8 * 3 * 9 + 16 + 2 * (2 * 8 * 8 * 9 + 32) + 45 + sum(
        site.params for site in manifest.sites
    )
    # Stem, four 3x3 convolutions, the head, and two squeezes; from a hidden width of 1, lowering
    # makes the excitation a product, which is no layer.
    assert manifest.macs == 256 * 8 * 9 * (3 + 4 * 8) + 40 + 2 * 8
    assert manifest.nodes.final == len(model.graph.node)
    assert manifest.parity.passed
    runs = {(case.weights, case.optimisations, case.batch) for case in manifest.parity.cases}
    assert runs == {(w, o, 1) for w in ("model", "random") for o in ("off", "on")}
    assert {"build", "export", "simplify", "legalise", "parity"} <= set(stages)
    assert set(stages) <= set(manifest.seconds)
    assert manifest.versions["torch"]


def test_what_a_model_was_made_from_is_hashed(net, tmp_path, monkeypatch):
    digest = hashlib.sha256(net.read_bytes()).hexdigest()
    assert _sources(request(net), PLAIN) == {str(net): digest}
    # A file that happens to bear a model's name is no source of it.
    monkeypatch.chdir(tmp_path)
    Path("resnet18").write_text("notes on resnet18")
    assert _sources(ModelRequest(source="resnet18"), PLAIN) == {}
    assert _sources(ModelRequest(source="resnet18", weights=net), PLAIN) == {str(net): digest}


def test_the_file_computes_what_the_model_does(net, tmp_path):
    from edgeattn.models.build import build

    asked = request(net, attention="cbam", seed=3)
    export(asked, PLAIN, tmp_path / "net.onnx")
    built = build(asked)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    x = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    import torch

    want = built.module(torch.from_numpy(x)).numpy()
    (have,) = session.run(None, {"input": x})
    np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)


OPEN_BATCH = ("sa", "sk", "stn", "ulsam")  # by default; -m "" takes all


@pytest.mark.parametrize(
    "attention",
    [
        name if name in OPEN_BATCH else pytest.param(name, marks=pytest.mark.slow)
        for name in ATTENTIONS
    ],
)
def test_an_open_batch(net, tmp_path, attention):
    place = {"stn": "input", "sk": "layer1.*.conv1"}.get(attention, "block-end")
    asked = ModelRequest(
        source=f"{net}:Net",
        attentions=(AttentionRequest(name=attention, options={}, at=place),),
        shapes=((1, 3, 32, 32),),
    )
    manifest = export(asked, OPEN, tmp_path / "net.onnx")
    assert manifest.inputs[0].shape == ("batch", 3, 32, 32)
    assert manifest.outputs[0].shape[0] == "batch"
    assert {case.batch for case in manifest.parity.cases} == {1, 2, 3, 8}


PER_SAMPLE = """
import torch
import torch.nn.functional as F
from torch import nn


class Camera(nn.Module):
    def __init__(self):
        super().__init__()
        self.score = nn.Linear(3, 2)
        self.kernels = nn.Parameter(torch.randn(2, 4, 3, 3, 3) / 5)

    def forward(self, image):
        x = image.permute(0, 3, 1, 2).float() / 255
        n, c, h, w = x.shape
        score = self.score(x.mean((2, 3))).softmax(1)
        kernels = torch.mm(score, self.kernels.flatten(1)).view(n * 4, c, 3, 3)
        x = F.conv2d(x.reshape(1, n * c, h, w), kernels, groups=n).view(n, 4, h - 2, w - 2)
        return F.adaptive_max_pool2d(x, 3), F.adaptive_avg_pool2d(x, 4)
"""


def test_bytes_and_kernels_of_each_samples_own(tmp_path):
    path = tmp_path / "camera.py"
    path.write_text(PER_SAMPLE)
    asked = ModelRequest(source=f"{path}:Camera", shapes=(Shape((1, 13, 12, 3), "uint8"),))
    manifest = export(asked, ExportOptions(dynamic_batch=True), tmp_path / "m.onnx")
    assert manifest.parity.passed
    assert {case.batch for case in manifest.parity.cases} == {1, 2, 3, 8}
    assert [(one.dtype, one.shape) for one in manifest.inputs] == [("uint8", ("batch", 13, 12, 3))]
    assert manifest.options["types"] == ["uint8"]


def test_a_model_that_fixes_its_batch(net, tmp_path):
    asked = request(net, attention=None, shapes=((2, 3, 16, 16),), model_args={"fixed": "true"})
    export(asked, PLAIN, tmp_path / "net.onnx")
    with pytest.raises(InputError, match="fixes its batch"):
        export(asked, OPEN, tmp_path / "net.onnx")


def test_names_and_several_inputs(net, tmp_path):
    asked = request(net, "Pair", attention=None, shapes=((2, 3, 4, 4), (2, 6)))
    manifest = export(asked, PLAIN, tmp_path / "a.onnx")
    assert [value.name for value in manifest.inputs] == ["input_0", "input_1"]
    assert [value.name for value in manifest.outputs] == ["sum", "product"]
    names = ExportOptions(input_names=("image", "vector"), output_names=("sum", "product"))
    manifest = export(asked, names, tmp_path / "b.onnx")
    assert [value.name for value in manifest.inputs] == ["image", "vector"]
    assert [value.name for value in manifest.outputs] == ["sum", "product"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ExportOptions(opset=12), "Opset 12 is not supported; the lowest is 13"),
        (ExportOptions(opset=99), "Opset 99 is not known"),
        (ExportOptions(input_names=("a", "b")), "has 1 inputs, but 2 names"),
        (ExportOptions(output_names=("",)), "must differ and not be empty"),
        (ExportOptions(input_names=("x",), output_names=("x",)), "share names: x"),
    ],
)
def test_refused_options(net, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        export(request(net), options, tmp_path / "net.onnx")
    assert left_in(tmp_path) == ["net.py"]


def test_what_cannot_be_traced(net, tmp_path):
    with pytest.raises(InputError, match=r"cannot trace the model's own forward"):
        export(request(net, "Branching", attention=None), PLAIN, tmp_path / "net.onnx")
    assert left_in(tmp_path) == ["net.py"]


def test_a_simplifier_that_hangs_is_left_behind(net, tmp_path):
    options = ExportOptions(simplify_timeout_s=0.001)
    manifest = export(request(net), options, tmp_path / "net.onnx")
    assert manifest.notes == ("The model is not simplified: onnxsim did not end within 0.001 s.",)
    assert manifest.parity.passed


def test_a_simplifier_that_is_not_there_is_left_out(net, tmp_path, monkeypatch):
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "onnxsim.py").write_text("raise ModuleNotFoundError('No module named onnxsim')")
    monkeypatch.setenv("PYTHONPATH", str(stub), prepend=os.pathsep)
    asked = request(net, model_args={"width": "32"})
    manifest = export(asked, ExportOptions(), tmp_path / "net.onnx")
    (note,) = manifest.notes
    assert "onnxsim failed: ModuleNotFoundError: No module named onnxsim" in note
    onnxruntime.InferenceSession(tmp_path / "net.onnx")
    assert left_in(tmp_path) == ["net.json", "net.onnx", "net.py", "stub"]


def test_without_the_simplifier(net, tmp_path):
    # Weights of some size, which do not stand in the graph while it is in the works.
    asked = request(net, model_args={"width": "32"})
    (tmp_path / "out").mkdir()
    manifest = export(asked, ExportOptions(simplify=False), tmp_path / "out" / "net.onnx")
    assert manifest.notes == ()
    assert left_in(tmp_path / "out") == ["net.json", "net.onnx"]
    names = [node.name for node in onnx.load(tmp_path / "out" / "net.onnx").graph.node]
    assert "layer1.0.bn1/BatchNormalization" in names


def test_what_is_not_finite_is_refused(net, tmp_path):
    net.write_text(
        NET + "\n\nclass Nan(Net):\n    def forward(self, x):\n"
        "        return super().forward(x) / (x - x).mean()\n"
    )
    with pytest.raises(InputError, match="itself gives only NaN or infinity"):
        export(request(net, "Nan"), PLAIN, tmp_path / "net.onnx")


def test_a_mask_is_exported(net, tmp_path):
    net.write_text(
        NET + "\n\nclass Masked(Net):\n    def forward(self, x):\n"
        "        scores = super().forward(x)\n"
        "        return scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -torch.inf)\n"
    )
    manifest = export(request(net, "Masked"), PLAIN, tmp_path / "net.onnx")
    assert {case.weights for case in manifest.parity.cases} == {"model", "random"}


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_other_precisions_are_refused(net, tmp_path, precision):
    net.write_text(NET + f"\n\ndef other():\n    return Net().to(torch.{precision})\n")
    with pytest.raises(InputError, match=rf"stem\.weight is {precision}"):
        export(request(net, "other", attention=None), PLAIN, tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        ("x = nn.functional.dropout(x)", "no function of its input"),
        ("return torch.view_as_complex(x.unflatten(-1, (-1, 2)))", "complex numbers"),
    ],
)
def test_what_cannot_be_compared(net, tmp_path, forward, message):
    net.write_text(
        f"{NET}\n\nclass Odd(Net):\n    def forward(self, x):\n        {forward}\n"
        "        return super().forward(x)\n"
    )
    with pytest.raises(InputError, match=message):
        export(request(net, "Odd", attention=None), PLAIN, tmp_path / "net.onnx")
    assert left_in(tmp_path) == ["net.py"]


def test_a_model_that_changes_its_input(net, tmp_path):
    net.write_text(
        NET + "\n\nclass InPlace(Net):\n    def forward(self, x):\n        x += 1\n"
        "        return super().forward(x)\n"
    )
    export(request(net, "InPlace"), PLAIN, tmp_path / "net.onnx")


def test_a_parameter_named_as_the_output(net, tmp_path):
    net.write_text(
        NET
        + """

class Named(Net):
    def __init__(self):
        super().__init__()
        self.output = nn.Parameter(torch.ones(5))
        self.input = nn.Parameter(torch.ones(1, 3, 1, 1))

    def forward(self, x):
        return super().forward(x * self.input) * self.output
"""
    )
    manifest = export(request(net, "Named"), ExportOptions(), tmp_path / "net.onnx")
    assert (manifest.inputs[0].name, manifest.outputs[0].name) == ("input", "output")


def test_a_traced_program(net, tmp_path):
    import torch

    from edgeattn.models.build import build

    built = build(request(net, attention="cbam", shapes=((2, 3, 16, 16),)))
    batch = torch.export.Dim("batch")
    program = torch.export.export(built.module, built.inputs, dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "net.pt2")
    asked = ModelRequest(source=str(tmp_path / "net.pt2"), shapes=((2, 3, 16, 16),))
    manifest = export(asked, PLAIN, tmp_path / "net.onnx")
    assert {case.batch for case in manifest.parity.cases} == {1, 2, 3, 8}
    assert manifest.sources.keys() == {str(tmp_path / "net.pt2")}
    names = {node.name for node in onnx.load(tmp_path / "net.onnx").graph.node}
    assert any(name.startswith("layer1.0.attention") for name in names)
    with pytest.raises(InputError, match="has its shapes fixed already"):
        export(asked, OPEN, tmp_path / "net.onnx")


def test_a_fault_in_a_stage_stops_the_export(net, tmp_path, monkeypatch):
    legalise = edgeattn.legalise.legalise

    def faulty(model: ir.Model, opset: int) -> object:
        done = legalise(model, opset)
        conv = next(node for node in model.graph if node.name == "layer1.1.conv1/Conv")
        weight = conv.inputs[1]
        # Two channels change places: with fresh statistics of 0 and 1 only the weights show it.
        order = [1, 0, *range(2, 8)]
        weight.const_value = ir.tensor(weight.const_value.numpy()[order])
        return done

    (tmp_path / "net.onnx").write_text("what was there before")
    monkeypatch.setattr(edgeattn.legalise, "legalise", faulty)
    with pytest.raises(CheckError, match=r"first module that differs is layer1\.1\.bn1"):
        export(request(net), ExportOptions(), tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").read_text() == "what was there before"
    assert left_in(tmp_path) == ["net.onnx", "net.py"]


def test_a_fault_that_only_random_weights_show(net, tmp_path, monkeypatch):
    legalise = edgeattn.legalise.legalise

    def faulty(model: ir.Model, opset: int) -> object:
        done = legalise(model, opset)
        for node in list(model.graph):
            # Shuffle attention starts with its weights at 0: without its means it is the same.
            if "attention" in node.name and node.op_type in {"ReduceMean", "GlobalAveragePool"}:
                scale = ir.Value(name=f"{node.name}.scale", const_value=ir.tensor(np.float32(0.5)))
                model.graph.register_initializer(scale)
                scaled = ir.node("Mul", [node.outputs[0], scale], name=f"{node.name}.scaled")
                node.outputs[0].replace_all_uses_with(scaled.outputs[0])
                scaled.replace_input_with(0, node.outputs[0])
                model.graph.insert_after(node, scaled)
        return done

    monkeypatch.setattr(edgeattn.legalise, "legalise", faulty)
    with pytest.raises(CheckError, match=r"with random weights .* layer1\.0\.attention"):
        export(request(net, attention="sa"), ExportOptions(), tmp_path / "net.onnx")
    assert left_in(tmp_path) == ["net.py"]


def test_weights_above_one_message_go_beside_the_model(net, tmp_path, monkeypatch):
    monkeypatch.setattr(edgeattn.graph.writing, "_LARGEST_INLINE_BYTES", 1000)
    out = tmp_path / "out"
    out.mkdir()
    manifest = export(request(net), PLAIN, out / "net.onnx")
    assert left_in(out) == ["net.json", "net.onnx", "net.onnx.data"]
    assert sorted(manifest.sha256) == ["net.onnx", "net.onnx.data"]
    moved = tmp_path / "moved"
    out.rename(moved)
    session = onnxruntime.InferenceSession(moved / "net.onnx")
    session.run(None, {"input": np.zeros((1, 3, 16, 16), np.float32)})


SCRIPT = """
import sys
from pathlib import Path
from edgeattn.options.export import ExportOptions
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.workflows.export import export

asked = AttentionRequest(name=sys.argv[3], options={}, at=None)
export(
    ModelRequest(source=sys.argv[1], attentions=(asked,), shapes=((1, 3, 16, 16),)),
    ExportOptions(),
    Path(sys.argv[2]),
    on_stage=lambda name: print(name, flush=True),
)
"""


def run_script(net, target, *, hash_seed="0", attention="cbam", **others):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, f"{net}:Net", str(target), attention],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **others,
    )


def test_the_same_command_writes_the_same_bytes(net, tmp_path):
    export(request(net, attention="cbam"), ExportOptions(), tmp_path / "here.onnx")
    process = run_script(net, tmp_path / "there.onnx", hash_seed="2")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert (tmp_path / "there.onnx").read_bytes() == (tmp_path / "here.onnx").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["export", "simplify", "parity"])
def test_ctrl_c_leaves_nothing(net, tmp_path, stage):
    out = tmp_path / "out"
    out.mkdir()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = run_script(net, out / "net.onnx", cwd=scratch, start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == stage:
            os.killpg(process.pid, signal.SIGINT)
            break
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert left_in(out) == []


def test_a_full_disk_leaves_nothing(net, tmp_path):
    import resource

    out = tmp_path / "out"
    out.mkdir()
    (out / "net.onnx").write_text("old")

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(InputError, match="File too large"):
            export(request(net), PLAIN, out / "net.onnx")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left_in(out) == ["net.onnx"]
    assert (out / "net.onnx").read_text() == "old"


def test_the_manifest_names_the_command(net, tmp_path):
    began = time.time()
    export(request(net), ExportOptions(), tmp_path / "net.onnx", command="edgeattn export ...")
    written = json.loads((tmp_path / "net.json").read_text())
    assert written["command"] == "edgeattn export ..."
    assert written["schema_version"] == 1
    assert written["seconds"]["total"] <= time.time() - began
    assert Path(written["onnx"]).name == "net.onnx"


def test_both_graphs_are_lowered_and_the_record_is_kept(net, tmp_path, monkeypatch):
    seen = []
    one = Rewrite(rule="gate", site="s", nodes_before=("a", "b"), nodes_after=("c",))
    miss = NearMiss(rule="gate", site="t", reason="because")

    def watch(model, *, target, rules):
        seen.append((model.opset_imports[""] >= 13, target, rules))
        return Lowered(target=target, rewrites=(one,), near_misses=(miss,))

    monkeypatch.setattr(edgeattn.lowering.pipeline, "lower", watch)
    options = ExportOptions(simplify=False, target="onnxruntime", rules=())
    manifest = export(request(net), options, tmp_path / "net.onnx")
    assert seen == [(True, "onnxruntime", ())] * 2
    written = json.loads((tmp_path / "net.json").read_text())
    assert written["rewrites"] == [
        {
            "rule": "gate",
            "site": "s",
            "nodes_before": ["a", "b"],
            "nodes_after": ["c"],
            "kind": "",
            "forms": [],
        }
    ]
    assert written["near_misses"] == [{"rule": "gate", "site": "t", "reason": "because"}]
    assert manifest.options["target"] == "onnxruntime"


def test_lowering_may_be_left_out(net, tmp_path, monkeypatch):
    def fail(*_, **__):
        pytest.fail("lowered")

    monkeypatch.setattr(edgeattn.lowering.pipeline, "lower", fail)
    options = ExportOptions(simplify=False, lower=False)
    manifest = export(request(net), options, tmp_path / "net.onnx")
    assert (manifest.rewrites, manifest.near_misses) == ((), ())
    assert manifest.options["lower"] is False


def test_what_the_opset_made_us_replace_is_recorded(net, tmp_path):
    net.write_text(NET + NORM)
    options = ExportOptions(simplify=False, lower=False, opset=13)
    manifest = export(request(net, "Norm", attention=None), options, tmp_path / "net.onnx")
    (one,) = manifest.legalised
    assert (one.op_type, one.opset) == ("LayerNormalization", 17)
    assert one.into


@pytest.mark.parametrize("wrong", [{"target": "tensort"}, {"rules": ("nonsense",)}])
def test_a_target_or_rule_that_there_is_not_is_refused_at_once(net, tmp_path, wrong):
    stages = []
    with pytest.raises(InputError, match="There is no"):
        export(request(net), ExportOptions(**wrong), tmp_path / "net.onnx", on_stage=stages.append)
    assert stages == []


NORM = """

class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(16)

    def forward(self, x):
        return self.norm(x)
"""

CHAOS = '''

class Chaos(nn.Module):
    """The logistic map, which doubles what rounding did to x at each of its steps."""

    def __init__(self, steps=12, rate=3.9):
        super().__init__()
        self.scale = nn.Conv2d(3, 3, 1)
        self.rate = rate
        self.steps = steps

    def forward(self, x):
        x = torch.sigmoid(self.scale(x))
        for _ in range(self.steps):
            x = self.rate * x * (1 - x)
        return x


class Explosive(nn.Module):
    """Finite with weights of zero only."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return torch.exp(1e4 * self.weight.abs()) * x
'''


def test_a_model_that_amplifies_rounding(net, tmp_path):
    net.write_text(NET + CHAOS)
    asked = request(net, "Chaos", attention=None, model_args={"steps": "16"})
    manifest = export(asked, PLAIN, tmp_path / "net.onnx")
    assert ["Parity was judged by that" in note for note in manifest.notes] == [True, True]
    assert all(50 < (case.rounding_floor_db or 0) < 75 for case in manifest.parity.cases)
    assert all(40 < (output.sqnr_db or 0) < 75 for output in manifest.parity.outputs)
    endless = request(net, "Chaos", attention=None, model_args={"steps": "100"})
    with pytest.raises(CheckError, match="Nothing can be proven in float32"):
        export(endless, PLAIN, tmp_path / "other.onnx")


def test_a_random_draw_that_overflows_is_told(net, tmp_path):
    net.write_text(NET + CHAOS)
    asked = request(net, "Explosive", attention=None)
    manifest = export(asked, PLAIN, tmp_path / "net.onnx")
    assert manifest.notes == (
        "Parity was not checked with random weights: torch itself gives NaN or infinity with them.",
    )
    assert {case.weights for case in manifest.parity.cases} == {"model"}


def test_a_cast_file_is_compared_with_torch(net, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    options = ExportOptions(simplify=False, cast=CastOptions(half_io=True))
    manifest = export(request(net, attention="simam"), options, out / "net.onnx")
    assert left_in(out) == ["net.json", "net.onnx"]
    assert [value.dtype for value in (*manifest.inputs, *manifest.outputs)] == ["float16"] * 2
    assert manifest.parity.precision == "fp16"
    assert manifest.cast.kept
    assert all(one.node.startswith("layer1.") for one in manifest.cast.kept)


def test_a_cast_that_differs_too_much_leaves_nothing(net, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    options = ExportOptions(simplify=False, cast=CastOptions(min_sqnr_db=150))
    with pytest.raises(CheckError, match="The cast model differs from the torch model") as caught:
        export(request(net), options, out / "net.onnx")
    assert "--keep-fp32" in caught.value.mend
    assert left_in(out) == []
