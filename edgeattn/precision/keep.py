"""Decides which nodes stay float32 in a model that is cast to half, each with its reason.

The structure of the graph decides first, because a few inputs show only so much: squares and what
is computed from them, divisions by a statistic, sums over large maps, exponentials. Measured ranges
come on top. Then the kept nodes grow together: a value between two of them is not rounded to half
and back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.graph.names import module_of
from edgeattn.graph.nodes import integer, static
from edgeattn.precision.degrees import (
    LAYERS,
    REDUCTIONS,
    SUMS,
    VIEWS,
    degrees,
    feeds_reductions,
    is_safe,
    is_square,
)
from edgeattn.precision.ranges import HALF_MAX, HALF_NORMAL, Range, summed_values

#: Other inputs than those that were measured give up to so much larger values.
HEADROOM: Final = 8.0
#: The same for products of two activations, which 64 times larger ones make 4096 times larger.
#: Those of non-local attention grow by 2500 in a ResNet-18 whose other statistics pass 10^4.
HEADROOM_OF_PRODUCTS: Final = 4096.0
#: Sums and softmax over so many values are computed in float32: half has 2048 whole numbers.
LARGE_SUM: Final = 1024
#: Rounding to half costs a constant 73 dB; below this it is out of half's normal range.
_LOWEST_SQNR_DB: Final = 40.0
_SINGLES: Final = frozenset(
    {"Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Exp", "Log", "Reciprocal", "Sigmoid",
     "HardSigmoid", "HardSwish", "Tanh", "Erf", "Relu", "Clip", "Softplus", "Max", "Min", "Where",
     "Softmax", "Floor", "Ceil", "Round"}
)  # fmt: skip
#: Operators that runtimes, or their schema, take in float32 only.
_FLOAT_ONLY: Final = frozenset(
    {"TopK", "NonMaxSuppression", "RoiAlign", "Range", "CumSum", "RandomUniformLike", "DFT", "STFT",
     "MelWeightMatrix", "MaxRoiPool", "Upsample"}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A node that stays float32.

    Attributes:
        node: Its name.
        op_type: Its operator.
        reason: Why.
        max_abs: The largest |x| that was measured of its outputs, or None if nothing was.
    """

    node: str
    op_type: str
    reason: str
    max_abs: float | None


def nodes_to_keep(
    model: ir.Model, ranges: Mapping[str, Range], *, patterns: Sequence[str] = ()
) -> tuple[Kept, ...]:
    """Decide which nodes stay float32.

    Args:
        model: The model, sorted, with types and with its constants as initializers.
        ranges: What was measured, by value name.
        patterns: Globs of node names and of module paths that are to stay float32 in any case.

    Returns:
        The nodes, in order.

    Raises:
        InputError: A pattern matches no node.
    """
    nodes = [node for node in model.graph if _is_float(node)]
    reasons: dict[ir.Node, str] = {}
    for pattern in patterns:
        for node in _matching(nodes, pattern):
            reasons.setdefault(node, f"asked for: {pattern}")
    degree = degrees(model.graph)
    for node in nodes:
        reason = next(_reasons(node, degree, ranges), None)
        if reason is not None:
            reasons.setdefault(node, reason)
    for node in _grids(nodes):
        reasons.setdefault(node, "coordinates in half are off by up to 1/2048 of the map")
    _grow(nodes, reasons)
    return tuple(_kept(node, reasons[node], ranges) for node in nodes if node in reasons)


def keep_front(
    model: ir.Model, kept: Sequence[Kept], ranges: Mapping[str, Range], *, part: float
) -> tuple[Kept, ...]:
    """Add the front of a model to the nodes that stay float32.

    Args:
        model: The model, sorted.
        kept: The nodes that stay in any case.
        ranges: What was measured, by value name.
        part: How much of the model, as a share of its nodes.
    """
    nodes = [node for node in model.graph if _is_float(node)]
    front = nodes[: math.ceil(part * len(nodes))]
    added = [_kept(node, "what follows amplifies its rounding", ranges) for node in front]
    every = {one.node: one for one in (*added, *kept)}
    return tuple(every[str(node.name)] for node in nodes if str(node.name) in every)


def _kept(node: ir.Node, reason: str, ranges: Mapping[str, Range]) -> Kept:
    found = [ranges.get(value.name or "") for value in node.outputs]
    return Kept(
        node=str(node.name),
        op_type=node.op_type,
        reason=reason,
        max_abs=max((one.max_abs for one in found if one is not None), default=None),
    )


def _matching(nodes: Sequence[ir.Node], pattern: str) -> list[ir.Node]:
    found = [node for node in nodes if any(fnmatchcase(n, pattern) for n in _names(node))]
    if not found:
        known = sorted({name for node in nodes for name in _names(node)})
        example = f"There are, for example, {', '.join(known[:3])}." if known else ""
        raise InputError(
            f"No float32 node or module is called {pattern!r}.",
            mend=did_you_mean(nearest(pattern, known)) or example,
        )
    return found


def _names(node: ir.Node) -> Iterator[str]:
    """Yield a node's name, its module, and the modules around that."""
    name = str(node.name)
    yield name
    module = module_of(name)
    while module:
        yield module
        module = module.rpartition(".")[0]


def _is_float(node: ir.Node) -> bool:
    values = [v for v in (*node.inputs, *node.outputs) if v is not None]
    return any(value.dtype == ir.DataType.FLOAT for value in values)


def _reasons(
    node: ir.Node, degree: Mapping[ir.Value, float], ranges: Mapping[str, Range]
) -> Iterator[str]:
    """Yield the reasons why a node is to compute in float32, the strongest first."""
    yield from _by_operator(node)
    yield from _by_constant(node)
    yield from _by_range(node, ranges)
    yield from _by_structure(node, degree)


def _by_operator(node: ir.Node) -> Iterator[str]:
    op_type = node.op_type
    if node.domain not in ("", "ai.onnx"):
        yield f"{op_type} of the domain {node.domain} may know no half"
    if op_type in _FLOAT_ONLY:
        yield f"{op_type} is not had in half everywhere"
    if op_type == "Cast" and _gives_float(node):
        yield "whole numbers above 2048 are not exact in half"


def _gives_float(node: ir.Node) -> bool:
    return node.outputs[0].dtype == ir.DataType.FLOAT


def _by_constant(node: ir.Node) -> Iterator[str]:
    for value in node.inputs:
        values = None if value is None or value.dtype != ir.DataType.FLOAT else static(value)
        if values is None:
            continue
        finite = values[np.isfinite(values)]
        largest = float(np.abs(finite).max(initial=0.0))
        if largest > HALF_MAX:
            yield f"a constant of {largest:.3g} is above half's 65504"
        elif 0 < largest < HALF_NORMAL and _rounding_db(finite) < _LOWEST_SQNR_DB:
            yield f"a constant of {largest:.3g} is below what half holds"


def _rounding_db(values: np.ndarray) -> float:
    exact = values.astype(np.float64)
    noise = float(np.sum((exact - values.astype(np.float16)) ** 2))
    return np.inf if noise == 0 else float(10 * np.log10(np.sum(exact**2) / noise))


def _by_range(node: ir.Node, ranges: Mapping[str, Range]) -> Iterator[str]:
    for value in (*node.outputs, *node.inputs):
        found = None if value is None else ranges.get(value.name or "")
        if found is not None and found.max_abs * _headroom(value) > HALF_MAX:
            yield f"|x| up to {found.max_abs:.3g}"
        elif found is not None and 0 < found.max_abs < HALF_NORMAL:
            yield f"|x| at most {found.max_abs:.3g}, below what half holds"
    for value in node.outputs:
        found = ranges.get(value.name or "")
        total = None if found is None else found.max_sum
        if total is not None and total * HEADROOM > HALF_MAX:
            yield f"{node.op_type} adds up to {total:.3g}"


def _headroom(value: ir.Value | None) -> float:
    node = None if value is None else value.producer()
    product = node is not None and node.op_type in LAYERS and len(_dynamic(node)) > 1
    return HEADROOM_OF_PRODUCTS if product else HEADROOM


def _by_structure(node: ir.Node, degree: Mapping[ir.Value, float]) -> Iterator[str]:
    op_type = node.op_type
    if is_square(node) and feeds_reductions(node):
        yield "squares that are summed"
    values = [v for v in (*node.outputs, *node.inputs) if v is not None]
    for value in values:
        if not is_safe(degree.get(value, 0.0)):
            yield _growth(degree[value])
    if op_type in SUMS or op_type in ("Softmax", "LogSoftmax"):
        count = _summed(node)
        if count is not None and count >= LARGE_SUM:
            yield f"{op_type} over {count} values"
    if op_type in ("ReduceL2", "ReduceSumSquare"):
        yield "squares that are summed"
    if op_type in ("InstanceNormalization", "GroupNormalization", "LpNormalization", "LRN",
                   "MeanVarianceNormalization"):  # fmt: skip
        yield f"the statistics of {op_type}"
    if (op_type == "Div" and static(node.inputs[1]) is None) or op_type in ("Sqrt", "Reciprocal"):
        yield f"{op_type} of a statistic"


def _growth(degree: float) -> str:
    if degree in (np.inf, -np.inf):
        return "an exponential"
    if degree < 0:
        return "one over a statistic"
    return "squares or products of activations"


def _summed(node: ir.Node) -> int | None:
    if node.op_type in SUMS:
        return summed_values(node)
    shape = node.outputs[0].shape
    size = None if shape is None else shape[integer(node, "axis", -1)]
    return size if isinstance(size, int) else None


def _grids(nodes: Sequence[ir.Node]) -> set[ir.Node]:
    """Return every GridSample, and all nodes that only compute its coordinates."""
    found = {node for node in nodes if node.op_type == "GridSample"}
    samplers = set(found)
    for node in reversed(nodes):
        uses = [use for value in node.outputs for use in value.uses()]
        if uses and all(
            use.idx == 1 if use.node in samplers else use.node in found for use in uses
        ):
            found.add(node)
    return found


def _grow(nodes: Sequence[ir.Node], reasons: dict[ir.Node, str]) -> None:
    """Add the nodes between and behind the kept ones, until nothing more joins."""
    size = -1
    while size != len(reasons):
        size = len(reasons)
        for node in nodes:
            if node not in reasons and _follows(node, reasons):
                reasons[node] = "what it reads is float32"
        for node in reversed(nodes):
            if node not in reasons and _leads(node, reasons):
                reasons[node] = "what reads it is float32"


def _dynamic(node: ir.Node) -> list[ir.Value]:
    return [v for v in node.inputs if v is not None and v.dtype == ir.DataType.FLOAT
            and static(v) is None]  # fmt: skip


def _follows(node: ir.Node, kept: Mapping[ir.Node, str]) -> bool:
    """Return whether all that a cheap node reads comes from kept ones: a gate behind statistics."""
    if node.op_type not in _SINGLES | REDUCTIONS | VIEWS:
        return False
    dynamic = _dynamic(node)
    return bool(dynamic) and all(value.producer() in kept for value in dynamic)


def _leads(node: ir.Node, kept: Mapping[ir.Node, str]) -> bool:
    """Return whether all that reads a cheap node is kept: a mean before what is centred by it."""
    users = node.successors()
    if not users or not all(user in kept for user in users):
        return False
    if any(value.is_graph_output() for value in node.outputs):
        return False
    if node.op_type in REDUCTIONS or (node.op_type in VIEWS and _is_reduced(node.outputs[0])):
        return True
    if node.op_type in ("Add", "Sub") and any(map(_is_reduced, _dynamic(node))):
        return True  # a mean, taken from what is squared next
    between = any(value.producer() in kept for value in _dynamic(node))
    return between and node.op_type in _SINGLES | VIEWS


def _is_reduced(value: ir.Value) -> bool:
    """Return whether a value is the result of a reduction, maybe reshaped."""
    node = value.producer()
    if node is None:
        return False
    if node.op_type in VIEWS:
        return node.inputs[0] is not None and _is_reduced(node.inputs[0])
    return node.op_type in REDUCTIONS
