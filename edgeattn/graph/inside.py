"""Weights inside an ONNX file, as if they lay beside it: they are neither parsed nor held twice.

A file is a protobuf message, a model that holds a graph that holds weights, and each field says how
long it is. So where the data of a weight are is found without a look at them, and a message with
stand-ins for data becomes the whole file where they are put in and the lengths are said anew.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeVar

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

#: Shorter ones are parsed and copied as ever.
_LONG_BYTES: Final = 1 << 16
#: The numbers of fields: of a model, of a graph, and of a tensor the two that hold the same bytes.
_GRAPH, _WEIGHT, _FLOATS, _RAW = 7, 5, 4, 9
_LENGTH_FIRST: Final = 2  # the kind of field that begins with its length
_FIXED: Final = {1: 8, 5: 4}
#: What a tensor says of itself that lay in the first of these two fields.
_AS_FLOATS: Final = "edgeattn.as_floats"
#: Where a weight is that a file itself holds: a word that no file has.
HERE: Final = os.urandom(16).hex()
#: How many numbers stand for data.
_MARK: Final = 29


class _Field(NamedTuple):
    """A field of a message: its number, where it begins, what it holds begins, and it ends."""

    number: int
    start: int
    held: int
    end: int


class _Tensor(NamedTuple):
    """The data of a weight that are put in, and the field that they go into."""

    field: int
    tensor: ir.TensorProtocol


_Piece = bytes | ir.TensorProtocol
_P = TypeVar("_P", bytes, _Piece)


def without_data(path: Path, location: str) -> onnx.ModelProto:
    """Read an ONNX file, of which the data of long weights are left where they are.

    Args:
        path: The file.
        location: What these weights say of where they are; `HERE` where nobody else may say it.
    """
    with path.open("rb") as stream:
        if path.suffix == ".onnx" and os.fstat(stream.fileno()).st_size > _LONG_BYTES:
            with (
                # Where it is no model, it is said below what is wrong.
                contextlib.suppress(ValueError, TypeError, IndexError, DecodeError),
                mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
            ):
                found = onnx.ModelProto()
                found.ParseFromString(b"".join(_pointing(data, location)))
                return found
    return onnx.load(path, load_external_data=False)


def load(path: Path) -> ir.Model:
    """Read a model whose file stays as it is: weights are read when they are asked for."""
    model = ir.serde.deserialize_model(without_data(path, path.name))
    ir.external_data.set_base_dir(model.graph, path.parent)
    for value in model.graph.initializers.values():
        if (tensor := value.const_value) is not None:
            tensor.meta[_AS_FLOATS] = tensor.metadata_props.pop(_AS_FLOATS, None)
    return model


def write(model: ir.Model, path: Path) -> None:
    """Write a model with all weights inside, long ones from where they are."""
    marks = _marks()
    long: list[tuple[ir.Value, ir.TensorProtocol]] = [
        (value, tensor)
        for value in model.graph.initializers.values()
        if (tensor := value.const_value) is not None
        and tensor.nbytes >= _LONG_BYTES
        and tensor.dtype != ir.DataType.STRING
    ]
    stand_ins = [_stand_in(tensor, next(marks)) for _, tensor in long]
    try:
        for (value, _), stand_in in zip(long, stand_ins, strict=True):
            value.const_value = ir.serde.deserialize_tensor(stand_in)
        ir.external_data.load_to_model(model)
        proto = ir.serde.serialize_model(model)
    finally:
        for value, tensor in long:
            value.const_value = tensor
    put = {}
    for (_, tensor), stand_in in zip(long, stand_ins, strict=True):
        field = _FLOATS if stand_in.float_data else _RAW
        put[_data_of(stand_in)] = _Tensor(field, tensor)
    for one in proto.graph.initializer:
        if (found := put.get(_data_of(one))) is not None:
            one.data_type = found.tensor.dtype.value
            one.ClearField("dims")
            one.dims.extend(found.tensor.shape.numpy())
    with path.open("wb") as stream:
        for piece in _filled(proto.SerializeToString(), put):
            _put(piece, stream)


def _marks() -> Iterator[list[float]]:
    """Return what stands for data: numbers that nothing else holds."""
    own = [float(one) for one in os.urandom(_MARK - 1)]
    return ([*own, float(count)] for count in itertools.count())


def _stand_in(tensor: ir.TensorProtocol, mark: list[float]) -> onnx.TensorProto:
    """Return what says of itself what a tensor does, with other data."""
    made = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, dims=[len(mark)])
    raw = getattr(tensor, "raw", None)
    if tensor.meta.get(_AS_FLOATS) or (isinstance(raw, onnx.TensorProto) and raw.float_data):
        made.float_data.extend(mark)
    else:
        made.raw_data = np.array(mark, np.float32).tobytes()
    if tensor.name:
        made.name = tensor.name
    if tensor.doc_string:
        made.doc_string = tensor.doc_string
    for key, value in tensor.metadata_props.items():
        made.metadata_props.add(key=key, value=value)
    return made


def _data_of(tensor: onnx.TensorProto) -> bytes:
    """Return the bytes of a stand-in, and anything of a longer tensor."""
    if len(tensor.float_data) > _MARK:
        return b""
    return tensor.raw_data or np.array(tensor.float_data, np.float32).tobytes()


def _put(piece: _Piece, stream: BinaryIO) -> None:
    if isinstance(piece, ir.TensorProtocol):
        stream.write(piece.tobytes())
    else:
        stream.write(piece)


def _pointing(data: mmap.mmap, location: str) -> Iterator[bytes]:
    """Return a model in pieces; its long weights say where their data are."""
    graph, weights = _parts(data)
    edits: list[tuple[_Field, Sequence[bytes]]] = []
    for weight, raw in weights:
        length = raw.end - raw.held
        if length < _LONG_BYTES:
            continue
        tensor = onnx.TensorProto.FromString(
            data[weight.held : raw.start] + data[raw.end : weight.end]
        )
        if raw.number == _FLOATS:
            tensor.metadata_props.add(key=_AS_FLOATS, value="1")
        asked = -(-math.prod(tensor.dims) * ir.DataType(tensor.data_type).bitwidth // 8)
        is_float = tensor.data_type == onnx.TensorProto.FLOAT or raw.number == _RAW
        if asked != length or not is_float or tensor.external_data or tensor.data_location:
            continue  # what is wrong with it is seen by who parses it
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", raw.held), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        edits.append((weight, [tensor.SerializeToString()]))
    return _edited(data, graph, edits)


def _filled(data: bytes, put: Mapping[bytes, _Tensor]) -> Iterator[_Piece]:
    """Return a model in pieces, with tensors for the stand-ins of their data."""
    graph, weights = _parts(data)
    edits: list[tuple[_Field, Sequence[_Piece]]] = []
    for weight, raw in weights:
        if (found := put.get(data[raw.held : raw.end])) is not None:
            before, after = data[weight.held : raw.start], data[raw.end : weight.end]
            head = _head(found.field, found.tensor.nbytes)
            edits.append((weight, [before, head, found.tensor, after]))
    return _edited(data, graph, edits)


def _edited(
    data: bytes | mmap.mmap, graph: _Field, edits: Sequence[tuple[_Field, Sequence[_P]]]
) -> Iterator[bytes | _P]:
    """Return a model in pieces, some weights of which are others."""
    inner: list[bytes | _P] = []
    done = graph.held
    for weight, pieces in edits:
        inner += [data[done : weight.start], _head(_WEIGHT, sum(map(_size, pieces)))]
        inner += pieces
        done = weight.end
    inner.append(data[done : graph.end])
    yield data[: graph.start]
    yield _head(_GRAPH, sum(map(_size, inner)))
    yield from inner
    yield data[graph.end :]


def _size(piece: _Piece) -> int:
    return piece.nbytes if isinstance(piece, ir.TensorProtocol) else len(piece)


def _parts(data: bytes | mmap.mmap) -> tuple[_Field, list[tuple[_Field, _Field]]]:
    """Return the graph of a model, and its weights with their data, in order.

    Raises:
        ValueError: It is no model, or written as no library writes it.
    """
    (graph,) = (one for one in _fields(data, 0, len(data)) if one.number == _GRAPH)
    weights = []
    for weight in _fields(data, graph.held, graph.end):
        if weight.number == _WEIGHT:
            held = _fields(data, weight.held, weight.end)
            found = [one for one in held if one.number in (_FLOATS, _RAW)]
            if len(found) == 1:
                weights.append((weight, found[0]))
    return graph, weights


def _fields(data: bytes | mmap.mmap, place: int, end: int) -> Iterator[_Field]:
    """Return the fields of a message."""
    while place < end:
        start = place
        tag, place = _number(data, place)
        kind = tag & 7
        held = place
        if kind == _LENGTH_FIRST:
            length, held = _number(data, place)
            place = held + length
        elif kind in _FIXED:
            place += _FIXED[kind]
        elif kind == 0:
            _, place = _number(data, place)
        else:
            raise ValueError(kind)
        if place > end:
            raise ValueError(place)
        yield _Field(tag >> 3, start, held, place)


def _number(data: bytes | mmap.mmap, place: int) -> tuple[int, int]:
    """Read a number, seven bits a byte, and return it and where it ends."""
    found = shift = 0
    while True:
        byte = data[place]
        found |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return found, place


def _head(number: int, length: int) -> bytes:
    """Return how a field begins that says its length."""
    return b"".join(map(_written, (number << 3 | _LENGTH_FIRST, length)))


def _written(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
