"""What the page's pictures are drawn from, and its table of kernels: small, and of strings once."""

from __future__ import annotations

import math
from typing import Any, Final

from edgeattn.records.trace import KIND_TITLES
from edgeattn.report.bands import hidden_cost
from edgeattn.report.content import Report, Row
from edgeattn.report.curves import curves
from edgeattn.report.palette import MARKS
from edgeattn.report.pictures import icicle, kinds, roofline

#: So many samples of a row at most: more would not be told apart.
MOST_SAMPLES: Final = 1500
_DIGITS: Final = 5


class Strings:
    """Names, each kept once: rows of one backbone share nearly all of theirs."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """Return the place of a string."""
        return self._places.setdefault(text, len(self._places))

    def all(self) -> list[str]:
        """Return all strings, each at its place."""
        return list(self._places)


def page_data(report: Report) -> dict[str, Any]:
    """Return what the page's scripts read."""
    strings = Strings()
    rows = [_row(row, strings) for row in report.rows]
    drawn = curves(report.rows)
    return {
        "kinds": [[kind, title, MARKS[kind]] for kind, title in KIND_TITLES.items()],
        "bars": [
            {
                "evidence": evidence,
                "bars": [
                    {
                        "place": bar.place,
                        "label": bar.label,
                        "parts": [[p.kind, int(p.is_site), short(p.time_us)] for p in bar.parts],
                        "latency": short(bar.latency_us),
                        "interval": bar.interval_us and [*map(short, bar.interval_us)],
                        "above": bar.above,
                    }
                    for bar in bars
                ],
            }
            for evidence, bars in kinds(report).items()
        ],
        "rows": rows,
        "curves": [
            {
                "label": one.label
                if len({c.device for c in drawn}) == 1
                else f"{one.label} on {one.device}",
                "evidence": one.evidence,
                "points": [
                    [
                        point.batch,
                        short(point.latency_ms),
                        point.interval_ms and [*map(short, point.interval_ms)],
                        short(point.images_per_s),
                        short(point.image_ms),
                    ]
                    for point in one.points
                ],
            }
            for one in drawn
        ],
        "strings": strings.all(),
    }


def _row(row: Row, strings: Strings) -> dict[str, Any]:
    trace, attribution = row.trace, row.attribution
    found = hidden_cost(attribution)
    return {
        "label": row.label,
        "evidence": trace.evidence,
        "total": short(attribution.time_us),
        "hiddenCost": {
            "bands": [
                [
                    strings(band.name), int(band.is_site), band.macs, short(band.time_us),
                    short(band.traffic_bytes),
                ]
                for band in found.bands
            ],
            "tiers": [
                [tier.measure, tier.total, [*map(short, tier.edges)], tier.site_share]
                for tier in found.tiers
            ],
        },
        "icicle": [
            [
                strings(tile.name), strings(tile.path), tile.parent, tile.depth,
                short(tile.start_us, 7), short(tile.time_us), short(tile.self_us),
                int(tile.is_site),
            ]
            for tile in icicle(attribution)
        ],
        "roofline": _roofline(row),
        "kernels": _kernels(row, strings),
        "latency": _latency(row),
    }  # fmt: skip


def _roofline(row: Row) -> dict[str, Any]:
    found = roofline(row.attribution)
    return {
        "points": [
            [point.place, short(point.intensity), short(point.gops), short(point.gbps)]
            for point in found.points
        ],
        "leftOut": found.left_out,
        "gbps": found.gbps,
        "gops": found.gops,
        "peak": found.peak,
    }


def _kernels(row: Row, strings: Strings) -> list[list[Any]]:
    """Return each kernel, in the order that kernels.js names."""
    kinds_in_order = list(KIND_TITLES)
    return [
        [
            strings(one.kernel.name),
            strings(one.kernel.op),
            kinds_in_order.index(one.kernel.kind),
            strings(one.owner),
            strings(one.site),
            strings(one.status),
            strings(one.cause),
            short(one.kernel.time_us),
            one.kernel.interval_us and [*map(short, one.kernel.interval_us)],
            one.kernel.traffic_bytes,
            one.kernel.macs,
            [strings(name) for name in one.kernel.nodes],
            strings(one.kernel.precision),
            strings(one.kernel.bound),
            int(any(share.site for share in one.shares)),
        ]
        for one in row.attribution.kernels
    ]


def _latency(row: Row) -> dict[str, Any]:
    found = row.trace.latency_ms
    step = math.ceil(len(found.samples) / MOST_SAMPLES) or 1
    return {
        "samples": [short(sample) for sample in found.samples[::step]],
        "step": step,
        "p50": found.p50,
        "p90": found.p90,
        "p99": found.p99,
        "interval": row.trace.interval_ms,
    }


def short(value: float, digits: int = _DIGITS) -> float:
    """Leave out the digits that no picture shows."""
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() else short
