"""Kernels and bytes of a TensorRT-RTX plan, and the table of them above the plain model."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from lowering_cases import Case, Form, Precision, Shelf, all_met, content, on_backbone, say
from lowering_table import Column, Table, mark, number

PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "fp16")
_HOW: Final = (
    "First figure kernels per site, second traffic over the floor, both above the plain model;"
    " figures of a plan are no times."
)
_BELOW: Final = (
    "The floor is that of a gate that is computed from the activation it is applied to; a mean that"
    " is taken before a 1x1 convolution instead goes below it."
)
# The gate writes each site's activation, reads it for its statistics and reads it to apply them.
_PASSES: Final = 3
_BYTES: Final[dict[Precision, int]] = {"fp32": 4, "fp16": 2}
# "The same ratios, within 10 %": for fp16, and for other backbones than ResNet-50.
_ELSEWHERE: Final = 1.1
# For ResNet-50 in fp32: kernels per site and traffic over the floor, to reach, to aim for.
ASKED: Final = {
    "se": ((3.9, 1.13), (2.0, 1.0)),
    "eca": ((2.9, 1.0), (2.0, 1.0)),
    "simam": ((1.9, 1.32), (1.9, 1.0)),
    "sa": ((1.9, 1.33), (1.9, 1.0)),
    "cbam": ((6.0, 1.9), (4.0, 1.4)),
    "ulsam": ((4.5, 2.0), (3.0, 1.5)),
}


_TITLE: Final = "TensorRT-RTX plan for sm_86, batch 1, opset 17, block-end, above the plain model"
_CASE: Final = (
    Column(key="backbone", heading="model"),
    Column(key="precision", heading=""),
    Column(key="attention", heading="attention"),
)
# Of stock's kernels and bytes above the plain model, in the median of all of `ADDED`.
_MOST_KERNELS: Final = 0.6
_MOST_BYTES: Final = 0.7
_OF_STOCK: Final = (
    f"Asked: none worse than stock; in the median {_MOST_BYTES:.0%} of its bytes at most, and on"
    f" ResNet-50 {_MOST_KERNELS:.0%} of its kernels."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a plan says: no times.

    Attributes:
        kernels: How many kernels it has.
        traffic_bytes: What they move: each input, constant and output once.
    """

    kernels: int
    traffic_bytes: int

    @property
    def traffic_mb(self) -> float:
        """The traffic in 10^6 bytes."""
        return self.traffic_bytes / 1e6


def figures(shelf: Shelf, case: Case, form: Form, precision: Precision = "fp32") -> Figures:
    """Return the figures of a case's plan for sm_86."""
    from edgeattn.base.versions import version_of
    from edgeattn.engine.plan import plan
    from edgeattn.records.layers import traffic_bytes

    path = shelf.file(case, form, precision)

    def build() -> list[int]:
        kernels = plan(path)
        return [len(kernels), traffic_bytes(kernels)]

    key = f"{content(path)} {version_of('tensorrt-rtx')}"
    kernels, moved = shelf.remembered(f"plan.{path.stem}", key, build)
    return Figures(kernels=kernels, traffic_bytes=moved)


def plan_table(shelf: Shelf, backbones: Sequence[str], attentions: Sequence[str]) -> Table:
    """Make the table of kernels per site and traffic over the floor, above the plain model."""
    rows = []
    floors: dict[str, float] = {}
    for backbone, precision, attention in itertools.product(backbones, PRECISIONS, attentions):
        say(f"plan: {backbone}-{attention} {precision}")
        row = _row(shelf, on_backbone(backbone, attention), backbone, precision)
        floors[f"{backbone} {precision}"] = row["floor_mb"]
        rows.append(row)
    floors_text = ", ".join(f"{name} {floor:.1f} MB" for name, floor in floors.items())
    return Table(
        title=_TITLE,
        columns=(
            *_CASE,
            Column(key="stock", heading="stock", show=_pair),
            Column(key="lowered", heading="lowered", show=_pair),
            Column(key="reach", heading="reach", show=_pair),
            Column(key="met", heading="met", show=mark),
            Column(key="aim", heading="aim", show=_pair),
            Column(key="aim_met", heading="met", show=mark),
        ),
        rows=rows,
        notes=(
            _HOW,
            f"Floor: {_PASSES} passes over each site's activation: {floors_text}.",
            _BELOW,
            "Asked for ResNet-50 in fp32; for the others the same ratios within 10 %.",
        ),
    )


def added_table(shelf: Shelf, backbones: Sequence[str], attentions: Sequence[str]) -> Table:
    """Make the table of kernels and traffic above the plain model, by stock's."""
    rows: list[dict[str, Any]] = []
    for backbone, precision in itertools.product(backbones, PRECISIONS):
        group: list[dict[str, Any]] = []
        for attention in attentions:
            say(f"plan: {backbone}-{attention} {precision}")
            row = _measured(shelf, on_backbone(backbone, attention), backbone, precision)
            ratios = [low / high for low, high in zip(row["lowered"], row["stock"], strict=True)]
            row |= {"kernels": ratios[0], "bytes": ratios[1], "met": max(ratios) <= 1}
            group.append(row)
        median = {key: statistics.median(r[key] for r in group) for key in ("kernels", "bytes")}
        # Kernels are asked for on ResNet-50 only.
        is_met = median["bytes"] <= _MOST_BYTES and (
            backbone != "resnet50" or median["kernels"] <= _MOST_KERNELS
        )
        same = {"backbone": backbone, "precision": precision, "attention": "median"}
        rows += [*group, {**dict.fromkeys(group[0]), **same, **median, "met": is_met}]
    return Table(
        title=_TITLE,
        columns=(
            *_CASE,
            Column(key="stock", heading="stock", show=_pair),
            Column(key="lowered", heading="lowered", show=_pair),
            Column(key="kernels", heading="kernels of stock's", show=_percent),
            Column(key="bytes", heading="bytes of stock's", show=_percent),
            Column(key="met", heading="met", show=mark),
        ),
        rows=rows,
        notes=(_HOW, _OF_STOCK),
    )


def floor_bytes(sites: Sequence[tuple[int, int, int]], precision: Precision) -> int:
    """Return the traffic that a gate cannot do without, at batch 1."""
    return _PASSES * _BYTES[precision] * sum(math.prod(site) for site in sites)


def _measured(shelf: Shelf, case: Case, backbone: str, precision: Precision) -> dict[str, Any]:
    plain = figures(shelf, on_backbone(backbone, "none"), "stock", precision)
    sites = shelf.sites(case)
    floor = floor_bytes(sites, precision)

    def above(form: Form) -> tuple[float, float]:
        found = figures(shelf, case, form, precision)
        return (
            (found.kernels - plain.kernels) / len(sites),
            (found.traffic_bytes - plain.traffic_bytes) / floor,
        )

    return {
        "backbone": backbone,
        "attention": case.attention,
        "precision": precision,
        "sites": len(sites),
        "floor_mb": floor / 1e6,
        "plain_kernels": plain.kernels,
        "plain_mb": plain.traffic_mb,
        "stock": above("stock"),
        "lowered": above("tensorrt"),
    }


def _row(shelf: Shelf, case: Case, backbone: str, precision: Precision) -> dict[str, Any]:
    row = _measured(shelf, case, backbone, precision)
    slack = 1.0 if (backbone, precision) == ("resnet50", "fp32") else _ELSEWHERE
    reach, aim = (tuple(slack * one for one in pair) for pair in ASKED[case.attention])
    return {
        **row,
        "reach": reach,
        "met": _reaches(row["lowered"], reach),
        "aim": aim,
        "aim_met": _reaches(row["lowered"], aim),
    }


def _reaches(found: Sequence[float], asked: Sequence[float]) -> bool:
    # As exactly as the issue writes them: 1.134 reaches 1.13, and 1.88 kernels reach 1.9.
    return bool(all_met(round(f, 2) <= round(a, 2) for f, a in zip(found, asked, strict=True)))


def _pair(pair: Sequence[float]) -> str:
    kernels, ratio = map(number(2), pair)
    return f"{kernels}, {ratio}×"


def _percent(ratio: float) -> str:
    return f"{ratio:.0%}"
