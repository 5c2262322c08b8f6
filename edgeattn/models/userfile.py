"""A model that a factory in a user's own Python file builds."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sys
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pydantic
from torch import nn

from edgeattn.base.errors import InputError, in_one_line
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.models.arguments import literal

_LISTED: Final = 8

_folders: set[Path] = set()
"""Folders that files were loaded from, whose modules may hide another folder's of the same name."""

_kept: list[str] = []
"""What was added to `sys.path`, the latest first: a forward() may import what lies beside it."""


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
    with _neighbours(path.resolve().parent):
        with _blaming(path, "cannot be imported"):
            loaded = _import(path)
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
        raise InputError(f"{where} must return a torch.nn.Module: it gave {type(module).__name__}")
    return module


def _import(path: Path) -> ModuleType:
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"_edgeattn_model_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses in the file look their module up while it is imported
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _neighbours(folder: Path) -> Iterator[None]:
    """Let a file import what lies beside it, while it is read and when its model is run."""
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if origin and Path(origin).parent in _folders - {folder}:
            del sys.modules[name]  # another model's `blocks.py` is not this one's
    _folders.add(folder)
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's code may have taken it away
            sys.path.remove(entry)
        _keep(entry)


def _keep(entry: str) -> None:
    """Leave a folder importable, behind everything installed, which it is not to hide from us.

    The latest folder stands before earlier ones, for its model is the one in use.
    """
    if entry in _kept:
        _kept.remove(entry)
        if entry in sys.path:
            sys.path.remove(entry)
    if entry in sys.path:  # not added here
        return
    earlier = [kept for kept in _kept if kept in sys.path]
    sys.path.insert(sys.path.index(earlier[0]) if earlier else len(sys.path), entry)
    _kept.insert(0, entry)


@contextmanager
def _blaming(path: Path, what: str) -> Iterator[None]:
    """Turn what a user's code raises into an error with its place and its message."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise InputError(f"{path}{_line(path, error)} {what}: {in_one_line(error)}") from error


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
