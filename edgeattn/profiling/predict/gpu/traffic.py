"""What a kernel reads and writes: bytes as they lie in memory, and which kernel wrote them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgeattn.engine.work import Product, product_of
from edgeattn.records.layers import BITS, Kernel, KernelTensor

# Channels that a layout pads to: `Thirty-two wide channel vectorized`, `channel % 8 == 0`.
_WIDTHS: Final = {"Two": 2, "Four": 4, "Eight": 8, "Sixteen": 16, "Thirty-two": 32}
# What TensorRT 8 calls a tensor before or behind a copy: `Reformatted Input Tensor 0 to conv1`.
_COPIED: Final = "Reformatted "
_PADDED: Final = re.compile(r"(?P<wide>[A-Z][a-z]+(-two)?) wide channel|channel % (?P<part>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A tensor that a kernel moves, or the part of it that it touches.

    Attributes:
        name: Of the tensor, as the kernel that wrote it calls it; of weights, the kernel's own.
        size: Bytes.
        source: The place of the kernel that wrote it; None for weights and what comes from outside.
    """

    name: str
    size: float
    source: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What one kernel moves, each tensor once.

    Attributes:
        product: The product that it is, if it is one.
        reads: Inputs, and the weights together.
        writes: Outputs.
    """

    product: Product | None
    reads: tuple[Piece, ...]
    writes: tuple[Piece, ...]

    @property
    def size(self) -> float:
        """Bytes, read and written."""
        return sum(piece.size for piece in (*self.reads, *self.writes))


def traffic_of(kernels: Sequence[Kernel]) -> list[Traffic]:
    """Return what each kernel moves.

    TensorRT 8 puts in copies, of which many turn out to be needless; it lists them as NoOp, and the
    reader leaves them out. They have renamed a tensor meanwhile, from or to a name that says so. So
    where one of the two is such a name, what no kernel wrote is taken for the last tensor before it
    that has its type and as many elements.

    Args:
        kernels: The kernels, in the order of the engine.

    Raises:
        InputError: A dimension or a type is not known.
    """
    written: dict[str, int] = {}
    # The last tensors of a type and size: of whatever name, and of those that a copy would rename.
    alike: dict[tuple[str, int], str] = {}
    renamed: dict[tuple[str, int], str] = {}
    found = []
    for place, kernel in enumerate(kernels):
        product = product_of(kernel)
        reads: dict[str, Piece] = {}
        for tensor in kernel.inputs:
            name = tensor.name
            if name not in written:
                last = alike if name.startswith(_COPIED) else renamed
                name = last.get((tensor.dtype, tensor.elements), name)
            share = _share(product) if product is not None and tensor is product.data else 1.0
            size = stored_bytes(tensor) * share
            if name not in reads or reads[name].size < size:
                reads[name] = Piece(name=name, size=size, source=written.get(name))
        weights = Piece(name=f"{kernel.name} weights {place}", size=kernel.weights_bytes)
        writes = tuple(Piece(name=one.name, size=stored_bytes(one)) for one in kernel.outputs)
        found.append(Traffic(product=product, reads=(*reads.values(), weights), writes=writes))
        for tensor in kernel.outputs:
            written[tensor.name] = place
            alike[tensor.dtype, tensor.elements] = tensor.name
            if tensor.name.startswith(_COPIED):
                renamed[tensor.dtype, tensor.elements] = tensor.name
    return found


def stored_bytes(tensor: KernelTensor) -> float:
    """Return the bytes of a tensor as it lies in memory: a layout may pad its channels.

    Raises:
        InputError: A dimension or the type is not known.
    """
    plain = tensor.traffic_bytes
    found = _PADDED.search(tensor.layout)
    if found is None or len(tensor.shape) < 3 or not plain:
        return plain
    width = int(found["part"]) if found["part"] else _WIDTHS.get(found["wide"], 1)
    padded = math.ceil(tensor.shape[1] / width) * width
    return tensor.elements / tensor.shape[1] * padded * BITS[tensor.dtype] / 8


def _share(product: Product) -> float:
    """Return the part of its input that a product touches.

    A 1x1 convolution of stride 2 skips three places in four where a place's channels lie together,
    and every other row where the places of a row do, since memory is read by lines.
    """
    part = min(1.0, product.area / product.step)
    is_row_major = "linear" in product.data.layout.lower()
    return math.sqrt(part) if is_row_major else part
