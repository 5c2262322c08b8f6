"""What kernels find in a CPU's last cache: activations of the kernels before, and their weights.

A tensor is there if all that was touched since, itself included, fits: replacement is not strict,
so all of it up to half of the cache, nothing from the whole of it on, and parts in between. Where
other programs, or other guests of a host, share the cache, it is also a matter of time: what nobody
touched for as long as the cache holds things is there, for twice as long is not.

Weights are from the inference before. They fit if all of them do, beside the activations that are
alive at once: ONNX Runtime puts later activations where earlier ones lay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeattn.profiling.predict.gpu.traffic import Traffic


@dataclass(slots=True)
class Cache:
    """A last cache.

    Attributes:
        capacity: Bytes of it.
        holds_us: How long it holds what nobody touches; None if nothing else pushes it out.
    """

    capacity: float
    holds_us: float | None
    _touched: dict[str, tuple[float, float]] = field(default_factory=dict)

    def missed_bytes(self, moved: Traffic, now_us: float) -> float:
        """Return the bytes of a kernel's activations that come from memory, or go there."""
        found, stay = self.found_bytes(moved, now_us)
        return moved.size - found - stay

    def found_bytes(self, moved: Traffic, now_us: float) -> tuple[float, float]:
        """Return the bytes that a kernel reads here, and those that it writes and that stay.

        What it writes stays if all that it moves fits.
        """
        found = sum(self._held(piece.name, piece.size, now_us) for piece in moved.reads)
        written = sum(piece.size for piece in moved.writes)
        return found, written * self._part(moved.size)

    def touch(self, moved: Traffic, now_us: float) -> None:
        """Make a kernel's activations the last that were touched."""
        for piece in (*moved.reads, *moved.writes):
            self._touched.pop(piece.name, None)
            self._touched[piece.name] = (piece.size, now_us)

    def part_of_weights(self, needed_bytes: float, latency_us: float) -> float:
        """Return the part of weights that is there from the inference before.

        Args:
            needed_bytes: All weights, and the activations that are alive at once.
            latency_us: What an inference takes.
        """
        return min(self._part(needed_bytes), self._part_after(latency_us))

    def _held(self, name: str, size: float, now_us: float) -> float:
        since = 0.0
        for other, (other_size, when_us) in reversed(self._touched.items()):
            if other == name:
                return size * min(self._part(since + size), self._part_after(now_us - when_us))
            since += other_size
            if since >= self.capacity:
                break
        return 0.0

    def _part(self, size: float) -> float:
        return min(1.0, max(0.0, 2 - 2 * size / self.capacity))

    def _part_after(self, age_us: float) -> float:
        return 1.0 if self.holds_us is None else min(1.0, max(0.0, 2 - age_us / self.holds_us))


def alive_bytes(activations: Sequence[Traffic]) -> float:
    """Return the most bytes of activations that are needed at once.

    Args:
        activations: What each kernel moves but for its weights, in the order in which they run.
    """
    sizes: dict[str, float] = {}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for place, moved in enumerate(activations):
        for piece in (*moved.reads, *moved.writes):
            sizes[piece.name] = piece.size
            first.setdefault(piece.name, place)
            last[piece.name] = place
    changes = [0.0] * (len(activations) + 1)
    for name, size in sizes.items():
        changes[first[name]] += size
        changes[last[name] + 1] -= size
    alive = most = 0.0
    for change in changes:
        alive += change
        most = max(most, alive)
    return most
