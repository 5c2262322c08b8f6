"""Traces from what a source found: ONNX Runtime, TensorRT, torch, trtexec's files, a prediction.

A source says what it found of each model, and of the same model with its sites replaced by
identity. What is made of that is the same for all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeattn.graph import identity
from edgeattn.graph.marks import forms_of
from edgeattn.graph.writing import save
from edgeattn.lowering.misfit import misfit
from edgeattn.options.profile import Item, compared_with
from edgeattn.profiling import samples
from edgeattn.profiling.predict.difference import difference as predicted
from edgeattn.profiling.sources.memory import of_graph
from edgeattn.profiling.sources.model import Known, Subject
from edgeattn.records.layers import LayerInformation
from edgeattn.records.trace import (
    Difference,
    EndToEnd,
    Evidence,
    Identity,
    Kernel,
    Latency,
    Machine,
    Memory,
    Power,
    Runtime,
    SavedRow,
    Trace,
)

if TYPE_CHECKING:
    import onnx_ir as ir


_WHY_NOT_INT8: Final = {
    "onnxruntime": " ONNX Runtime takes a layer in int8 only where what it gives is quantised too,"
    " and on x86 only in uint8. What is cast of a file that was lowered for it (--target"
    " onnxruntime) is so; OpenVINO takes either."
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a source found of a model.

    Attributes:
        evidence: Whether it was measured or predicted.
        runtime: By what, or for what.
        version: The runtime's version; "" if it is not known.
        machine: What it was measured on, or predicted for.
        known: The model's nodes, sites and parameters.
        kernels: Its kernels.
        latency: Its latency.
        end_to_end: What the reconciliation rests on.
        interval_ms: Of a prediction, the bounds of the latency.
        shared_spread: Of a prediction, the spread of the errors that all kernels share.
        windows: How many windows of runs were measured until they agreed.
        rounds_ms: Of several models, what it took in each round; none where that is what the
            samples of its latency are.
        generations: How many rounds each generation of processes ran.
        power: What the device drew, if it was watched.
        batch: Images of one run; None for that of the ONNX file, if it is here.
        memory: What it takes of memory; None for what its ONNX graph says, if it is here.
        warnings: Why the figures are not to be trusted.
        notes: What else a reader should know.
        model: Where it is from, if not from the item's file.
        subject: The ONNX file, whose sites can be replaced by identity; None if it is not here.
        information: Of an engine, the layer information that its kernels are made of.
    """

    evidence: Evidence
    runtime: Runtime
    version: str
    machine: Machine
    known: Known
    kernels: tuple[Kernel, ...]
    latency: Latency
    end_to_end: EndToEnd
    interval_ms: tuple[float, float] | None = None
    shared_spread: float | None = None
    windows: int = 0
    rounds_ms: Sequence[float] = ()
    generations: Sequence[int] = ()
    power: Power | None = None
    batch: int | None = None
    memory: Memory | None = None
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    model: str = ""
    subject: Subject | None = None
    information: LayerInformation | None = None

    @property
    def onnx(self) -> Subject | None:
        """The ONNX file, if it is here."""
        return next((one for one in (self.subject, self.known) if isinstance(one, Subject)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BareModel:
    """A model with its sites replaced by identity.

    Attributes:
        model: The model.
        path: Its file, in a folder of its own.
        kept: The sites that could not be replaced, and why.
    """

    model: ir.Model
    path: Path
    kept: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBare:
    """What a source found of a model without its sites.

    Attributes:
        kernels: Its kernels.
        difference: What the model takes above it; None if they were not run in the same rounds.
        warnings: Why that is not to be trusted.
    """

    kernels: tuple[Kernel, ...]
    difference: Difference | None
    warnings: Sequence[str] = ()


#: Finds the figures of a model, by its place among the items.
Find = Callable[[int, Item], Found]
#: Finds those of the same model without its sites.
FindBare = Callable[[int, Item, Found, BareModel], FoundBare]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """A model that was profiled.

    Attributes:
        row: Its trace, and what it takes above the first model's.
        information: Of an engine, the layer information that its kernels are made of.
    """

    row: SavedRow
    information: LayerInformation | None = None


def assemble(
    items: Sequence[Item],
    find: Find,
    *,
    find_bare: FindBare | None = None,
    folder: Path | None = None,
) -> list[Profiled]:
    """Return the traces of models.

    Args:
        items: The models.
        find: Finds the figures of each.
        find_bare: Finds those of each without its sites, if its ONNX file is here; None to leave
            that out.
        folder: Where the files without sites are written.
    """
    rows: list[Profiled] = []
    for place, item in enumerate(items):
        found = find(place, item)
        onnx = found.onnx
        without, warnings = None, list(found.warnings)
        if find_bare and folder and found.subject is not None and found.known.sites:
            bare = _write_bare(found.subject, folder / f"{place}-identity")
            other = find_bare(place, item, found, bare)
            sites = [site.path for site in found.subject.sites]
            without = Identity(
                kernels=other.kernels,
                difference=other.difference,
                replaced=tuple(path for path in sites if path not in bare.kept),
                kept=bare.kept,
            )
            warnings += other.warnings
        warnings[:0] = filter(None, [_misfit(item, found)])
        trace = Trace(
            name=item.name,
            variant=item.variant,
            precision=item.precision,
            rounds_ms=tuple(found.rounds_ms),
            generations=tuple(found.generations),
            model=item.model or found.model or str(item.path),
            sha256=dict(found.known.sha256),
            evidence=found.evidence,
            runtime=found.runtime,
            runtime_version=found.version,
            machine=found.machine,
            latency_ms=found.latency,
            interval_ms=found.interval_ms,
            shared_spread=found.shared_spread,
            windows=found.windows,
            end_to_end=found.end_to_end,
            kernels=found.kernels,
            nodes=found.known.nodes,
            sites=found.known.sites,
            params=found.known.params,
            lines=found.known.lines,
            identity=without,
            layers=found.information if found.evidence == "measured" else None,
            power=found.power,
            batch=found.batch or (onnx.batch if onnx else None),
            memory=found.memory or (of_graph(onnx) if onnx else None),
            warnings=tuple(dict.fromkeys(warnings)),
            notes=tuple(n for n in dict.fromkeys([*item.notes, *found.notes]) if n not in warnings),
        )
        trace = trace.model_copy(update={"warnings": (*trace.warnings, *_not_int8(trace))})
        rows.append(Profiled(row=SavedRow(trace=trace), information=found.information))
    return compared(items, rows)


def compared(items: Sequence[Item], rows: Sequence[Profiled]) -> list[Profiled]:
    """Return what was found of models, and how each differs from what it is compared with."""
    traces = _together([one.row.trace for one in rows])
    return [
        replace(row, row=_saved(trace, traces[compared_with(items, place)]))
        for place, (row, trace) in enumerate(zip(rows, traces, strict=True))
    ]


def _not_int8(trace: Trace) -> Iterator[str]:
    """Say so where a quantised model computes nothing in int8."""
    layers = [one for one in trace.kernels if one.kind == "matmul" and one.precision]
    is_quantised = any(node.op_type == "QuantizeLinear" for node in trace.nodes)
    if not is_quantised or not layers or any(one.precision == "int8" for one in layers):
        return
    why = _WHY_NOT_INT8.get(trace.runtime, "")
    yield f"It is quantised, and none of its {len(layers)} layers computes in int8.{why}"


def _together(traces: Sequence[Trace]) -> list[Trace]:
    """Say of models that were run in the same rounds that they were."""
    rounds = [one.rounds for one in traces]
    if len(traces) < 2 or any(one.evidence != "measured" for one in traces):
        return list(traces)
    update = {"rounds_id": hashlib.sha256(repr(rounds).encode()).hexdigest()[:16]}
    return [one.model_copy(update=update) for one in traces]


def _saved(trace: Trace, first: Trace) -> SavedRow:
    """Return a trace, and how it differs from the one that it is compared with, if another."""
    if trace is first:
        return SavedRow(trace=trace)
    if trace.evidence == "measured":
        return SavedRow(
            trace=trace,
            difference=samples.difference(trace.rounds, first.rounds, trace.generations),
            energy=samples.energy_difference(trace.power, first.power),
        )
    return SavedRow(trace=trace, difference=above_in(trace, first))


def above_in(trace: Trace, first: Trace) -> Difference:
    """Return what is predicted of a model above what is of another, on the same device."""
    return predicted(
        trace.kernels,
        trace.latency_ms.p50,
        first.kernels,
        first.latency_ms.p50,
        trace.shared_spread,
    )


def _misfit(item: Item, found: Found) -> str:
    """Say so where a model was lowered for another runtime than the one that it is run by."""
    if (onnx := found.onnx) is None:
        return ""
    mend = "Leave --target out: a model is lowered for what is to run it." if item.model else ""
    return misfit(onnx.path, forms_of(onnx.model), found.runtime, mend=mend)


def _write_bare(subject: Subject, folder: Path) -> BareModel:
    """Replace a model's sites by identity; its file is written to a new folder."""
    folder.mkdir()
    model, path = subject.model.clone(), folder / "identity.onnx"
    kept = identity.replace(model, subject.parts)
    save(model, path, external=True)
    return BareModel(model=model, path=path, kept=kept)
