"""A report as a trace that Perfetto and chrome://tracing open, in the Trace Event Format.

Each model is a process. Its kernels are laid end to end, in their order, on a thread for each
stream: their times are theirs, where they stand is not, for nothing measured when each began.
Beside them stand the modules, nested as their paths are, and the sites.

Slices of one thread must nest: they are counted in whole nanoseconds, so that no rounding makes
one reach beyond the one that holds it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Final

from edgeattn.base.versions import own_version
from edgeattn.profiling.owners import Owned
from edgeattn.profiling.sums import around
from edgeattn.records.trace import RUNTIMES
from edgeattn.report.content import Report, Row

# The numbers of threads: so many for a process, and for a stream of it.
_OF_PROCESS: Final = 10_000
_OF_STREAM: Final = 10

Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A kernel, and where it stands on its stream.

    Attributes:
        around: The modules that its owner lies in, outermost first, and the owner itself.
    """

    owned: Owned
    start_ns: int
    end_ns: int
    around: tuple[str, ...]


def trace_events(report: Report) -> dict[str, Any]:
    """Return the JSON of a trace.

    Returns:
        An object of the Trace Event Format: complete events, in µs, and the names of the processes
        and threads that they stand on.
    """
    rows = enumerate(report.rows, start=1)
    return {
        "traceEvents": [event for process, row in rows for event in _process(process, row)],
        "displayTimeUnit": "ns",
        "otherData": {
            "edgeattn": own_version(),
            "title": report.title,
            "command": report.command,
            "placement": "Kernels are laid end to end: when each began was not measured.",
        },
    }


def _process(process: int, row: Row) -> Iterator[Event]:
    machine = row.trace.machine
    where = f"{row.trace.evidence} on {machine.title}"
    labels = [
        where,
        machine.power_mode,
        f"{RUNTIMES[row.trace.runtime]} {row.trace.runtime_version}",
    ]
    if machine.not_for:
        labels.append(f"not this device's own plan: {machine.not_for}")
    yield _named("process_name", process, name=f"{row.label} ({where})")
    yield _named("process_labels", process, labels=", ".join(filter(None, labels)))
    yield _named("process_sort_index", process, sort_index=process)
    # Kernels of several streams overlap, so each stream has its own modules and sites.
    for at, (stream, placed) in enumerate(sorted(_streams(row.attribution.kernels).items())):
        tracks = {
            f"kernels, stream {stream}": [_kernel(one) for one in placed],
            f"sites, stream {stream}": list(_sites(placed)),
            f"modules, stream {stream}": list(_modules(placed)),
        }
        for track, (name, slices) in enumerate(tracks.items()):
            thread = process * _OF_PROCESS + at * _OF_STREAM + track
            yield _named("thread_name", process, thread, name=name)
            yield _named("thread_sort_index", process, thread, sort_index=thread)
            yield from ({**one, "pid": process, "tid": thread} for one in slices)


def _named(what: str, process: int, thread: int = 0, **args: str | int) -> Event:
    """Return a metadata event."""
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "ts": 0, "args": args}


def _streams(kernels: Sequence[Owned]) -> dict[int, list[_Placed]]:
    """Lay the kernels of each stream end to end."""
    placed: dict[int, list[_Placed]] = defaultdict(list)
    ends_us: dict[int, float] = defaultdict(float)
    for one in kernels:
        stream = one.kernel.stream
        start_us = ends_us[stream]
        ends_us[stream] += one.kernel.time_us
        placed[stream].append(
            _Placed(
                owned=one,
                start_ns=round(1e3 * start_us),
                end_ns=round(1e3 * ends_us[stream]),
                around=tuple(around(one.owner)),
            )
        )
    return placed


def _slice(name: str, category: str, run: Sequence[_Placed], args: dict[str, Any]) -> Event:
    start_ns, end_ns = run[0].start_ns, run[-1].end_ns
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "ts": start_ns / 1e3,
        "dur": (end_ns - start_ns) / 1e3,
        "args": args,
    }


def _kernel(one: _Placed) -> Event:
    owned, kernel = one.owned, one.owned.kernel
    args: dict[str, Any] = {
        "kind": kernel.kind,
        "op": kernel.op,
        "owner": owned.owner,
        "site": owned.site,
        "status": owned.status,
        "bytes": kernel.traffic_bytes,
        "macs": kernel.macs,
        "nodes": list(kernel.nodes),
        "cause": owned.cause,
        "precision": kernel.precision,
        "bound": kernel.bound,
        "interval_us": kernel.interval_us and list(kernel.interval_us),
        "shares": [asdict(share) for share in owned.shares] if owned.status == "shared" else [],
    }
    said = {name: value for name, value in args.items() if value not in (None, "", [])}
    return _slice(kernel.name, kernel.kind, [one], said)


def _sites(placed: Sequence[_Placed]) -> Iterator[Event]:
    for site, run in groupby(placed, lambda one: one.owned.site):
        if site:
            group = list(run)
            yield _slice(site, "site", group, {"kernels": len(group)})


def _modules(placed: Iterable[_Placed], depth: int = 0) -> Iterator[Event]:
    """Return slices of neighbouring kernels that have a module in common; the outer stand first."""

    def module(one: _Placed) -> str:
        return one.around[depth] if depth < len(one.around) else ""

    for name, run in groupby(placed, module):
        if name:
            group = list(run)
            yield _slice(name, "module", group, {"kernels": len(group)})
            yield from _modules(group, depth + 1)
