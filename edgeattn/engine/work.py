"""What a kernel of an engine computes: its kind, and the product that it is.

TensorRT 8 to 11 name the kinds of layers (CaskConvolution, Reformat, PointWiseV2); TensorRT-RTX
names a few (correlation, kgen, runtime_fusion), and Myelin's kernels say in their names what they
do, step by step: `__myl_TranMeanSubMul_myl0_6`. Weights are a count alone until TensorRT 8.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgeattn.records.kinds import Kind
from edgeattn.records.layers import Kernel, KernelTensor

_STEPS: Final = re.compile(r"__my[el]\w*?_(?P<steps>(?:[A-Z][a-z0-9]*)+)_myl")
# Myelin's steps, cut to four letters mostly; those that are not here work element by element.
# One step of a kind decides what the kernel is, the first kind first.
_STRONG_STEPS: Final[tuple[tuple[Kind, frozenset[str]], ...]] = (
    ("matmul", frozenset({"Corr", "Conv", "Deco", "Fc", "Gemm", "Bmm", "Matm", "Dot", "Mha"})),
    ("normalisation", frozenset({"Norm", "Inst", "Laye"})),
    ("reduction", frozenset({"Mean", "Sum", "Maxr", "Minr", "Prod", "Redu", "Soft", "Topk", "Argm",
                             "Cums"})),
    ("pooling", frozenset({"Pool", "Maxp", "Avgp"})),
)  # fmt: skip
_SHUFFLE_STEPS: Final = frozenset(
    {"Tran", "Move", "Resh", "Cast", "Slic", "Conc", "Repl", "Pad", "Gath", "Scat", "Copy", "Shuf",
     "Expa", "Sque", "Unsq"}
)  # fmt: skip
# Kinds of layers, by what their names hold in lower case; the first that fits counts.
_LAYERS: Final[tuple[tuple[Kind, str], ...]] = (
    ("matmul", r"conv|correlation|gemm|mat_?mul|matrix|fully_?connected|mha|attention"),
    ("normalisation", r"norm|lrn"),
    ("pooling", r"pool"),
    ("reduction", r"soft_?max|reduc|topk|arg_?max|cumulative|nonzero"),
    # Padding, Slice and Concatenation copy runs as they lie: they go as fast as pointwise does.
    ("shuffle", r"reformat|shuffle|transpose|gather|scatter|permute|reverse"),
    ("pointwise", r"pointwise|pwn|element_?wise|activation|scale|unary|relu|quantize|cast|select"),
    ("pointwise", r"padding|slice|concat|copy|fill|constant|identity|resize|onehot"),
)
# Kernel areas to try if a count of weights leaves it open, as for grouped convolution.
_AREAS: Final = (9, 25, 49, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A convolution or a product of matrices, as `groups` products of rows × depth × columns.

    Attributes:
        rows: Places of the output: batch, height and width.
        columns: Output channels of one group.
        depth: Input channels of one group, times the area of the kernel.
        channels: Input channels of one group.
        groups: Groups of a convolution, or the batch of a product of two activations.
        step: Places of the input per place of the output: 4 at stride 2.
        data: The tensor that is multiplied.
    """

    rows: int
    columns: int
    depth: int
    channels: int
    groups: int
    step: float
    data: KernelTensor

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.rows * self.columns * self.depth * self.groups

    @property
    def is_depthwise(self) -> bool:
        """Whether no channel is mixed with another, as a tile of a product would."""
        return self.groups > 1 and min(self.channels, self.columns) == 1

    @property
    def area(self) -> int:
        """Places of the input that one place of the output is made of."""
        return self.depth // self.channels


def kind_of(kernel: Kernel) -> Kind:
    """Return the kind of work that a kernel does, by the strongest of its steps."""
    steps = frozenset(steps_of(kernel))
    for kind, strong in _STRONG_STEPS:
        if steps & strong:
            return kind
    if steps:
        return "shuffle" if steps <= _SHUFFLE_STEPS else "pointwise"
    lower = kernel.kind.lower()
    return next((kind for kind, pattern in _LAYERS if re.search(pattern, lower)), "other")


def steps_of(kernel: Kernel) -> tuple[str, ...]:
    """Return what one of Myelin's kernels does, step by step; none for a kernel of another."""
    found = _STEPS.match(kernel.name)
    return tuple(re.findall(r"[A-Z][a-z0-9]*", found["steps"])) if found else ()


def macs_of(kernel: Kernel) -> int:
    """Return the multiply-accumulates of a kernel's convolution or product; 0 if it has none.

    What TensorRT 8 hides in one region (`{ForeignNode[...]}`) is unknown, and counts as 0.

    Raises:
        InputError: A dimension is not known.
    """
    product = product_of(kernel)
    return product.macs if product is not None else 0


def product_of(kernel: Kernel) -> Product | None:
    """Return the product that a kernel computes, or None if there is none or it is unknown.

    Raises:
        InputError: A dimension is not known.
    """
    if kind_of(kernel) != "matmul" or not kernel.inputs or not kernel.outputs:
        return None
    out = max(kernel.outputs, key=lambda one: one.elements)
    weights = max(kernel.constants, key=lambda one: one.elements, default=None)
    columns = _columns(weights, kernel, out) if weights is not None else 0
    # A vector is no weights: it is the bias or the scale of a product of two activations.
    if weights is None or not columns or weights.elements < 2 * columns:
        return _of_activations(kernel.inputs, out)
    if re.search("deconv|transposed", kernel.kind, re.IGNORECASE):
        return _deconvolution(kernel.inputs[0], weights, out)
    data = _data(kernel.inputs, weights)
    depth = weights.elements // columns
    channels, area = _channels(weights, kernel, data, depth)
    groups = 1 if _is_matrix(weights, data) else max(1, data.shape[1] // channels)
    rows = max(1, out.elements // columns)
    places = data.elements / max(1, channels * groups)
    return Product(
        rows=rows,
        columns=max(1, columns // groups),
        depth=channels * area,
        channels=channels,
        groups=groups,
        step=max(1.0, places / rows),
        data=data,
    )


def _columns(weights: KernelTensor, kernel: Kernel, out: KernelTensor) -> int:
    """Find the output channels: the first dimension of a convolution's weights (OIHW).

    Of a matrix it is the side that the output has and the input does not, or else the last. For a
    count alone they are the output's channels.
    """
    sides = [side for side in weights.shape if side > 1]
    if len(weights.shape) > 3:
        return weights.shape[0]
    if len(sides) == 2:
        first, last = sides
        read = {size for one in kernel.inputs for size in one.shape}
        return first if first in out.shape and (last in read or last not in out.shape) else last
    channels = out.shape[1] if len(out.shape) > 1 else out.elements
    return channels if channels and weights.elements % channels == 0 else 0


def _data(inputs: Sequence[KernelTensor], weights: KernelTensor) -> KernelTensor:
    """Find the input that is multiplied: a gate or a residual may stand before it."""
    if len(weights.shape) < 4:
        return inputs[0]
    own = [one for one in inputs if len(one.shape) > 1 and one.shape[1] == weights.shape[1]]
    wide = [one for one in inputs if len(one.shape) > 1 and one.shape[1] % weights.shape[1] == 0]
    return max(own or wide or inputs, key=lambda one: one.elements)


def _channels(
    weights: KernelTensor, kernel: Kernel, data: KernelTensor, depth: int
) -> tuple[int, int]:
    """Return the input channels of a group, and the kernel's area."""
    if len(weights.shape) > 3:
        return weights.shape[1], math.prod(weights.shape[2:])
    if "depthwise" in kernel.kind.lower():
        return 1, depth
    if _is_matrix(weights, data):
        return depth, 1
    channels = data.shape[1]
    if depth % channels == 0:
        return channels, depth // channels
    for area in _AREAS:
        if depth % area == 0 and channels % (depth // area) == 0:
            return depth // area, area
    return depth, 1


def _is_matrix(weights: KernelTensor, data: KernelTensor) -> bool:
    """Return whether there are no neighbouring places that a kernel could cover."""
    return 1 < len(weights.shape) < 4 or len(data.shape) < 3


def _deconvolution(data: KernelTensor, weights: KernelTensor, out: KernelTensor) -> Product:
    """Each place of the input spreads over a kernel's area of the output."""
    channels = data.shape[1]
    return Product(
        rows=max(1, data.elements // channels),
        columns=max(1, weights.elements // channels),
        depth=channels,
        channels=channels,
        groups=1,
        step=max(1.0, data.elements / max(1, out.elements)),
        data=data,
    )


def _of_activations(inputs: Sequence[KernelTensor], out: KernelTensor) -> Product | None:
    """A[b, m, k] · B[b, k, n]: |A| · |B| = b² · m · k² · n, and |out| = b · m · n."""
    if len(inputs) < 2 or len(out.shape) < 2:
        return None
    first, second = sorted(inputs, key=lambda one: one.elements)[-2:]
    *batch, rows, columns = out.shape
    groups = math.prod(batch)
    depth = round(math.sqrt(first.elements * second.elements / max(1, out.elements * groups)))
    return Product(
        rows=rows,
        columns=columns,
        depth=max(1, depth),
        channels=max(1, depth),
        groups=groups,
        step=1.0,
        data=inputs[0],
    )
