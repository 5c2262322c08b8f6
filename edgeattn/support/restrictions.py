"""What TensorRT's parser asks of the nodes of operators that it has.

Each rule says what keeps a parser from a node, or what makes it compute something else than ONNX
says, which is the same for who wants the model to run. Rules come from the checks in the parser's
source at several releases, and from what the parsers of TensorRT-RTX say of ONNX's conformance
cases, which `benchmarks/check_parser.py` compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import onnx_ir as ir

from edgeattn.graph.names import STANDARD_DOMAINS
from edgeattn.graph.nodes import (
    given,
    integer,
    ints,
    is_static,
    is_used,
    length_of,
    number,
    static,
    static_ints,
    static_sizes,
    text,
)
from edgeattn.support.answers import Answer

Release: TypeAlias = tuple[int, ...]

# The sources, by what was read.
_OLD: Final = "builtin_op_importers.cpp of onnx-tensorrt 8.4"
_OLD_HELPERS: Final = "onnx2trt_utils.cpp of onnx-tensorrt 8.4"
_MIDDLE: Final = "builtin_op_importers.cpp of onnx-tensorrt 8.5"
_NINE: Final = "builtin_op_importers.cpp of onnx-tensorrt 9.2"
_CHECKERS: Final = "onnxOpCheckers.cpp of onnx-tensorrt 10.6 and 10.15"
_IMPORTERS: Final = "onnxOpImporters.cpp of onnx-tensorrt 10.6"
_TABLE: Final = "docs/operators.md of onnx-tensorrt"
_CHANGES: Final = "docs/Changelog.md of onnx-tensorrt"
_RTX: Final = "the parser of TensorRT-RTX 1.7"
_SYMMETRIC: Final = "Quantise again, symmetrically and as int8."
_FOLD: Final = "Fold constants: edgeattn optimize IN.onnx -o OUT.onnx"

# So many places and more are too many for a window of one or two dimensions.
_WINDOW: Final = 100_000
# How far a value is followed back to constants.
_FAR: Final = 32
_RANDOM: Final = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli"}
)
_FLOATS: Final = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
)
_HALVES: Final = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
_INTS: Final = frozenset({ir.DataType.INT32, ir.DataType.INT64})
_FORMATS: Final = ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric")
_REDUCTIONS: Final = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A node, and who is asked about it.

    Attributes:
        node: A node of an operator that the parser has.
        release: The version of TensorRT.
        opset: The opset of the operator.
        rtx: Whether it is TensorRT-RTX.
    """

    node: ir.Node
    release: Release
    opset: int
    rtx: bool


_Rule: TypeAlias = Callable[[Asked], Iterator[Answer]]
_RULES: Final[dict[str, list[_Rule]]] = {}


def restrictions(asked: Asked) -> Iterator[Answer]:
    """Say what keeps a parser from taking a node, and what is not known of that."""
    for rule in _RULES.get(asked.node.op_type, ()):
        yield from rule(asked)


def _rule(*operators: str) -> Callable[[_Rule], _Rule]:
    """Register a rule for operators."""

    def registered(rule: _Rule) -> _Rule:
        for operator in operators:
            _RULES.setdefault(operator, []).append(rule)
        return rule

    return registered


def _no(reason: str, source: str, mend: str = "") -> Answer:
    return Answer(verdict="no", reason=reason, source=source, mend=mend)


def _unknown(reason: str, source: str = "", mend: str = "") -> Answer:
    return Answer(verdict="unknown", reason=reason, source=source, mend=mend)


def _constant(
    asked: Asked, index: int, what: str, source: str, *, folded: Release = (99,)
) -> Iterator[Answer]:
    """Ask that an input is a constant, if it is there.

    Args:
        asked: The node.
        index: The input.
        what: What it is.
        source: Where that is said.
        folded: Since when what is computed from constants will do as well.
    """
    value = given(asked.node, index)
    if value is None or is_static(value):
        return
    folds = _folds(value)
    if folds is False:
        yield _no(f"its {what} is no constant", source, _FOLD)
    elif folds is None or asked.release < folded:
        yield _unknown(f"its {what} is computed, even if from constants", source, _FOLD)


def _folds(value: ir.Value, far: int = _FAR) -> bool | None:
    """Return whether a value follows from constants and static shapes; None if that is far."""
    if is_static(value):
        return True
    node = value.producer()
    if node is None or node.op_type in _RANDOM or node.domain not in STANDARD_DOMAINS:
        return False
    if node.op_type in {"Shape", "Size"} and None not in (_sizes(node) or [None]):
        return True
    if not far:
        return None
    found = [_folds(one, far - 1) for one in node.inputs if one is not None]
    return False if False in found else None if None in found else True


def _sizes(node: ir.Node, index: int = 0) -> list[int | None] | None:
    """Return the sizes of a node's input, None where they are open."""
    value = given(node, index)
    return None if value is None else static_sizes(value)


def _closed(
    asked: Asked, source: str, mend: str = "Give the model's inputs fixed shapes."
) -> Iterator[Answer]:
    """Ask that the first input has no open size; what is computed may be known better there."""
    if None in (_sizes(asked.node) or []):
        say = _no if _is_input(given(asked.node, 0)) else _unknown
        yield say("its shape is open", source, mend)


def _rank(asked: Asked, index: int = 0) -> int | None:
    value = given(asked.node, index)
    return None if value is None or value.shape is None else len(value.shape)


def _dtype(asked: Asked, index: int = 0) -> ir.DataType | None:
    value = given(asked.node, index)
    return None if value is None else value.dtype


def _is_input(value: ir.Value | None) -> bool:
    """Return whether a value is given by the caller."""
    return value is not None and value.is_graph_input()


@_rule("BatchNormalization", "LayerNormalization", "MaxPool", "Attention")
def _one_output(asked: Asked) -> Iterator[Answer]:
    more = [one for one in asked.node.outputs[1:] if one.name and (is_used(one) or asked.rtx)]
    if more:
        yield _no("only its first output is had", _CHECKERS)


@_rule("BatchNormalization")
def _inference(asked: Asked) -> Iterator[Answer]:
    if integer(asked.node, "training_mode", 0):
        yield _no("it is in training mode", _CHECKERS, "Export the model in eval mode.")


@_rule("Dropout")
def _dropout(asked: Asked) -> Iterator[Answer]:
    training = given(asked.node, 2)
    value = static(training)
    if training is not None and value is None:
        yield _no("its training mode is no constant", _IMPORTERS, _FOLD)
    elif value is not None and value.any():
        yield _no("it is in training mode", _IMPORTERS, "Export the model in eval mode.")


@_rule("AveragePool", "MaxPool", "LpPool")
def _pool(asked: Asked) -> Iterator[Answer]:
    node = asked.node
    if set(ints(node, "dilations")) - {1}:
        yield _no("it is dilated", _CHECKERS, "Write it with a convolution, or without dilation.")
    kernel = ints(node, "kernel_shape")
    if len(kernel) > 3:
        yield _no(f"it pools {len(kernel)} dimensions, of 3 at most", _TABLE)
    yield from _window(asked, kernel, "Write a global pool as GlobalAveragePool or ReduceMean.")
    pads = ints(node, "pads")
    is_exclusive = node.op_type == "AveragePool" and not integer(node, "count_include_pad", 0)
    if is_exclusive and any(pad >= side for pad, side in zip(pads, kernel * 2, strict=False)):
        say = _no if asked.release >= (10,) else _unknown
        yield say("it pads as much as its kernel is long", _RTX, "Pad with a Pad in front of it.")
    if node.op_type == "AveragePool" and pads and asked.release < (8, 6):
        half = len(pads) // 2
        if any(pads[half + side] - pads[side] not in {0, 1} for side in range(min(half, 2))):
            yield _no("its padding is too uneven", _OLD_HELPERS, "Pad with a Pad in front of it.")
    yield from _norm_of(asked)


def _window(asked: Asked, sides: Sequence[int | None], mend: str = "") -> Iterator[Answer]:
    places = math.prod(side or 1 for side in sides)
    if len(sides) < 3 and places >= _WINDOW:
        say = _no if asked.release >= (10,) else _unknown
        yield say(f"its window has {places} places, of {_WINDOW - 1} at most", _RTX, mend)


@_rule("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(asked: Asked) -> Iterator[Answer]:
    if _rank(asked) == 2:
        yield _no("it has nothing to pool", _RTX, "Leave it out.")


@_rule("LpNormalization")
def _norm_of(asked: Asked) -> Iterator[Answer]:
    if asked.node.op_type.startswith("Lp") and integer(asked.node, "p", 2) not in {1, 2}:
        yield _no(f"its p is {integer(asked.node, 'p', 2)}, and may be 1 or 2", _CHECKERS)


@_rule("Conv", "ConvTranspose")
def _convolution(asked: Asked) -> Iterator[Answer]:
    rank = _rank(asked)
    if rank is not None and not 3 <= rank <= 5:
        yield _no(f"it convolves {rank - 2} dimensions, of 1 to 3", _TABLE)
    yield from _window(asked, (_sizes(asked.node, 1) or [])[2:])
    if asked.release < (8, 5):
        yield from _constant(asked, 2, "bias", _OLD)


@_rule("InstanceNormalization")
def _instance_norm(asked: Asked) -> Iterator[Answer]:
    rank = _rank(asked)
    if rank is not None and (rank < 3 or (rank > 5 and asked.release < (9,))):
        yield _no(f"its input has rank {rank}, of 3 to 5", f"{_OLD}, and {_RTX}")
    if asked.release >= (9,):
        return
    yield from _constant(asked, 1, "scale", _OLD)
    yield from _constant(asked, 2, "bias", _OLD)


@_rule("GroupNormalization")
def _group_norm(asked: Asked) -> Iterator[Answer]:
    if asked.opset >= 21 and asked.release < (10, 9):
        yield _no("its scale is by channel since opset 21", "NVIDIA/TensorRT#4336", "--opset 20")


@_rule("Constant")
def _constant_kind(asked: Asked) -> Iterator[Answer]:
    for name in ("sparse_value", "value_string", "value_strings"):
        if name in asked.node.attributes:
            yield _no(f"it is given as {name}", _CHECKERS)


@_rule("Clip")
def _clip(asked: Asked) -> Iterator[Answer]:
    dtype = _dtype(asked)
    if dtype is not None and dtype not in _FLOATS | _INTS:
        say = _unknown if all(map(is_static, asked.node.inputs[1:])) else _no
        yield say(f"it clips {dtype.name.lower()}", _RTX, "Cast it before.")
    if asked.release < (8, 2):
        yield from _constant(asked, 1, "minimum", f"{_TABLE} 8.0")
        yield from _constant(asked, 2, "maximum", f"{_TABLE} 8.0")


@_rule("Pow")
def _power(asked: Asked) -> Iterator[Answer]:
    base, exponent = _dtype(asked), _dtype(asked, 1)
    if asked.release < (8, 6) and {base, exponent} & _INTS:
        yield _no("it has integers", _OLD_HELPERS, "Write base and exponent as float32.")
    elif (base in _INTS and asked.release < (10, 12)) or (
        exponent in _INTS and asked.release < (10, 8)
    ):
        yield _no(
            "it has integers", f"{_CHANGES}, 10.8 and 10.12", "Write base and exponent as float32."
        )


@_rule(*("Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min"))
@_rule("Mul", "Sub", "Sum")
def _arithmetic(asked: Asked) -> Iterator[Answer]:
    dtype = _dtype(asked)
    is_more = asked.node.op_type in {"Max", "Min"} and len(asked.node.inputs) > 1
    if dtype == ir.DataType.UINT8 and is_more:
        yield _no("it computes with uint8", _RTX, "Cast it to int32 before.")
    if dtype == ir.DataType.BOOL and asked.release < (8, 5):
        yield _no("it computes with bool", _OLD_HELPERS, "Cast it to int32 before.")


@_rule("Mod")
def _modulo(asked: Asked) -> Iterator[Answer]:
    dtype = _dtype(asked)
    if dtype is not None and not integer(asked.node, "fmod", 0) and dtype not in _INTS:
        yield _no(f"it is the integer kind, of {dtype.name.lower()}", _RTX, "Set fmod to 1.")


@_rule(*_REDUCTIONS)
def _reduction(asked: Asked) -> Iterator[Answer]:
    node, rank = asked.node, _rank(asked)
    axes = given(node, 1)
    known = static_ints(axes)
    if not known and integer(node, "noop_with_empty_axes", 0) and asked.release < (10, 6):
        say = _no if asked.release < (9,) else _unknown
        yield say("it is no operation, and parsers reduce all", _OLD, "Leave it out.")
    if axes is None or (known is not None and rank is not None and len(set(known)) == rank):
        return
    if asked.release < (10,) and node.op_type not in {"ReduceSum", "ReduceLogSum"}:
        yield _no(
            "its axes are an input, which parsers before 10.0 do not read: they reduce all",
            "NVIDIA/TensorRT#3467",
            "--opset 17, where they are an attribute",
        )
    else:
        yield from _constant(asked, 1, "list of axes", f"{_TABLE} 10.6")


@_rule("Squeeze", "Unsqueeze", "CumSum", "Slice", "TopK", "NonMaxSuppression", "STFT")
def _of_constants(asked: Asked) -> Iterator[Answer]:
    """Ask for constants, each since or until a release."""
    table: dict[str, Sequence[tuple[int, str, Release]]] = {
        "Squeeze": [(1, "list of axes", ())],
        "Unsqueeze": [(1, "list of axes", ())],
        "STFT": [(1, "frame step", ()), (2, "window", ())],
        "CumSum": [(1, "axis", (10, 8))],
        "Slice": [(3, "list of axes", (10, 3))],
        "TopK": [(1, "K", (8, 6))],
        "NonMaxSuppression": [(2, "limit", (8, 5)), (3, "threshold", (8, 5))],
    }
    for index, what, until in table[asked.node.op_type]:
        if not until or asked.release < until:
            yield from _constant(asked, index, what, _TABLE, folded=(11,))


@_rule("Squeeze")
def _squeeze(asked: Asked) -> Iterator[Answer]:
    has_axes = given(asked.node, 1) is not None or "axes" in asked.node.attributes
    if not has_axes and asked.release < (11, 4):
        yield from _closed(asked, f"{_OLD}, and the release notes of 11.5", "Give the axes.")


@_rule("OneHot")
def _one_hot(asked: Asked) -> Iterator[Answer]:
    depth = given(asked.node, 1)
    if depth is not None and _folds(depth) is False:
        say = _no if _dtype(asked, 2) == ir.DataType.FLOAT else _unknown
        yield say("its depth is no constant", f"{_TABLE} 10.15, and {_RTX}", _FOLD)


@_rule("TopK")
def _top(asked: Asked) -> Iterator[Answer]:
    if not integer(asked.node, "largest", 1) and asked.release < (8, 5):
        yield _no("it wants the smallest, and gets the largest", _OLD, "Negate before and after.")
    count = static_ints(given(asked.node, 1))
    if count and count[0] > 3840:
        yield _no(f"its K is {count[0]}, of 3840 at most", f"{_TABLE} 10.15")
    if not integer(asked.node, "sorted", 1):
        yield _unknown("it does not ask for order", f"{_TABLE} 10.15", "Set sorted to 1.")


@_rule("Pad")
def _pad(asked: Asked) -> Iterator[Answer]:
    node, release = asked.node, asked.release
    mode = text(node, "mode", "constant")
    pads = ints(node, "pads") or static_ints(given(node, 1)) or []
    if mode == "wrap" and release < (10,):
        yield _no("it wraps around", f"{_CHANGES}, 10.0")
    if given(node, 3) is not None and release < (10, 4):
        yield _no("it has axes", f"{_CHANGES}, 10.4", "--opset 17, where it has none")
    if min(pads, default=0) < 0 and release < (10, 4):
        say = _no if release < (8, 6) else _unknown
        yield say("it cuts off, with negative pads", _OLD_HELPERS, "Cut with a Slice.")
    if release < (8, 2):
        half = len(pads) // 2
        if mode in {"reflect", "edge"}:
            yield _no(f"it pads by {mode}", f"{_CHANGES}, 8.2")
        elif any(pads[: max(0, half - 2)]) or any(pads[half : max(half, 2 * half - 2)]):
            yield _no("it pads more than the last two dimensions", f"{_TABLE} 8.0")


@_rule("Resize")
def _resize(asked: Asked) -> Iterator[Answer]:
    node, release = asked.node, asked.release
    mode = text(node, "mode", "nearest")
    way = text(node, "coordinate_transformation_mode", "half_pixel")
    if mode == "cubic" and release < (8, 5):
        yield _no("it is cubic", _OLD, "Interpolate linearly.")
    if asked.opset >= 11 and way not in {*_FORMATS, "align_corners"}:
        yield _no(f"its coordinates are {way}", _CHECKERS, "Use half_pixel.")
    nearest = text(node, "nearest_mode", "round_prefer_floor")
    if way == "tf_half_pixel_for_nn" and nearest != "round_prefer_floor":
        yield _no(f"it rounds by {nearest} with tf_half_pixel_for_nn", _CHECKERS)
    if integer(node, "antialias", 0):
        yield _no("it is antialiased", _CHECKERS, "Set antialias to 0, and blur before.")
    if text(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        yield _no("it keeps the aspect ratio", _CHECKERS, "Give the sizes.")
    yield from _resized(asked, mode)


def _resized(asked: Asked, mode: str) -> Iterator[Answer]:
    """Say what is wrong with the axes and scales of a Resize."""
    node, rank = asked.node, _rank(asked)
    axes = ints(node, "axes")
    is_part = bool(axes) and rank is not None and axes != list(range(rank))
    if is_part and asked.release < (10, 6):
        say = _no if asked.release < (9, 3) else _unknown
        yield say("it has axes", _NINE, "--opset 17")
    index = 2 if asked.opset >= 11 else 1
    scales = given(node, index)
    factors = static(scales)
    if scales is None or given(node, 3) is not None:
        return
    if factors is None and (is_part or _is_input(scales)):
        yield _no("its scales are no constants", _RTX, _FOLD)
    if factors is not None and not is_part:
        last = {"linear": 3, "cubic": 2}.get(mode, len(factors))
        if any(one != 1 for one in factors[: max(0, len(factors) - last)].tolist()):
            yield _no(f"it is {mode} in more than the last {last} dimensions", _IMPORTERS)


@_rule("Upsample")
def _upsample(asked: Asked) -> Iterator[Answer]:
    if text(asked.node, "mode", "nearest") not in {"nearest", "linear", "bilinear"}:
        yield _no("its mode is none of nearest and linear", _CHECKERS)
    if _is_input(given(asked.node, 1)):
        yield _no("its scales are no constants", _RTX, _FOLD)


@_rule("QuantizeLinear", "DequantizeLinear")
def _quantised(asked: Asked) -> Iterator[Answer]:
    point = given(asked.node, 2)
    if point is None and asked.release < (9,):
        say = _no if asked.release <= (8, 5) else _unknown
        yield say("it has no zero point", _MIDDLE, "Give it a zero point of zeros.")
    shift = static(point)
    if shift is not None and shift.astype(np.float32).any():
        yield _no("its zero point is not zero", _TABLE, _SYMMETRIC)
    is_back = asked.node.op_type == "DequantizeLinear"
    quantised = given(asked.node, 0) if is_back else asked.node.outputs[0]
    maker = None if quantised is None else quantised.producer()
    is_from_float = maker is not None and maker.op_type == "QuantizeLinear"
    if ir.DataType.UINT8 in {_dtype(asked, 2), None if quantised is None else quantised.dtype}:
        is_said = point is not None and asked.release < (9,)
        say = _no if is_said or not is_from_float else _unknown
        yield say("it is of uint8, and int8 is what parsers make of that", _NINE, _SYMMETRIC)
    if is_back and _dtype(asked) == ir.DataType.INT32:
        yield _no("it is of int32, as biases are", _RTX, "Quantise again without the biases.")
    sizes = _sizes(asked.node) or [None]
    is_four = is_back and _dtype(asked) in {ir.DataType.INT4, ir.DataType.FLOAT4E2M1}
    if is_four and None not in sizes and math.prod(filter(None, sizes)) % 2:
        yield _no("it is of an odd number of 4-bit elements", _RTX)
    if asked.release < (8, 2):
        yield from _constant(asked, 1, "scale", f"{_TABLE} 8.0")


@_rule("Einsum")
def _einsum(asked: Asked) -> Iterator[Answer]:
    equation = text(asked.node, "equation", "").replace(" ", "")
    if any(one.isupper() for one in equation):
        yield _no("its equation has capital letters", _CHECKERS, "Write it in small letters.")
    terms = equation.partition("->")[0].split(",")
    is_odd = "..." in equation or any(
        len(set(one) - {"."}) < len(one.replace(".", "")) for one in terms
    )
    if is_odd and asked.release < (10, 12):
        say = _no if asked.release < (8, 6) else _unknown
        yield say(
            "its equation has an ellipsis or a letter twice", f"{_TABLE} 8.5, and {_CHANGES}, 10.12"
        )
    if len(terms) > 2 and asked.release < (9,):
        yield _unknown("it has more than two inputs", _OLD, "Write it as a chain of two each.")


@_rule("GridSample")
def _grid(asked: Asked) -> Iterator[Answer]:
    rank = _rank(asked)
    if rank is not None and rank != 4 and asked.release < (11, 2):
        yield _no(f"its input has rank {rank}, of 4", f"{_TABLE} 10.15")


@_rule("Trilu")
def _triangle(asked: Asked) -> Iterator[Answer]:
    rank = _rank(asked)
    if asked.release < (8, 6) and rank not in {None, 2, 3}:
        yield _no(f"its input has rank {rank}, of 2 or 3", _MIDDLE)


@_rule("EyeLike")
def _eye(asked: Asked) -> Iterator[Answer]:
    yield from _closed(asked, f"{_TABLE} 10.15")


@_rule("Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin", "LRN", "GroupNormalization")
def _least_rank(asked: Asked) -> Iterator[Answer]:
    op_type, rank = asked.node.op_type, _rank(asked)
    least = {"LRN": 4, "GroupNormalization": 3}.get(op_type, 2)
    # Before opset 13 a softmax is of what is flattened, which has two dimensions.
    if rank is not None and rank < least and not ("max" in op_type and asked.opset < 13):
        say = _no if asked.release >= (11,) else _unknown
        yield say(f"its input has rank {rank}, of {least} and more", _RTX, "Unsqueeze it.")


@_rule("Loop")
def _loop(asked: Asked) -> Iterator[Answer]:
    body = asked.node.attributes["body"].as_graph()
    for index, what in enumerate(("trip count", "condition")):
        if given(asked.node, index) is None and is_used(body.inputs[index]):
            yield _no(f"its body reads a {what} that is not given", _OLD, f"Give the {what}.")


@_rule("Hardmax")
def _hardmax(asked: Asked) -> Iterator[Answer]:
    if length_of(given(asked.node, 0), integer(asked.node, "axis", -1)) is None:
        yield from _closed(asked, f"{_TABLE} 9.2")


@_rule("ReverseSequence")
def _reverse(asked: Asked) -> Iterator[Answer]:
    if asked.release < (8, 6):
        yield from _closed(asked, f"{_TABLE} 8.5")


@_rule("Range")
def _range(asked: Asked) -> Iterator[Answer]:
    dtype = _dtype(asked)
    if dtype is not None and dtype not in {ir.DataType.FLOAT, ir.DataType.DOUBLE} | _INTS:
        yield _no(f"it is of {dtype.name.lower()}", _IMPORTERS, "Make it of float32 or int64.")
    elif dtype in _FLOATS and any(map(_is_input, asked.node.inputs)):
        yield _no("its bounds are inputs of floats", _RTX, _FOLD)
    elif dtype in _FLOATS and asked.release < (8, 4):
        for index in range(3):
            yield from _constant(asked, index, "bound", f"{_TABLE} 8.0")


@_rule("ScatterND", "ScatterElements")
def _scatter(asked: Asked) -> Iterator[Answer]:
    if text(asked.node, "reduction", "none") == "none":
        return
    is_nd = asked.node.op_type == "ScatterND"
    if is_nd or asked.rtx or asked.release < (10,):
        yield _no(
            "it reduces into what is there",
            f"{_TABLE} 10.15" if is_nd else _RTX if asked.rtx else f"{_CHANGES}, 10.0",
        )


@_rule("Shape")
def _shape(asked: Asked) -> Iterator[Answer]:
    if {"start", "end"} & set(asked.node.attributes) and asked.release < (8, 5):
        yield _no("it wants a part of the shape, and gets all", _OLD, "--opset 13, which has none")


@_rule("GRU", "LSTM", "RNN")
def _recurrent(asked: Asked) -> Iterator[Answer]:
    node = asked.node
    named = node.attributes.get("activations")
    names = list(named.as_strings()) if named is not None else []
    half = len(names) // 2
    if text(node, "direction", "forward") == "bidirectional" and names[:half] != names[half:]:
        yield _no("its two directions have different activations", _CHECKERS)
    if integer(node, "input_forget", 0):
        yield _no("its input and forget gates are coupled", _CHECKERS)
    if given(node, 7) is not None and _dtype(asked) in _HALVES:
        yield _no("it has peepholes in half precision", _RTX, "Keep it in float32.")
    if integer(node, "layout", 0):
        yield _unknown("it has the batch first", f"{_TABLE} 10.15", "Set layout to 0.")


@_rule("Gemm", "GRU", "RNN")
def _half(asked: Asked) -> Iterator[Answer]:
    """Ask for no float32 that the parser itself puts beside a half."""
    node = asked.node
    scaled = number(node, "alpha", 1.0) != 1.0 or (
        given(node, 2) is not None and number(node, "beta", 1.0) != 1.0
    )
    if asked.release >= (11, 1) or _dtype(asked) not in _HALVES:
        return
    if node.op_type != "Gemm" or scaled:
        reason = "it is in half precision, to which the parser adds float32"
        say = _no if asked.rtx else _unknown
        yield say(reason, "the parser of TensorRT-RTX 1.4", "Keep it in float32.")


@_rule("RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike")
def _random(asked: Asked) -> Iterator[Answer]:
    dtype = integer(asked.node, "dtype", ir.DataType.FLOAT)
    if dtype not in {ir.DataType.FLOAT, ir.DataType.FLOAT16}:
        yield _no(f"it is of {ir.DataType(dtype).name.lower()}", _CHECKERS)


@_rule("Attention")
def _attention(asked: Asked) -> Iterator[Answer]:
    node = asked.node
    softcap = node.attributes.get("softcap")
    if softcap is not None and softcap.as_float():
        yield _no("it has a softcap", _CHECKERS, "Write it with MatMul and Softmax.")
    if "softmax_precision" in node.attributes:
        yield _no("it has a precision for its softmax", _CHECKERS, "Leave it out.")
    if integer(node, "is_causal", 0) and given(node, 3) is not None:
        yield _no("it is causal and has a mask", _RTX, "Put both into the mask.")
    key, value = given(node, 1), given(node, 2)
    sizes = [static_sizes(one) for one in (key, value) if one is not None]
    if len(sizes) == 2 and None not in sizes and sizes[0] != sizes[1]:
        yield _no("its keys and values differ in shape", _RTX, "Write it with MatMul and Softmax.")

    if given(node, 6) is not None:
        yield _unknown("it has lengths without padding", f"{_TABLE} 10.15")


@_rule("MatMul")
def _product(asked: Asked) -> Iterator[Answer]:
    sizes = _sizes(asked.node, 1) or []
    if _rank(asked) == 1 and len(sizes) > 2 and sizes[0] != 1:
        yield _no("it has a vector before a stack of matrices", _RTX, "Unsqueeze the vector.")


@_rule("Split")
def _split(asked: Asked) -> Iterator[Answer]:
    count = integer(asked.node, "num_outputs", 0)
    length = length_of(given(asked.node, 0), integer(asked.node, "axis", 0))
    if count and length is not None and length < -(-length // count) * (count - 1):
        yield _no(f"it splits {length} into {count} parts", _RTX, "Give the sizes of the parts.")


@_rule("TensorScatter")
def _cache(asked: Asked) -> Iterator[Answer]:
    if text(asked.node, "mode", "linear") != "linear":
        yield _no("it is circular", _RTX)
    if _rank(asked) not in {None, 4}:
        yield _no(f"its cache has rank {_rank(asked)}, of 4", f"{_TABLE} 10.15")
