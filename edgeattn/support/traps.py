"""What TensorRT takes, and then computes wrongly, slowly, or not where one thinks: by version.

Each trap rests on a report or on the documentation, which it names. A version that no report speaks
of is not warned of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.base.versions import numbers
from edgeattn.graph.nodes import (
    given,
    integer,
    is_static,
    length_of,
    needed,
    rank,
    reduced_axes,
    static,
    text,
)
from edgeattn.options.precision import Precision
from edgeattn.records.check import Finding

#: The largest number of half precision.
_HALF_MAX: Final = 65504.0
#: A sum of so many values overflows in half where their mean is above 64.
_MANY: Final = 1024
_VIEWS: Final = frozenset({"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
_PARTS: Final = frozenset({"Split", "Slice", "Gather"})
_ACTIVATIONS: Final = frozenset(
    {"Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Swish", "Tanh", "Clip", "Elu",
     "Gelu", "Mish", "Softplus"}
)  # fmt: skip
_SQUARES: Final = frozenset({"ReduceL2", "ReduceSumSquare"})
_SUMS: Final = frozenset({"ReduceSum", "ReduceL1", "ReduceLogSum"})
_MEANS: Final = frozenset({"ReduceMean", "ReduceSum", "GlobalAveragePool", "AveragePool"})
#: How far beside a channel shuffle a grouped convolution is looked for: it may stand behind a split
#: and a pointwise convolution with its activation.
_BESIDE: Final = 6
#: How far back it is looked for what made a value.
_NEAR: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is asked of a model.

    Attributes:
        model: The model, with shapes.
        is_typed: Whether values are computed in the types that they have in the file.
        precision: The precision that it is to run in.
        on_dla: Whether it is to run on a DLA.
        has_half: Whether values of the file are half.
    """

    model: ir.Model
    is_typed: bool
    precision: Precision
    on_dla: bool
    has_half: bool

    def in_half(self, value: ir.Value) -> bool:
        """Return whether TensorRT may compute a value in half.

        Where types are no orders, a flag lets it do so with float32; a file that has both was cast
        with care.
        """
        if value.dtype == ir.DataType.FLOAT16:
            return True
        may_choose = not self.is_typed and self.precision != "fp32"
        return value.dtype == ir.DataType.FLOAT and may_choose and not self.has_half


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trap:
    """One trap.

    Attributes:
        fact: What happens, in a sentence.
        mend: What to do about it.
        source: Where that is said.
        find: Finds the nodes that fall into it; an empty answer is none.
        since: The first version of TensorRT that has it.
        until: The first that has not, or that nobody spoke of; None if all have.
        rtx_until: The same of TensorRT-RTX; () if nobody spoke of any of it.
    """

    fact: str
    mend: str
    source: str
    find: Callable[[_Asked], Iterable[ir.Node]]
    since: tuple[int, ...] = ()
    until: tuple[int, ...] | None = None
    rtx_until: tuple[int, ...] | None = ()

    def concerns(self, version: tuple[int, ...], *, rtx: bool) -> bool:
        """Return whether a version has it."""
        since, until = ((), self.rtx_until) if rtx else (self.since, self.until)
        return since <= version and (until is None or version < until)


def traps(
    model: ir.Model,
    *,
    tensorrt: str,
    precision: Precision = "fp16",
    on_dla: bool = False,
    rtx: bool = False,
) -> list[Finding]:
    """Return the traps that a model falls into.

    Args:
        model: The model, with its shapes.
        tensorrt: The version of TensorRT that is to run it.
        precision: The precision that it is to run in.
        on_dla: Whether it is to run on a DLA.
        rtx: Whether TensorRT-RTX is to run it, and that is its version.

    Returns:
        A finding for each, with all its nodes.
    """
    version = numbers(tensorrt)
    asked = _Asked(
        model=model,
        is_typed=rtx or version >= (11,),
        precision=precision,
        on_dla=on_dla,
        has_half=any(
            value.dtype == ir.DataType.FLOAT16 for node in _nodes(model) for value in node.outputs
        ),
    )
    found = []
    for trap in _TRAPS:
        is_there = trap.concerns(version, rtx=rtx)
        nodes = list(dict.fromkeys(trap.find(asked))) if is_there else []
        if nodes:
            found.append(_finding(trap, nodes))
    return found


def _finding(trap: _Trap, nodes: list[ir.Node]) -> Finding:
    operators = {node.op_type for node in nodes}
    return Finding(
        about="trap",
        verdict="yes",
        fact=trap.fact,
        mend=trap.mend,
        source=trap.source,
        op=operators.pop() if len(operators) == 1 else "",
        nodes=tuple(str(node.name) for node in nodes),
    )


def _nodes(model: ir.Model, *op_types: str) -> Iterator[ir.Node]:
    """Yield the nodes of these operators, or all; those of branches and bodies too."""
    return (n for n in model.graph.all_nodes() if not op_types or n.op_type in op_types)


def _read_as_nearest(asked: _Asked) -> Iterator[ir.Node]:
    return (
        node
        for node in _nodes(asked.model, "GridSample")
        if text(node, "mode", "") in {"linear", "cubic"}
    )


def _grid_samples(asked: _Asked) -> Iterator[ir.Node]:
    return _nodes(asked.model, "GridSample")


def _reduced_squares(asked: _Asked) -> Iterator[ir.Node]:
    """Yield reductions of squares: variances, norms, energies."""
    for node in _nodes(asked.model, *_MEANS, *_SQUARES):
        value = needed(node, 0)
        if asked.in_half(value) and (node.op_type in _SQUARES or _is_square(_origin(value))):
            yield node


def _is_square(node: ir.Node | None, depth: int = _NEAR) -> bool:
    """Return whether a node squares a value: at once, or as the product of its factors' squares."""
    if node is None or not depth:
        return False
    if node.op_type == "Pow":
        exponent = static(given(node, 1))
        return exponent is not None and exponent.size == 1 and float(exponent.flat[0]) == 2
    if node.op_type != "Mul":
        return False
    factors = [value for value in node.inputs if value is not None and not is_static(value)]
    is_own = len(factors) > 1 and factors[0] is factors[1]
    return is_own or all(_is_square(_origin(value), depth - 1) for value in factors)


def _long_sums(asked: _Asked) -> Iterator[ir.Node]:
    """Yield sums over many values that are no squares, which are a trap of their own."""
    for node in _nodes(asked.model, *_SUMS):
        value = needed(node, 0)
        origin = _origin(value)
        if not asked.in_half(value) or _is_square(origin):
            continue
        axes = reduced_axes(node, rank(value) or 0)
        sizes = [length_of(value, axis) for axis in axes or ()]
        if sizes and np.prod([size or 1 for size in sizes]) >= _MANY and not _is_bounded(origin):
            yield node


def _is_bounded(node: ir.Node | None) -> bool:
    return node is not None and node.op_type in {"Softmax", "Sigmoid", "HardSigmoid", "Tanh"}


def _lost_guards(asked: _Asked) -> Iterator[ir.Node]:
    """Yield divisions whose divisor is kept from 0 by less than half can divide by."""
    for node in _nodes(asked.model, "Div", "Reciprocal"):
        value = needed(node, 1 if node.op_type == "Div" else 0)
        if not asked.in_half(value):
            continue
        guard, root = 1.0, 1.0
        for _ in range(_NEAR):
            origin = _origin(value)
            constant = None if origin is None else _scalar(origin)
            if origin is None:
                break
            if origin.op_type in {"Add", "Max", "Clip"} and constant:
                if constant > 0 and constant ** (1 / root) * guard < 1 / _HALF_MAX:
                    yield node
                break
            if origin.op_type == "Sqrt":
                root *= 2
            elif origin.op_type == "Mul" and constant:
                guard *= abs(constant) ** (1 / root)
            else:
                break
            value = next(v for v in origin.inputs if v is not None and not is_static(v))


def _large_constants(asked: _Asked) -> Iterator[ir.Node]:
    """Yield what adds, multiplies with or chooses finite constants that half has not."""
    for node in _nodes(asked.model, "Add", "Sub", "Mul", "Where"):
        if not asked.in_half(node.outputs[0]):
            continue
        for value in node.inputs:
            array = static(value)
            if array is not None and array.dtype.kind == "f" and _is_too_large(array):
                yield node


def _is_too_large(array: np.ndarray) -> bool:
    return bool((np.isfinite(array) & (np.abs(array) > _HALF_MAX)).any())


def _shuffles(asked: _Asked) -> Iterator[ir.Node]:
    """Yield the Transposes of channel shuffles that lie beside grouped convolutions."""
    for node in _nodes(asked.model, "Transpose"):
        value, perm = needed(node, 0), node.attributes.get("perm")
        order = list(perm.as_ints()) if perm is not None else []
        is_shuffle = order == [0, 2, 1, 3, 4]
        origin = value.producer()
        if is_shuffle and origin is not None and origin.op_type == "Reshape" and _is_grouped(node):
            yield node


def _is_grouped(node: ir.Node) -> bool:
    """Return whether a grouped convolution is near."""
    seen, border = {node}, [node]
    for _ in range(_BESIDE):
        border = [
            near
            for one in border
            for near in (*one.predecessors(), *one.successors())
            if near not in seen
        ]
        seen.update(border)
        if any(n.op_type == "Conv" and integer(n, "group", 1) > 1 for n in border):
            return True
    return False


def _strided_scales(asked: _Asked) -> Iterator[ir.Node]:
    """Yield scales and shifts by channel that read a part of a map, or write one."""
    for node in _nodes(asked.model, "Mul", "Add", "BatchNormalization"):
        if node.op_type != "BatchNormalization" and not _is_by_channel(node):
            continue
        origins = [v.producer() for v in node.inputs if v is not None and not is_static(v)]
        reads_part = any(one is not None and one.op_type in _PARTS for one in origins)
        writes_part = any(user.op_type == "Concat" for user in node.successors())
        after_layer = any(one is not None and one.op_type == "Conv" for one in origins)
        if reads_part or (writes_part and not after_layer):
            yield node


def _is_by_channel(node: ir.Node) -> bool:
    channels = length_of(node.outputs[0], 1)
    return any(
        array is not None and array.size == channels and array.size > 1 and array.ndim > 1
        for array in map(static, node.inputs)
    )


def _views_of_concats(asked: _Asked) -> Iterator[ir.Node]:
    """Yield sums of a layer's activation with a part of what is concatenated later."""
    for node in _nodes(asked.model, "Add"):
        if not asked.in_half(node.outputs[0]) or rank(node.outputs[0]) != 4:
            continue
        one, other = (needed(node, 0), needed(node, 1))
        for layer, shortcut in ((one, other), (other, one)):
            if _is_activated(layer) and _is_concatenated(shortcut):
                yield node


def _is_activated(value: ir.Value) -> bool:
    """Return whether a value is an activation of a convolution; x·sigmoid(x) is one."""
    origin = value.producer()
    if origin is not None and origin.op_type == "Mul":
        origin = next((n for n in origin.predecessors() if n.op_type in _ACTIVATIONS), None)
    if origin is None or origin.op_type not in _ACTIVATIONS:
        return False
    return any(node.op_type == "Conv" for node in origin.predecessors())


def _is_concatenated(value: ir.Value) -> bool:
    if any(user.op_type == "Concat" for user, _ in value.uses()):
        return True
    origin = value.producer()
    if origin is None or origin.op_type not in _PARTS:
        return False
    beside = (*origin.outputs, needed(origin, 0))
    return any(user.op_type == "Concat" for part in beside for user, _ in part.uses())


def _instance_norms(asked: _Asked) -> Iterator[ir.Node]:
    return _nodes(asked.model, "InstanceNormalization")


def _quantised_deconvolutions(asked: _Asked) -> Iterator[ir.Node]:
    if asked.precision == "int8":
        yield from (n for n in _nodes(asked.model, "ConvTranspose") if given(n, 2) is not None)


def _dequantised_views(asked: _Asked) -> Iterator[ir.Node]:
    """Yield quantisations of what was transposed or cut just before."""
    for node in _nodes(asked.model, "QuantizeLinear", "DequantizeLinear"):
        value = needed(node, 0)
        for _ in range(_NEAR):
            origin = value.producer()
            if origin is None or origin.op_type not in {*_VIEWS, *_PARTS}:
                break
            if origin.op_type == "Transpose":
                yield node
                break
            value = needed(origin, 0)


def _quantised_on_dla(asked: _Asked) -> Iterator[ir.Node]:
    if asked.on_dla:
        yield from _nodes(asked.model, "QuantizeLinear")


def _unforeseen(asked: _Asked) -> Iterator[ir.Node]:
    return _nodes(
        asked.model, "NonZero", "NonMaxSuppression", "Compress", "Unique", "Loop", "If", "Scan"
    )


def _casts(asked: _Asked) -> Iterator[ir.Node]:
    """Yield the nodes that a cast kept in float32, in a file that has both precisions."""
    if asked.has_half:
        for node in _nodes(asked.model):
            if any(
                value.dtype == ir.DataType.FLOAT and node.op_type not in {"Cast", "Constant"}
                for value in node.outputs
            ):
                yield node


def _wide_integers(asked: _Asked) -> Iterator[ir.Node]:
    graph = asked.model.graph
    for value in graph.inputs:
        if value.dtype == ir.DataType.INT64:
            yield from (user for user, _ in value.uses())
    for value in graph.outputs:
        origin = value.producer()
        if value.dtype == ir.DataType.INT64 and origin is not None:
            yield origin


def _origin(value: ir.Value) -> ir.Node | None:
    """Return what computes a value, but for views and casts."""
    node = value.producer()
    while node is not None and node.op_type in {*_VIEWS, "Cast"}:
        node = needed(node, 0).producer()
    return node


def _scalar(node: ir.Node) -> float | None:
    """Return the one number that a node computes with; a Clip's is its lower bound."""
    places = (1,) if node.op_type == "Clip" else range(len(node.inputs))
    arrays = [static(given(node, place)) for place in places]
    numbers_ = [float(a.flat[0]) for a in arrays if a is not None and a.size == 1]
    return numbers_[0] if len(numbers_) == 1 else None


_ISSUES: Final = "github.com/NVIDIA/TensorRT/issues/"
_CAST: Final = (
    "Write it in half, with what overflows kept in float32: export or cast --precision fp16. From"
    " TensorRT 10 on trtexec takes such a file's types with --stronglyTyped; before that compare on"
    " the device: edgeattn parity --on HOST"
)
_TRAPS: Final = (
    _Trap(
        fact=(
            "GridSample's linear and cubic of opset 20 are computed as nearest, without an error:"
            " the parser knows them as bilinear and bicubic."
        ),
        mend="Write it at an older opset: edgeattn optimize IN.onnx -o OUT.onnx --opset 17",
        source=f"the parsers of TensorRT-RTX 1.4 to 1.7; {_ISSUES}4646; onnx/onnx-tensorrt#1060",
        find=_read_as_nearest,
        since=(8, 5),
        until=(11, 2),
        rtx_until=(1, 6),
    ),
    _Trap(
        fact="GridSample is slow: on an Orin bilinear took three times as long as nearest.",
        mend=(
            "Where it only enlarges or shifts a map, write Resize or Pad and Slice. What it costs:"
            " edgeattn profile --on HOST"
        ),
        source=f"{_ISSUES}4246",
        find=_grid_samples,
        since=(8, 5),
    ),
    _Trap(
        fact=(
            "Activations are squared and summed up in half: a deviation above 255 is infinity, and"
            " the variance or norm with it."
        ),
        mend=f"{_CAST}\nOr write a layer norm as LayerNormalization: opset 17, TensorRT 8.6.",
        source=f"{_ISSUES}2564, 2781, 3692, 1954; TensorRT's own warning on layer norms in FP16",
        find=_reduced_squares,
        rtx_until=None,
    ),
    _Trap(
        fact=f"{_MANY} values or more are summed up in half, whose largest number is 65504.",
        mend=f"Take the mean, and scale what follows; or else: {_CAST}",
        source=f"{_ISSUES}2781, 3692; half's range",
        find=_long_sums,
        rtx_until=None,
    ),
    _Trap(
        fact=(
            "What keeps a divisor from 0 is too small for half: 1 over it is infinity there, and"
            " 0 times that is no number."
        ),
        mend=f"Make the epsilon larger than 2e-5, or 1e-9 below a root; or else: {_CAST}",
        source=f"half's range; {_ISSUES}3101 on constants below its smallest numbers",
        find=_lost_guards,
        rtx_until=None,
    ),
    _Trap(
        fact="A constant is above 65504, half's largest number: it becomes infinity there.",
        mend="A mask of -1e4 does the same as one of -1e9: write that.",
        source=f"{_ISSUES}2466",
        find=_large_constants,
        rtx_until=None,
    ),
    _Trap(
        fact=(
            "A channel shuffle beside grouped convolutions is a copy of the whole map; with 8.5.2 a"
            " model with both did not build."
        ),
        mend=(
            "Lowering takes it into the weights beside it: edgeattn optimize IN.onnx -o OUT.onnx;"
            " what stays is a near miss there, with its reason."
        ),
        source=f"{_ISSUES}3273; plans of ShuffleNetV2 by TensorRT-RTX",
        find=_shuffles,
        rtx_until=None,
    ),
    _Trap(
        fact=(
            "A scale or shift by channel reads a part of a map, or writes one, without a copy: the"
            " kernel of these versions may take the wrong places."
        ),
        mend=(
            "Compare on the device: edgeattn parity --on HOST. A ReLU or a convolution between them"
            " goes round it; TensorRT 8.2.5 has it mended."
        ),
        source="Release notes of TensorRT 8.2.5, fixed issues: strides of the Scale kernel",
        find=_strided_scales,
        until=(8, 2, 5),
    ),
    _Trap(
        fact=(
            "A sum of a convolution's activation and of a part of a later concatenation read the"
            " wrong places in half, without an error: seen with 11.2.1."
        ),
        mend=(
            "Compare on the device: edgeattn parity --on HOST. Where it differs, keep the block in"
            " float32 (--keep-fp32 MODULE), or take TensorRT 10."
        ),
        source=f"{_ISSUES}4854",
        find=_views_of_concats,
        since=(11,),
        until=(12,),
    ),
    _Trap(
        fact=(
            "InstanceNormalization is a plugin before TensorRT 10: nothing is fused with it, and in"
            " FP16 large maps lose accuracy."
        ),
        mend=(
            "Compare on the device: edgeattn parity --on HOST. Where training is yours, a"
            " BatchNormalization in its place is folded away."
        ),
        source=(
            f"importers of onnx-tensorrt 8.x; {_ISSUES}2691;"
            " github.com/NVIDIA-AI-IOT/torch2trt/issues/776"
        ),
        find=_instance_norms,
        until=(10,),
    ),
    _Trap(
        fact="A transposed convolution with a bias gave wrong values in int8; 8.4 has a fix.",
        mend="Keep it out of int8, or add the bias in an Add of its own.",
        source=f"{_ISSUES}1840, 1961",
        find=_quantised_deconvolutions,
        until=(8, 4),
    ),
    _Trap(
        fact=(
            "What is quantised was transposed just before: a model with that did not build on an"
            " Orin (compute capability 8.7), and did on a Thor."
        ),
        mend="Quantise before the transpose, or leave that input in half.",
        source=f"{_ISSUES}4832",
        find=_dequantised_views,
        since=(10, 16),
        until=(11,),
    ),
    _Trap(
        fact="In TensorRT 8 a DLA takes no QuantizeLinear: int8 comes as a calibration cache.",
        mend=(
            "Build it in fp16, or take Q/DQ out and give the scales as a cache: qdq_translator of"
            " NVIDIA-AI-IOT/cuDLA-samples does."
        ),
        source=f"{_ISSUES}2222; github.com/NVIDIA-AI-IOT/cuDLA-samples/issues/19",
        find=_quantised_on_dla,
        until=(9,),
    ),
    _Trap(
        fact=(
            "How much there is of what it gives, or how often it runs, is known only while it runs:"
            " the host waits for it, and no CUDA graph takes it."
        ),
        mend=(
            "Leave the end of a detector to the host, or measure without a graph:"
            " --no-cuda-graph. A fixed number of boxes (TopK) needs none of it."
        ),
        source=(
            "Release notes of TensorRT-RTX 1.2 on stream capture; Torch-TensorRT's documentation of"
            " CUDA graphs"
        ),
        find=_unforeseen,
        rtx_until=None,
    ),
    _Trap(
        fact=(
            "The types of a file are no orders: without --fp16 all runs in float32, and with it"
            " what the cast kept in float32 may run in half."
        ),
        mend=(
            "Build with --fp16 and compare on the device: edgeattn parity --on HOST. Where it"
            " differs, --precisionConstraints=obey --layerPrecisions=NODE:fp32 keeps a layer."
        ),
        source=f"{_ISSUES}3057; trtexec has --stronglyTyped from 9.3 on",
        find=_casts,
        until=(10,),
    ),
    _Trap(
        fact="The types of a file are orders with --stronglyTyped alone, and not by default.",
        mend="trtexec --stronglyTyped, in place of --fp16; edgeattn build does so.",
        source="NVIDIA TensorRT 10 documentation, strongly typed networks",
        find=_casts,
        since=(10,),
        until=(11,),
    ),
    _Trap(
        fact="An input or output of int64 is int32 in the engine, before TensorRT 10.",
        mend="Bind 4 bytes a value there, not 8.",
        source="trtexec of 8.0 to 9.3, which reads int32; release notes of TensorRT 10.0 on INT64",
        find=_wide_integers,
        until=(10,),
    ),
)
