"""A convolution to one channel, as a strided one whose channels are the phases of the map.

    y[f i + a, f j + b] = sum_uv w[u, v] x[f i + a + u - p, f j + b + v - p]

so a convolution of step f whose kernel for output (a, b) is w moved by (a, b), in a window of
k + f - 1, gives f^2 channels that DepthToSpace puts side by side: the same sums, in the lanes of a
block that a single channel leaves idle.

Real-number exact. Requires a convolution of step 1 from a few channels to one, with the map's size
kept, and a map whose sides f divides.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import given, integer, keeps_size, static, weight_and_bias

# With a block of 16 lanes; 28x28 and above gain what the one more node costs (measured with 7x7
# kernels: 119 us at 56x56 without, about 15 with).
_FACTORS: Final = (4, 2)
_FEWEST_POSITIONS: Final = 28 * 28
_MOST_INPUTS: Final = 8


def phases(node: ir.Node) -> tuple[np.ndarray, np.ndarray, list[int], int] | None:
    """Return the weights, biases, pads and step of the convolution to all phases, if it pays."""
    constants, step = weight_and_bias(node), _step(node)
    if constants is None or step is None:
        return None
    weight, bias = constants
    rows, columns = weight.shape[2:]
    moved = np.zeros((step, step, weight.shape[1], rows + step - 1, columns + step - 1))
    for a in range(step):
        for b in range(step):
            moved[a, b, :, a : a + rows, b : b + columns] = weight[0]
    offset = np.zeros(1) if bias is None else bias
    return (
        moved.reshape(step * step, *moved.shape[2:]),
        np.repeat(offset, step * step),
        # (H + 2 p - (k + f - 1)) / f + 1 = H / f, with the pads of the kernel that was.
        [rows // 2, columns // 2] * 2,
        step,
    )


def _step(node: ir.Node) -> int | None:
    """Return the step between phases, or None if the convolution is of another kind."""
    weight = static(given(node, 1)) if node.op_type == "Conv" and not node.domain else None
    shape = node.outputs[0].shape
    if weight is None or weight.ndim != 4 or shape is None:
        return None
    outputs, inputs, rows, columns = weight.shape
    is_kept = min(rows, columns) > 1 and keeps_size(node, (rows, columns))
    sizes = [size for size in list(shape)[2:] if isinstance(size, int)]
    if not is_kept or outputs != 1 or inputs > _MOST_INPUTS or integer(node, "group", 1) != 1:
        return None
    if len(sizes) != 2 or sizes[0] * sizes[1] < _FEWEST_POSITIONS:
        return None
    return next((f for f in _FACTORS if all(size % f == 0 for size in sizes)), None)
