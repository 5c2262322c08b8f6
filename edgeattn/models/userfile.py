"""A model that a factory in a user's own Python file builds."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from edgeattn.base import usercode
from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean, nearest


def build(
    path: Path, factory: str, *, model_args: Mapping[str, str], num_classes: int | None
) -> nn.Module:
    """Call the factory in a file.

    Args:
        path: The file.
        factory: The name of a function or class in it.
        model_args: Keyword arguments, as written; typed by the factory's annotations.
        num_classes: Given to the factory as `num_classes`.

    Raises:
        InputError: The file or the factory is missing or raises; or the factory does not take
            these arguments, or returns no module.
    """
    found = usercode.find(str(path), factory, what="the model")
    where, make = found.where, found.make
    if isinstance(make, nn.Module):
        raise InputError(
            f"{where} is a model already, not what builds one",
            mend=f"Write a function that returns it: def make(): return {factory}",
        )
    arguments = _typed(where, make, _with_classes(where, make, model_args, num_classes))
    _check_complete(where, make, arguments)
    with found.running(f"fails in {factory}()"):
        module = make(**arguments)
    return _copied(usercode.checked_module(where, module))


def _copied(module: nn.Module) -> nn.Module:
    """Return a copy to change: a factory may keep what it returns, and return it again."""
    with contextlib.suppress(Exception):  # whatever a user's class raises; then it is taken itself
        return copy.deepcopy(module)
    return module


def _with_classes(
    where: str, make: Callable[..., Any], model_args: Mapping[str, str], num_classes: int | None
) -> dict[str, str]:
    if num_classes is None:
        return dict(model_args)
    parameters = usercode.parameters_of(make)
    if "num_classes" not in parameters and not usercode.takes_any(parameters):
        raise InputError(f"--num-classes is given, but {where} takes no num_classes")
    return {"num_classes": str(num_classes), **model_args}


def _typed(where: str, make: Callable[..., Any], texts: Mapping[str, str]) -> dict[str, Any]:
    parameters = usercode.parameters_of(make)
    annotations = usercode.annotations_of(make)
    typed: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in parameters and not usercode.takes_any(parameters):
            raise InputError(
                f"{where} takes no argument '{name}'",
                mend=did_you_mean(nearest(name, parameters)),
            )
        typed[name] = usercode.value_of(where, name, text, annotations.get(name, Any))
    return typed


def _check_complete(where: str, make: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Refuse to call a factory without an argument that it cannot do without."""
    given_by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    missing = [
        name
        for name, parameter in usercode.parameters_of(make).items()
        if parameter.kind in given_by_name
        and parameter.default is inspect.Parameter.empty
        and name not in arguments
    ]
    if missing:
        raise InputError(
            f"{where} needs {', '.join(missing)}",
            mend=f"Give: {' '.join(f'--model-arg {name}=…' for name in missing)}",
        )
