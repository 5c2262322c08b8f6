"""What each change of an operator means, opset by opset.

A change is named by the operator and the opset that brought it. Going down, a node written for the
new version must become one of the version before; going up, the other way. In this order:

1. an adapter of `DOWN` or `UP`;
2. attributes that `NEUTRAL` names are dropped at a value at which they say nothing;
3. what both versions can say passes, by the schemas' attributes and arity; element types are
   checked against the target's schema at the end;
4. going down, ONNX's own function body takes the place of what the version before cannot say;
5. anything else is refused, and so is what an ONNX later than `REVIEWED` changed: nothing passes
   by accident.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import onnx_ir as ir

from edgeattn.graph.edit import Edit
from edgeattn.graph.nodes import is_used, text
from edgeattn.graph.schemas import signature
from edgeattn.legalise import (
    activations,
    element_types,
    functions,
    legacy,
    normalisations,
    pooling,
    reductions,
    sampling,
    shapes,
    spectral,
)
from edgeattn.legalise.refusals import RefusedError

# Each change between these opsets was read; one that a later ONNX brings is refused until it is.
FIRST_REVIEWED = 8
REVIEWED = 28

Adapter = Callable[[ir.Node, Edit], None]
"""Rewrites a node in place or replaces it, or raises a RefusedError that says why it cannot."""

_AXES_REDUCTIONS = (
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
)


def _body(opset: int) -> Adapter:
    return functools.partial(functions.expand, opset=opset)


# Operators that are read as of a later opset than the file's: torch and every runtime held to the
# rule before ONNX wrote it down.
READ_AS: Mapping[str, int] = {"AveragePool": 22, "MaxPool": 22}

DOWN: Mapping[tuple[str, int], Adapter] = {
    ("BatchNormalization", 14): normalisations.batch_normalization_down,
    ("HardSwish", 14): activations.hard_swish,
    ("Relu", 14): activations.integer_relu,
    ("Reshape", 14): shapes.reshape_zero,
    ("Trilu", 14): shapes.trilu,
    ("CastLike", 15): element_types.cast_like,
    ("Shape", 15): shapes.shape_cut,
    ("RoiAlign", 16): sampling.roi_align_down,
    ("BlackmanWindow", 17): _body(17),
    ("HammingWindow", 17): _body(17),
    ("HannWindow", 17): _body(17),
    ("LayerNormalization", 17): normalisations.layer_normalization,
    **{(op, 18): reductions.axes_to_attribute for op in _AXES_REDUCTIONS},
    ("BitwiseNot", 18): activations.bitwise_not,
    ("CenterCropPad", 18): _body(18),
    ("GroupNormalization", 18): normalisations.group_normalization_per_group,
    ("Mish", 18): activations.mish,
    ("Pad", 18): shapes.pad_all_axes,
    ("Resize", 18): sampling.resize_18,
    ("Split", 18): shapes.split_sizes,
    ("AffineGrid", 20): sampling.affine_grid,
    ("DFT", 20): spectral.dft_axis_to_attribute,
    ("Gelu", 20): activations.gelu,
    ("GridSample", 20): sampling.grid_sample_down,
    ("IsInf", 20): element_types.half_is_inf,
    ("ReduceMax", 20): reductions.bool_extremum,
    ("ReduceMin", 20): reductions.bool_extremum,
    ("GroupNormalization", 21): normalisations.group_normalization_per_channel,
    ("QuantizeLinear", 21): element_types.quantize_21,
    ("AveragePool", 22): pooling.windows_in_padding,
    ("MaxPool", 22): pooling.windows_in_padding,
    ("Attention", 23): _body(23),
    ("DequantizeLinear", 23): functools.partial(element_types.as_scale_says, name="output_dtype"),
    ("QuantizeLinear", 23): functools.partial(element_types.as_scale_says, name="precision"),
    ("RMSNormalization", 23): normalisations.rms_normalization,
    ("RotaryEmbedding", 23): _body(23),
    ("Swish", 24): activations.swish,
    ("Mod", 28): element_types.float_mod,
    ("SwiGLU", 28): _body(28),
}

UP: Mapping[tuple[str, int], Adapter] = {
    ("BatchNormalization", 9): legacy.batch_normalization_spatial,
    ("Scan", 9): legacy.scan_up,
    ("Upsample", 9): legacy.upsample_scales,
    ("Dropout", 10): legacy.dropout_up,
    ("Slice", 10): legacy.slice_up,
    ("TopK", 10): legacy.top_k_up,
    ("Upsample", 10): legacy.resize_of_scales,
    ("Clip", 11): legacy.clip_up,
    ("Pad", 11): legacy.pad_up,
    ("Resize", 11): legacy.resize_of_scales,
    ("Scatter", 11): legacy.scatter_up,
    ("Dropout", 12): legacy.dropout_up,
    ("Hardmax", 13): legacy.softmax_up,
    ("LogSoftmax", 13): legacy.softmax_up,
    ("ReduceSum", 13): reductions.axes_to_input,
    ("Resize", 13): sampling.resize_up,
    ("Softmax", 13): legacy.softmax_up,
    ("Split", 13): functools.partial(shapes.to_input, name="split"),
    ("Squeeze", 13): functools.partial(shapes.to_input, name="axes"),
    ("Unsqueeze", 13): functools.partial(shapes.to_input, name="axes"),
    ("BatchNormalization", 14): normalisations.batch_normalization_up,
    ("RoiAlign", 16): sampling.roi_align_up,
    **{(op, 18): reductions.axes_to_input for op in _AXES_REDUCTIONS},
    ("Split", 18): shapes.split_count,
    ("DFT", 20): spectral.dft_axis_to_input,
    ("GridSample", 20): sampling.grid_sample_up,
    ("GroupNormalization", 21): normalisations.group_normalization_up,
}


def _is(value: int | str) -> Callable[[ir.Attr], bool]:
    if isinstance(value, str):
        return lambda a: a.as_string() == value
    return lambda a: a.as_int() == value


def _all_ones(attribute: ir.Attr) -> bool:
    return all(v == 1 for v in attribute.as_ints())


def _any(attribute: ir.Attr) -> bool:
    """For what says nothing at inference: a seed."""
    del attribute
    return True


def _never(attribute: ir.Attr) -> bool:
    """For what says something whenever it is there."""
    del attribute
    return False


# New attributes whose absence means what the version before did, and the value that says the same.
# Attributes that only gained a value (a new `reduction`) are in `NEW_VALUES`.
NEUTRAL: Mapping[tuple[str, int], Mapping[str, Callable[[ir.Attr], bool]]] = {
    ("MaxPool", 8): {"storage_order": _is(0)},
    ("AveragePool", 10): {"ceil_mode": _is(0)},
    ("MaxPool", 10): {"ceil_mode": _is(0), "dilations": _all_ones},
    ("Constant", 11): {"sparse_value": _never},
    ("DepthToSpace", 11): {"mode": _is("DCR")},
    ("TopK", 11): {"largest": _is(1), "sorted": _any},
    ("ArgMax", 12): {"select_last_index": _is(0)},
    ("ArgMin", 12): {"select_last_index": _is(0)},
    ("Constant", 12): dict.fromkeys(
        ("value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings"),
        _never,
    ),
    ("Dropout", 12): {"seed": _any},
    ("GatherND", 12): {"batch_dims": _is(0)},
    ("BatchNormalization", 14): {"training_mode": _is(0)},
    ("DequantizeLinear", 13): {"axis": _any},
    ("GRU", 14): {"layout": _is(0)},
    ("LSTM", 14): {"layout": _is(0)},
    ("QuantizeLinear", 13): {"axis": _any},
    ("RNN", 14): {"layout": _is(0)},
    ("Reshape", 14): {"allowzero": _is(0)},
    ("Shape", 15): {"start": _is(0), "end": _never},
    ("ScatterElements", 16): {"reduction": _is("none")},
    ("ScatterND", 16): {"reduction": _is("none")},
    ("LpPool", 18): {"ceil_mode": _is(0), "dilations": _all_ones},
    ("Resize", 18): {
        "antialias": _is(0),
        "axes": _never,
        "keep_aspect_ratio_policy": _is("stretch"),
    },
    ("AveragePool", 19): {"dilations": _all_ones},
    ("Cast", 19): {"saturate": _any},
    ("CastLike", 19): {"saturate": _any},
    ("QuantizeLinear", 19): {"saturate": _any},
    ("DequantizeLinear", 21): {"block_size": _is(0)},
    ("QuantizeLinear", 21): {"block_size": _is(0), "output_dtype": _is(0)},
    ("DequantizeLinear", 23): {"output_dtype": _is(0)},
    ("QuantizeLinear", 23): {"precision": _is(0)},
    ("Cast", 24): {"round_mode": _any},
    ("CastLike", 24): {"round_mode": _any},
    ("Attention", 25): {"left_window_size": _is(-1), "right_window_size": _is(-1)},
    ("Range", 27): {"stash_type": _any},
    ("SpaceToDepth", 28): {"mode": _is("DCR")},
}

# Attributes of an old name that gained values: those of the version before.
NEW_VALUES: Mapping[tuple[str, int], Mapping[str, frozenset[str]]] = {
    ("ScatterElements", 18): {"reduction": frozenset({"none", "add", "mul"})},
    ("ScatterND", 18): {"reduction": frozenset({"none", "add", "mul"})},
    ("Pad", 19): {"mode": frozenset({"constant", "reflect", "edge"})},
    ("Resize", 19): {
        "coordinate_transformation_mode": frozenset(
            {
                "half_pixel",
                "pytorch_half_pixel",
                "align_corners",
                "asymmetric",
                "tf_crop_and_resize",
            }
        )
    },
}


def _check_arity(node: ir.Node, opset: int, limits: tuple[int, int]) -> None:
    """Refuse a node that has more than another version allows, once unread ends are dropped."""
    inputs = max((i + 1 for i, v in enumerate(node.inputs) if v is not None), default=0)
    outputs = max((i + 1 for i, v in enumerate(node.outputs) if is_used(v)), default=0)
    for what, count, limit in (("input", inputs, limits[0]), ("output", outputs, limits[1])):
        if count > limit:
            raise RefusedError(f"its {what} {count - 1} exists from opset {opset}")


def _plain_down(node: ir.Node, edit: Edit, opset: int) -> None:
    old = signature(node.op_type, opset - 1)
    if old is None:
        raise RefusedError(f"{node.op_type} exists from opset {opset}")
    neutral = NEUTRAL.get((node.op_type, opset), {})
    for name, allowed in NEW_VALUES.get((node.op_type, opset), {}).items():
        found = text(node, name, "")
        if found and found not in allowed:
            raise RefusedError(f'`{name}="{found}"` exists from opset {opset}')
    extra = [name for name in node.attributes if name not in old.attributes]
    for name in extra:
        if name not in neutral or not neutral[name](node.attributes[name]):
            raise RefusedError(f"`{name}` exists from opset {opset}")
    _check_arity(node, opset, (old.max_input, old.max_output))
    for name in extra:
        del node.attributes[name]
    edit.trim()


def _plain_up(node: ir.Node, opset: int) -> None:
    new = signature(node.op_type, opset)
    assert new is not None
    if new.deprecated:
        raise RefusedError(f"{node.op_type} was withdrawn in opset {opset}")
    for name in node.attributes:
        if name not in new.attributes:
            raise RefusedError(f"`{name}` was withdrawn in opset {opset}")


def is_widening(op_type: str, opset: int) -> bool:
    """Return whether what the version before could say means the same in the new version.

    It does by the schemas and `NEUTRAL` where no attribute is new but those with a neutral absence;
    what was withdrawn is looked for in the node.
    """
    old, new = signature(op_type, opset - 1), signature(op_type, opset)
    assert new is not None
    fresh = set(new.attributes) - set(old.attributes if old else ())
    return old is not None and fresh <= set(NEUTRAL.get((op_type, opset), ()))


def cross(node: ir.Node, edit: Edit, opset: int, *, descending: bool) -> None:
    """Take a node across the opset that changed its operator: below it, or up to it.

    Raises:
        RefusedError: It cannot be taken.
    """
    adapter = (DOWN if descending else UP).get((node.op_type, opset))
    if not descending and adapter is None and signature(node.op_type, opset - 1) is None:
        raise RefusedError(f"{node.op_type} exists from opset {opset}")
    is_known = adapter is not None or descending or is_widening(node.op_type, opset)
    if not FIRST_REVIEWED <= opset <= REVIEWED or not is_known:
        raise RefusedError(f"what opset {opset} changed in {node.op_type} is not known here")
    if not descending:
        _plain_up(node, opset) if adapter is None else adapter(node, edit)
        return
    try:
        _plain_down(node, edit, opset) if adapter is None else adapter(node, edit)
    except RefusedError:
        try:
            functions.expand(node, edit, opset)
        except RefusedError:
            pass  # what was said first says more
        else:
            return
        raise
