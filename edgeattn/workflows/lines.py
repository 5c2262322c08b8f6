"""What became of an author's own lines: which nodes they wrote, what lowering made of those.

torch tells of each operation where in a forward it is. A node that lowering wrote is of the lines
whose nodes it stands for, and may be of several.
"""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeattn.graph.names import is_inside, module_of
from edgeattn.lowering.record import Lowered
from edgeattn.profiling.sources.lines import carried, merged
from edgeattn.profiling.sources.model import read_subject
from edgeattn.records.lowering import LegalisedNode, NearMiss
from edgeattn.records.manifest import OwnLine, OwnLines, PlacedSite
from edgeattn.records.trace import Node

if TYPE_CHECKING:
    from torch import nn

_FRAME: Final = re.compile(r'File "(.+)", line (\d+)')

Line = tuple[str, int]
"""A file, and the number of a line."""

_NONE: Final[frozenset[Line]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSite:
    """Where an author's own attention sits, and the files that it is written in."""

    path: str
    attention: str
    files: frozenset[str]


def own_sites(
    module: nn.Module, sites: Iterable[PlacedSite], own: Mapping[str, Sequence[Path]]
) -> list[OwnSite]:
    """Find the files of the attentions that are an author's own.

    Args:
        module: The model.
        sites: Where attention sits in it.
        own: The files of each attention, by what it is called; none of those that have a name.
    """
    found = []
    for site in sites:
        if not own.get(site.attention):
            continue
        home = own[site.attention][-1].resolve()
        classes = {type(one) for one in module.get_submodule(site.path).modules()}
        beside = {
            file
            for file in filter(None, map(_file_of, classes))
            if home.parent in Path(file).parents and "site-packages" not in Path(file).parts
        }
        files = frozenset({str(home), *beside})
        found.append(OwnSite(path=site.path, attention=site.attention, files=files))
    return found


def lines_of(
    sites: Sequence[OwnSite],
    stacks: Mapping[str, str],
    lowered: Lowered,
    legalised: Sequence[LegalisedNode],
    *,
    stock: Path,
    left: Sequence[str],
) -> tuple[OwnLines, ...]:
    """Return what became of each line, in order; of several together where a node is of several.

    Args:
        sites: The sites of authors' own attentions.
        stacks: The stack in which torch met each node's operation, by the node's name.
        lowered: What lowering did.
        legalised: What legalisation did.
        stock: The file as torch wrote it.
        left: The names of the nodes of the file that was made.
    """
    written = read_subject(stock).nodes
    found = []
    for attention in dict.fromkeys(site.attention for site in sites):
        of = [site for site in sites if site.attention == attention]
        known = {
            name: line
            for name, stack in stacks.items()
            for site in of
            if is_inside(module_of(name), site.path)
            if (line := _line(stack, site.files)) is not None
        }
        own = [name for name in left if any(is_inside(module_of(name), one.path) for one in of)]
        found += _grouped(attention, known, written, lowered, legalised, own)
    return tuple(found)


def _grouped(
    attention: str,
    known: Mapping[str, Line],
    written: Sequence[Node],
    lowered: Lowered,
    legalised: Sequence[LegalisedNode],
    left: Sequence[str],
) -> list[OwnLines]:
    steps = [(one.nodes_before, one.nodes_after) for one in lowered.rewrites]
    steps += [((one.node,), one.into) for one in legalised]
    lines = carried({name: frozenset([line]) for name, line in known.items()}, steps)
    rules = [
        (one.rule, _NONE.union(*(lines.get(name, _NONE) for name in one.nodes_before)))
        for one in lowered.rewrites
    ]
    single = (frozenset([one]) for one in known.values())
    together = merged([*single, *(lines[name] for name in left if name in lines)])
    found = []
    for group in sorted(together, key=min):
        each = []
        for line in sorted(group):
            nodes = [one for one in written if known.get(one.name) == line]
            missed = [one for one in lowered.near_misses if known.get(one.site) == line]
            each.append(_as_written(line, nodes, missed))
        found.append(
            OwnLines(
                attention=attention,
                lines=tuple(each),
                nodes=tuple(name for name in left if lines.get(name, _NONE) & group),
                rules=tuple(dict.fromkeys(rule for rule, of in rules if of & group)),
            )
        )
    return found


def _as_written(line: Line, nodes: Sequence[Node], missed: Iterable[NearMiss]) -> OwnLine:
    return OwnLine(
        file=line[0],
        line=line[1],
        code=linecache.getline(*line).strip(),
        nodes=len(nodes),
        macs=sum(one.macs for one in nodes),
        traffic_bytes=sum(one.traffic_bytes for one in nodes),
        near_misses=tuple(dict.fromkeys(f"{one.rule}: {one.reason}" for one in missed)),
    )


def _line(stack: str, files: frozenset[str]) -> Line | None:
    """Return the innermost line of the files in a stack."""
    return next((one for one in reversed(list(_frames(stack))) if one[0] in files), None)


def _frames(stack: str) -> Iterator[Line]:
    return ((file, int(number)) for file, number in _FRAME.findall(stack))


def _file_of(kind: type[nn.Module]) -> str | None:
    try:
        return inspect.getsourcefile(kind)
    except TypeError:  # it is in no file
        return None
