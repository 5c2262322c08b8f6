"""What is wrong with the structure of an ONNX file, found before anything else takes it apart.

ONNX's own checker serialises a model once more, weights included, wants its nodes in order, and
names no node; what it lets pass ends libraries behind it in exceptions of their own. Here the
message is walked once, weights are counted and not read, and what is valid for ONNX Runtime passes.
Whether the numbers in attributes and shapes fit each other is not judged here: a runtime does that.
"""

from __future__ import annotations

import graphlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import onnx
import onnx_ir as ir
from onnx import defs

from edgeattn.graph.names import STANDARD_DOMAINS
from edgeattn.graph.schemas import Formal, Signature, signature

_Identifier = tuple[str, str, str]

#: Operators of ONNX's first versions that it has dropped, and that ONNX Runtime still knows.
_DROPPED: Final = frozenset(
    [
        "ATen", "Affine", "Crop", "DynamicSlice", "GRUUnit", "GivenTensorFill", "ImageScaler",
        "ParametricSoftplus", "Scale", "ScaledTanh",
    ]
)  # fmt: skip
#: Where a tensor that is not raw keeps its elements; all other types do so in `int32_data`.
_FIELDS: Final[Mapping[ir.DataType, str]] = {
    ir.DataType.FLOAT: "float_data",
    ir.DataType.COMPLEX64: "float_data",
    ir.DataType.DOUBLE: "double_data",
    ir.DataType.COMPLEX128: "double_data",
    ir.DataType.INT64: "int64_data",
    ir.DataType.UINT32: "uint64_data",
    ir.DataType.UINT64: "uint64_data",
    ir.DataType.STRING: "string_data",
}
_DATA: Final = ("int32_data", *dict.fromkeys(_FIELDS.values()))
_ATTRIBUTES: Final[Mapping[str, str]] = {
    "FLOAT": "f",
    "INT": "i",
    "STRING": "s",
    "TENSOR": "t",
    "GRAPH": "g",
    "SPARSE_TENSOR": "sparse_tensor",
    "TYPE_PROTO": "tp",
    "FLOATS": "floats",
    "INTS": "ints",
    "STRINGS": "strings",
    "TENSORS": "tensors",
    "GRAPHS": "graphs",
    "SPARSE_TENSORS": "sparse_tensors",
    "TYPE_PROTOS": "type_protos",
}
_MESSAGES: Final = frozenset({"TENSOR", "GRAPH", "SPARSE_TENSOR", "TYPE_PROTO"})
_ELEMENT_TYPES: Final = frozenset(int(one) for one in ir.DataType) - {ir.DataType.UNDEFINED}
#: Functions that call functions can describe more nodes than any memory holds.
_MOST_NODES: Final = 1_000_000


def faults(proto: onnx.ModelProto) -> Iterator[str]:
    """Find what is wrong with a model.

    Args:
        proto: The model; its weights may lie in files beside it.

    Yields:
        Each fault, in words that can stand behind a file's name; none of a sound model.
    """
    yield from _header_faults(proto)
    walk = _Walk(proto)
    yield from walk.graph(proto.graph, is_main=True)
    for function in proto.functions:
        yield from walk.function(function)
    yield from _call_faults(proto)


def interface_fault(graph: onnx.GraphProto) -> str | None:
    """Return which input or output is no tensor of numbers, and what it is; None if none is."""
    for kind, values in (("input", graph.input), ("output", graph.output)):
        for one in values:
            held = one.type.WhichOneof("value") or "tensor_type"
            if held != "tensor_type":
                name = held.removesuffix("_type").replace("_", " ")
                return f"has the {kind} {one.name}, which is a {name}"
            if one.type.tensor_type.elem_type == onnx.TensorProto.STRING:
                return f"has the {kind} {one.name}, which holds strings"
    return None


def _header_faults(proto: onnx.ModelProto) -> Iterator[str]:
    newest = defs.onnx_opset_version()
    if not _opset(proto.opset_import):  # an empty file is a message without fields
        yield "is no ONNX model: it says no opset"
    if not proto.HasField("graph"):
        yield "holds no graph"
    if not 0 < proto.ir_version <= onnx.IR_VERSION:
        yield (
            f"is of IR version {proto.ir_version}, and the installed onnx knows 1 to"
            f" {onnx.IR_VERSION}"
        )
    for one in proto.opset_import:
        if one.domain in STANDARD_DOMAINS and not 0 < one.version <= newest:
            yield f"is of opset {one.version}, and the installed onnx knows 1 to {newest}"
    for domain in _repeated(one.domain for one in proto.opset_import):
        yield f"imports two opsets of the domain {domain!r}"
    said = [proto.producer_name, proto.producer_version, proto.domain, proto.doc_string]
    for text in (*said, *(text for one in proto.metadata_props for text in (one.key, one.value))):
        yield from _text_faults(text)


def graphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Return the graphs in a node's attributes."""
    for one in node.attribute:
        yield from (*([one.g] if one.HasField("g") else ()), *one.graphs)


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Return a graph and those inside it."""
    yield graph
    for node in graph.node:
        for one in graphs_of(node):
            yield from all_graphs(one)


def type_fault(type_: onnx.TypeProto) -> str | None:
    """Return what is wrong with a value's type; a type that is left open is none."""
    kind = type_.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        number = getattr(type_, kind).elem_type
        return None if number in _ELEMENT_TYPES else f"has the element type {number}"
    if kind in ("sequence_type", "optional_type"):
        inner = getattr(type_, kind)
        return type_fault(inner.elem_type) if inner.HasField("elem_type") else "has no element type"
    return None


def tensor_fault(tensor: onnx.TensorProto) -> str | None:
    """Return what is wrong with a tensor: its type, its sizes, or how much data it holds."""
    shape = "x".join(map(str, tensor.dims))
    if tensor.data_type not in _ELEMENT_TYPES:
        return f"has the element type {tensor.data_type}"
    if any(size < 0 for size in tensor.dims):
        return f"has the shape {shape}"
    dtype = ir.DataType(tensor.data_type)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None if dtype != ir.DataType.STRING else "keeps strings in another file"
    held = ["raw_data"] if tensor.HasField("raw_data") else []
    held += [name for name in _DATA if len(getattr(tensor, name))]
    own = _FIELDS.get(dtype, "int32_data")
    if held not in ([], [own], ["raw_data"]) or (held == ["raw_data"] and own == "string_data"):
        return f"is of type {dtype.name}, and holds {' and '.join(held)}"
    field = held[0] if held else own
    have, want = len(getattr(tensor, field)), _length_of(dtype, math.prod(tensor.dims), field)
    if have != want:
        unit = "bytes" if field == "raw_data" else "elements"
        return f"holds {have} {unit}, and its shape {shape or '()'} asks for {want}"
    return None


def _length_of(dtype: ir.DataType, count: int, field: str) -> int:
    """Return how long a field is that keeps so many elements."""
    if field == "string_data":
        return count
    if field == "raw_data" or (field == "int32_data" and dtype.bitwidth < 6):  # two or four a byte
        return -(-count * dtype.bitwidth // 8)
    return 2 * count if dtype.name.startswith("COMPLEX") else count


class _Walk:
    """One walk over the graphs of a model.

    Args:
        proto: The model.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._opset = _opset(proto.opset_import)
        self._functions = {_identifier(one) for one in proto.functions}
        #: The names that are visible, of each graph from the outermost on, and of those the names
        #: that came before what is looked at.
        self._visible: list[set[str]] = []
        self._before: list[set[str]] = []
        #: What each node reads that is looked at, its graphs included.
        self._reading: list[set[str]] = []

    def graph(self, graph: onnx.GraphProto, *, is_main: bool = False) -> Iterator[str]:
        """Find what is wrong with a graph, and with those inside it."""
        inputs = [one.name for one in graph.input]
        kept = [one.name for one in graph.initializer]
        kept += [one.values.name for one in graph.sparse_initializer]
        for name in _repeated(inputs):
            yield f"has two inputs named {name!r}"
        if "" in inputs or "" in kept:
            yield "has an input or a weight without a name"
        for one in graph.initializer:
            fault = tensor_fault(one)
            if fault is not None:
                yield f"is no valid model: its weight {one.name} {fault}"
        for sparse in graph.sparse_initializer:
            yield from _sparse_faults(sparse)
        for text in (graph.name, graph.doc_string, *inputs, *kept):
            yield from _text_faults(text)
        yield from self._values(graph, is_main=is_main)
        yield from self._nodes(graph.node, {*inputs, *kept}, [one.name for one in graph.output])
        if is_main and not graph.output:
            yield "gives no outputs"

    def function(self, function: onnx.FunctionProto) -> Iterator[str]:
        """Find what is wrong with a function of the model's own."""
        opset, self._opset = self._opset, _opset(function.opset_import) or self._opset
        for name in _repeated(function.input):
            yield f"has a function {function.name} with two inputs named {name!r}"
        yield from self._nodes(function.node, set(function.input), function.output)
        self._opset = opset

    def _values(self, graph: onnx.GraphProto, *, is_main: bool) -> Iterator[str]:
        for kind, values in (
            ("input", graph.input),
            ("output", graph.output),
            ("value", graph.value_info),
        ):
            for one in values:
                yield from _text_faults(one.doc_string)
                fault = type_fault(one.type)
                if fault:
                    yield f"is no valid model: its {kind} {one.name} {fault}"
                if kind == "input" and is_main and one.type.WhichOneof("value") is None:
                    yield f"is no valid model: its input {one.name} has no type"

    def _nodes(
        self, nodes: Sequence[onnx.NodeProto], given: set[str], outputs: Iterable[str]
    ) -> Iterator[str]:
        makers: dict[str, int] = {}
        for place, node in enumerate(nodes):
            for text in (node.name, node.op_type, node.domain, node.doc_string, *node.output):
                yield from _text_faults(text)
            for name in filter(None, node.output):
                if name in makers or name in given:
                    yield f"is no valid model: {_called(node)} gives {name}, which there is already"
                elif any(name in names for names in self._before):
                    yield (
                        f"is no valid model: {_called(node)} gives {name}, a name of the graph"
                        " around it"
                    )
                makers[name] = place
        self._visible.append(given | makers.keys())
        self._before.append(set(given))
        read: list[set[str]] = []
        is_sorted = True
        for node in nodes:
            self._reading.append(set())
            yield from self._node(node)
            read.append(self._reading.pop())
            is_sorted = is_sorted and not any(
                name in makers and name not in self._before[-1] for name in read[-1]
            )
            self._before[-1].update(node.output)
        for name in outputs:
            if name not in self._visible[-1]:
                yield f"is no valid model: nothing makes its output {name!r}"
        if not is_sorted:
            yield from _cycles(nodes, makers, read)
        self._visible.pop()
        self._before.pop()

    def _node(self, node: onnx.NodeProto) -> Iterator[str]:
        for name in filter(None, node.input):
            for names in self._reading:
                names.add(name)
            if not any(name in names for names in self._visible):
                yield f"is no valid model: {_called(node)} reads {name}, which nothing makes"
        for said in self._operator_faults(node):
            yield f"is no valid model: {_called(node)}: {said}"
        for attribute in node.attribute:
            fault = _attribute_fault(attribute)
            if fault is not None:
                yield f"is no valid model: attribute {attribute.name} of {_called(node)} {fault}"
        for graph in graphs_of(node):
            yield from self.graph(graph)

    def _operator_faults(self, node: onnx.NodeProto) -> Iterator[str]:
        if not node.op_type:
            yield "it names no operator"
        for name in _repeated(one.name for one in node.attribute):
            yield f"attribute {name} is given twice"
        is_standard = node.domain in STANDARD_DOMAINS
        if not is_standard or _identifier(node) in self._functions or node.op_type in _DROPPED:
            return
        wanted = signature(node.op_type, self._opset)
        if wanted is None or wanted.deprecated:
            yield f"opset {self._opset} has no operator {node.op_type}"
        else:
            yield from _signature_faults(node, wanted)


def _signature_faults(node: onnx.NodeProto, wanted: Signature) -> Iterator[str]:
    given = {one.name for one in node.attribute}
    for one in node.attribute:
        kind, want = _kind(one), wanted.attribute_types.get(one.name)
        if want is None:
            yield f"{node.op_type} has no attribute {one.name}"
        elif kind != want and not one.ref_attr_name:
            yield f"attribute {one.name} is {kind} where {want} is required"
    for name, required in wanted.attributes.items():
        if required and name not in given:
            yield f"attribute {name} is missing"
    if node.op_type == "Constant" and len(given) != 1:
        yield f"it holds {len(given)} constants"
    yield from _arity_faults("input", node.input, wanted.inputs, wanted.min_input, wanted.max_input)
    yield from _arity_faults(
        "output", node.output, wanted.outputs, wanted.min_output, wanted.max_output
    )


def _arity_faults(
    kind: str, names: Sequence[str], formals: Sequence[Formal], least: int, most: int
) -> Iterator[str]:
    if not least <= len(names) <= most:
        allowed = str(least) if least == most else f"{least} to {most}"
        yield f"it has {len(names)} {kind}s where {allowed} are allowed"
        return
    for place, (name, formal) in enumerate(zip(names, formals, strict=False)):
        if not name and not formal.optional and not formal.variadic:
            yield f"its {kind} {place} is missing"


def _attribute_fault(attribute: onnx.AttributeProto) -> str | None:
    kind = _kind(attribute)
    if attribute.ref_attr_name or kind == "UNDEFINED":
        return None if attribute.ref_attr_name else "has no type"
    held = {field.name for field, _ in attribute.ListFields()} & set(_ATTRIBUTES.values())
    field = _ATTRIBUTES[kind]
    if held - {field} or (kind in _MESSAGES and not held):
        return f"is {kind}, and holds {' and '.join(sorted(held)) or 'none'}"
    tensors = (*([attribute.t] if kind == "TENSOR" else ()), *attribute.tensors)
    return next(filter(None, map(tensor_fault, tensors)), None)


def _text_faults(text: str | bytes) -> Iterator[str]:
    """Find what protobuf could not decode: it gives its bytes then."""
    if isinstance(text, bytes):
        yield f"is no valid model: {text[:40]!r} is no text in UTF-8"


def _kind(attribute: onnx.AttributeProto) -> str:
    return str(onnx.AttributeProto.AttributeType.Name(attribute.type))


def _sparse_faults(sparse: onnx.SparseTensorProto) -> Iterator[str]:
    name, count = sparse.values.name, math.prod(sparse.values.dims)
    fault = tensor_fault(sparse.values) or tensor_fault(sparse.indices)
    indices = list(sparse.indices.dims)
    if fault is None and (
        any(size < 0 for size in sparse.dims)
        or sparse.indices.data_type != onnx.TensorProto.INT64
        or indices not in ([count], [count, len(sparse.dims)])
    ):
        fault = "has indices that do not fit it"
    if fault is not None:
        yield f"is no valid model: its sparse weight {name} {fault}"


def _cycles(
    nodes: Sequence[onnx.NodeProto], makers: Mapping[str, int], read: Sequence[set[str]]
) -> Iterator[str]:
    edges = {
        place: {makers[name] for name in names if name in makers}
        for place, names in enumerate(read)
    }
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        yield f"is no valid model: {_called(nodes[error.args[1][0]])} needs what it gives itself"


def _call_faults(proto: onnx.ModelProto) -> Iterator[str]:
    """Find functions that call themselves, and models that would be too large without functions."""
    bodies = {_identifier(one): _calls(one.node) for one in proto.functions}
    if len(bodies) < len(proto.functions):
        yield "is no valid model: two of its functions have one name"
    known = {
        name: Counter({callee: n for callee, n in calls.items() if callee in bodies})
        for name, calls in bodies.items()
    }
    try:
        order = list(graphlib.TopologicalSorter(known).static_order())
    except graphlib.CycleError as error:
        yield f"is no valid model: its function {error.args[1][0][1]} calls itself"
        return
    sizes: dict[_Identifier, int] = {}
    for name in order:
        sizes[name] = sum(n * sizes.get(callee, 1) for callee, n in bodies[name].items())
    size = sum(n * sizes.get(callee, 1) for callee, n in _calls(proto.graph.node).items())
    if size > _MOST_NODES:
        yield f"describes {size} nodes by functions that call functions; {_MOST_NODES} are taken"


def _calls(nodes: Iterable[onnx.NodeProto]) -> Counter[_Identifier]:
    """Count nodes by what they call, those of graphs inside them too."""
    counted: Counter[_Identifier] = Counter()
    for node in nodes:
        counted[_identifier(node)] += 1
        for graph in graphs_of(node):
            counted.update(_calls(graph.node))
    return counted


def _identifier(one: onnx.NodeProto | onnx.FunctionProto) -> _Identifier:
    name = one.op_type if isinstance(one, onnx.NodeProto) else one.name
    return "" if one.domain in STANDARD_DOMAINS else one.domain, name, one.overload


def _opset(imports: Iterable[onnx.OperatorSetIdProto]) -> int:
    return max((one.version for one in imports if one.domain in STANDARD_DOMAINS), default=0)


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _called(node: onnx.NodeProto) -> str:
    """Name a node: by its name, or by what it gives."""
    if node.name:
        return f"node {node.name}"
    return f"the {node.op_type or 'node'} that gives {', '.join(filter(None, node.output)) or '?'}"
