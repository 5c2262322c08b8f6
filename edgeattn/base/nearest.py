"""Suggests what was meant by an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

# From 0 to 1: with a lower one, short names are offered that share only two letters.
_ALIKE: Final = 0.5


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Return the known names that are most like a name, ignoring case, the most similar first."""
    written: dict[str, str] = {}
    for one in known:
        written.setdefault(one.lower(), one)
    close = difflib.get_close_matches(name.lower(), written, n=count, cutoff=_ALIKE)
    return [written[one] for one in close]


def did_you_mean(names: Iterable[str]) -> str:
    """Return the sentence that offers names, or "" if there are none."""
    offered = " or ".join(names)
    return f"Did you mean {offered}?" if offered else ""
