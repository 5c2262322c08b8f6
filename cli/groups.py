"""Option groups: a command's parameter whose type is a group stands for all of its options."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of every group among its parameters.

    A group is a dataclass whose fields are annotated as Typer's options are. Typer sees the
    fields as if they had been declared by the command; the command receives the group.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[type[Any], list[str]]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            fields = _options(hint)
            groups[name] = (hint, [field.name for field in fields])
            parameters += fields
        else:
            parameters.append(
                parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY)
            )

    @functools.wraps(command)
    def spread(**given: Any) -> None:
        for name, (group, fields) in groups.items():
            given[name] = group(**{field: given.pop(field) for field in fields})
        command(**given)

    signature = inspect.Signature(parameters)
    spread.__signature__ = signature  # type: ignore[attr-defined]  # functions take any attribute
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del spread.__wrapped__  # typing would read the command's own hints through it
    return spread


def _options(group: type[Any]) -> list[inspect.Parameter]:
    """A group's fields as keyword parameters."""
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hints[field.name],
            default=inspect.Parameter.empty
            if field.default is dataclasses.MISSING
            else field.default,
        )
        for field in dataclasses.fields(group)
    ]
