"""What there is to say of a model that was written, once its weights are gone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeattn.graph.costs import Costs, count
from edgeattn.graph.reading import load
from edgeattn.graph.writing import describe
from edgeattn.legalise import Legalised
from edgeattn.lowering.record import Lowered
from edgeattn.records.lowering import LegalisedNode, NearMiss, Rewrite
from edgeattn.records.manifest import CastRecord, Tensor

if TYPE_CHECKING:
    from pathlib import Path

    import onnx_ir as ir


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What there is to say of the model that was written, once its weights are gone."""

    opset: int
    ir_version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[tuple[str, str], ...]
    final_nodes: int
    rewrites: tuple[Rewrite, ...]
    near_misses: tuple[NearMiss, ...]
    legalised: tuple[LegalisedNode, ...]
    costs: Costs
    cast: CastRecord | None = None


def facts_of(model: ir.Model, lowered: Lowered, legalised: Legalised, *, batch: int) -> Facts:
    """Return what there is to say of a model; its costs are counted at a batch size."""
    return Facts(
        opset=legalised.opset,
        ir_version=int(model.ir_version),
        inputs=describe(model.graph.inputs),
        outputs=describe(model.graph.outputs),
        nodes=tuple((str(node.name), node.op_type) for node in model.graph),
        final_nodes=len(model.graph),
        rewrites=lowered.rewrites,
        near_misses=lowered.near_misses,
        legalised=tuple(legalised.rewrites),
        costs=count(model, batch=batch),
    )


def cast_facts(facts: Facts, path: Path, record: CastRecord) -> Facts:
    """Return what there is to say of the file once it is cast; its costs are those of float32."""
    model = load(path)
    return replace(
        facts,
        inputs=describe(model.graph.inputs),
        outputs=describe(model.graph.outputs),
        final_nodes=len(model.graph),
        cast=record,
    )
