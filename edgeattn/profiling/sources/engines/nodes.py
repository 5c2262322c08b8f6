"""What the kernels of an engine say of the ONNX nodes that they came from, without the model.

Names are all that there is: an operator is guessed from a node's name, and its module is what
stands before it. Multiply-accumulates are those of the kernels; element operations are taken to be
one for each element of the largest tensor that the kernel handles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from edgeattn.graph.names import module_of, tagged
from edgeattn.profiling.sources.engines.kernels import macs_of_all
from edgeattn.profiling.sources.model import Known
from edgeattn.records.kinds import guessed_op_type, kind_of
from edgeattn.records.layers import Kernel as Layer
from edgeattn.records.layers import LayerInformation
from edgeattn.records.trace import Node, Site

# What a reader of such figures should know.
_GUESSED: Final = (
    "No model was at hand: operators and modules are guessed from the names of nodes, and element"
    " operations from the shapes of kernels."
)
# Weights that were layers of their own stand among the nodes in the names of TensorRT 8's layers.
_WEIGHTS: Final = re.compile(r".*\.(?:weight|bias)")
# What `edgeattn export` calls an attention, and many others call theirs.
_SITE: Final = re.compile(r"(?:.*?[./])??attention\d*(?=[./]|$)")
_FREE: Final = frozenset({"matmul", "shuffle"})


def guessed_nodes(information: LayerInformation) -> tuple[Node, ...]:
    """Return what can be told of the nodes that kernels came from.

    Args:
        information: The layer information of one optimisation profile.

    Returns:
        Each node once, in the order of the kernels.
    """
    found: dict[str, Node] = {}
    layers = information.kernels
    for layer, macs in zip(layers, macs_of_all(layers, None), strict=True):
        for node in _of_layer(layer, macs):
            found.setdefault(node.name, node)
    return tuple(found.values())


def guessed_sites(nodes: Sequence[Node]) -> tuple[Site, ...]:
    """Return the sites that modules are named after: those called `attention`."""
    paths = dict.fromkeys(node.site for node in nodes if node.site)
    return tuple(Site(path=path, attention="attention") for path in paths)


def guessed(information: LayerInformation) -> Known:
    """Return what can be told of a model that is not at hand.

    Args:
        information: The layer information of one optimisation profile.
    """
    nodes = guessed_nodes(information)
    return Known(nodes=nodes, sites=guessed_sites(nodes), params=None, notes=(_GUESSED,))


def _of_layer(layer: Layer, macs: int) -> Iterator[Node]:
    names = [name for name in layer.nodes if not _WEIGHTS.fullmatch(name)]
    ops = {name: guessed_op_type(name) for name in names}
    products = [name for name in names if kind_of(ops[name]) == "matmul"] or names
    largest = max(
        (tensor.elements for tensor in layer.activations if not tensor.is_open), default=0
    )
    traffic = 0
    if all(tensor.dtype and not tensor.is_open for tensor in layer.tensors):
        traffic = layer.traffic_bytes
    for name, op_type in ops.items():
        module = module_of(tagged(name))
        site = _SITE.match(module)
        share, rest = divmod(macs, len(products))
        yield Node(
            name=name,
            op_type=op_type,
            module=module,
            site=site[0] if site else "",
            macs=share + (rest if name == products[0] else 0) if name in products else 0,
            element_ops=0 if kind_of(op_type) in _FREE else largest,
            traffic_bytes=traffic // len(names),
        )
