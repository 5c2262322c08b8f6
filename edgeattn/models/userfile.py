"""A model that a factory in a user's own Python file builds."""

from __future__ import annotations

import ast
import inspect
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pydantic
import torch
from torch import nn

from edgeattn.base.errors import InputError, in_one_line
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.models.arguments import literal
from edgeattn.models.importing import import_file, importable

_LISTED: Final = 8


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
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if not factory:
        defined = _definitions(path)
        shown = ", ".join(defined[:_LISTED]) + (", …" if len(defined) > _LISTED else "")
        raise InputError(
            f"{path} does not say what builds the model",
            mend=f"Name a function or class in it: {path}:{defined[0] if defined else 'NAME'}"
            + (f" (it has {shown})." if len(defined) > 1 else "."),
        )
    with importable(path):
        with _blaming(path, "cannot be imported"):
            loaded = import_file(path)
        make = getattr(loaded, factory, None)
        if not callable(make):
            raise InputError(
                f"{path} has no function or class named '{factory}'",
                mend=did_you_mean(nearest(factory, _definitions(path))),
            )
        where = f"{path}:{factory}"
        if isinstance(make, nn.Module):
            raise InputError(
                f"{where} is a model already, not what builds one",
                mend=f"Write a function that returns it: def make(): return {factory}",
            )
        arguments = _typed(where, make, _with_classes(where, make, model_args, num_classes))
        _check_complete(where, make, arguments)
        with _blaming(path, f"fails in {factory}()"):
            module = make(**arguments)
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{where} must return a torch.nn.Module: it gave {_described(module)}",
            mend=_how_to_return(where, factory, module),
        )
    return module


def _described(result: object) -> str:
    if isinstance(result, type):
        return f"the class {result.__name__}"
    parts = _parts(result)
    if not parts:
        return f"{type(result).__name__}"
    kinds = ", ".join(type(part).__name__ for part in parts[:_LISTED])
    return f"{type(result).__name__} of {kinds}" + (", …" if len(parts) > _LISTED else "")


def _parts(result: object) -> list[object]:
    if isinstance(result, Mapping):
        return list(result.values())
    return list(result) if isinstance(result, (tuple, list)) else []


def _how_to_return(where: str, factory: str, result: object) -> str:
    """Say how a factory comes to return a model, where what it gave tells that."""
    if isinstance(result, type) and issubclass(result, nn.Module):
        return f"Call it: return {result.__name__}()"
    if isinstance(result, torch.export.ExportedProgram):
        return "Save it, and give the file: torch.export.save(program, 'model.pt2')"
    parts = _parts(result)
    if any(isinstance(part, nn.Module) for part in parts):
        at = next(index for index, part in enumerate(parts) if isinstance(part, nn.Module))
        key = list(result)[at] if isinstance(result, Mapping) else at
        return f"Return the model alone: def make(): return {factory}()[{key!r}]"
    if parts and all(isinstance(part, torch.Tensor) for part in parts):
        return f"Those are weights: save them, and give them to {where}'s model with --weights."
    return ""


@contextmanager
def _blaming(path: Path, what: str) -> Iterator[None]:
    """Turn what a user's code raises into an error with its place and its message."""
    try:
        yield
    except (Exception, SystemExit) as error:
        line = _line(path, error)
        elsewhere = "" if line else _place(error)
        raise InputError(
            f"{path}{line} {what}: {in_one_line(error)}{elsewhere}", mend=_cure(error)
        ) from error


def _cure(error: BaseException) -> str:
    """Say what to do about what a user's code raises, where it is a thing of this machine."""
    if isinstance(error, ModuleNotFoundError):
        top = str(error.name or "").partition(".")[0]
        return f"Install {top} where edgeattn is, or give the file where its project has it."
    if "CUDA" in str(error) or "cuda" in str(error):
        return (
            "Build the model on the CPU, where it is exported: leave .cuda() out, and load"
            " weights with map_location='cpu'."
        )
    return ""


def _line(path: Path, error: BaseException) -> str:
    """Return a colon and the line of the file that raised, or called what raised; "" if none."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f":{error.lineno or 1}"
    own = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == path.resolve() and frame.lineno
    ]
    return f":{own[-1]}" if own else ""


def _place(error: BaseException) -> str:
    """Return, in brackets, the file and line that raised, where that is a user's file."""
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    return "".join(f" ({at.filename}:{at.lineno})" for at in frame if Path(at.filename).is_file())


def _definitions(path: Path) -> list[str]:
    """Return the names of the functions and classes at the top of a file, without running it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node.name for node in tree.body if isinstance(node, kinds)]


def _with_classes(
    where: str, make: Callable[..., Any], model_args: Mapping[str, str], num_classes: int | None
) -> dict[str, str]:
    if num_classes is None:
        return dict(model_args)
    parameters = _parameters(make)
    if "num_classes" not in parameters and not _takes_any(parameters):
        raise InputError(f"--num-classes is given, but {where} takes no num_classes")
    return {"num_classes": str(num_classes), **model_args}


def _typed(where: str, make: Callable[..., Any], texts: Mapping[str, str]) -> dict[str, Any]:
    parameters = _parameters(make)
    annotations = _annotations(make)
    typed: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in parameters and not _takes_any(parameters):
            raise InputError(
                f"{where} takes no argument '{name}'",
                mend=did_you_mean(nearest(name, parameters)),
            )
        typed[name] = _value(where, name, text, annotations.get(name, Any))
    return typed


def _check_complete(where: str, make: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Refuse to call a factory without an argument that it cannot do without."""
    given_by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    missing = [
        name
        for name, parameter in _parameters(make).items()
        if parameter.kind in given_by_name
        and parameter.default is inspect.Parameter.empty
        and name not in arguments
    ]
    if missing:
        raise InputError(
            f"{where} needs {', '.join(missing)}",
            mend=f"Give: {' '.join(f'--model-arg {name}=…' for name in missing)}",
        )


def _value(where: str, name: str, text: str, annotation: Any) -> Any:
    if annotation is Any:
        return literal(text)
    try:
        adapter = pydantic.TypeAdapter(annotation)
    except (
        pydantic.errors.PydanticUndefinedAnnotation,
        pydantic.errors.PydanticSchemaGenerationError,  # a type of the user's own
    ):
        return literal(text)
    for value in (text, literal(text)):
        try:
            return adapter.validate_python(value)
        except pydantic.ValidationError:
            continue
    raise InputError(
        f"{where}: {name} must be {inspect.formatannotation(annotation)}, not '{text}'"
    )


def _parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(make).parameters
    except (TypeError, ValueError):  # a builtin has no signature: let it decide
        return {"kwargs": inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)}


def _takes_any(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def _annotations(make: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(make.__init__ if inspect.isclass(make) else make)
    except (NameError, TypeError, AttributeError):  # names that exist only for a type checker
        return {}
