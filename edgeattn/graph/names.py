"""What a node's name says; `tags` gives the names."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise


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
