"""What is read of a node and of its values, where ONNX leaves things out."""

from __future__ import annotations

from collections.abc import Sequence

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
    """Return an input, or None where it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def needed(node: ir.Node, index: int) -> ir.Value:
    """Return an input that the schema requires."""
    value = given(node, index)
    assert value is not None, f"{node.name}: input {index} is required by its schema"
    return value


def is_used(value: ir.Value) -> bool:
    """Return whether anything reads a value."""
    return value.is_graph_output() or bool(value.uses())


def rank(value: ir.Value) -> int | None:
    """Return a value's rank, or None where it is unknown."""
    return None if value.shape is None else len(value.shape)


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


def weights_bytes(node: ir.Node) -> int:
    """Return the bytes of the constants that a node reads."""
    return sum(
        value.const_value.nbytes
        for value in node.inputs
        if value is not None and value.const_value is not None
    )
