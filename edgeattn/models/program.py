"""Programs that torch.export saved as .pt2 files."""

from __future__ import annotations

import logging
import os
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.utils import _pytree

from edgeattn.base.errors import InputError, in_one_line
from edgeattn.models.quiet import quiet
from edgeattn.options.shapes import Shape

# How torch.export names the members of an archive that it unpickles by itself.
_OBJECTS: Final = ("custom_obj_", "opaque_obj_")
# torch.load's own switch, which overrides what its caller asks for.
_FORCE: Final = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_MEND: Final = "Write one with torch.export.save(torch.export.export(model, inputs), FILE)."


def load(path: Path) -> tuple[torch.export.ExportedProgram, tuple[Shape, ...]]:
    """Load an exported program, and the shapes and types of its inputs.

    A file that torch.export did not write is recognised by its table of contents.
    torch.export.load runs pickles, even as a fallback if a plain read is refused. So it is made to
    read weights only, and objects that only a pickle holds are refused.

    Raises:
        InputError: The file is missing, is not from torch.export, or is damaged.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is no torch.export program, or it is cut short", mend=_MEND)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged: {in_one_line(error)}", mend=_MEND) from error
    current = any("/models/" in f"/{name}" and name.endswith(".json") for name in members)
    if not current and "serialized_exported_program.json" not in members:
        raise InputError(f"{path} is an archive, but no torch.export program", mend=_MEND)
    if any(kind in name for name in members for kind in _OBJECTS):
        raise InputError(f"{path} holds pickled objects, which could run code: refused")
    try:
        with quiet(("torch.export", "torch._export"), level=logging.CRITICAL), _weights_only():
            program = torch.export.load(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds a pickle that would run code when read: refused, nothing was run"
        ) from error
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as a torch.export program: {in_one_line(error)}", mend=_MEND
        ) from error
    return program, _shapes(program)


def runnable(program: torch.export.ExportedProgram) -> nn.Module:
    """Return a module that takes a program's inputs one after another, however it nests them."""
    module = program.module()
    spec = program.call_spec.in_spec
    flat = _pytree.tree_structure(((0,) * spec.num_leaves, {}))
    return module if spec is None or spec == flat else _Nesting(module, spec)


def examples(program: torch.export.ExportedProgram) -> list[torch.Tensor]:
    """Return the inputs that a program was traced with, none if it does not hold them."""
    leaves = _pytree.tree_leaves(program.example_inputs)
    return leaves if all(isinstance(leaf, torch.Tensor) for leaf in leaves) else []


class _Nesting(nn.Module):
    """A program's module, whose inputs are nested or have names."""

    def __init__(self, module: nn.Module, spec: _pytree.TreeSpec) -> None:
        super().__init__()
        self.program = module
        self._spec = spec

    def forward(self, *inputs: torch.Tensor) -> Any:
        positional, named = _pytree.tree_unflatten(inputs, self._spec)
        return self.program(*positional, **named)


def _shapes(program: torch.export.ExportedProgram) -> tuple[Shape, ...]:
    """Return the shapes of the user's inputs, with a dynamic size as in the example, or 1."""
    names = set(program.graph_signature.user_inputs)
    shapes = []
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and node.name in names and isinstance(value, torch.Tensor):
            sizes = [_size(size) for size in value.shape]
            shapes.append(Shape(sizes, str(value.dtype).removeprefix("torch.")))
    return tuple(shapes)


def _size(size: int | torch.SymInt) -> int:
    if isinstance(size, int):
        return size
    hint = size.node.hint if size.node.has_hint() else None
    return int(hint) if hint is not None else 1


@contextmanager
def _weights_only() -> Iterator[None]:
    """Keep torch.load from running pickles, whoever calls it."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before
