"""Traces of what a host's Python runs models by: as here, by the same runner."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeattn.base.errors import InputError
from edgeattn.base.worker import Talk
from edgeattn.hosts.onnxruntime import Bench, limit_s
from edgeattn.hosts.probe import PYTHON_RUNTIMES
from edgeattn.hosts.visit import Visit
from edgeattn.hosts.watch import Watch, watch
from edgeattn.options.profile import Item, ProfileOptions, Stage
from edgeattn.profiling.assemble import Profiled
from edgeattn.profiling.measure.machine import now
from edgeattn.profiling.measure.place import Place, Watched
from edgeattn.profiling.measure.traces import measure_at
from edgeattn.profiling.sources.model import read_subject
from edgeattn.records.trace import RUNTIMES, Machine, Power
from edgeattn.runtimes.openvino import CPU


class _There(Place):
    """A host, watched while models run there."""

    packs = True

    def __init__(self, bench: Bench, seen: Watch, *, tells_power: bool) -> None:
        self._bench, self._seen, self.tells_power = bench, seen, tells_power

    @property
    def cores(self) -> int:
        return self._bench.about.cores

    @property
    def block_channels(self) -> int:
        return self._bench.about.block_channels

    def runner(self, does: str) -> Talk:
        return self._bench.start(does)

    @contextlib.contextmanager
    def lent(self, path: Path) -> Iterator[str]:
        yield self._bench.send(path)

    def inputs(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._bench.inputs(asked)

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        yield self._bench.folder()

    def limit_s(self, expected_s: float) -> float | None:
        return limit_s(expected_s)

    def power(self, spans: Sequence[tuple[float, float]], runs: Sequence[int]) -> Power | None:
        return self._seen.power(spans, runs)

    def watch(self) -> Watched:
        return _Unwatched()


class _Unwatched(Watched):
    """The whole visit is watched, and what is seen is said at its end."""

    def __init__(self) -> None:
        pass

    def look(self) -> None:
        pass

    def warnings(self) -> Sequence[str]:
        return ()


def place(bench: Bench, seen: Watch, *, tells_power: bool = False) -> Place:
    """Return a host as a place where models are measured.

    Args:
        bench: What its Python runs them by.
        seen: What watches it.
        tells_power: Whether it says what it draws.
    """
    return _There(bench, seen, tells_power=tells_power)


def measure(
    items: Sequence[Item],
    options: ProfileOptions,
    visit: Visit,
    folder: Path,
    *,
    marginal: bool,
    on_stage: Stage,
) -> list[Profiled]:
    """Measure ONNX files by what a host's Python has, several in interleaved rounds.

    Args:
        items: The files.
        options: How they are run, and by what.
        visit: The host.
        folder: Where files may be written here.
        marginal: Whether the models are run with their sites replaced by identity too.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        InputError: A file is no ONNX file, or a runtime there does not load or run it.
        MissingError: No Python there has what is to run them, or the connection broke.
    """
    runtimes = [one for one in PYTHON_RUNTIMES if one in options.runtimes] or PYTHON_RUNTIMES[:1]
    for item in items:
        if item.path.suffix != ".onnx":
            raise InputError(f"{RUNTIMES[runtimes[0]]} does not run {item.path}, an engine.")
    on_stage("read")
    subjects = [
        read_subject(
            one.path, batch=options.batch, shapes=options.shapes, site_globs=options.site_globs
        )
        for one in items
    ]
    with Bench(visit.room, visit.facts, runtimes) as bench, watch(visit.room, visit.facts) as seen:
        on_stage("idle")
        seen.idle()
        on_stage("memory bandwidth")
        machine = _machine(bench, visit, options)
        found = measure_at(
            place(bench, seen, tells_power=bool(visit.facts.rails)),
            machine,
            bench.versions,
            items,
            subjects,
            replace(options, marginal=marginal),
            folder,
            on_stage,
        )
        warnings, facts = seen.warnings(), seen.facts()
    machine = machine.model_copy(update={"facts": {**machine.facts, **facts}})
    return [_with(one, machine, warnings) for one in found]


def _machine(bench: Bench, visit: Visit, options: ProfileOptions) -> Machine:
    about, facts = bench.about, visit.facts
    threads = options.threads or about.cores
    by = [
        f"{RUNTIMES[one]} {bench.versions[one]}" for one in PYTHON_RUNTIMES if one in bench.versions
    ]
    device = (options.openvino_device or CPU).upper()
    if device != CPU:
        by.append(f"OpenVINO's {device}")
    by.append(f"{threads} thread{'s' if threads > 1 else ''}")
    # How fast OpenVINO's other devices move bytes is not known.
    is_cpu = device == CPU or "onnxruntime" in bench.versions
    return Machine(
        device=facts.device or facts.title,
        title=facts.words(", ".join(by)),
        power_mode=facts.power_mode or "",
        **(bench.copies(threads).model_dump() if is_cpu else {}),
        facts={
            "processor": about.processor,
            "system": about.system,
            "python": about.python,
            "numpy": about.numpy,
            "measured": now(),
        },
    )


def _with(one: Profiled, machine: Machine, warnings: Sequence[str]) -> Profiled:
    trace = one.row.trace
    update = {"machine": machine, "warnings": (*trace.warnings, *warnings)}
    row = one.row.model_copy(update={"trace": trace.model_copy(update=update)})
    return replace(one, row=row)
