"""Builds a model from where it is asked for: timm, torchvision, Ultralytics, a .py or .pt2 file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import nn

from edgeattn.base.errors import InputError
from edgeattn.base.nearest import did_you_mean
from edgeattn.models import names, plain, program, userfile, yolo, zoo
from edgeattn.models.origins import ULTRALYTICS, user_file
from edgeattn.options.model import ModelRequest

IMAGE: Final = (1, 3, 224, 224)


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A model as its source built it.

    Attributes:
        module: The model.
        source: Where it is from, in canonical form ("timm:resnet50").
        shapes: The shapes of its inputs, unless others are asked for.
        examples: The inputs that a .pt2 file was traced with, if it holds them.
        program: The exported program, of a .pt2 file only.
        notes: What a user should know of how it was built.
        yolo: What there is to do and to say of a model of Ultralytics.
    """

    module: nn.Module
    source: str
    shapes: tuple[tuple[int, ...], ...]
    program: torch.export.ExportedProgram | None = None
    examples: Sequence[torch.Tensor] = ()
    notes: tuple[str, ...] = ()
    yolo: yolo.Yolo | None = None


def create(request: ModelRequest) -> Created:
    """Build the model of a request, without attentions and weights from files.

    Raises:
        InputError: There is no such model, or it cannot be built as asked.
        MissingError: Its weights cannot be fetched.
    """
    source = request.source
    if request.trust_checkpoint and not yolo.is_checkpoint(source):
        raise InputError(
            f"--trust-checkpoint is for a checkpoint of Ultralytics, not for {source}",
            mend=f"Give it as {ULTRALYTICS}FILE.pt; weights alone are read with --weights, safely.",
        )
    if source.startswith(ULTRALYTICS):
        return _yolo(request)
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
    _check_no_file(Path(source))
    yolos = [f"{ULTRALYTICS}{one}" for one in names.yolos(source)]
    near = did_you_mean(yolos or names.nearest(source))
    raise InputError(
        f"there is no model named '{source}'",
        mend=f"{near} A model is given as {', '.join(names.FORMS)}.".strip(),
    )


def _check_no_file(path: Path) -> None:
    """Refuse a file of another kind in the words of its kind.

    Raises:
        InputError: It is a file.
    """
    if not path.is_file():
        return
    if path.suffix == ".onnx":
        raise InputError(
            f"{path} is an ONNX file, which is not exported again",
            mend=f"Lower it as it is: edgeattn optimize {path} -o OUT.onnx",
        )
    what, mend = "holds weights, and not the code that they are for", f"--weights {path}"
    if zipfile.is_zipfile(path):
        with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            if any("/code/" in name for name in archive.namelist()):
                what = "is TorchScript, which has no Python to trace"
                mend = "--weights FILE, of torch.save(torch.jit.load(…).state_dict(), FILE)"
    own = f" A checkpoint of Ultralytics is given as {ULTRALYTICS}{path}." * (path.suffix == ".pt")
    raise InputError(
        f"{path} {what}", mend=f"Give what builds the model: file.py:factory {mend}.{own}"
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
        module=program.runnable(loaded),
        source=request.source,
        shapes=shapes or (IMAGE,),
        program=loaded,
        examples=program.examples(loaded),
    )


def _yolo(request: ModelRequest) -> Created:
    built = yolo.build(request.source.removeprefix(ULTRALYTICS), request)
    plain.check(built.module)
    return Created(
        module=built.module,
        source=request.source,
        shapes=(built.shape,),
        notes=built.notes,
        yolo=built,
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
    module, notes = plain.unwrapped(module)
    plain.check(module)
    if device := plain.on_cpu(module):
        notes.append(f"the model was on {device}; it was exported on the CPU")
    return Created(
        module=module,
        source=f"{path}:{factory}",
        shapes=(IMAGE,),
        notes=tuple(notes),
    )
