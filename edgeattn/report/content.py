"""What a report is of: one model, a pair, or the models of a comparison, each attributed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edgeattn.base.legible import all_legible, legible
from edgeattn.profiling.attribution import Attribution, attribute
from edgeattn.records.trace import RUNTIMES, Difference, EnergyDifference, SavedRow, Trace
from edgeattn.report.contest import Contest, contests

SCHEMA_VERSION: Literal[2] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model of a report.

    Attributes:
        attribution: Its attribution, which has its trace.
        difference: What it takes above the first row's model, measured in interleaved rounds or
            predicted for the same device; None for the first, or if they were not run together.
        energy: What an inference draws above the first's, where both were watched.
        by_batch: What it takes above the same model at the smallest batch; None of that itself, or
            if they were not profiled together.
        way: What tells it from other rows of the same model: the runtime and the precision, as far
            as there are several.
        batch: Its batch, where there are several; None else.
    """

    attribution: Attribution
    difference: Difference | None = None
    energy: EnergyDifference | None = None
    by_batch: Difference | None = None
    way: tuple[str, ...] = ()
    batch: int | None = None

    @property
    def trace(self) -> Trace:
        """The trace of the attribution."""
        return self.attribution.trace

    @property
    def model(self) -> str:
        """The model's name, its variant, and how it ran, at whatever batch."""
        named = " ".join(filter(None, (self.trace.name, self.trace.variant)))
        return ", ".join([named, *self.way])

    @property
    def label(self) -> str:
        """What tells it from the other rows: its batch, which no cut leaves out, and the same."""
        return self.model if self.batch is None else f"batch {self.batch} of {self.model}"

    @property
    def computed_in(self) -> str:
        """How many of its layers computed in the precision that was asked; "" if none was."""
        layers = [one for one in self.trace.kernels if one.kind == "matmul"]
        if not self.trace.precision or not any(one.precision for one in layers):
            return ""
        own = sum(one.precision == self.trace.precision for one in layers)
        return f"{own} of {len(layers)} layers"

    @property
    def device(self) -> str:
        """What it ran on, in few words: the host's address, or the device itself."""
        return self.trace.machine.host or self.trace.machine.title

    @property
    def ran(self) -> tuple[str, ...]:
        """What it ran on, by what and in what, and whether it did, or is predicted to."""
        trace = self.trace
        batch = "" if self.batch is None else str(self.batch)
        return self.device, trace.evidence, trace.runtime, trace.precision, batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a report shows.

    Attributes:
        title: Its heading.
        rows: The models; what others are compared with comes first.
        command: The command that made it.
        contests: Which runtime, and which precision, is the fastest, where several were run
            in the same rounds.
    """

    title: str
    rows: tuple[Row, ...]
    command: str = ""
    contests: tuple[Contest, ...] = ()

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
    ways = _ways([one.trace for one in saved])
    several = len({one.trace.batch for one in saved} - {None}) > 1
    rows = tuple(
        Row(
            attribution=attribute(one.trace),
            difference=one.difference,
            energy=one.energy,
            by_batch=one.by_batch,
            way=tuple(told for way in ways if (told := way(one.trace))),
            batch=one.trace.batch if several else None,
        )
        for one in saved
    )
    names = list(dict.fromkeys(row.trace.name for row in rows))
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Report(
        title=title or f"{names[0]}{more}", rows=rows, command=command, contests=contests(rows)
    )


def _ways(traces: Sequence[Trace]) -> list[Callable[[Trace], str]]:
    """Return what tells apart how traces ran on one device: by what, and in what precision."""
    runtimes: dict[tuple[str, ...], set[str]] = {}
    for one in traces:
        place = (one.machine.host or one.machine.title, one.evidence)
        runtimes.setdefault(place, set()).add(one.runtime)
    found: list[Callable[[Trace], str]] = []
    if any(len(of_one) > 1 for of_one in runtimes.values()):
        found.append(lambda one: RUNTIMES[one.runtime])
    if len({one.precision for one in traces}) > 1:
        found.append(lambda one: one.precision)
    return found


def to_show(report: Report) -> Report:
    """Return a report whose names can be shown, on a terminal, in HTML and in SVG."""
    rows = []
    for row in report.rows:
        shown = Trace.model_validate(all_legible(row.trace.model_dump()))
        same = shown == row.trace  # as most are
        way = tuple(map(legible, row.way))
        rows.append(row if same else replace(row, attribution=attribute(shown), way=way))
    return Report(
        title=legible(report.title),
        rows=tuple(rows),
        command=legible(report.command),
        contests=contests(rows),
    )
