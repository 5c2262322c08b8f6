"""ONNX Runtime on the CPU, measured: latency, the time of each node, and what sites add."""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import (
    BeforeValidator,
    NonNegativeFloat,
    NonNegativeInt,
)

from edgeattn.base.errors import InputError, in_one_line
from edgeattn.base.versions import version_of
from edgeattn.options.profile import ProfileOptions
from edgeattn.profiling.measure.onnxruntime.graph import (
    NAMELESS,
    Origin,
    give_known_shapes,
    name_all,
    origins,
)
from edgeattn.profiling.measure.place import HERE, Place
from edgeattn.profiling.measure.profiled import ProfiledModel
from edgeattn.profiling.measure.rounds import (
    PROFILED_RUNS,
)
from edgeattn.profiling.measure.times import LOAD_S, PROFILED, Said, how, lent, seconds_of
from edgeattn.profiling.predict.cpu.work import with_work
from edgeattn.records.kinds import kind_of, strongest
from edgeattn.records.trace import Kernel
from edgeattn.runtimes.runner import OPTIMISED

if TYPE_CHECKING:
    import onnx_ir as ir

# What an optimised graph may be, without its weights.
_MOST_BYTES: Final = 1 << 28
_PRECISIONS: Final = {"float": "fp32", "float16": "fp16", "int8": "int8", "uint8": "int8"}


def profile_kernels(
    path: Path,
    model: ir.Model,
    costs: Mapping[str, int],
    options: ProfileOptions,
    *,
    once: bool = False,
    place: Place = HERE,
) -> ProfiledModel:
    """Take a model through ONNX Runtime's profiler.

    Args:
        path: The ONNX file.
        model: Its model.
        costs: Multiply-accumulates of each of its nodes.
        options: How it is run.
        once: Run it once, for its kernels and shapes: the times mean nothing then.
        place: Where.

    Raises:
        InputError: ONNX Runtime does not load it, or fails while it runs.
    """
    import onnx_ir

    job = {
        "task": "profile",
        **how(options, place),
        **({"warm_up": (0, 0.0), "runs": (1, 1)} if once else {"runs": PROFILED_RUNS}),
        "seconds": seconds_of(options, PROFILED),
        "pack": place.packs,
        "with_memory": not once,
    }
    with ExitStack() as stack:
        given = stack.enter_context(lent(path, options, place))
        folder = stack.enter_context(place.folder())
        runner = stack.enter_context(place.runner("profiled"))
        said = runner.ask(job | {"model": given, "folder": folder}, limit_s=place.limit_s(LOAD_S))
        runner.finish()
        found = _Seen.of(said)
        if found.graph is None:
            optimised = onnx_ir.load(Path(folder) / OPTIMISED)
        else:
            optimised = _graph(found.graph)
        name_all(optimised)
        known = origins(model, optimised)
    rows = list(_named(found.nodes, optimised))
    _give_shapes(rows, model, optimised)
    return ProfiledModel(
        kernels=with_work(_kernels(rows, known, model, costs), optimised, place.block_channels),
        profiled_us=found.profiled_us,
        memory=found.memory,
    )


def _graph(data: bytes) -> ir.Model:
    import onnx
    import onnx_ir

    try:
        model: ir.Model = onnx_ir.from_proto(onnx.ModelProto.FromString(data))
    except Exception as error:  # whatever a reader makes of it
        raise InputError(
            f"The runner gives a graph that cannot be read: {in_one_line(error)}"
        ) from error
    return model


def _unpacked(graph: object) -> object:
    """Return what a runner compressed, unless it is larger than any graph."""
    inflate = zlib.decompressobj()
    data = inflate.decompress(base64.b64decode(str(graph), validate=True), _MOST_BYTES)
    if not inflate.eof:
        raise ValueError("it is cut short, or too large")
    return data


class _Row(Said):
    name: str
    op: str
    time_us: NonNegativeFloat
    activation_bytes: NonNegativeInt
    output_shapes: list[list[NonNegativeInt]]
    dtype: str


class _Seen(Said):
    nodes: list[_Row]
    profiled_us: NonNegativeFloat
    memory: dict[str, NonNegativeInt | None]
    graph: Annotated[bytes, BeforeValidator(_unpacked)] | None = None


def version() -> str:
    """Return the version of ONNX Runtime."""
    return version_of("onnxruntime") or version_of("onnxruntime-gpu") or "unknown"


def _named(rows: Sequence[_Row], optimised: ir.Model) -> Iterator[_Row]:
    """Return nodes that have no name in the graph the names that `name_all` gave them.

    The profiler calls them by operator and index; they come in the graph's order.
    """
    known = {node.name for node in optimised.graph}
    nameless: dict[str, list[str]] = {}
    for node in optimised.graph:
        if (node.name or "").startswith(NAMELESS):
            nameless.setdefault(node.op_type, []).append(node.name or "")
    for row in rows:
        waiting = nameless.get(row.op, [])
        if row.name in known or not waiting:
            yield row
        else:
            yield row.model_copy(update={"name": waiting.pop(0)})


def _give_shapes(rows: Sequence[_Row], model: ir.Model, optimised: ir.Model) -> None:
    """Give the values of the optimised graph the shapes that the profiler saw, in place."""
    import onnx_ir as ir

    bound = {value.name: value.shape for value in model.graph.inputs}
    for value in optimised.graph.inputs:
        value.shape = bound.get(value.name, value.shape)
    shapes = {row.name: row.output_shapes for row in rows}
    for node in optimised.graph:
        written = [value for value in node.outputs if value.name]
        for value, shape in zip(written, shapes.get(node.name or "", ()), strict=False):
            value.shape = ir.Shape(shape)
    give_known_shapes(model, optimised)  # before 1.11 the profiler tells none


def _kernels(
    rows: Sequence[_Row],
    known: Mapping[str, Origin],
    model: ir.Model,
    costs: Mapping[str, int],
) -> Iterator[Kernel]:
    ops = {node.name or "": node.op_type for node in model.graph}
    counted: Counter[str] = Counter()
    nowhere = Origin(nodes=(), inputs=(), outputs=())
    for row in rows:
        origin = known.get(row.name, nowhere)
        kind = kind_of(row.op)
        macs = 0
        for node in origin.nodes:
            # A layer that is two kernels is computed in one of them.
            if kind_of(ops.get(node, "")) == kind and not counted[node]:
                macs += costs.get(node, 0)
                counted[node] += 1
        yield Kernel(
            name=row.name,
            op=row.op,
            kind=_kind(row, origin, ops),
            time_us=row.time_us,
            traffic_bytes=row.activation_bytes + origin.weights_bytes,
            macs=macs,
            nodes=origin.nodes,
            inputs=origin.inputs,
            outputs=origin.outputs,
            causes=origin.causes,
            precision=_PRECISIONS.get(row.dtype, ""),
        )


def _kind(row: _Row, origin: Origin, ops: Mapping[str, str]) -> Any:
    """Return the kind of a kernel: its operator's, unless that is one that stands for others."""
    if row.op in ops.values() or not origin.nodes:
        return kind_of(row.op)
    of_nodes = strongest(kind_of(ops.get(node, "")) for node in origin.nodes)
    return kind_of(row.op) if of_nodes is None else of_nodes
