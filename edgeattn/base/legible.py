"""Makes text fit to be shown: names come from files, and may hold anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

# Controls but tab and line feed, marks that turn the direction of writing or show nothing, halves
# of characters, and what XML forbids.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
# No line that we write ourselves is so long.
_LONGEST_LINE: Final = 2000
_HEAD, _TAIL = 1400, 400
_MOST_LINES: Final = 200


def legible(text: str) -> str:
    r"""Return a text with what would not be seen, or would command a terminal, as `\x1b`."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def shortened(text: str) -> str:
    """Return a text without the middle of lines that nobody would read, nor ever more lines."""
    lines = text.split("\n")
    left = len(lines) - _MOST_LINES
    return "\n".join(
        [*map(_short, lines[:_MOST_LINES]), *([f"… {left} more lines"] if left > 0 else [])]
    )


def _short(line: str) -> str:
    if len(line) <= _LONGEST_LINE:
        return line
    left = len(line) - _HEAD - _TAIL
    return f"{line[:_HEAD]} … {left:,} more characters … {line[-_TAIL:]}"


def in_ranges(numbers: Sequence[int]) -> str:
    """Write numbers, in order, those that follow each other as a range: `40, 43 to 45`."""
    runs: list[list[int]] = []
    for one in numbers:
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return ", ".join(f"{run[0]} to {run[-1]}" if run[1:] else str(run[0]) for run in runs)


def all_legible(value: Any) -> Any:
    """Return what JSON can say with all its texts legible, keys too."""
    if isinstance(value, str):
        return legible(value)
    if isinstance(value, dict):
        return {all_legible(key): all_legible(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [all_legible(one) for one in value]
    return value
