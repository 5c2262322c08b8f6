"""The lowering stage: raise what an ONNX graph computes, choose, and write it for a target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgeattn.graph import shapes
from edgeattn.graph.names import module_of
from edgeattn.lowering import affine_grid, linear_maps, lines, perceptrons, statics
from edgeattn.lowering.build import DOMAIN, Builder
from edgeattn.lowering.permute import fold_permutations
from edgeattn.lowering.raising import Raising, Recogniser
from edgeattn.lowering.recognise import (
    branches,
    einsum,
    grouped,
    linear,
    normalisations,
    planes,
    pointwise,
    reductions,
    softmax,
    views,
    windows,
)
from edgeattn.lowering.record import LEFT_OUT, Lowered
from edgeattn.lowering.regions import REGION, exchange, regions
from edgeattn.lowering.target import TargetSpec, spec_of
from edgeattn.lowering.targets.writer import Refused, Writer
from edgeattn.options.lowering import DEFAULT_TARGET
from edgeattn.records.lowering import NearMiss, Rewrite

_ROOMS: Final = (
    pointwise,
    views,
    reductions,
    normalisations,
    softmax,
    planes,
    linear,
    windows,
    branches,
    einsum,
    grouped,
)


def _recognisers(rules: AbstractSet[str]) -> dict[str, list[Recogniser]]:
    found: dict[str, list[Recogniser]] = {}
    for room in _ROOMS:
        for op_type, one in room.TABLE.items():
            if one.rule in rules:
                found.setdefault(op_type, []).append(one)
    return found


def _begun(
    model: ir.Model, build: Builder, spec: TargetSpec, taken: AbstractSet[str]
) -> list[Rewrite | NearMiss]:
    """Write what is to be written before terms are raised."""
    done: list[Rewrite | NearMiss] = []
    if statics.RULE in taken:
        statics.fold_casts(model.graph, build)
        done += statics.fix_shapes(model.graph, build)
    if affine_grid.RULE in taken:
        done += affine_grid.rewrite_grids(model.graph, build, sums=spec.takes_summed_grids)
    done += spec.writer.before(model, build, taken)
    if perceptrons.RULE in taken:
        done += perceptrons.rewrite_perceptrons(model.graph, build)
    if lines.RULE in taken:
        done += lines.part_lines(model.graph, build)
    return done


def _left(graph: ir.Graph, refused: Refused, target: str) -> list[NearMiss]:
    """Return what a target still does not run, each operator of a module once, and why."""
    reasons = {
        (module_of(node.name or "") or node.name or "", f"{node.op_type}: {reason}"): None
        for node in graph
        if (reason := refused(node))
    }
    return [NearMiss(rule=target, site=site, reason=reason) for site, reason in reasons]


def lower(
    model: ir.Model,
    *,
    target: str = DEFAULT_TARGET,
    rules: Iterable[str] | None = None,
    forms: Mapping[str, Mapping[str, str]] | None = None,
    must_pay: bool = True,
    tensorrt: str | None = None,
) -> Lowered:
    """Rewrite a model, by exact algebra, into the forms that a target runs best.

    Args:
        model: The model, changed in place; opset 13 or above. It stays at its opset and holds
            operators of the standard domain only, if it did before.
        target: The runtime to choose forms for.
        rules: The rules to apply; those that the target uses by default.
        forms: The form to take, by kind of region and family, where it is not the default.
        must_pay: Leave what costs no less in its new form, by the target's measure.
        tensorrt: The version of TensorRT to choose forms for; None for TensorRT-RTX's generation.

    Returns:
        What was done, and what was nearly done.
    """
    model.graph.sort()  # onnxruntime's float16 converter puts its casts at the end
    if shapes.is_incomplete(model):
        shapes.infer(model)
    if not shapes.is_static(model):
        shapes.resolve_open(model)
    spec = spec_of(target, tensorrt)
    refused = spec.writer.refused if spec.writer.refuses else None
    taken = spec.rules if rules is None else frozenset(rules)
    build = Builder(model)
    record = _begun(model, build, spec, taken)
    left_out: set[str] = set()

    def note(done: Rewrite | NearMiss, taken: Iterable[tuple[str, str]]) -> None:
        record.append(done)
        is_measured = isinstance(done, Rewrite) and REGION in (forms or {}).get(done.kind, ())
        if isinstance(done, Rewrite) and not is_measured and (left := spec.writer.left_out(taken)):
            left_out.update(left)
            reason = LEFT_OUT.format(", ".join(left))
            record.append(NearMiss(rule=done.rule, site=done.site, reason=reason))

    if linear_maps.RULE in taken:
        measure = spec.writer.measure if must_pay else None
        form = spec.writer.default(linear_maps.RULE)
        for one in linear_maps.rewrite_linear_maps(
            model.graph, build, measure, flat=form == "flat"
        ):
            note(one, [(linear_maps.RULE, form)])
    raising = Raising(_recognisers(taken), refused)
    raising.walk(model.graph)
    record += raising.near_misses

    writers: dict[tuple[ir.DataType, str], Writer] = {}
    for region in regions(model.graph, raising, refused):
        dtype = region.roots[0].dtype or ir.DataType.FLOAT

        def write(kind: str, dtype: ir.DataType = dtype) -> Writer:
            if (dtype, kind) not in writers:
                chosen = (forms or {}).get(kind)
                writers[dtype, kind] = spec.writer(build, raising, dtype, chosen)
            return writers[dtype, kind]

        done = exchange(region, raising, write, build, must_pay=must_pay)
        if done is not None:
            note(done, done.forms if isinstance(done, Rewrite) else ())
    left_out.update(
        *(one.left_out(one.asked.items()) for one in writers.values() if REGION not in one.chosen)
    )
    build.release()
    model.graph.sort()  # what two regions compute alike, the one that is written first holds
    passes.RemoveUnusedNodesPass()(model)
    rewrites, near_misses = fold_permutations(model, target=target)
    record += [*rewrites, *near_misses, *spec.writer.after(model, build, taken)]
    model.opset_imports.pop(DOMAIN, None)
    if refused is not None:
        record += _left(model.graph, refused, target)
    return Lowered(
        target=target,
        rewrites=tuple(one for one in record if isinstance(one, Rewrite)),
        near_misses=tuple(one for one in record if isinstance(one, NearMiss)),
        left_out=tuple(sorted(left_out)),
    )
