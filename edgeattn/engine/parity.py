"""Compares an engine, on its GPU, with the ONNX file that it was built from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.engine.runtime import open_engine
from edgeattn.parity.compare import Reference, Run, batch_of, compare
from edgeattn.parity.metrics import Tolerance, tolerance_of
from edgeattn.records.engine import EngineManifest
from edgeattn.records.parity import ParityReport
from edgeattn.runtimes.onnxruntime import Array, Session, random_inputs


class Runs(Protocol):
    """An engine that is loaded, wherever that is."""

    @property
    def manifest(self) -> EngineManifest:
        """What it was built with."""

    @property
    def inputs(self) -> Mapping[str, Sequence[int]]:
        """The shape of each input, -1 where it is open."""

    @property
    def output_names(self) -> Sequence[str]:
        """The outputs, in the engine's order."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run it once; see `runtime.Engine.run`."""


def compare_engine(
    path: Path,
    other: Path | None = None,
    *,
    inputs: Sequence[Array] | None = None,
    seed: int = 0,
    tolerance: Tolerance | None = None,
    opened: Callable[[Path], AbstractContextManager[Runs]] = open_engine,
) -> ParityReport:
    """Run an engine on its GPU and compare it with an ONNX file, which is the reference.

    Args:
        path: The engine, with its manifest beside it.
        other: The reference; None for the file that the manifest names.
        inputs: One array per input; by default drawn at every shape that the engine was built for.
        seed: Seed of the draw.
        tolerance: What passes; by default that of the engine's precision.
        opened: Loads the engine, where it is to run.

    Raises:
        InputError: A file cannot be read, does not belong, or takes other inputs.
        MissingError: The library or the GPU that the engine was built for is not here.
    """
    with opened(path) as engine:
        manifest = engine.manifest
        session = Session(other or source_of(path, manifest))
        names = [value.name for value in session.inputs]
        if set(names) != set(engine.inputs):
            raise InputError(
                f"{path} takes the inputs {', '.join(engine.inputs)}, and its reference"
                f" {', '.join(names)}.",
                mend="Give the ONNX file that the engine was built from.",
            )
        # By the batch, as the report has them: of two shapes of one batch the later is run.
        drawn = [inputs] if inputs is not None else _drawn(session, manifest, names, seed)
        arrays = {batch_of(values): values for values in drawn}
        outputs = {batch: session.run(values) for batch, values in arrays.items()}
        reference = Reference(inputs=arrays, outputs=outputs)
        tolerance = tolerance or tolerance_of_engine(manifest.precision.asked)
        return compare(
            runs_of_engine(engine, names, session.output_names, arrays), reference, tolerance
        )


def tolerance_of_engine(precision: str) -> Tolerance:
    """Return the tolerance for an engine of a precision: in float32 it multiplies in TF32."""
    return tolerance_of("tf32" if precision == "fp32" else precision)


def runs_of_engine(
    engine: Runs,
    names: Sequence[str],
    outputs: Sequence[str],
    inputs: Mapping[int, Sequence[Array]],
    maps: Collection[str] = (),
) -> Iterator[Run]:
    """Run an engine at every batch size.

    Args:
        engine: The engine.
        names: The inputs' names, in the order of the arrays.
        outputs: The outputs' names, in the order of the reference.
        inputs: Per batch size, one array per input.
        maps: The outputs that are maps (N, C, 1, 1) in the place of (N, C).

    Raises:
        InputError: It does not take them, or gives other outputs.
    """
    if set(outputs) != set(engine.output_names):
        raise InputError(
            f"The engine gives {', '.join(engine.output_names)}, and its reference"
            f" {', '.join(outputs)}."
        )
    for batch, arrays in inputs.items():
        found = engine.run(dict(zip(names, arrays, strict=True)))
        yield Run(
            # The reference's: an engine's own are those of its library.
            optimisations="off",
            batch=batch,
            names=outputs,
            outputs=[found[name] for name in outputs],
            maps=maps,
        )


def source_of(path: Path, manifest: EngineManifest) -> Path:
    """Return the ONNX file that an engine was built from.

    Raises:
        InputError: It is not there, or was changed since.
    """
    found = path.parent / manifest.onnx
    mend = "Put it there; or, to compare, name another: edgeattn parity X.engine B.onnx"
    if not found.is_file():
        raise InputError(f"The file that {path} was built from is not there: {found}.", mend=mend)
    if manifest.sources.get(manifest.onnx) != files.sha256(found):
        raise InputError(f"{found} is not what it was when {path} was built from it.", mend=mend)
    return found


def _drawn(
    session: Session, manifest: EngineManifest, names: Sequence[str], seed: int
) -> list[list[Array]]:
    """Draw inputs at every shape that the engine was built for."""
    own = {value.name: value.shape for value in session.inputs}
    points = [point.shapes for point in manifest.points] or [{}]
    return [
        random_inputs(
            session,
            batch=None,
            seed=seed + number,
            shapes=[shapes.get(name, own[name]) for name in names],
        )
        for number, shapes in enumerate(points)
    ]
