"""Views and cuts: exact, at static and open sizes."""

import numpy as np
import pytest
from onnx import helper, parser

from edgeattn.base.errors import InputError


def _x(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    "cut",
    [{"start": 1}, {"start": -2}, {"end": -1}, {"start": 1, "end": 3}, {"start": 3, "end": 1},
     {"start": -9, "end": 9}],
)  # fmt: skip
@pytest.mark.parametrize("opset", [13, 14])
def test_shape_cut(cut, opset, rng, build, prove):
    x = _x(rng, 2, 3, 4, 5)
    model = build("Shape", {"x": x}, cut, opset=15, open_batch=True)
    want = [np.array(x.shape[cut.get("start", 0) : cut.get("end", 4)], dtype=np.int64)]
    assert prove(model, opset, {"x": x}, want=want) == ["Shape", "Slice"]


def test_whole_shape_stays(rng, build, prove):
    x = _x(rng, 2, 3)
    assert prove(build("Shape", {"x": x}, {"start": 0}, opset=18), 13, {"x": x}) == ["Shape"]


@pytest.mark.parametrize(("size", "parts"), [(6, 3), (7, 3), (7, 4)])
@pytest.mark.parametrize("opset", [13, 17])
def test_split_into_parts(size, parts, opset, rng, build, prove):
    x = _x(rng, 2, size)
    attributes = {"axis": 1, "num_outputs": parts}
    model = build("Split", {"x": x}, attributes, opset=18, outputs=parts, open_batch=True)
    assert prove(model, opset, {"x": x}) == ["Split"]


@pytest.mark.parametrize(("size", "parts"), [(6, 3), (7, 3)])
def test_split_of_an_open_dimension(size, parts, rng, build, prove):
    x = _x(rng, size, 2)
    attributes = {"num_outputs": parts}
    model = build("Split", {"x": x}, attributes, opset=18, outputs=parts, open_batch=True)
    for blind in model.graph.output:
        blind.type.tensor_type.shape.dim[0].dim_param = f"{blind.name}_rows"
    assert "Concat" in prove(model, 13, {"x": x})


def test_equal_split_gets_its_count(rng, build, prove):
    x = _x(rng, 6, 2)
    model = build("Split", {"x": x}, opset=13, outputs=3)
    assert prove(model, 18, {"x": x}) == ["Split"]


def test_old_split_sizes(rng, build, prove):
    x = _x(rng, 6, 2)
    model = build("Split", {"x": x}, {"split": [1, 5]}, opset=11, outputs=2)
    assert prove(model, 13, {"x": x}) == ["Split"]
    assert prove(model, 20, {"x": x}) == ["Split"]


@pytest.mark.parametrize(("op", "shape"), [("Squeeze", (1, 3, 1)), ("Unsqueeze", (2, 3))])
def test_old_axes(op, shape, rng, build, prove):
    x = _x(rng, *shape)
    model = build(op, {"x": x}, {"axes": [0, 2]}, opset=11)
    for opset in (13, 21):
        assert prove(model, opset, {"x": x}) == [op]


def test_old_squeeze_of_all_ones(rng, build, prove):
    x = _x(rng, 1, 3, 1)
    assert prove(build("Squeeze", {"x": x}, opset=11), 13, {"x": x}) == ["Squeeze"]


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("opset", [13, 17])
def test_pad_of_some_axes(mode, opset, rng, build, prove):
    x = _x(rng, 2, 3, 4, 5)
    constants = {"p": np.array([1, 2, 3, 1]), "v": np.array(0.5, np.float32)}
    constants["a"] = np.array([-1, 2])
    model = build("Pad", {"x": x}, {"mode": mode}, constants=constants, opset=19, open_batch=True)
    assert prove(model, opset, {"x": x}) == ["Pad"]


def test_pads_of_run_time(rng, build, prove):
    feeds = {"x": _x(rng, 2, 3, 4), "p": np.array([1, 2])}
    constants = {"_v": None, "a": np.array([1])}
    model = build("Pad", feeds, constants=constants, opset=18)
    assert prove(model, 13, feeds) == ["ScatterElements", "Pad"]


def test_pad_without_axes(rng, build, prove):
    x = _x(rng, 2, 3)
    model = build("Pad", {"x": x}, constants={"p": np.array([1, 0, 0, 2])}, opset=18)
    assert prove(model, 13, {"x": x}) == ["Pad"]


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [None, -1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_trilu(upper, k, dtype, rng, build, prove):
    x = rng.integers(1, 99, (2, 4, 5)).astype(dtype)
    constants = {} if k is None else {"k": np.array(k)}
    model = build(
        "Trilu", {"x": x}, {"upper": upper}, constants=constants, opset=14, open_batch=True
    )
    assert prove(model, 13, {"x": x}) == ["Where"]


def test_zero_allowed_in_a_shape_without_one(rng, build, prove, legal):
    x = _x(rng, 2, 6)
    attributes = {"allowzero": 1}
    model = build("Reshape", {"x": x}, attributes, constants={"s": np.array([3, 4])}, opset=14)
    assert prove(model, 13, {"x": x}) == ["Reshape"]
    empty = build(
        "Reshape", {"x": _x(rng, 0, 6)}, attributes, constants={"s": np.array([0, 3])}, opset=14
    )
    with pytest.raises(InputError, match="lowest opset that works is 14"):
        legal(empty, 13)


def test_zero_allowed_in_a_shape_that_is_computed(rng, prove, legal):
    """`x.view(x.shape[0], 3, -1)` at an open batch."""
    text = """<ir_version: 8, opset_import: ["" : 14]>
        g (float[batch, 6] x) => (float[batch, 3, N] y) <int64[2] rest = {3, 2}> {
            batch = Shape (x)
            zero = Constant <value_ints = [0]> ()
            one = Constant <value_ints = [1]> ()
            first = Slice (batch, zero, one)
            shape = Concat <axis = 0> (first, rest)
            y = Reshape <allowzero = 1> (x, shape)
        }"""
    model = parser.parse_model(text)
    for place, node in enumerate(model.graph.node):
        node.name = f"m/{place}"
    for size in (1, 4):
        x = _x(rng, size, 6)
        assert prove(model, 13, {"x": x}, modules=False)[-1] == "Reshape"
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model.graph.initializer.clear()
    model.graph.input.append(helper.make_tensor_value_info("rest", 7, ["k"]))
    with pytest.raises(InputError, match="`allowzero` exists from opset 14"):
        legal(model, 13)


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("is_open", [False, True])
def test_a_triangle_of_run_time(upper, is_open, rng, build, prove):
    feeds = {"x": _x(rng, 2, 5, 4), "k": np.array(-1)}
    model = build("Trilu", feeds, {"upper": upper}, opset=14)
    for value in (model.graph.input[0], model.graph.output[0]) if is_open else ():
        for place, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_param = f"size_{place}"
    want = [(np.triu if upper else np.tril)(feeds["x"], -1)]
    assert prove(model, 13, feeds, want=want)[-1] == "Where"


def test_pads_of_axes_of_run_time(rng, build, prove):
    feeds = {"x": _x(rng, 2, 3, 4), "p": np.array([1, 0, 2, 3])}
    feeds |= {"_v": np.zeros(0), "a": np.array([-1, 0])}
    model = build("Pad", feeds, opset=18)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y0", 1, ["a", 3, "b"]))
    feeds = {name: array for name, array in feeds.items() if not name.startswith("_")}
    want = [np.pad(feeds["x"], [(0, 3), (0, 0), (1, 2)])]
    operators = prove(model, 13, feeds, want=want)
    assert operators == ["Mod", "Add", "Concat", "ScatterElements", "Pad"]
