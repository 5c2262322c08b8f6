"""ONNX files on their way to a host: weights that are there already are not sent again.

A model without its sites, or beside another of the same backbone, is mostly the same weights. What
is new of a file is sent, and the runner there joins it with what the others hold.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from edgeattn.base import files
from edgeattn.graph.reading import facts_of

#: What an ONNX file is called there.
MODEL: Final = "edgeattn-model.onnx"
# Smaller weights are not worth a part of their own.
_LEAST_BYTES: Final = 4096
#: A part of a file: another, the offset in it, and how many bytes.
Part = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Weight:
    """Where the data of a weight lie.

    Attributes:
        file: The file.
        offset: Where they begin.
        size: How many bytes they are.
        digest: Their hash.
    """

    file: Path
    offset: int
    size: int
    digest: bytes


def weights_of(path: Path) -> Iterator[Weight]:
    """Find the large weights of an ONNX file, in it and in the files beside it."""
    import onnx_ir as ir

    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as own:
        place = 0
        for value in ir.load(path).graph.initializers.values():
            tensor: Any = value.const_value
            if tensor is None or tensor.dtype == ir.DataType.STRING or tensor.nbytes < _LEAST_BYTES:
                continue
            data = tensor.tobytes()
            file, offset = path, own.find(data, place)
            if isinstance(tensor, ir.ExternalTensor):
                file, offset = Path(tensor.path), tensor.offset or 0
            elif offset >= 0:  # weights stand in the order of the graph
                place = offset + len(data)
            if offset >= 0:
                yield Weight(file, offset, len(data), hashlib.sha256(data).digest())


def beside(path: Path) -> dict[Path, str]:
    """Return the files that an ONNX file consists of: each with the name that it needs there."""
    names = {one: os.path.relpath(one, path.parent) for one in facts_of(path).data}
    return {path: MODEL, **names}


def split(
    file: Path, known: Mapping[tuple[int, int], Part], rest: IO[bytes], rest_there: str
) -> list[Part]:
    """Divide a file into what is there already, and what is to be sent.

    Args:
        file: The file.
        known: What is there of it, by offset and size.
        rest: Where to write what is to be sent.
        rest_there: The file there that this will be.

    Returns:
        The parts that make the file again.
    """
    parts: list[Part] = []
    with files.opened(file) as whole:
        place, end = 0, ((file.stat().st_size, 0), ("", 0, 0))
        for (offset, size), part in [*sorted(known.items()), end]:
            if offset < place:  # weights may share their data
                continue
            if offset > place:
                whole.seek(place)
                parts.append((rest_there, rest.tell(), offset - place))
                rest.write(whole.read(offset - place))
            if size:
                parts.append(part)
            place = offset + size
    return parts
