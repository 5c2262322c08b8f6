"""A command's options made of dataclasses of options, and what is given read back into them."""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import keyword
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer

from edgeattn.lowering.target import TARGETS
from edgeattn.options.flags import Flag, Flags

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@dataclasses.dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """What is given of a dataclass's options; read when work begins.

    Attributes:
        kind: The dataclass.
        values: The values of all options that the command has, by long name.
    """

    kind: type[T]
    values: Mapping[str, Any]

    def __or__(self, other: Asked[T]) -> Asked[T]:
        return Asked(self.kind, {**self.values, **other.values})

    def given(self) -> set[str]:
        """Return the long names of the options that differ from their defaults."""
        return {
            option.name
            for option in _options(self.kind)
            if not _is_empty(self.values.get(option.name))
            and self.values[option.name] != option.default
        }

    def value(self, name: str) -> Any:
        """Return the value of one field, its default if nothing is given.

        Raises:
            InputError: What is given cannot be read.
        """
        field = self.kind.__dataclass_fields__[name]
        return self._read(field).get(name, field.default)

    def read(self, **known: object) -> T:
        """Return the dataclass.

        Args:
            **known: Fields that are not for these options to say.

        Raises:
            InputError: What is given cannot be read.
        """
        for field in dataclasses.fields(self.kind):
            if field.name not in known:
                known |= self._read(field)
        return self.kind(**known)

    def _read(self, field: dataclasses.Field[Any]) -> dict[str, Any]:
        """Return the value of a field by its name; nothing if none is given."""
        options: Flags | None = field.metadata.get("flags")
        values = [self.values.get(_name(flag)) for flag in options.flags] if options else []
        if options is None or all(map(_is_empty, values)):
            return {}
        if options.read is not None:
            return {field.name: options.read(*(() if one is None else one for one in values))}
        (value,) = values
        if isinstance(value, list):
            value = tuple(value)
        return {field.name: not value if _is_inverse(options.flags[0]) else value}


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of every dataclass of options among its parameters.

    It receives the dataclass, or `Asked` of it, as the parameter is annotated. Long names in the
    annotation say which of the options it has, in which order. A `Flag` there makes one option, or
    an argument.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[type[Any], list[str], bool]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        hint, said = hints[name], getattr(hints[name], "__metadata__", (None,))[0]
        plain = hint.__origin__ if said is not None else hint
        is_asked = typing.get_origin(plain) is Asked
        kind = typing.get_args(plain)[0] if is_asked else plain
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            options = {option.name: option for option in _options(kind)}
            taken = list(options if said is None else said)
            groups[name] = (kind, taken, is_asked)
            parameters += [options[one] for one in taken]
            continue
        if isinstance(said, Flag):
            hint = Annotated[plain, _option(said)]
        parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def spread(**given: Any) -> None:
        for name, (kind, options, is_asked) in groups.items():
            asked = Asked(kind, {option: given.pop(option) for option in options})
            given[name] = asked if is_asked else asked.read()
        command(**given)

    signature = inspect.Signature(parameters)
    spread.__signature__ = signature  # type: ignore[attr-defined]  # functions take any attribute
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del spread.__wrapped__  # typing would read the command's own hints through it
    return spread


@functools.cache
def _options(kind: type[DataclassInstance]) -> list[inspect.Parameter]:
    """Return the options of a dataclass as keyword parameters that Typer reads."""
    hints = typing.get_type_hints(kind)
    return [
        _parameter(flag, hints[field.name], field.default)
        for field in dataclasses.fields(kind)
        if "flags" in field.metadata
        for flag in field.metadata["flags"].flags
    ]


def _parameter(flag: Flag, hint: Any, default: object) -> inspect.Parameter:
    if flag.takes is not None:
        hint, default = flag.takes | None, None
    elif typing.get_origin(hint) in (tuple, collections.abc.Mapping):
        hint, default = list[str] | None, None
    elif _is_inverse(flag):
        default = False
    return inspect.Parameter(
        _name(flag),
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[hint, _option(flag)],
        default=inspect.Parameter.empty if default is dataclasses.MISSING else default,
    )


def _option(flag: Flag) -> Any:
    words = flag.spelling.split()
    names = [word for word in words if word.startswith("-")]
    metavar = words[-1] if len(words) > len(names) else None
    said = flag.help.replace("{targets}", " or ".join(TARGETS))
    if not names:
        return typer.Argument(metavar=metavar, help=said)
    return typer.Option(*names, metavar=metavar, help=said, min=flag.min, max=flag.max)


def _name(flag: Flag) -> str:
    """Return the long name of an option as Python writes it: `half_io`, and `from_` of `--from`."""
    name = flag.spelling.split()[0].partition("/")[0].removeprefix("--").replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def _is_inverse(flag: Flag) -> bool:
    return flag.spelling.startswith("--no-")


def _is_empty(value: object) -> bool:
    return value is None or value == []
