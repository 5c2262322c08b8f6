"""The last step of a ladder: the engine, built of the file below, and run where a GPU is here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from onnx_ir import DataType

from edgeattn.base.errors import CheckError, InputError, MissingError
from edgeattn.engine.gpu import local_gpu
from edgeattn.engine.parity import runs_of_engine
from edgeattn.engine.runtime import Engine, open_engine
from edgeattn.engine.target import choose
from edgeattn.graph.names import module_of
from edgeattn.graph.reading import load
from edgeattn.graph.shapes import infer
from edgeattn.options.build import EngineOptions, Profile
from edgeattn.options.precision import named
from edgeattn.parity.bisect import expose
from edgeattn.parity.compare import Reference, Run, precision_of
from edgeattn.parity.metrics import Tolerance, measure
from edgeattn.runtimes.onnxruntime import Array, Session
from edgeattn.workflows.build import BuildOptions, build
from edgeattn.workflows.pipeline import Candidate

_FLOATS: Final = frozenset({DataType.FLOAT, DataType.FLOAT16})


def make_engine(folder: Path, reference: Reference, below: Path) -> Candidate:
    """Make the engine of a ladder's file, for the GPU of this machine.

    Raises:
        MissingError: There is no GPU here, or no library that serves it.
        CheckError: The library builds no engine of the file.
    """
    session = Session(below)
    names = [value.name for value in session.inputs]
    outputs = session.output_names
    engine = _built(below, names, reference.inputs, folder / "ladder.engine")
    return Candidate(
        path=below,
        runs=_closing(engine, runs_of_engine(engine, names, outputs, reference.inputs)),
        locate=lambda tolerance: first_difference(
            folder, below, reference.inputs, tolerance, partial(_run_exposed, folder)
        ),
    )


def _built(
    onnx: Path, names: Sequence[str], inputs: Mapping[int, Sequence[Array]], destination: Path
) -> Engine:
    """Build an engine that takes these inputs, and load it."""
    if local_gpu() is None:
        raise MissingError("No NVIDIA GPU is here.")
    target = choose(device=None, capability=None, runtime=None, as_plan=False)
    smallest, largest = (
        {name: array.shape for name, array in zip(names, inputs[batch], strict=True)}
        for batch in (min(inputs), max(inputs))
    )
    options = EngineOptions(
        precision=named(precision_of(onnx)),
        profiles=(Profile(min=smallest, opt=largest, max=largest),),
    )
    try:
        build(onnx, BuildOptions(target=target, engine=options), destination)
        return open_engine(destination)
    except InputError as error:  # the file runs in ONNX Runtime: it is the engine that fails
        raise CheckError(error.fact) from error


def _closing(engine: Engine, runs: Iterator[Run]) -> Iterator[Run]:
    with engine:
        yield from runs


def _run_exposed(
    folder: Path, session: Session, inputs: Mapping[int, Sequence[Array]]
) -> Iterator[Run]:
    names = [value.name for value in session.inputs]
    engine = _built(session.path, names, inputs, folder / "exposed.engine")
    return _closing(engine, runs_of_engine(engine, names, session.output_names, inputs))


def first_difference(
    folder: Path,
    onnx: Path,
    inputs: Mapping[int, Sequence[Array]],
    tolerance: Tolerance,
    run_exposed: Callable[[Session, Mapping[int, Sequence[Array]]], Iterator[Run]],
    *,
    most_values: float = math.inf,
) -> str | None:
    """Name the first value that differs in an engine with all float values as outputs.

    Such an engine fuses less, so a fault of its fusions may not show in it.

    Args:
        folder: Where the ONNX file with these outputs goes.
        onnx: The ONNX file.
        inputs: Per batch size, one array per input; the first batch is run.
        tolerance: What passes.
        run_exposed: Builds the engine of a file, and runs it once.
        most_values: So many numbers may all outputs hold; where they are more, only what modules
            give is compared, and of that the smallest.

    Returns:
        A module path or the value's name; None if all agree, or if no such engine can be built.
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
