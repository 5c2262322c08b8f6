"""Every node names its module, and a value named after a module is what that module gives."""

from __future__ import annotations

import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeattn.graph import tags
from edgeattn.graph.names import module_of
from edgeattn.graph.simplify import Simplifier
from edgeattn.graph.writing import save
from edgeattn.models import capture
from edgeattn.parity.bisect import _module_outputs, _producers, _run_with_outputs
from edgeattn.parity.metrics import measure, tolerance_of
from edgeattn.parity.randomise import randomise


class Gate(nn.Module):
    def forward(self, x):
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid((x - mean) * 2.0 * mean)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.act = nn.ReLU()
        self.attention = Gate()

    def forward(self, x):
        return self.act(x + self.attention(self.bn(self.conv(x))))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, bias=False)
        self.layer1 = nn.Sequential(Block(), Block())
        self.act = nn.ReLU()

    def forward(self, x):
        x = self.act(self.act(self.stem(x)) - 0.25)
        return self.layer1(x).flatten(1) * 3.0


def folded_model(module, inputs, *, dynamic_batch=False):
    program = capture.trace(module, inputs, dynamic_batch=dynamic_batch)
    model = capture.fold(capture.translate(program))
    capture.name_everything(model, input_names=(), output_names=())
    return model


def simplified_model(folded, folder):
    source, target = folder / "folded.onnx", folder / "simplified.onnx"
    save(folded, source)
    with Simplifier() as simplifier:
        assert simplifier.begin(source, target, timeout_s=120).wait() == ""
    model = ir.load(target)
    tags.restore_value_names(folded.graph, model)
    tags.adopt(model)
    return model


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(1)
    module = Net().eval()
    inputs = (torch.randn(2, 3, 9, 11),)
    randomise(module, inputs, seed=2)
    return module, inputs


def test_nodes_are_named_after_their_modules(net):
    names = [node.name for node in folded_model(*net).graph]
    assert len(set(names)) == len(names)
    assert "stem/Conv" in names
    assert "layer1.0.conv/Conv" in names
    assert "layer1.0.attention/Mul_2" in names
    assert "layer1.1.attention/Sigmoid" in names
    assert "layer1.1/Add" in names
    # The root's own work, and a module that is called twice.
    assert "/Sub" in names
    assert {"act/Relu", "act/Relu_1"} <= set(names)


def test_module_of():
    assert module_of("layer1.0.attention/Mul_2") == "layer1.0.attention"
    assert module_of("/Sub") == ""
    assert module_of("stray") == ""


def test_names_survive_the_simplifier(net, tmp_path):
    folded = folded_model(*net)
    model = simplified_model(folded, tmp_path)
    names = {node.name for node in model.graph}
    assert names < {node.name for node in folded.graph}
    assert not any("BatchNorm" in name for name in names), "folded into the convolutions"


@pytest.mark.parametrize("dynamic_batch", [False, True])
def test_a_value_named_after_a_module_is_its_output(net, tmp_path, dynamic_batch):
    module, inputs = net
    model = simplified_model(folded_model(module, inputs, dynamic_batch=dynamic_batch), tmp_path)
    path = tmp_path / "named.onnx"
    save(model, path)
    wanted = _module_outputs(module, inputs, list(_producers(path)))
    assert {"layer1.0.bn", "layer1.0.attention", "layer1.1.act"} <= set(wanted)
    # The convolution's own value is gone: what its node gives now is the norm's.
    assert "layer1.0.conv" not in wanted
    values, _ = _run_with_outputs(path, list(wanted), [value.numpy() for value in inputs])
    for name, reference in wanted.items():
        assert measure(name, reference, values[name], tolerance_of("fp32")).passed, name


def test_strangers_are_adopted_by_what_uses_them():
    x = ir.Input("x", shape=ir.Shape([2]), type=ir.TensorType(ir.DataType.FLOAT))
    one = ir.node("Neg", [x], name="")
    two = ir.node("Relu", [one.outputs[0]], name="layer1.act/Relu")
    three = ir.node("Abs", [two.outputs[0]], name="layer1.act/Relu")
    graph = ir.Graph([x], [three.outputs[0]], nodes=[one, two, three], opset_imports={"": 18})
    tags.adopt(ir.Model(graph, ir_version=8))
    assert [node.name for node in graph] == ["layer1.act/Neg", "layer1.act/Relu", "layer1.act/Abs"]


def test_a_changed_node_does_not_rename_its_input():
    # Two transposes that were merged into one: the input is not the first one's output.
    def graph(*, merged):
        x = ir.Input("x", shape=ir.Shape([2, 3, 4]), type=ir.TensorType(ir.DataType.FLOAT))
        first = ir.node("Relu", [x], name="a/Relu")
        first.outputs[0].name = "a"
        second = ir.node("Transpose", [first.outputs[0]], {"perm": [1, 2, 0]}, name="b/Transpose")
        second.outputs[0].name = "b"
        source = first.outputs[0] if merged else second.outputs[0]
        perm = [2, 0, 1] if merged else [1, 2, 0]
        third = ir.node("Transpose", [source], {"perm": perm}, name="c/Transpose")
        third.outputs[0].name = "c"
        nodes = [first, third] if merged else [first, second, third]
        return ir.Graph([x], [third.outputs[0]], nodes=nodes, opset_imports={"": 18})

    after = ir.Model(graph(merged=True), ir_version=8)
    tags.restore_value_names(graph(merged=False), after)
    assert [node.outputs[0].name for node in after.graph] == ["a", "c"]
