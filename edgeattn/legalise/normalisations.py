"""Normalisations: layer, group, RMS and batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import AttributeValue, Edit
from edgeattn.graph.nodes import given, integer, is_used, needed, number, static
from edgeattn.legalise.refusals import HALF, RefusedError, dtype_of, rank_of


def _widened(node: ir.Node, edit: Edit) -> ir.Value:
    """Return x in the type of statistics: a double stays double, whatever `stash_type`."""
    x = needed(node, 0)
    asked = ir.DataType(integer(node, "stash_type", 1))
    return edit.cast(x, asked if dtype_of(x) in HALF else dtype_of(x))


def _axes(node: ir.Node) -> list[int]:
    axis = integer(node, "axis", -1)
    return list(range(axis if axis < 0 else axis - rank_of(needed(node, 0)), 0))


def layer_normalization(node: ir.Node, edit: Edit) -> None:
    """LayerNormalization 17 → 16. Real-number-exact.

    d = x - mean(x); y = d/√(mean(d²)+ε)·scale + bias over the axes from `axis` on; mean and root
    are taken in `stash_type`, scale and bias applied in x's own type, as in ONNX's function body.
    Requires the element type, and the rank where `axis` counts from the front.
    """
    x = needed(node, 0)
    dtype, axes = dtype_of(x), _axes(node)
    wide = _widened(node, edit)
    over: dict[str, AttributeValue] = {"axes": axes, "keepdims": 1}
    mean = edit.op("ReduceMean", [wide], over)
    d = edit.op("Sub", [wide, mean], like=wide)
    variance = edit.op("ReduceMean", [edit.op("Mul", [d, d], like=wide)], over)
    epsilon = edit.scalar(number(node, "epsilon", 1e-5), wide)
    deviation = edit.op("Sqrt", [edit.op("Add", [variance, epsilon])])
    y = edit.cast(edit.op("Div", [d, deviation], like=wide), dtype)
    y = edit.op("Mul", [y, needed(node, 1)], like=x)
    bias = given(node, 2)
    if bias is not None:
        y = edit.op("Add", [y, bias], like=x)
    outputs: list[ir.Value | None] = [y]
    for index, old in enumerate(node.outputs[1:], start=1):
        if not is_used(old):
            outputs.append(None)
        elif index == 1:
            outputs.append(edit.op("Identity", [mean]))
        else:
            outputs.append(edit.op("Reciprocal", [deviation]))
    edit.replace(*outputs)


def rms_normalization(node: ir.Node, edit: Edit) -> None:
    """RMSNormalization 23 → 22: x/√(mean(x²)+ε)·scale over the axes from `axis` on.

    Real-number-exact. Types and requirements as for layer normalisation; written in opset 18.
    """
    x = needed(node, 0)
    dtype, axes = dtype_of(x), _axes(node)
    wide = _widened(node, edit)
    square = edit.op("Mul", [wide, wide], like=wide)
    mean = edit.op("ReduceMean", [square, edit.integers(axes, "axes")], {"keepdims": 1})
    epsilon = edit.scalar(number(node, "epsilon", 1e-5), wide)
    root = edit.op("Sqrt", [edit.op("Add", [mean, epsilon])])
    y = edit.cast(edit.op("Div", [wide, root], like=wide), dtype)
    edit.replace(edit.op("Mul", [y, needed(node, 1)], like=x))


def _per_channel(edit: Edit, vector: ir.Value, dims: int, hint: str) -> ir.Value:
    """Return f[C] as f[C, 1, …, 1], so that it broadcasts over x: f[N, C, …]."""
    array = static(vector)
    if array is not None:
        return edit.constant(array.reshape([-1, *[1] * (dims - 2)]), hint)
    shape = edit.integers([-1, *[1] * (dims - 2)], "shape")
    return edit.op("Reshape", [vector, shape])


def _like_shape(edit: Edit, x: ir.Value) -> ir.Value:
    """Return the shape to reshape back to: constant where only the batch is unknown."""
    dims: Sequence[object] = () if x.shape is None else list(x.shape)[1:]
    known = [d for d in dims if isinstance(d, int)]
    if x.shape is not None and len(known) == len(dims):
        return edit.integers([0, *known], "shape")
    return edit.op("Shape", [x])


def _normalise_groups(
    node: ir.Node, edit: Edit, scale: ir.Value | None, bias: ir.Value | None
) -> ir.Value:
    """Normalise x: f[N, C, …] in groups: InstanceNormalization of f[N, G, C/G·…].

    The first dimension is copied, not written, so that any batch runs. `scale` and `bias` are per
    group; one and zero where not given.
    """
    x = needed(node, 0)
    groups = node.attributes["num_groups"].as_int()
    wide = _widened(node, edit)
    flat = edit.op("Reshape", [wide, edit.integers([0, groups, -1], "groups")])
    unit = np.ones(groups, dtype=dtype_of(wide).numpy())
    scale = edit.constant(unit, "scale") if scale is None else edit.cast(scale, dtype_of(wide))
    bias = edit.constant(0 * unit, "bias") if bias is None else edit.cast(bias, dtype_of(wide))
    normal = edit.op(
        "InstanceNormalization", [flat, scale, bias], {"epsilon": number(node, "epsilon", 1e-5)}
    )
    back = edit.op("Reshape", [normal, _like_shape(edit, x)], like=x)
    return edit.cast(back, dtype_of(x))


def group_normalization_per_channel(node: ir.Node, edit: Edit) -> None:
    """GroupNormalization 21 → 20: groups by InstanceNormalization, then ·scale + bias per channel.

    Real-number-exact. GroupNormalization 18 cannot say it (its scale is per group), and is
    withdrawn: ONNX's checker refuses it at every opset. Requires the element type and the rank.
    """
    x = needed(node, 0)
    dtype_of(x)
    dims = rank_of(x)
    y = _normalise_groups(node, edit, None, None)
    y = edit.op("Mul", [y, _per_channel(edit, needed(node, 1), dims, "scale")], like=x)
    edit.replace(edit.op("Add", [y, _per_channel(edit, needed(node, 2), dims, "bias")], like=x))


def group_normalization_per_group(node: ir.Node, edit: Edit) -> None:
    """GroupNormalization 18 → 17: InstanceNormalization over groups, whose scale is per group too.

    Real-number-exact. Requires the element type.
    """
    edit.replace(_normalise_groups(node, edit, needed(node, 1), needed(node, 2)))


def group_normalization_up(node: ir.Node, edit: Edit) -> None:
    """GroupNormalization 18 → 21: scale and bias are repeated for each channel of their group.

    Bit-exact. Requires constant scale and bias and a known number of channels.
    """
    x = needed(node, 0)
    groups = node.attributes["num_groups"].as_int()
    channels = x.shape[1] if x.shape is not None and len(x.shape) > 1 else None
    vectors = [static(given(node, 1)), static(given(node, 2))]
    if not isinstance(channels, int) or any(v is None for v in vectors):
        group_normalization_per_group(node, edit)
        return
    for index, (vector, hint) in enumerate(zip(vectors, ("scale", "bias"), strict=True), start=1):
        assert vector is not None
        edit.set_input(index, edit.constant(np.repeat(vector, channels // groups), hint))


def batch_normalization_down(node: ir.Node, edit: Edit) -> None:
    """BatchNormalization 14 → 9: only inference is the same in both. Bit-exact."""
    if integer(node, "training_mode", 0):
        raise RefusedError("it is in training mode")
    node.attributes.pop("training_mode", None)
    edit.trim()
    if len(node.outputs) > 1:
        raise RefusedError("it gives running statistics")


def batch_normalization_up(node: ir.Node, edit: Edit) -> None:
    """BatchNormalization 9 → 14: more than one output was how training was asked for. Bit-exact."""
    edit.trim()
    if len(node.outputs) > 1:
        raise RefusedError("it gives running statistics, so it is in training mode")
