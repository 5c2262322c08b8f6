"""What cannot be written at an opset is refused with the node, its module and the lowest opset."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import defs, helper

from edgeattn.base.errors import InputError
from edgeattn.graph.schemas import signature
from edgeattn.legalise import changes, legalise

F = np.float32
X = np.ones((1, 2, 4, 4), F)
GRID = np.zeros((1, 3, 3, 2), F)
INDEX = np.zeros((1, 2, 4, 4), np.int64)

# op, inputs, attributes, constants, source opset, target, lowest, a word of the reason
CASES = {
    "grid sample": ("GridSample", {"x": X, "g": GRID}, {}, {}, 20, 13, 16, "exists from opset 16"),
    "volumes": (
        "GridSample",
        {"x": np.ones((1, 2, 3, 3, 3), F), "g": np.zeros((1, 2, 2, 2, 3), F)},
        {}, {}, 20, 17, 20, "5 dimensions",
    ),
    "scatter add": (
        "ScatterElements", {"x": X, "i": INDEX, "u": X}, {"reduction": "add"}, {},
        18, 13, 16, "`reduction` exists",
    ),
    "scatter max": (
        "ScatterElements", {"x": X, "i": INDEX, "u": X}, {"reduction": "max"}, {},
        18, 17, 18, '`reduction="max"` exists',
    ),
    "antialias": (
        "Resize", {"x": X}, {"mode": "linear", "antialias": 1},
        {"_r": None, "s": np.array([1, 1, 2, 2], F)}, 18, 17, 18, "`antialias`",
    ),
    "aspect ratio": (
        "Resize", {"x": X},
        {"mode": "linear", "keep_aspect_ratio_policy": "not_larger", "axes": [2, 3]},
        {"_r": None, "_s": None, "z": np.array([8, 9])}, 18, 17, 18, "`keep_aspect_ratio_policy`",
    ),
    "half pixel symmetric": (
        "Resize", {"x": X}, {"coordinate_transformation_mode": "half_pixel_symmetric"},
        {"_r": None, "s": np.array([1, 1, 2, 2], F)}, 19, 17, 19, "half_pixel_symmetric",
    ),
    "wrap": (
        "Pad", {"x": X}, {"mode": "wrap"}, {"p": np.array([0, 0, 1, 1] * 2)},
        19, 13, 19, '`mode="wrap"`',
    ),
    "dilated pooling": (
        "AveragePool", {"x": X}, {"kernel_shape": [2, 2], "dilations": [2, 2]}, {},
        19, 18, 19, "`dilations`",
    ),
    "col2im": (
        "Col2Im", {"x": np.ones((1, 4, 4), F)}, {},
        {"a": np.array([4, 4]), "b": np.array([2, 2])}, 18, 13, 18, "exists from opset 18",
    ),
    "bits": (
        "BitwiseAnd", {"a": INDEX, "b": INDEX}, {}, {}, 18, 17, 18, "exists from opset 18",
    ),
    "blocks": (
        "DequantizeLinear", {"x": np.ones((4, 4), np.int8)}, {"block_size": 2, "axis": 0},
        {"s": np.ones((2, 4), F)}, 21, 17, 21, "`block_size`",
    ),
    "sixteen bits": (
        "DequantizeLinear", {"x": np.ones((4, 4), np.int16)}, {},
        {"s": np.array(1, F)}, 21, 17, 21, "may not be tensor(int16)",
    ),
    "bytes added": (
        "Add", {"a": np.ones(3, np.int8), "b": np.ones(3, np.int8)}, {}, {},
        18, 13, 14, "may not be tensor(int8)",
    ),
    "fourier": ("DFT", {"x": np.ones((1, 4, 1), F)}, {}, {}, 20, 16, 17, "exists from opset 17"),
    "roi": (
        "RoiAlign", {"x": X, "r": np.ones((1, 4), F), "i": np.zeros(1, np.int64)}, {}, {},
        16, 13, 16, "half_pixel",
    ),
    "batch-first recurrence": (
        "RNN", {"x": np.ones((1, 2, 3), F)}, {"layout": 1, "hidden_size": 2},
        {"w": np.ones((1, 2, 3), F), "r": np.ones((1, 2, 2), F)}, 14, 13, 14, "`layout`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused(case, build, legal):
    op, inputs, attributes, constants, source, target, lowest, reason = CASES[case]
    model = build(op, inputs, attributes, constants=constants, opset=source)
    with pytest.raises(InputError) as caught:
        legal(model, target)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert f"Opset {target} cannot hold this model" in message
    assert f"layer1.0.attention/{op}_1 ({op}, module layer1.0.attention)" in message
    assert reason in message
    assert f"The lowest opset that works is {lowest}." in message
    legal(model, lowest)  # and it does work


def test_lowest_opset_is_that_of_the_whole_model(build):
    first = build("GridSample", {"x": X, "g": GRID}, opset=19)
    second = build(
        "Pad", {"p": X}, {"mode": "wrap"}, constants={"n": np.array([0, 0, 1, 1] * 2)}, opset=19
    )
    for info in (*second.graph.output, *second.graph.node):
        info.name = f"stem/{info.name}" if isinstance(info, onnx.NodeProto) else "z"
    second.graph.node[0].output[0] = "z"
    for field in ("node", "input", "output", "initializer"):
        getattr(first.graph, field).extend(getattr(second.graph, field))
    with pytest.raises(InputError, match="lowest opset that works is 19") as caught:
        legalise(ir.from_proto(first), 13)
    assert "GridSample_1" in str(caught.value)
    assert "Pad_1" in str(caught.value)


def test_only_the_first_nodes_are_named():
    x = helper.make_tensor_value_info("x0", 7, [3])
    nodes = [
        helper.make_node("BitwiseXor", [f"x{k}", "x0"], [f"x{k + 1}"], name=f"b/X_{k}")
        for k in range(8)
    ]
    y = helper.make_tensor_value_info("x8", 7, [3])
    graph = helper.make_graph(nodes, "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(InputError, match="and 3 more"):
        legalise(ir.from_proto(model), 13)


@pytest.mark.parametrize(("source", "target"), [(18, 12), (18, 99)])
def test_opsets_out_of_range(source, target, build):
    model = build("Relu", {"x": X}, opset=source)
    with pytest.raises(InputError, match=r"[Oo]pset"):
        legalise(ir.from_proto(model), target)


@pytest.mark.parametrize(
    ("op", "attributes", "constants"),
    [
        ("Resize", {"coordinate_transformation_mode": "tf_half_pixel_for_nn"},
         {"r": np.zeros(0, F), "s": np.array([1, 1, 2, 2], F)}),
    ],
)  # fmt: skip
def test_what_was_withdrawn_is_refused_going_up(op, attributes, constants, build, legal):
    model = build(op, {"x": X}, attributes, constants=constants, opset=11)
    with pytest.raises(InputError, match=r"withdrawn in opset 13(?s:.)*at opset 13 or higher"):
        legal(model, 17)


def test_erf_of_integers_is_refused_going_up(build, legal):
    model = build("Erf", {"x": np.ones(3, np.int32)}, opset=11)
    with pytest.raises(InputError, match=r"may not be tensor\(int32\)"):
        legal(model, 13)


def test_an_illegal_model_never_leaves(build):
    model = build("Relu", {"x": X}, opset=18)
    model.graph.node[0].attribute.append(helper.make_attribute("slope", 0.1))
    for opset in (17, 18):
        with pytest.raises(InputError, match="`slope`"):
            legalise(ir.from_proto(model), opset)


# Operators that are refused below the opset that brought them: none is of a convolutional network.
NEW_AND_REFUSED = {
    "Bernoulli", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Col2Im", "DFT", "DeformConv",
    "GridSample", "ImageDecoder", "MelWeightMatrix", "Optional", "OptionalGetElement",
    "OptionalHasElement", "RegexFullMatch", "STFT", "SequenceMap", "StringConcat", "StringSplit",
}  # fmt: skip
# Changes of what may be absent or of the number of outputs that the schemas check by themselves.
ARITY_ONLY = {("OptionalHasElement", 18)}


def _history():
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            yield schema.name, schema.since_version


CHANGES = sorted({(op, v) for op, v in _history() if 13 < v <= 21})


@pytest.mark.parametrize(("op", "opset"), CHANGES)
def test_every_change_from_13_to_21_is_decided(op, opset):
    """Nothing passes by accident: a change is adapted, neutral, of types only, or refused."""
    old, new = signature(op, opset - 1), signature(op, opset)
    if (op, opset) in changes.DOWN or (op, opset) in ARITY_ONLY:
        return
    if old is None or old.deprecated:
        assert op in NEW_AND_REFUSED
        return
    fresh = set(new.attributes) - set(old.attributes)
    assert fresh == set(changes.NEUTRAL.get((op, opset), ()))
    assert set(old.attributes) <= set(new.attributes)
    assert (old.min_input, old.max_input) == (new.min_input, new.max_input)
    assert (old.min_output, old.max_output) == (new.min_output, new.max_output)
    if (op, opset) not in changes.NEW_VALUES:
        assert _defaults(op, opset - 1, old.attributes) == _defaults(op, opset, old.attributes)


def _defaults(op, opset, names):
    attributes = defs.get_schema(op, opset, "").attributes
    return {name: attributes[name].default_value.SerializeToString() for name in names}


@pytest.mark.parametrize(("op", "opset"), sorted({(op, v) for op, v in _history() if 7 < v <= 21}))
def test_every_change_up_from_7_to_21_is_decided(op, opset):
    if signature(op, opset - 1) is not None:
        assert (op, opset) in changes.UP or changes.is_widening(op, opset)


@pytest.mark.parametrize(("op", "opset"), sorted({*changes.DOWN, *changes.UP}))
def test_the_tables_name_real_changes(op, opset):
    assert opset > defs.onnx_opset_version() or (op, opset) in set(_history())


def test_what_a_later_onnx_changed_is_refused(monkeypatch, build, legal):
    monkeypatch.setattr(changes, "REVIEWED", 15)
    model = build("LeakyRelu", {"x": X}, opset=18)
    with pytest.raises(InputError, match="what opset 16 changed in LeakyRelu is not known here"):
        legal(model, 13)
