r"""JSON whose strings stand as they are: a quote, a backslash or a control character unescaped.

TensorRT and trtexec write so. Where a string ends is told by what follows: in an object, the comma
and the key of the next value, or the brace on the next line; in a list, the comma and the quote of
the next string, or the bracket, on the next line. A name that holds just that cannot be told from
what it looks like. Numbers that JSON has no word for (`nan`, `-nan`, `inf`) are written as C++
does.
"""

from __future__ import annotations

import json
import re
from typing import Final

_KEY: Final = r'"[A-Za-z][\w/ ]{0,40}"\s{0,8}:'
# Where a string begins that may be anything: behind a key, or as the element of a list.
_BEGIN: Final = re.compile(rf'{_KEY}\s{{0,8}}(?P<value>"|\[\s{{0,8}}")')
_END_OF_VALUE: Final = re.compile(rf'"(?=\s{{0,8}},\s{{0,8}}{_KEY}|\s{{0,8}}\n\s{{0,8}}\}})')
_END_OF_ELEMENT: Final = re.compile(r'"(?=\s{0,8}\n\s{0,8}(?P<next>,\s{0,8}"|\]))')
_NO_NUMBER: Final = re.compile(r"(?<=[:\[, ])(-?)(nan|inf)\b(?:\(\w*\))?")
# How these writers lay out what they write, and JSON's own libraries never do.
_BY_HAND: Final = re.compile(r'\{ "\w+" : |\[\{\n  "|\},\{\n  "')


def is_written_raw(text: str) -> bool:
    """Return whether a text is laid out as by TensorRT or trtexec, which escape nothing."""
    return _BY_HAND.search(text) is not None


def escaped(text: str) -> str:
    """Return JSON of a text whose strings stand as they are; what cannot be read stays."""
    parts: list[str] = []
    at = 0
    while found := _BEGIN.search(text, at):
        parts += [_numbers(text[at : found.start("value")]), found["value"][:-1]]
        is_list, at = len(found["value"]) > 1, found.end()
        while end := (_END_OF_ELEMENT if is_list else _END_OF_VALUE).search(text, at):
            parts.append(json.dumps(text[at : end.start()]))
            at = end.end()
            if not is_list or end["next"] == "]":
                break
            parts.append(end["next"][:-1])
            at = end.end("next")
        else:  # it does not end
            return "".join([*parts, text[at - 1 :]])
    return "".join([*parts, _numbers(text[at:])])


def _numbers(text: str) -> str:
    words = {"nan": "NaN", "inf": "Infinity"}
    return _NO_NUMBER.sub(
        lambda found: ("" if found[2] == "nan" else found[1]) + words[found[2]], text
    )
