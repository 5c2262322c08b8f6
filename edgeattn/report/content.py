"""What a report is of: one model, a pair, or the models of a comparison, each attributed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edgeattn.base.legible import all_legible, legible
from edgeattn.profiling.attribution import Attribution, attribute
from edgeattn.records.trace import Difference, EnergyDifference, SavedRow, Trace

SCHEMA_VERSION: Literal[2] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model of a report.

    Attributes:
        attribution: Its attribution, which has its trace.
        difference: What it takes above the first row's model, measured in interleaved rounds or
            predicted for the same device; None for the first, or if they were not run together.
        energy: What an inference draws above the first's, where both were watched.
    """

    attribution: Attribution
    difference: Difference | None = None
    energy: EnergyDifference | None = None

    @property
    def trace(self) -> Trace:
        """The trace of the attribution."""
        return self.attribution.trace

    @property
    def label(self) -> str:
        """What tells it from the other rows: the model's name, and its variant."""
        return " ".join(filter(None, (self.trace.name, self.trace.variant)))

    @property
    def device(self) -> str:
        """What it ran on, in few words: the host's address, or the device itself."""
        return self.trace.machine.host or self.trace.machine.title

    @property
    def ran(self) -> tuple[str, str]:
        """What it ran on, and whether it did, or is predicted to."""
        return self.device, self.trace.evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a report shows.

    Attributes:
        title: Its heading.
        rows: The models; what others are compared with comes first.
        command: The command that made it.
    """

    title: str
    rows: tuple[Row, ...]
    command: str = ""

    @property
    def is_of_one(self) -> bool:
        """Whether there is one model alone."""
        return len(self.rows) == 1

    def first(self, row: Row) -> Row:
        """Return what a row is compared with: the first that ran where it did, as it did."""
        return next(one for one in self.rows if one.ran == row.ran)


def report_of(saved: Sequence[SavedRow], *, title: str = "", command: str = "") -> Report:
    """Attribute the traces of a report.

    Args:
        saved: The traces; at least one.
        title: The heading; by default, what the rows are called.
        command: The command that made it.
    """
    rows = tuple(
        Row(attribution=attribute(one.trace), difference=one.difference, energy=one.energy)
        for one in saved
    )
    names = list(dict.fromkeys(row.trace.name for row in rows))
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Report(title=title or f"{names[0]}{more}", rows=rows, command=command)


def to_show(report: Report) -> Report:
    """Return a report whose names can be shown, on a terminal, in HTML and in SVG."""
    rows = []
    for row in report.rows:
        shown = Trace.model_validate(all_legible(row.trace.model_dump()))
        same = shown == row.trace  # as most are
        rows.append(row if same else replace(row, attribution=attribute(shown)))
    return Report(title=legible(report.title), rows=tuple(rows), command=legible(report.command))
