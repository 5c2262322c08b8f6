"""How the rungs of a ladder are made: with the stages that the commands themselves run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgeattn.base.clock import Clock
from edgeattn.base.errors import CheckError
from edgeattn.engine.parity import tolerance_of_engine
from edgeattn.graph.reading import read
from edgeattn.graph.writing import save
from edgeattn.legalise import legalise
from edgeattn.lowering import pipeline
from edgeattn.options.cast import CastOptions
from edgeattn.options.export import ExportOptions
from edgeattn.options.optimize import OptimizeOptions
from edgeattn.parity.compare import runs_of
from edgeattn.parity.metrics import tolerance_of
from edgeattn.precision.cast import cast_file
from edgeattn.workflows.ladder.engine import make_engine
from edgeattn.workflows.ladder.rungs import Made, Side, Step
from edgeattn.workflows.optimize import simplified, transformed
from edgeattn.workflows.workspace import Workspace


def make_exported(
    work: Workspace, options: ExportOptions, folder: Path, rung: str, side: Side, _below: Path
) -> Made:
    """Make the exported file, lowered or not."""
    model = work.simplified(side.weights)
    if rung == "lowered":
        pipeline.lower(model, target=options.target, rules=options.rules)
    legalise(model, options.opset)
    path = folder / f"{rung}-{side.weights}.onnx"
    save(model, path)
    return Made(path=path, runs=runs_of(path, side.arrays))


def make_optimised(
    options: OptimizeOptions, folder: Path, notes: list[str], side: Side, below: Path
) -> Made:
    """Make of a file what `edgeattn optimize` makes of it."""
    model, remarks = simplified(read(below), options, folder)
    notes += remarks
    transformed(model, options, Clock(lambda _: None), on_trial=lambda _number, _count: None)
    path = folder / "lowered.onnx"
    save(model, path)
    return Made(path=path, runs=runs_of(path, side.arrays))


def upper_steps(folder: Path, cast: CastOptions | None, precision: str) -> list[Step]:
    """Return the rungs of every ladder: the cast, where one is asked, and the engine."""
    steps = []
    top = tolerance_of_engine(precision)
    if cast is not None:
        top = tolerance_of(cast.precision, min_sqnr_db=cast.min_sqnr_db)
        make = partial(_make_cast, cast, folder)
        steps.append(Step(name="cast", tolerance=top, make=make, weights=("model",)))
    make = partial(make_engine, folder)
    return [*steps, Step(name="engine", tolerance=top, make=make, weights=("model",))]


def _make_cast(options: CastOptions, folder: Path, side: Side, below: Path) -> Made:
    """Cast the file below; what its own gate says against the cast is kept beside it."""
    path = folder / "cast.onnx"
    fault = ""
    try:
        cast_file(below, path, options)
    except CheckError as error:
        if not path.is_file():
            raise
        fault = error.fact.replace(str(below), side.below)  # it lies in a scratch folder
    return Made(path=path, runs=runs_of(path, side.arrays), fault=fault)
