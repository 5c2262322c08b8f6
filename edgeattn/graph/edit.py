"""One editor of graphs: new nodes and constants, and what becomes of those that they replace."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from edgeattn.graph.names import Names
from edgeattn.graph.nodes import is_used, is_weight
from edgeattn.graph.schemas import output_type

# Constants up to this many bytes are shared between rewrites.
_SHARED_BYTES = 1024

AttributeValue: TypeAlias = (
    int | float | str | Sequence[int] | Sequence[float] | ir.TensorProtocol | ir.Attr
)


class Editor:
    """Makes nodes and constants of a model, with names that nothing else has.

    A subclass says when they enter the graph, and what they are called.

    Args:
        model: The model that is being rewritten.

    Attributes:
        made: The nodes that were made.
    """

    def __init__(self, model: ir.Model) -> None:
        self.made: list[ir.Node] = []
        self._graph = model.graph
        self._names = Names.of(model)
        self._constants: dict[Hashable, ir.Value] = {}

    def make(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        count: int = 1,
        domain: str = "",
    ) -> ir.Node:
        """Make a node with `count` outputs, without a name and outside any graph."""
        node = ir.node(op_type, inputs, domain=domain, num_outputs=count)
        for key, value in (attributes or {}).items():
            node.attributes[key] = (
                value
                if isinstance(value, ir.Attr)
                else ir.convenience.convert_attribute(key, value)
            )
        self.made.append(node)
        return node

    def name(self, node: ir.Node, stem: str, separator: str = ":") -> None:
        """Name a node, and its outputs after it."""
        node.name = self._names.new(stem)
        for index, output in enumerate(node.outputs):
            output.name = self._names.new(f"{node.name}{separator}{index}")

    def shared(self, array: np.ndarray, stem: str, *, up_to_bytes: float = np.inf) -> ir.Value:
        """Return an initializer outside any graph, or an equal one that was made before.

        Args:
            array: The elements.
            stem: What its name begins with.
            up_to_bytes: The largest size of those that are shared.
        """
        tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape))
        key = (tensor.dtype.name, array.shape, array.tobytes())
        if key not in self._constants or array.nbytes > up_to_bytes:
            self._constants[key] = initializer(tensor, self._names.new(stem))
        return self._constants[key]


def initializer(tensor: ir.TensorProtocol, name: str) -> ir.Value:
    """Return a value that holds a tensor, outside any graph."""
    value = ir.Value(
        name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy())
    )
    tensor.name = name
    value.const_value = tensor
    return value


def sweep(values: Sequence[ir.Value | None]) -> list[ir.Node]:
    """Remove initializers that nothing reads, and nodes with all that only they read.

    Args:
        values: The values that may have lost their readers.

    Returns:
        The nodes that were removed, in that order.
    """
    pending = list(values)
    gone: list[ir.Node] = []
    while pending:
        value = pending.pop()
        if value is None:
            continue
        node = value.producer()
        if node is None:
            graph, name = value.graph, value.name
            if is_weight(value) and graph is not None and name is not None and not is_used(value):
                del graph.initializers[name]
        elif node.graph is not None and not any(map(is_used, node.outputs)):
            pending += node.inputs
            gone.append(node)
            node.graph.remove(node, safe=True)
    return gone


class Edit(Editor):
    """The graph around one node: new nodes stand before it, with its module path and metadata.

    Attributes:
        made: The nodes that were made since `begin`.
        written_at: The opset they are written in where it is not the one that the adapter's place
            in the table says.
    """

    def __init__(self, model: ir.Model) -> None:
        super().__init__(model)
        self._dropped: list[ir.Value | None] = []
        self.written_at: int | None = None

    def begin(self, node: ir.Node) -> None:
        """Turn to another node."""
        self._origin = node
        module, slash, _ = (node.name or "").rpartition("/")
        self._module = module + slash
        self.made = []
        self.written_at = None
        self._dropped += node.inputs

    def nodes(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        count: int,
    ) -> Sequence[ir.Value]:
        """Add a standard operator with `count` outputs; their types follow from the inputs'."""
        node = self.make(op_type, inputs, attributes, count=count)
        self.name(node, f"{self._module}{op_type}", "_output_")
        node.metadata_props.update(self._origin.metadata_props)
        for index, output in enumerate(node.outputs):
            dtype = output_type(node, index)
            if dtype is not None:
                output.dtype = dtype
        graph = self._origin.graph
        assert graph is not None, "an adapter adds nodes before it replaces its own"
        graph.insert_before(self._origin, node)
        return node.outputs

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        like: ir.Value | None = None,
    ) -> ir.Value:
        """Add a standard operator with one output.

        Args:
            op_type: The operator.
            inputs: Its inputs, None for optional ones that are absent.
            attributes: Its attributes.
            like: A value of the output's shape.
        """
        (output,) = self.nodes(op_type, inputs, attributes, count=1)
        if like is not None and like.shape is not None:
            output.shape = like.shape
        return output

    def constant(self, array: np.ndarray, hint: str) -> ir.Value:
        """Return an initializer of the main graph, shared where an equal small one was made.

        Args:
            array: The elements.
            hint: What it is, for its name.
        """
        value = self.shared(array, f"{self._module}{hint}", up_to_bytes=_SHARED_BYTES)
        if value.graph is None:
            self._graph.register_initializer(value)
            self._dropped.append(value)
        return value

    def integers(self, values: Sequence[int], hint: str) -> ir.Value:
        """Return a constant i64[len(values)]."""
        return self.constant(np.array(values, dtype=np.int64), hint)

    def scalar(self, value: float, like: ir.Value) -> ir.Value:
        """Return a rank-0 constant of another value's element type."""
        assert like.dtype is not None, "an adapter asks for a type before it writes a constant"
        return self.constant(np.array(value, dtype=like.dtype.numpy()), "scalar")

    def cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Convert to another element type, or return the value itself where it has that type."""
        if value.dtype == dtype:
            return value
        return self.op("Cast", [value], {"to": int(dtype)}, like=value)

    def value_like(self, value: ir.Value | None) -> ir.Value:
        """Return an input for a body, of another value's type."""
        name = self._names.new(f"{self._module}{'' if value is None else value.name}_single")
        return ir.Value(name=name, type=None if value is None else value.type)

    def set_input(self, index: int, value: ir.Value | None) -> None:
        """Set an input of the node itself, growing its list of inputs where it is short."""
        if index >= len(self._origin.inputs):
            self._origin.resize_inputs(index + 1)
        self._origin.replace_input_with(index, value)

    def trim(self) -> None:
        """Drop the absent inputs and the unread outputs at the end of the node's lists."""
        node = self._origin
        inputs, outputs = len(node.inputs), len(node.outputs)
        while inputs and node.inputs[inputs - 1] is None:
            inputs -= 1
        while outputs > 1 and not is_used(node.outputs[outputs - 1]):
            outputs -= 1
        if inputs != len(node.inputs):
            node.resize_inputs(inputs)
        if outputs != len(node.outputs):
            node.resize_outputs(outputs)

    def replace(self, *values: ir.Value | None) -> None:
        """Put new values in the place of the node's outputs, under their names, and remove it.

        Args:
            values: One fresh output of a node made here per output of the node; None for one that
                nothing reads.
        """
        node, graph = self._origin, self._origin.graph
        assert graph is not None
        renamed = []
        for old, new in zip(node.outputs, values, strict=True):
            if new is None:
                continue
            new.type = old.type if old.type is not None else new.type
            new.shape = old.shape if old.shape is not None else new.shape
            new.metadata_props.update(old.metadata_props)
            ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
            renamed.append((new, old.name))
        graph.remove(node, safe=True)
        for new, name in renamed:
            new.name = name

    def finish(self) -> None:
        """Remove constants and nodes that the rewrites left without a reader."""
        sweep(self._dropped)
