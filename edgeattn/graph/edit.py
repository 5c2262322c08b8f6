"""What an adapter may do around the node it rewrites: add nodes and constants, replace the node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeattn.graph.nodes import is_used
from edgeattn.graph.schemas import output_type

HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)

# Reasons for which more than one adapter refuses.
UNTYPED = "its element type is unknown"
UNRANKED = "its rank is unknown"

# Constants up to this many bytes are shared between rewrites.
_SHARED_BYTES = 1024

AttributeValue = int | float | str | Sequence[int] | Sequence[float] | ir.TensorProtocol


class Edit:
    """The graph around one node.

    New nodes stand before the node, carry its module path and metadata, and have names of
    their own. `made` lists them since `begin`; `written_at` is the opset they are written in where
    it is not the one that the adapter's place in the table says.

    Args:
        model: The model that is being rewritten.
    """

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        self._names: set[str] = set()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        for graph in model.graphs():
            self._names.update(v.name for v in graph.inputs if v.name)
            self._names.update(graph.initializers)
            for node in graph:
                self._names.add(node.name or "")
                self._names.update(v.name for v in node.outputs if v.name)
        self._dropped: list[ir.Value] = []
        self.made: list[ir.Node] = []
        self.written_at: int | None = None

    def begin(self, node: ir.Node) -> None:
        """Turn to another node."""
        self._origin = node
        self._module = (node.name or "").rpartition("/")
        self.made = []
        self.written_at = None
        self._dropped += [v for v in node.inputs if v is not None]

    def _unique(self, name: str) -> str:
        candidate, k = name, 0
        while candidate in self._names:
            k += 1
            candidate = f"{name}_{k}"
        self._names.add(candidate)
        return candidate

    def nodes(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, AttributeValue | ir.Attr] | None = None,
        *,
        count: int,
    ) -> Sequence[ir.Value]:
        """Add a standard operator with `count` outputs; their types follow from the inputs'."""
        module, slash, _ = self._module
        name = self._unique(f"{module}{slash}{op_type}")
        node = ir.node(op_type, inputs, num_outputs=count, name=name)
        for key, value in (attributes or {}).items():
            attribute = (
                value
                if isinstance(value, ir.Attr)
                else ir.convenience.convert_attribute(key, value)
            )
            node.attributes[key] = attribute
        node.metadata_props.update(self._origin.metadata_props)
        for index, output in enumerate(node.outputs):
            output.name = self._unique(f"{name}_output_{index}")
            dtype = output_type(node, index)
            if dtype is not None:
                output.dtype = dtype
        graph = self._origin.graph
        assert graph is not None, "an adapter adds nodes before it replaces its own"
        graph.insert_before(self._origin, node)
        self.made.append(node)
        return node.outputs

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, AttributeValue | ir.Attr] | None = None,
        *,
        like: ir.Value | None = None,
    ) -> ir.Value:
        """Add a standard operator with one output.

        Args:
            op_type: The operator.
            inputs: Its inputs, None where an optional one is absent.
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
        tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape))
        key = (tensor.dtype.name, tuple(array.shape), array.tobytes())
        if array.nbytes <= _SHARED_BYTES and key in self._constants:
            return self._constants[key]
        module, slash, _ = self._module
        name = self._unique(f"{module}{slash}{hint}")
        tensor.name = name
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape))
        value.const_value = tensor
        self._graph.register_initializer(value)
        self._constants[key] = value
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
        out = self.op("Cast", [value], {"to": int(dtype)})
        out.shape = value.shape
        return out

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

    def sweep(self) -> None:
        """Remove constants and nodes that the rewrites left without a reader."""
        pending = self._dropped
        while pending:
            value = pending.pop()
            node = value.producer()
            if node is None:
                if value.is_initializer() and not value.is_graph_input() and not is_used(value):
                    self._forget(value)
            elif node.graph is not None and not any(is_used(v) for v in node.outputs):
                pending += [v for v in node.inputs if v is not None]
                node.graph.remove(node, safe=True)

    @staticmethod
    def _forget(value: ir.Value) -> None:
        graph = value.graph
        if graph is not None and value.name is not None:
            graph.initializers.pop(value.name, None)
