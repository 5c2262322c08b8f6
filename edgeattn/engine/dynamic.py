"""Resolves the open dimensions of layer information, at one point of a profile.

TensorRT writes -1 for what a profile leaves open. It may be the batch, or the batch times groups,
or a whole map seen as rows; and two products that share their weights run as one on a batch of
twice the size. So each tensor of a kernel is matched with what the ONNX model says, by the first of
these that holds:

1. An input or output of the network has its shape.
2. A product (convolution, gemm) has the rows of its ONNX nodes, all of them together.
3. A concatenation, and a copy that comes from no node, write as much as they read.
4. A value that the kernel's ONNX nodes read or write has the same known dimensions: one that the
   kernels on the tensor's other side touch as well, then any; in the same order, then in another.
   A tensor that one kernel reads several times holds as many values, if as many match.
5. What is read was written so by another kernel.
6. It is the batch, if no size of the model that depends on the batch is anything else.

If only the batch is open, the result must be a multiple of it.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import onnx_ir as ir

from edgeattn.base.errors import InputError
from edgeattn.engine.layer_fit import aligned, copied, divided, fits, leads, permuted
from edgeattn.engine.layer_onnx import NO_VALUES, Values, values_of
from edgeattn.records.layers import (
    Binding,
    Kernel,
    KernelTensor,
    LayerInformation,
    Shape,
    steps_of,
)

_PRODUCTS: Final = frozenset({"correlation", "gemm"})
_SUFFIX: Final = re.compile(r"_myl\d+_\d+$")
_COPYING: Final = frozenset({"Cast", "Conc", "Move", "Tran", "Resh"})
# Layers of TensorRT's own, before Myelin's, in which the batch stays first.
_BATCH_FIRST: Final = re.compile(
    r"conv|pool|pointwise|reformat|elementwise|activation|softmax|scale|gemm|matrix|fully|reduce",
    re.IGNORECASE,
)

_Fit = Callable[[Shape, Shape], Shape | None]


def resolve(
    information: LayerInformation,
    shapes: Mapping[str, Shape],
    model: ir.Model | Path | None,
    *,
    profile: int = 0,
) -> LayerInformation:
    """Resolve the open dimensions of the kernels of one optimisation profile.

    Args:
        information: What TensorRT says of the engine.
        shapes: The shape of each input of the network.
        model: The ONNX model that the engine was built from, or its file, if there is one.
        profile: The number of the profile that the shapes belong to.

    Returns:
        The kernels of that profile, and the bindings, without open dimensions. Tensors that had
        some lose their strides.

    Raises:
        InputError: A shape is missing or does not fit an input, there is no such profile, or the
            extent of a tensor cannot be resolved: names it and its kernel.
    """
    picked = information.of_profile(profile)
    _check(picked.bindings, shapes)
    if not picked.is_open and not any(-1 in binding.shape for binding in picked.bindings):
        return picked
    values = NO_VALUES if model is None else values_of(model, shapes)
    resolver = _Resolver(picked, shapes, values)
    if model is None:
        resolver.batch = _batch(picked, shapes)
    return replace(
        picked,
        kernels=tuple(map(resolver.kernel, picked.kernels)),
        bindings=tuple(map(resolver.binding, picked.bindings)),
    )


def _check(bindings: Iterable[Binding], shapes: Mapping[str, Shape]) -> None:
    inputs = {binding.name: binding for binding in bindings if binding.is_input}
    for name, binding in inputs.items():
        if -1 in binding.shape and name not in shapes:
            raise InputError(
                f"Input {name} is {list(binding.shape)}, and no shape is given for it."
            )
    for name, shape in shapes.items():
        if name not in inputs:
            raise InputError(
                f"The engine has no input {name}.", mend=f"It has {', '.join(inputs) or 'none'}."
            )
        if not fits(inputs[name].shape, shape):
            raise InputError(f"Input {name} is {list(inputs[name].shape)}, not {list(shape)}.")


class _Resolver:
    """Finds the extents of one engine's tensors, kernel by kernel in the engine's order."""

    def __init__(
        self, information: LayerInformation, inputs: Mapping[str, Shape], values: Values
    ) -> None:
        self.values = values
        self.network = _network(information.bindings, inputs, values)
        self.batch = values.batch if values.is_batch_alone else None
        self.writers: dict[str, list[Kernel]] = defaultdict(list)
        self.readers: dict[str, list[Kernel]] = defaultdict(list)
        for kernel in information.kernels:
            for tensor in kernel.outputs:
                self.writers[tensor.name].append(kernel)
            for tensor in kernel.inputs:
                self.readers[tensor.name].append(kernel)
        # What was written, by name and the dimensions that TensorRT gives: two kernels may view one
        # buffer in two ways.
        self.written: dict[tuple[str, Shape], Shape] = {}

    def binding(self, binding: Binding) -> Binding:
        """Return a binding with its shape at the point."""
        return replace(binding, shape=self.network.get(binding.name, binding.shape))

    def kernel(self, kernel: Kernel) -> Kernel:
        """Return a kernel without open dimensions."""
        read, made = self._product(kernel)
        inputs = tuple(
            self._told(kernel, tensor, self._read(kernel, tensor, None if index else read))
            for index, tensor in enumerate(kernel.inputs)
        )
        source = inputs if _copies(kernel) else ()
        outputs = tuple(
            self._told(kernel, tensor, self._made(kernel, tensor, made, source))
            for tensor in kernel.outputs
        )
        self.written |= {
            (said.name, said.shape): found.shape
            for said, found in zip(kernel.outputs, outputs, strict=True)
        }
        return replace(kernel, inputs=inputs, outputs=outputs)

    def _read(self, kernel: Kernel, tensor: KernelTensor, rows: int | None) -> Shape | None:
        return (
            self._of_network(tensor)
            or divided(tensor.shape, rows, _channels(kernel))
            or self._matched(kernel, tensor, self._makers(tensor), is_made=False)
            or self.written.get((tensor.name, tensor.shape))
        )

    def _made(
        self,
        kernel: Kernel,
        tensor: KernelTensor,
        rows: int | None,
        source: tuple[KernelTensor, ...],
    ) -> Shape | None:
        return (
            self._of_network(tensor)
            or divided(tensor.shape, rows, _channels(kernel))
            or copied(tensor.shape, [one.shape for one in source])
            or self._several(kernel, tensor)
            or self._matched(kernel, tensor, self._users(tensor), is_made=True)
        )

    def _told(self, kernel: Kernel, tensor: KernelTensor, found: Shape | None) -> KernelTensor:
        if not tensor.is_open:
            return tensor
        if found is None and self.batch is not None and leads(tensor.shape):
            found = (self.batch, *tensor.shape[1:])
        if found is None or not self._is_plausible(tensor.shape, found):
            raise InputError(
                f"How large tensor {tensor.name}, {list(tensor.shape)}, of kernel {kernel.name} is"
                " at these shapes cannot be told.",
                mend="Give the ONNX file that the engine was built from, or build it for fixed"
                " shapes.",
            )
        return replace(tensor, shape=found, strides=())

    def _of_network(self, tensor: KernelTensor) -> Shape | None:
        shape = self.network.get(tensor.name)
        if shape is None:
            return None
        return aligned(tensor.shape, shape) or divided(tensor.shape, math.prod(shape))

    def _product(self, kernel: Kernel) -> tuple[int | None, int | None]:
        """Return the rows that a product reads and write, of all its ONNX nodes together.

        Nodes that read the same value lie side by side in channels, and its rows count once.
        """
        values = self.values
        if kernel.kind not in _PRODUCTS:
            return None, None
        nodes = [name for name in kernel.nodes if name in values.products]
        if len(nodes) > 1:
            # It may name products that feed it as well; those that run in it make up its name.
            run = _SUFFIX.sub("", kernel.name).split("+")
            nodes = [name for name in nodes if name in run]
        operands = dict(values.products[name] for name in nodes)
        return (values.rows(operands), values.rows(operands.values())) if nodes else (None, None)

    def _several(self, kernel: Kernel, tensor: KernelTensor) -> Shape | None:
        """Find the values that a kernel writes into one tensor for another to read apart."""
        if not leads(tensor.shape):
            return None
        readers = {reader.name: reader for reader in self.readers[tensor.name]}
        for reader in readers.values():
            times = sum(one.name == tensor.name for one in reader.inputs)
            names = self._names([kernel]) & self._names([reader])
            found = [shape for name in names if (shape := self._seen(tensor, name)) is not None]
            if times > 1 and len(found) == times and len(set(found)) == 1:
                first, *others = self.values.at_point(found[0])
                return (first * times, *others)
        return None

    def _matched(
        self, kernel: Kernel, tensor: KernelTensor, others: list[Kernel], *, is_made: bool
    ) -> Shape | None:
        """Find the model's values with the same known dimensions, nearest first, if they agree."""
        values = self.values
        own, other = self._names([kernel]), self._names(others)
        near = self._names([kernel], values.made if is_made else values.read)
        far = self._names(others, values.read if is_made else values.made)
        for fit in (aligned, permuted):
            for names in (near & far, near, own & other, own, other):
                found = {self._seen(tensor, name, fit) for name in names} - {None}
                if len(found) == 1 and (shape := found.pop()) is not None:
                    return values.at_point(shape)
        return None

    def _seen(self, tensor: KernelTensor, name: str, fit: _Fit = aligned) -> Shape | None:
        """Return a value's shape as the tensor's, if it fits and the same dimensions are open."""
        values = self.values
        if name not in values.shapes:
            return None
        shape = fit(tensor.shape, values.shapes[name])
        if shape is None or not values.is_batch_only:
            return shape
        opened = (size for said, size in zip(tensor.shape, shape, strict=True) if said < 0)
        return shape if all(map(values.depends_on_batch, opened)) else None

    def _is_plausible(self, said: Shape, found: Shape) -> bool:
        values = self.values
        if values.batch is None or not values.is_batch_only:
            return True
        opened = (size for before, size in zip(said, found, strict=True) if before < 0)
        return all(size % values.batch == 0 for size in opened)

    def _names(
        self, kernels: Iterable[Kernel], table: Mapping[str, frozenset[str]] | None = None
    ) -> set[str]:
        """Return the values that the ONNX nodes of kernels read or write, or those in one table."""
        tables = (self.values.read, self.values.made) if table is None else (table,)
        nodes = {name for kernel in kernels for name in kernel.nodes}
        return {value for one in tables for name in nodes for value in one.get(name, ())}

    def _makers(self, tensor: KernelTensor) -> list[Kernel]:
        """Return the kernels that write a tensor, or what it is copied from."""
        return _through(tensor, self.writers, lambda kernel: kernel.inputs)

    def _users(self, tensor: KernelTensor) -> list[Kernel]:
        """Return the kernels that read a tensor, or what is copied from it."""
        return _through(tensor, self.readers, lambda kernel: kernel.outputs)


def _through(
    tensor: KernelTensor,
    ends: Mapping[str, list[Kernel]],
    onward: Callable[[Kernel], tuple[KernelTensor, ...]],
) -> list[Kernel]:
    """Return the kernels at a tensor, and those beyond them through copies that have no node."""
    found, names, ahead = [], {tensor.name}, [tensor.name]
    while ahead:
        for kernel in ends.get(ahead.pop(), ()):
            found.append(kernel)
            if not kernel.nodes:
                fresh = {one.name for one in onward(kernel)} - names
                names |= fresh
                ahead += sorted(fresh)
    return found


def _network(
    bindings: Iterable[Binding], inputs: Mapping[str, Shape], values: Values
) -> dict[str, Shape]:
    """Return the shapes of the network's inputs and outputs that are known."""
    found = dict(inputs)
    for binding in bindings:
        if binding.name in values.shapes and binding.name not in found:
            found[binding.name] = values.at_point(values.shapes[binding.name])
    return found


def _batch(information: LayerInformation, inputs: Mapping[str, Shape]) -> int | None:
    """Return the batch without a model, if all layers are of kinds that keep it first."""
    if not all(_BATCH_FIRST.search(kernel.kind) for kernel in information.kernels):
        return None
    opened = [b.shape for b in information.bindings if b.is_input and -1 in b.shape]
    sizes = {shape[0] for shape in inputs.values()}
    is_first = all(shape[0] < 0 and min(shape[1:], default=0) >= 0 for shape in opened)
    return sizes.pop() if is_first and len(sizes) == 1 else None


def _copies(kernel: Kernel) -> bool:
    """Return whether a kernel only copies what it reads."""
    if len(kernel.outputs) != 1 or kernel.constants:
        return False
    if kernel.kind == "Reformat":
        return True
    steps = steps_of(kernel.name)
    is_alone = len(kernel.inputs) == 1 and not kernel.nodes
    return bool(steps) and steps <= _COPYING and ("Conc" in steps or is_alone)


def _channels(kernel: Kernel) -> int:
    return 1 if kernel.kind == "correlation" else -1
