"""TensorRT and TensorRT-RTX on the GPU of this machine, measured: latency, and each kernel's time.

Figures are trtexec's, as it takes them by default from version 11 on: GPU compute between two
events, of a CUDA graph, the processor waiting without sleeping, transfers off, and the profiler in
a run of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from edgeattn.base import worker as process
from edgeattn.engine.runs_here import check_engine
from edgeattn.engine.shapes import written
from edgeattn.options.profile import ProfileOptions, Stage
from edgeattn.options.shapes import dtype_of
from edgeattn.profiling.measure.rounds import Limits, Timed, take_processes, timed_of
from edgeattn.profiling.measure.tensorrt.nvml import Clocks
from edgeattn.profiling.measure.tensorrt.process import Job
from edgeattn.profiling.samples import engine_warnings
from edgeattn.profiling.sources.engines.layer_times import join
from edgeattn.profiling.sources.engines.parts import EngineParts, parts_of
from edgeattn.profiling.sources.model import Subject
from edgeattn.profiling.sources.trtexec.files import Entry, Listed
from edgeattn.records.engine import EngineManifest
from edgeattn.records.trace import MOST_ENQUEUE, EndToEnd

_PROCESS: Final = "edgeattn.profiling.measure.tensorrt.process"


def job_of(
    task: Literal["time", "profile"], engines: Sequence[Path], options: ProfileOptions
) -> Job:
    """Return what the process is to do; a batch of 1, the default, leaves engines their shapes."""
    types = tuple(map(dtype_of, options.shapes))
    return Job(
        task=task,
        engines=tuple(map(str, engines)),
        batch=None if options.batch == 1 else options.batch,
        shapes=options.shapes,
        types=types if any(types) else (),
        seed=options.seed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedEngines(Timed):
    """Engines that were run in interleaved rounds.

    Attributes:
        graph_us: What the host took to launch the CUDA graph of each; None if none was captured.
        enqueue_us: What it took to enqueue a run of each without one.
        not_captured: Why there is no graph of each; "" if there is one.
        shapes: The shapes that each was run at.
    """

    graph_us: tuple[float | None, ...]
    enqueue_us: tuple[float, ...]
    not_captured: tuple[str, ...]
    shapes: tuple[Mapping[str, Sequence[int]], ...]

    def batch(self, model: int) -> int | None:
        """Return the first size of a model's first input, by its place."""
        sizes = next(iter(self.shapes[model].values()), ())
        return next(iter(sizes), None)

    def host_us(self, model: int) -> float:
        """Return what the host took to enqueue a run of a model as it was timed, by its place."""
        launched_us = self.graph_us[model]
        return self.enqueue_us[model] if launched_us is None else launched_us

    def warnings_of(self, model: int) -> list[str]:
        """Return why a model's latency is not to be trusted, besides `warnings`."""
        return engine_warnings(self.latency(model), self.host_us(model))

    def notes_of(self, model: int) -> list[str]:
        """Return how a model was run."""
        plain_us, compute_us = self.enqueue_us[model], 1e3 * self.latency(model).p50
        if self.not_captured[model]:
            found = [f"It was run without a CUDA graph: {self.not_captured[model]}"]
        else:
            found = ["It was run as a CUDA graph, with its inputs and outputs in the GPU's memory."]
            if plain_us > MOST_ENQUEUE * compute_us:
                found.append(
                    f"Without a CUDA graph the host enqueues for {plain_us:.0f} µs, and the GPU"
                    f" computes for {compute_us:.0f} µs: what captures none waits for the host."
                )
        return [*found, f"It was run at {_told(self.shapes[model])}."]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledEngine:
    """An engine's kernels.

    Attributes:
        parts: The kernels, and what they came from.
        profiled_us: What the whole run took while they were timed.
        notes: What a reader should know.
    """

    parts: EngineParts
    profiled_us: float
    notes: tuple[str, ...]


def time_models(
    paths: Sequence[Path], options: ProfileOptions, *, on_progress: Stage = lambda _: None
) -> TimedEngines:
    """Measure engines end to end, without the profiler; several in interleaved rounds.

    Args:
        paths: The engines, with their manifests beside them.
        options: How they are run.
        on_progress: Told how far it is.

    Raises:
        InputError: An engine has no manifest that belongs to it, is a plan, or does not take the
            shapes; or its library fails on it.
        MissingError: The library, its version, or the GPU that one was built for is not here.
    """
    for path in paths:
        check_engine(path)
    job = job_of("time", paths, options)
    found, said = take_processes(
        len(paths),
        lambda number: _asked(replace(job, number=number)),
        Limits.of(options),
        on_progress=on_progress,
    )
    clocks = Clocks(look for one in said for look in one["clocks"])
    graph_us, enqueue_us = zip(*said[-1]["host_us"], strict=True)
    return TimedEngines(
        **timed_of(found | {"warnings": clocks.warnings, "facts": clocks.facts}),
        graph_us=graph_us,
        enqueue_us=enqueue_us,
        not_captured=tuple(said[-1]["not_captured"]),
        shapes=tuple(said[-1]["shapes"]),
    )


def profile_kernels(
    path: Path, options: ProfileOptions, *, subject: Subject | None = None
) -> ProfiledEngine:
    """Take an engine through its library's profiler.

    Args:
        path: The engine, with its manifest beside it.
        options: How it is run.
        subject: The ONNX model that it was built from; None if it is not at hand.

    Raises:
        InputError: As `time_models`; or the profiler tells of other layers than the manifest, or
            the engine was not built from that model.
        MissingError: As `time_models`.
    """
    manifest, _ = check_engine(path)
    found = _asked(job_of("profile", [path], options))
    return read_profiled(found, manifest, subject)


def read_profiled(
    found: dict[str, Any], manifest: EngineManifest, subject: Subject | None
) -> ProfiledEngine:
    """Join what the profiler told with what the manifest says of the layers.

    Args:
        found: What `process.profile_engine` gives.
        manifest: The engine's manifest.
        subject: The ONNX model that it was built from; None if it is not at hand.

    Raises:
        InputError: They do not match, or the engine was not built from that model.
    """
    information = manifest.layers.of_profile(found["profile"])
    entries = [Entry(name=name, time_us=time_us) for name, time_us in found["layers"]]
    parts = parts_of(join(Listed(information=information, rows=None), entries), subject)
    notes = [*parts.notes, *_of_shapes(manifest, found["profile"], found["shapes"])]
    return ProfiledEngine(parts=parts, profiled_us=found["profiled_us"], notes=tuple(notes))


def end_to_end(timed: TimedEngines, model: int, profiled: ProfiledEngine) -> EndToEnd:
    """Return what the reconciliation rests on."""
    return EndToEnd(
        latency_us=1e3 * timed.latency(model).p50,
        profiled_us=profiled.profiled_us,
        enqueue_us=timed.host_us(model),
        streams=profiled.parts.streams,
    )


def _asked(job: Job) -> dict[str, Any]:
    return process.ask(_PROCESS, asdict(job), on_progress=lambda _: None)


def _of_shapes(
    manifest: EngineManifest, profile: int, shapes: dict[str, Sequence[int]]
) -> Iterator[str]:
    """Return at which shapes the bytes of kernels are, where an engine was run at others."""
    for point in manifest.points:
        if (point.profile, point.point) != (profile, "opt"):
            continue
        if any(tuple(shapes.get(name, own)) != tuple(own) for name, own in point.shapes.items()):
            tuned = _told(point.shapes)
            yield f"Kernels' bytes are those at the shapes that the engine is tuned for: {tuned}."


def _told(shapes: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name}:{written(shape)}" for name, shape in shapes.items())
