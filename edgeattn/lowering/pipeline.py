"""The lowering stage: raise what an ONNX graph computes, choose, and write it for a target."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final, Literal, get_args

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgeattn.graph import shapes
from edgeattn.lowering import affine_grid, statics
from edgeattn.lowering.build import DOMAIN, Builder
from edgeattn.lowering.permute import fold_permutations
from edgeattn.lowering.raising import Raising, Recogniser
from edgeattn.lowering.recognise import (
    branches,
    einsum,
    linear,
    normalisations,
    pointwise,
    reductions,
    softmax,
    views,
    windows,
)
from edgeattn.lowering.record import Lowered
from edgeattn.lowering.regions import exchange, regions
from edgeattn.lowering.targets.onnxruntime import ONNXRuntimeWriter
from edgeattn.lowering.targets.tensorrt import TensorRTWriter
from edgeattn.lowering.targets.writer import Writer
from edgeattn.records.lowering import NearMiss, Rewrite

Target = Literal["tensorrt", "onnxruntime"]
TARGETS: Final = get_args(Target)
DEFAULT_TARGET: Final[Target] = "tensorrt"
RULES: Final[Mapping[str, str]] = {
    "affine-grid": "affine grids of a constant size, as one product of matrices",
    "static-shapes": "target shapes that the graph computes, as constants",
    "global-mean": "means and maxima over the map or the channels, however they are written",
    "moments": "normalisations of one channel, as means and variances",
    "spatial-softmax": "softmax over the map, with the reshapes around it",
    "grouped-branches": "the same computation on each part of the channels, as one",
    "channel-shuffle": "reshapes, transposes and parts, as the order of indices",
    "hard-activation": "hard sigmoid and hard swish written with clip, relu6, max and min",
    "linear": "layers on what has no positions, as 1x1 convolutions",
    "spatial-pool": "pools that keep the map's size, between the others",
    "channel-permutation": "orders of channels, folded into weights or written as one Gather",
    "gate": "elementwise operators, between the others",
}
WRITERS: Final[Mapping[Target, type[Writer]]] = {
    "tensorrt": TensorRTWriter,
    "onnxruntime": ONNXRuntimeWriter,
}
_ROOMS: Final = (
    pointwise,
    views,
    reductions,
    normalisations,
    softmax,
    linear,
    windows,
    branches,
    einsum,
)


def _recognisers(rules: AbstractSet[str]) -> dict[str, list[Recogniser]]:
    found: dict[str, list[Recogniser]] = {}
    for room in _ROOMS:
        for op_type, one in room.TABLE.items():
            if one.rule in rules:
                found.setdefault(op_type, []).append(one)
    return found


def lower(
    model: ir.Model,
    *,
    target: Target = DEFAULT_TARGET,
    rules: AbstractSet[str] | None = None,
    forms: Mapping[str, Mapping[str, str]] | None = None,
) -> Lowered:
    """Rewrite a model, by exact algebra, into the forms that a target runs best.

    Args:
        model: The model, changed in place; opset 13 or above. It stays at its opset and holds
            operators of the standard domain only, if it did before.
        target: The runtime to choose forms for.
        rules: The rules to apply; all by default.
        forms: The form to take, by kind of region and family, where it is not the default.

    Returns:
        What was done, and what was nearly done.
    """
    model.graph.sort()  # onnxruntime's float16 converter puts its casts at the end
    if shapes.is_incomplete(model):
        shapes.infer(model)
    if not shapes.is_static(model):
        shapes.resolve_open(model)
    taken = set(RULES) if rules is None else rules
    build = Builder(model)
    record: list[Rewrite | NearMiss] = []
    if statics.RULE in taken:
        record += statics.fix_shapes(model.graph, build)
    if affine_grid.RULE in taken:
        record += affine_grid.rewrite_grids(model.graph, build, sums=target == "onnxruntime")
    raising = Raising(_recognisers(taken))
    raising.walk(model.graph)
    record += raising.near_misses

    writers: dict[tuple[ir.DataType, str], Writer] = {}
    for region in regions(model.graph, raising):
        dtype = region.roots[0].dtype or ir.DataType.FLOAT

        def write(kind: str, dtype: ir.DataType = dtype) -> Writer:
            if (dtype, kind) not in writers:
                writer = WRITERS[target](build, raising, dtype, (forms or {}).get(kind))
                writers[dtype, kind] = writer
            return writers[dtype, kind]

        done = exchange(region, raising, write, build)
        if done is not None:
            record.append(done)
    build.release()
    passes.RemoveUnusedNodesPass()(model)
    rewrites, near_misses = fold_permutations(model, target=target)
    record += [*rewrites, *near_misses]
    model.opset_imports.pop(DOMAIN, None)
    return Lowered(
        target=target,
        rewrites=tuple(one for one in record if isinstance(one, Rewrite)),
        near_misses=tuple(one for one in record if isinstance(one, NearMiss)),
    )
