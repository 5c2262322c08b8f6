"""What models take at several batches: latency, throughput, energy and memory, by batch.

Batches are run one after another, not by turns: what one gains on another has the interval of two
runs at different times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edgeattn.profiling import samples
from edgeattn.records.trace import Evidence
from edgeattn.report import memory
from edgeattn.report.content import Row
from edgeattn.report.units import count, millijoules, milliseconds, percent

# What of memory is shown by batch: weights are the same at all of them, and so is loading, mostly.
_BY_BATCH: Final = ("activations, planned", "arena", "process")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A model at one batch.

    Attributes:
        place: The row's place in the report.
        batch: Images of a run.
        latency_ms: What a run takes.
        interval_ms: Between what bounds, measured or predicted; None if that is not known.
        images_per_s: How many images it does in a second, runs being made one after another.
        image_ms: What a run takes for each of its images.
        gain: How many times as many images per second that is as at the curve's smallest batch.
        gain_interval: Between what bounds that lies: 95 % of what was measured, 90 % of what was
            predicted; None of the smallest batch.
        image_mj: Energy of an image; None where it was not read.
    """

    place: int
    batch: int
    latency_ms: float
    interval_ms: tuple[float, float] | None
    images_per_s: float
    image_ms: float
    gain: float
    gain_interval: tuple[float, float] | None
    image_mj: float | None

    @property
    def rate(self) -> str:
        """The images per second, as people read them."""
        return count(float(f"{self.images_per_s:.4g}"))


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
        most = f"{self.label}: at most {best.rate} images/s, at batch {best.batch}"
        if best is first:
            return f"{most}; larger batches give no more."
        if best.gain_interval is None:
            return f"{most}, {best.gain:.2f} times those of batch {first.batch}."
        low, high = best.gain_interval
        said, beyond = "95 % interval", "the noise"
        if self.evidence == "predicted":
            said, beyond = "9 times in 10,", "what predictions are off by"
        noise = "" if low > 1 else f", which does not stand out of {beyond}"
        interval = f"({said} {low:.2f} to {high:.2f}{noise})"
        return f"{most}, {best.gain:.2f} times those of batch {first.batch} {interval}."


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
    first = rows[places[0]].trace
    for place in places:
        trace = rows[place].trace
        assert trace.batch is not None
        assert first.batch is not None
        latency_ms, power = trace.latency_ms.p50, trace.power
        larger, interval = trace.batch / first.batch, None
        above = rows[place].by_batch
        if trace is not first and above is not None and (bounds := above.bounds) is not None:
            low, high = (1 + bound / 100 for bound in bounds)
            interval = (larger / high, larger / low) if low > 0 else None
        found.append(
            Point(
                place=place,
                batch=trace.batch,
                latency_ms=latency_ms,
                interval_ms=_known(samples.spread(trace)),
                images_per_s=1e3 * trace.batch / latency_ms,
                image_ms=latency_ms / trace.batch,
                gain=larger * first.latency_ms.p50 / latency_ms,
                gain_interval=interval,
                image_mj=None if power is None else power.energy_mj / trace.batch,
            )
        )
    return tuple(found)


def columns(curve: Curve, rows: Sequence[Row]) -> Iterator[tuple[str, list[str]]]:
    """Return the columns of a curve's table, each with its title: what anything is known of.

    Args:
        curve: The curve.
        rows: Those of its report.
    """
    points = curve.points
    of = [rows[point.place] for point in points]
    is_predicted = curve.evidence == "predicted"
    yield "batch", [str(point.batch) for point in points]
    yield "latency", [milliseconds(point.latency_ms) for point in points]
    if any(point.interval_ms for point in points):
        bounds = [point.interval_ms or (None, None) for point in points]
        title = "interval" if is_predicted else "95 %"
        yield title, [f"{milliseconds(low)} … {milliseconds(high)}" for low, high in bounds]
    yield "images/s", [point.rate for point in points]
    yield "gain", [f"{point.gain:.2f}×" for point in points]
    if any(point.gain_interval for point in points):
        yield (
            "of it, 90 %" if is_predicted else "of it, 95 %",
            [_between(point.gain_interval, ".2f") for point in points],
        )
    yield "an image", [milliseconds(point.image_ms) for point in points]
    if any(point.image_mj is not None for point in points):
        yield "its energy", [millijoules(point.image_mj) for point in points]
    differences = [row.difference for row in of]
    if any(differences):
        title = "of that, 90 %" if is_predicted else "of that, 95 %"
        yield "above, %", [f"{one.percent:+.1f}" if one else "" for one in differences]
        yield title, [_between(one.bounds if one else None, "+.1f") for one in differences]
    if any(row.attribution.sites for row in of):
        yield "sites", [percent(row.attribution.attention_share) for row in of]
    for title, said in memory.told([row.trace.memory for row in of]):
        if title in _BY_BATCH:
            yield title, said


def _known(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return an interval of times; None of one that reaches below 0, of which nothing follows."""
    return bounds if bounds and bounds[0] > 0 else None


def _between(bounds: tuple[float, float] | None, form: str) -> str:
    return "" if bounds is None else f"{bounds[0]:{form}} … {bounds[1]:{form}}"
