"""Traces of trtexec's files: measured by somebody, or predicted of their layers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.engine.layers import read
from edgeattn.options.profile import Item, ProfileOptions, TrtexecFiles
from edgeattn.profiling.predict.gpu.engine import machine_of
from edgeattn.profiling.predict.gpu.traces import predict
from edgeattn.profiling.profiled import Profiled
from edgeattn.profiling.route import Route
from edgeattn.profiling.sources.engines.nodes import GUESSED, guessed_nodes, guessed_sites
from edgeattn.profiling.sources.engines.plans import Plan
from edgeattn.profiling.sources.engines.source import EngineSource, of_subject
from edgeattn.profiling.sources.model import Subject
from edgeattn.profiling.sources.trtexec.run import read_trtexec
from edgeattn.records.trace import Machine, SavedRow, Trace

_UNKNOWN: Final = "a device that was not named"


def of_files(
    given: TrtexecFiles, subject: Subject | None, options: ProfileOptions, route: Route
) -> list[Profiled]:
    """Make the trace of a run of trtexec's, or predicts one of its layers.

    Args:
        given: The files.
        subject: The ONNX model that the engine was built from; None where it is not at hand.
        options: Whether to predict.
        route: The device.

    Raises:
        InputError: A file cannot be read, they do not belong together, or what is needed to
            predict is not given.
    """
    if given.profile is None:
        return _predicted(given.layers, subject, options, route)
    if options.predict:
        raise InputError("--predict takes --layers alone: --profile has times that were measured.")
    return [_measured(given, given.profile, subject, route)]


def _measured(
    given: TrtexecFiles, profile: Path, subject: Subject | None, route: Route
) -> Profiled:
    run = read_trtexec(given.layers, profile, given.times, subject=subject)
    machine = Machine(device="unknown", title=_UNKNOWN)
    if route.device is not None and route.point is not None:
        machine = machine_of(route.device, route.point, run.parts.kernels, None)
    paths = [path for path in (given.layers, profile, given.times) if path is not None]
    trace = Trace(
        name=_name(given.layers),
        model=str(given.layers),
        sha256={str(path): files.sha256(path) for path in paths},
        evidence="measured",
        runtime="tensorrt",
        runtime_version="",
        machine=machine,
        latency_ms=run.latency_ms,
        end_to_end=run.end_to_end,
        kernels=run.parts.kernels,
        nodes=run.parts.nodes,
        sites=run.parts.sites,
        params=run.parts.params,
        warnings=run.warnings,
        notes=run.notes,
    )
    return Profiled(row=SavedRow(trace=trace), information=run.parts.information)


def _predicted(
    layers: Path, subject: Subject | None, options: ProfileOptions, route: Route
) -> list[Profiled]:
    if not options.predict:
        raise InputError(
            "--layers alone has no times.",
            mend="Add --profile profile.json, or --predict --device NAME.",
        )
    if route.device is None or route.point is None:
        raise InputError("--predict needs a device.", mend="Add --device NAME.")
    information = read(layers)
    information = information.of_profile(information.profiles[0])
    plan = Plan(
        information=information,
        runtime="tensorrt-rtx" if information.form == "log" else "tensorrt",
        version="",
        compute_capability=None,
    )
    if subject is not None:
        source = of_subject(subject, plan)
    else:
        nodes = guessed_nodes(information)
        source = EngineSource(
            plan=plan,
            device=None,
            subject=None,
            nodes=nodes,
            sites=guessed_sites(nodes),
            params=None,
            sha256={str(layers): files.sha256(layers)},
            notes=(GUESSED,),
        )
    item = Item(path=layers, name=_name(layers))
    return predict(
        [item], [source], route.device, route.point, marginal=False, on_stage=lambda _: None
    )


def _name(layers: Path) -> str:
    """Name a run: `layers.json` says nothing, and its folder may."""
    stem = layers.name.partition(".")[0]
    return layers.resolve().parent.name if stem == "layers" else stem
