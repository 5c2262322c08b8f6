"""Which machines, reached by SSH, something is to be done on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from edgeattn.base.errors import InputError
from edgeattn.options.flags import Flag, flags

ON: Final = "--on [USER@]HOST[:PORT]"


def on(said: str) -> Any:
    """Return a dataclass field for the hosts of `--on`, as they are typed.

    Args:
        said: What is done there, for `--help`.
    """
    return flags(Flag(ON, f"{said} A name of ~/.ssh/config will do."), default=(), read=_texts)


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(texts)


def only(texts: Sequence[str]) -> str:
    """Return the one host that is given, where no more than one makes sense.

    Raises:
        InputError: Several are given.
    """
    parts = [part for text in texts for part in text.split(",")]
    if len(parts) > 1:
        raise InputError(f"--on names {len(parts)} hosts, and this is done on one at a time.")
    return parts[0]
