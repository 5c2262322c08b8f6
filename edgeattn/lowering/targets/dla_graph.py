"""What of a graph is no region, for a DLA: its outputs, layers on flattened maps, picks, averages.

    an output (N, C)                         the map (N, C, 1, 1) that the last Reshape would be of
    a layer on (N, C H W), flattened         a convolution with a kernel of H x W
    pooled maps (N, C) side by side          the maps (N, C, 1, 1), joined and flattened
    the sum over what maps are stacked on    the sum of the maps, each with its gate
    a product (N, C, H W) by (N, H W, 1)     the sum of the map times its weights
    a Gather of channels                     a 1x1 convolution that picks each
    an average that leaves padding out       one that counts it, times a window over its share
    a Resize to sizes                        one by scales, where they are whole numbers
    a maximum over a wider window            maxima of maxima, whose windows add up to it
    a dilated convolution, padded widely     one with zeros between its weights
    zeros beside a map                       those of the convolution behind, or of one that copies

A DLA has maps only: what changes their rank falls back, and the Reshape before an output takes the
result through the GPU. An output as a map has the same numbers in the same order.

Averages and layers are exact in real numbers, the others to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgeattn.graph.marks import maps_of, mark_maps
from edgeattn.graph.nodes import (
    given,
    integer,
    ints,
    is_unpadded,
    length_of,
    reduced_axes,
    static,
    static_ints,
    static_sizes,
    text,
    weight_and_bias,
)
from edgeattn.lowering.build import Builder, replace
from edgeattn.lowering.measures import is_read
from edgeattn.lowering.perceptrons import layer_of
from edgeattn.lowering.raising import FLOATS, sizes
from edgeattn.lowering.target import MAP_OUTPUT
from edgeattn.lowering.targets.layout import reshape
from edgeattn.lowering.targets.writer import Refused
from edgeattn.records.lowering import Rewrite

FLAT_LAYER: Final = "flat-layer"
_MATRIX: Final = 2
_MAP: Final = 4
_LARGEST_KERNEL: Final = 32
# One less than the widest window that leaves the place of its middle.
_WIDEST_STEP: Final = 6
#: Elements of a layer's weights: a band over 2048 channels.
LARGEST_MATRIX: Final = 1 << 22
# Of a graph's meta: the outputs (N, C) that it got as maps.
_MAPPED: Final = "edgeattn.mapped"
_VIEWS: Final = frozenset({"Flatten", "Reshape", "Squeeze", "Identity", "Dropout"})


def before(model: ir.Model, build: Builder, rules: Collection[str]) -> list[Rewrite]:
    """Write layers on flattened maps as convolutions, sums of stacks as sums, outputs as maps.

    Args:
        model: The model, changed in place.
        build: Makes the nodes.
        rules: The rules that are used.
    """
    done = []
    written = (
        (FLAT_LAYER, _unflattened),
        (FLAT_LAYER, _joined),
        ("grouped-branches", _summed),
        ("global-mean", _weighed),
        ("linear", _with_margins),
    )
    for rule, write in written:
        if rule in rules:
            done += _each_put(model.graph, write, build, rule)
    if done:
        passes.RemoveUnusedNodesPass()(model)  # what nothing reads is no part of a region
    if MAP_OUTPUT in rules:
        names = [value.name for value in model.graph.outputs if _is_mapped(value)]
        for place, value in enumerate(list(model.graph.outputs)):
            if value.name in names:
                _map(model.graph, place, build)
        mark_maps(model, [*maps_of(model), *filter(None, names)])
        model.graph.meta[_MAPPED] = names
    return done


def _each_put(graph: ir.Graph, write: _Write, build: Builder, rule: str) -> list[Rewrite]:
    """Put what is written for nodes in their places."""
    made = [(node, write(node, build)) for node in graph]
    return [_put(node, new, build, rule) for node, new in made if new is not None]


def after(
    model: ir.Model, build: Builder, rules: Collection[str], refused: Refused
) -> list[Rewrite]:
    """Write what a DLA has in another way, and let outputs that became no maps be as they were.

    Args:
        model: The model, changed in place.
        build: Makes the nodes.
        rules: The rules that are used.
        refused: Returns why a DLA does not run a node.
    """
    done = []
    if FLAT_LAYER in rules:  # what stood between a map and it is written anew by now
        done += _each_put(model.graph, _unflattened, build, FLAT_LAYER)
        _join_views(model.graph)
    for node in list(model.graph):
        rule, write = _WRITTEN.get(node.op_type, ("", None))
        if write is not None and rule in rules and refused(node):
            made = write(node, build)
            if made is not None and not any(map(refused, build.loose([made]))):
                done.append(_put(node, made, build, rule))
    kept, new = [], model.graph.meta.pop(_MAPPED, ())
    for place, value in enumerate(list(model.graph.outputs)):
        if value.name not in maps_of(model):
            continue
        if not _unmap(model.graph, place):
            kept.append(value.name)
        if value.name in kept and value.name in new:
            done.append(Rewrite(rule=MAP_OUTPUT, site=value.name, nodes_before=(), nodes_after=()))
    mark_maps(model, kept)
    passes.RemoveUnusedNodesPass()(model)
    return done


def _join_views(graph: ir.Graph) -> None:
    """Let what reads a map that was flattened and is a map again read the map."""
    for node in list(graph):
        value, x = node.outputs[0], given(node, 0)
        if node.op_type not in _VIEWS or value.shape is None or None in sizes(value):
            continue
        while x is not None and (maker := x.producer()) is not None and maker.op_type in _VIEWS:
            x = maker.inputs[0]
            if x is None or x.shape is None or sizes(x) != sizes(value):
                continue
            if not (value.is_graph_output() and (x.is_graph_input() or x.is_graph_output())):
                replace(value, x, is_made=False)
            break


def _put(node: ir.Node, made: ir.Value, build: Builder, rule: str) -> Rewrite:
    """Put what computes a value in the place of a node."""
    inserted = build.insert(made, node)
    replace(node.outputs[0], made, is_made=True)
    assert node.graph is not None, "it was found there"
    node.graph.remove(node, safe=True)
    name = node.name or ""
    return Rewrite(
        rule=rule,
        site=name,
        nodes_before=(name,),
        nodes_after=tuple(one.name or "" for one in inserted),
    )


def _is_mapped(value: ir.Value) -> bool:
    """Return whether an output (N, C) may be a map."""
    shape = None if value.shape is None else sizes(value)
    return (
        shape is not None
        and len(shape) == _MATRIX
        and isinstance(shape[1], int)
        and shape[0] is not None
        and value.dtype in FLOATS
        and value.producer() is not None
        and not value.consumers()
    )


def _map(graph: ir.Graph, place: int, build: Builder) -> None:
    """Put a Reshape to a map behind an output, which lowering makes part of what computes it."""
    value = graph.outputs[place]
    node = value.producer()
    assert node is not None, "a graph's input is not mapped"
    build.origin = node.name or ""
    made = reshape(build, value, [*(size for size in sizes(value) if size is not None), 1, 1])
    build.insert(made, node)
    maker = made.producer()
    assert maker is not None, "it was made"
    graph.remove(maker)
    graph.insert_after(node, maker)
    graph.outputs[place] = made
    made.name, value.name = value.name, made.name


def _unmap(graph: ir.Graph, place: int) -> bool:
    """Take the Reshape before an output away, if it is there still."""
    value = graph.outputs[place]
    node = value.producer()
    if node is None or node.op_type != "Reshape":
        return False
    x = node.inputs[0]
    before, after = (None if one is None or one.shape is None else sizes(one) for one in (x, value))
    if x is None or before is None or after is None or before != after[:_MATRIX]:
        return False
    if x.producer() is None or x.is_graph_output():
        return False
    graph.outputs[place] = x
    x.name, value.name = value.name, x.name
    if not value.consumers():
        graph.remove(node, safe=True)
    return True


def _unflattened(node: ir.Node, build: Builder) -> ir.Value | None:
    """Return a layer on a flattened map as a convolution of the map, flattened behind it."""
    if node.op_type not in {"Gemm", "MatMul"} or node.domain:
        return None
    layer, x = layer_of(node), given(node, 0)
    while x is not None and (maker := x.producer()) is not None and maker.op_type in _VIEWS:
        x = maker.inputs[0]
    shape = None if x is None or x.shape is None else sizes(x)
    flat = None if node.inputs[0] is None else static_sizes(node.inputs[0])
    if layer is None or x is None or shape is None or len(shape) != _MAP or flat is None:
        return None
    batch, *inner = shape
    if len(flat) != _MATRIX or batch is None or any(not isinstance(one, int) for one in inner):
        return None
    channels, *sides = (int(one) for one in inner if one is not None)
    width = channels * sides[0] * sides[1]
    if flat[1] != width or max(sides) == 1 or max(sides) > _LARGEST_KERNEL:
        return None
    weight, bias = layer
    build.origin = node.name or ""
    inputs = [x, build.constant(weight.reshape(-1, channels, *sides))]
    inputs += [] if bias is None else [build.constant(np.ascontiguousarray(bias))]
    shape = [batch, len(weight), 1, 1]
    made = build.node("Conv", inputs, shape, {"kernel_shape": sides})
    return reshape(build, made, [batch, len(weight)])


def _joined(node: ir.Node, build: Builder) -> ir.Value | None:
    """Return flattened statistics of maps side by side as maps side by side, flattened."""
    shape = None if node.outputs[0].shape is None else sizes(node.outputs[0])
    if node.op_type != "Concat" or node.domain or shape is None or len(shape) != _MATRIX:
        return None
    if integer(node, "axis", 0) % _MATRIX != 1 or None in shape:
        return None
    parts = [value for value in node.inputs if value is not None and _is_of_map(value)]
    build.origin = node.name or ""
    if len(parts) != len(node.inputs):
        return None
    wide = [[*(one for one in sizes(part) if one is not None), 1, 1] for part in parts]
    maps = [reshape(build, part, own) for part, own in zip(parts, wide, strict=True)]
    whole = [*(one for one in shape if one is not None), 1, 1]
    made = build.node("Concat", maps, whole, {"axis": 1})
    return reshape(build, made, whole[:_MATRIX])


def _is_of_map(value: ir.Value | None) -> bool:
    """Return whether what is flat is a statistic of a map: a view of one, or reduced."""
    if value is None or value.shape is None or None in sizes(value):
        return False
    while value is not None and (maker := value.producer()) is not None:
        if maker.op_type not in _VIEWS and not maker.op_type.startswith("Reduce"):
            return False
        value = maker.inputs[0]
        if value is not None and value.shape is not None and len(value.shape) == _MAP:
            return True
    return False


def _summed(node: ir.Node, build: Builder) -> ir.Value | None:
    """Return the sum, or the mean, over the axis on which maps are stacked."""
    if node.op_type not in {"ReduceSum", "ReduceMean"} or node.domain:
        return None
    x, gate = given(node, 0), None
    stack = None if x is None else x.producer()
    if stack is not None and stack.op_type == "Mul":  # with a gate for each
        one, other = stack.inputs
        if one is None or (maker := one.producer()) is None or maker.op_type != "Concat":
            one, other = other, one
        stack, gate = (None if one is None else one.producer()), other
    if stack is None:
        return None
    whole = static_sizes(stack.outputs[0])
    if stack.op_type != "Concat" or whole is None or integer(node, "keepdims", 1):
        return None
    axis = integer(stack, "axis", 0) % len(whole)
    if reduced_axes(node, len(whole)) != [axis]:
        return None
    parts = []
    for value in stack.inputs:
        maker = None if value is None else value.producer()
        if maker is None or maker.op_type != "Unsqueeze" or length_of(value, axis) != 1:
            return None
        axes = ints(maker, "axes") or static_ints(given(maker, 1)) or []
        if [one % len(whole) for one in axes] != [axis] or maker.inputs[0] is None:
            return None
        parts.append(maker.inputs[0])
    build.origin = node.name or ""
    if gate is not None:
        own = None if gate.shape is None else sizes(gate)
        if own is None or len(own) != len(whole) or own[axis] != len(parts):
            return None
        own.pop(axis)
        for place, part in enumerate(parts):
            index = build.constant(np.array(place, dtype=np.int64))
            one = build.node("Gather", [gate, index], own, {"axis": axis})
            parts[place] = build.node("Mul", [part, one], sizes(node.outputs[0]))
    shape, total = sizes(node.outputs[0]), parts[0]
    for part in parts[1:]:
        total = build.node("Add", [total, part], shape)
    if node.op_type == "ReduceMean" and total.dtype is not None:
        share = build.constant(np.array(1 / len(parts), dtype=total.dtype.numpy()))
        total = build.node("Mul", [total, share], shape)
    return total


def _weighed(node: ir.Node, build: Builder) -> ir.Value | None:
    """Return a product with one computed column as the sum of products over its places."""
    x, column = given(node, 0), given(node, 1)
    if node.op_type != "MatMul" or node.domain or x is None or column is None:
        return None
    shapes = [None if one.shape is None else sizes(one) for one in (x, column)]
    maker = x.producer()
    source = None if maker is None or maker.op_type not in _VIEWS else given(maker, 0)
    flat = None if source is None else static_sizes(source)
    if flat is None or len(flat) != _MAP or not is_read(column) or x.dtype not in FLOATS:
        return None
    left, right = shapes
    if left is None or right is None or None in left or None in right:
        return None
    if len(left) <= _MATRIX or right[-1] != 1 or left[:-2] != right[:-2]:
        return None
    build.origin, rank = node.name or "", len(left)
    wide = [one for one in left if one is not None]
    line = [one for one in (*right[:-2], 1, right[-2]) if one is not None]
    order = [*range(rank - 2), rank - 1, rank - 2]
    turned = build.node("Transpose", [column], line, {"perm": order})
    product = build.node("Mul", [x, turned], wide)
    return build.reduce("ReduceSum", product, [rank - 1], [*wide[:-1], 1])


def _picked(node: ir.Node, build: Builder) -> ir.Value | None:
    """Return a Gather of the channels of a map as a convolution."""
    x, places = given(node, 0), static(given(node, 1))
    shape = None if x is None or x.shape is None else sizes(x)
    if x is None or shape is None or places is None or places.ndim != 1 or len(shape) != _MAP:
        return None
    if integer(node, "axis", 0) % _MAP != 1 or not isinstance(shape[1], int):
        return None
    if x.dtype not in FLOATS or shape[1] * len(places) > LARGEST_MATRIX:
        return None
    build.origin = node.name or ""
    weight = np.eye(shape[1], dtype=x.dtype.numpy())[places][:, :, None, None]
    shape[1] = len(places)
    return build.node("Conv", [x, build.constant(weight)], shape, {"kernel_shape": [1, 1]})


def _averaged(node: ir.Node, build: Builder) -> ir.Value | None:
    """Return an average as one that counts its padding, with what is padding multiplied away."""
    x, shape = given(node, 0), static_sizes(node.outputs[0])
    kernel, is_counted = ints(node, "kernel_shape"), integer(node, "count_include_pad", 0)
    if x is None or shape is None or is_counted or len(shape) != _MAP or x.dtype not in FLOATS:
        return None
    if text(node, "auto_pad", "NOTSET") not in {"NOTSET", "VALID"}:
        return None
    build.origin = node.name or ""
    how: dict[str, Any] = {one.name: one for one in node.attributes.values()}
    how["count_include_pad"] = 1
    outside, is_cut = sizes(node.outputs[0]), not integer(node, "ceil_mode", 0)
    if is_unpadded(node) and is_cut:
        return build.node("AveragePool", [x], outside, how)
    before = [size or 0 for size in static_sizes(x) or ()]
    if not all((*before[1:], *shape[1:])):
        return None
    pads, strides = ints(node, "pads", [0] * 4), ints(node, "strides", [1, 1])
    shares = []
    for place, (side, step) in enumerate(zip(kernel, strides, strict=True)):
        count = int(shape[2 + place] or 0)
        first = np.arange(count) * step - pads[place]
        last = np.minimum(first + side, before[2 + place])
        shares.append((last - np.maximum(first, 0)) / side)
        if not is_cut:  # what a last window has more is padding, or nothing is
            needed = (count - 1) * step + side - pads[place] - before[2 + place]
            pads[2 + place] = max(needed, pads[2 + place])
    is_wide = any(pad >= side for pad, side in zip(pads, kernel * 2, strict=True))
    if is_wide or any((share <= 0).any() for share in shares):
        return None
    how |= {"pads": pads, "ceil_mode": 0, "auto_pad": "NOTSET"}
    made = build.node("AveragePool", [x], outside, how)
    if not any(pads):
        return made
    factor = 1 / np.multiply.outer(*shares)
    whole = np.broadcast_to(factor, [1, *(size or 1 for size in shape[1:])])
    constant = build.constant(whole.astype(x.dtype.numpy()))
    return build.node("Mul", [made, constant], outside)


def _scaled(node: ir.Node, build: Builder) -> ir.Value | None:
    """Return a Resize to sizes as one by scales, where they are whole numbers."""
    x, scales = given(node, 0), given(node, 2)
    before = None if x is None else static_sizes(x)
    after = static_sizes(node.outputs[0])
    if x is None or before is None or after is None or scales is not None or given(node, 1):
        return None
    if len(before) != _MAP or before[1] != after[1] or "axes" in node.attributes:
        return None
    pairs = list(zip(before[2:], after[2:], strict=True))
    if any(one is None or other is None or other % one for one, other in pairs):
        return None
    build.origin = node.name or ""
    ratios = [1, 1, *((other or 1) // (one or 1) for one, other in pairs)]
    how = {one.name: one for one in node.attributes.values()}
    inputs = [x, None, build.constant(np.array(ratios, dtype=np.float32))]
    return build.node("Resize", inputs, sizes(node.outputs[0]), how)


def _widened(node: ir.Node, build: Builder) -> ir.Value | None:
    """Return a maximum over a window, step by step, as several over windows of 7 at most."""
    x, kernel = given(node, 0), ints(node, "kernel_shape")
    is_plain = set(ints(node, "strides")) | set(ints(node, "dilations")) <= {1}
    pads = [side // 2 for side in kernel] * 2
    if x is None or len(node.outputs) != 1 or not is_plain or ints(node, "pads") != pads:
        return None
    if len(kernel) != _MAP - 2 or not all(side % 2 for side in kernel):
        return None
    build.origin = node.name or ""
    shape, rest, value = sizes(node.outputs[0]), [side - 1 for side in kernel], x
    while any(rest):
        step = [min(one, _WIDEST_STEP) for one in rest]
        rest = [one - own for one, own in zip(rest, step, strict=True)]
        how = {"kernel_shape": [own + 1 for own in step], "pads": [own // 2 for own in step] * 2}
        value = build.node("MaxPool", [value], shape, how)
    return value


def _dense(node: ir.Node, build: Builder) -> ir.Value | None:
    """Return a dilated convolution as one that is not, of a larger kernel."""
    constants, dilations = weight_and_bias(node), ints(node, "dilations")
    x, weight = given(node, 0), given(node, 1)
    if constants is None or x is None or weight is None or weight.dtype is None:
        return None
    array = constants[0]
    if array.ndim != _MAP or set(dilations) <= {1} or text(node, "auto_pad", "NOTSET") != "NOTSET":
        return None
    kernel = [(side - 1) * step + 1 for side, step in zip(array.shape[2:], dilations, strict=True)]
    shape = (*array.shape[:2], *kernel)
    if max(kernel) > _LARGEST_KERNEL or math.prod(shape) > LARGEST_MATRIX:
        return None
    spread = np.zeros(shape, dtype=weight.dtype.numpy())
    spread[:, :, :: dilations[0], :: dilations[1]] = array
    build.origin = node.name or ""
    how = {one.name: one for one in node.attributes.values() if one.name != "dilations"}
    how["kernel_shape"] = ir.AttrInt64s("kernel_shape", kernel)
    inputs = [x, build.constant(spread), *node.inputs[2:]]
    return build.node("Conv", inputs, sizes(node.outputs[0]), how)


def _margins(node: ir.Node | None) -> list[int] | None:
    """Return what a Pad puts beside rows and columns, as `pads` of a layer, if it is zeros."""
    x = None if node is None else given(node, 0)
    if node is None or node.op_type != "Pad" or node.domain or x is None or x.shape is None:
        return None
    amounts, axes = static_ints(given(node, 1)), static_ints(given(node, 3))
    filling = given(node, 2)
    fill = static(filling) if filling is not None else np.zeros(1)
    if text(node, "mode", "constant") != "constant" or fill is None or fill.any():
        return None
    if amounts is None or len(x.shape) != _MAP or x.dtype not in FLOATS or min(amounts) < 0:
        return None
    if axes is None and given(node, 3) is not None:
        return None
    ends = np.zeros((2, _MAP), dtype=np.int64)
    places = range(_MAP) if axes is None else [axis % _MAP for axis in axes]
    ends[:, list(places)] = np.reshape(amounts, (2, -1))
    return None if ends[:, :2].any() else ends[:, 2:].reshape(-1).tolist()


def _with_margins(node: ir.Node, build: Builder) -> ir.Value | None:
    """Return a convolution of a map with zeros beside it as one that puts them there."""
    x, weight = given(node, 0), given(node, 1)
    pad = None if x is None else x.producer()
    margins, shape = _margins(pad), None if weight is None else static_sizes(weight)
    if node.op_type != "Conv" or node.domain or pad is None or margins is None or shape is None:
        return None
    auto = text(node, "auto_pad", "NOTSET")
    if auto not in {"NOTSET", "VALID"} or node.outputs[0].shape is None:
        return None
    own = ints(node, "pads", [0] * 4) if auto == "NOTSET" else [0] * 4
    pads = [one + other for one, other in zip(own, margins, strict=True)]
    if any(side is None or one >= side for one, side in zip(pads, shape[2:] * 2, strict=True)):
        return None
    build.origin = node.name or ""
    how: dict[str, Any] = {one.name: one for one in node.attributes.values()}
    how |= {"pads": pads, "auto_pad": "NOTSET"}
    inputs = [pad.inputs[0], *node.inputs[1:]]
    return build.node("Conv", inputs, sizes(node.outputs[0]), how)


def _copied(node: ir.Node, build: Builder) -> ir.Value | None:
    """Return a map with zeros beside it as a depthwise convolution that copies it."""
    margins, x = _margins(node), given(node, 0)
    channels = None if x is None else length_of(x, 1)
    if margins is None or x is None or x.dtype is None or channels is None:
        return None
    top, left, bottom, right = margins
    high, wide = top + bottom, left + right
    weight = np.zeros((channels, 1, high + 1, wide + 1), dtype=x.dtype.numpy())
    weight[:, :, bottom, right] = 1
    build.origin = node.name or ""
    how: dict[str, Any] = {"kernel_shape": [high + 1, wide + 1], "pads": [high, wide] * 2}
    inputs = [x, build.constant(weight)]
    return build.node("Conv", inputs, sizes(node.outputs[0]), {**how, "group": channels})


_Write = Callable[[ir.Node, Builder], ir.Value | None]
_WRITTEN: Final[Mapping[str, tuple[str, _Write]]] = {
    "Gather": ("channel-permutation", _picked),
    "AveragePool": ("spatial-pool", _averaged),
    "Resize": ("static-shapes", _scaled),
    "MaxPool": ("spatial-pool", _widened),
    "Conv": ("linear", _dense),
    "Pad": ("linear", _copied),
}
