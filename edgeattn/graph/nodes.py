"""What is read of a node and of its values, where ONNX leaves things out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from edgeattn.graph.names import STANDARD_DOMAINS


def is_standard(node: ir.Node) -> bool:
    """Return whether a node's operator is ONNX's own."""
    return node.domain in STANDARD_DOMAINS


def integer(node: ir.Node, name: str, default: int) -> int:
    """Return an integer attribute."""
    found = node.attributes.get(name)
    return default if found is None else found.as_int()


def number(node: ir.Node, name: str, default: float) -> float:
    """Return a float attribute."""
    found = node.attributes.get(name)
    return default if found is None else found.as_float()


def text(node: ir.Node, name: str, default: str) -> str:
    """Return a string attribute."""
    found = node.attributes.get(name)
    return default if found is None else found.as_string()


def ints(node: ir.Node, name: str, default: Sequence[int] = ()) -> list[int]:
    """Return an attribute that is a list of integers."""
    found = node.attributes.get(name)
    return list(default) if found is None else list(found.as_ints())


def given(node: ir.Node, index: int) -> ir.Value | None:
    """Return an input, or None if it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def needed(node: ir.Node, index: int) -> ir.Value:
    """Return an input that the schema requires."""
    value = given(node, index)
    assert value is not None, f"{node.name}: input {index} is required by its schema"
    return value


def bodies_of(node: ir.Node) -> Iterator[ir.Graph]:
    """Return the graphs of a node: its branches, or what it repeats."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def reads_of(node: ir.Node) -> dict[ir.Value, None]:
    """Return what a node reads, each once; what its bodies read of the graphs around it, too."""
    found = {value: None for value in node.inputs if value is not None}
    for body in bodies_of(node):
        own = {*body.inputs, *body.initializers.values()}
        inner: dict[ir.Value, None] = {}
        for one in body:
            inner |= reads_of(one)
            own |= {*one.outputs}
        inner |= dict.fromkeys(body.outputs)
        found |= {value: None for value in inner if value not in own}
    return found


def producer_of(value: ir.Value) -> ir.Node:
    """Return the node that computes a value which is neither an input nor a weight."""
    node = value.producer()
    assert node is not None, f"no node gives {value.name}"
    return node


def is_used(value: ir.Value) -> bool:
    """Return whether anything reads a value."""
    return value.is_graph_output() or bool(value.uses())


def is_weight(value: ir.Value) -> bool:
    """Return whether a value is an initializer that no caller can override."""
    return value.is_initializer() and not value.is_graph_input()


def rank(value: ir.Value) -> int | None:
    """Return a value's rank, or None if it is unknown."""
    return None if value.shape is None else len(value.shape)


def is_static(value: ir.Value | None) -> bool:
    """Return whether a value is a constant that no caller can override."""
    if value is None or value.is_graph_input():
        return False
    return ir.convenience.get_const_tensor(value) is not None


def static(value: ir.Value | None) -> np.ndarray | None:
    """Return the elements of a Constant, or of an initializer that no caller can override."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def static_ints(value: ir.Value | None) -> list[int] | None:
    """Return a constant's elements as a flat list of integers."""
    array = static(value)
    return None if array is None else [int(v) for v in array.reshape(-1)]


def length_of(value: ir.Value | None, axis: int) -> int | None:
    """Return the static size of a value along an axis, or None."""
    if value is None or value.shape is None or not -len(value.shape) <= axis < len(value.shape):
        return None
    length = value.shape[axis]
    return length if isinstance(length, int) else None


def static_sizes(value: ir.Value) -> list[int | None] | None:
    """Return a value's sizes, None for open ones; or None if its rank is unknown."""
    if value.shape is None:
        return None
    return [size if isinstance(size, int) else None for size in value.shape]


def weight_and_bias(node: ir.Node) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Return a layer's weight and bias as f64, the bias None if it has none.

    Returns:
        The two, or None if either is not a constant.
    """
    weight, bias = static(given(node, 1)), static(given(node, 2))
    if weight is None or (bias is None and given(node, 2) is not None):
        return None
    return weight.astype(np.float64), None if bias is None else bias.astype(np.float64)


def is_unpadded(node: ir.Node) -> bool:
    """Return whether a convolution or a pool reads its input alone, with nothing around it."""
    return not any(ints(node, "pads")) and text(node, "auto_pad", "NOTSET") in {"NOTSET", "VALID"}


def keeps_size(node: ir.Node, kernel: Sequence[int]) -> bool:
    """Return whether a convolution's map is as large as what it reads, place by place.

    Args:
        node: The convolution.
        kernel: The sides of its kernel.
    """
    return (
        all(side % 2 for side in kernel)
        and ints(node, "pads") == [side // 2 for side in (*kernel, *kernel)]
        and {*ints(node, "strides"), *ints(node, "dilations")} <= {1}
        and text(node, "auto_pad", "NOTSET") == "NOTSET"
    )


def reduced_axes(node: ir.Node, dimensions: int) -> list[int] | None:
    """Return the axes that a reduction of a tensor reduces over, counted from the front.

    Returns:
        The axes, or None if they are not known before run time.
    """
    axes = ints(node, "axes") or static_ints(given(node, 1))
    if axes is None and given(node, 1) is not None:
        return None
    if not axes:
        return [] if integer(node, "noop_with_empty_axes", 0) else list(range(dimensions))
    return [axis % dimensions for axis in axes]


def weights_bytes(node: ir.Node) -> int:
    """Return the bytes of the constants that a node reads."""
    return sum(
        size_bytes(value.const_value)
        for value in node.inputs
        if value is not None and value.const_value is not None
    )


def size_bytes(tensor: ir.TensorProtocol) -> int:
    """Return the bytes of a constant; none of strings, which have no size."""
    return 0 if tensor.dtype == ir.DataType.STRING else tensor.nbytes
