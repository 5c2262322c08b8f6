"""Module tags: every ONNX node carries the path of the torch module that caused it, in its name.

A node of the module `layer1.0.attention` is named `layer1.0.attention/Mul_2`; the root module's
own nodes are named `/Add`. The value that a module returns is named by the module's path
(`layer1.0.attention`), any other value by its node (`layer1.0.attention/Mul_2:0`). Names survive
the simplifier and reach TensorRT's layer information and ONNX Runtime's profiles, which metadata
properties do not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from edgeattn.graph.names import Names, module_of

_SCOPES = "pkg.torch.onnx.name_scopes"


def tag(model: ir.Model, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Name every node and value of a model that torch translated, and drop torch's metadata.

    Args:
        model: The model, changed in place; its nodes carry torch's `name_scopes` metadata.
        inputs: One name per graph input.
        outputs: One name per graph output.
    """
    graph = model.graph
    scopes = {node: _scopes(node) for node in graph.all_nodes()}
    _inherit(scopes)
    names = Names([*inputs, *outputs])
    for initializer in list(graph.initializers.values()):
        # A parameter may bear the name that an input or output is to have.
        name = names.new(str(initializer.name))
        if name != initializer.name:
            initializer.name = name
    for value, name in zip(graph.inputs, inputs, strict=True):
        value.name = name
    outputs_of_modules = _module_outputs(graph, scopes)
    for value, name in zip(graph.outputs, outputs, strict=True):
        value.name = name
    for node, path in scopes.items():
        node.name = names.new(f"{path[-1] if path else ''}/{node.op_type}")
        for index, value in enumerate(node.outputs):
            if value.is_graph_output():
                continue
            module = outputs_of_modules.get(value)
            value.name = names.new(module or f"{node.name}:{index}")
    _clear_metadata(model)


def adopt(model: ir.Model) -> None:
    """Give a tagged name to each node that another tool added or renamed.

    The module is that of the node's consumer, else of its producer: a constant or a shape
    computation belongs to what uses it.

    Args:
        model: The model, changed in place.
    """
    graph = model.graph
    scopes = {node: _tagged(node) for node in graph.all_nodes()}
    seen: set[str] = set()
    strangers: list[ir.Node] = []
    for node, own in scopes.items():
        if not own or node.name in seen:
            strangers.append(node)
        else:
            seen.add(str(node.name))
    _inherit(scopes)
    names = Names(seen)
    for node in strangers:
        path = scopes[node][-1] if scopes[node] else ""
        node.name = names.new(f"{path}/{node.op_type}")


def restore_value_names(before: Iterable[ir.Node], model: ir.Model) -> None:
    """Give a value back the name of the value that it replaced.

    The simplifier folds a BatchNormalization into its convolution and keeps the convolution's
    value name, `layer1.0.conv1`, on what is now the value of `layer1.0.bn1`. Where a node stayed
    the same but for one input, that input carries what the old input carried.

    Args:
        before: The nodes before the simplifier ran.
        model: The model after it, changed in place.
    """
    old = {node.name: node for node in before}
    present = {value.name for node in model.graph for value in node.outputs}
    renamed: dict[ir.Value, set[str]] = {}
    for node in model.graph:
        twin = old.get(node.name)
        if twin is None or not _same_but_inputs(twin, node):
            continue
        for was, now in zip(twin.inputs, node.inputs, strict=True):
            if was is not None and now is not None and now.producer() is not None:
                renamed.setdefault(now, set()).add(str(was.name))
    for value, origins in renamed.items():
        if len(origins) != 1 or value.is_graph_output():
            continue
        (origin,) = origins
        if origin != value.name and origin not in present:
            present.add(origin)
            value.name = origin


def _same_but_inputs(one: ir.Node, other: ir.Node) -> bool:
    return (
        one.op_type == other.op_type
        and len(one.inputs) == len(other.inputs)
        and len(one.outputs) == len(other.outputs)
        and {name: str(attribute.value) for name, attribute in one.attributes.items()}
        == {name: str(attribute.value) for name, attribute in other.attributes.items()}
    )


def _scopes(node: ir.Node) -> list[str]:
    """Return the module paths around a node, outermost first; '' is the root, [] is unknown."""
    text = node.metadata_props.get(_SCOPES)
    if text is None:
        return []
    # The last entry is the FX node itself. A module called twice is written `path@1`; symbolic
    # sizes, which belong to whatever uses them, carry a scope that starts with an underscore.
    paths = [_plain(path) for path in ast.literal_eval(text)[:-1]]
    return [] if any(path.startswith("_empty_nn_module_stack") for path in paths) else paths


def _tagged(node: ir.Node) -> list[str]:
    name = node.name or ""
    return [module_of(name)] if "/" in name else []


def _plain(path: str) -> str:
    return path.partition("@")[0]


def _inherit(scopes: dict[ir.Node, list[str]]) -> None:
    """Give nodes without scopes those of a consumer, else of a producer."""
    for node, own in reversed(list(scopes.items())):
        if not own:
            users = [user for value in node.outputs for user, _ in value.uses()]
            scopes[node] = next((scopes[user] for user in users if scopes.get(user)), [])
    for node, own in scopes.items():
        if not own:
            producers = [value.producer() for value in node.inputs if value is not None]
            scopes[node] = next((scopes[p] for p in producers if p and scopes.get(p)), [])


def _module_outputs(graph: ir.Graph, scopes: Mapping[ir.Node, list[str]]) -> dict[ir.Value, str]:
    """Find the value that each module returns: the first output of its last node.

    Where one value ends several modules, the innermost that ends with it names it.
    """
    last: dict[str, tuple[int, ir.Node]] = {}
    for node in graph:
        for depth, path in enumerate(scopes[node]):
            if path:
                last[path] = (depth, node)
    found: dict[ir.Value, str] = {}
    for path, (_, node) in sorted(last.items(), key=lambda item: item[1][0]):
        found[node.outputs[0]] = path
    return found


def _clear_metadata(model: ir.Model) -> None:
    from onnx_ir.passes import common

    common.ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.metadata_props.clear()
