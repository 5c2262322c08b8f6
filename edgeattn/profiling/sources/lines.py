"""Lines of authors' own attentions, from the manifest of an export on to a file made from it.

A node that a rewrite made is of all the lines whose nodes it stands for. Lines that share a node
stand together: what is measured of it cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, Field

from edgeattn.base.legible import in_ranges
from edgeattn.records.trace import SourceLines

T = TypeVar("T", bound=Hashable)

Step = tuple[Sequence[str], Sequence[str]]
"""The names of the nodes that a rewrite took away, and of those that it made."""


def carried(of: Mapping[str, frozenset[T]], steps: Iterable[Step]) -> dict[str, frozenset[T]]:
    """Return of what nodes are, those of rewrites too.

    Args:
        of: Of what each node is, by its name.
        steps: The rewrites, in order.
    """
    found = dict(of)
    for before, after in steps:
        whole = frozenset[T]().union(*(found.get(name, ()) for name in before))
        found |= dict.fromkeys(after, whole) if whole else {}
    return found


def merged(sets: Iterable[frozenset[T]]) -> list[frozenset[T]]:
    """Merge the sets that have something in common."""
    found: list[frozenset[T]] = []
    for one in dict.fromkeys(sets):
        apart = [other for other in found if not one & other]
        found = [*apart, one.union(*(other for other in found if one & other))]
    return found


class _Line(BaseModel):
    file: str
    line: int
    code: str


class _Lines(BaseModel):
    attention: str
    lines: tuple[_Line, ...] = Field(min_length=1)
    nodes: tuple[str, ...]


class _Rewrite(BaseModel):
    nodes_before: tuple[str, ...]
    nodes_after: tuple[str, ...]


class _Legalised(BaseModel):
    node: str
    into: tuple[str, ...]


class SaidOfLines(BaseModel):
    """What a manifest says of lines: where they are, or what became of their nodes since."""

    lines: tuple[_Lines, ...] = ()
    rewrites: tuple[_Rewrite, ...] = ()
    legalised: tuple[_Legalised, ...] = ()

    def steps(self) -> list[Step]:
        """Return what was rewritten, in order."""
        rewritten = [(one.nodes_before, one.nodes_after) for one in self.rewrites]
        return [*rewritten, *(((one.node,), one.into) for one in self.legalised)]


def lines_of(export: SaidOfLines, later: Iterable[SaidOfLines]) -> tuple[SourceLines, ...]:
    """Return the lines of a file that was made from an export.

    Args:
        export: What the manifest of the export says.
        later: What those of the files say that were made from it in turn, in order.
    """
    own = {name: frozenset([k]) for k, one in enumerate(export.lines) for name in one.nodes}
    nodes = carried(own, (step for one in later for step in one.steps()))
    found = []
    for group in sorted(merged(nodes.values()), key=min):
        some = [export.lines[k] for k in sorted(group)]
        lines = sorted((line for one in some for line in one.lines), key=lambda at: at.line)
        names = dict.fromkeys(one.attention for one in some)
        home = Path(lines[0].file).name
        found.append(
            SourceLines(
                attention=" and ".join(names),
                place=f"{home}:{in_ranges([one.line for one in lines])}",
                code=lines[0].code,
                nodes=tuple(name for name, of in nodes.items() if of <= group),
            )
        )
    return tuple(found)
