"""Watches a host while models run there: power, clocks, temperatures, throttling, other load.

A script samples on the host, into the room's folder; nothing is sent until it is asked for, while
nothing is timed.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Final

from edgeattn.hosts.looks import Looks
from edgeattn.hosts.meters import Meter, Total, meters, total
from edgeattn.hosts.quiet import Processes, Seen, busy_ticks, facts_of, warnings_of
from edgeattn.records.trace import Power

if TYPE_CHECKING:
    from edgeattn.hosts.connection import Room
    from edgeattn.hosts.probe import HostFacts

_LIMIT_S: Final = 60.0
# How long a host is watched while idle, by whether power can be read there.
_IDLE_S: Final = {True: 2.0, False: 0.5}
# The idle span without what starting it draws.
_SETTLE_S: Final = 0.5
# Fewer readings than this, and a mean of them says little.
_FEWEST: Final = 10
_END_S: Final = 5.0
_CUT: Final = "=== processes"


@contextlib.contextmanager
def watch(room: Room, facts: HostFacts, *, root: str = "") -> Iterator[Watch]:
    """Watch a host for as long as the block lasts.

    Args:
        room: Where what is seen is written meanwhile.
        facts: What is on the host.
        root: A folder there to find its sensors in: nothing, but in tests.

    Raises:
        LostError: The connection broke.
    """
    python = facts.pythons[0].path if facts.pythons else ""
    channel = room.talk(_script("watch.sh"), root, python)
    try:
        assert channel.stdout is not None
        found = Watch(room, facts, is_on=channel.stdout.readline(64).strip() == b"watching")
        yield found
    finally:
        with contextlib.suppress(OSError, ValueError):
            if channel.stdin is not None:
                channel.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            channel.wait(_END_S)
        if channel.poll() is None:
            channel.kill()
            channel.wait()
        if channel.stdout is not None:
            channel.stdout.close()


class Watch:
    """What is seen of a host.

    Args:
        room: Where it is written there.
        facts: What is on the host.
        is_on: Whether the script there runs.
    """

    def __init__(self, room: Room, facts: HostFacts, *, is_on: bool) -> None:
        self._room, self._facts, self._is_on = room, facts, is_on
        self._looks = Looks()
        self._offset = 0
        self._idle: list[tuple[float, float]] = []
        self._ran: list[tuple[float, float]] = []
        self._few: int | None = None
        self._busy_before: float | None = None
        self._after: Processes | None = None
        self._before = self._processes(0.0)[1]
        if is_on:
            self._looks.columns(room.read("columns").decode(errors="replace"))

    def idle(self, seconds: float | None = None) -> None:
        """Watch the host while nothing of ours runs there, before anything does.

        What runs afterwards is set against this: power, and what other processes have.

        Args:
            seconds: How long; by default as long as its power needs, if that can be read.
        """
        if seconds is None:
            seconds = _IDLE_S[bool(self._facts.rails)]
        self._after = None
        moments, self._before = self._processes(seconds)
        if len(moments) == 2:
            (began_s, busy), (ended_s, busy_after) = moments
            self._idle.append((began_s + min(_SETTLE_S, seconds / 4), ended_s))
            busy_s = (busy_after - busy) / self._before.ticks_per_s
            self._busy_before = busy_s / max(ended_s - began_s, 0.01)

    def power(
        self, spans: Sequence[tuple[float, float]], runs: int | Sequence[int]
    ) -> Power | None:
        """Return what was drawn while a model ran.

        Args:
            spans: When it ran, in seconds of the host's uptime (/proc/uptime), inferences one after
                another and nothing else: a span for each round.
            runs: How many inferences that were; of each span, or of all, which are then taken to
                take as long in each.

        Returns:
            None where the board tells nothing, or nothing was read meanwhile.
        """
        self._ran += spans
        self._after = self._fetch()
        found = meters(self._looks.power, self._looks.counted, self._looks.ranges_j)
        chosen = total(found)
        lengths = [ended - began for began, ended in spans]
        if chosen is None or sum(lengths) <= 0:
            return None
        counts = [runs * one / sum(lengths) for one in lengths] if isinstance(runs, int) else runs
        drawn = [_energy_j(found, chosen, *span) for span in spans]
        known = [(one, s) for one, s in zip(drawn, lengths, strict=True) if one is not None]
        readings = sum(min(found[rail].readings(*span) for rail in chosen.rails) for span in spans)
        self._few = readings if self._few is None else min(readings, self._few)
        if not known or sum(counts) <= 0:
            return None
        mean_w = sum(one for one, _ in known) / sum(s for _, s in known)
        idle_w = self._idle_w(found, chosen)
        run_s = sum(lengths) / sum(counts)
        return Power(
            rail=str(chosen),
            covers=chosen.covers,
            source=self._looks.by,
            mean_w=mean_w,
            idle_w=idle_w,
            energy_mj=1e3 * mean_w * run_s,
            above_idle_mj=None if idle_w is None else 1e3 * (mean_w - idle_w) * run_s,
            rounds_mj=tuple(
                1e3 * one / count if one is not None and count else None
                for one, count in zip(drawn, counts, strict=True)
            ),
            seconds=sum(lengths),
            runs=round(sum(counts)),
            readings=readings,
            rails_w={
                rail: sum(one for one, _ in of_rail) / sum(s for _, s in of_rail)
                for rail, meter in found.items()
                if (of_rail := _known(meter, spans))
            },
        )

    def warnings(self) -> list[str]:
        """Return why what was measured is not to be trusted."""
        if not self._is_on:
            return ["The host could not be watched: clocks, heat and other load are not known."]
        found = warnings_of(self._seen(), self._facts)
        if self._few is not None and self._few < _FEWEST:
            found.append(
                f"Power was read {self._few} times only while a model ran: measure it for longer."
            )
        return found

    def facts(self) -> dict[str, str]:
        """Return what is known of the host while models ran: clocks, temperatures, load, power."""
        if not self._is_on:
            return {}
        found = facts_of(self._seen(), self._facts)
        rails = [rail for _, watts in (*self._looks.power, *self._looks.counted) for rail in watts]
        chosen = total(rails)
        told = "not to be had: the board tells none that we may read"
        if chosen is not None:
            told = f"{chosen}, {chosen.covers}; by {self._looks.by}"
        return {**found, "power": told}

    def _seen(self) -> Seen:
        if self._after is None:
            self._after = self._fetch()
        return Seen(
            looks=self._looks,
            idle=tuple(self._idle),
            ran=tuple(self._ran),
            before=self._before,
            after=self._after,
            busy_before=self._busy_before,
        )

    def _idle_w(self, found: dict[str, Meter], chosen: Total) -> float | None:
        drawn = [(_energy_j(found, chosen, *span), span[1] - span[0]) for span in self._idle]
        known = [(one, s) for one, s in drawn if one is not None]
        return sum(one for one, _ in known) / sum(s for _, s in known) if known else None

    def _fetch(self) -> Processes:
        """Fetch what was seen since the last time, and return what every process has had."""
        if not self._is_on:
            return Processes()
        script = f"{_script('')}\ntail -c +\"$2\" samples; printf '\\n{_CUT}\\n'; processes"
        ran = self._room.sh(script, "", str(self._offset + 1), limit_s=_LIMIT_S)
        data, _, rest = ran.stdout.partition(f"\n{_CUT}\n".encode())
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        self._looks.add(whole.decode(errors="replace"))
        return Processes.read(rest.decode(errors="replace").split("\n"))

    def _processes(self, seconds: float) -> tuple[list[tuple[float, float]], Processes]:
        """Wait there, and return what every process has had by then.

        Returns:
            Before and after the wait, when that was, and how many clock ticks processors were busy.
        """
        script = _script("") + '\nmoment; sleep "$2" || sleep 1; moment; processes'
        ran = self._room.sh(script, "", f"{seconds:g}", limit_s=_LIMIT_S + seconds)
        before, after, *rest = [*ran.text.split("\n"), "", ""]
        moments = [one for line in (before, after) if (one := busy_ticks(line)) is not None]
        return moments, Processes.read(rest)


def _energy_j(
    found: dict[str, Meter], chosen: Total, began_s: float, ended_s: float
) -> float | None:
    drawn = [found[rail].energy_j(began_s, ended_s) for rail in chosen.rails]
    known = [one for one in drawn if one is not None]
    return sum(known) if len(known) == len(drawn) else None


def _known(meter: Meter, spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the energy and the length of the spans in which a rail was read."""
    drawn = ((meter.energy_j(*span), span[1] - span[0]) for span in spans)
    return [(one, s) for one, s in drawn if one is not None]


def _script(name: str) -> str:
    folder = resources.files("edgeattn.hosts")
    names = ("sensors.sh", *([name] if name else []))
    parts = [folder.joinpath(one).read_text("utf-8") for one in names]
    return "\n".join(["root=${1:-}", *parts])
