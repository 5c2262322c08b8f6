"""Cast: a float32 ONNX file is written in half precision or int8, and compared with what it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from edgeattn.base import files
from edgeattn.base.clock import Clock
from edgeattn.graph.marks import target_of
from edgeattn.graph.reading import load, read
from edgeattn.options.cast import CastOptions, check_options
from edgeattn.precision.cast import cast_source
from edgeattn.precision.pixels import beside, known
from edgeattn.records import sidecar
from edgeattn.records.manifest import Cast, Change
from edgeattn.runtimes.blame import blames_the_file
from edgeattn.workflows.artifact import (
    check_destination,
    files_of,
    hashes,
    header_of,
    written_files,
)


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
    destination = check_destination(destination)
    files.check_apart(files_of(destination), (found.path, *found.data))
    with files.staged(destination.parent) as staging:
        path = staging / destination.name
        record = cast_source(found, path, options, clock)
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
        )
        sidecar.write(manifest, path)
    return manifest
