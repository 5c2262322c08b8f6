"""Whether a model runs on a device, as a page: what was found, by module, and a DLA's strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from edgeattn.base.legible import all_legible
from edgeattn.records.check import Checked, Finding, Stretch, Verdict
from edgeattn.report.html import page_of
from edgeattn.report.units import microseconds, size

_RUNS: Final[dict[Verdict, str]] = {
    "yes": "runs", "no": "will not run", "unknown": "may not run",
}  # fmt: skip
_ABOUT: Final = {"opset": "opset", "function": "functions", "operator": "operator",
                 "type": "data type", "shape": "shape", "memory": "memory",
                 "precision": "precision", "trap": "known trap", "dla": "DLA"}  # fmt: skip
_PLURAL: Final = {"is": "are", "does": "do", "falls": "fall"}
#: So many lines a strip has at least, where modules lie deep enough.
_FEWEST_LINES: Final = 5
_DEEPEST: Final = 4
#: So many at most: shorter parts that follow each other share a line then.
_MOST_LINES: Final = 40
_CELL: Final = 10.0
#: Where a side's cells lie, from the top down: a change is a step, for who tells no colours apart.
_LEVELS: Final = {"gpu": 4.0, "unknown": 12.0, "dla": 20.0}
_HEIGHT: Final = 32.0
_WRITERS: Final[dict[str, Callable[[float], str]]] = {
    "count": str, "size": size, "us": microseconds,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """A stretch in the picture of a strip, in its units."""

    stretch: Stretch
    x: float
    y: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """A part of the network in a strip.

    Attributes:
        name: The module that it begins with.
        cells: Its stretches.
        nodes: How many nodes it has.
        changes: Changes in it, and possible ones.
    """

    name: str
    cells: tuple[Cell, ...]
    nodes: int
    changes: tuple[int, int]


def headline(found: Checked) -> str:
    """Return the point in one line."""
    place, whole = found.title, ""
    if found.dla is not None and _is_whole(found):
        place, whole = f"DLA of the {place}", " whole"
    elif found.dla is not None:
        place = f"{place} with its DLA"
    return f"{found.model} {_RUNS[found.verdict]}{whole} on the {place}"


def _is_whole(found: Checked) -> bool:
    """Return whether a DLA was to run all nodes: what it does not take is a failure then."""
    off = [one for one in found.findings if one.about == "dla" and one.nodes]
    return all(one.verdict != "yes" for one in off)


def library(found: Checked) -> str:
    """Return what runs it there."""
    jetpack = f"JetPack {found.jetpack}, " if found.jetpack else ""
    return f"{jetpack}{f'{found.library} {found.version}'.strip()}"


def groups(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Return findings that say the same of several places, or operators, together, in order."""
    same: dict[tuple[str, ...], list[Finding]] = {}
    for one in findings:
        key = (one.verdict, one.about, _without_operator(one), one.mend, one.source)
        same.setdefault(key, []).append(one)
    return list(same.values())


def places(group: Sequence[Finding]) -> list[tuple[str, str, list[str]]]:
    """Return the module, the site and the nodes of each place that findings of a group are of."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in group:
        if one.nodes:
            found.setdefault((one.module, one.site), []).extend(one.nodes)
    return [(module, site, nodes) for (module, site), nodes in found.items()]


def fact(group: Sequence[Finding]) -> str:
    """Return what findings of a group say, of all its operators."""
    operators = list(dict.fromkeys(one.op for one in group))
    if len(operators) == 1:
        return group[0].fact
    *most, last = operators
    said = _without_operator(group[0])
    if said == group[0].fact:
        return said
    verb, _, rest = said.partition(" ")
    return f"{', '.join(most)} and {last} {_PLURAL.get(verb, verb)} {rest}"


def _without_operator(one: Finding) -> str:
    return one.fact.removeprefix(f"{one.op} ") if one.op else one.fact


def lines(strip: Sequence[Stretch]) -> list[Line]:
    """Return a strip in lines, one for each part of the network.

    A part is a module as few levels down as gives enough of them. What is of the root, or returns
    to the part before, goes on in its line.
    """
    for depth in range(1, _DEEPEST + 1):
        parts: list[tuple[str, list[Stretch]]] = []
        for name, ones in groupby(strip, key=lambda one: _part(one.module, depth)):
            if parts and (not name or name == parts[-1][0]):
                parts[-1][1].extend(ones)
            else:
                parts.append((name, list(ones)))
        if len(parts) >= _FEWEST_LINES:
            break
    if len(parts) > _MOST_LINES:
        parts = list(_merged(parts, sum(one.nodes for one in strip) / _MOST_LINES))
    return [_line(name, ones) for name, ones in parts] if strip else []


def _merged(
    parts: Sequence[tuple[str, list[Stretch]]], least: float
) -> Iterator[tuple[str, list[Stretch]]]:
    """Yield parts of so many nodes at least, of smaller ones that follow each other."""
    names: list[str] = []
    held: list[Stretch] = []
    for name, ones in parts:
        names.append(name)
        held = [*held, *ones]
        if sum(one.nodes for one in held) >= least:
            yield names[0], held
            names, held = [], []
    if held:
        yield names[0], held


def _part(module: str, depth: int) -> str:
    return ".".join(module.replace("/", ".").split(".")[:depth])


def _line(name: str, stretches: Sequence[Stretch]) -> Line:
    return Line(
        name=name,
        cells=tuple(_cells(stretches)),
        nodes=sum(one.nodes for one in stretches),
        changes=(sum(one.changes for one in stretches), sum(one.possible for one in stretches)),
    )


def _cells(stretches: Sequence[Stretch]) -> Iterator[Cell]:
    at = 0.0
    for one in stretches:
        width = _CELL * one.nodes
        yield Cell(one, at, _LEVELS[one.side], width, _title(one))
        at += width


def _title(one: Stretch) -> str:
    where = {"dla": "on the DLA", "gpu": "on the GPU", "unknown": "on either"}[one.side]
    said = f"{one.module or 'the root'}: {_number(one.nodes, 'node')} {where}"
    if one.changes:
        said += f", {_number(one.changes, 'value')} from the other side"
    if one.possible:
        said += f", perhaps {one.possible} {'more' if one.changes else 'from the other side'}"
    return said


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def between(bounds: tuple[float, float], kind: Literal["count", "size", "us"] = "count") -> str:
    """Write the least and the most; once where they are the same."""
    low, high = map(_WRITERS[kind], bounds)
    return low if low == high else f"{low} to {high}"


def render(found: Checked) -> str:
    """Render it as one HTML file, of which no part is fetched."""
    found = Checked.model_validate(all_legible(found.model_dump()))
    strip = lines(found.dla.strip) if found.dla is not None else []
    return page_of(
        "check.html.jinja",
        scripts=(),
        styles=("check.css",),
        data={},
        title=f"{found.model} on {found.device}",
        headline=headline(found),
        command=found.command,
        found=found,
        library=library(found),
        abouts=_ABOUT,
        groups=groups(found.findings),
        fact=fact,
        places_of=places,
        strip=strip,
        longest=max((_CELL * line.nodes for line in strip), default=_CELL),
        height=_HEIGHT,
        between=between,
    )
