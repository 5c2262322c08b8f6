"""The sentence that a report begins with: which row makes its point, and what its sites cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edgeattn.records.trace import Difference
from edgeattn.report.content import Report, Row
from edgeattn.report.curves import Curve, curves
from edgeattn.report.units import count, microseconds, milliseconds, percent

_LEAST: Final = 0.0005  # what percent() would write as 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """A headline.

    Attributes:
        subject: What it is about: simam at 16 sites.
        said: What FLOPs and parameters say of it: 0 parameters, 0 MACs.
        cost: What it takes: +31.5 % latency.
        more: Where these figures come from, in sentences.
    """

    subject: str
    said: str
    cost: str
    more: tuple[str, ...]

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.subject}: {', '.join(filter(None, (self.said, self.cost)))}"


def subject(report: Report) -> int:
    """Return the place of the row that a report is about.

    Of two, the second, which is compared with the first; of more, the one whose sites take most.
    """
    if len(report.rows) <= 2:
        return len(report.rows) - 1
    return max(
        range(len(report.rows)), key=lambda place: report.rows[place].attribution.attention_share
    )


def excess(report: Report, row: Row) -> Difference | None:
    """Return what a row's sites cost: above the plain model, or above identity in their place."""
    if report.first(row).trace.variant == "plain" and row.difference is not None:
        return row.difference
    return row.trace.identity.difference if row.trace.identity else None


def hidden_ms(report: Report, row: Row) -> float | None:
    """Return the hidden cost: what a row takes above the first that its MACs do not explain.

    MACs are taken to cost what they cost in the first row.
    """
    first = report.first(row).attribution
    if row.difference is None or first.conv_macs_per_us is None:
        return None
    more_macs = row.attribution.whole.macs - first.whole.macs
    return row.difference.p50_ms - more_macs / first.conv_macs_per_us / 1e3


def headline_of(report: Report, row: Row) -> Headline:
    """Put what a row shows into a headline."""
    attribution = row.attribution
    if attribution.attention is None:
        latency = milliseconds(row.trace.latency_ms.p50)
        return Headline(subject=row.label, said="no attention", cost=latency, more=())
    names = list(dict.fromkeys(one.site.attention for one in attribution.sites))
    number = len(attribution.sites)
    places = f"{number} sites" if number > 1 else "1 site"
    return Headline(
        subject=f"{' and '.join(names)} at {places}",
        said=", ".join(_said([row])),
        cost=_cost(report, row),
        more=tuple(_more(report, row)),
    )


def headline(report: Report) -> Headline:
    """Put what a whole report shows into a headline: from the least that attention costs, on."""
    drawn = curves(report.rows)
    return _of_curves(drawn) if drawn else of_attention(report)


def of_attention(report: Report) -> Headline:
    """Put what attention costs into a headline, at whatever batches."""
    about = report.rows[subject(report)]
    rows = [row for row in report.rows if row.trace.evidence == about.trace.evidence]
    rows = [row for row in rows if row.attribution.sites]
    if len(rows) < 2:
        return headline_of(report, about)
    known = [one.percent for row in rows if (one := excess(report, row)) is not None]
    is_latency = len(known) == len(rows)
    costs = known if is_latency else [100 * row.attribution.attention_share for row in rows]
    several = len({row.device for row in rows}) > 1
    labels = (f"{row.label} on {row.device}" if several else row.label for row in rows)
    by_cost = sorted(zip(costs, labels, strict=True))
    (least, cheapest), (most, dearest) = by_cost[0], by_cost[-1]
    cost = f"{least:+.1f} to {most:+.1f} % latency"
    said = list(_said(rows))
    is_mixed = len({row.trace.evidence for row in report.rows}) > 1
    which = f", {about.trace.evidence}" if is_mixed else ""
    most_of_all = "" if all(one.startswith("0 ") for one in said) else "at most "
    return Headline(
        subject=f"{len(rows)} models with attention{which}",
        said=f"{most_of_all}{' and '.join(said)}",
        cost=cost if is_latency else f"{least:.1f} to {most:.1f} % of the time",
        more=(f"Least {cheapest}, most {dearest}.",),
    )


def _of_curves(drawn: Sequence[Curve]) -> Headline:
    """Put what models do at several batches into a headline: the one that gains most by them."""
    one = max(drawn, key=lambda curve: curve.best.gain)
    first, best = one.points[0], one.best
    cost = f"{best.gain:.2f} times that at batch {best.batch}"
    if best is first:
        cost = "no more at any other"
    elif best.gain_interval is not None and best.gain_interval[0] <= 1:
        beyond = "the noise" if one.evidence == "measured" else "what predictions are off by"
        cost = f"no more at any other that stands out of {beyond}"
    return Headline(
        subject=f"{one.label} at batch {first.batch} to {one.points[-1].batch}",
        said=f"{first.rate} images/s at batch {first.batch}",
        cost=cost,
        more=tuple(curve.summary for curve in drawn),
    )


def _said(rows: Sequence[Row]) -> Iterator[str]:
    """Return the most that rows' sites have of the parameters, and of the MACs."""
    pairs = [(row.attribution.attention, row.attribution.whole) for row in rows]
    params = [(cost.params, whole.params) for cost, whole in pairs if cost is not None]
    macs = [(cost.macs, whole.macs) for cost, whole in pairs if cost is not None]
    known = [(value, whole) for value, whole in params if value is not None]
    if len(known) == len(rows):
        yield _part(*max(known, key=_share_of), "parameters")
    yield _part(*max(macs, key=_share_of), "MACs")


def _share_of(pair: tuple[int, int | None]) -> float:
    return pair[0] / (pair[1] or 1)


def _part(value: int, whole: int | None, name: str) -> str:
    """Write a part of a whole, but 0 and what is of nothing known as they are."""
    if not value or not whole:
        return f"{count(value)} {name}"
    return f"{share(value / whole)} of the {name}"


def share(part: float) -> str:
    """Write a part of 1; what is small, but is there, is not written as 0."""
    if not part:
        return "0"
    return "< 0.1 %" if 0 < part < _LEAST else percent(part)


def _cost(report: Report, row: Row) -> str:
    known = excess(report, row)
    if known is None:
        return f"{percent(row.attribution.attention_share)} of the time"
    drawn = ""
    stands_out = row.energy is not None and not row.energy.ci95[0] <= 0 <= row.energy.ci95[1]
    if row.energy is not None and stands_out and known is row.difference:
        drawn = f", {row.energy.percent:+.1f} % energy"
    if known.bounds is not None and known.bounds[0] <= 0 <= known.bounds[1]:
        noise = "the noise" if known.predicted90 is None else "what predictions are off by"
        return f"no latency that stands out of {noise} ({known.percent:+.1f} %){drawn}"
    return f"{known.percent:+.1f} % latency{drawn}"


def _more(report: Report, row: Row) -> Iterator[str]:
    attribution, known = row.attribution, excess(report, row)
    cost = attribution.attention
    assert cost is not None
    if known is not None:
        than = report.first(row).label if known is row.difference else _without(row)
        interval = ""
        if known.bounds is not None:
            low, high = known.bounds
            what = (
                "95 % interval" if known.predicted90 is None else "predicted to be, 9 times in 10,"
            )
            interval = f", {what} {low:+.1f} to {high:+.1f} %"
        yield f"{known.p50_ms:+.3g} ms above {than}{interval}."
    launches = f"{cost.launches} of {attribution.whole.launches} launches"
    moved = ""
    if attribution.whole.traffic_bytes:
        part = (cost.traffic_bytes or 0) / attribution.whole.traffic_bytes
        moved = f" and {percent(part)} of the bytes"
    yield (
        f"Its own kernels take {microseconds(cost.time_us)} of {microseconds(attribution.time_us)},"
        f" {percent(attribution.attention_share)} of the kernels' time, in {launches}{moved}."
    )


def _without(row: Row) -> str:
    """Return what the model with identity in its sites' place is; some sites may have stayed."""
    kept = row.trace.identity.kept if row.trace.identity else {}
    stayed = f", but for {len(kept)} of {len(row.attribution.sites)} sites" if kept else ""
    return f"the same model without attention{stayed}"
