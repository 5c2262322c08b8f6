"""The models of lowering's tables, and their files: stock, lowered, and cast to half precision.

A model is exported once, at the opset that torch writes, simplified and not lowered; stock is that
at opset 17, lowered is that lowered and then at opset 17: the same stages, in the same order, as
`edgeattn export` with and without `--no-lower`. All weights are drawn at random and differ from
channel to channel. What a file was made from is kept beside it, so that it is made again when that
changes.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import edgeattn
from edgeattn.lowering.target import TARGETS as SPECS

Target = str
Form = str  # "stock", or a target
Precision = Literal["fp32", "fp16"]

TARGETS: Final = tuple(SPECS)
OPSET: Final = 17
# What torch's translations are written in: at this opset, nothing needs to be legalised.
_TORCH_OPSET: Final = 18
_PACKAGE: Final = Path(edgeattn.__file__).parent
# The sources that decide what the stock graph is, beside the versions of the libraries.
_OF_STOCK: Final = (
    "attention", "models", "parity/randomise.py", "graph/simplify.py", "graph/writing.py",
    "graph/tags.py", "workflows/export.py", "workflows/pipeline.py", "workflows/workspace.py",
)  # fmt: skip

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model of a table.

    Attributes:
        name: What it is called in the tables, and its file.
        source: What `edgeattn export` takes.
        attention: The attention at the end of every block, or "none".
        shape: The shape of its input; its own by default.
        model_args: Arguments for what builds it.
    """

    name: str
    source: str
    attention: str = "none"
    shape: tuple[int, ...] = ()
    model_args: tuple[tuple[str, str], ...] = ()


ATTENTIONS: Final = ("se", "eca", "simam", "sa", "cbam", "ulsam")
# Those that were added later: their plans are judged by stock's alone.
ADDED: Final = ("ca", "ela", "triplet", "gam", "ema", "nam", "srm", "fca")
BACKBONES: Final = ("resnet50", "mobilenetv2")
SHUFFLENET: Final = Case(name="shufflenet_v2_x1_0", source="torchvision:shufflenet_v2_x1_0")
WITHOUT_ATTENTION: Final = tuple(
    Case(name=name, source=f"timm:{name}")
    for name in (
        "resnet50",
        "mobilenetv3_large_100",
        "efficientnet_b0",
        "convnext_tiny",
        "swin_tiny_patch4_window7_224",
        "vit_tiny_patch16_224",
    )
)


def on_backbone(backbone: str, attention: str) -> Case:
    """Return a backbone with an attention, or with "none"."""
    name = backbone if attention == "none" else f"{backbone}-{attention}"
    return Case(name=name, source=f"timm:{_TIMM.get(backbone, backbone)}", attention=attention)


_TIMM: Final = {"mobilenetv2": "mobilenetv2_100"}


def all_met(marks: Iterable[bool | None]) -> bool | None:
    """Sum up marks: False if one is, or else None if one is unknown."""
    found = set(marks)
    return False if False in found else None if None in found else True


def say(text: str) -> None:
    """Show progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


class Shelf:
    """The folder that the files of all cases are kept in.

    Args:
        folder: The folder; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def exported(self, case: Case) -> Path:
        """Return the file as export leaves it without lowering, at torch's opset; for `lower`."""
        file, _, factory = case.source.rpartition(":")
        source = content(Path(file)) if file.endswith(".py") else factory
        sources = _digest_of_sources(*_OF_STOCK)
        key = _digest(repr(case), source, sources, json.dumps(_versions()))
        path = self._folder / f"{case.name}.onnx"
        return _made(path, key, lambda target: _export(case, target))

    def sites(self, case: Case) -> list[tuple[int, int, int]]:
        """Return the shape (C, H, W) of each site of a case."""
        manifest = json.loads(self.exported(case).with_suffix(".json").read_text(encoding="utf-8"))
        return [tuple(site["shape"]) for site in manifest["sites"]]

    def file(self, case: Case, form: Form, precision: Precision = "fp32") -> Path:
        """Return a case's file at opset 17: stock or lowered for a target, in a precision."""
        exported = self.exported(case)
        key = _digest(
            _key(exported), form, precision, _digest_of_sources("lowering", "legalise", "graph")
        )
        path = self._folder / f"{case.name}.{form}.{precision}.onnx"
        if precision == "fp16":
            single = self.file(case, form)
            return _made(path, key, lambda target: _halve(single, target))
        return _made(path, key, lambda target: _derive(exported, form, target))

    def remembered(self, name: str, key: str, compute: Callable[[], _T]) -> _T:
        """Return what was computed before under the same key, or compute it; it is JSON."""
        path = self._folder / "results" / f"{name}.json"
        if path.exists():
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["key"] == key:
                known: _T = document["value"]
                return known
        value = compute()
        path.parent.mkdir(exist_ok=True)
        _write(path, json.dumps({"key": key, "value": value}))
        return value


def content(path: Path) -> str:
    """Return the hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _made(path: Path, key: str, make: Callable[[Path], None]) -> Path:
    if not path.exists() or _key(path) != key:
        say(f"  making {path.name}")
        _mark(path).unlink(missing_ok=True)  # a half-written file must not pass for a whole one
        make(path)
        _write(_mark(path), key)
    return path


def _mark(path: Path) -> Path:
    return path.with_suffix(".key")


def _key(path: Path) -> str:
    mark = _mark(path)
    return mark.read_text(encoding="utf-8") if mark.exists() else ""


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _export(case: Case, path: Path) -> None:
    from safetensors.torch import save_model

    from edgeattn.models.build import build
    from edgeattn.parity.randomise import randomise

    weights = path.with_suffix(".safetensors")
    request = _request(case)
    built = build(request)
    # A fresh initialisation has norms of zero and neutral constants, which a simplifier removes.
    randomise(built.module, built.inputs, seed=1)
    save_model(built.module, str(weights))
    edgeattn.export_model(
        _request(case, weights=weights),
        edgeattn.ExportOptions(opset=_TORCH_OPSET, lower=False),
        path,
    )
    weights.unlink()


def _request(case: Case, weights: Path | None = None) -> edgeattn.ModelRequest:
    attention = edgeattn.AttentionRequest(name=case.attention, at="block-end")
    return edgeattn.ModelRequest(
        source=case.source,
        model_args=dict(case.model_args),
        attentions=() if case.attention == "none" else (attention,),
        shapes=(case.shape,) if case.shape else (),
        weights=weights,
    )


def _derive(exported: Path, form: Form, path: Path) -> None:
    import onnx_ir

    from edgeattn.legalise import legalise
    from edgeattn.lowering.pipeline import lower

    model = onnx_ir.load(exported)
    if form != "stock":
        lower(model, target=form)
    legalise(model, OPSET)
    onnx_ir.save(model, path)


def _halve(single: Path, path: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of each weight below half's range
        halved = convert_float_to_float16(onnx.load(single), keep_io_types=True)
    onnx.save(halved, path)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@cache
def _digest_of_sources(*names: str) -> str:
    places = [_PACKAGE / name for name in names]
    files = [
        file
        for place in places
        for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])
    ]
    return _digest(*(content(file) for file in [*files, Path(__file__)]))


@cache
def _versions() -> dict[str, Any]:
    from edgeattn.base.versions import versions

    return dict(versions())
