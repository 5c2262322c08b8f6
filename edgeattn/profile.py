"""Profile: what a model takes on this machine, or is predicted to take on a device, and why."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeattn.errors import InputError
from edgeattn.profiling.options import Item, ProfileOptions, Stage
from edgeattn.profiling.route import Route, choose

if TYPE_CHECKING:
    from edgeattn.profiling.engine_source import EngineSource
    from edgeattn.profiling.model import Subject
    from edgeattn.profiling.trace import SavedRow


def profile(
    items: Sequence[Item],
    options: ProfileOptions,
    *,
    command: str = "",
    on_stage: Stage = lambda _: None,
) -> list[SavedRow]:
    """Profiles models, side by side.

    Args:
        items: The models; several are run in turns, and compared with the first.
        options: How.
        command: The command line to record.
        on_stage: Called with the name of each stage as it begins.

    Returns:
        A trace for each, and what it takes above the first.

    Raises:
        InputError: A file cannot be read or run, or an option does not fit.
        MissingError: What is asked cannot be had on this machine.
    """
    route = _common([choose(item.path, options) for item in items])
    on_stage("read")
    if route.runtime == "onnxruntime":
        rows = _onnxruntime(items, options, on_stage)
    else:
        rows = _engines(items, options, route, on_stage)
    return [
        row.model_copy(update={"trace": row.trace.model_copy(update={"command": command})})
        for row in rows
    ]


def _common(routes: Sequence[Route]) -> Route:
    """Gives the route of all models; what comes to its figures otherwise cannot be compared."""
    first = routes[0]
    for other in routes[1:]:
        if (other.runtime, other.evidence) != (first.runtime, first.evidence):
            raise InputError(
                f"One is {first.evidence} by {first.runtime}, the other {other.evidence} by"
                f" {other.runtime}: they cannot be compared.",
                mend="Give two files of one kind, or name the --device of both.",
            )
    return first


def _subject(item: Item, options: ProfileOptions) -> Subject:
    from edgeattn.profiling.model import read_subject

    return read_subject(
        item.path, batch=options.batch, shapes=options.shapes, site_globs=options.site_globs
    )


def _onnxruntime(items: Sequence[Item], options: ProfileOptions, on_stage: Stage) -> list[SavedRow]:
    from edgeattn.profiling import onnxruntime_trace

    subjects = [_subject(item, options) for item in items]
    return onnxruntime_trace.measure(items, subjects, options, on_stage)


def _engines(
    items: Sequence[Item], options: ProfileOptions, route: Route, on_stage: Stage
) -> list[SavedRow]:
    from edgeattn.profiling.engine_source import of_subject, read_engine
    from edgeattn.profiling.plans import build_plan
    from edgeattn.profiling.predicted_trace import predict

    route = _with_device(items, options, route)
    assert route.device is not None
    assert route.point is not None
    sources: list[EngineSource] = []
    for item in items:
        if item.path.suffix == ".onnx":
            subject = _subject(item, options)
            on_stage(f"plan of {item.name}")
            with tempfile.TemporaryDirectory(prefix="edgeattn-profile-") as folder:
                plan = build_plan(subject.model, route.device, Path(folder))
            sources.append(of_subject(subject, plan))
        else:
            sources.append(read_engine(item.path, options))
    is_cheap = all(item.path.suffix == ".onnx" for item in items)
    return predict(
        items,
        sources,
        route.device,
        route.point,
        marginal=is_cheap if options.marginal is None else options.marginal,
        on_stage=on_stage,
    )


def _with_device(items: Sequence[Item], options: ProfileOptions, route: Route) -> Route:
    """Gives the device to predict for: the one that is asked, or the one an engine is for."""
    if route.device is not None:
        return route
    from edgeattn.engine.manifest import read_manifest

    path = items[0].path
    named = None
    if path.suffix != ".onnx":
        manifest = read_manifest(path)
        named = manifest.device or manifest.not_for
    if named is None:
        raise InputError(
            f"No device is named that {path} is to be predicted for, and no GPU is here.",
            mend="Add --device NAME; see: edgeattn devices list",
        )
    return choose(path, replace(options, device=named))
