"""Parts of a model that forms compete on: a region and what its runtime may fuse with it.

A part is one region of a kind, with what is computed around it up to the next layers, convolutions
or products, those included: they say which layout its map comes in, and what its last operators are
fused with. Convolutions at its edges read or give few channels only, for what they take hides what
forms differ by. Its names are numbers, so that the same part of another model is the same content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph import shapes
from edgeattn.graph.nodes import given, integer, is_static, static
from edgeattn.lowering import lines
from edgeattn.lowering.build import Builder
from edgeattn.lowering.pipeline import lower
from edgeattn.lowering.raising import FLOATS

_LAYERS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# So far from the region what is around it is looked for.
_DEEPEST: Final = 8
# What a convolution at an edge reads or gives: a block of lanes, or of tensor cores.
_FEW_CHANNELS: Final = 16
_MAP: Final = 4


def parts_of(
    model: ir.Model, *, target: str, rules: Iterable[str] | None, tensorrt: str | None
) -> dict[str, ir.Model]:
    """Return a part for each kind of region that there are forms for, whether they pay or not.

    Args:
        model: The model, not yet lowered; it stays as it is.
        target: The runtime.
        rules: The rules to apply; None for all.
        tensorrt: The version of TensorRT.
    """
    base = model.clone()
    base.graph.sort()
    if shapes.is_incomplete(base):
        shapes.infer(base)
    if rules is None or lines.RULE in rules:
        lines.part_lines(base.graph, Builder(base))  # so that what is found has the names of these
    found = lower(base.clone(), target=target, rules=rules, tensorrt=tensorrt, must_pay=False)
    parts: dict[str, ir.Model] = {}
    for rewrite in found.rewrites:
        if rewrite.kind and rewrite.kind not in parts:
            part = _cut(base, set(rewrite.nodes_before))
            if part is not None:
                parts[rewrite.kind] = part
    return parts


def content(part: ir.Model) -> str:
    """Return the hash of a part: its graph and shapes, whatever its weights are."""
    skeleton = part.clone()
    graph = skeleton.graph
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is not None and tensor.dtype in FLOATS and tensor.size > 1:
            value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
            del graph.initializers[name]
            graph.inputs.append(value)
    data = ir.to_proto(skeleton).SerializeToString(deterministic=True)
    return hashlib.sha256(data).hexdigest()


def _cut(model: ir.Model, names: AbstractSet[str]) -> ir.Model | None:
    """Return the nodes of these names and what is around them; None if they cannot stand alone."""
    taken = {node for node in model.graph if node.name in names}
    if len(taken) < len(names) or "" in names:
        return None
    taken |= _around(taken, _makers) | _around(taken, _readers)
    nodes = [node for node in model.graph if node in taken]
    nodes = [*_constants(nodes, taken), *nodes]
    taken = set(nodes)
    read = dict.fromkeys(v for node in nodes for v in node.inputs if v is not None)
    inputs = [v for v in read if v.producer() not in taken and not is_static(v)]
    outputs = [v for node in nodes for v in node.outputs if _is_read_outside(v, taken)]
    if any(v.dtype not in FLOATS or v.shape is None for v in (*inputs, *outputs)):
        return None
    weights = [v for v in read if v.producer() is None and is_static(v)]
    graph = ir.GraphView(
        inputs,
        outputs,
        nodes=nodes,
        initializers=weights,
        opset_imports=model.graph.opset_imports,
        name="part",
    ).clone()
    for value in graph.initializers.values():  # the model's may be mapped from a file
        if value.const_value is not None:
            value.const_value = ir.tensor(value.const_value.numpy().copy(), name=value.name)
    _thin(graph)
    renumber(graph)
    return ir.Model(graph, ir_version=model.ir_version)


def _thin(graph: ir.Graph) -> None:
    """Leave convolutions at the edges of a part few channels of those that nothing of it reads.

    One that reads with a kernel of 1x1 keeps them: a squeeze may be taken through it.
    """
    for node in graph:
        weight = static(given(node, 1))
        if node.op_type != "Conv" or integer(node, "group", 1) != 1 or weight is None:
            continue
        x, (made,) = node.inputs[0], node.outputs
        if (
            x is not None
            and x.is_graph_input()
            and len(x.consumers()) == 1
            and weight[0, 0].size > 1
        ):
            weight = weight[:, :_FEW_CHANNELS]
            _give(node, 1, weight)
            x.shape = _with_channels(x, weight.shape[1])
        if made.is_graph_output() and not made.consumers():
            bias = static(given(node, 2))
            _give(node, 1, weight[:_FEW_CHANNELS])
            if bias is not None:
                _give(node, 2, bias[:_FEW_CHANNELS])
            made.shape = _with_channels(made, min(len(weight), _FEW_CHANNELS))


def _give(node: ir.Node, place: int, array: np.ndarray) -> None:
    """Give a node a constant of its own."""
    owner, name = node.graph, f"{node.name}/thin{place}"
    assert owner is not None, "it is in a graph"
    tensor = ir.tensor(array.copy(), name=name)
    value = ir.Value(name=name, const_value=tensor)
    value.dtype, value.shape = tensor.dtype, ir.Shape(array.shape)
    old = node.inputs[place]
    node.replace_input_with(place, value)
    owner.register_initializer(value)
    if old is not None and old.name and old.is_initializer() and not old.consumers():
        del owner.initializers[old.name]


def _with_channels(value: ir.Value, count: int) -> ir.Shape | None:
    sizes = None if value.shape is None else list(value.shape)
    return None if sizes is None or len(sizes) != _MAP else ir.Shape([sizes[0], count, *sizes[2:]])


def _makers(node: ir.Node) -> Iterator[ir.Node | None]:
    return (value.producer() for value in node.inputs if value is not None)


def _readers(node: ir.Node) -> Iterator[ir.Node | None]:
    return (user for value in node.outputs for user in value.consumers())


def _around(
    taken: AbstractSet[ir.Node], step: Callable[[ir.Node], Iterator[ir.Node | None]]
) -> set[ir.Node]:
    """Return the nodes before or behind some, up to the next layers."""
    found: set[ir.Node] = set()
    edge = dict.fromkeys(taken, False)  # whether another map was joined on the way
    for _ in range(_DEEPEST):
        near: dict[ir.Node, bool] = {}
        for node, is_joined in edge.items():
            for one in step(node):
                joins = one is not None and one.op_type not in _LAYERS and _is_join(one)
                if one is not None and one not in taken | found and not (joins and is_joined):
                    near[one] = is_joined or joins
        found |= near.keys()
        edge = {node: joined for node, joined in near.items() if node.op_type not in _LAYERS}
    return found


def _is_join(node: ir.Node) -> bool:
    return sum(value is not None and not is_static(value) for value in node.inputs) > 1


def _constants(nodes: Iterable[ir.Node], taken: AbstractSet[ir.Node]) -> list[ir.Node]:
    """Return the nodes that make constants for some."""
    made = dict.fromkeys(
        maker
        for node in nodes
        for value in node.inputs
        if value is not None and is_static(value) and (maker := value.producer()) is not None
    )
    return [maker for maker in made if maker not in taken]


def _is_read_outside(value: ir.Value, taken: AbstractSet[ir.Node]) -> bool:
    users = value.consumers()
    if is_static(value):
        return False
    return value.is_graph_output() or not users or not set(users) <= taken


def renumber(graph: ir.Graph) -> None:
    """Give nodes and values numbers for names, and nothing else to be known by."""
    values: dict[ir.Value, None] = dict.fromkeys(graph.inputs)
    for number, node in enumerate(graph):
        node.name, node.doc_string = f"n{number}", None
        node.metadata_props.clear()
        values.update(dict.fromkeys(v for v in (*node.inputs, *node.outputs) if v is not None))
    for value in values:
        value.metadata_props.clear()
    names = [f"v{number}" for number in range(len(values))]
    ir.convenience.rename_values(list(values), names)
    order = sorted(graph.initializers.items(), key=lambda item: int(item[0][1:]))
    graph.initializers.clear()
    graph.initializers.update(order)
    graph.metadata_props.clear()
    graph.doc_string = None


def forms_of(
    parts: Mapping[str, ir.Model], known: Mapping[str, Mapping[str, str]]
) -> dict[str, Mapping[str, str]]:
    """Return the forms of parts that are known by their content, by kind."""
    found = ((kind, known.get(content(part))) for kind, part in parts.items())
    return {kind: forms for kind, forms in found if forms is not None}
