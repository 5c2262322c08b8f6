"""What a DLA demands of each layer, read for the layers that TensorRT's parser makes of ONNX.

A rule yields what speaks against a node, or, where it is worth saying, what it runs as.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import onnx_ir as ir

from edgeattn.graph.nodes import (
    given,
    integer,
    ints,
    is_static,
    number,
    rank,
    reduced_axes,
    static,
    static_ints,
    static_sizes,
    text,
)
from edgeattn.support.answers import Answer
from edgeattn.support.dla_unit import (
    GUIDE,
    GUIDE_82,
    GUIDE_84,
    HEADER,
    LOG_84,
    LOG_85,
    LOG_85_ORIN,
    LOG_85_XAVIER,
    LOG_86,
    LOG_103,
    LOG_103_DETR,
    LOG_103_NORMS,
    LOWER,
    MATRIX,
    OPERATORS_86,
    OPERATORS_103,
    PARSER,
    TOO_LARGE,
    Unit,
    no,
    unknown,
    yes,
)
from edgeattn.support.dla_values import data_of, is_constant

Rule: TypeAlias = Callable[[Unit, ir.Node], Iterator[Answer]]

# A map as a DLA sees it: batch, channels, height, width.
_RANK: Final = 4
_PLANE: Final = 2
_BANKS: Final = 16


def _sizes(value: ir.Value | None) -> list[int] | None:
    """Return a value's sizes, or None if one of them is not known."""
    sizes = None if value is None else static_sizes(value)
    return None if sizes is None or None in sizes else [size for size in sizes if size is not None]


def _map(value: ir.Value | None) -> list[int] | None:
    """Return the sizes of a map, or None if a value is none, or its sizes are not known."""
    sizes = _sizes(value)
    return sizes if sizes is not None and len(sizes) == _RANK else None


def _listed(node: ir.Node, index: int, name: str) -> list[int] | None:
    """Return integers that are an input, or an attribute in old opsets; None if no constant."""
    value = given(node, index)
    return ints(node, name) if value is None else static_ints(value)


def _maps(_: Unit, node: ir.Node) -> Iterator[Answer]:
    """Yield that a node is of other than maps, of which layers are documented."""
    found = {rank(value) for value in [*data_of(node), *node.outputs]} - {_RANK, None}
    if found:
        said = " and ".join(map(str, sorted(one for one in found if one is not None)))
        reason = (
            f"of {said} dimensions TensorRT makes 4 with reshapes on the GPU, and whether it stays"
            " between them no log shows"
        )
        yield unknown(reason, LOG_85_XAVIER, LOWER)


def _since_84(rule: Rule) -> Rule:
    """Return the rule of a node of which no older source speaks."""

    def dated(unit: Unit, node: ir.Node) -> Iterator[Answer]:
        if unit.version < (8, 4):
            yield unknown("no source speaks of it before TensorRT 8.4", GUIDE_84)
        yield from rule(unit, node)

    return dated


def _never(reason: str, source: str, mend: str = LOWER) -> Rule:
    """Return the rule of a node that always falls back."""

    def rule(_: Unit, __: ir.Node) -> Iterator[Answer]:
        yield no(reason, source, mend)

    return rule


def _within(name: str, found: Sequence[int], least: int, most: int) -> Iterator[Answer]:
    """Yield that numbers are outside of their range."""
    if not all(least <= one <= most for one in found):
        said = "x".join(map(str, found))
        yield no(f"a {name} of {said} is outside of {least} to {most}", GUIDE)


# Convolutions and pools.


def _pads(node: ir.Node) -> list[int] | None:
    """Return a layer's padding, or None where it follows from the sizes."""
    if text(node, "auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return None
    return ints(node, "pads", [0] * 4)


def _spatial(kind: str, sides: int) -> Iterator[Answer]:
    """Yield what speaks against a layer that slides over other than a plane."""
    if sides == 1:
        reason = f"TensorRT puts reshapes around a {kind} in one dimension, and they may not stay"
        yield unknown(reason, PARSER, LOWER)
    elif sides != _PLANE:
        yield no(f"a DLA's {kind} is in 2 dimensions, not in {sides}", GUIDE, "")


def _kernel(node: ir.Node) -> list[int] | None:
    """Return the sides of the kernel of a convolution, or None if they are not known."""
    sizes = _sizes(given(node, 1))
    return None if sizes is None else sizes[2:]


def _weights(node: ir.Node, kernel: Sequence[int] | None, kind: str) -> Iterator[Answer]:
    """Yield what speaks against the weights of a layer: no constant, computed, or of no plane."""
    value = given(node, 1)
    if not is_constant(value):
        yield no("its weights are no constant", HEADER, "")
    elif value is not None and not is_static(value) and not _is_dequantised(value):
        reason = "its weights are computed in the graph, perhaps after TensorRT divides it"
        yield unknown(reason, HEADER, "Fold constants: edgeattn optimize does.")
    if kernel is None:
        yield unknown("the shape of its weights is not known", mend="")
    else:
        yield from _spatial(kind, len(kernel))


def _is_dequantised(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _convolution(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    kernel, pads = _kernel(node), _pads(node)
    yield from _weights(node, kernel, "convolution")
    if kernel is None or len(kernel) != _PLANE:
        return
    yield from _within("kernel", kernel, 1, 32)
    yield from _within("stride", ints(node, "strides", [1, 1]), 1, 8)
    yield from _within("dilation", ints(node, "dilations", [1, 1]), 1, 32)
    if pads is not None:
        yield from _within("padding", pads, 0, 31)
        if any(pad >= side for pad, side in zip(pads, kernel * 2, strict=True)):
            yield no("its padding is not below its kernel", GUIDE)
    yield from _buffer(unit, node, kernel)
    yield from _maps(unit, node)


def _buffer(unit: Unit, node: ir.Node, kernel: Sequence[int]) -> Iterator[Answer]:
    """Yield that a kernel and the rows that it reads do not fit into the convolution's buffer."""
    sizes = _map(given(node, 0))
    if sizes is None:
        return
    rows = (kernel[0] - 1) * ints(node, "dilations", [1, 1])[0] + 1
    # Whether channels are those of a group or all of them is not documented.
    needed = [
        math.ceil(math.ceil(channels * math.prod(kernel) * unit.element_bytes / 128) * 128 / 32768)
        + math.ceil(
            math.ceil(math.ceil(channels * unit.element_bytes / 32) * sizes[3] / 4) * rows / 256
        )
        for channels in (sizes[1] // integer(node, "group", 1), sizes[1])
    ]
    reason = f"a kernel and its rows take {{}} banks of the convolution's buffer of {_BANKS}"
    if needed[0] > _BANKS:
        yield no(reason.format(needed[0]), GUIDE_84)
    elif needed[1] > _BANKS:
        yield unknown(reason.format(f"{needed[0]} or {needed[1]}"), GUIDE_84)
    elif needed[1] == _BANKS:  # By the guide it fits; the one that is known was refused.
        yield unknown(reason.format(f"all {_BANKS}"), TOO_LARGE)


def _deconvolution(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    kernel, pads = _kernel(node), _pads(node)
    yield from _weights(node, kernel, "deconvolution")
    if kernel is None or len(kernel) != _PLANE:
        return
    if not (1 in kernel and max(kernel) in (64, 96, 128)):
        yield from _within("kernel", kernel, 1, 32)
    if pads is None or any(pads):
        yield no("it is padded", GUIDE, "")
    if integer(node, "group", 1) != 1:
        yield no("it has groups", GUIDE, "")
    if {*ints(node, "dilations")} - {1}:
        yield no("it is dilated", GUIDE, "")
    strides = ints(node, "strides", [1, 1])
    if kernel[0] == kernel[1] and min(*kernel, *strides) >= 23:
        yield no("TensorRT does not give a DLA kernels and strides of 23 and more", GUIDE_84, "")
    if any(ints(node, "output_padding")) or ints(node, "output_shape"):
        yield unknown("of an output that is padded no source speaks", GUIDE)
    yield from _maps(unit, node)


def _pool(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    kernel, pads = ints(node, "kernel_shape"), _pads(node)
    yield from _spatial("pool", len(kernel))
    if len(kernel) != _PLANE:
        return
    yield from _within("window", kernel, 1, 8)
    yield from _within("stride", ints(node, "strides", [1, 1]), 1, 16)
    yield from _within("padding", pads or [0], 0, 7)
    if len(node.outputs) > 1 and node.outputs[1].uses():
        yield no("it gives indices too", GUIDE, "")
    if {*ints(node, "dilations")} - {1}:
        yield no("it is dilated", PARSER, "")
    if (
        node.op_type == "AveragePool"
        and unit.generation == "xavier"
        and not integer(node, "count_include_pad", 0)
    ):
        reason = "on Xavier an average counts its padding: count_include_pad must be 1"
        is_padded = pads is None or any(pads)
        # Unpadded, both are one function, yet the header has it that the flag is looked at.
        yield no(reason, HEADER) if is_padded else unknown(reason, HEADER, LOWER)
    yield from _maps(unit, node)


def _reduction(unit: Unit, _: ir.Node) -> Iterator[Answer]:
    source = LOG_103 if unit.version >= (10,) else LOG_85 if unit.version >= (8, 5) else GUIDE_84
    yield no("a DLA reduces with pools and convolutions only", source)


def _maximum_over(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    """Yield what speaks against a global maximum, or one over axes."""
    if unit.version < (8, 6, 12):
        yield no("TensorRT below 8.6.12 has no maximum over axes on a DLA", MATRIX)
        return
    value = given(node, 0)
    dimensions = None if value is None else rank(value)
    if not dimensions:
        yield from _maps(unit, node)
        return
    axes = [2, 3] if node.op_type == "GlobalMaxPool" else reduced_axes(node, dimensions)
    if axes is None:
        yield no("the axes that it reduces are no constant", OPERATORS_103)
    elif min(axes, default=0) < dimensions - 3:
        yield no("it reduces over the batch", OPERATORS_103, "")
    yield from _maps(unit, node)


# Activations.


def _clip(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    low, high = _bound(node, 1, "min"), _bound(node, 2, "max")
    if low is None or high is None:
        yield no("its bounds are no constants", GUIDE, "")
    elif low != 0:
        yield no(f"a DLA clips from 0 on, not from {low:g}", OPERATORS_86)
    elif high == math.inf:
        yield unknown("of clipping from 0 on without an end no source speaks", GUIDE, LOWER)
    elif high > 127:
        yield no(f"a DLA clips at 127 at most, not at {high:g}", OPERATORS_86)
    elif high < 1:
        yield unknown(f"of clipping at {high:g} sources disagree", f"{GUIDE}; {OPERATORS_86}")
    yield from _maps(unit, node)


def _bound(node: ir.Node, index: int, name: str) -> float | None:
    """Return a bound of a Clip, infinite if it has none; None if it is no constant."""
    value = given(node, index)
    if value is None:
        return number(node, name, -math.inf if name == "min" else math.inf)
    array = static(value)
    return None if array is None or not array.size else float(array.reshape(-1)[0])


def _slope(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    if not is_constant(given(node, 1)):
        yield no("its slope is no constant", GUIDE, "")
    yield from _maps(unit, node)


def _softmax(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    if unit.generation == "xavier":
        yield no("the DLA of a Xavier has no softmax", HEADER, "")
    if unit.version < (8, 4):
        yield no("TensorRT below 8.4 has no softmax on a DLA", GUIDE_82, "")
    yield from _maps(unit, node)
    sizes = _map(given(node, 0))
    if sizes is None:
        return
    axis = integer(node, "axis", -1) % _RANK
    others = math.prod(size for place, size in enumerate(sizes) if place not in (0, axis))
    if axis == 0:
        yield no("it runs over the batch", HEADER, "")
    elif sizes[axis] > 8192 or (others > 1 and sizes[axis] > 1024):
        most = 1024 if others > 1 else 8192
        yield no(f"its axis is longer than {most}", HEADER, "")
    if unit.version < (8, 5) and (others > 1 or sizes[0] > 1):
        yield no("beside its axis there are sizes other than 1", GUIDE_84, "")


# Element by element.


def _elementwise(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    data, whole = data_of(node), _map(node.outputs[0])
    yield from _maps(unit, node)
    if whole is None:
        return
    constants = [value for value in node.inputs if value is not None and value not in data]
    if constants and len(node.inputs) > 1:
        yield from _scaled(unit, node, constants)
    for shape in map(_sizes, data):
        if shape is None or len(shape) != _RANK or shape == whole:
            continue
        if constants:
            yield unknown("of spreading a map over a constant no source speaks", GUIDE, LOWER)
        else:
            yield from _spread(unit, shape, whole)


def _spread(unit: Unit, shape: Sequence[int], whole: Sequence[int]) -> Iterator[Answer]:
    """Yield what is said of a map that is spread over a larger one."""
    if list(shape) != [*whole[:2], 1, 1]:
        axes = zip(("batch", "channels", "rows", "columns"), shape, whole, strict=True)
        said = " and ".join(f"the {name}" for name, size, most in axes if size != most)
        yield unknown(f"of spreading over {said} no source speaks for sure", OPERATORS_103, LOWER)
    elif unit.version >= (8, 5):
        yield yes(LOG_85, "a value a channel is spread over the map")
    else:
        yield unknown("of spreading a value a channel over a map no source speaks", GUIDE_84)


def _scaled(unit: Unit, node: ir.Node, constants: Sequence[ir.Value]) -> Iterator[Answer]:
    """Yield what is said of an operation with a constant, which TensorRT makes a Scale layer."""
    whole = _map(node.outputs[0])
    shapes = [static_sizes(value) for value in constants]
    if whole is None:
        return
    if len(constants) > 1 or node.op_type in ("Max", "Sum"):
        yield unknown("of a constant among its operands no source speaks", GUIDE)
    elif node.op_type == "Sub" and node.inputs[0] is constants[0]:
        yield unknown("of a constant less a map no source speaks", GUIDE, LOWER)
    elif shapes[0] is None or [1] * (_RANK - len(shapes[0])) + shapes[0] not in (
        [1, 1, 1, 1],
        [1, whole[1], 1, 1],
        [1, *whole[1:]],
    ):
        reason = "its constant is of no shape that a Scale layer takes: a value, by channel, a map"
        yield unknown(reason, GUIDE, LOWER)
    elif unit.version >= (8, 5):
        yield yes(MATRIX, "its constant becomes a Scale layer")
    elif unit.version >= (8, 4):
        yield no("its constant stays on the GPU, and it does too", LOG_84)
    else:
        yield unknown("of a constant among its operands no source speaks", GUIDE_82)


def _minimum(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    yield unknown("sources disagree on it", f"{GUIDE}; {MATRIX}")
    yield from _maps(unit, node)


def _division(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    """Yield what is said of Div and Pow."""
    if unit.version < (8, 6, 12):
        source = LOG_85 if unit.version < (8, 6) else LOG_86
        yield no("a DLA has no such operation", source if node.op_type == "Div" else MATRIX)
    elif (10,) <= unit.version < (10, 8):
        yield no("a DLA has no such operation", LOG_103_NORMS)
    else:
        yield unknown("sources disagree on it", f"{OPERATORS_103}; {LOG_103_NORMS}", LOWER)
    yield from _maps(unit, node)


def _wave(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    """Yield what is said of sines, cosines and arcs."""
    if unit.version < (8, 6, 12):
        yield no("a DLA has no such operation", MATRIX, "")
        return
    yield unknown("it is documented, but not for which precision", GUIDE)
    yield from _maps(unit, node)


def _comparison(unit: Unit, _: ir.Node) -> Iterator[Answer]:
    if unit.precision == "fp16" or unit.version < (8, 5):
        yield no("a DLA compares in int8 only, from TensorRT 8.5 on", GUIDE, "")
        return
    yield unknown("it is taken where a cast to int8 or fp16 stands right behind it", GUIDE)


# Shapes.


def _shuffle(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    """Yield what speaks against a Reshape or a Transpose."""
    if unit.version < (8, 5):
        yield no("TensorRT below 8.5 has no shuffles on a DLA", GUIDE_84)
    value = given(node, 0)
    ranks = {None if value is None else rank(value), rank(node.outputs[0])} - {None}
    before, after = _map(value), _map(node.outputs[0])
    if ranks - {_RANK}:
        yield no("a DLA reshapes 4 dimensions into 4 only", LOG_85_XAVIER)
    elif before is not None and after is not None:
        perm = ints(node, "perm", list(reversed(range(_RANK))))
        if before[0] != after[0] or (node.op_type == "Transpose" and perm[0] != 0):
            yield no("it changes the batch", GUIDE, "")
    beside = [None if value is None else value.producer()]
    beside += [use.node for use in node.outputs[0].uses()]
    if node.op_type == "Reshape" and any(
        one is not None and one.op_type in ("Slice", "Split", "Concat") for one in beside
    ):
        yield no("it stands right beside a Slice, Split or Concat", LOG_85_XAVIER)


def _view(unit: Unit, _: ir.Node) -> Iterator[Answer]:
    source = LOG_103 if unit.version >= (10,) else MATRIX
    yield no("it changes how many dimensions there are", source)


def _concatenation(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    if len(node.inputs) == 1:
        yield no("it has one input", GUIDE, "")
    dimensions = rank(node.outputs[0])
    if dimensions and integer(node, "axis", 0) % dimensions != 1:
        yield no("a DLA concatenates along channels only", LOG_85_ORIN)
    if len(data_of(node)) < len(node.inputs):
        yield unknown("of a constant among its inputs no source speaks", GUIDE)
    yield from _maps(unit, node)


def _slice(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    """Yield what speaks against a Slice or a Split."""
    if unit.version < (8, 5):
        yield no("TensorRT below 8.5 has no slices on a DLA", GUIDE_84)
    value = given(node, 0)
    if value is not None and rank(value) not in (_RANK, None):
        yield no(f"a DLA slices 4 dimensions, not {rank(value)}", LOG_85_ORIN)
    if unit.precision == "int8":
        yield unknown("slices are documented for fp16 only", OPERATORS_103)
    axes, steps = _sliced(node)
    if axes is None or steps is None:
        yield no("what it slices is no constant", GUIDE, "")
        return
    if any(axis % _RANK == 0 for axis in axes):
        yield no("it slices the batch", GUIDE, "")
    if {*steps} - {1}:
        yield no("it does not slice by steps of 1", GUIDE)


def _sliced(node: ir.Node) -> tuple[list[int] | None, list[int] | None]:
    """Return the axes and the steps of a Slice or Split, None where they are no constants."""
    if node.op_type == "Split":
        return [integer(node, "axis", 0)], [1]
    starts, ends = _listed(node, 1, "starts"), _listed(node, 2, "ends")
    if starts is None or ends is None:
        return None, None
    axes = _listed(node, 3, "axes")
    if axes == []:
        axes = list(range(len(starts)))
    return axes, _listed(node, 4, "steps")


def _padding(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    pads = _listed(node, 1, "pads")
    if pads is not None and not any(pads):
        yield yes(PARSER, "it pads nothing")
        return
    source = LOG_85_XAVIER if unit.version >= (8, 5) else GUIDE_84
    yield no("a DLA has no slices out of bounds, which TensorRT makes of it", source)


def _resize(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    yield from _maps(unit, node)
    scales, mode = _scales(node), text(node, "mode", "nearest")
    most = {"nearest": 32, "linear": 4}.get(mode)
    if mode == "linear" and unit.version < (8, 4):
        yield no("TensorRT below 8.4 resizes to the nearest only on a DLA", GUIDE_82, "")
    if most is None:
        yield no(f"a DLA has no {mode} resize", HEADER, "")
    elif scales is None:
        yield no("it has sizes and no constant scales", HEADER, "Give it scales.")
    elif scales[:-2] != [1, 1] or not all(one in range(1, most + 1) for one in scales[-2:]):
        said = " x ".join(f"{one:g}" for one in scales)
        yield no(f"its scales of {said} are not 1 x 1 and whole numbers up to {most}", HEADER, "")
    # What has scales as its second input, and no region, is from before opset 11.
    coordinates, rounding = "asymmetric", "floor"
    if node.op_type == "Resize" and len(node.inputs) != 2:
        coordinates = text(node, "coordinate_transformation_mode", "half_pixel")
        rounding = text(node, "nearest_mode", "round_prefer_floor")
    if mode == "linear" and coordinates not in ("half_pixel", "pytorch_half_pixel"):
        yield no(f"a DLA has no linear resize with {coordinates} coordinates", HEADER, "")
    if mode == "nearest" and (coordinates, rounding) not in (
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_floor"),
        ("half_pixel", "round_prefer_ceil"),
    ):
        reason = f"a DLA has no nearest resize with {coordinates} coordinates and {rounding}"
        yield no(reason, HEADER, "")


def _scales(node: ir.Node) -> list[float] | None:
    """Return the scales of a Resize or an Upsample, or None if it has none that are constant."""
    if "scales" in node.attributes:
        return list(node.attributes["scales"].as_floats())
    array = static(given(node, 1 if len(node.inputs) == 2 else 2))
    return [float(one) for one in array.reshape(-1)] if array is not None and array.size else None


# Products, and the rest.


def _product(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    """Yield what is said of a Gemm or a MatMul."""
    if not is_constant(given(node, 1)):
        source = LOG_103_DETR if unit.version >= (10,) else LOG_85_XAVIER
        yield no("what it multiplies with is no constant", source, "")
        return
    value = given(node, 0)
    if value is not None and rank(value) not in (2, None):
        yield unknown("of products in other than 2 dimensions no source speaks", MATRIX, LOWER)
    elif integer(node, "transA", 0) or not is_constant(given(node, 2)):
        yield unknown("of a product that is more than with a constant no source speaks", MATRIX)
    else:
        source = LOG_103 if unit.version >= (10,) else MATRIX
        yield yes(source, "it runs there as a convolution, the reshape behind it on the GPU")


def _cast(_: Unit, __: ir.Node) -> Iterator[Answer]:
    yield unknown("of casts no source speaks", GUIDE)


def _identity(_: Unit, node: ir.Node) -> Iterator[Answer]:
    if node.outputs[0].is_graph_output():
        yield no("a DLA has no layer for it", MATRIX, "Let what it copies be the output.")
    else:
        yield unknown("whether TensorRT leaves it out before it divides is not sure", MATRIX)


def _quantisation(unit: Unit, _: ir.Node) -> Iterator[Answer]:
    if unit.precision == "fp16":
        yield no("a DLA in fp16 does not quantise", GUIDE, "Check it with --precision int8.")
    elif unit.version < (10,):
        mend = "Turn Q/DQ into a calibration cache: NVIDIA's qdq-translator does."
        yield no("TensorRT 8 gives a DLA no explicit quantisation", GUIDE_84, mend)
    else:
        yield unknown("sources disagree on explicit quantisation", f"{GUIDE}; {MATRIX}")


def _local_response(unit: Unit, node: ir.Node) -> Iterator[Answer]:
    size = integer(node, "size", 1)
    if size not in (3, 5, 7, 9):
        yield no(f"its window is {size}, not 3, 5, 7 or 9", GUIDE, "")
    yield from _maps(unit, node)


_NO_ACTIVATION: Final = _never("a DLA has no such activation through TensorRT", LOG_85)
_NO_FUNCTION: Final = _never("a DLA has no such operation through TensorRT", MATRIX)

#: The rule of each ONNX operator that a DLA has a layer for, or that logs speak of.
LAYERS: Final[dict[str, Rule]] = {
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "Abs", "BatchNormalization"), _maps),
    **dict.fromkeys(("Add", "Mul", "Max", "Sum"), _elementwise),
    **dict.fromkeys(("Div", "Pow"), _division),
    **dict.fromkeys(("Sin", "Cos", "Atan"), _wave),
    **dict.fromkeys(("Equal", "Greater", "Less"), _comparison),
    **dict.fromkeys(("GlobalAveragePool", "ReduceMean", "ReduceSum", "ReduceMin"), _reduction),
    **dict.fromkeys(("GlobalMaxPool", "ReduceMax"), _maximum_over),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("Reshape", "Transpose"), _shuffle),
    **dict.fromkeys(("Flatten", "Squeeze", "Unsqueeze"), _view),
    **dict.fromkeys(("Slice", "Split"), _slice),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    **dict.fromkeys(("MatMul", "Gemm"), _product),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantisation),
    **dict.fromkeys(("HardSigmoid", "HardSwish"), _NO_ACTIVATION),
    **dict.fromkeys(
        ("Exp", "Log", "Sqrt", "Erf", "Neg", "Floor", "Ceil", "Reciprocal", "Softplus", "Mish"),
        _NO_FUNCTION,
    ),
    **dict.fromkeys(
        ("Expand", "Tile"),
        _never("a DLA has no slices out of bounds, which TensorRT makes of it", LOG_85_XAVIER),
    ),
    "Conv": _convolution,
    "ConvTranspose": _deconvolution,
    "Clip": _clip,
    "LeakyRelu": _since_84(_maps),
    "PRelu": _since_84(_slope),
    "Sub": _since_84(_elementwise),
    "Softmax": _softmax,
    "Min": _minimum,
    "Concat": _concatenation,
    "Pad": _padding,
    "Cast": _cast,
    "CastLike": _cast,
    "Identity": _identity,
    "LRN": _local_response,
}
