"""The addresses of hosts, as `ssh` takes them: `[USER@]HOST[:PORT]`, or a name of its config."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgeattn.base.errors import InputError
from edgeattn.base.legible import legible

# What a shell or ssh would take for more than a name is none: ssh hands it to ProxyCommand.
_NAME: Final = r"[A-Za-z0-9_.%\-]+"
_ADDRESS: Final = re.compile(
    rf"(?:(?P<user>{_NAME})@)?(?:\[(?P<ip>[0-9A-Fa-f:.%\w]+)\]|(?P<host>{_NAME}))(?::(?P<port>\d+))?"
)
_PORTS: Final = range(1, 65536)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a host is.

    Attributes:
        text: As it was given.
        host: Its name, its number, or what the config of ssh calls it.
        user: Who to log in as; None for what the config says.
        port: The port; None for what the config says.
    """

    text: str
    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        return self.text


def addresses(texts: Sequence[str]) -> tuple[Address, ...]:
    """Read addresses; several may stand in one text, with commas between.

    Raises:
        InputError: One cannot be read, or is given twice.
    """
    found = [_address(part.strip()) for text in texts for part in text.split(",")]
    for one in found:
        if found.count(one) > 1:
            raise InputError(f"The host {one} is given twice.")
    return tuple(found)


def _address(text: str) -> Address:
    match = _ADDRESS.fullmatch(text)
    parts = match.groupdict() if match else {}
    host = parts.get("host") or parts.get("ip") or ""
    port = None if parts.get("port") is None else int(parts["port"] or 0)
    begins_badly = any((one or "").startswith("-") for one in (host, parts.get("user")))
    if not match or begins_badly or not (port is None or port in _PORTS):
        raise InputError(
            f"{legible(text)!r} is no host.",
            mend="Write [USER@]HOST[:PORT], as in jetson@orin or jetson@192.168.55.1:22, or a name"
            " of ~/.ssh/config.",
        )
    return Address(text=text, host=host, user=parts["user"], port=port)
