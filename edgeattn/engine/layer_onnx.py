"""The values of an ONNX model at one point of an optimisation profile, to match kernels with.

The batch is bound to a large prime: no other size is a multiple of it, so a size that depends on
the batch can be told from one that happens to be as large.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx_ir as ir

from edgeattn.graph import shapes as inference
from edgeattn.graph.reading import load
from edgeattn.records.layers import Shape

# No size of a real model's is a multiple of it; a larger one makes folded constants large.
_PRIME: Final = 4093
# What a slice or a padding of the batch may leave of it.
_NEAR: Final = frozenset({0, 1, 2, _PRIME - 1, _PRIME - 2})
# Where the channels of a product's operand stand.
_PRODUCTS: Final = {"Conv": 1, "ConvTranspose": 1, "Gemm": -1, "MatMul": -1}
_SIZES: Final = frozenset({"Shape", "Size"})

Operand = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The values of a model.

    Attributes:
        batch: The size of the batch at the point, or None if the inputs have none in common.
        is_batch_only: Whether the inputs have no other open dimension.
        shapes: The shape of each value, the batch being the prime.
        read: The values that each node reads, without weights and sizes.
        made: The values that each node writes.
        products: For each convolution and matrix product with weights, the value that it reads and
            the index of its channels, and the same for the value that it writes.
    """

    batch: int | None
    is_batch_only: bool
    shapes: Mapping[str, Shape]
    read: Mapping[str, frozenset[str]]
    made: Mapping[str, frozenset[str]]
    products: Mapping[str, tuple[Operand, Operand]]

    @property
    def is_batch_alone(self) -> bool:
        """Whether every size that depends on the batch is the batch itself."""
        sizes = {size for shape in self.shapes.values() for size in shape}
        dependent = {size for size in sizes if size > _PRIME // 2 and size % _PRIME in _NEAR}
        return self.is_batch_only and dependent <= {_PRIME}

    def depends_on_batch(self, size: int) -> bool:
        """Return whether a size is a multiple of the batch."""
        return size > 0 and size % _PRIME == 0

    def at_point(self, shape: Shape) -> Shape:
        """Put the batch in the place of the prime."""
        return tuple(map(self._size, shape))

    def rows(self, operands: Iterable[Operand]) -> int | None:
        """Return the total rows of some operands at the point: elements divided by channels.

        TensorRT pads channels, never rows. None if a shape is not known.
        """
        total = 0
        for name, channels in operands:
            shape = list(self.at_point(self.shapes.get(name, ())))
            if len(shape) < 2:
                return None
            del shape[channels]
            total += math.prod(shape)
        return total

    def _size(self, size: int) -> int:
        while self.batch is not None and self.depends_on_batch(size):
            size = size // _PRIME * self.batch
        return size


#: Without a model, nothing is known.
NO_VALUES: Final = Values(batch=None, is_batch_only=False, shapes={}, read={}, made={}, products={})


def values_of(model: ir.Model | Path, shapes: Mapping[str, Shape]) -> Values:
    """Infer the shapes of a model's values.

    Args:
        model: The model, which is left as it is, or its file.
        shapes: The shape of each input.

    Returns:
        The values; those whose shape cannot be inferred have none.
    """
    if isinstance(model, Path):
        model = load(model)
    reached = {value.name for value in model.graph.inputs if not value.is_initializer()}
    bound = ir.from_proto(inference.without_weights(model))
    batch, is_batch_only = _bind(bound, shapes)
    inference.infer(bound)
    if not inference.is_static(bound):
        inference.resolve(bound)
    read, made, products, known = {}, {}, {}, {}
    for node in bound.graph.all_nodes():
        inputs = [value for value in node.inputs if value is not None]
        # Weights and arithmetic on sizes are no tensors that depend on the inputs.
        if node.op_type not in _SIZES and any(value.name in reached for value in inputs):
            reached |= {value.name for value in node.outputs}
        first = node.outputs[0].name or ""
        # As TensorRT's parser calls a node without a name.
        name = node.name or f"node_of_{first}"
        read[name] = frozenset(v.name or "" for v in inputs if v.name in reached)
        made[name] = frozenset(v.name or "" for v in node.outputs if v.name in reached)
        channels = _PRODUCTS.get(node.op_type)
        # Of two activations, TensorRT may write the product transposed.
        is_with_weights = len(inputs) > 1 and inputs[1].name not in reached
        if channels is not None and is_with_weights and not node.attributes.get_int("transA", 0):
            products[name] = ((inputs[0].name or "", channels), (first, channels))
        for value in (*inputs, *node.outputs):
            if value.name in reached and value.shape is not None and value.shape.is_static():
                known[value.name or ""] = tuple(map(int, value.shape.numpy()))
    return Values(
        batch=batch,
        is_batch_only=is_batch_only,
        shapes=known,
        read=read,
        made=made,
        products=products,
    )


def _bind(model: ir.Model, shapes: Mapping[str, Shape]) -> tuple[int | None, bool]:
    """Bind the inputs to their shapes, the batch to the prime.

    Returns:
        The batch, and whether nothing else is open.
    """
    inputs = [v for v in model.graph.inputs if v.name in shapes and v.shape is not None]
    places = {
        (value.name or "", place)
        for value in inputs
        for place, size in enumerate(value.shape or ())
        if not isinstance(size, int)
    }
    batches = {shapes[name][0] for name, place in places if place == 0}
    batch = batches.pop() if len(batches) == 1 else None
    for value in inputs:
        name = value.name or ""
        sizes = list(shapes[name])
        if batch is not None and (name, 0) in places:
            sizes[0] = _PRIME
        value.shape = ir.Shape(sizes)
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if value.shape is not None and not value.shape.is_static():
                value.shape = None
    return batch, batch is not None and all(place == 0 for _, place in places)
