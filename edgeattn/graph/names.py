"""Names of nodes and values: what they say, and new ones; `tags` gives the first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import onnx_ir as ir

#: The names of the domain of ONNX's own operators.
STANDARD_DOMAINS: Final = ("", "ai.onnx")
_BORDER: Final = re.compile(r"[./]")


def module_of(node_name: str) -> str:
    """Return the torch module path in a node's name; the root module and untagged nodes give ''."""
    return node_name.rpartition("/")[0]


@lru_cache(maxsize=1 << 16)
def tagged(node_name: str) -> str:
    """Write a node's name as our tags do, where torch's older exporter wrote it.

    A child of a container repeats the container: `/layer1/layer1.0` is `layer1.0`.
    """
    if not node_name.startswith("/"):
        return node_name
    *parts, operator = node_name[1:].split("/")
    kept = [one for one, then in pairwise([*parts, ""]) if not then.startswith(f"{one}.")]
    return f"{'.'.join(kept)}/{operator}"


def is_inside(module: str, outer: str) -> bool:
    """Return whether a module is another, or lies inside of it."""
    return module == outer or module.startswith((f"{outer}.", f"{outer}/")) or not outer


def modules_around(module: str) -> Iterator[str]:
    """Return all that a module `is_inside`: the root, what lies around it, and itself."""
    yield from dict.fromkeys(["", *(module[: one.start()] for one in _BORDER.finditer(module))])
    if module:
        yield module


class Names:
    """Hands out names that nothing else has.

    Args:
        taken: The names that are taken.
    """

    def __init__(self, taken: Iterable[str | None]) -> None:
        self._taken = set(taken)
        self._counts: Counter[str] = Counter()

    @classmethod
    def of(cls, model: ir.Model) -> Names:
        """Return the names that a model leaves, those of its branches and loop bodies included."""
        names = cls(())
        for graph in model.graphs():
            names.take(*graph.initializers, *(value.name for value in graph.inputs))
            for node in graph:
                names.take(node.name, *(value.name for value in node.outputs))
        return names

    def take(self, *names: str | None) -> None:
        """Mark names as taken."""
        self._taken.update(names)

    def __contains__(self, name: str) -> bool:
        return name in self._taken

    def new(self, stem: str) -> str:
        """Return a name that nothing has yet: the stem, with a number where that is taken."""
        while True:
            count = self._counts[stem]
            self._counts[stem] += 1
            name = f"{stem}_{count}" if count else stem
            if name not in self._taken:
                self._taken.add(name)
                return name
