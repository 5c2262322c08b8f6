"""Read an ONNX file that anyone may have written: with its weights, inlined, every node named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn.base.errors import InputError, first_line
from edgeattn.graph.names import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An ONNX file that was read.

    Attributes:
        path: The file.
        model: Its model, without functions of its own; every node has a name that no other has.
        opset: Its opset of the standard domain.
        data: The files beside it that hold its weights.
        is_as_written: Whether nothing had to be inlined or named for that.
    """

    path: Path
    model: ir.Model
    opset: int
    data: tuple[Path, ...]
    is_as_written: bool


def read(path: Path) -> Source:
    """Read an ONNX file.

    Raises:
        InputError: There is no such file, it is no ONNX model, or a file with its weights is
            missing or too short.
    """
    from onnx_ir.passes import common

    if path.is_dir():
        raise InputError(f"{path} is a folder.", mend="Name the ONNX file in it.")
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    model = load(path, mend="Give a file that ONNX wrote.")
    if not opset_of(model):  # an empty file is a message without fields
        raise InputError(f"{path} is no ONNX model: it says no opset.")
    data = _check_weights(path, model)
    is_inlined = bool(model.functions)
    if is_inlined:
        common.InlinePass()(model)
    is_named = name_nodes(model)
    return Source(
        path=path,
        model=model,
        opset=opset_of(model),
        data=data,
        is_as_written=not (is_inlined or is_named),
    )


def opset_of(model: ir.Model) -> int:
    """Return the opset of the standard domain, or 0 if the model imports none."""
    return max((v for d, v in model.opset_imports.items() if d in STANDARD_DOMAINS), default=0)


def _check_weights(path: Path, model: ir.Model) -> tuple[Path, ...]:
    """Return the files that hold weights, and refuse a model that lacks one, or a part of it."""
    import onnx_ir

    ends: dict[Path, int] = {}
    for tensor in _tensors(model):
        if isinstance(tensor, onnx_ir.ExternalTensor):
            file = Path(tensor.base_dir) / tensor.location
            end = (tensor.offset or 0) + (tensor.length or tensor.nbytes)
            ends[file] = max(end, ends.get(file, 0))
    for file, end in ends.items():
        if not file.is_file():
            raise InputError(
                f"{path} keeps weights in {file}, which is not there.",
                mend="Copy the model together with the files of its weights.",
            )
        if file.stat().st_size < end:
            raise InputError(
                f"{file} holds {file.stat().st_size} bytes, of the {end} that {path} needs.",
                mend="Copy it again: it is not complete.",
            )
    return tuple(sorted(ends))


def _tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value.const_value


def name_nodes(model: ir.Model) -> bool:
    """Name the nodes that have no name, or that of another: the record speaks of them by name.

    One without a name is called after its first output, as TensorRT's parser does.

    Returns:
        Whether there were any.
    """
    is_changed = False
    taken = {node.name for node in model.graph.all_nodes()}
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    for node in model.graph.all_nodes():
        name = stem = node.name or f"node_of_{next(filter(None, _outputs(node)), '')}"
        if not node.name or name in seen:
            while name in taken:
                name = f"{stem}_{counts[stem]}"
                counts[stem] += 1
            node.name = name
            taken.add(name)
            is_changed = True
        seen.add(name)
    return is_changed


def _outputs(node: ir.Node) -> Iterator[str | None]:
    return (value.name for value in node.outputs)


def load(path: Path, *, mend: str = "") -> ir.Model:
    """Read an ONNX file as it is.

    Raises:
        InputError: It is no ONNX model; `mend` says what to do.
    """
    import onnx_ir

    try:
        return onnx_ir.load(path)
    except Exception as error:
        raise InputError(f"{path} is no ONNX model: {first_line(error)}", mend=mend) from error
