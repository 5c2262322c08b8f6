"""Finds the first module whose output differs.

All candidate values are made outputs and compared in one run, in order of execution: a binary
search would trust that a difference, once there, stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnx_ir import DataType

from edgeattn.base import files
from edgeattn.base.errors import CheckError, InputError, MissingError
from edgeattn.graph.names import module_of
from edgeattn.graph.reading import load
from edgeattn.graph.shapes import infer
from edgeattn.parity.emulate import as_stored
from edgeattn.parity.metrics import Tolerance, measure
from edgeattn.runtimes.eager import run_torch
from edgeattn.runtimes.onnxruntime import Array, Session

if TYPE_CHECKING:
    import torch

    from edgeattn.parity.compare import Run

_FLOATS: Final = frozenset({DataType.FLOAT, DataType.FLOAT16})
#: What is said if every module agrees and the output does not.
IN_FORWARD = "the model's own forward, after its last module"


def first_difference_of_module(
    path: Path, module: torch.nn.Module, inputs: Sequence[torch.Tensor], tolerance: Tolerance
) -> str | None:
    """Name the first module, in order of execution, whose value in the file differs.

    Args:
        path: An ONNX file whose values are named after modules (see `edgeattn.graph.tags`).
        module: The reference.
        inputs: One tensor per input.
        tolerance: What passes.

    Returns:
        A module path; None if the file's values carry no module names, if it cannot be run
        with them as outputs, or if all agree without ONNX Runtime's optimisations: then these
        make the difference.
    """
    producers = _producers(path)
    wanted = _module_outputs(module, inputs, list(producers))
    arrays = [tensor.numpy(force=True) for tensor in inputs]
    try:
        values, outputs = _run_with_outputs(path, list(wanted), arrays)
    except InputError:
        return None  # it is the difference that is to be told, not that it cannot be placed
    for name, reference in wanted.items():
        if not measure(name, reference, values[name], tolerance).passed:
            return name
    references = run_torch(module, inputs)
    for (name, output), reference in zip(outputs.items(), references, strict=True):
        if not measure(name, reference, output, tolerance).passed:
            # An output carries the user's name for it; its node carries the module's.
            return module_of(producers.get(name, "")) or (IN_FORWARD if wanted else None)
    return None


def first_difference_of_files(
    path: Path, other: Path, inputs: Sequence[Array], tolerance: Tolerance
) -> str | None:
    """Name the module of the first value that two files share by name and that differs.

    Half precision is emulated in both: see `emulate`.

    Returns:
        A module path, or the value's own name if it carries none; None if all agree, or if
        the files cannot be run with these values as outputs.
    """
    with as_stored(path) as file, as_stored(other) as reference:
        producers, others = _producers(file), _producers(reference)
        shared = [name for name in producers if name in others]
        try:
            have, _ = _run_with_outputs(file, shared, inputs)
            want, _ = _run_with_outputs(reference, shared, inputs)
        except InputError:
            return None
    for name in shared:
        if not measure(name, want[name], have[name], tolerance).passed:
            return module_of(name) or module_of(producers[name]) or name
    return None


def first_difference_elsewhere(
    folder: Path,
    onnx: Path,
    inputs: Mapping[int, Sequence[Array]],
    tolerance: Tolerance,
    run_exposed: Callable[[Session, Mapping[int, Sequence[Array]]], Iterator[Run]],
    *,
    most_values: float = math.inf,
) -> str | None:
    """Name the first value that another runtime makes something else of than ONNX Runtime.

    All float values are outputs for that. A runtime then fuses less, so a fault of its fusions may
    not show.

    Args:
        folder: Where the ONNX file with these outputs goes.
        onnx: The ONNX file.
        inputs: Per batch size, one array per input; the first batch is run.
        tolerance: What passes.
        run_exposed: Runs a file there.
        most_values: So many numbers may all outputs hold; where they are more, only what modules
            give is compared, and of that the smallest.

    Returns:
        A module path or the value's name; None if all agree, or if no such file can be run there.
    """
    model = load(onnx)
    infer(model)
    values = [v for node in model.graph for v in node.outputs if v.name and v.dtype in _FLOATS]
    modules = {str(v.name): module_of(str(v.name)) or str(v.name) for v in values}
    batch = next(iter(inputs))
    want = _values(expose(onnx, list(modules), folder / "exposed.onnx"), inputs[batch])
    if sum(array.size for array in want.values()) > most_values:
        modules = _fewer(modules, want, most_values)
        want = _values(expose(onnx, list(modules), folder / "exposed.onnx"), inputs[batch])
    try:
        (run,) = run_exposed(Session(folder / "exposed.onnx"), {batch: inputs[batch]})
    except (InputError, CheckError, MissingError):
        return None  # it is the difference that is to be told, not that it cannot be placed
    have = dict(zip(run.names, run.outputs, strict=True))
    for name, module in modules.items():
        if not measure(name, want[name], have[name], tolerance).passed:
            return module
    return None


def _module_outputs(
    module: torch.nn.Module, inputs: Sequence[torch.Tensor], names: Sequence[str]
) -> dict[str, Array]:
    """Record what modules give, in the order in which they end."""
    import torch

    wanted = set(names)
    outputs: dict[str, Array] = {}

    def record(path: str, _module: torch.nn.Module, _args: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            outputs.pop(path, None)
            outputs[path] = output.numpy(force=True).copy()

    handles = [
        child.register_forward_hook(partial(record, path))
        for path, child in module.named_modules()
        if path in wanted
    ]
    try:
        with torch.no_grad():
            module(*(value.clone() for value in inputs))
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _producers(path: Path) -> dict[str, str]:
    """Return the name of the node behind every value of a file, in order of execution."""
    model = load(path)
    return {
        str(value.name): str(node.name)
        for node in model.graph
        if node.op_type != "Constant"  # what lowering folds into a weight is no difference
        for value in node.outputs
        if value.name
    }


def expose(path: Path, names: Sequence[str], target: Path) -> Path:
    """Write a file whose named values are outputs too, behind its own.

    Args:
        path: The file.
        names: Values that its nodes make.
        target: The file to write.

    Returns:
        What was written.
    """
    import onnx_ir

    model = load(path)
    infer(model)
    values = {str(v.name): v for node in model.graph for v in node.outputs}
    for name in names:
        if not values[name].is_graph_output():
            model.graph.outputs.append(values[name])
    onnx_ir.save(model, target, external_data=f"{target.name}.data")
    return target


def _run_with_outputs(
    path: Path, names: Sequence[str], inputs: Sequence[Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Run a file, unoptimised, and return named values besides its own outputs."""
    own = len(load(path).graph.outputs)
    with files.scratch() as folder:
        session = Session(expose(path, names, folder / "exposed.onnx"))
        arrays = session.run(inputs)
    found = dict(zip(session.output_names, arrays, strict=True))
    own_names = session.output_names[:own]
    return {name: found[name] for name in names}, {name: found[name] for name in own_names}


def _values(exposed: Path, inputs: Sequence[Array]) -> dict[str, Array]:
    session = Session(exposed)
    return dict(zip(session.output_names, session.run(inputs), strict=True))


def _fewer(
    modules: Mapping[str, str], values: Mapping[str, Array], most_values: float
) -> dict[str, str]:
    """Return the last value of each module, and of these the smallest that are few enough."""
    last = {module: name for name, module in modules.items()}
    kept, count = set(), 0.0
    for name in sorted(last.values(), key=lambda name: values[name].size):
        count += values[name].size
        if count > most_values:
            break
        kept.add(name)
    return {name: module for name, module in modules.items() if name in kept}
