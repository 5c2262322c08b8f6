"""The last step of a ladder: the engine, built of the file below, and run where a GPU is here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
        locate=lambda tolerance: _first_difference(folder, below, reference.inputs, tolerance),
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


def _first_difference(
    folder: Path, onnx: Path, inputs: Mapping[int, Sequence[Array]], tolerance: Tolerance
) -> str | None:
    """Name the first value that differs in an engine with all float values as outputs.

    Such an engine fuses less, so a fault of its fusions may not show in it.

    Returns:
        A module path or the value's name; None if all agree, or if no such engine can be built.
    """
    model = load(onnx)
    infer(model)
    values = [v for node in model.graph for v in node.outputs if v.name and v.dtype in _FLOATS]
    modules = {str(v.name): module_of(str(v.name)) or str(v.name) for v in values}
    exposed = expose(onnx, list(modules), folder / "exposed.onnx")
    session = Session(exposed)
    names = [value.name for value in session.inputs]
    batch = next(iter(inputs))
    arrays = {batch: inputs[batch]}
    try:
        engine = _built(exposed, names, arrays, folder / "exposed.engine")
        (run,) = _closing(engine, runs_of_engine(engine, names, session.output_names, arrays))
    except (InputError, CheckError, MissingError):
        return None  # it is the difference that is to be told, not that it cannot be placed
    want = dict(zip(session.output_names, session.run(inputs[batch]), strict=True))
    have = dict(zip(run.names, run.outputs, strict=True))
    for name, module in modules.items():
        if not measure(name, want[name], have[name], tolerance).passed:
            return module
    return None
