"""Builds a model from where it is asked for: timm, torchvision, a Python file, a .pt2 file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import nn

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean
from edgeattn.models import names, program, userfile, zoo
from edgeattn.options.model import ModelRequest

IMAGE: Final = (1, 3, 224, 224)


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A model as its source built it.

    Attributes:
        module: The model.
        source: Where it is from, in canonical form ("timm:resnet50").
        shapes: The shapes of its inputs, unless others are asked for.
        program: The exported program, of a .pt2 file only.
    """

    module: nn.Module
    source: str
    shapes: tuple[tuple[int, ...], ...]
    program: torch.export.ExportedProgram | None = None


def user_file(source: str) -> tuple[Path, str] | None:
    """Split `path/to/file.py:factory`, the factory empty if there is none; None for others."""
    if source.endswith(".py"):
        return Path(source), ""
    path, _, factory = source.rpartition(":")
    return (Path(path), factory) if path.endswith(".py") else None


def create(request: ModelRequest) -> Created:
    """Build the model of a request, without attentions and weights from files.

    Raises:
        InputError: There is no such model, or it cannot be built as asked.
        MissingError: Its weights cannot be fetched.
    """
    source = request.source
    if source.endswith(".pt2"):
        return _program(request)
    if (file := user_file(source)) is not None:
        return _user_file(request, *file)
    resolved = names.resolve(source) if ":" not in source else source
    origin, _, name = (resolved or "").partition(":")
    if origin == "timm" and zoo.timm_has(name):
        module, shape = zoo.from_timm(name, request)
        return Created(module=module, source=f"timm:{name}", shapes=((1, *shape),))
    if origin == "torchvision" and name in names.torchvision_names():
        module = zoo.from_torchvision(name, request)
        return Created(module=module, source=f"torchvision:{name}", shapes=(IMAGE,))
    near = did_you_mean(names.nearest(source))
    raise InputError(
        f"there is no model named '{source}'",
        mend=f"{near} A model is given as {', '.join(names.FORMS)}.".strip(),
    )


def _program(request: ModelRequest) -> Created:
    refused = {
        "--model-arg": bool(request.model_args),
        "--pretrained": request.pretrained,
        "--num-classes": request.num_classes is not None,
        "--attention": bool(request.attentions),
    }
    for option, given in refused.items():
        if given:
            raise InputError(
                f"{option} cannot be applied to {request.source}: a .pt2 file holds a finished "
                "graph and no modules",
                mend="Give the model that it was exported from instead.",
            )
    loaded, shapes = program.load(Path(request.source))
    return Created(
        module=loaded.module(), source=request.source, shapes=shapes or (IMAGE,), program=loaded
    )


def _user_file(request: ModelRequest, path: Path, factory: str) -> Created:
    if request.pretrained:
        raise InputError(
            f"--pretrained is for timm's and torchvision's models, not for {path}",
            mend="Give its weights with --weights FILE.",
        )
    module = userfile.build(
        path, factory, model_args=request.model_args, num_classes=request.num_classes
    )
    return Created(module=module, source=f"{path}:{factory}", shapes=(IMAGE,))
