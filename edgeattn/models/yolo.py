"""Models of Ultralytics: from its YAML files, or one's own, and from checkpoints.

Only its public interface is called. It is kept from what it does besides: it writes no settings,
installs and downloads nothing, and tells nobody that it runs. What a YAML file names is checked
before ultralytics evaluates it; a checkpoint, which may run any code, is read only if trusted.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from torch import nn

from edgeattn.base import files
from edgeattn.base.arguments import literals
from edgeattn.base.errors import InputError, MissingError, in_one_line
from edgeattn.base.nearest import did_you_mean, nearest
from edgeattn.base.torchvision_ops import declare_missing_operators
from edgeattn.models.origins import ULTRALYTICS, YAML
from edgeattn.models.quiet import quiet
from edgeattn.options.model import ModelRequest
from edgeattn.records.pixels import Pixels, of_ultralytics

_CHECKPOINT: Final = ".pt"
#: What ultralytics reads of its environment once, when it is imported.
_KEPT_IN: Final = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
#: Arguments of the head's export form.
_ARGUMENTS: Final[Mapping[str, type]] = {"end2end": bool, "max_det": int, "agnostic_nms": bool}
_SPREAD: Final = (
    "Norms have the statistics of random images: with those of a new model values fade to what half"
    " cannot hold, and all scores are equal."
)
_MISSING: Final = (
    "Install it, if its licence (AGPL-3.0) suits: pip install 'edgeattn[yolo]'. Without a screen's"
    " libraries (libGL) it wants opencv-python-headless in the place of opencv-python."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Yolo:
    """A model of Ultralytics in its export form, its norms not yet fused.

    Attributes:
        module: The model.
        shape: The shape of its input, as far as it says one.
        notes: What a user should know of how it was built.
    """

    module: nn.Module
    shape: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def pixels(self) -> Pixels:
        """How it takes photos."""
        return of_ultralytics(str(self.module.task), "Ultralytics")

    @property
    def outputs(self) -> tuple[str, ...]:
        """What Ultralytics calls the outputs of its exports."""
        task = str(self.module.task)
        return ("output0", "output1") if task == "segment" else ("output0",)

    def fuse(self) -> None:
        """Fold norms into convolutions, and branches of a kind, as Ultralytics does to export."""
        with _library():
            self.module.fuse(verbose=False)  # type: ignore[operator]  # nn.Module's attributes

    def metadata(self, inputs: Sequence[torch.Tensor]) -> dict[str, str]:
        """Return what Ultralytics' runtime reads of a file: classes, stride, task, sizes."""
        module: Any = self.module
        batch, channels, *sizes = inputs[0].shape
        head = module.model[-1]
        said: dict[str, Any] = {
            "author": "Ultralytics",
            "description": f"{Path(module.yaml.get('yaml_file', '')).stem} of Ultralytics",
            "version": _version(),
            "license": "AGPL-3.0 License (https://ultralytics.com/license)",
            "stride": int(max(module.stride)),
            "task": module.task,
            "head": type(head).__name__,
            "batch": batch,
            "imgsz": sizes,
            "names": dict(module.names),
            "channels": channels,
            # Sizes are fixed, whether or not the batch is open.
            "args": {"batch": batch, "dynamic": False, "half": False, "nms": False},
            "end2end": bool(getattr(module, "end2end", False)),
        }
        if shape := getattr(head, "kpt_shape", None):
            said["kpt_shape"] = list(shape)
        if names := getattr(module, "kpt_names", None):
            said["kpt_names"] = names
        return {key: str(value) for key, value in said.items()}


def is_checkpoint(source: str) -> bool:
    """Return whether a source is given as a checkpoint of Ultralytics."""
    return source.startswith(ULTRALYTICS) and source.endswith(_CHECKPOINT)


def build(name: str, request: ModelRequest) -> Yolo:
    """Build a model of Ultralytics, without attentions and weights from files.

    Args:
        name: What follows the prefix: "yolo11n.yaml", "yolo11n", "mine.yaml", "best.pt".
        request: What else is asked.

    Raises:
        InputError: There is no such model, it is refused, or it has no form for export.
        MissingError: ultralytics is not installed.
    """
    if request.pretrained:
        raise InputError(
            f"--pretrained is for timm's and torchvision's models, not for {ULTRALYTICS}{name}",
            mend=f"Give a checkpoint: {ULTRALYTICS}FILE.pt --trust-checkpoint",
        )
    path = Path(name)
    arguments = _arguments(name, request.model_args)
    is_new, notes = path.suffix != _CHECKPOINT, tuple[str, ...]()
    if is_new:
        module, notes = _from_yaml(name, request.num_classes)
        size = 224 if module.task == "classify" else 640
    else:
        module = _checkpoint(path, request)
        size = module.args.get("imgsz")
    _set_form(name, module, arguments)
    if is_new and request.weights is None:
        _spread(module)
        notes += (_SPREAD,)
    stride = int(max(module.stride))
    sizes = (size, size) if isinstance(size, int) else tuple(size or ())
    shape = (1, int(module.yaml.get("channels", 3)), *(sizes if len(sizes) == 2 else (640, 640)))
    for asked in request.shapes:
        if len(asked) == 4 and any(one % stride for one in asked[2:]) and module.task != "classify":
            height, width = (-(-one // stride) * stride for one in asked[2:])
            raise InputError(
                f"{ULTRALYTICS}{name} takes heights and widths that are multiples of {stride}",
                mend=f"--shape {asked[0]}x{asked[1]}x{height}x{width}",
            )
    return Yolo(module=module, shape=shape, notes=notes)


def _arguments(name: str, texts: Mapping[str, str]) -> dict[str, Any]:
    found = literals(texts)
    for key, value in found.items():
        if key not in _ARGUMENTS:
            raise InputError(
                f"{ULTRALYTICS}{name} takes no argument '{key}'",
                mend=f"{did_you_mean(nearest(key, _ARGUMENTS))} Those of its head are"
                f" {', '.join(_ARGUMENTS)}; all else its YAML file says.".strip(),
            )
        if type(value) is not _ARGUMENTS[key] or str(value).startswith(("-", "0")):
            example = "300" if _ARGUMENTS[key] is int else "false"
            raise InputError(
                f"--model-arg {key} takes no {texts[key]!r}", mend=f"For example: {key}={example}"
            )
    return found


def _checkpoint(path: Path, request: ModelRequest) -> Any:
    """Read a model of a checkpoint.

    Raises:
        InputError: It is not trusted, or holds no model of Ultralytics.
    """
    if not path.is_file():
        raise InputError(
            f"there is no file {path}, and nothing is downloaded",
            mend=f"Ultralytics' own are on its releases; their models without weights are built"
            f" of YAML files: {ULTRALYTICS}{path.with_suffix('.yaml').name}",
        )
    if not request.trust_checkpoint:
        raise InputError(
            f"{path} is a checkpoint: a pickle, which runs whatever code its maker put into it"
            " when it is read; it was not read",
            mend="If you trust its maker, add --trust-checkpoint.",
        )
    if request.num_classes is not None:
        raise InputError(f"--num-classes is given, but {path} has its classes already")
    with _library() as library:
        module = _made(library.YOLO, str(path), path)
    if not isinstance(module, nn.Module) or not hasattr(module, "model"):
        raise InputError(f"{path} holds no model of Ultralytics, but a {type(module).__name__}")
    return module


def _from_yaml(name: str, num_classes: int | None) -> tuple[Any, tuple[str, ...]]:
    """Build the model of a YAML file.

    Raises:
        InputError: There is no such file, or ultralytics refuses it.
    """
    path = Path(name)
    if "://" in name or path.suffix not in ("", *YAML):
        raise InputError(
            f"{ULTRALYTICS}{name} is neither a YAML file of a model nor a checkpoint (.pt)",
            mend=f"For example: {ULTRALYTICS}yolo11n.yaml",
        )
    if not path.suffix:
        path = Path(f"{name}.yaml")
    with _library() as library, files.scratch() as folder:
        said = _read_yaml(name, path)
        _check_layers(path, said)
        notes = _without_weights(said)
        if num_classes is not None:
            said["nc"] = num_classes
        # Under its own name, which says the scale. JSON is YAML too.
        copy = folder / path.name
        copy.write_text(json.dumps(said), encoding="utf-8")
        is_detr = said["head"][-1][2] == "RTDETRDecoder"
        module = _made(library.RTDETR if is_detr else library.YOLO, str(copy), path)
    module.yaml["yaml_file"] = str(path)
    return module, notes


def _read_yaml(name: str, path: Path) -> dict[str, Any]:
    from ultralytics.nn.tasks import yaml_model_load

    try:
        said: Any = yaml_model_load(str(path))
    except FileNotFoundError as error:
        near = did_you_mean(f"{ULTRALYTICS}{one}" for one in nearest(path.name, installed()))
        raise InputError(
            f"the installed ultralytics ({_version()}) has no model '{name}', and there is no such"
            " file",
            mend=near or f"For example: {ULTRALYTICS}yolo11n.yaml",
        ) from error
    except Exception as error:
        raise InputError(f"{path} cannot be read: {in_one_line(error)}") from error
    if not all(isinstance(said.get(part), list) and said[part] for part in ("backbone", "head")):
        raise InputError(
            f"{path} describes no model: it has no lists `backbone` and `head`",
            mend=f"For example: {ULTRALYTICS}yolo11n.yaml",
        )
    return dict(said)


def installed() -> list[str]:
    """Return the names of the YAML files of models that the installed ultralytics has."""
    spec = importlib.util.find_spec("ultralytics")
    places = [] if spec is None else spec.submodule_search_locations or []
    found = (Path(place).glob("cfg/models/*/*.yaml") for place in places)
    return sorted(path.name for some in found for path in some)


def _check_layers(path: Path, said: Mapping[str, Any]) -> None:
    """Refuse a YAML file that names anything but layers: ultralytics calls what it names.

    Raises:
        InputError: Says which line.
    """
    from ultralytics.nn import tasks

    for number, row in enumerate([*said["backbone"], *said["head"]]):
        kind = row[2] if isinstance(row, list) and len(row) == 4 else None
        if not isinstance(kind, str):
            raise InputError(
                f"{path}: layer {number} is no [from, repeats, module, arguments], but {row}"
            )
        if kind.startswith("torchvision.ops."):
            continue
        home = nn if kind.startswith("nn.") else tasks
        found = getattr(home, kind.removeprefix("nn."), None)
        if not (isinstance(found, type) and issubclass(found, nn.Module)):
            layers = [key for key, one in vars(home).items() if isinstance(one, type)]
            raise InputError(
                f"{path}: layer {number} is a {kind}, which ultralytics {_version()} has not",
                mend=f"{did_you_mean(nearest(kind, layers))} A model of one's own layers is built"
                " by file.py:factory; an attention goes in with --attention.".strip(),
            )
    if (activation := said.get("activation")) and not _is_activation(str(activation)):
        raise InputError(
            f"{path}: the activation {activation!r} is none of torch.nn",
            mend="For example: activation: nn.ReLU()",
        )


def _is_activation(text: str) -> bool:
    """Return whether a text calls a class of torch.nn with plain values, and does nothing else."""
    try:
        call = ast.parse(text.strip().removeprefix("torch."), mode="eval").body
        assert isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)  # noqa: PT018
        assert isinstance(call.func.value, ast.Name) and call.func.value.id == "nn"  # noqa: PT018
        for value in (*call.args, *(one.value for one in call.keywords)):
            ast.literal_eval(value)
        return issubclass(getattr(nn, call.func.attr), nn.Module)
    except (SyntaxError, ValueError, AssertionError, AttributeError, TypeError):
        return False


def _without_weights(said: dict[str, Any]) -> tuple[str, ...]:
    """Keep layers of torchvision from fetching weights; return a note if one would."""
    found = False
    for row in (*said["backbone"], *said["head"]):
        if row[2] == "TorchVision" and len(row[3]) > 2 and row[3][2]:
            row[3][2], found = None, True
    note = "The YAML file asks for torchvision's weights, which are not fetched: they are random."
    return (note,) if found else ()


def _made(make: Callable[[str], Any], name: str, path: Path) -> Any:
    try:
        return make(name).model
    except ModuleNotFoundError as error:
        raise MissingError(
            f"{path} needs {error.name}, which is not installed here",
            mend="Put its folder on PYTHONPATH, or install it; nothing is installed by itself.",
        ) from error
    except (Exception, SystemExit) as error:
        raise InputError(
            f"ultralytics {_version()} refuses {path}: {in_one_line(error)}"
        ) from error


def _set_form(name: str, module: Any, arguments: Mapping[str, Any]) -> None:
    """Give the head the form that it is exported in.

    Raises:
        InputError: It has none, or not the one that is asked.
    """
    module.float().eval()
    head: Any = module.model[-1] if isinstance(module.model, nn.Sequential) else None
    if not hasattr(head, "export"):
        raise InputError(
            f"{ULTRALYTICS}{name} is a {type(module).__name__} that ends in a"
            f" {type(head).__name__}, which has no form for export",
            mend="Build what is to be exported of it by file.py:factory.",
        )
    for part in module.modules():
        if hasattr(type(part), "export"):
            part.export, part.format = True, "onnx"
            if hasattr(type(part), "dynamic") and hasattr(part, "dfl"):
                part.dynamic = True  # anchors are made anew for each batch: none are kept
    has_both = getattr(head, "one2one_cv2", None) is not None
    if arguments.get("end2end") and not has_both:
        raise InputError(f"{ULTRALYTICS}{name} has no head that gives boxes end to end")
    if has_both and hasattr(module, "end2end"):
        module.end2end = arguments.get("end2end", True)
    for key in arguments.keys() - {"end2end"}:
        if not hasattr(head, key):
            raise InputError(f"{ULTRALYTICS}{name} ends in a {type(head).__name__}, without {key}")
        setattr(head, key, arguments[key])
    if not getattr(module, "names", None):
        count = getattr(head, "nc", None) or head.linear.out_features
        module.names = {number: f"class{number}" for number in range(count)}


def _spread(module: Any) -> None:
    """Give norms the statistics of random images, so that a fresh model's values do not fade."""
    norms = [one for one in module.modules() if isinstance(one, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    size = 4 * int(max(module.stride))
    # Of more than one contrast and brightness: what differs within noise alone averages out.
    noise = torch.randn(8, int(module.yaml.get("channels", 3)), size, size)
    images = noise * torch.linspace(0.3, 1.5, 8).view(8, 1, 1, 1) + torch.randn(8, 1, 1, 1) / 2
    for norm in norms:
        norm.momentum = None  # the statistics are those of what is seen now
        norm.reset_running_stats()
    with torch.no_grad():
        module.train()(images)
    module.eval()
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    for package in ("ultralytics", "ultralytics-opencv-headless"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "unknown"


@contextmanager
def _library() -> Iterator[ModuleType]:
    """Yield ultralytics, which is quiet for as long as the block lasts.

    Raises:
        MissingError: It is not installed, or cannot be imported.
    """
    declare_missing_operators()
    with quiet(("ultralytics",)):
        before = dict(os.environ)
        try:
            yield _imported()
        finally:
            # It sets threads and devices for its own training, and cv2 where libraries are found.
            os.environ.clear()
            os.environ.update(before)


@functools.cache
def _imported() -> ModuleType:
    """Import ultralytics as it is, or, if nobody has yet, without a folder of the user's."""
    if importlib.util.find_spec("ultralytics") is None:
        raise MissingError("ultralytics is not installed", mend=_MISSING)
    try:
        if "ultralytics" in sys.modules:
            return importlib.import_module("ultralytics")
        with files.scratch() as folder:
            settings = folder / "Ultralytics" / "settings.json"
            settings.parent.mkdir()
            settings.write_text('{"sync": false}', encoding="utf-8")
            os.environ |= {**_KEPT_IN, "YOLO_CONFIG_DIR": str(folder)}
            library = importlib.import_module("ultralytics")
            _ = library.YOLO
            return library
    except ImportError as error:
        raise MissingError(
            f"ultralytics cannot be imported: {in_one_line(error)}", mend=_MISSING
        ) from error
