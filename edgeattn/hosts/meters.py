"""Energy from what a host tells of its power: which rail is all of it, and what a span drew."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

#: What tegrastats says of a rail: its name, what it draws now in mW, and the mean so far. JetPack 4
#: leaves the unit out. Memory, which has the same form, is in MB.
TEGRASTATS_RAIL: Final = re.compile(
    r"\b([A-Z][A-Z0-9_]*) (-?\d{1,9})(?:mW)?/-?\d{1,9}(?:mW)?(?=\s|$)"
)
_MODULE: Final = "the whole module"
# Rails that are all of it, or whose sum is, and what that feeds; the first that is there. NVIDIA's
# guides to the power of each module name them: VDDQ_VDD2_1V8AO is fed by VIN_SYS_5V0, and is in it.
_TOTALS: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("VDD_IN",), _MODULE),
    (("POM_5V_IN",), _MODULE),
    (("VIN",), "the whole board"),
    (("ina238",), "the whole board"),
    (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), _MODULE),
    (("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"), _MODULE),
    (("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), _MODULE),
    (("psys",), "the whole machine"),
)
#: The GPU on a card, as a rail.
CARD: Final = "card"
_PACKAGE: Final = "package-"
_OF_CARD: Final = "the GPU's card alone, without the processor"
_OF_BOTH: Final = "the GPU's card and the processor, without memory"
_OF_PACKAGES: Final = "the processor alone, without memory, and without a GPU on a card"
_OF_ALL: Final = "every rail that it tells, of which some may feed others and count twice"
# Longer than this without a reading, and nobody knows what was drawn.
_GAP_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Total:
    """The rails whose sum is what a device draws, and what they feed."""

    rails: tuple[str, ...]
    covers: str

    def __str__(self) -> str:
        return " + ".join(self.rails)


def total(rails: Iterable[str]) -> Total | None:
    """Return the rails that are all of it; None if there is none at all."""
    there = list(dict.fromkeys(rails))
    for wanted, covers in _TOTALS:
        if set(wanted) <= set(there):
            return Total(wanted, covers)
    packages = tuple(one for one in there if one.startswith(_PACKAGE))
    if CARD in there:
        return Total((CARD, *packages), _OF_BOTH if packages else _OF_CARD)
    if packages:
        return Total(packages, _OF_PACKAGES)
    return Total(tuple(there), _OF_ALL) if there else None


class Meter:
    """What a rail drew, reading by reading.

    Args:
        times_s: When it was read, in order.
        watts: What it drew then, if that is what is read.
        joules: What it had drawn by then, if that is what is read.
    """

    def __init__(
        self,
        times_s: Sequence[float],
        *,
        watts: Sequence[float] = (),
        joules: Sequence[float] = (),
    ) -> None:
        self._times, self._watts, self._joules = times_s, watts, joules

    @classmethod
    def of_counter(cls, times_s: Sequence[float], joules: Sequence[float], range_j: float) -> Meter:
        """Return the meter of a rail whose energy is counted, and which begins anew at a range."""
        turns = accumulate((b < a for a, b in pairwise(joules)), initial=0)
        counted = [one + turn * range_j for one, turn in zip(joules, turns, strict=False)]
        return cls(times_s, joules=counted)

    def readings(self, began_s: float, ended_s: float) -> int:
        """Return how often it was read between two times."""
        first, last = self._inside(began_s, ended_s)
        return last - first

    def energy_j(self, began_s: float, ended_s: float) -> float | None:
        """Return what was drawn between two times; None if that is not known.

        Only what was read between them counts: what runs beside may draw more, or less.
        """
        first, last = self._inside(began_s, ended_s)
        times = self._times[first:last]
        if ended_s <= began_s or len(times) < (1 if self._watts else 2):
            return None
        gaps = [b - a for a, b in pairwise((began_s, *times, ended_s))]
        if max(gaps) > _GAP_S or min(gaps[1:-1], default=1.0) <= 0:
            return None
        if self._watts:
            mean_w = sum(self._watts[first:last]) / len(times)
        else:
            mean_w = (self._joules[last - 1] - self._joules[first]) / (times[-1] - times[0])
        return mean_w * (ended_s - began_s)

    def _inside(self, began_s: float, ended_s: float) -> tuple[int, int]:
        return bisect.bisect_left(self._times, began_s), bisect.bisect_right(self._times, ended_s)


def meters(
    power: Sequence[tuple[float, Mapping[str, float]]],
    counted: Sequence[tuple[float, Mapping[str, float]]],
    ranges_j: Mapping[str, float],
) -> dict[str, Meter]:
    """Return the meter of each rail.

    Args:
        power: Readings of power: when, and each rail's watts.
        counted: Readings of counters: when, and each rail's joules.
        ranges_j: What each counter counts up to.
    """
    found = {}
    for rail in dict.fromkeys(rail for _, rails in power for rail in rails):
        rows = [(time_s, rails[rail]) for time_s, rails in power if rail in rails]
        found[rail] = Meter([row[0] for row in rows], watts=[row[1] for row in rows])
    for rail, range_j in ranges_j.items():
        rows = [(time_s, rails[rail]) for time_s, rails in counted if rail in rails]
        found[rail] = Meter.of_counter([r[0] for r in rows], [r[1] for r in rows], range_j)
    return found
