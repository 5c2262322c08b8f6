"""Joins the layers of an engine with what a profiler says that each took.

By position where there are as many, and their names agree; else by name, the layers and the entries
of one name in their order. A profiler is told of layers that are no work as well: what these took
belongs to the whole, and to no kernel.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.engine.layer_profiles import bare
from edgeattn.profiling.sources.trtexec.files import Entry, Listed
from edgeattn.records.layers import LayerInformation

# What TensorRT writes behind names of profiles beyond the first.
_NAMED: Final = re.compile(r" \[profile (\d+)\]$")
_MEND: Final = (
    "Take both from one engine: trtexec --loadEngine=... --profilingVerbosity=detailed"
    " --exportLayerInfo=layers.json --exportProfile=profile.json"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Layers and their times.

    Attributes:
        information: The kernels of the optimisation profile that was run.
        times_us: What each took, in their order.
        others: Name, kind and time of what is no kernel and took time all the same: "" for a kind
            that is not known.
    """

    information: LayerInformation
    times_us: tuple[float, ...]
    others: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True, slots=True)
class _Match:
    """Kernels of one optimisation profile, and the place of the entry of each; None for none."""

    information: LayerInformation
    places: list[int | None]

    @property
    def matched(self) -> int:
        return sum(place is not None for place in self.places)


def join(listed: Listed, entries: Sequence[Entry]) -> Joined:
    """Join layers with a profile.

    Args:
        listed: The layers, of every optimisation profile of the engine.
        entries: The profile, of one of them.

    Raises:
        InputError: Not every layer is in the profile, or something else is.
    """
    best = max(_matches(listed, entries), key=lambda one: one.matched / len(one.places))
    kernels = best.information.kernels
    missing = [k.name for k, place in zip(kernels, best.places, strict=True) if place is None]
    if missing:
        raise InputError(
            f"The profile does not belong to the layers: {best.matched} of {len(kernels)} match,"
            f" and the first that does not is {missing[0]!r}.",
            mend=_MEND,
        )
    taken = [place for place in best.places if place is not None]
    return Joined(
        information=best.information,
        times_us=tuple(entries[place].time_us for place in taken),
        others=tuple(_others(listed, entries, set(taken), len(kernels))),
    )


def by_name(entries: Sequence[Entry]) -> Joined:
    """Return a profile without layers: each entry is a time of its own, of a kind not known."""
    return Joined(
        information=LayerInformation(kernels=(), bindings=(), form="json"),
        times_us=(),
        others=tuple((bare(one.name), "", one.time_us) for one in entries if one.time_us),
    )


def _matches(listed: Listed, entries: Sequence[Entry]) -> Iterator[_Match]:
    """Try every optimisation profile of the engine, the one that entries name before others."""
    information = listed.information
    by_place = _by_place(listed, entries)
    named = max((int(found[1]) for one in entries if (found := _NAMED.search(one.name))), default=0)
    for profile in sorted(information.profiles, key=lambda one: one != named):
        own = information.of_profile(profile)
        if by_place is not None and len(information.profiles) == 1:
            yield _Match(own, list(by_place))
        else:
            yield _Match(own, _by_name([kernel.name for kernel in own.kernels], entries))


def _by_place(listed: Listed, entries: Sequence[Entry]) -> list[int] | None:
    """Return the entry of each kernel by its place among all layers; None if names disagree."""
    if listed.rows is None or len(listed.rows) != len(entries):
        return None
    rows = [(bare(name), kind) for name, kind in listed.rows]
    if any(name != bare(entry.name) for (name, _), entry in zip(rows, entries, strict=True)):
        return None
    waiting = deque((kernel.name, kernel.kind) for kernel in listed.information.kernels)
    places = []
    for place, row in enumerate(rows):
        if waiting and row == waiting[0]:
            waiting.popleft()
            places.append(place)
    return None if waiting else places


def _by_name(names: Sequence[str], entries: Sequence[Entry]) -> list[int | None]:
    left: dict[str, deque[int]] = defaultdict(deque)
    for place, entry in enumerate(entries):
        left[bare(entry.name)].append(place)
    return [left[name].popleft() if left[name] else None for name in names]


def _others(
    listed: Listed, entries: Sequence[Entry], taken: set[int], kernels: int
) -> Iterator[tuple[str, str, float]]:
    """Return the entries that took time, and are no kernel's."""
    idle = {bare(name): kind for name, kind in listed.rows or ()}
    for place, entry in enumerate(entries):
        if place in taken or not entry.time_us:
            continue
        name = bare(entry.name)
        if listed.rows is not None and name not in idle:
            raise InputError(
                f"The profile does not belong to the layers: all {kernels} match, and there is"
                f" {name!r} besides.",
                mend=_MEND,
            )
        yield name, idle.get(name, ""), entry.time_us
