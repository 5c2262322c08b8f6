"""Turns arguments written as `k=v` on the command line into Python values."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, Final

_WORDS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "none": None}


def literal(text: str) -> Any:
    """Return the Python literal that a text is (`3`, `0.5`, `(1, 2)`, `true`), or else the text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def literals(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return every value as `literal` reads it."""
    return {name: literal(text) for name, text in texts.items()}
