"""Cast: a float32 ONNX file is written in half precision or int8, and compared with what it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from edgeattn.base import files
from edgeattn.base.clock import Clock
from edgeattn.base.versions import versions
from edgeattn.graph.reading import Source, opset_of, read
from edgeattn.graph.writing import describe
from edgeattn.options.cast import CastOptions, check_options
from edgeattn.precision.cast import _cast
from edgeattn.records.manifest import Cast, CastRecord, Change
from edgeattn.workflows.export import check_destination, files_of


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
        record = _cast(found, path, options, clock, on_stage)
        with clock.stage("write"):
            manifest = _manifest(found, path, record, before, options, clock, command)
        text = manifest.model_dump_json(indent=2) + "\n"
        (staging / destination.with_suffix(".json").name).write_text(text, encoding="utf-8")
    return manifest


def _manifest(
    found: Source,
    path: Path,
    record: CastRecord,
    before: int,
    options: CastOptions,
    clock: Clock,
    command: str,
) -> Cast:
    import onnx_ir

    model = onnx_ir.load(path)
    written = sorted(path.parent.iterdir())
    return Cast(
        **dict(record),
        onnx=path.name,
        sha256={file.name: files.sha256(file) for file in written},
        sources={str(file): files.sha256(file) for file in (found.path, *found.data)},
        size_bytes=sum(file.stat().st_size for file in written),
        opset=opset_of(model),
        ir_version=int(model.ir_version),
        inputs=describe(model.graph.inputs),
        outputs=describe(model.graph.outputs),
        nodes=Change(before=before, after=len(model.graph)),
        options=dataclasses.asdict(options),
        versions=versions(),
        seconds=clock.seconds,
        command=command,
    )
