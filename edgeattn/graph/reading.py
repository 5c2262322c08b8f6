"""Read an ONNX file that anyone may have written, in one form, or say what is wrong with it.

The form: functions inlined, nodes in order and each with a name of its own, weights in no list of
inputs, open sizes of inputs named, weights found where links and `..` lead. Every command reads
through here; what hands a file to another program hands over `as_read`.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeattn.base import files
from edgeattn.base.errors import InputError, first_line
from edgeattn.base.files import explain
from edgeattn.base.memory import check_size
from edgeattn.graph.marks import maps_of
from edgeattn.graph.names import STANDARD_DOMAINS
from edgeattn.options.precision import Precision
from edgeattn.records.manifest import Tensor

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_BROKEN: Final = "It was not written so by an exporter: get it again, or export it again."
#: The first IR version that lets weights stand in no list of inputs.
_UNLISTED: Final = 4
#: Names of open sizes that stand for different ones in one file.
_NAMELESS: Final = (None, "", "?", "None", "-1")
_MOST_FACTS: Final = 64
_FACTS: Final[dict[tuple[object, ...], Facts]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An ONNX file that was read.

    Attributes:
        path: The file.
        model: Its model, without functions of its own; every node has a name that no other has.
        opset: Its opset of the standard domain.
        data: The files beside it that hold its weights.
        is_plain: Whether other programs make the same of the file.
        is_as_written: Whether the model, its nodes included, is the file's, too.
        functions: The functions of its own that the file's graph calls, each with its domain.
    """

    path: Path
    model: ir.Model
    opset: int
    data: tuple[Path, ...]
    is_plain: bool
    is_as_written: bool
    functions: tuple[str, ...]


def read(path: Path) -> Source:
    """Read an ONNX file.

    Raises:
        InputError: There is no such file, it is no valid ONNX model or none of tensors, or a file
            with its weights is missing, too short, or out of its folder.
    """
    return _read(path, with_data=True)


def _read(path: Path, *, with_data: bool) -> Source:
    """Read a file; without the data of long weights it must stay as it is."""
    from edgeattn.graph.external import find_weights
    from edgeattn.graph.ranks import find_ranks

    if path.is_dir():
        raise InputError(f"{path} is a folder.", mend="Name the ONNX file in it.")
    if not path.is_file():
        fact = f"{path} is no regular file." if path.exists() else f"There is no file {path}."
        raise InputError(fact)
    try:
        proto = _checked(path, with_data=with_data)
        data, is_found = find_weights(path, proto)
        is_dense = _densify(path, proto)
        model, functions = _inlined(path, proto)
    except InputError:
        raise
    except Exception as error:
        explained = explain(error, path) if isinstance(error, OSError) else None
        raise explained or InputError(
            f"{path} is no ONNX model: {first_line(error)}", mend="Give a file that ONNX wrote."
        ) from error
    changes = (_sort(model), _unlist_weights(model), find_ranks(model), _open_sizes(model))
    is_plain = is_found and not any(changes)
    is_named = name_nodes(model)
    found = Source(
        path=path,
        model=model,
        opset=opset_of(model),
        data=data,
        is_plain=is_plain,
        is_as_written=is_plain and not (is_dense or functions or is_named),
        functions=functions,
    )
    _kept_facts(found)
    return found


def load(path: Path) -> ir.Model:
    """Read the model of an ONNX file, as `read` does."""
    return read(path).model


@contextlib.contextmanager
def as_read(path: Path) -> Iterator[Path]:
    """Return a file for other programs to read.

    Args:
        path: An ONNX file.

    Yields:
        The same file; where another program would make something else of it, one in the form that
        it is read in, for as long as the block lasts.

    Raises:
        InputError: It cannot be read.
    """
    from edgeattn.graph.writing import save

    if path.is_file() and facts_of(path).is_plain:
        yield path
        return
    found = read(path)
    with files.scratch() as folder:
        copy = folder / path.name
        save(found.model, copy, external=True)
        yield copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is asked of a file again and again.

    Attributes:
        is_plain: Whether other programs make the same of it.
        has_loops: Whether it holds a loop, which may go round as often as its data say.
        precision: The precision that it is written in.
        inputs: What it takes.
        outputs: What it gives.
        maps: The outputs that are maps (N, C, 1, 1) in the place of (N, C).
        data: The files beside it that hold its weights.
    """

    is_plain: bool
    has_loops: bool
    precision: Precision
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    maps: tuple[str, ...]
    data: tuple[Path, ...]


def facts_of(path: Path) -> Facts:
    """Return the facts of an ONNX file, which is read once as long as it stays what it is.

    Raises:
        InputError: It cannot be read.
    """
    known = _FACTS.get((path, *_state(path))) if path.is_file() else None
    return known or _kept_facts(_read(path, with_data=False))


def let_go(model: ir.Model) -> None:
    """Free a model's weights at once: its parts hold each other, so that Python would keep them."""
    for value in model.graph.initializers.values():
        value.const_value = None


def _kept_facts(found: Source) -> Facts:
    from edgeattn.graph.precision import precision_of
    from edgeattn.graph.writing import describe

    if len(_FACTS) >= _MOST_FACTS:
        _FACTS.clear()
    operators = {node.op_type for node in found.model.graph.all_nodes()}
    facts = Facts(
        is_plain=found.is_plain,
        has_loops=bool(operators & {"Loop", "Scan"}),
        precision=precision_of(found.model),
        inputs=describe(found.model.graph.inputs),
        outputs=describe(found.model.graph.outputs),
        maps=maps_of(found.model),
        data=found.data,
    )
    _FACTS[found.path, *_state(found.path)] = facts
    return facts


def _state(path: Path) -> tuple[int, ...]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino


def opset_of(model: ir.Model) -> int:
    """Return the opset of the standard domain, or 0 if the model imports none."""
    return max((v for d, v in model.opset_imports.items() if d in STANDARD_DOMAINS), default=0)


def _checked(path: Path, *, with_data: bool) -> onnx.ModelProto:
    import onnx

    from edgeattn.graph import inside
    from edgeattn.graph.check import faults, interface_fault

    if with_data:
        proto = onnx.load(path, load_external_data=False)
    else:
        proto = inside.without_data(path, inside.HERE)
    fault = next(faults(proto), None)
    if fault is not None:
        raise InputError(f"{path} {fault}.", mend=_BROKEN)
    fault = interface_fault(proto.graph)
    if fault is not None:
        raise InputError(
            f"{path} {fault}; only tensors of numbers can be drawn and compared.",
            mend="Export it with such inputs and outputs.",
        )
    return proto


def _inlined(path: Path, proto: onnx.ModelProto) -> tuple[ir.Model, tuple[str, ...]]:
    """Return the model without functions, and those that its graph called."""
    import onnx_ir as ir
    from onnx_ir.passes import common

    model = ir.serde.deserialize_model(proto)
    if not model.functions:
        return model, ()
    called = {
        f"{n.domain}.{n.op_type}"
        for n in model.graph.all_nodes()
        if n.op_identifier() in model.functions
    }
    for function in model.functions.values():
        function.sort()
    model.graph.sort()
    try:
        common.InlinePass()(model)
    except ValueError as error:
        raise InputError(
            f"{path} has functions that cannot be inlined: {first_line(error)}",
            mend="Inline them before: onnx.inliner.inline_local_functions(model, True)",
        ) from error
    return model, tuple(sorted(called))


def _densify(path: Path, proto: onnx.ModelProto) -> bool:
    """Write sparse weights as others.

    Returns:
        Whether there were any.
    """
    import numpy as np
    from onnx import numpy_helper

    from edgeattn.graph.check import all_graphs

    is_changed = False
    for graph in all_graphs(proto.graph):
        for sparse in graph.sparse_initializer:
            values = numpy_helper.to_array(sparse.values).reshape(-1)
            places = numpy_helper.to_array(sparse.indices)
            size_bytes = math.prod(sparse.dims) * values.itemsize
            check_size(size_bytes, f"The weight {sparse.values.name} of {path}")
            dense = np.zeros(tuple(sparse.dims), values.dtype)
            if places.ndim == 1:
                dense.reshape(-1)[places] = values
            else:
                dense[tuple(places.T)] = values
            graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
            is_changed = True
        graph.ClearField("sparse_initializer")
    return is_changed


def _sort(model: ir.Model) -> bool:
    """Bring nodes into an order in which each comes after what it reads.

    Returns:
        Whether they were in none.
    """
    seen: set[ir.Node | None] = {None}  # what inputs and weights are made by
    for node in model.graph.all_nodes():
        if any(value is not None and value.producer() not in seen for value in node.inputs):
            model.graph.sort()
            return True
        seen.add(node)
    return False


def _unlist_weights(model: ir.Model) -> bool:
    """Take weights off the list of inputs, where IR version 3 wants them: they are no data.

    Returns:
        Whether one was there.
    """
    from onnx_ir.passes import common

    model.ir_version = max(model.ir_version, _UNLISTED)
    return common.RemoveInitializersFromInputsPass()(model).modified


def _open_sizes(model: ir.Model) -> bool:
    """Read sizes of 0 and less as open, and name the open sizes of inputs.

    Older exporters write 0 or -1 where a size is open. What is first in an input is the batch.

    Returns:
        Whether there was a size of 0 or less; names say nothing to other programs.
    """
    import onnx_ir as ir

    is_changed = False
    values = [value for node in model.graph.all_nodes() for value in node.outputs]
    for value in (*model.graph.inputs, *model.graph.outputs, *values):
        if value.shape is None or value.is_initializer():
            continue
        is_changed = is_changed or any(isinstance(one, int) and one < 1 for one in value.shape)
        sizes = [None if _is_nameless(size) else size for size in value.shape]
        if None in sizes:
            value.shape = ir.Shape(sizes)
    shapes = {value: list(value.shape) for value in model.graph.inputs if value.shape}
    firsts = [shape[0] for shape in shapes.values()]
    named = (size.value for size in firsts if isinstance(size, ir.SymbolicDim))
    batch = next(filter(None, named), "batch")
    for value, shape in shapes.items():
        names = [batch, *(f"{value.name}.{place}" for place in range(1, len(shape)))]
        value.shape = ir.Shape(
            [
                size if isinstance(size, int) else size.value or name
                for size, name in zip(shape, names, strict=True)
            ]
        )
    return is_changed


def _is_nameless(size: int | ir.SymbolicDim) -> bool:
    """Return whether a size is open, and its name, if it has one, says no more than that."""
    return size < 1 if isinstance(size, int) else size.value in _NAMELESS


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
