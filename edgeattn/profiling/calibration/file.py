"""Writes a device profile as a device file: each figure with how it was got."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgeattn.devices.schema import DeviceProfile

_DIGITS = 4


def written(
    device: DeviceProfile, *, name: str, header: Sequence[str], how: Mapping[str, str]
) -> str:
    """Return the text of a device file.

    Args:
        device: The device.
        name: Its name; "" for that of its file.
        header: What, when and with what, in lines.
        how: How a figure was got, by its key, as in `efficiency.bandwidth.pooling`; of a table,
            what is said above it.
    """
    said = device.model_dump(mode="json", exclude_defaults=True, exclude={"name", "aliases"})
    own = {"name": name} | said if name else said
    lines = [*(f"# {line}" for line in header), *_table(own, "", how)]
    return "\n".join([*lines, ""])


def _table(said: Mapping[str, Any], path: str, how: Mapping[str, str]) -> Iterator[str]:
    """Write a table: its own keys first, then the tables in it."""
    tables = {key: value for key, value in said.items() if _is_table(value)}
    for key, value in said.items():
        if key not in tables and value is not None:
            comment = how.get(f"{path}{key}", "")
            yield f"{key} = {_value(value)}{f'  # {comment}' if comment else ''}"
    for key, value in tables.items():
        for one in value if isinstance(value, list) else [value]:
            if not one:
                continue
            yield ""
            if (above := how.get(f"{path}{key}", "")) and one is not said:
                yield from (f"# {line}" for line in above.splitlines())
            yield f"[[{path}{key}]]" if isinstance(value, list) else f"[{path}{key}]"
            yield from _table(one, f"{path}{key}.", how)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    )


def _value(value: Any) -> str:
    if isinstance(value, float):
        short = float(f"{value:.{_DIGITS}g}")
        return f"{short:.0f}" if short.is_integer() and short >= 10 else repr(short)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)
