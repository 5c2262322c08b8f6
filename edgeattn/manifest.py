"""The manifest: the JSON beside every artifact that says what it is and how it came to be."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Literal

from pydantic import BaseModel, ConfigDict

from edgeattn.parity.report import ParityReport

SCHEMA_VERSION: Literal[1] = 1

#: The distributions whose versions decide what an export gives.
_DISTRIBUTIONS = (
    "edgeattn",
    "torch",
    "timm",
    "torchvision",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxsim",
    "onnxruntime",
    "numpy",
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Site(_Frozen):
    """Where one attention module sits: shape is (C, H, W) of the tensor that it attends."""

    path: str
    attention: str
    target: str
    shape: tuple[int, int, int]
    params: int
    note: str = ""


class Nodes(_Frozen):
    """How many ONNX nodes there were after folding, and in the file."""

    exported: int
    final: int


class Tensor(_Frozen):
    """A graph input or output; an open dimension is named."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


class Manifest(_Frozen):
    """What `edgeattn export` says of a model.

    Attributes:
        onnx: The file, relative to the manifest.
        sha256: The hash of each file that belongs to it.
        params: Parameters of the torch model.
        macs: Multiply-accumulates of convolutions and linear layers, per run at the asked shape.
        matmul_macs: Those of products of two activations.
        element_ops: Operations that FLOP counters skip.
        uncounted: Nodes whose costs could not be counted, by name.
        seconds: Wall-clock time per stage.
        command: The command that makes the same file again.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    onnx: str
    sha256: dict[str, str]
    bytes: int
    model: str
    opset: int
    ir_version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    params: int
    macs: int
    matmul_macs: int
    element_ops: int
    uncounted: tuple[str, ...]
    attentions: tuple[str, ...]
    sites: tuple[Site, ...]
    nodes: Nodes
    parity: ParityReport
    options: dict[str, object]
    versions: dict[str, str]
    seconds: dict[str, float]
    notes: tuple[str, ...]
    command: str


def versions() -> dict[str, str]:
    """Gives the versions of Python and of every library that decides what an export gives."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
