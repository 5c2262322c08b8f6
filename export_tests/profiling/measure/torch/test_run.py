"""Modules of torch models have their own time, and cost what the ONNX file of them costs."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeattn.base import worker as process
from edgeattn.base.errors import InputError, MissingError
from edgeattn.graph.costs import count
from edgeattn.models.build import build
from edgeattn.models.capture import trace, translate
from edgeattn.models.inject import AttendInput, AttendOutput
from edgeattn.options.model import AttentionRequest, ModelRequest
from edgeattn.profiling.attribution import attribute
from edgeattn.profiling.measure.torch import process as torch_process
from edgeattn.profiling.measure.torch import run as eager
from edgeattn.profiling.measure.torch.costs import CountCosts, kind_of
from edgeattn.profiling.measure.torch.modules import HostClock, observed
from edgeattn.records.trace import EndToEnd, Latency, Machine, Trace

X = torch.zeros(1, 4, 8, 8)


class Steps:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.at = 0.0
        self.waits = 0

    def begin(self, _host_us):
        pass

    def now(self):
        return self.at

    def us(self, start, stop):
        return stop - start

    def wait(self):
        self.waits += 1


class Takes(nn.Module):
    """A module that takes a while by itself, before and after it calls others."""

    def __init__(self, clock, us, *inside):
        super().__init__()
        self.clock, self.us = clock, us
        self.inside = nn.ModuleList(inside)

    def forward(self, x):
        for one in self.inside:
            x = one(x)
        self.clock.at += self.us
        return x + 0


def own_times(module, clock, runs=1):
    with observed(module, clock) as calls:
        for _ in range(runs):
            module(X)
        return calls.take()


def test_a_module_has_the_time_that_is_its_own():
    clock = Steps()
    leaf = Takes(clock, 5)
    model = Takes(clock, 1, Takes(clock, 10, leaf), leaf, Takes(clock, 2))
    found = own_times(model, clock)
    # The leaf was called twice, and is one module.
    assert found == {"": 1, "inside.0": 10, "inside.0.inside.0": 10, "inside.2": 2}
    assert sum(found.values()) == clock.at
    assert clock.waits == 1
    assert own_times(model, clock, runs=2)["inside.0"] == 20


@pytest.mark.parametrize("is_before", [False, True])
def test_an_attention_is_not_the_module_that_it_attends(is_before):
    clock = Steps()
    attended = Takes(clock, 10)
    model = Takes(clock, 1, attended)
    model.attention = Takes(clock, 7, Takes(clock, 3))
    if is_before:
        attended.register_forward_pre_hook(AttendInput(model, "attention", "attention"))
    else:
        attended.register_forward_hook(AttendOutput(model, "attention", "attention"))
    found = own_times(model, clock)
    assert found == {"": 1, "inside.0": 10, "attention": 7, "attention.inside.0": 3}
    # So it is where the root's own input is attended.
    model = Takes(clock, 1)
    model.attention = Takes(clock, 7)
    model.register_forward_pre_hook(AttendInput(model, "attention", "attention"))
    assert own_times(model, clock) == {"": 1, "attention": 7}


def test_hooks_are_gone_afterwards():
    model = nn.Sequential(nn.ReLU())
    with pytest.raises(ZeroDivisionError), observed(model, HostClock()):
        raise ZeroDivisionError
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_where_the_model_is():
    clock = Steps()
    seen = []

    class Says(nn.Module):
        def forward(self, x):
            seen.append(calls.here())
            return x

    model = nn.Sequential(Says(), nn.Sequential(Says()))
    with observed(model, clock) as calls:
        assert calls.here() == ""
        model(X)
    assert seen == ["0", "1.0"]


def counted(module, *inputs):
    counting = CountCosts(lambda: "")
    with torch.no_grad(), counting:
        module(*inputs)
    return counting.costs[""]


@pytest.mark.parametrize(
    ("module", "macs", "element_ops", "traffic_bytes"),
    [
        (nn.Conv2d(4, 6, 3, padding=1, bias=False), 64 * 6 * 36, 0, 4 * (256 + 216 + 384)),
        (nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), 64 * 4 * 9, 0, 4 * (256 + 36 + 256)),
        (nn.ConvTranspose2d(4, 6, 2, stride=2, bias=False), 64 * 4 * 6 * 4, 0,
         4 * (256 + 96 + 1536)),
        (nn.Linear(8, 5, bias=False), 32 * 8 * 5, 0, 4 * (256 + 40 + 160)),
        (nn.BatchNorm2d(4).eval(), 0, 2 * 256, 4 * (2 * 256 + 4 * 4)),
        (nn.ReLU(), 0, 256, 4 * 512),
        (nn.ReLU(inplace=True), 0, 256, 4 * 512),
        (nn.MaxPool2d(2), 0, 4 * 64, 4 * (256 + 64) + 8 * 64),
        (nn.AvgPool2d(2), 0, 4 * 64, 4 * (256 + 64)),
        (nn.AdaptiveAvgPool2d(1), 0, 256, 4 * (256 + 4)),
        (nn.Softmax(1), 0, 5 * 256, 4 * 512),
        (nn.LayerNorm(8, elementwise_affine=False), 0, 7 * 256, 4 * (512 + 2 * 32)),
        (nn.Flatten(), 0, 0, 0),
        (nn.Identity(), 0, 0, 0),
        (nn.Upsample(scale_factor=2), 0, 1024, 4 * (256 + 1024)),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 0, 4 * 1024, 4 * (256 + 1024)),
        (nn.ZeroPad2d(1), 0, 400, 4 * (256 + 400)),
    ],
)  # fmt: skip
def test_what_a_module_costs(module, macs, element_ops, traffic_bytes):
    cost = counted(module, X.clone())
    assert (cost.macs, cost.element_ops, cost.traffic_bytes) == (macs, element_ops, traffic_bytes)
    assert cost.precision == ("fp32" if traffic_bytes else "")


def test_broadcasting_reads_what_there_is():
    gate = torch.zeros(1, 4, 1, 1)

    class Gate(nn.Module):
        def forward(self, x):
            return x * gate.expand_as(x)

    assert counted(Gate(), X).traffic_bytes == 4 * (256 + 4 + 256)


def test_attention_of_queries_and_keys():
    class Attends(nn.Module):
        def forward(self, q):
            return F.scaled_dot_product_attention(q, q, q)

    cost = counted(Attends(), torch.zeros(2, 3, 10, 8))
    assert cost.macs == 2 * 3 * (2 * 10 * 10 * 8)
    assert cost.element_ops == 5 * 2 * 3 * 10 * 10
    assert cost.kind == "matmul"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("convolution", "matmul"), ("addmm", "matmul"), ("bmm", "matmul"), ("mm", "matmul"),
        ("_scaled_dot_product_flash_attention_for_cpu", "matmul"), ("mean", "reduction"),
        ("max", "reduction"), ("maximum", "pointwise"), ("cumsum", "reduction"),
        ("_softmax", "reduction"), ("linalg_vector_norm", "reduction"), ("std", "reduction"),
        ("_adaptive_avg_pool2d", "reduction"), ("max_pool2d_with_indices", "pooling"),
        ("native_batch_norm", "normalisation"), ("native_group_norm", "normalisation"),
        ("upsample_bilinear2d", "other"), ("upsample_linear1d", "other"), ("cat", "shuffle"),
        ("clone", "shuffle"), ("constant_pad_nd", "shuffle"), ("native_channel_shuffle", "shuffle"),
        ("_to_copy", "pointwise"), ("hardswish_", "pointwise"), ("sigmoid", "pointwise"),
    ],
)  # fmt: skip
def test_kinds_of_operations(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    "name",
    ["none", "sa", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cbam", "sge"))],
)
def test_costs_are_those_of_the_onnx_file(name, own_file):
    built = build(ModelRequest(source=own_file, attentions=(AttentionRequest(name=name),),
                               shapes=((1, 3, 32, 32),)))  # fmt: skip
    cost = counted(built.module, *built.inputs)
    known = count(translate(trace(built.module, built.inputs, dynamic_batch=False)))
    assert cost.macs == known.macs + known.matmul_macs
    assert cost.element_ops == pytest.approx(known.element_ops, rel=0.15)


OWN = """
import torch.nn.functional as F
from torch import nn

class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.c1, self.n1 = nn.Conv2d(channels, channels, 3, 1, 1), nn.BatchNorm2d(channels)
        self.c2, self.n2 = nn.Conv2d(channels, channels, 3, 1, 1), nn.BatchNorm2d(channels)

    def forward(self, x):
        return F.relu(x + self.n2(self.c2(F.relu(self.n1(self.c1(x))))))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        self.one, self.two = Block(32), Block(32)
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.head(self.two(self.one(self.stem(x))).mean((2, 3)))
"""


@pytest.fixture(scope="module")
def own_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(OWN)
    return f"{path}:Net"


def request(own_file, attention="se", **more):
    attentions = (AttentionRequest(name=attention),) if attention else ()
    return ModelRequest(source=own_file, attentions=attentions, shapes=((1, 3, 32, 32),), **more)


OPTIONS = eager.RunOptions(threads=1, limit_s=0.0)


def test_a_request_goes_there_and_back(own_file, tmp_path):
    asked = ModelRequest(
        source=own_file,
        model_args={"a": "1"},
        weights=tmp_path / "w.pt",
        num_classes=7,
        seed=3,
        attentions=(AttentionRequest(name="se", options={"reduction": "4"}, at="block-end"),),
        shapes=((1, 3, 8, 8), (2, 2)),
    )
    assert there_and_back(asked) == asked
    plain = ModelRequest(source="resnet18")
    assert there_and_back(plain) == plain


def there_and_back(asked):
    dumped = json.dumps(eager.REQUEST.dump_python(asked, mode="json"))
    return eager.REQUEST.validate_python(json.loads(dumped))


@pytest.fixture
def here(monkeypatch):
    """Runs what the process would run in this one."""

    def ask(_module, job, *, on_progress):
        return json.loads(json.dumps(torch_process._do(json.loads(json.dumps(job)))))

    monkeypatch.setattr(process, "ask", ask)


def test_a_model_by_its_modules(own_file):
    found = eager.profile_modules(request(own_file), OPTIONS)
    nodes = {node.name: node for node in found.nodes}
    assert {"Net", "stem", "one", "one.c1", "one.attention", "two.attention"} <= set(nodes)
    assert [site.path for site in found.sites] == ["one.attention", "two.attention"]
    assert all(site.params for site in found.sites)
    inside = {node.name for node in found.nodes if node.site == "one.attention"}
    assert "one.attention" in inside
    assert all(name.startswith("one.attention") for name in inside)
    assert nodes["stem"].macs == 16 * 16 * 32 * 27
    kernels = {kernel.name: kernel for kernel in found.kernels}
    assert (kernels["one.c1"].kind, kernels["one.c1"].op) == ("matmul", "Conv2d")
    assert kernels["one.n1"].kind == "normalisation"
    assert kernels["one"].kind == "pointwise"  # the sum, and an activation as a function
    assert kernels["Net"].kind == "reduction"
    assert kernels["one.c1"].precision == "fp32"
    assert kernels["one.c1"].traffic_bytes > 0
    assert all(kernel.time_us > 0 for kernel in found.kernels)
    assert found.profiled_us > kernels["one.c1"].time_us
    assert found.enqueue_us is None
    assert found.params == sum(p.numel() for p in build(request(own_file)).module.parameters())
    assert found.source == own_file
    assert found.notes == ()
    check_attribution(found)


def check_attribution(found):
    latency = Latency(p50=found.profiled_us / 1e3)
    drawn = attribute(
        Trace(
            name="own", model=found.source, sha256={}, evidence="measured", runtime="torch",
            runtime_version=eager.version(), machine=Machine(device="cpu", title="CPU"),
            latency_ms=latency, end_to_end=EndToEnd(latency_us=found.profiled_us),
            kernels=found.kernels, nodes=found.nodes, sites=found.sites, params=found.params,
        )
    )  # fmt: skip
    total_us = sum(kernel.time_us for kernel in found.kernels)
    assert drawn.coverage_us["owned"] == pytest.approx(total_us)
    of_sites = sum(k.time_us for k in found.kernels if ".attention" in k.name)
    assert drawn.attention.time_us == pytest.approx(of_sites)
    assert 0 < drawn.attention_share < 1
    owners = {one.kernel.name: one.owner for one in drawn.kernels}
    assert (owners["Net"], owners["one.c1"]) == ("Net", "one.c1")


def test_models_take_turns(own_file, here):
    heard = []
    requests = [request(own_file, None), request(own_file)]
    found = eager.time_models(requests, OPTIONS, on_progress=heard.append)
    assert found.windows == 3
    assert len(found.samples_ms) == 2
    assert found.latency(0).p50 > 0
    assert found.difference(1, 0).rounds == len(found.samples_ms[0])
    assert len(heard) == 3
    assert "rounds" in heard[0]
    alone = eager.time_models(requests[:1], OPTIONS)
    assert len(alone.samples_ms) == 1


def test_an_exported_program_has_no_modules(own_file, here, tmp_path):
    built = build(request(own_file, None))
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(built.module, built.inputs), path)
    found = eager.profile_modules(ModelRequest(source=str(path)), OPTIONS)
    assert any("one graph without modules" in note for note in found.notes)
    assert found.kernels[0].macs == counted(built.module, *built.inputs).macs
    assert found.kernels[0].time_us > 0.9 * sum(kernel.time_us for kernel in found.kernels)


def test_what_cannot_be_run_is_told(here):
    with pytest.raises(InputError, match="there is no model named 'resnot18'"):
        eager.profile_modules(ModelRequest(source="resnot18"), OPTIONS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="what is told where there is no GPU")
def test_a_gpu_that_is_not_here(own_file, here):
    options = eager.RunOptions(threads=1, device="cuda", limit_s=0.0)
    with pytest.raises(MissingError, match="torch sees no GPU"):
        eager.profile_modules(request(own_file), options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_on_a_gpu_modules_are_timed_by_events(own_file):
    options = eager.RunOptions(threads=2, device="cuda", limit_s=1.0)
    found = eager.profile_modules(request(own_file), options)
    total_us = sum(kernel.time_us for kernel in found.kernels)
    assert total_us == pytest.approx(found.profiled_us, rel=0.25)
    assert found.enqueue_us > 0
    timed = eager.time_models([request(own_file)], options)
    assert timed.latency(0).p50 > 0
    assert "GPU" in timed.facts
