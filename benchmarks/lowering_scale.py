"""How long lowering takes: for real models, and for generated graphs of growing size."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from lowering_cases import ATTENTIONS, TARGETS, Case, Shelf, Target, on_backbone, say
from lowering_table import Column, Table, mark, number

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_UNITS: Final = Path(__file__).with_name("lowering_units.py")
_SHAPE: Final = (1, 32, 14, 14)
SIZES: Final = (100, 300, 1000, 3000, 10_000)
# The exponent is fitted from here on: below, what does not grow hides what does.
_FITTED_FROM: Final = 1000
_MOST_EXPONENT: Final = 1.1
_MOST_SECONDS: Final = 1.0
_REPEATS: Final = 3
_HOW: Final = (
    "A unit is a residual block with an attention, a ShuffleNetV2 unit, or a plain residual block,"
    " repeated to about so many nodes. CPU time ~ nodes^exponent, fitted from"
    f" {_FITTED_FROM} nodes on; 1 is linear."
)


def scale_tables(shelf: Shelf, *, sizes: Sequence[int] = SIZES) -> list[Table]:
    """Make both tables."""
    import onnx_ir

    # What lowering imports when it is first used is not its work.
    warm = onnx_ir.load(shelf.exported(_unit("se")))
    for target in TARGETS:
        _lower(warm.clone(), target)
    return [_models(shelf), _generated(shelf, sizes)]


def _models(shelf: Shelf) -> Table:
    import onnx_ir

    rows = []
    for attention in ("none", *ATTENTIONS):
        case = on_backbone("resnet50", attention)
        model = onnx_ir.load(shelf.exported(case))
        for target in TARGETS:
            say(f"scale: {case.name} for {target}")
            wall_s, cpu_s = _seconds(model, target, repeats=_REPEATS)
            rows.append(
                {
                    "model": case.name,
                    "target": target,
                    "nodes": len(model.graph),
                    "wall_s": wall_s,
                    "cpu_s": cpu_s,
                    "met": wall_s < _MOST_SECONDS,
                }
            )
    return Table(
        title=f"Seconds of lower() for ResNet-50, median of {_REPEATS}",
        columns=(
            Column(key="model", heading="model"),
            Column(key="target", heading="target"),
            Column(key="nodes", heading="nodes"),
            Column(key="wall_s", heading="s", show=number(2)),
            Column(key="cpu_s", heading="CPU s", show=number(2)),
            Column(key="met", heading=f"< {_MOST_SECONDS:g} s", show=mark),
        ),
        rows=rows,
    )


def _generated(shelf: Shelf, sizes: Sequence[int]) -> Table:
    import onnx
    import onnx_ir

    rows = []
    for name in (*ATTENTIONS, "shuffle", "plain"):
        unit = onnx.load(shelf.exported(_unit(name)))
        graphs = [_repeated(unit, max(1, round(size / len(unit.graph.node)))) for size in sizes]
        for target in TARGETS:
            say(f"scale: {name} for {target}")
            points = []
            for graph in graphs:
                model = onnx_ir.from_proto(graph)
                repeats = 1 if len(model.graph) > _FITTED_FROM * 2 else _REPEATS
                _, cpu_s = _seconds(model, target, repeats=repeats)
                points.append((len(model.graph), cpu_s))
            exponent = _exponent(points)
            rows.append(
                {
                    "unit": name,
                    "target": target,
                    "points": points,
                    **{str(size): point for size, point in zip(sizes, points, strict=True)},
                    "exponent": exponent,
                    "met": None if exponent is None else exponent <= _MOST_EXPONENT,
                }
            )
    return Table(
        title="lower() on generated graphs: CPU microseconds per node, by number of nodes",
        columns=(
            Column(key="unit", heading="unit"),
            Column(key="target", heading="target"),
            *(Column(key=str(size), heading=f"~{size}", show=_per_node) for size in sizes),
            Column(key="exponent", heading="exponent", show=number(2)),
            Column(key="met", heading=f"≤ {_MOST_EXPONENT}", show=mark),
        ),
        rows=rows,
        notes=(_HOW,),
    )


def _unit(name: str) -> Case:
    factory = name if name in {"shuffle", "plain"} else "attended"
    arguments = () if factory == name else (("attention", name),)
    source = f"{_UNITS}:{factory}"
    return Case(name=f"unit-{name}", source=source, shape=_SHAPE, model_args=arguments)


def _seconds(model: ir.Model, target: Target, *, repeats: int) -> tuple[float, float]:
    """Return the median wall-clock and CPU seconds of lowering copies of a model."""
    walls, cpus = [], []
    for _ in range(repeats):
        copy = model.clone()
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        _lower(copy, target)
        cpus.append(time.process_time() - cpu)
        walls.append(time.perf_counter() - wall)
    return statistics.median(walls), statistics.median(cpus)


def _lower(model: ir.Model, target: Target) -> None:
    from edgeattn.lowering.pipeline import lower

    lower(model, target=target)


def _exponent(points: Sequence[tuple[int, float]]) -> float | None:
    large = [point for point in points if point[0] >= 0.8 * _FITTED_FROM]
    if len(large) < 2:
        return None
    nodes, seconds = np.log(np.array(large)).T
    return float(np.polyfit(nodes, seconds, 1)[0])


def _per_node(point: tuple[int, float]) -> str:
    nodes, seconds = point
    return f"{1e6 * seconds / nodes:.0f}"


def _repeated(unit: onnx.ModelProto, count: int) -> onnx.ModelProto:
    """Chain copies of a graph that gives what it takes; each has weights of its own."""
    import onnx

    (start,), (end,) = unit.graph.input, unit.graph.output
    chain = onnx.ModelProto()
    chain.CopyFrom(unit)
    for part in ("node", "initializer", "value_info"):
        chain.graph.ClearField(part)
    for index in range(count):
        names = {"": "", start.name: start.name if index == 0 else f"{index - 1}.{end.name}"}
        if index == count - 1:
            names[end.name] = end.name
        _append(chain.graph, unit.graph, index, names, end)
    return chain


def _append(
    chain: onnx.GraphProto,
    unit: onnx.GraphProto,
    index: int,
    names: dict[str, str],
    end: Any,
) -> None:
    def renamed(name: str) -> str:
        return names.get(name, f"{index}.{name}")

    for node in unit.node:
        copy = chain.node.add()
        copy.CopyFrom(node)
        copy.name = f"{index}.{node.name}"
        copy.input[:] = map(renamed, node.input)
        copy.output[:] = map(renamed, node.output)
    between = [] if renamed(end.name) == end.name else [end]
    for value in (*unit.value_info, *between):
        copied = chain.value_info.add()
        copied.CopyFrom(value)
        copied.name = renamed(value.name)
    for tensor in unit.initializer:
        weights = chain.initializer.add()
        weights.CopyFrom(tensor)
        weights.name = renamed(tensor.name)
