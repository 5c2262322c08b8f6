"""Programs that torch.export saved as .pt2 files."""

from __future__ import annotations

import logging
import os
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch

from edgeattn.base.errors import InputError, in_one_line
from edgeattn.models.quiet import quiet

# How torch.export names the members of an archive that it unpickles by itself.
_OBJECTS: Final = ("custom_obj_", "opaque_obj_")
# torch.load's own switch, which overrides what its caller asks for.
_FORCE: Final = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_MEND: Final = "Write one with torch.export.save(torch.export.export(model, inputs), FILE)."


def load(path: Path) -> tuple[torch.export.ExportedProgram, tuple[tuple[int, ...], ...]]:
    """Load an exported program, and the shapes of its inputs.

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


def _shapes(program: torch.export.ExportedProgram) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the user's inputs, with a dynamic size as in the example, or 1."""
    names = set(program.graph_signature.user_inputs)
    shapes = []
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and node.name in names and isinstance(value, torch.Tensor):
            shapes.append(tuple(_size(size) for size in value.shape))
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
