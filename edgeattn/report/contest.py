"""Which is fastest: runtimes, or precisions, of models that were run in the same rounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edgeattn.profiling import samples
from edgeattn.records.trace import RUNTIMES

if TYPE_CHECKING:
    from edgeattn.report.content import Row

Of = Literal["runtime", "precision"]
_OF: Final[tuple[Of, ...]] = ("runtime", "precision")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One way to run a model, or models, in a contest.

    Attributes:
        way: The runtime, or the precision.
        place: The row's place in the report; None where it is of several models.
        latency_ms: The row's latency; None where it is of several models.
        ratio: Its latency over that of the first way: the median over rounds, of several models
            the geometric mean of theirs.
        ci95: 95 % interval of that, over generations of processes; None of the first way.
    """

    way: str
    place: int | None
    latency_ms: float | None
    ratio: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Ways to run a model, or all models together, and which of them is the fastest.

    Attributes:
        of: What differs.
        model: The model; "" for all together.
        variant: Its variant, where each has a contest of its own; "" else.
        held: The precision, or the runtime, that it is held in, where there are several; "" else.
        models: How many models it is of.
        entries: The ways, in the order of the report.
        fastest: The fastest way.
        second: The one behind it.
        lead: The second's latency over that of the fastest, as `Entry.ratio`.
        ci95: 95 % interval of the lead.
        rounds: How many rounds were run.
    """

    of: Of
    model: str
    variant: str
    held: str
    models: int
    entries: tuple[Entry, ...]
    fastest: str
    second: str
    lead: float
    ci95: tuple[float, float]
    rounds: int

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways, in the order of the report."""
        return tuple(one.way for one in self.entries)

    @property
    def label(self) -> str:
        """What it is of, in words."""
        named = " ".join(filter(None, (self.model or f"all {self.models} models", self.variant)))
        return ", ".join([named, *([title_of(self.held)] if self.held else [])])

    @property
    def is_decided(self) -> bool:
        """Whether the lead stands out of the noise."""
        return self.ci95[0] > 1

    @property
    def verdict(self) -> str:
        """Which way is the fastest, in a sentence."""
        fastest, low, high = title_of(self.fastest), *self.ci95
        lead = (
            f"{self.lead:.2f} times as fast as {title_of(self.second)}"
            f" (95 % interval {low:.2f} to {high:.2f})"
        )
        label = self.label if self.model else f"A{self.label[1:]}"
        if self.is_decided:
            return f"{label}: {fastest} is the fastest, {lead}."
        return f"{label}: no {self.of} stands out of the noise; {fastest} is {lead}."


def contests(rows: Sequence[Row]) -> tuple[Contest, ...]:
    """Return the contests of a report: of runtimes, then of precisions; each model, then all.

    Of several variants of a model, the fastest stands for a runtime; precisions are compared of
    each variant.
    """
    return tuple(one for of in _OF for one in _contests(rows, of))


def _contests(rows: Sequence[Row], of: Of) -> Iterator[Contest]:
    groups: dict[tuple[str, str], dict[tuple[str, str], dict[str, int]]] = {}
    for place, row in enumerate(rows):
        trace = row.trace
        if not trace.rounds_id or len(trace.rounds) < 2 or min(trace.rounds) <= 0:
            continue
        name = trace.name if row.batch is None else f"{trace.name}, batch {row.batch}"
        way, held, variant = str(trace.runtime), trace.precision, ""
        if of == "precision":
            way, held, variant = trace.precision, trace.runtime, trace.variant
        group = groups.setdefault((f"{trace.rounds_id} {len(trace.rounds)}", held), {})
        ways = group.setdefault((name, variant), {})
        if way not in ways or _ms(row) < _ms(rows[ways[way]]):
            ways[way] = place
    several = len({held for _, held in groups}) > 1
    for (_, held), group in groups.items():
        said = held if several else ""
        models = {model: ways for model, ways in group.items() if len(ways) > 1}
        for (name, variant), ways in models.items():
            yield _contest(rows, of, (name, variant), said, [ways])
        widest = max(map(len, models.values()), default=0)
        common = [ways for ways in models.values() if len(ways) == widest]
        if len(common) > 1:
            yield _contest(rows, of, ("", ""), said, common)


def _contest(
    rows: Sequence[Row],
    of: Of,
    named: tuple[str, str],
    held: str,
    models: Sequence[Mapping[str, int]],
) -> Contest:
    """Hold a contest of models, each with its ways and their rows' places."""
    model, variant = named
    times = {way: [rows[ways[way]].trace.rounds for ways in models] for way in models[0]}
    first = next(iter(times))
    generations = rows[models[0][first]].trace.generations
    ratios = {way: samples.ratio(own, times[first], generations) for way, own in times.items()}
    fastest, second, *_ = sorted(ratios, key=lambda way: ratios[way][0])
    lead, ci95 = samples.ratio(times[second], times[fastest], generations)
    return Contest(
        of=of,
        model=model,
        variant=variant,
        held=held,
        models=len(models),
        entries=tuple(
            Entry(
                way=way,
                place=models[0][way] if model else None,
                latency_ms=_ms(rows[models[0][way]]) if model else None,
                ratio=ratio,
                ci95=interval if way != first else None,
            )
            for way, (ratio, interval) in ratios.items()
        ),
        fastest=fastest,
        second=second,
        lead=lead,
        ci95=ci95,
        rounds=len(times[first][0]),
    )


def _ms(row: Row) -> float:
    return row.trace.latency_ms.p50


def title_of(way: str) -> str:
    """Return what a runtime or a precision is called."""
    return next((title for runtime, title in RUNTIMES.items() if runtime == way), way)


def summaries(found: Sequence[Contest]) -> list[Contest]:
    """Return the contests of all models together, and those of models that are the only one."""
    overall = {(one.of, one.held) for one in found if not one.model}
    return [one for one in found if not one.model or (one.of, one.held) not in overall]
