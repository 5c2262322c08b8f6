"""ONNX's own schemas, read once, and whether a node satisfies one.

`onnx.defs` hands out C++ objects whose tables are copied on every access; a model has hundreds of
nodes and some thirty operators, so each schema is read once into a `Signature`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping

import onnx_ir as ir
from onnx import defs


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Formal:
    """One formal input or output of an operator.

    Attributes:
        types: The types allowed, as ONNX writes them (`tensor(float)`).
        variable: The type variable (`T`), or '' where the type is fixed.
        optional: Whether it may be absent.
        variadic: Whether it stands for all that follow.
        homogeneous: Whether all of a variadic share one type.
    """

    types: frozenset[str]
    variable: str
    optional: bool
    variadic: bool
    homogeneous: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The inputs, outputs and attributes of one version of an operator."""

    op_type: str
    since: int
    deprecated: bool
    attributes: Mapping[str, bool]
    attribute_types: Mapping[str, str]
    inputs: tuple[Formal, ...]
    outputs: tuple[Formal, ...]
    min_input: int
    max_input: int
    min_output: int
    max_output: int


def _formals(
    parameters: list[defs.OpSchema.FormalParameter], variables: set[str]
) -> tuple[Formal, ...]:
    option = defs.OpSchema.FormalParameterOption
    return tuple(
        Formal(
            types=frozenset(p.types),
            variable=p.type_str if p.type_str in variables else "",
            optional=p.option == option.Optional,
            variadic=p.option == option.Variadic,
            homogeneous=p.is_homogeneous,
        )
        for p in parameters
    )


def _type_of(attribute: defs.OpSchema.Attribute) -> str:
    return str(attribute.type).rpartition(".")[2]


@functools.cache
def signature(op_type: str, opset: int) -> Signature | None:
    """Return the signature of a standard operator at an opset, or None if it does not exist."""
    try:
        schema = defs.get_schema(op_type, opset, "")
    except defs.SchemaError:
        return None
    variables = {c.type_param_str for c in schema.type_constraints}
    attributes = dict(schema.attributes)
    return Signature(
        op_type=op_type,
        since=schema.since_version,
        deprecated=schema.deprecated,
        attributes={name: bool(a.required) for name, a in attributes.items()},
        attribute_types={name: _type_of(a) for name, a in attributes.items()},
        inputs=_formals(list(schema.inputs), variables),
        outputs=_formals(list(schema.outputs), variables),
        min_input=schema.min_input,
        max_input=schema.max_input,
        min_output=schema.min_output,
        max_output=schema.max_output,
    )


@functools.cache
def crossed(op_type: str, source: int, target: int) -> tuple[int, ...]:
    """Return the opsets at which the operator changed between two opsets, in the order met.

    Going down from 18 to 13, ReduceMean crosses 18: its version of 18 must become that of 13.
    """
    low, high = sorted((source, target))
    changes = []
    version = high
    while version > low:
        found = signature(op_type, version)
        if found is None or found.since <= low:
            break
        changes.append(found.since)
        version = found.since - 1
    return tuple(changes if source > target else reversed(changes))


def type_name(type_: ir.TypeProtocol | None) -> str | None:
    """Write a value's type as the schemas do, or None if it is unknown."""
    if type_ is None:
        return None
    if isinstance(type_, ir.TensorType):
        known = type_.dtype != ir.DataType.UNDEFINED
        return f"tensor({type_.dtype.name.lower()})" if known else None
    if isinstance(type_, ir.SparseTensorType):
        return f"sparse_tensor({type_.dtype.name.lower()})"
    if isinstance(type_, ir.SequenceType | ir.OptionalType):
        inner = type_name(type_.elem_type)
        kind = "seq" if isinstance(type_, ir.SequenceType) else "optional"
        return None if inner is None else f"{kind}({inner})"
    return None


# The input whose type is that of the output, where the schema leaves it to attributes.
_SAYING = {"DequantizeLinear": 1, "QuantizeLinear": 2}


def output_type(node: ir.Node, index: int) -> ir.DataType | None:
    """Return the element type of a node's output as its inputs and attributes determine it."""
    if node.op_type == "Cast":
        return ir.DataType(node.attributes["to"].as_int())
    if node.op_type == "Constant":
        tensor = ir.convenience.get_const_tensor(node.outputs[0])
        return None if tensor is None else tensor.dtype
    if node.op_type == "ConstantOfShape":
        fill = node.attributes.get("value")
        return ir.DataType.FLOAT if fill is None else fill.as_tensor().dtype
    saying = _SAYING.get(node.op_type)
    if saying is not None and saying < len(node.inputs):
        said = node.inputs[saying]
        return None if said is None else said.dtype
    known = signature(node.op_type, defs.onnx_opset_version())
    return None if known is None else _type_by_signature(node, index, known)


def _type_by_signature(node: ir.Node, index: int, known: Signature) -> ir.DataType | None:
    formal = known.outputs[min(index, len(known.outputs) - 1)]
    for place, value in enumerate(node.inputs):
        source = known.inputs[min(place, len(known.inputs) - 1)]
        if formal.variable and source.variable == formal.variable and value is not None:
            return value.dtype
    if len(formal.types) == 1:
        (name,) = formal.types
        return ir.DataType[name.removeprefix("tensor(").removesuffix(")").upper()]
    return None


def _match(
    what: str,
    values: tuple[ir.Value | None, ...],
    formals: tuple[Formal, ...],
    bound: dict[str, str],
) -> Iterator[str]:
    for index, value in enumerate(values):
        formal = formals[min(index, len(formals) - 1)]
        if value is None or (what == "output" and not value.name):
            if not (formal.optional or formal.variadic):
                yield f"{what} {index} is missing"
            continue
        name = type_name(value.type)
        if name is None:
            continue
        if name not in formal.types:
            yield f"{what} {index} may not be {name}"
        elif formal.variable and formal.homogeneous:
            first = bound.setdefault(formal.variable, name)
            if first != name:
                yield f"{what} {index} is {name} where {first} is required"


def faults(node: ir.Node, wanted: Signature) -> list[str]:
    """List what keeps a node from satisfying a signature: attributes, arity, element types.

    Types that are unknown are not judged.
    """
    found = [
        f"`{name}` is no attribute" for name in node.attributes if name not in wanted.attributes
    ]
    found += [
        f"attribute `{name}` has the wrong type"
        for name, a in node.attributes.items()
        if name in wanted.attribute_types and a.type.name != wanted.attribute_types[name]
    ]
    found += [
        f"attribute `{name}` is missing"
        for name, required in wanted.attributes.items()
        if required and name not in node.attributes
    ]
    inputs, outputs = tuple(node.inputs), tuple(node.outputs)
    for what, count, low, high in (
        ("inputs", len(inputs), wanted.min_input, wanted.max_input),
        ("outputs", len(outputs), wanted.min_output, wanted.max_output),
    ):
        if not low <= count <= high:
            found.append(f"{count} {what} where {low} to {high} are allowed")
    if not found:
        bound: dict[str, str] = {}
        found += _match("input", inputs, wanted.inputs, bound)
        found += _match("output", outputs, wanted.outputs, bound)
    return found
