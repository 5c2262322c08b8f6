"""Compares an engine, on its GPU, with the ONNX file that it was built from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnx_ir import DataType

from edgeattn import files
from edgeattn.errors import CheckError, InputError, MissingError
from edgeattn.graph.names import module_of
from edgeattn.graph.shapes import infer
from edgeattn.manifest import ParityReport
from edgeattn.parity.bisect import expose
from edgeattn.parity.compare import Run, precision_of, summarise
from edgeattn.parity.metrics import Tolerance, measure, tolerance_of
from edgeattn.parity.runtime import Array, Session, load, random_inputs

if TYPE_CHECKING:
    from edgeattn.engine.manifest import EngineManifest
    from edgeattn.engine.runtime import Engine
    from edgeattn.parity.rungs import Made, Side

_FLOATS: Final = frozenset({DataType.FLOAT, DataType.FLOAT16})


def compare_engine(
    path: Path,
    other: Path | None = None,
    *,
    inputs: Sequence[Array] | None = None,
    seed: int = 0,
    tolerance: Tolerance | None = None,
) -> ParityReport:
    """Runs an engine on its GPU and compares it with an ONNX file, which is the reference.

    Args:
        path: The engine, with its manifest beside it.
        other: The reference; None for the file that the manifest names.
        inputs: One array per input; by default drawn at every shape that the engine was built for.
        seed: Seed of the draw.
        tolerance: What passes; by default that of the engine's precision.

    Raises:
        InputError: A file cannot be read, does not belong, or takes other inputs.
        MissingError: The library or the GPU that the engine was built for is not here.
    """
    from edgeattn.engine.runtime import open_engine

    with open_engine(path) as engine:
        manifest = engine.manifest
        reference = Session(other or source_of(path, manifest))
        names = [value.name for value in reference.inputs]
        if set(names) != set(engine.inputs):
            raise InputError(
                f"{path} takes the inputs {', '.join(engine.inputs)}, and its reference"
                f" {', '.join(names)}.",
                mend="Give the ONNX file that the engine was built from.",
            )
        # By the batch, as the report has them: of two shapes of one batch the later is run.
        drawn = [inputs] if inputs is not None else _drawn(reference, manifest, names, seed)
        arrays = {len(values[0]) if values[0].ndim else 1: values for values in drawn}
        references = {batch: reference.run(values) for batch, values in arrays.items()}
        tolerance = tolerance or tolerance_of_engine(manifest.precision.asked)
        cases = [
            run.judge(references, weights="model", tolerance=tolerance)
            for run in runs_of_engine(engine, names, reference.output_names, arrays)
        ]
    return summarise(cases, tolerance)


def tolerance_of_engine(precision: str) -> Tolerance:
    """Gives the tolerance for an engine of a precision: in float32 it multiplies in TF32."""
    return tolerance_of("tf32" if precision == "fp32" else precision)


def runs_of_engine(
    engine: Engine,
    names: Sequence[str],
    outputs: Sequence[str],
    inputs: Mapping[int, Sequence[Array]],
) -> Iterator[Run]:
    """Runs an engine at every batch size.

    Args:
        engine: The engine.
        names: The inputs' names, in the order of the arrays.
        outputs: The outputs' names, in the order of the reference.
        inputs: Per batch size, one array per input.

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
        )


def source_of(path: Path, manifest: EngineManifest) -> Path:
    """Gives the ONNX file that an engine was built from.

    Raises:
        InputError: It is not there, or was changed since.
    """
    found = path.parent / manifest.onnx
    mend = "Name the ONNX file to compare with: edgeattn parity X.engine B.onnx"
    if not found.is_file():
        raise InputError(f"The file that {path} was built from is not there: {found}.", mend=mend)
    if manifest.sources.get(manifest.onnx) != files.sha256(found):
        raise InputError(f"{found} is not what it was when {path} was built from it.", mend=mend)
    return found


def _drawn(
    reference: Session, manifest: EngineManifest, names: Sequence[str], seed: int
) -> list[list[Array]]:
    """Draws inputs at every shape that the engine was built for."""
    own = {value.name: value.shape for value in reference.inputs}
    points = [point.shapes for point in manifest.points] or [{}]
    return [
        random_inputs(
            reference,
            batch=None,
            seed=seed + number,
            shapes=[shapes.get(name, own[name]) for name in names],
        )
        for number, shapes in enumerate(points)
    ]


def make_engine(folder: Path, side: Side, below: Path) -> Made:
    """Makes the engine of a ladder's file, for the GPU of this machine.

    Raises:
        MissingError: There is no GPU here, or no library that serves it.
        CheckError: The library builds no engine of the file.
    """
    from edgeattn.parity.rungs import Made

    session = Session(below)
    names = [value.name for value in session.inputs]
    outputs = session.output_names
    engine = _built(below, names, side.arrays, folder / "ladder.engine")
    return Made(
        path=below,
        runs=_closing(engine, runs_of_engine(engine, names, outputs, side.arrays)),
        locate=lambda tolerance: _first_difference(folder, below, side.arrays, tolerance),
    )


def _built(
    onnx: Path, names: Sequence[str], inputs: Mapping[int, Sequence[Array]], destination: Path
) -> Engine:
    """Builds an engine that takes these inputs, and loads it."""
    from edgeattn.build import BuildOptions, build
    from edgeattn.engine.build import EngineOptions
    from edgeattn.engine.gpu import local_gpu
    from edgeattn.engine.runtime import open_engine
    from edgeattn.engine.shapes import Profile
    from edgeattn.engine.target import choose
    from edgeattn.graph.precision import named

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
    """Names the first value that differs in an engine with all float values as outputs.

    Such an engine fuses less, so a fault of its fusions may not show in it.

    Returns:
        A module path or the value's name; None where all agree, or no such engine can be built.
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
