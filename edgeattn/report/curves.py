"""What models take at several batches: latency, throughput, energy and memory, by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeattn.records.trace import Evidence
from edgeattn.report.content import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A model at one batch.

    Attributes:
        place: The row's place in the report.
        batch: Images of a run.
        latency_ms: What a run takes.
        interval_ms: Of a prediction, between what bounds.
        images_per_s: How many images it does in a second, runs being made one after another.
        image_ms: What a run takes for each of its images.
        gain: How many times as many images per second that is as at the curve's smallest batch.
        image_mj: Energy of an image; None where it was not read.
    """

    place: int
    batch: int
    latency_ms: float
    interval_ms: tuple[float, float] | None
    images_per_s: float
    image_ms: float
    gain: float
    image_mj: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A model at several batches.

    Attributes:
        label: What is called so in the report.
        device: What it ran on, or is predicted for.
        evidence: Whether it was measured or predicted.
        points: From the smallest batch to the largest.
    """

    label: str
    device: str
    evidence: Evidence
    points: tuple[Point, ...]

    @property
    def best(self) -> Point:
        """The point of the most images per second; of equals, that of the smallest batch."""
        return max(self.points, key=lambda one: one.images_per_s)

    @property
    def summary(self) -> str:
        """What the largest throughput is, and where, in a sentence."""
        best, first = self.best, self.points[0]
        most = f"{self.label}: at most {best.images_per_s:.4g} images/s, at batch {best.batch}"
        if best is first:
            return f"{most}; larger batches give none more."
        return f"{most}, {best.gain:.2f} times those of batch {first.batch}."


def curves(rows: Sequence[Row]) -> tuple[Curve, ...]:
    """Return the curves of a report: of each model, as it ran, at more than one batch."""
    groups: dict[tuple[str, ...], dict[int, int]] = {}
    for place, row in enumerate(rows):
        if row.batch is not None and row.trace.latency_ms.p50 > 0:
            mode = row.trace.machine.power_mode
            group = groups.setdefault((row.model, mode, *row.ran[:-1]), {})
            group.setdefault(row.batch, place)
    found = []
    for places in groups.values():
        if len(places) > 1:
            row = rows[next(iter(places.values()))]
            found.append(
                Curve(
                    label=row.model,
                    device=row.device,
                    evidence=row.trace.evidence,
                    points=_points(rows, [places[batch] for batch in sorted(places)]),
                )
            )
    return tuple(found)


def _points(rows: Sequence[Row], places: Sequence[int]) -> tuple[Point, ...]:
    found: list[Point] = []
    for place in places:
        trace = rows[place].trace
        assert trace.batch is not None
        latency_ms, power = trace.latency_ms.p50, trace.power
        rate = 1e3 * trace.batch / latency_ms
        found.append(
            Point(
                place=place,
                batch=trace.batch,
                latency_ms=latency_ms,
                interval_ms=trace.interval_ms,
                images_per_s=rate,
                image_ms=latency_ms / trace.batch,
                gain=rate / found[0].images_per_s if found else 1.0,
                image_mj=None if power is None else power.energy_mj / trace.batch,
            )
        )
    return tuple(found)
