"""What a site costs against the same model with the site replaced by identity, kernel by kernel.

Two runs of a whole model differ by more than a small site takes. But their kernels are the same
save around the sites: what came from the same nodes is the same work in both, and counts for
nothing. What is left falls apart into neighbourhoods, one around each site, and each
neighbourhood's difference is what its site costs: its kernels, less those that the site's absence
would have fused otherwise.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeattn.base.groups import Groups
from edgeattn.profiling.owners import Owned


@dataclass(frozen=True, slots=True, kw_only=True)
class Marginals:
    """What sites cost above identity, in µs.

    Attributes:
        by_site: The cost of each site that was replaced. Where neighbourhoods of several are one,
            its difference is divided as their own kernels' times are.
        elsewhere_us: What differs, and is near no site.
        drift: Time of the kernels that are the same, with the sites over without.
    """

    by_site: Mapping[str, float]
    elsewhere_us: float
    drift: float


def marginals(
    attended: Sequence[Owned], plain: Sequence[Owned], replaced: Iterable[str], *, is_measured: bool
) -> Marginals:
    """Compare kernels with and without sites.

    Args:
        attended: The model's kernels.
        plain: Those of the model with its sites replaced by identity.
        replaced: The sites that were replaced.
        is_measured: Whether the two were timed one after the other: what the machine did
            otherwise meanwhile is then taken out, by the kernels that are the same.
    """
    ours, theirs, drift = _unmatched(attended, plain)
    scale = drift if is_measured and drift else 1.0
    groups = _grouped(ours, theirs)
    excess: dict[Hashable, float] = defaultdict(float)
    for side, factor in ((ours, 1.0), (theirs, -scale)):
        for one in side:
            excess[groups.root(_keys(one)[0])] += factor * one.kernel.time_us
    own_us = _own_us(ours)
    roots = {site: groups.root(("site", site)) for site in replaced}
    by_site: dict[str, float] = {}
    for site, root in roots.items():
        beside = [one for one in roots if roots[one] == root]
        weight = sum(own_us[one] for one in beside)
        by_site[site] = excess[root] * (own_us[site] / weight if weight else 1 / len(beside))
    at_sites = set(roots.values())
    return Marginals(
        by_site=by_site,
        elsewhere_us=sum(each for root, each in excess.items() if root not in at_sites),
        drift=drift or 1.0,
    )


def _own_us(kernels: Iterable[Owned]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for one in kernels:
        for share in one.shares:
            if share.site:
                found[share.site] += share.part * one.kernel.time_us
    return found


def _grouped(ours: Sequence[Owned], theirs: Sequence[Owned]) -> Groups:
    """Bring kernels that differ together into neighbourhoods: by nodes, sites and tensors."""
    groups = Groups()
    for one in (*ours, *theirs):
        groups.tie(_keys(one))
    makers = {name: one for one in ours for name in one.kernel.outputs}
    for one in ours:
        for maker in filter(None, map(makers.get, one.kernel.inputs)):
            # A site reaches to what it reads and what reads it, and not from site to site.
            if bool(maker.site) != bool(one.site):
                groups.tie([*_keys(one), *_keys(maker)])
    return groups


def _unmatched(
    attended: Sequence[Owned], plain: Sequence[Owned]
) -> tuple[list[Owned], list[Owned], float]:
    """Return the kernels of both sides that the other has not, and the drift of those it has."""
    theirs: dict[Hashable, list[Owned]] = defaultdict(list)
    for one in plain:
        theirs[_work(one)].append(one)
    counts = Counter(_work(one) for one in plain)
    ours, same_us, same_plain_us = [], 0.0, 0.0
    for one in attended:
        twins = theirs.get(_work(one))
        if twins and counts[_work(one)] and not one.site:
            same_us += one.kernel.time_us
            same_plain_us += twins.pop(0).kernel.time_us
        else:
            ours.append(one)
    left = [one for twins in theirs.values() for one in twins]
    return ours, left, same_us / same_plain_us if same_plain_us else 0.0


def _work(one: Owned) -> Hashable:
    """What a kernel does: its nodes and operator; a copy's is what it is charged to."""
    kernel = one.kernel
    return (kernel.op, frozenset(kernel.nodes), "" if kernel.nodes else one.owner)


def _keys(one: Owned) -> list[Hashable]:
    """What ties a kernel to others: its sites, and its nodes outside of them."""
    sites = [("site", share.site) for share in one.shares if share.site]
    nodes = [("node", name) for name in one.kernel.nodes]
    return [*sites, *nodes] or [("module", one.owner), ("kernel", one.kernel.name)]
