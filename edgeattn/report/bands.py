"""What FLOPs see of a model beside what it takes: the picture that makes the point.

MACs, time and bytes are divided among the same bands, in the same order. A site without MACs has
no width in the first, and its share of the second: it opens like a wedge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Final

from edgeattn.profiling.attribution import Attribution

UNATTRIBUTABLE: Final = "unattributable"
# Neighbouring stages that have no site, and no more than this of MACs and time, are one band.
_NARROW: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A site, or what a stage has besides its sites.

    Attributes:
        name: The site's path, or the stage.
        is_site: Which of both it is.
    """

    name: str
    is_site: bool
    macs: float
    time_us: float
    traffic_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One measure of all bands.

    Attributes:
        measure: macs, time_us or traffic_bytes.
        total: Of the whole model.
        edges: Where each band begins, of 1, and where the last ends.
        site_share: What sites have of it, of 1.
    """

    measure: str
    total: float
    edges: tuple[float, ...]
    site_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenCost:
    """What FLOPs see of a model, beside what it takes.

    Attributes:
        bands: The stages in order, each followed by its sites.
        tiers: MACs, time and bytes, as far as they are known.
    """

    bands: tuple[Band, ...]
    tiers: tuple[Tier, ...]


def hidden_cost(attribution: Attribution) -> HiddenCost:
    """Divide MACs, time and bytes among the same bands."""
    stages = [one.name for one in attribution.stages]
    backbone = _backbone(attribution, stages)
    sites = defaultdict(list)
    for one in attribution.sites:
        sites[_stage(one.site.path, stages)].append(
            Band(
                name=one.site.path,
                is_site=True,
                macs=one.cost.macs,
                time_us=one.cost.time_us,
                traffic_bytes=one.cost.traffic_bytes or 0,
            )
        )
    bands = _merged(
        [
            band
            for stage in [*stages, UNATTRIBUTABLE]
            for band in [*filter(_is_something, [backbone[stage]]), *sites[stage]]
        ]
    )
    tiers = [_tier(bands, measure) for measure in ("macs", "time_us", "traffic_bytes")]
    return HiddenCost(bands=tuple(bands), tiers=tuple(one for one in tiers if one.total))


def _backbone(attribution: Attribution, stages: Sequence[str]) -> dict[str, Band]:
    """Return what each stage has besides its sites, and what nobody is known to own."""
    names = [*stages, UNATTRIBUTABLE]
    macs, time_us, traffic = (dict.fromkeys(names, 0.0) for _ in range(3))
    for one in attribution.kernels:
        parts = [(share.module, share.part) for share in one.shares if not share.site]
        for module, part in parts if one.shares else [(UNATTRIBUTABLE, 1.0)]:
            stage = _stage(module, stages)
            time_us[stage] += part * one.kernel.time_us
            traffic[stage] += part * (one.kernel.traffic_bytes or 0)
    for node in attribution.trace.nodes:
        if not node.site:
            macs[_stage(node.module or node.name, stages)] += node.macs
    return {
        name: Band(
            name=name,
            is_site=False,
            macs=macs[name],
            time_us=time_us[name],
            traffic_bytes=traffic[name],
        )
        for name in names
    }


def _is_something(band: Band) -> bool:
    return bool(band.macs or band.time_us or band.traffic_bytes)


def _stage(module: str, stages: Sequence[str]) -> str:
    """Return the stage that a module lies in; what lies in none is unattributable."""
    path = module.replace("/", ".")
    inside = [stage for stage in stages if path == stage or path.startswith(f"{stage}.")]
    return max(inside, key=len, default=UNATTRIBUTABLE)


def _tier(bands: Sequence[Band], measure: str) -> Tier:
    values = [float(getattr(band, measure)) for band in bands]
    total = sum(values)
    of_sites = sum(value for value, band in zip(values, bands, strict=True) if band.is_site)
    return Tier(
        measure=measure,
        total=total,
        edges=tuple(edge / total if total else 0.0 for edge in accumulate(values, initial=0.0)),
        site_share=of_sites / total if total else 0.0,
    )


def _merged(bands: Sequence[Band]) -> list[Band]:
    """Make one band of neighbouring stages that are narrow: a graph without modules has many."""
    wholes = [sum(one.macs for one in bands), sum(one.time_us for one in bands)]

    def is_narrow(band: Band) -> bool:
        least = [_NARROW * whole for whole in wholes]
        return not band.is_site and band.macs <= least[0] and band.time_us <= least[1]

    found = []
    for narrow, run in groupby(bands, is_narrow):
        group = list(run)
        if not narrow or len(group) == 1:
            found += group
            continue
        found.append(
            Band(
                name=f"{group[0].name} … {group[-1].name}",
                is_site=False,
                macs=sum(one.macs for one in group),
                time_us=sum(one.time_us for one in group),
                traffic_bytes=sum(one.traffic_bytes for one in group),
            )
        )
    return found
