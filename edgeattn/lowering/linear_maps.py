"""Fixed linear maps of rows and columns, however they are spelled, as one product or two.

    y[n, c] = A x[n, c] B^T      A f[H', H], B f[W', W], the same for every sample and channel
            = K vec(x[n, c])     K f[H' W', H W] = A kron B, channels last

Adaptive average pools to sizes that are no factors are written as hundreds of gathers, masks and
sums; pyramids, overlapping windows and bands by slices, means and Concats: all are two products
with constants. What the nodes between a value and its source compute is linear, by their operators;
A and B are read off by giving them vectors: x = e_h r^T gives column h of A, x = q e_w^T column w
of B. That they are all there is, is checked on random values: two linear maps that agree there are
the same, but for a chance of zero.

Real-number exact. Requires static shapes, one source, four or more nodes that move elements and a
sum among them. A map that mixes channels or whose rows and columns do not come apart is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import is_standard, is_static, static, static_sizes, text
from edgeattn.lowering.build import Builder, replace
from edgeattn.lowering.measures import VIEWS, Measure, freed
from edgeattn.lowering.record import FAULTS, fault
from edgeattn.records.lowering import NearMiss, Rewrite

RULE: Final = "linear-map"
_MAP: Final = 4
_FEWEST_NODES: Final = 4
# The map is evaluated on so many elements at most, and a product may have so many columns.
_MOST_ELEMENTS: Final = 1 << 24
_LONGEST: Final = 512
_LARGEST_FLAT: Final = 1 << 18
_TOLERANCE: Final = 1e-9

# By operator, the inputs that may be computed; the others are constants.
_LINEAR: Final = {
    **dict.fromkeys(
        ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather",
         "GatherND", "Split", "Pad", "Expand", "Tile", "ReduceMean", "ReduceSum", "AveragePool",
         "Neg", "Div"),
        (0,),
    ),
    **dict.fromkeys(("Add", "Sub", "Mul"), (0, 1)),
    "Where": (1, 2),
}  # fmt: skip
_JOINING: Final = frozenset({"Concat", "Sum"})
_SUMMING: Final = frozenset({"Add", "Sub", "Sum", "ReduceMean", "ReduceSum", "AveragePool"})


def rewrite_linear_maps(
    graph: ir.Graph, build: Builder, measure: Measure | None, *, flat: bool
) -> list[Rewrite | NearMiss]:
    """Write fixed linear maps of many nodes as products with constants.

    Args:
        graph: The graph, changed in place.
        build: Makes the nodes.
        measure: The target's measure, by which the products have to pay, if they have to.
        flat: Whether a small map becomes one product on channels-last rows of positions.

    Returns:
        What was done and what nearly was.
    """
    sources: dict[ir.Value, ir.Value] = {}
    for node in graph:
        source = _source(node, sources)
        if source is not None:
            sources.update(dict.fromkeys(node.outputs, source))
    place = {node: k for k, node in enumerate(graph)}
    done: list[Rewrite | NearMiss] = []
    for end, source in list(sources.items()):
        if not _ends(end, source, sources):
            continue
        nodes = sorted(_between(end, source), key=place.__getitem__)
        if not _is_candidate(end, source, nodes):
            continue
        last = nodes[-1]
        build.origin = last.name or ""
        try:
            made = _written(end, source, nodes, build, measure, flat=flat)
        except FAULTS as error:
            done.append(fault(RULE, build.origin, error))
            continue
        if isinstance(made, str):
            done.append(NearMiss(rule=RULE, site=build.origin, reason=made))
        else:
            done.append(made)
    return done


def _source(node: ir.Node, sources: dict[ir.Value, ir.Value]) -> ir.Value | None:
    """Return the value that a node's outputs are a linear map of."""
    if not is_standard(node) or not (node.op_type in _LINEAR or node.op_type in _JOINING):
        return None
    read = [(k, v) for k, v in enumerate(node.inputs) if v is not None and not is_static(v)]
    allowed = _LINEAR.get(node.op_type)
    if not read or (allowed is not None and any(k not in allowed for k, _ in read)):
        return None
    if node.op_type in {"Mul", "AveragePool", "Pad"} and (len(read) > 1 or _is_odd(node)):
        return None
    constants = [v for k, v in enumerate(node.inputs) if v is not None and (k, v) not in read]
    if (node.op_type in _JOINING or node.op_type in {"Add", "Sub", "Where"}) and any(
        np.any(static(v)) for v in (constants[1:] if node.op_type == "Where" else constants)
    ):
        return None  # an offset
    found = {sources.get(value, value) for _, value in read}
    return found.pop() if len(found) == 1 else None


def _is_odd(node: ir.Node) -> bool:
    """Return whether a Pad repeats what is there or adds a number."""
    if node.op_type != "Pad":
        return False
    value = node.inputs[2] if len(node.inputs) > 2 else None
    return text(node, "mode", "constant") != "constant" or (
        value is not None and bool(np.any(static(value)))
    )


def _ends(end: ir.Value, source: ir.Value, sources: dict[ir.Value, ir.Value]) -> bool:
    """Return whether something beyond a map reads a value of it."""
    readers = end.consumers()
    return end.is_graph_output() or any(
        sources.get(value) is not source for reader in readers for value in reader.outputs
    )


def _between(end: ir.Value, source: ir.Value) -> list[ir.Node]:
    """Return the nodes that make a value from its source."""
    found: dict[ir.Node, None] = {}
    pending = [end]
    while pending:
        value = pending.pop()
        node = value.producer()
        if value is source or node is None or node in found:
            continue
        found[node] = None
        pending += [v for v in node.inputs if v is not None and not is_static(v)]
    return list(found)


def _is_candidate(end: ir.Value, source: ir.Value, nodes: Sequence[ir.Node]) -> bool:
    before, after = static_sizes(source), static_sizes(end)
    if before is None or after is None:
        return False
    moving = [node for node in nodes if node.op_type not in VIEWS]
    return (
        len(before) == len(after) == _MAP
        and before[:2] == after[:2]
        and after[2:] != [1, 1]
        and source.dtype == end.dtype
        and len(moving) >= _FEWEST_NODES
        and any(node.op_type in _SUMMING for node in moving)
    )


def _written(
    end: ir.Value,
    source: ir.Value,
    nodes: Sequence[ir.Node],
    build: Builder,
    measure: Measure | None,
    *,
    flat: bool,
) -> Rewrite | str:
    """Write a map as products; or say why not."""
    shape = [size for size in static_sizes(source) or () if size is not None]
    if len(shape) < _MAP or None in (static_sizes(end) or [None]):
        return "its sizes are open"
    largest = max(
        np.prod([s or 1 for s in static_sizes(v) or []]) for n in nodes for v in n.outputs
    )
    if max(shape[2:]) > _LONGEST or largest > _MOST_ELEMENTS:
        return "it is too large to be read off"
    matrices = _matrices(_evaluator(end, source, nodes), shape)
    if matrices is None:
        return "its rows and columns do not come apart, or it mixes channels"
    value = _products(source, *matrices, shape, build, flat=flat)
    if value is source:
        return "it changes nothing"
    gone, new = freed(nodes, [end]), build.loose([value])
    if measure is not None:
        before, after = measure(gone, new), measure(new, gone)
        if not after.pays_against(before):
            return f"its products would take {after}, and as it is it takes {before}"
    names = tuple(node.name or "" for node in gone)
    made = build.insert(value, nodes[-1])
    replace(end, value, is_made=True)
    for node in reversed(gone):
        if node.graph is not None:
            node.graph.remove(node, safe=True)
    return Rewrite(
        rule=RULE,
        site=build.origin,
        nodes_before=names,
        nodes_after=tuple(node.name or "" for node in made),
    )


def _products(
    x: ir.Value,
    rows: np.ndarray,
    columns: np.ndarray,
    shape: Sequence[int],
    build: Builder,
    *,
    flat: bool,
) -> ir.Value:
    """Return A x B^T."""
    kind = x.dtype
    assert kind is not None, "a candidate has a type"
    batch, channels, height, width = shape
    size, whole = [len(rows), len(columns)], height * width
    if flat and rows.size * columns.size <= _LARGEST_FLAT:
        matrix = build.constant(np.kron(rows, columns).astype(kind.numpy()))
        turned = build.node(
            "Transpose", [x], [batch, height, width, channels], {"perm": [0, 2, 3, 1]}
        )
        before, after = [batch, whole, channels], [batch, *size, channels]
        x = build.node("Reshape", [turned, build.integers(before)], before)
        x = build.node("MatMul", [matrix, x], [batch, size[0] * size[1], channels], dtype=kind)
        x = build.node("Reshape", [x, build.integers(after)], after)
        return build.node("Transpose", [x], [batch, channels, *size], {"perm": [0, 3, 1, 2]})
    if not np.array_equal(columns, np.eye(width)):
        constant = build.constant(np.ascontiguousarray(columns.T).astype(kind.numpy()))
        x = build.node("MatMul", [x, constant], [batch, channels, height, size[1]])
    if not np.array_equal(rows, np.eye(height)):
        constant = build.constant(rows.astype(kind.numpy()))
        x = build.node("MatMul", [constant, x], [batch, channels, *size], dtype=kind)
    return x


def _evaluator(
    end: ir.Value, source: ir.Value, nodes: Sequence[ir.Node]
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that nodes compute, in double precision."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    constants: dict[str, onnx.TensorProto] = {}
    for node in nodes:
        for value in node.inputs:
            array = static(value)
            if value is not None and array is not None and value.name is not None:
                wide = array.astype(np.float64) if array.dtype.kind == "f" else array
                constants[value.name] = onnx.numpy_helper.from_array(wide, value.name)
    name = source.name or ""
    make, double = onnx.helper.make_tensor_value_info, onnx.TensorProto.DOUBLE
    graph = onnx.helper.make_graph(
        [ir.to_proto(node) for node in nodes],
        "map",
        [make(name, double, None)],
        [make(end.name or "", double, None)],
        list(constants.values()),
    )
    owner = nodes[-1].graph
    assert owner is not None, "the nodes are in the graph"
    opset = owner.opset_imports.get("", 18)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    run = ReferenceEvaluator(model)

    def evaluate(x: np.ndarray) -> np.ndarray:
        return np.asarray(run.run(None, {name: x})[0])  # type: ignore[index]

    return evaluate


def _matrices(
    evaluate: Callable[[np.ndarray], np.ndarray], shape: Sequence[int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return A and B of y = A x B^T, or None if that is not what is computed."""
    rng = np.random.default_rng(0)
    count, (height, width) = shape[0] * shape[1], shape[2:]
    q, r = rng.uniform(0.5, 1.5, height), rng.uniform(0.5, 1.5, width)
    probes = [np.outer(q, r)]
    probes += [np.outer(one, r) for one in np.eye(height)]
    probes += [np.outer(q, one) for one in np.eye(width)]
    found: list[np.ndarray] = []
    for start in range(0, len(probes), count):
        part = probes[start : start + count]
        filled = np.stack([*part, *[np.zeros((height, width))] * (count - len(part))])
        made = evaluate(filled.reshape(shape))
        found += list(made.reshape(count, *made.shape[2:])[: len(part)])
    whole, by_row, by_column = found[0], found[1 : 1 + height], found[1 + height :]
    i, j = np.unravel_index(np.argmax(np.abs(whole)), whole.shape)
    if whole[i, j] == 0:
        return None
    rows = np.stack([one[:, j] for one in by_row], axis=1) / whole[i, j]
    columns = np.stack([one[i, :] for one in by_column], axis=1)
    scale = rows[i].sum() or 1.0
    rows, columns = (_clean(one) for one in (rows / scale, columns * scale))
    x = rng.normal(size=shape)
    wanted = rows @ (x @ columns.T)
    error = np.abs(evaluate(x) - wanted).max()
    return (rows, columns) if error <= _TOLERANCE * np.abs(wanted).max() else None


def _clean(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix with zeros and ones where rounding left next to nothing of a difference."""
    largest = np.abs(matrix).max()
    cleaned = np.where(np.abs(matrix) < 1e-13 * largest, 0.0, matrix)
    return np.where(np.abs(cleaned - 1) < 1e-13, 1.0, cleaned)
