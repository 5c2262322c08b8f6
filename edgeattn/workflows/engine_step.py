"""The last step of a ladder: the engine, built of the file below, and run where a GPU is here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from edgeattn.base.errors import CheckError, InputError, MissingError
from edgeattn.engine.gpu import local_gpu
from edgeattn.engine.parity import runs_of_engine
from edgeattn.engine.runtime import Engine, open_engine
from edgeattn.engine.target import choose
from edgeattn.options.build import EngineOptions, Profile
from edgeattn.options.precision import named
from edgeattn.parity.bisect import first_difference_elsewhere
from edgeattn.parity.compare import Reference, Run, precision_of
from edgeattn.runtimes.onnxruntime import Array, Session
from edgeattn.workflows.build import BuildOptions, build
from edgeattn.workflows.pipeline import Candidate


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
        runs=_closing(
            engine, runs_of_engine(engine, names, outputs, reference.inputs, session.maps)
        ),
        locate=lambda tolerance: first_difference_elsewhere(
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
    return _closing(
        engine, runs_of_engine(engine, names, session.output_names, inputs, session.maps)
    )
