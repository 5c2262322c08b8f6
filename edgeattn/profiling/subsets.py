"""Finds the set of sites that is worth most and keeps a limit, with as few costs asked as it takes.

Costs of sites do not add up: fusion breaks once, and neighbours share what they break. So each site
is asked by itself, and what a set costs is estimated: the sum of these, and what the nearest known
set costs besides its own sum, by how many pairs of sites each has. Sites go in by value for cost
while the estimate keeps the limit, some are then exchanged for others; what comes of that is asked,
and the estimates are better for the next. When no set that is worth more is estimated to keep the
limit, the best of those that are estimated a little above it are asked too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, TypeAlias

Sites: TypeAlias = frozenset[int]
"""A set of sites, by their places in the model's order."""

Ask: TypeAlias = Callable[[Sequence[Sites]], Sequence[float]]
"""Returns what sets cost, in the unit of the limit."""

#: Of a limit: what a site that costs nothing is taken to cost where values are divided by costs.
_LEAST: Final = 1e-6
#: Of what may be spent: so far above the limit a set is asked still.
_A_LITTLE: Final = 0.1
#: So many of these may be asked in vain.
_IN_VAIN: Final = 2


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for.

    Attributes:
        values: What each site is worth; one that is worth nothing goes in if it is kept only.
        limit: The most that the set may cost.
        kept: The sites that are in it whatever they cost.
        alike: What sites have in common that cost the same by themselves.
    """

    values: Sequence[float]
    limit: float
    kept: Sites = frozenset()
    alike: Sequence[Hashable] = ()

    @property
    def wanted(self) -> Sites:
        """The sites that may go in."""
        return self.kept | {place for place, value in enumerate(self.values) if value > 0}

    def value(self, sites: Iterable[int]) -> float:
        """Return what a set is worth."""
        return sum(self.values[place] for place in sites)


@dataclass(slots=True)
class Search:
    """A search, and what it has learnt of costs.

    Attributes:
        question: What is looked for.
        ask: Returns what sets cost.
        known: What those cost that were asked; what is found out otherwise may be written in.
    """

    question: Question
    ask: Ask
    known: dict[Sites, float] = field(default_factory=dict)
    _single: dict[int, float] = field(default_factory=dict)

    def learn(self, sets: Iterable[Sites]) -> None:
        """Ask what sets cost that are not known."""
        new = [one for one in dict.fromkeys(sets) if one not in self.known]
        if new:
            self.known |= zip(new, self.ask(new), strict=True)

    def best(self) -> Sites | None:
        """Return the set that is worth most of those that keep the limit; None if none does.

        What is known beforehand is not asked again: write what turned out otherwise into `known`,
        and ask once more.
        """
        question = self.question
        self.learn([frozenset(), question.kept, question.wanted])
        if self.known[question.wanted] <= question.limit:
            return question.wanted
        if self.known[question.kept] > question.limit:
            return None
        self.learn_singles()
        for _ in range(2 * len(question.values) + 8):
            found = self._proposed()
            if found in self.known:
                break
            self.learn([found])
        in_vain = 0
        while in_vain < _IN_VAIN and (tempting := self._tempting()) is not None:
            self.learn([tempting])
            in_vain += not self._keeps(tempting)
        return self._best_known()

    def learn_singles(self) -> None:
        """Ask what each site costs by itself, of those that are alike the first."""
        alike = self.question.alike or range(len(self.question.values))
        first: dict[Hashable, int] = {}
        for place, kind in enumerate(alike):
            first.setdefault(kind, place)
        self.learn(frozenset([place]) for place in first.values())
        nothing = self.known[frozenset()]
        for place, kind in enumerate(alike):
            own = self.known.get(frozenset([place]), self.known[frozenset([first[kind]])])
            self._single[place] = own - nothing

    def _estimate(self, sites: Sites) -> float:
        """Return what a set costs, or else what is to be expected of it."""
        if sites in self.known:
            return self.known[sites]
        several = [one for one in self.known if len(one) > 1]
        if not several:
            return self._sum(sites)
        nearest = min(len(sites ^ one) for one in several)
        besides = max(
            (self.known[one] - self._sum(one)) / _pairs(one)
            for one in several
            if len(sites ^ one) == nearest
        )
        return self._sum(sites) + besides * _pairs(sites)

    def _sum(self, sites: Sites) -> float:
        """Return what a set would cost if costs added up."""
        return self.known[frozenset()] + sum(self._single[place] for place in sites)

    def _keeps(self, sites: Sites) -> bool:
        return self._estimate(sites) <= self.question.limit

    def _rank(self, sites: Sites) -> tuple[float, float]:
        return self.question.value(sites), -self._estimate(sites)

    def _best_known(self) -> Sites:
        kept = self.question.kept
        return max((one for one in self.known if kept <= one and self._keeps(one)), key=self._rank)

    def _proposed(self) -> Sites:
        """Return the set that is worth most of those that are expected to keep the limit."""
        question = self.question
        starts = [question.kept, self._best_known(), self._shrunk(question.wanted)]
        return max((self._exchanged(self._grown(one)) for one in starts), key=self._rank)

    def _grown(self, sites: Sites) -> Sites:
        """Put sites in, the best for their costs first, while that keeps the limit."""
        for place in self._by_density(self.question.wanted - sites):
            more = sites | {place}
            if self._keeps(more):
                sites = more
        return sites

    def _shrunk(self, sites: Sites) -> Sites:
        """Leave sites out, the worst for their costs first, until that keeps the limit."""
        for place in reversed(self._by_density(sites - self.question.kept)):
            if self._keeps(sites):
                break
            sites -= {place}
        return sites if self._keeps(sites) else self.question.kept

    def _by_density(self, sites: Iterable[int]) -> list[int]:
        least = _LEAST * max(1.0, abs(self.question.limit))
        values = self.question.values
        return sorted(
            sites, key=lambda place: (-values[place] / max(least, self._single[place]), place)
        )

    def _exchanged(self, sites: Sites) -> Sites:
        """Exchange a site for one or two others that are worth more, as long as there are such."""
        while (better := next(filter(self._keeps, self._better(sites)), None)) is not None:
            sites = self._grown(better)
        return sites

    def _better(self, sites: Sites) -> Iterator[Sites]:
        """Yield the sets a step away that are worth more: a site more, or exchanged for others."""
        question, values = self.question, self.question.values
        others = self._by_density(question.wanted - sites)
        yield from (sites | {one} for one in others)
        pairs = [*((one,) for one in others), *combinations(others, 2)]
        for out in sorted(sites - question.kept, key=lambda place: values[place]):
            for into in pairs:
                if question.value(into) > values[out]:
                    yield sites - {out} | set(into)

    def _tempting(self) -> Sites | None:
        """Return the best that is worth more than any known, and estimated a little above."""
        most = self.question.limit
        most += _A_LITTLE * abs(most - self.known[frozenset()])
        found = (
            one
            for one in self._better(self._best_known())
            if one not in self.known and self._estimate(one) <= most
        )
        return max(found, key=self._rank, default=None)


def _pairs(sites: Sites) -> int:
    return len(sites) * (len(sites) - 1)
