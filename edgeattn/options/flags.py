"""How an option is written on the command line, declared beside the field that it sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Flag:
    """One option of the command line, or one argument.

    Attributes:
        spelling: As in `--output -o FILE`: its names, and what stands for its value in `--help`.
            One that begins with `--no-` clears a field that is set; an argument has no name.
        help: What `--help` says of it.
        min: The smallest number that it takes.
        max: The largest.
        takes: The type of its text, if it is not the field's; without it, the field's default
            holds, and is for `help` to say.
    """

    spelling: str
    help: str
    min: float | None = None
    max: float | None = None
    takes: type | None = None


@dataclass(frozen=True, slots=True)
class Flags:
    """The options that set a field.

    Attributes:
        flags: The options.
        read: Makes the field's value of theirs, if it is not that of the only one.
    """

    flags: tuple[Flag, ...]
    read: Callable[..., object] | None


def flag(
    spelling: str,
    said: str,
    *,
    default: Any = None,
    read: Callable[[Any], object] | None = None,
    **how: Any,
) -> Any:
    """Return a dataclass field that one option sets.

    Args:
        spelling: As `Flag.spelling`.
        said: As `Flag.help`.
        default: The default of the field, or what makes it.
        read: Makes the value of the field of the option's.
        **how: The other attributes of the `Flag`.
    """
    return flags(Flag(spelling, said, **how), default=default, read=read)


def switch(spelling: str, said: str) -> Any:
    """Return a dataclass field that is False until its option sets it, or True if it clears it."""
    return flag(spelling, said, default=spelling.startswith("--no-"))


def flags(*several: Flag, default: Any, read: Callable[..., object] | None = None) -> Any:
    """Return a dataclass field that several options set together.

    Args:
        *several: The options.
        default: The default of the field, or what makes it.
        read: Makes the value of the field of the options' texts, a sequence for each option.
    """
    how: Any = {"default_factory": default} if callable(default) else {"default": default}
    return field(metadata={"flags": Flags(several, read)}, **how)
