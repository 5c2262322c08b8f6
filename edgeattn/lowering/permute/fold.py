"""Channel permutations as a dataflow pass: each moves to where it costs nothing.

A channel permutation, `y[:, i] = x[:, p[i]]`, stands in the graph as a node of its own. It commutes
with what treats every channel alike, goes into the rows of the weights that make a channel and the
columns of those that read it, and vanishes where channels are summed. The pass chooses one
physical order for every value (`analysis`), permutes the constants to it and removes the nodes;
where two demands contradict each other, one Gather or a Concat of slices stays (`writing`).

Moving a channel is bit-exact. A convolution whose columns are permuted adds the same products in
another order: equal in real numbers, not in the last bits.

Source of the operation: ShuffleNet (Zhang et al. 2018, arXiv:1707.01083) and ShuffleNetV2
(Ma et al. 2018, arXiv:1807.11164); that P·f(x) = f_P(P·x) is elementary.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeattn.graph.nodes import needed
from edgeattn.lowering.permute.analysis import analyse
from edgeattn.lowering.permute.wiring import permutations_of
from edgeattn.lowering.permute.writing import Writing
from edgeattn.lowering.target import TARGETS
from edgeattn.options.lowering import DEFAULT_TARGET
from edgeattn.records.lowering import NearMiss, Rewrite


def fold_permutations(
    model: ir.Model, *, target: str = DEFAULT_TARGET
) -> tuple[list[Rewrite], list[NearMiss]]:
    """Move every channel permutation to where it costs nothing.

    Shapes are to be known (`graph.shapes.infer`): what is not known keeps the model's order. Beside
    a permutation, Concat and Split stay for TensorRT, which makes one kernel of a Concat and the
    Gathers that read it and lets convolutions write straight into the next Concat; for ONNX
    Runtime, which copies at each of them, every channel goes straight to its reader.

    Args:
        model: The model, changed in place. Its inputs and outputs keep their order.
        target: The runtime to choose forms for.

    Returns:
        What became of each permutation, and why some are Gathers or slices now.
    """
    graph = model.graph
    permutations = permutations_of(model)
    if not permutations:
        return [], []
    for node in permutations:
        if node.outputs[0].shape is None:
            node.outputs[0].shape = needed(node, 0).shape
            node.outputs[0].type = needed(node, 0).type
    writing = Writing(model, analyse(graph, dissolve=TARGETS[target].dissolves_wires))
    return writing.run()
