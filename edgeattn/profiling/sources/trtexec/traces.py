"""Traces of trtexec's files: measured by somebody, or predicted of their layers alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgeattn.base import files
from edgeattn.base.errors import InputError
from edgeattn.engine.layers import read
from edgeattn.options.profile import Item, ProfileOptions, TrtexecFiles
from edgeattn.profiling.assemble import Profiled, assemble
from edgeattn.profiling.predict.gpu.engine import machine_of
from edgeattn.profiling.predict.gpu.traces import predict
from edgeattn.profiling.route import Route
from edgeattn.profiling.sources.engines.nodes import guessed
from edgeattn.profiling.sources.engines.plans import Plan
from edgeattn.profiling.sources.engines.source import EngineSource
from edgeattn.profiling.sources.model import Known, Subject
from edgeattn.profiling.sources.trtexec.run import read_trtexec


def of_files(
    given: TrtexecFiles, subject: Subject | None, options: ProfileOptions, route: Route
) -> list[Profiled]:
    """Make the trace of a run of trtexec's, or predict one of its layers.

    Args:
        given: The files.
        subject: The ONNX model that the engine was built from; None if it is not at hand.
        options: Whether to predict.
        route: The device.

    Raises:
        InputError: A file cannot be read, they do not belong together, or what is needed to
            predict is not given.
    """
    if given.profile is None:
        if given.layers is None:
            raise InputError("Neither layers nor a profile is given.", mend="Add --layers.")
        return _predicted(given.layers, subject, options, route)
    if options.predict:
        raise InputError("--predict takes --layers alone: --profile has times that were measured.")
    found = read_trtexec(given.layers, given.profile, given.times, subject=subject)
    if route.device is not None and route.point is not None:
        machine = machine_of(route.device, route.point, found.kernels, None)
        found = replace(found, machine=machine)
    path = given.profile if given.layers is None else given.layers
    return assemble([Item(path=path, name=_name(path))], lambda *_: found)


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
    known: Known | None = subject
    if known is None:
        known = replace(guessed(information), sha256={str(layers): files.sha256(layers)})
    return predict(
        [Item(path=layers, name=_name(layers))],
        [EngineSource.of(known, plan)],
        route.device,
        route.point,
        layers.parent,
        marginal=False,
        on_stage=lambda _: None,
    )


def _name(layers: Path) -> str:
    """Name a run: `layers.json` says nothing, and its folder may."""
    stem = layers.name.partition(".")[0]
    return layers.resolve().parent.name if stem == "layers" else stem
