"""What each picture of a report shows: names, values, and their order. Nothing is drawn here.

The page and the figures draw from these values, so that a fact stands in one place.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from edgeattn.graph.names import modules_around
from edgeattn.profiling.attribution import Attribution
from edgeattn.profiling.owners import Owned
from edgeattn.profiling.sums import Module
from edgeattn.records.kinds import Kind
from edgeattn.records.trace import KIND_TITLES, Difference, Evidence, Trace
from edgeattn.report.bands import UNATTRIBUTABLE
from edgeattn.report.content import Report, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A module in the icicle: as wide as its time, below the module that holds it.

    Attributes:
        name: The last part of its path.
        parent: The place of the tile that holds it; -1 of the whole model.
        start_us: Where it begins, counted from the model's beginning.
        self_us: What of its time no module inside of it takes.
        is_site: Whether it is a site, or lies inside of one.
    """

    name: str
    path: str
    parent: int
    depth: int
    start_us: float
    time_us: float
    self_us: float
    is_site: bool


def icicle(attribution: Attribution) -> tuple[Tile, ...]:
    """Lay out the time by module; a parent stands before its children."""
    sites = {one.site.path for one in attribution.sites}
    children: dict[str, list[Module]] = defaultdict(list)
    for module in attribution.modules:
        children[_parent(module.path)].append(module)
    tiles = [
        Tile(
            name=attribution.trace.name, path="", parent=-1, depth=0, start_us=0.0,
            time_us=attribution.time_us, self_us=0.0, is_site=False,
        )
    ]  # fmt: skip

    def lay(path: str, parent: int) -> None:
        start_us, depth = tiles[parent].start_us, tiles[parent].depth + 1
        for module in children[path]:
            is_site = bool(module.site) or not sites.isdisjoint(modules_around(module.path))
            tiles.append(
                Tile(
                    name=_name(module.path), path=module.path, parent=parent, depth=depth,
                    start_us=start_us, time_us=module.time_us, self_us=module.self_us,
                    is_site=is_site,
                )
            )  # fmt: skip
            lay(module.path, len(tiles) - 1)
            start_us += module.time_us

    lay("", 0)
    left_us = attribution.coverage_us["unattributable"]
    if left_us:
        tiles.append(
            Tile(
                name=UNATTRIBUTABLE, path=UNATTRIBUTABLE, parent=0, depth=1,
                start_us=attribution.time_us - left_us, time_us=left_us, self_us=left_us,
                is_site=False,
            )
        )  # fmt: skip
    return tuple(tiles)


def _name(path: str) -> str:
    """Return a module's own name; a number alone says nothing, and is given with what it counts."""
    name = path[len(_parent(path)) :].lstrip("./") or path
    return f"{_name(_parent(path))}.{name}" if name.isdecimal() and _parent(path) else name


def _parent(path: str) -> str:
    """Return the path of the module around; "" of what lies in the model itself."""
    return path[: max(path.rfind("."), path.rfind("/"), 0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The kernels of one kind, of the backbone or of sites."""

    kind: Kind
    is_site: bool
    time_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A row's time by kind.

    Attributes:
        place: The row's place in the report.
        parts: The backbone's first, then those of sites; their sum is all kernels' time.
        latency_us: End to end.
        interval_us: Of a prediction, its bounds.
        above: Of a prediction, between what bounds it lies above the first, in words; "" if that
            is not known. Its own bounds do not say it, since most of an error hits both.
    """

    place: int
    label: str
    parts: tuple[Part, ...]
    latency_us: float
    interval_us: tuple[float, float] | None
    above: str


def kinds(report: Report) -> dict[Evidence, tuple[Bar, ...]]:
    """Return each row's time by kind; what is measured apart from what is predicted."""
    found: dict[Evidence, list[Bar]] = defaultdict(list)
    for place, row in enumerate(report.rows):
        found[row.trace.evidence].append(_bar(place, row))
    return {evidence: tuple(bars) for evidence, bars in found.items()}


def _bar(place: int, row: Row) -> Bar:
    time_us: dict[tuple[Kind, bool], float] = defaultdict(float)
    for one in row.attribution.kernels:
        at_sites = sum(share.part for share in one.shares if share.site)
        time_us[one.kernel.kind, False] += (1 - at_sites) * one.kernel.time_us
        time_us[one.kernel.kind, True] += at_sites * one.kernel.time_us
    interval_ms = row.trace.interval_ms
    return Bar(
        place=place,
        label=row.label,
        parts=tuple(
            Part(kind=kind, is_site=is_site, time_us=time_us[kind, is_site])
            for is_site in (False, True)
            for kind in KIND_TITLES
            if time_us[kind, is_site] > 0
        ),
        latency_us=1e3 * row.trace.latency_ms.p50,
        interval_us=interval_ms and (1e3 * interval_ms[0], 1e3 * interval_ms[1]),
        above=_above(row.difference),
    )


def _above(difference: Difference | None) -> str:
    if difference is None or difference.predicted90 is None:
        return ""
    low, high = difference.predicted90
    return f"{low:+.0f} to {high:+.0f} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A kernel in the roofline.

    Attributes:
        place: The kernel's place in the attribution.
        operations: Two for each MAC, and one for each operation that FLOP counters skip.
    """

    place: int
    owned: Owned
    operations: float
    traffic_bytes: int

    @property
    def gbps(self) -> float:
        """The bandwidth that it reaches."""
        return self.traffic_bytes / self.owned.kernel.time_us / 1e3

    @property
    def intensity(self) -> float:
        """Operations for each byte that it moves; 0 of a copy."""
        return self.operations / self.traffic_bytes

    @property
    def gops(self) -> float:
        """Billions of operations in a second; 0 of a copy."""
        return self.operations / self.owned.kernel.time_us / 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """Kernels under the roofs of their device.

    Attributes:
        points: Those whose bytes and time are known.
        left_out: How many kernels are not.
        gbps: Memory bandwidth; None if it is not known.
        gops: The compute peak; None if it is not known.
        peak: The compute peak and its precision, in words; "" if it is not known.
    """

    points: tuple[Point, ...]
    left_out: int
    gbps: float | None
    gops: float | None
    peak: str


def roofline(attribution: Attribution) -> Roofline:
    """Place each kernel by its operations and bytes."""
    skipped = _element_ops(attribution.trace)
    points = tuple(
        Point(
            place=place,
            owned=one,
            operations=2 * one.kernel.macs
            + sum(skipped.get(name, 0.0) for name in one.kernel.nodes),
            traffic_bytes=one.kernel.traffic_bytes,
        )
        for place, one in enumerate(attribution.kernels)
        if one.kernel.traffic_bytes and one.kernel.time_us > 0
    )
    machine = attribution.trace.machine
    tflops = machine.peak_tflops
    peak = "" if tflops is None else f"{tflops:.3g} TFLOP/s {machine.peak_precision.upper()}"
    return Roofline(
        points=points,
        left_out=len(attribution.kernels) - len(points),
        gbps=machine.bandwidth_gbps,
        gops=None if tflops is None else 1e3 * tflops,
        peak=peak.strip(),
    )


def _element_ops(trace: Trace) -> dict[str, float]:
    """Return each node's element operations; of a node in several kernels, each one's part."""
    kernels: dict[str, int] = defaultdict(int)
    for kernel in trace.kernels:
        for name in kernel.nodes:
            kernels[name] += 1
    return {node.name: node.element_ops / max(kernels[node.name], 1) for node in trace.nodes}
