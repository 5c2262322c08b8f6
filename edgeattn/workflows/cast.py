"""Cast: a float32 ONNX file is written in half precision or int8, and compared with what it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from edgeattn.base import files
from edgeattn.base.clock import Clock
from edgeattn.base.errors import CheckError
from edgeattn.graph.marks import target_of
from edgeattn.graph.reading import load, read
from edgeattn.options.cast import NEARER, CastOptions, check_options
from edgeattn.options.evaluate import EvaluateOptions
from edgeattn.precision.cast import cast_source
from edgeattn.precision.pixels import beside, known
from edgeattn.records import sidecar
from edgeattn.records.accuracy import Accuracy
from edgeattn.records.manifest import Cast, Change
from edgeattn.runtimes.blame import blames_the_file
from edgeattn.workflows.artifact import (
    check_destination,
    files_of,
    hashes,
    header_of,
    written_files,
)
from edgeattn.workflows.evaluate import evaluate


@blames_the_file
def cast(
    source: Path,
    options: CastOptions,
    destination: Path,
    *,
    command: str = "",
    on_stage: Callable[[str], None] = lambda _: None,
) -> Cast:
    """Cast an ONNX file to `destination` and write the manifest beside it.

    Args:
        source: The ONNX file to read.
        options: How to cast.
        destination: The ONNX file to write; the manifest has the same name and ends in `.json`.
        command: The command line to record in the manifest.
        on_stage: Called with the name of each stage as it begins.

    Returns:
        The manifest.

    Raises:
        InputError: If the file cannot be read, run or cast, or the samples do not fit it.
        CheckError: If what would be written differs by more than it may; nothing is written then.
    """
    check_options(options)
    clock = Clock(on_stage)
    with clock.stage("read"):
        found = read(source)
        before = len(found.model.graph)
    names, destination = (str(source), str(destination)), check_destination(destination)
    files.check_apart(files_of(destination), (found.path, *found.data))
    with files.staged(destination.parent) as staging:
        path = staging / destination.name
        record = cast_source(found, path, options, clock)
        accuracy = None
        if options.data is not None:
            with clock.stage("accuracy"):
                accuracy = _accuracy((found.path, path), names, options, on_stage)
        with clock.stage("write"):
            model = load(path)
            written = header_of(model) | written_files(
                staging,
                destination,
                sources=hashes([found.path, *found.data]),
                clock=clock,
                command=command,
            )
        manifest = Cast(
            **dict(record),
            **written,
            target=target_of(model),
            nodes=Change(before=before, after=len(model.graph)),
            options=dataclasses.asdict(options),
            pixels=known(options.pixels, beside(found.path)),
            accuracy=accuracy,
        )
        sidecar.write(manifest, path)
    return manifest


def _accuracy(
    paths: Sequence[Path],
    names: Sequence[str],
    options: CastOptions,
    on_stage: Callable[[str], None],
) -> Accuracy:
    """Find how often what was read and what was made of it are right.

    Raises:
        CheckError: It loses more than it may.
        InputError: The images cannot be read, or it is no classifier of theirs.
    """
    how = EvaluateOptions(
        data=options.data, classes=options.classes, pixels=options.pixels, seed=options.seed
    )
    found = evaluate(paths, how, names=names, on_stage=on_stage)
    if options.calibration and Path(options.calibration) == options.data:
        note = "It was calibrated on the same images that it is judged by: others may lose more."
        found = found.model_copy(update={"notes": (*found.notes, note)})
    before, after = found.models
    assert after.change is not None
    assert after.interval is not None
    most, lost = options.max_accuracy_drop, -after.change
    if most is None or lost <= most:
        return found
    low, high = (-end for end in reversed(after.interval))
    worst = "".join(
        f" Most are lost of {one.name}: of {one.images} images {one.before} were right, and"
        f" {one.after} are."
        for one in after.losses[:1]
    )
    raise CheckError(
        f"The cast model loses {lost:.2f} points of top-1 (95 %: {low:.2f} to {high:.2f}), from"
        f" {before.top1:.2f} % to {after.top1:.2f} %, on {found.images} images of {found.data};"
        f" {most:g} are allowed.{worst}",
        mend=f"Nothing was written. {NEARER[options.precision]}\nOr allow more:"
        " --max-accuracy-drop POINTS",
    )
