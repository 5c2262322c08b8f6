"""onnxsim runs beside us: whatever becomes of it, we go on and can say why."""

from __future__ import annotations

import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from edgeattn.graph.simplify import Simplifier
from edgeattn.lowering.target import TARGETS


@pytest.fixture
def simplifier():
    with Simplifier() as one:
        yield one


@pytest.fixture
def model(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    nodes = [
        helper.make_node("Identity", ["x"], ["a"], name="m/Identity"),
        helper.make_node("Relu", ["a"], ["y"], name="m/Relu"),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y])
    path = tmp_path / "in.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def test_simplifies(simplifier, model, tmp_path):
    target = tmp_path / "out.onnx"
    assert simplifier.begin(model, target, timeout_s=120).wait() == ""
    assert [node.op_type for node in onnx.load(target).graph.node] == ["Relu"]


@pytest.mark.parametrize("target", TARGETS)
def test_products_of_rows_and_their_biases_stay_for_tensorrt(simplifier, target, tmp_path):
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[N, 5, 4] x) => (float[N, 5, 3] y) {
        w = Constant <value = float[4, 3] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}> ()
        b = Constant <value = float[3] {1, 2, 3}> ()
        p = MatMul (x, w)
        y = Add (p, b)
    }
    """
    path, made = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    without = TARGETS[target].simplified_without
    assert simplifier.begin(path, made, timeout_s=120, without=without).wait() == ""
    operators = {node.op_type for node in onnx.load(made).graph.node}
    assert ("Gemm" in operators) == (target not in {"tensorrt", "portable", "dla"})


def test_a_hang_is_given_up_and_the_next_goes_on(simplifier, model, tmp_path):
    first = simplifier.begin(model, tmp_path / "first.onnx", timeout_s=0.0)
    second = simplifier.begin(model, tmp_path / "second.onnx", timeout_s=120)
    assert first.wait() == "onnxsim did not end within 0 s"
    assert (second.wait(), second.target.is_file()) == ("", True)


def test_a_crash_is_told(model, tmp_path):
    before = set(psutil.Process().children())  # those of other tests, as sshd
    with Simplifier() as simplifier:
        run = simplifier.begin(model, tmp_path / "out.onnx", timeout_s=120)
        (child,) = set(psutil.Process().children()) - before
        child.kill()
        assert run.wait() == "onnxsim crashed (SIGKILL)"


def test_a_refusal_is_told(simplifier, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no ONNX file")
    reason = simplifier.begin(broken, tmp_path / "out.onnx", timeout_s=120).wait()
    assert reason.startswith("onnxsim failed: ")


def test_no_process_is_left_behind(model, tmp_path):
    before = psutil.Process().children()
    with Simplifier() as simplifier:
        simplifier.begin(model, tmp_path / "out.onnx", timeout_s=120)
    assert psutil.Process().children() == before
