"""How photos are brought to an input: as the options say, or the model's files, or ImageNet's."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from pydantic import TypeAdapter, ValidationError

from edgeattn.base.errors import InputError
from edgeattn.options.photos import Photos
from edgeattn.records import sidecar
from edgeattn.records.pixels import IMAGENET, OPTIONS, Pixels, of_ultralytics, told
from edgeattn.runtimes.inputs import is_image, read_input, view_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from edgeattn.records.manifest import Tensor

# What detectors are called.
_DETECTORS: Final = ("yolo", "ultralytics", "detector", "retinanet", "nanodet", "picodet", "ssd")
# Without anchors they give a candidate for each cell of maps at these strides; with, three.
_STRIDES: Final = (8, 16, 32)
_PIXELS: Final = TypeAdapter(Pixels)
_SCALING: Final = frozenset({"Sub", "Div", "Mul", "Add", "BatchNormalization"})
_PASSING: Final = frozenset({"Cast", "Transpose", "Identity", "Resize", "Pad"})


class _Input(Protocol):
    @property
    def shape(self) -> Sequence[int | str | None]: ...
    @property
    def dtype(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """How photos are brought to an input, and why.

    Attributes:
        pixels: How.
        is_asked: Whether the options say them.
        doubts: What in the file speaks against what is assumed.
    """

    pixels: Pixels = IMAGENET
    is_asked: bool = False
    doubts: tuple[str, ...] = ()

    def notes(self, value: _Input) -> tuple[str, ...]:
        """Say what is done to photos for an input, and what of it is assumed."""
        view, pixels = view_of(value.shape, self.pixels, value.dtype), self.pixels
        done = f"Photos are {pixels.done(view.height, view.width)}, read as RGB"
        if np.issubdtype(np.dtype(value.dtype), np.integer):
            return (f"{done}, and given as 0...255, since the input takes {value.dtype}.",)
        done += f", brought to 0...{255 * pixels.scale:.4g}, and normalised: mean"
        done += f" {told(pixels.mean)}, deviation {told(pixels.std)}"
        if pixels.said_by:
            say = "say" if pixels.said_by.endswith(OPTIONS) else "says"
            return (f"{done}, as {pixels.said_by} {say}.",)
        assumed = (
            f"{done}. These are ImageNet's, and are assumed: nothing says what the model takes."
            " If it is something else, say so: --mean 0 --std 1 for 0...1."
        )
        doubts = " and ".join(self.doubts)
        return (assumed, *([f"It may be something else: {doubts}."] if doubts else []))

    def refuse_unused(self, data: str) -> None:
        """Refuse options that say it where no photos are read.

        Raises:
            InputError: They are given.
        """
        if self.is_asked:
            raise InputError(
                f"--mean, --resize and the like are for photos, and there are none in what is read"
                f" ({data}).",
                mend="Leave them out; arrays are taken as they are.",
            )


#: Where nothing says anything.
ASSUMED: Final = Chosen()


def choose(
    asked: Photos | None,
    *,
    own: Pixels | None = None,
    path: Path | None = None,
    model: ir.Model | None = None,
) -> Chosen:
    """Choose how photos are brought to an input.

    Args:
        asked: What the options say; what they leave out is chosen.
        own: What the model says, where it is built here.
        path: The ONNX file; the manifests of what it was made from may say.
        model: Its graph, which may speak against what is assumed.
    """
    if isinstance(asked, Pixels):
        return Chosen(pixels=asked, is_asked=True)
    found = own or (beside(path) if path is not None else None)
    if found is None and model is not None:
        found = _of_ultralytics(model.metadata_props)
    chosen = found or IMAGENET
    if asked is not None:
        chosen = chosen.over(asked)
    doubts = () if chosen.said_by or model is None else _doubts(path, model)
    return Chosen(pixels=chosen, is_asked=asked is not None, doubts=doubts)


def known(asked: Photos | None, own: Pixels | None) -> Pixels | None:
    """Return how photos are brought to a model, for its manifest; None if that is assumed.

    Args:
        asked: What the options say.
        own: What the model says.
    """
    found = choose(asked, own=own).pixels
    return found if found.said_by else None


def read_inputs(
    data: Sequence[Path], subject: str, taken: Sequence[Tensor], pixels: Chosen
) -> tuple[list[npt.NDArray[Any]], list[str]]:
    """Read data for every input of a model, and say what was assumed of photos among it.

    Args:
        data: One file per input.
        subject: What takes them, for errors.
        taken: What it takes.
        pixels: How photos are brought to an input.

    Raises:
        InputError: There are more or fewer files, or one does not fit.
    """
    if len(data) != len(taken):
        raise InputError(
            f"{subject} takes {len(taken)} inputs, and {len(data)} files are given.",
            mend="Give --input once for each.",
        )
    arrays, notes = [], list[str]()
    for path, value in zip(data, taken, strict=True):
        arrays.append(read_input(path, value.shape, pixels=pixels.pixels, dtype=value.dtype))
        notes += pixels.notes(value) if is_image(path) else ()
    if not any(map(is_image, data)):
        pixels.refuse_unused(", ".join(map(str, data)))
    return arrays, notes


def beside(path: Path) -> Pixels | None:
    """Return what the manifests of a file, or of what it was made from, say; None if nothing."""
    for file, said in sidecar.chain(path):
        with contextlib.suppress(InputError, ValidationError):
            found = _PIXELS.validate_python(said.get("pixels"))
            return replace(found, said_by=f"the manifest of {file.name}")
    return None


def _of_ultralytics(said: Mapping[str, str]) -> Pixels | None:
    """Return what Ultralytics does to photos for the models that it exports; None of others."""
    named = " ".join(said.get(key, "") for key in ("author", "description", "license")).lower()
    is_its = "ultralytics" in named and {"task", "stride"} <= said.keys()
    return of_ultralytics(said["task"], "its metadata") if is_its else None


def _doubts(path: Path | None, model: ir.Model) -> tuple[str, ...]:
    """Return what speaks for a model that does not take what classifiers of ImageNet take."""
    said = [
        *model.metadata_props.values(),
        model.producer_name,
        model.graph.name,
        path and path.stem,
    ]
    names = " ".join(map(str, said)).lower()
    found = [f"the file is called {name}" for name in _DETECTORS if name in names][:1]
    if node := _scales_itself(model.graph):
        found.append(f"{node.name} ({node.op_type}) scales the input itself")
    if any(node.op_type == "NonMaxSuppression" for node in model.graph):
        found.append("it selects boxes (NonMaxSuppression)")
    elif count := _candidates(model.graph):
        found.append(f"it gives {count} candidates, as detectors do")
    return tuple(found)


def _scales_itself(graph: ir.Graph) -> ir.Node | None:
    """Return the node that shifts or scales the image before any layer reads it."""
    value = next(
        (one for one in graph.inputs if one.shape is not None and len(one.shape) == 4), None
    )
    while value is not None and len(readers := list(value.consumers())) == 1:
        (node,) = readers
        if node.op_type in _SCALING:
            return node
        value = node.outputs[0] if node.op_type in _PASSING else None
    return None


def _candidates(graph: ir.Graph) -> int:
    """Return the number of a detector's candidates, if an output has that many; 0 if none."""
    for image in graph.inputs:
        sizes = [size for size in list(image.shape or ())[2:] if isinstance(size, int)]
        if len(sizes) != 2 or min(sizes) < max(_STRIDES):
            continue
        cells = sum((sizes[0] // stride) * (sizes[1] // stride) for stride in _STRIDES)
        for output in graph.outputs:
            for size in output.shape or ():
                if isinstance(size, int) and size in (cells, 3 * cells):
                    return size
    return 0
