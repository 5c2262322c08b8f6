"""Half precision: what is cast, what is not, and that the stock conversion's traps are closed."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgeattn.base.errors import InputError
from edgeattn.graph.reading import read
from edgeattn.precision.half import prepare, to_half
from edgeattn.precision.keep import nodes_to_keep
from export_tests.precision.nets import write
from export_tests.precision.test_keep import NOTHING, SIMAM

SUMMED = """
at/mean: ReduceMean(x hw; keepdims=1) -> m
at/sub: Sub(x m) -> d
at/square: Pow(d two) -> q
at/sum: ReduceSum(q hw; keepdims=1) -> s
at/n: Div(s count) -> v
at/add: Add(v lam) -> a
at/mul: Mul(a four) -> b
at/div: Div(q b) -> e
at/shift: Add(e half) -> f
at/gate: Sigmoid(f) -> g
at/mul_1: Mul(x g) -> y
"""
OF_SUMMED = {
    "two": np.array(2, np.float32),
    "count": np.array(112 * 112 - 1, np.float32),
    "lam": np.array(1e-4, np.float32),
    "four": np.array(4, np.float32),
}


def cast(path, kept=None, **options):
    model = read(path).model
    prepare(model)
    chosen = {one.node for one in nodes_to_keep(model, {})} if kept is None else set(kept)
    return to_half(model, chosen, **options)


def checked(halved):
    proto = ir.to_proto(halved.model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def run(model, x):
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, settings)
    kind = {"tensor(float16)": np.float16}.get(session.get_inputs()[0].type, np.float32)
    return session.run(None, {"x": x.astype(kind)})[0].astype(np.float64)


def drawn(shape=(1, 4, 8, 8), scale=1.0, seed=0):
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def test_simam_at_112_survives_where_the_stock_conversion_gives_infinity(tmp_path):
    """NumPy stores each value in half, and sums in it, as ONNX Runtime on a CPU does not."""
    path = write(tmp_path / "m.onnx", SUMMED, shape=(1, 2, 112, 112), weights=OF_SUMMED)
    x = drawn((1, 2, 112, 112), scale=150)  # variances of 2·10⁴, and sums of them of 3·10⁸
    (want,) = ReferenceEvaluator(onnx.load(path)).run(None, {"x": x})
    converted = ir.from_proto(convert_float_to_float16(onnx.load(path), keep_io_types=True))
    converted.graph.sort()
    stock = ir.to_proto(converted)
    with np.errstate(all="ignore"):
        (bad,) = ReferenceEvaluator(stock).run(None, {"x": x})
    assert not np.isfinite(bad).all()
    (have,) = ReferenceEvaluator(checked(cast(path))).run(None, {"x": x})
    assert np.abs(have - want).max() < 2e-3 * np.abs(want).max()


@pytest.mark.parametrize("net", [SIMAM, *NOTHING.values()])
@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("half_io", [False, True])
def test_near_to_float32(tmp_path, net, opset, half_io):
    path = write(tmp_path / "m.onnx", net, opset=opset)
    halved = cast(path, half_io=half_io)
    proto = checked(halved)
    kind = TensorProto.FLOAT16 if half_io else TensorProto.FLOAT
    for value in (*proto.graph.input, *proto.graph.output):
        assert value.type.tensor_type.elem_type == kind
    assert [value.name for value in proto.graph.output] == ["y"]
    want, have = run(onnx.load(path), drawn()), run(proto, drawn())
    assert np.abs(have - want).max() < 0.01 * np.abs(want).max()
    assert halved.lost_weights == 0


def test_names_stay_and_casts_bear_their_modules(tmp_path):
    path = write(tmp_path / "m.onnx", SIMAM)
    proto = checked(cast(path))
    before = onnx.load(path)
    nodes = {node.name: node for node in proto.graph.node}
    added = [
        node for node in proto.graph.node if node.name not in {n.name for n in before.graph.node}
    ]
    assert {node.name for node in before.graph.node} <= set(nodes)
    assert {node.op_type for node in added} == {"Cast"}
    assert sorted(node.name for node in added) == ["Cast", "Cast_1", "at/Cast", "at/Cast_1"]
    assert nodes["at/mul"].output[0] == "o"
    halves = {v.name for v in proto.graph.value_info
              if v.type.tensor_type.elem_type == TensorProto.FLOAT16}  # fmt: skip
    assert {"c", "g", "o"} <= halves


def test_one_cast_serves_all_that_read_it(tmp_path):
    halved = cast(write(tmp_path / "m.onnx", SIMAM))
    assert halved.casts == 4  # of the input, of the map, of the gate, of the output
    assert halved.half == 3


def test_a_shared_constant_is_not_rounded_for_what_stays(tmp_path):
    weights = {"k": np.array(1.0001, np.float32)}
    path = write(tmp_path / "m.onnx", "a: Add(x k) -> a\nb: Mul(a k) -> y", weights=weights)
    proto = checked(cast(path, kept={"a"}))
    types = {one.data_type: float(numpy_helper.to_array(one)) for one in proto.graph.initializer}
    assert types[TensorProto.FLOAT] == pytest.approx(1.0001, abs=1e-7)
    assert types[TensorProto.FLOAT16] == 1.0


def test_a_kept_output_is_not_cast_twice(tmp_path):
    proto = checked(cast(write(tmp_path / "m.onnx", "a: Relu(x) -> a\nb: Exp(a) -> y"), kept={"b"}))
    assert [node.op_type for node in proto.graph.node] == ["Cast", "Relu", "Cast", "Exp"]
    assert proto.graph.node[-1].output[0] == "y"


def test_kept_from_end_to_end_is_float32_again(tmp_path):
    path = write(tmp_path / "m.onnx", "a: Abs(x) -> a\nb: Sqrt(a) -> y")
    proto = checked(cast(path, kept={"a", "b"}))
    assert [node.op_type for node in proto.graph.node] == ["Abs", "Sqrt"]
    np.testing.assert_array_equal(run(proto, drawn()), run(onnx.load(path), drawn()))


def test_resize_keeps_its_scales(tmp_path):
    path = write(tmp_path / "m.onnx", "r: Resize(x - twice) -> r\na: Add(r twice_) -> y",
                 weights={"twice_": np.array([2.0], np.float32)})  # fmt: skip
    assert run(checked(cast(path)), drawn()).shape == (1, 4, 16, 16)


def test_constant_nodes_and_inputs_of_weights(tmp_path):
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(
        np.array(3e-8, np.float32)), name="k")  # fmt: skip
    nodes = [constant, helper.make_node("Add", ["x", "k"], ["a"], name="a"),
             helper.make_node("Mul", ["a", "w"], ["y"], name="b")]  # fmt: skip
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", 1, [2]), value("w", 1, [1])], [value("y", 1, [2])],
        [numpy_helper.from_array(np.array([2.0], np.float32), "w")],
    )  # fmt: skip
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    proto = checked(cast(path))
    assert [value.name for value in proto.graph.input] == ["x"]
    assert 3e-8 in [pytest.approx(float(numpy_helper.to_array(one).reshape(-1)[0]))
                    for one in proto.graph.initializer]  # fmt: skip


def test_weights_that_are_lost_are_counted(tmp_path):
    weights = {"k": np.array([1.0, 1e-9, 0.0, -2e-9], np.float32).reshape(1, 4, 1, 1)}
    halved = cast(write(tmp_path / "m.onnx", "a: Mul(x k) -> y", weights=weights))
    assert halved.lost_weights == 2


@given(st.sets(st.sampled_from(["c", "at/mean", "at/sub", "at/square", "at/sum", "at/add", "at/div",
                                "at/shift", "at/gate", "at/mul", "last"])))  # fmt: skip
def test_any_choice_gives_a_model_that_is_well_typed(tmp_path_factory, kept):
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    if not path.exists():
        write(path, SIMAM)
    proto = checked(cast(path, kept=kept))
    want, have = run(onnx.load(path), drawn()), run(proto, drawn())
    assert np.abs(have - want).max() < 0.02 * np.abs(want).max()
    kinds = {v.name: v.type.tensor_type.elem_type for v in proto.graph.value_info}
    kinds |= {v.name: v.type.tensor_type.elem_type for v in proto.graph.output}
    for node in proto.graph.node:
        if node.name in kept:
            assert kinds[node.output[0]] == TensorProto.FLOAT


def test_the_model_that_is_given_stays(tmp_path):
    model = read(write(tmp_path / "m.onnx", SIMAM)).model
    prepare(model)
    before = ir.to_proto(model).SerializeToString()
    to_half(model, {"at/add"})
    assert ir.to_proto(model).SerializeToString() == before


def _half(path):
    onnx.save(convert_float_to_float16(onnx.load(write(path, SIMAM))), path)


def _branch(path):
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["b"])], "b", [],
                             [helper.make_tensor_value_info("b", 1, None)])  # fmt: skip
    nodes = [helper.make_node("If", ["k"], ["y"], name="if", then_branch=body, else_branch=body)]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", 1, [2]), value("k", 9, [])],
                              [value("y", 1, None)])  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def _integers(path):
    value = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"], name="a")], "g",
                              [value("x", 7, [2])], [value("y", 7, [2])])  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def _quantised(path):
    weights = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    write(path, "q: QuantizeLinear(x s z) -> q\nd: DequantizeLinear(q s z) -> y", weights=weights)


@pytest.mark.parametrize(
    ("make", "said"),
    [(_half, "half-precision values already"), (_branch, "The body of .* is not cast"),
     (_integers, "no float32 values"), (_quantised, "quantised already")],
)  # fmt: skip
def test_what_cannot_be_cast_is_refused(tmp_path, make, said):
    path = tmp_path / "m.onnx"
    make(path)
    with pytest.raises(InputError, match=said):
        cast(path)
