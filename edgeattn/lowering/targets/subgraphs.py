"""What OpenVINO makes of some nodes on a CPU: a kernel each, but for chains of elementwise ones.

    elementwise operators, broadcasts included    one generated kernel with those they feed
    any other operator                            a kernel: reads its inputs, writes its outputs
    views                                         nothing
    multiply-accumulates                          as the bytes that are moved meanwhile, of whole
                                                  vectors of channels

A chain whose value in the middle something else reads writes it there, and goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import onnx_ir as ir

from edgeattn.lowering.build import DOMAIN
from edgeattn.lowering.measures import VIEWS, Figures, bytes_of, is_read, work_bytes
from edgeattn.lowering.targets.widths import BLOCK

_POINTWISE: Final = frozenset(
    {
        "Abs", "Add", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish",
        "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Pow", "Reciprocal", "Relu",
        "Sigmoid", "Softplus", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "Where",
    }
)  # fmt: skip


def measure(nodes: Sequence[ir.Node], instead_of: Sequence[ir.Node]) -> Figures:
    """Return the kernels that OpenVINO runs for some nodes, and what they move.

    Args:
        nodes: The nodes, in an order that runs.
        instead_of: Those that are not there if they are.
    """
    inside, absent = set(nodes), set(instead_of)
    same: dict[ir.Value, ir.Value] = {}
    chain_of: dict[ir.Value, int] = {}
    chains: dict[int, list[ir.Node]] = {}
    kernels = moved = 0
    for node in nodes:
        read = [same.get(v, v) for v in node.inputs if v is not None and is_read(v)]
        if not read:
            continue
        if node.op_type in VIEWS or node.domain == DOMAIN:
            same[node.outputs[0]] = read[0]
        elif node.op_type in _POINTWISE:
            known = sorted({chain_of[value] for value in read if value in chain_of})
            number = known[0] if known else len(chain_of)
            for other in known[1:]:
                chains[number] += chains.pop(other)
            chains.setdefault(number, []).append(node)
            chain_of |= {v: number for member in chains[number] for v in member.outputs}
        else:
            kernels += 1
            moved += sum(map(bytes_of, read)) + sum(map(bytes_of, node.outputs))
            moved += work_bytes(node, lanes=BLOCK)
    for members in chains.values():
        made = {value for member in members for value in member.outputs}
        read_there = {same.get(v, v) for m in members for v in m.inputs if v is not None}
        moved += sum(bytes_of(v) for v in read_there if v not in made and is_read(v))
        own = set(members)
        for value in made:
            users = [user for user in value.consumers() if user not in absent]
            users = [user for user in users if user.graph is not None or user in inside]
            if value.is_graph_output() or not users or not set(users) <= own:
                moved += bytes_of(value)
    return Figures(kernels=kernels + len(chains), traffic_bytes=moved)
