"""torch in eager mode on this machine, measured: latency, and the time of each module.

Nothing is fused: every operation of a module's forward goes through memory. It is what a model
costs while it is written, and no forecast of what an engine makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from edgeattn.base import worker as process
from edgeattn.base.versions import version_of
from edgeattn.options.model import ModelRequest
from edgeattn.options.profile import ProfileOptions, Stage
from edgeattn.profiling.measure.machine import Watch, warnings_of
from edgeattn.profiling.measure.rounds import Limits, Timed, take_processes, timed_of
from edgeattn.profiling.measure.tensorrt.nvml import Clocks
from edgeattn.profiling.sources.model import Known
from edgeattn.records.trace import Kernel, Node, Site
from edgeattn.runtimes.runner import usable_cores

_PROCESS: Final = "edgeattn.profiling.measure.torch.process"
_ONE_GRAPH: Final = (
    "The model is an exported program, one graph without modules: all of its time is the root's."
)

#: A request for a model, as JSON takes it.
REQUEST: Final = TypeAdapter(ModelRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How models are run.

    Attributes:
        threads: Threads of the CPU.
        device: Where; None for the GPU where torch sees one, and else the CPU.
        limit_s: Seconds after which no new window of runs begins.
        batch: How often inputs are repeated along their first dimension.
        precise_to: As `Limits.precise_to`.
        clear_of: As `Limits.clear_of`.
    """

    threads: int
    device: Literal["cpu", "cuda"] | None = None
    limit_s: float = 30.0
    batch: int = 1
    precise_to: float | None = None
    clear_of: float | None = None

    @classmethod
    def of(cls, options: ProfileOptions) -> RunOptions:
        """Return what torch is asked; as many threads as there are cores by default."""
        threads = options.threads or usable_cores()
        return cls(
            threads=threads,
            limit_s=options.limit_s,
            batch=options.batch,
            precise_to=options.precise_to,
            clear_of=options.clear_of,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledModules(Known):
    """A model by its modules: its nodes are all that were called.

    Attributes:
        kernels: Its modules that took time of their own, as kernels.
        source: Where the model is from.
        batch: The first size of its first input; None if it has none.
        weights_bytes: What its parameters and buffers take.
        profiled_us: What the whole run took while each module was timed.
        enqueue_us: What the host takes to enqueue a run on a GPU; None on a CPU.
    """

    kernels: tuple[Kernel, ...]
    source: str
    batch: int | None
    weights_bytes: int
    profiled_us: float
    enqueue_us: float | None


def time_models(
    requests: Sequence[ModelRequest], options: RunOptions, *, on_progress: Stage = lambda _: None
) -> Timed:
    """Measure models end to end, without hooks; several in interleaved rounds.

    Args:
        requests: The models.
        options: How they are run.
        on_progress: Told how far it is.

    Raises:
        InputError: One of them cannot be built, or does not run.
        MissingError: Weights or a GPU are not here.
    """
    watch = Watch()
    found, said = take_processes(
        len(requests),
        lambda number: _asked("time", requests, options, number=number),
        Limits.of(options),
        on_progress=on_progress,
    )
    clocks = Clocks(look for one in said for look in one["clocks"])
    gpu = said[-1]["gpu"]
    warnings = [*warnings_of(watch.load()), *clocks.warnings]
    facts = {"GPU": gpu, **clocks.facts} if gpu else {}
    return Timed(**timed_of(found | {"warnings": warnings, "facts": facts}))


def profile_modules(request: ModelRequest, options: RunOptions) -> ProfiledModules:
    """Measure each module of a model.

    Args:
        request: The model.
        options: How it is run.

    Raises:
        InputError: As `time_models`.
        MissingError: As `time_models`.
    """
    found = _asked("profile", [request], options)
    return ProfiledModules(
        kernels=tuple(Kernel(**one) for one in found["kernels"]),
        nodes=tuple(Node(**one) for one in found["nodes"]),
        sites=tuple(Site(**one) for one in found["sites"]),
        params=found["params"],
        source=found["source"],
        batch=found["batch"],
        weights_bytes=found["weights_bytes"],
        profiled_us=found["profiled_us"],
        enqueue_us=found["enqueue_us"],
        notes=(*found["notes"], *([_ONE_GRAPH] if found["is_program"] else [])),
    )


def version() -> str:
    """Return the version of torch."""
    return version_of("torch") or "unknown"


def _asked(
    task: str, requests: Sequence[ModelRequest], options: RunOptions, **more: Any
) -> dict[str, Any]:
    models = [REQUEST.dump_python(one, mode="json") for one in requests]
    job = {"task": task, "models": models, **asdict(options), **more}
    return process.ask(_PROCESS, job, on_progress=lambda _: None)
