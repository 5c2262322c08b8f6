"""Sums of kernels: by kind, by stage, and over the tree of modules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edgeattn.profiling.owners import Owned
from edgeattn.records.kinds import Kind
from edgeattn.records.trace import KIND_TITLES, SourceLines, Trace

# A module that takes more than this of the time is no stage, but holds stages.
_HOLDS_STAGES: Final = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Kernels that have something in common: `time_us`, their number and bytes are sums.

    `traffic_bytes` is None if none of them tells its bytes.
    """

    name: str
    time_us: float
    kernels: int
    traffic_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesCost:
    """Lines of an author's own attention, and what the parts of kernels take that are theirs."""

    lines: SourceLines
    sum: Sum


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module of the tree: `time_us` is with what lies inside of it, `self_us` without."""

    path: str
    time_us: float
    self_us: float
    site: str


def summed(
    kernels: Iterable[Owned], names: Callable[[Owned], Iterable[tuple[str, float]]]
) -> dict[str, Sum]:
    """Sum kernels up by names; a kernel goes to several in parts."""
    found: dict[str, Sum] = {}
    for one in kernels:
        for name, part in names(one):
            known = found.get(name) or Sum(name=name, time_us=0.0, kernels=0, traffic_bytes=None)
            traffic = known.traffic_bytes
            if one.kernel.traffic_bytes is not None:
                traffic = (traffic or 0) + round(part * one.kernel.traffic_bytes)
            found[name] = Sum(
                name=name,
                time_us=known.time_us + part * one.kernel.time_us,
                kernels=known.kernels + 1,
                traffic_bytes=traffic,
            )
    return found


def by_kind(kernels: Iterable[Owned], *, of_sites: bool = False) -> tuple[Sum, ...]:
    """Sum up by kind, in the order of a table.

    Args:
        kernels: The kernels.
        of_sites: Take only the parts of them that are sites'.
    """

    def parts(one: Owned) -> list[tuple[str, float]]:
        if not of_sites:
            return [(one.kernel.kind, 1.0)]
        part = sum(share.part for share in one.shares if share.site)
        return [(one.kernel.kind, part)] if part else []

    found = summed(kernels, parts)
    kinds: tuple[Kind, ...] = tuple(KIND_TITLES)
    return tuple(found[kind] for kind in kinds if kind in found)


def _parts_of(module: str) -> list[str]:
    """Split a module's path: at dots, and where torch did not name it, at slashes."""
    return module.replace("/", ".").split(".")


def by_lines(kernels: Iterable[Owned], trace: Trace) -> tuple[LinesCost, ...]:
    """Sum up the parts of kernels that are sites' of authors' own attentions, by their lines.

    A kernel of several is apportioned by the bytes that each one's nodes would move by themselves,
    as between sites. A layout copy is of the lines of the kernel that it is charged to.
    """
    line_of = {name: place for place, one in enumerate(trace.lines) for name in one.nodes}
    nodes = {node.name: node for node in trace.nodes if node.name in line_of}
    kernels = list(kernels)
    named = {one.kernel.name: one for one in kernels}

    def parts(one: Owned) -> list[tuple[str, float]]:
        cause = one
        while cause.cause in named and not cause.kernel.nodes:
            cause = named[cause.cause]
        found: list[tuple[str, float]] = []
        for share in one.shares:
            own = [nodes[name] for name in cause.kernel.nodes if name in nodes]
            own = [node for node in own if node.site == share.site]
            total = sum(node.traffic_bytes for node in own)
            moved: dict[int, float] = defaultdict(float)
            for node in own:
                each = node.traffic_bytes / total if total else 1 / len(own)
                moved[line_of[node.name]] += share.part * each
            found += [(str(place), part) for place, part in moved.items()]
        return found

    found = summed(kernels, parts)
    return tuple(
        LinesCost(lines=one, sum=found[str(place)])
        for place, one in enumerate(trace.lines)
        if str(place) in found
    )


def by_stage(kernels: Sequence[Owned]) -> tuple[Sum, ...]:
    """Sum up by the children of the root; one that holds most of the time gives its own."""
    total = sum(one.kernel.time_us for one in kernels)
    first = summed(kernels, lambda one: [(_parts_of(s.module)[0], s.part) for s in one.shares])
    wide = {name for name, one in first.items() if one.time_us > _HOLDS_STAGES * total}

    def stage(module: str) -> str:
        parts = _parts_of(module)
        return ".".join(parts[: 2 if parts[0] in wide else 1])

    return tuple(
        summed(kernels, lambda one: [(stage(s.module), s.part) for s in one.shares]).values()
    )


def tree(kernels: Sequence[Owned]) -> tuple[Module, ...]:
    """Draw up the tree of modules."""
    inclusive: dict[str, float] = defaultdict(float)
    own: dict[str, float] = defaultdict(float)
    sites: dict[str, str] = {}
    for one in kernels:
        for share in one.shares:
            time_us = share.part * one.kernel.time_us
            own[share.module] += time_us
            for path in around(share.module):
                inclusive[path] += time_us
            if share.site:
                sites[share.module] = share.site
    at_sites = set(sites.values())
    return tuple(
        Module(
            path=path,
            time_us=time_us,
            self_us=own.get(path, 0.0),
            site=sites.get(path, path if path in at_sites else ""),
        )
        for path, time_us in inclusive.items()
    )


def around(module: str) -> Iterator[str]:
    """Return the modules that a module lies in, outermost first, and itself."""
    for place, character in enumerate(module):
        if character in "./" and place:
            yield module[:place]
    yield module
