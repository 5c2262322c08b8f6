"""Reads JSON and TOML that others may have written, cut off, or put something else in place of.

Whatever is wrong with a file is an input error: what is read is bounded in bytes, in values and in
depth, and every number fits 64 bits.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from edgeattn.base import raw_json
from edgeattn.base.errors import InputError
from edgeattn.base.files import opened

# Far above what any holds: an engine's manifest of 10,000 kernels has 20 MB, trtexec's times of
# 100,000 runs 25 MB.
_LARGEST_MIB: Final = 200
_MOST_CONTAINERS: Final = 10_000_000
_DEEPEST: Final = 64
_DIGITS: Final = 20  # of an unsigned number of 64 bits
_LARGEST: Final = 1e30  # the largest figure, that sums and products of some be finite
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def read_text(
    path: Path,
    *,
    largest_mib: int = _LARGEST_MIB,
    otherwise: str = "is no text",
    mend: str = "",
) -> str:
    """Read a text file in UTF-8, or in UTF-16 or 32 with a byte order mark.

    Args:
        path: The file.
        largest_mib: What no file of its kind reaches.
        otherwise: What is said of a file that is no text.
        mend: What to do about it.

    Raises:
        InputError: It is missing, no file, unreadable, too large, or no text.
    """
    limit = largest_mib << 20
    with opened(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InputError(
            f"{path} is larger than {largest_mib} MiB, which no file of its kind reaches.",
            mend="Give another file.",
        )
    try:
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} {otherwise}.", mend=mend) from error


def read_json(path: Path, *, mend: str = "", is_foreign: bool = False) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        mend: What to do where it is no JSON.
        is_foreign: As `parse_json` has it.

    Raises:
        InputError: It cannot be read as such.
    """
    return parse_json(read_text(path), str(path), mend=mend, is_foreign=is_foreign)


def parse_json(text: str, name: str, *, mend: str = "", is_foreign: bool = False) -> Any:
    """Read JSON.

    Args:
        text: The JSON; a byte order mark before it does not matter.
        name: What it is, for errors.
        mend: What to do where it is no JSON.
        is_foreign: Whether another program wrote it, which may say a key twice (the last counts),
            leave strings as they are, with quotes, backslashes and control characters in them, and
            write NaN.

    Raises:
        InputError: It is no JSON, not all of it, or none that can be used.
    """
    try:
        document = _parsed(text.removeprefix("\ufeff"), is_foreign=is_foreign)
    except RecursionError as error:
        raise InputError(f"{name} cannot be read: it is nested too deeply.", mend=mend) from error
    except _UnusableError as error:
        raise InputError(f"{name} cannot be read: {error}.", mend=mend) from error
    except ValueError as error:
        raise InputError(
            f"{name} is no JSON, or not all of it: {error}.",
            mend=mend or "The file may be cut off.",
        ) from error
    return document


def parse_toml(text: str, name: str, *, mend: str = "") -> dict[str, Any]:
    """Read TOML.

    Args:
        text: The TOML; a byte order mark before it does not matter.
        name: What it is, for errors.
        mend: What to do where it is no TOML.

    Raises:
        InputError: It is no TOML, or none that can be used.
    """
    try:
        table = tomllib.loads(text.removeprefix("\ufeff"))
        _check_depth(table)
    except RecursionError as error:
        raise InputError(f"{name} is no TOML: it is nested too deeply.", mend=mend) from error
    except ValueError as error:
        raise InputError(f"{name} is no TOML: {error}.", mend=mend) from error
    return table


def checked(kind: Any, document: Any, fact: str, *, counted_in: str = "", mend: str = "") -> Any:
    """Return a document as a pydantic model, a dataclass, or another type that pydantic knows.

    Args:
        kind: The type.
        document: What was read.
        fact: What to say where it does not fit; the first place and what is wrong there follow.
        counted_in: What the document is a list of, if it is one: `entry`.
        mend: What to do about it.

    Raises:
        InputError: It does not fit.
    """
    try:
        return TypeAdapter(kind).validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = f"{counted_in} {'.'.join(map(str, first['loc'])) or 'the whole'}".strip()
        what = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{fact}: {place}: {what[:1].lower()}{what[1:]}.", mend=mend) from error


class _UnusableError(ValueError):
    """It is JSON, but none that can be used."""


def _parsed(text: str, *, is_foreign: bool) -> Any:
    if text.count("[") + text.count("{") > _MOST_CONTAINERS:
        raise _UnusableError(f"it has more than {_MOST_CONTAINERS:,} lists and objects")
    document = _foreign(text) if is_foreign else _loaded(text, is_foreign=False)
    _check_depth(document)
    if _SURROGATE.search(text):
        _check_characters(document)
    return document


def _foreign(text: str) -> Any:
    """Read what may hold strings as they are; a backslash in one is no escape then."""
    if "\\" in text and raw_json.is_written_raw(text):
        text = raw_json.escaped(text)
    try:
        return _loaded(text, is_foreign=True)
    except _UnusableError:
        raise
    except ValueError as error:
        try:
            return _loaded(raw_json.escaped(text), is_foreign=True)
        except _UnusableError:
            raise
        except ValueError:
            raise error from None


def _loaded(text: str, *, is_foreign: bool) -> Any:
    return json.loads(
        text,
        strict=not is_foreign,
        parse_int=_integer,
        parse_float=_float,
        parse_constant=None if is_foreign else _constant,
        object_pairs_hook=None if is_foreign else _unique,
    )


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _DIGITS:
        raise _UnusableError(f"a number has {len(digits):,} digits")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if abs(number) > _LARGEST:
        raise _UnusableError(f"a number is beyond {_LARGEST:g}")
    return number


def _constant(name: str) -> float:
    raise _UnusableError(f"{name} is no number of JSON's")


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _UnusableError(f"{key!r} is said twice")
        found[key] = value
    return found


def _check_characters(document: Any) -> None:
    """Refuse half a character, which can be neither printed nor written."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise _UnusableError("a string holds half a character") from error


def _check_depth(document: Any) -> None:
    """Refuse lists and objects that lie in each other too often, as json does much deeper."""
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    if level:
        raise RecursionError
