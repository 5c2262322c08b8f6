"""Target shapes that a graph computes, and constants that it casts, written as constants.

torch's TorchScript exporter takes the batch of a reshape from Shape(x), which keeps x, and a dozen
small nodes, in the graph. A target of which one size at most is open is a constant with a -1.

Bit-exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeattn.graph.edit import sweep
from edgeattn.graph.nodes import static
from edgeattn.lowering.build import Builder
from edgeattn.lowering.raising import FLOATS
from edgeattn.lowering.recognise.sizes import computed_sizes
from edgeattn.records.lowering import Rewrite

RULE = "static-shapes"


def fix_shapes(graph: ir.Graph, build: Builder) -> list[Rewrite]:
    """Make the target of every Reshape a constant where possible, and drop what computed it."""
    done = []
    for node in graph:
        if node.op_type != "Reshape" or node.domain or static(node.inputs[1]) is not None:
            continue
        sizes = computed_sizes(node.inputs[1])
        if sizes is None or 0 in sizes or sum(not isinstance(size, int) for size in sizes) > 1:
            continue
        if -1 in sizes and any(not isinstance(size, int) for size in sizes):
            continue
        build.origin = node.name or ""
        target = [size if isinstance(size, int) else -1 for size in sizes]
        constant = build.constant(np.array(target, dtype=np.int64))
        if constant.graph is None:
            graph.register_initializer(constant)
        old = node.inputs[1]
        node.replace_input_with(1, constant)
        gone = tuple(one.name or "" for one in sweep([old]))
        done.append(Rewrite(rule=RULE, site=node.name or "", nodes_before=gone, nodes_after=()))
    return done


def fold_casts(graph: ir.Graph, build: Builder) -> None:
    """Make constants of those that are cast to the type of a map, which they would keep."""
    for node in list(graph):
        array = static(node.inputs[0]) if node.op_type == "CastLike" else None
        value = node.outputs[0]
        if array is None or node.domain or value.is_graph_output():
            continue
        if node.inputs[1] is None or node.inputs[1].dtype not in FLOATS:
            continue
        build.origin = node.name or ""
        constant = build.constant(array.astype(node.inputs[1].dtype.numpy()))
        if constant.graph is None:
            graph.register_initializer(constant)
        ir.convenience.replace_all_uses_with(value, constant)
        graph.remove(node, safe=True)
