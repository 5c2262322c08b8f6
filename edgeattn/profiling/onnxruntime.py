"""ONNX Runtime on the CPU, measured: latency, the time of each node, and what sites add."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeattn.graph.kinds import kind_of, strongest
from edgeattn.profiling import child, samples
from edgeattn.profiling.machine import Load, cpu_name, usable_cores, warnings_of
from edgeattn.profiling.onnxruntime_graph import NAMELESS, Origin, name_all, origins
from edgeattn.profiling.onnxruntime_process import Job
from edgeattn.profiling.trace import Difference, EndToEnd, Identity, Kernel, Latency

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeattn.profiling.model import Subject

_PROCESS: Final = "edgeattn.profiling.onnxruntime_process"
_PRECISIONS: Final = {"float": "fp32", "float16": "fp16", "int8": "int8", "uint8": "int8"}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How models are run.

    Attributes:
        threads: Threads of each session.
        batch: What an open first dimension stands for.
        shapes: The shape of each input; none for the model's own.
        seed: Seed of the inputs.
        limit_s: Seconds after which no new window of runs begins.
    """

    threads: int
    batch: int = 1
    shapes: tuple[tuple[int, ...], ...] = ()
    seed: int = 0
    limit_s: float = 30.0

    @classmethod
    def here(cls, **asked: Any) -> RunOptions:
        """Gives options with as many threads as there are cores for this process."""
        return cls(threads=asked.pop("threads", None) or usable_cores(), **asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Models that were run in turns.

    Attributes:
        samples_ms: The latency of each model in each round that was kept.
        windows: How many windows of rounds there were.
        agree: Whether the last three agreed.
        load: What else the machine did.
    """

    samples_ms: tuple[tuple[float, ...], ...]
    windows: int
    agree: bool
    load: Load

    @property
    def latency(self) -> Latency:
        """The latency of the first model."""
        return samples.latency(self.samples_ms[0])

    def difference(self, a: int, b: int) -> Difference:
        """Says what model `a` takes above model `b`."""
        return samples.difference(self.samples_ms[a], self.samples_ms[b])

    @property
    def warnings(self) -> list[str]:
        """Why the figures are not to be trusted."""
        found = warnings_of(self.load)
        if not self.agree:
            found.append(
                f"No {samples.WINDOWS} windows of runs agreed within {samples.AGREEMENT:.0%}, of"
                f" {self.windows}."
            )
        return found


def time_models(
    paths: Sequence[Path], options: RunOptions, *, on_progress: Progress = lambda _: None
) -> Timed:
    """Measures models end to end, without the profiler; several in interleaved rounds.

    Args:
        paths: The ONNX files.
        options: How they are run.
        on_progress: Told how far it is.

    Raises:
        InputError: ONNX Runtime does not load one of them, or fails while it runs.
    """
    job = Job(task="time", models=tuple(map(str, paths)), **_asked(options))
    found = child.run(
        _PROCESS,
        asdict(job),
        on_progress=lambda said: on_progress(
            f"window {said['windows']}, {said['rounds']} rounds,"
            f" {', '.join(f'{one:.2f}' for one in said['p50_ms'][:4])} ms"
        ),
    )
    load = found["load"]
    clock = load["clock_mhz"]
    return Timed(
        samples_ms=tuple(tuple(column) for column in found["samples_ms"]),
        windows=found["windows"],
        agree=found["agree"],
        load=Load(**(load | {"clock_mhz": None if clock is None else tuple(clock)})),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """A model's kernels, and what the whole run took while they were timed, in µs."""

    kernels: tuple[Kernel, ...]
    profiled_us: float


def profile_kernels(
    path: Path,
    model: ir.Model,
    costs: Mapping[str, int],
    options: RunOptions,
    *,
    once: bool = False,
) -> Profiled:
    """Takes a model through ONNX Runtime's profiler.

    Args:
        path: The ONNX file.
        model: Its model.
        costs: Multiply-accumulates of each of its nodes.
        options: How it is run.
        once: Run it once, for its kernels and shapes: the times mean nothing then.

    Raises:
        InputError: ONNX Runtime does not load it, or fails while it runs.
    """
    import onnx_ir

    with tempfile.TemporaryDirectory(prefix="edgeattn-profile-") as folder:
        job = Job(task="profile", models=(str(path),), folder=folder, once=once, **_asked(options))
        found = child.run(_PROCESS, asdict(job))
        optimised = onnx_ir.load(Path(folder) / "optimised.onnx")
        name_all(optimised)
        known = origins(model, optimised)
    rows = list(_named(found["nodes"], optimised))
    return Profiled(kernels=tuple(_kernels(rows, known, model, costs)),
                    profiled_us=found["profiled_us"])  # fmt: skip


def identity_of(
    subject: Subject,
    timed_path: Path,
    folder: Path,
    options: RunOptions,
    *,
    on_progress: Progress = lambda _: None,
) -> tuple[Identity, list[str]]:
    """Measures the same model with its sites replaced by identity, in turns with the model.

    Args:
        subject: The model.
        timed_path: The file of it that is run.
        folder: Where the other may be written.
        options: How they are run.
        on_progress: Told how far it is.

    Returns:
        What was found, and what makes it doubtful.
    """
    from edgeattn.artifacts import save
    from edgeattn.graph import identity

    plain = subject.model.clone()
    refused = identity.replace(plain, subject.parts)
    path = folder / "identity.onnx"
    save(plain, path, external=True)
    costs = {node.name: node.macs for node in subject.nodes}
    kernels = profile_kernels(path, plain, costs, options).kernels
    timed = time_models((timed_path, path), options, on_progress=on_progress)
    return Identity(
        kernels=kernels,
        difference=timed.difference(0, 1),
        replaced=tuple(site.path for site in subject.sites if site.path not in refused),
        kept=refused,
    ), timed.warnings


def version() -> str:
    """Gives the version of ONNX Runtime."""
    from edgeattn.versions import version_of

    return version_of("onnxruntime") or version_of("onnxruntime-gpu") or "unknown"


def end_to_end(latency: Latency, profiled: Profiled) -> EndToEnd:
    """Gives what the reconciliation rests on."""
    return EndToEnd(latency_us=1e3 * latency.p50, profiled_us=profiled.profiled_us)


def processor(options: RunOptions) -> str:
    """Names the processor and the threads."""
    return f"{cpu_name()}, {options.threads} threads"


def _asked(options: RunOptions) -> dict[str, Any]:
    return asdict(options)


def _named(rows: Sequence[dict[str, Any]], optimised: ir.Model) -> Iterator[dict[str, Any]]:
    """Gives nodes that have no name in the graph the names that `name_all` gave them.

    The profiler calls them by operator and index; they come in the graph's order.
    """
    known = {node.name for node in optimised.graph}
    nameless: dict[str, list[str]] = {}
    for node in optimised.graph:
        if (node.name or "").startswith(NAMELESS):
            nameless.setdefault(node.op_type, []).append(node.name or "")
    for row in rows:
        waiting = nameless.get(row["op"], [])
        if row["name"] in known or not waiting:
            yield row
        else:
            yield row | {"name": waiting.pop(0)}


def _kernels(
    rows: Sequence[dict[str, Any]],
    known: Mapping[str, Origin],
    model: ir.Model,
    costs: Mapping[str, int],
) -> Iterator[Kernel]:
    ops = {node.name or "": node.op_type for node in model.graph}
    counted: Counter[str] = Counter()
    nowhere = Origin(nodes=(), inputs=(), outputs=())
    for row in rows:
        origin = known.get(row["name"], nowhere)
        kind = kind_of(row["op"])
        macs = 0
        for node in origin.nodes:
            # A layer that is two kernels is computed in one of them.
            if kind_of(ops.get(node, "")) == kind and not counted[node]:
                macs += costs.get(node, 0)
                counted[node] += 1
        yield Kernel(
            name=row["name"],
            op=row["op"],
            kind=_kind(row, origin, ops),
            time_us=float(row["time_us"]),
            traffic_bytes=row["traffic_bytes"],
            macs=macs,
            nodes=origin.nodes,
            inputs=origin.inputs,
            outputs=origin.outputs,
            causes=origin.causes,
            precision=_PRECISIONS.get(row["dtype"], ""),
        )


def _kind(row: Mapping[str, Any], origin: Origin, ops: Mapping[str, str]) -> Any:
    """Gives the kind of a kernel: its operator's, unless that is one that stands for others."""
    if row["op"] in ops.values() or not origin.nodes:
        return kind_of(row["op"])
    of_nodes = strongest(kind_of(ops.get(node, "")) for node in origin.nodes)
    return kind_of(row["op"]) if of_nodes is None else of_nodes
