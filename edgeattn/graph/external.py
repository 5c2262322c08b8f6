"""Weights in files beside a model: where they are, and that all of them is there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import onnx
import onnx_ir as ir
from onnx.external_data_helper import ExternalDataInfo

from edgeattn.base.errors import InputError
from edgeattn.graph.check import all_graphs, graphs_of
from edgeattn.graph.inside import HERE

#: Tensors up to this size are read at once: ONNX's inference asks for them, and opens no files.
_SMALL_BYTES: Final = 1024


def find_weights(path: Path, proto: onnx.ModelProto) -> tuple[tuple[Path, ...], bool]:
    """Point tensors that lie in other files to where these are.

    Returns:
        These files as the model names them, and whether other programs find them as easily.

    Raises:
        InputError: One is missing, too short, or leads out of where the model's own files are.
    """
    ends: Counter[Path] = Counter()
    is_plain = True
    for tensor in _tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        info = ExternalDataInfo(tensor)
        if info.location == HERE:
            _point(tensor, path.resolve(), info.offset or 0, info.length or 0)
            continue
        named, file, is_found = _located(path, str(info.location))
        is_plain = is_plain and is_found
        size = -(-math.prod(tensor.dims) * ir.DataType(tensor.data_type).bitwidth // 8)
        start, length = info.offset or 0, size if info.length is None else info.length
        if start < 0 or length != size:
            raise InputError(
                f"{path} is no valid model: its weight {tensor.name} lies in {length} bytes from"
                f" {start} on, and its shape asks for {size}.",
                mend="Get the model again, together with the files of its weights.",
            )
        ends[named] = max(start + length, ends[named])
        if file.stat().st_size < ends[named]:
            raise InputError(
                f"{named} holds {file.stat().st_size} bytes, of the {ends[named]} that {path}"
                " needs.",
                mend="Copy it again: it is not complete.",
            )
        _point(tensor, file, start, length)
    return tuple(sorted(ends)), is_plain


def _point(tensor: onnx.TensorProto, file: Path, start: int, length: int) -> None:
    """Let a tensor be found in a file from anywhere; a small one is read."""
    if length <= _SMALL_BYTES:
        with file.open("rb") as stream:
            stream.seek(start)
            tensor.raw_data = stream.read(length)
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")
        return
    del tensor.external_data[:]
    for key, value in (("location", file), ("offset", start), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def _located(path: Path, location: str) -> tuple[Path, Path, bool]:
    """Find a file of weights.

    It must be the model's own: in its folder, in that of the file that it is a link to, or among
    the blobs of the model hub's cache that it lies in.

    Returns:
        Where the model says that it is, where links lead from there, and whether other programs
        would go there too.

    Raises:
        InputError: It is not there, or elsewhere.
    """
    homes = [path.parent.resolve(), path.resolve().parent]
    candidates = [folder / location for folder in (path.parent, path.resolve().parent)]
    named = next((one for one in candidates if one.exists()), candidates[0])
    file = named.resolve()
    is_plain = (
        named == candidates[0]
        and any(file.is_relative_to(folder) for folder in homes)
        and not {"..", "/"} & set(Path(location).parts)
    )
    caches = [one.parent / "blobs" for one in path.absolute().parents if one.name == "snapshots"]
    homes += [folder.resolve() for folder in caches]
    if not any(file.is_relative_to(folder) for folder in homes):
        raise InputError(
            f"{path} keeps weights in {location!r}, which is {file}, out of its folder.",
            mend="If they are its own, put that file beside the model, and name it so in the"
            " model: onnx.save(onnx.load(PATH), PATH, save_as_external_data=True)",
        )
    if not file.is_file():
        raise InputError(
            f"{path} keeps weights in {named}, which is not there.",
            mend="Copy the model together with the files of its weights.",
        )
    return named, file, is_plain


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Return the tensors of a model: its weights, and those in attributes."""
    nodes = [node for function in proto.functions for node in function.node]
    graphs = [*all_graphs(proto.graph)]
    graphs += [one for node in nodes for inner in graphs_of(node) for one in all_graphs(inner)]
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        nodes += graph.node
    for one in (attribute for node in nodes for attribute in node.attribute):
        yield from (*([one.t] if one.HasField("t") else ()), *one.tensors)
