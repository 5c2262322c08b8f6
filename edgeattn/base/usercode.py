"""What a user's own Python code defines: found by name, its signature read, its faults told.

A definition is named as `path/to/file.py:name`, or as `package.module:name`: a module that lies in
the folder where one stands, as `python -m` finds it, or one that is installed.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pydantic

from edgeattn.base.arguments import literal
from edgeattn.base.errors import InputError, in_one_line
from edgeattn.base.importing import import_file, importable
from edgeattn.base.nearest import did_you_mean, nearest

if TYPE_CHECKING:
    from torch import nn

_LISTED: Final = 8
_DEFINITIONS: Final = (ast.FunctionDef, ast.ClassDef)
_ANY: Final = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A function or a class of a user's.

    Attributes:
        where: As it was asked for.
        path: The file that was named, or that the module named lies in; None of a module that is
            in no file.
        make: The function or the class.
    """

    where: str
    path: Path | None
    make: Callable[..., Any]

    @contextmanager
    def running(self, what: str, *, within: Path | None = None, mend: str = "") -> Iterator[None]:
        """Run its code: it may import what lies beside it, and is blamed for what it raises.

        Args:
            what: What it did that failed.
            within: The file to name a line of, if it is not that of the definition.
            mend: What to do about it, where the error does not tell that.

        Raises:
            InputError: It raised something.
        """
        near = nullcontext() if self.path is None else importable(self.path)
        with near, blaming(self.where, within or self.path, what, mend=mend):
            yield


def split(name: str) -> tuple[str, str] | None:
    """Split `path/to/file.py:name` or `package.module:name`; None for a name without either.

    The second part is empty for a file alone.
    """
    if name.endswith(".py"):
        return name, ""
    home, colon, member = name.rpartition(":")
    return (home, member) if colon else None


def file_of(home: str) -> Path | None:
    """Return the file that the first part of a name says, or None of an installed module."""
    if home.endswith(".py"):
        return Path(home)
    stem = Path(*home.split("."))
    beside = (stem.with_name(f"{stem.name}.py"), stem / "__init__.py")
    return next((one for one in beside if one.is_file()), None)


def find(home: str, member: str, *, what: str) -> Definition:
    """Import a user's file or module, and find a function or a class in it.

    Args:
        home: The file, or the module's name.
        member: The name in it.
        what: What it is to build, as "the model".

    Raises:
        InputError: There is no such file, module or definition, or it cannot be imported.
    """
    path = file_of(home)
    if path is None:
        loaded = _installed(home)
        known = [name for name in vars(loaded) if not name.startswith("_")]
        path = Path(file) if (file := getattr(loaded, "__file__", None)) else None
    else:
        if not path.is_file():
            raise InputError(f"there is no file {path}")
        known = [node.name for node in definitions(path)]
        if member:
            with importable(path), blaming(str(path), path, "cannot be imported"):
                loaded = import_file(path)
    if not member:
        shown = ", ".join(known[:_LISTED]) + (", …" if len(known) > _LISTED else "")
        raise InputError(
            f"{home} does not say what builds {what}",
            mend=f"Name a function or class in it: {home}:{known[0] if known else 'NAME'}"
            + (f" (it has {shown})." if len(known) > 1 else "."),
        )
    make = getattr(loaded, member, None)
    if not callable(make):
        raise InputError(
            f"{home} has no function or class named '{member}'",
            mend=did_you_mean(nearest(member, known)),
        )
    return Definition(where=f"{home}:{member}", path=path, make=make)


def _installed(home: str) -> types.ModuleType:
    from edgeattn.base.torchvision_ops import declare_missing_operators

    declare_missing_operators()  # it may import timm or torchvision
    try:
        return importlib.import_module(home)
    except ModuleNotFoundError as error:
        if error.name and (home == error.name or home.startswith(f"{error.name}.")):
            raise InputError(
                f"there is no module {error.name}, neither in {Path.cwd()} nor installed",
                mend="Give its file, path/to/file.py:NAME, or stand in the folder that it is in.",
            ) from error
        raise InputError(
            f"{home} cannot be imported: {in_one_line(error)}", mend=_cure(error)
        ) from error
    except Exception as error:
        raise InputError(f"{home} cannot be imported: {in_one_line(error)}") from error


def definitions(path: Path) -> list[ast.FunctionDef | ast.ClassDef]:
    """Return the functions and classes at the top of a file, without running it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []
    return [node for node in tree.body if isinstance(node, _DEFINITIONS)]


@contextmanager
def blaming(where: str, path: Path | None, what: str, *, mend: str = "") -> Iterator[None]:
    """Turn what a user's code raises into an error with its place and its message."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        line = "" if path is None else _line(path, error)
        elsewhere = "" if line else _place(error)
        raise InputError(
            f"{path if line else where}{line} {what}: {in_one_line(error)}{elsewhere}",
            mend=_cure(error) or mend,
        ) from error


def _cure(error: BaseException) -> str:
    """Say what to do about what a user's code raises, where it is a thing of this machine."""
    if isinstance(error, ModuleNotFoundError):
        top = str(error.name or "").partition(".")[0]
        return f"Install {top} where edgeattn is, or give the file where its project has it."
    if "CUDA" in str(error) or "cuda" in str(error):
        return (
            "Build it on the CPU, where it is exported: leave .cuda() out, and load weights with"
            " map_location='cpu'."
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


def parameters_of(make: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return what a function or a class takes.

    A class that passes on whatever it is given takes what the class that it passes it to takes.
    """
    if isinstance(make, type) and not _inits(make):
        return {}
    try:
        found = dict(inspect.signature(make).parameters)
    except (TypeError, ValueError):  # a builtin has no signature: let it decide
        return {"kwargs": inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)}
    for init in _inits(make)[1:]:
        if not takes_any(found):
            break
        kinds = {one.kind for one in found.values()}
        found = _named(found)
        for one in list(inspect.signature(init).parameters.values())[1:]:
            # Without *args, it may itself say what its base cannot do without.
            if one.default is one.empty and one.kind not in _ANY and _ANY[1] not in kinds:
                found.setdefault("kwargs", inspect.Parameter("kwargs", _ANY[0]))
            else:
                found.setdefault(one.name, one)
    return found


def named_parameters_of(make: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return what a function or a class takes, but for arguments of any name and number."""
    return _named(parameters_of(make))


def _named(parameters: Mapping[str, inspect.Parameter]) -> dict[str, inspect.Parameter]:
    return {name: one for name, one in parameters.items() if one.kind not in _ANY}


def _inits(make: Callable[..., Any]) -> list[types.FunctionType]:
    """Return the constructors of a class that are not torch's, its own first."""
    found = [vars(one).get("__init__") for one in getattr(make, "__mro__", ())]
    return [
        one
        for one in found
        if isinstance(one, types.FunctionType) and one.__module__ != "torch.nn.modules.module"
    ]


def takes_any(parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Return whether arguments of any name are taken."""
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())


def annotations_of(make: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of what a function or a class takes, as far as they can be read."""
    found: dict[str, Any] = {}
    makes: Sequence[Callable[..., Any]] = _inits(make) or [make]
    for one in reversed(makes):
        try:
            found |= typing.get_type_hints(one)
        except (NameError, TypeError, AttributeError):  # names that only a type checker has
            continue
    return found


def value_of(where: str, name: str, text: str, annotation: Any) -> Any:
    """Return an argument that was written as text, in the type of its annotation.

    Raises:
        InputError: It is of another type.
    """
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


def checked_module(where: str, result: object) -> nn.Module:
    """Return what a definition returned, if that is a module.

    Raises:
        InputError: It is none.
    """
    from torch import nn

    if isinstance(result, nn.Module):
        return result
    raise InputError(
        f"{where} must return a torch.nn.Module: it gave {_described(result)}",
        mend=_how_to_return(where, result),
    )


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


def _how_to_return(where: str, result: object) -> str:
    """Say how a factory comes to return a module, where what it gave tells that."""
    import torch
    from torch import nn

    if isinstance(result, type) and issubclass(result, nn.Module):
        return f"Call it: return {result.__name__}()"
    if isinstance(result, torch.export.ExportedProgram):
        return "Save it, and give the file: torch.export.save(program, 'model.pt2')"
    parts = _parts(result)
    if any(isinstance(part, nn.Module) for part in parts):
        at = next(index for index, part in enumerate(parts) if isinstance(part, nn.Module))
        key = list(result)[at] if isinstance(result, Mapping) else at
        return f"Return the model alone: def make(): return {where.rpartition(':')[2]}()[{key!r}]"
    if parts and all(isinstance(part, torch.Tensor) for part in parts):
        return f"Those are weights: save them, and give them to {where}'s model with --weights."
    return ""
